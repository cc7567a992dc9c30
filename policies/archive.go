package policies

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MaxArchive bounds a packed bundle, in bytes.
const MaxArchive = 160 << 10

// Archive packs a bundle as a gzip-compressed tar, the same bytes for the same files.
func (f Files) Archive() ([]byte, error) {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	pack := tar.NewWriter(zip)
	for _, name := range f.Paths() {
		header := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(f[name])), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if err := pack.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("packing %s: %w", name, err)
		}
		if _, err := pack.Write(f[name]); err != nil {
			return nil, fmt.Errorf("packing %s: %w", name, err)
		}
	}
	if err := errors.Join(pack.Close(), zip.Close()); err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	return out.Bytes(), nil
}

// FilesFrom reads a bundle from a tar, compressed by gzip or not. It reads no more than a bundle may hold, whatever
// the archive promises. What is out of bounds is ErrBundle.
func FilesFrom(archive []byte) (Files, error) {
	var from io.Reader = bytes.NewReader(archive)
	if bytes.HasPrefix(archive, []byte{0x1f, 0x8b}) {
		zip, err := gzip.NewReader(from)
		if err != nil {
			return nil, fmt.Errorf("%w: not a gzip file: %w", ErrBundle, err)
		}
		defer zip.Close()
		from = zip
	}
	// Headers and padding take 1 KiB a file at most.
	from = io.LimitReader(from, MaxBytes+MaxFiles<<10+1<<20)
	files := Files{}
	for pack, total := tar.NewReader(from), int64(0); ; {
		header, err := pack.Next()
		if errors.Is(err, io.EOF) {
			return files, files.Check()
		}
		if err != nil {
			return nil, fmt.Errorf("%w: not a tar archive: %w", ErrBundle, err)
		}
		name := strings.TrimPrefix(header.Name, "./")
		switch {
		case header.Typeflag == tar.TypeDir:
			continue
		case header.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("%w: %q is no regular file", ErrBundle, name)
		case files[name] != nil:
			return nil, fmt.Errorf("%w: %q is there twice", ErrBundle, name)
		}
		if total += header.Size; len(files) == MaxFiles || header.Size > MaxFileBytes || total > MaxBytes {
			return nil, tooLarge(fmt.Sprintf("%.128q", name))
		}
		if files[name], err = io.ReadAll(io.LimitReader(pack, header.Size)); err != nil {
			return nil, fmt.Errorf("%w: reading %q: %w", ErrBundle, name, err)
		}
	}
}
