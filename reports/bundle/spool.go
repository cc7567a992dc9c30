package bundle

import (
	"archive/zip"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"conclave/reports"
)

// builder gathers files in a file without a name, so that a bundle takes no memory and goes with the process. Of each file
// it keeps where it is and its hash.
type builder struct {
	spool *os.File
	end   int64 // of what is in the spool
	total int64 // of the files
	files map[string]part
}

type part struct {
	at, size int64
	sum      [sha256.Size]byte
}

func newBuilder() (*builder, error) {
	f, err := os.CreateTemp("", "conclave-bundle-*")
	if err != nil {
		return nil, fmt.Errorf("making the bundle's file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("making the bundle's file: %w", err)
	}
	return &builder{spool: f, files: map[string]part{}}, nil
}

func (b *builder) close() error { return b.spool.Close() }

func (b *builder) add(name string, data []byte) error {
	return b.write(name, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// write adds a file that fill writes, within the bounds of a bundle.
func (b *builder) write(name string, fill func(io.Writer) error) error {
	if len(b.files) >= maxFiles-2 {
		return faultf(name, ErrTooLarge, "%d files", len(b.files))
	}
	sum := sha256.New()
	out := &limited{w: io.NewOffsetWriter(b.spool, b.end), left: min(maxFile, maxUnpacked-b.total)}
	buffered := bufio.NewWriterSize(out, 64<<10)
	err := fill(io.MultiWriter(buffered, sum))
	if err == nil {
		err = buffered.Flush()
	}
	if err != nil {
		return fault(name, err)
	}
	p := part{at: b.end, size: out.n}
	sum.Sum(p.sum[:0])
	b.files[name], b.end, b.total = p, b.end+p.size, b.total+p.size
	return nil
}

// limited refuses to write more than there is room for.
type limited struct {
	w       io.Writer
	n, left int64
}

func (l *limited) Write(p []byte) (int, error) {
	if int64(len(p)) > l.left {
		return 0, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, l.n+l.left)
	}
	n, err := l.w.Write(p)
	l.n, l.left = l.n+int64(n), l.left-int64(n)
	return n, err
}

// drop takes the files of a folder out again, the last that were added. Their room in the spool is used anew.
func (b *builder) drop(folder string, end int64) {
	for name, p := range b.files {
		if strings.HasPrefix(name, folder) {
			b.total -= p.size
			delete(b.files, name)
		}
	}
	b.end = end
}

func (b *builder) addJSON(name string, v any) error {
	data, err := canonical(v)
	if err != nil {
		return fault(name, err)
	}
	return b.add(name, data)
}

func (b *builder) manifest(r *reports.Report, node string) Manifest {
	m := Manifest{Format: Format, Instance: r.Instance.ID, Mode: r.Instance.Mode, Node: node, Framework: r.Framework,
		From: r.From, To: r.To, GeneratedAt: r.GeneratedAt, Size: r.Checkpoint.Size, Root: r.Checkpoint.Root}
	for _, name := range slices.Sorted(maps.Keys(b.files)) {
		p := b.files[name]
		m.Files = append(m.Files, FileHash{Path: name, Bytes: p.size, SHA256: hex.EncodeToString(p.sum[:])})
	}
	return m
}

// pack writes the archive, and with it the two files that speak of the others.
func (b *builder) pack(w io.Writer, manifest, envelope []byte) error {
	own := map[string][]byte{fileManifest: manifest, fileSignature: envelope}
	names := append(slices.Collect(maps.Keys(b.files)), fileManifest, fileSignature)
	slices.Sort(names)
	z := zip.NewWriter(w)
	for _, name := range names {
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)})
		if err != nil {
			return fault(name, err)
		}
		var from io.Reader = bytes.NewReader(own[name])
		if own[name] == nil {
			p := b.files[name]
			from = io.NewSectionReader(b.spool, p.at, p.size)
		}
		if _, err := io.Copy(f, from); err != nil {
			return fault(name, err)
		}
	}
	return z.Close()
}
