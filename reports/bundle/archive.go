package bundle

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// archive reads a zip file within bounds. Nothing is unpacked to disk.
type archive struct {
	file   *os.File
	files  map[string]*zip.File
	listed map[string]FileHash // by the manifest, once it was checked
}

// directoryEnd is the size of the record that ends a zip archive without a comment, in bytes.
const directoryEnd = 22

// openArchive checks sizes, counts and names before any content is read.
func openArchive(name string) (*archive, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening bundle: %w", err)
	}
	a, err := readArchive(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("opening bundle: %w", err)
	}
	return a, nil
}

func readArchive(f *os.File) (*archive, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxArchive {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, info.Size(), maxArchive)
	}
	z, err := zip.NewReader(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	// Other readers may find another end: a bundle's is its last bytes.
	end := make([]byte, directoryEnd)
	if _, err := f.ReadAt(end, info.Size()-directoryEnd); err != nil || !bytes.HasPrefix(end, []byte("PK\x05\x06")) {
		return nil, fmt.Errorf("%w: the archive bears a comment, or its end is not where it ends", ErrFormat)
	}
	if len(z.File) > maxFiles {
		return nil, fmt.Errorf("%w: %d files, at most %d", ErrTooLarge, len(z.File), maxFiles)
	}
	a := &archive{file: f, files: make(map[string]*zip.File, len(z.File)), listed: map[string]FileHash{}}
	total := uint64(0)
	for _, entry := range z.File {
		if err := checkName(entry.Name); err != nil {
			return nil, err
		}
		if a.files[entry.Name] != nil {
			return nil, faultf(entry.Name, ErrExtra, "its name occurs twice")
		}
		size := entry.UncompressedSize64
		if size > maxFile || total+size > maxUnpacked {
			return nil, faultf(entry.Name, ErrTooLarge, "%d bytes unpacked", size)
		}
		total += size
		a.files[entry.Name] = entry
	}
	if err := seamless(f, info.Size(), z.File); err != nil {
		return nil, err
	}
	return a, nil
}

func checkName(name string) error {
	if len(name) > maxName || name != path.Clean(name) || strings.HasPrefix(name, "/") || strings.HasPrefix(name, "..") ||
		strings.ContainsAny(name, "\\\x00\r\n") {
		return faultf(clip(name), ErrExtra, "its name is not a plain relative path")
	}
	return nil
}

func clip(s string) string {
	const most = 80
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

func (a *archive) close() error { return a.file.Close() }

// read returns a file's content; the size in the archive's directory is a promise that is held to.
func (a *archive) read(name string) ([]byte, error) {
	entry := a.files[name]
	if entry == nil {
		return nil, fault(name, ErrMissing)
	}
	r, err := entry.Open()
	if err != nil {
		return nil, fault(name, fmt.Errorf("%w: %w", ErrAltered, err))
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, int64(entry.UncompressedSize64)+1))
	if err != nil {
		return nil, fault(name, fmt.Errorf("%w: %w", ErrAltered, err))
	}
	if uint64(len(data)) != entry.UncompressedSize64 {
		return nil, faultf(name, ErrAltered, "its size is not the one that the archive states")
	}
	if want, known := a.listed[name]; known {
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != want.SHA256 {
			return nil, faultf(name, ErrAltered, "it changed while it was verified")
		}
	}
	return data, nil
}

// check compares a file with what the manifest lists, without holding it. Its packed data must end with it: what is left
// behind the end another reader could find.
func (a *archive) check(want FileHash) error {
	entry := a.files[want.Path]
	if entry == nil {
		return fault(want.Path, ErrMissing)
	}
	raw, err := entry.OpenRaw()
	if err != nil {
		return fault(want.Path, fmt.Errorf("%w: %w", ErrAltered, err))
	}
	packed := bufio.NewReader(raw) // with bytes at hand the decompressor takes no more than it needs
	var r io.Reader = packed
	switch entry.Method {
	case zip.Store:
	case zip.Deflate:
		r = flate.NewReader(packed)
	default:
		return faultf(want.Path, ErrFormat, "packed by method %d", entry.Method)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(r, int64(entry.UncompressedSize64)+1))
	if err != nil {
		return fault(want.Path, fmt.Errorf("%w: %w", ErrAltered, err))
	}
	if n != want.Bytes || hex.EncodeToString(sum.Sum(nil)) != want.SHA256 {
		return faultf(want.Path, ErrAltered, "its SHA-256 is not the one in the manifest")
	}
	if _, err := packed.ReadByte(); err != io.EOF {
		return faultf(want.Path, ErrAltered, "something is hidden behind its packed data")
	}
	return nil
}
