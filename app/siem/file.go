package siem

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// File appends OCSF events as JSON lines. It is opened for every delivery, so that it may be moved away at any time.
type File struct {
	path string
	src  Source
}

// NewFile appends to the file at path, which need not exist.
func NewFile(path string, src Source) *File { return &File{path, src} }

// Name implements [Target].
func (f *File) Name() string { return "file" }

// Close implements [Target].
func (f *File) Close() error { return nil }

// Send implements [Target]. A line that a crash left torn is ended first; the whole of it comes again after it.
func (f *File) Send(_ context.Context, records []Record) (err error) {
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", f.path)
	}
	var batch []byte
	if size := info.Size(); size > 0 {
		last := make([]byte, 1)
		if _, err := file.ReadAt(last, size-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			batch = append(batch, '\n')
		}
	}
	for i := range records {
		line, err := records[i].line(f.src)
		if err != nil {
			return err
		}
		batch = append(batch, line...)
	}
	if _, err := file.Write(batch); err != nil {
		return err
	}
	if err := file.Sync(); err != nil || info.Size() > 0 {
		return err
	}
	return syncDir(filepath.Dir(f.path)) // the file may be new, and its name must last as its lines do
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
