package segment

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian/ledger"
)

const (
	// maxBundle bounds a group of entries, each of the largest size.
	maxBundle = ledger.TileWidth * (2 + ledger.MaxEntry)
	// maxSmall bounds every other file of a segment: a checkpoint is the largest.
	maxSmall = 64 << 10
	// maxFiles: the bundles, and three beside them.
	maxFiles = MaxEntries/ledger.TileWidth + 3
)

// File is an open segment. It is safe for concurrent use if what it was opened from is.
type File struct {
	Manifest   Manifest
	Checkpoint []byte // as the file has it, unverified
	cover      []tlog.Hash
	bundles    map[uint64]*zip.File // by group
}

// Open reads what a segment says of itself and where its parts are, all within bounds. Nothing is verified yet.
func Open(r io.ReaderAt, size int64) (*File, error) {
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if len(archive.File) > maxFiles {
		return nil, fmt.Errorf("%w: %d files in it, at most %d", ErrFormat, len(archive.File), maxFiles)
	}
	named := make(map[string]*zip.File, len(archive.File))
	for _, f := range archive.File {
		if named[f.Name] != nil {
			return nil, fmt.Errorf("%w: %.80q is in it twice", ErrFormat, f.Name)
		}
		named[f.Name] = f
	}
	out := &File{bundles: map[uint64]*zip.File{}}
	manifest, err := take(named, manifestName, maxSmall)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(manifest, &out.Manifest, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFormat, manifestName, err)
	}
	m := &out.Manifest
	if m.Format != Format {
		return nil, fmt.Errorf("%w: format %.40q, want %q", ErrFormat, m.Format, Format)
	}
	if err := checkRun(m.From, m.To); err != nil {
		return nil, err
	}
	if out.Checkpoint, err = take(named, checkpointName, maxSmall); err != nil {
		return nil, err
	}
	cover, err := take(named, coverName, maxSmall)
	if err != nil {
		return nil, err
	}
	for hash := range slices.Chunk(cover, tlog.HashSize) {
		if len(hash) != tlog.HashSize {
			return nil, fmt.Errorf("%w: %s is not a row of hashes", ErrFormat, coverName)
		}
		out.cover = append(out.cover, tlog.Hash(hash))
	}
	for index := m.From / ledger.TileWidth; index < m.To/ledger.TileWidth; index++ {
		name := ledger.EntriesPath(index, ledger.TileWidth)
		f := named[name]
		if f == nil {
			return nil, fmt.Errorf("%w: %s is missing", ErrAltered, name)
		}
		out.bundles[index] = f
		delete(named, name)
	}
	for name := range named {
		return nil, fmt.Errorf("%w: %.80q does not belong in it", ErrFormat, name)
	}
	return out, nil
}

// take reads one of the small files and strikes it from the list.
func take(named map[string]*zip.File, name string, limit int) ([]byte, error) {
	f := named[name]
	if f == nil {
		return nil, fmt.Errorf("%w: %s is missing", ErrFormat, name)
	}
	delete(named, name)
	return unpack(f, limit)
}

// unpack reads a file of the archive to its end, by what comes out of it and not by what it says.
func unpack(f *zip.File, limit int) ([]byte, error) {
	if f.UncompressedSize64 > uint64(limit) {
		return nil, fmt.Errorf("%w: %s has %d bytes, at most %d", ErrFormat, f.Name, f.UncompressedSize64, limit)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrAltered, f.Name, err)
	}
	defer r.Close()
	var out bytes.Buffer
	out.Grow(int(f.UncompressedSize64))
	if _, err := io.Copy(&out, io.LimitReader(r, int64(limit)+1)); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrAltered, f.Name, err)
	}
	if out.Len() > limit {
		return nil, fmt.Errorf("%w: %s has over %d bytes", ErrFormat, f.Name, limit)
	}
	return out.Bytes(), nil
}

// Bundle gives the entries of one group in C2SP framing, as the file has them: whoever uses them proves them.
func (f *File) Bundle(index uint64) ([]byte, error) {
	part := f.bundles[index]
	if part == nil {
		return nil, fmt.Errorf("%w: entries from %d on are not in segment %s", ErrFormat, index*ledger.TileWidth, ID(f.Manifest.From, f.Manifest.To))
	}
	return unpack(part, maxBundle)
}

// Verify reads every entry and shows that they are those of the ledger of a head, all of them and in their places, and
// that the manifest says of them what is so. The head is one whose signature was verified, of at least the run's end.
func (f *File) Verify(ctx context.Context, head ledger.Head) error {
	m := &f.Manifest
	if head.Size < m.To {
		return fmt.Errorf("%w: the checkpoint has %d entries, the segment ends at %d", ErrAltered, head.Size, m.To)
	}
	read := &reading{m: m, index: m.From / ledger.TileWidth}
	next := func() (tlog.Hash, error) {
		if err := ctx.Err(); err != nil {
			return tlog.Hash{}, err
		}
		bundle, err := f.Bundle(read.index)
		if err != nil {
			return tlog.Hash{}, err
		}
		return read.group(bundle)
	}
	span := []ledger.Span{{From: m.From, To: m.To, Height: ledger.TileHeight}}
	_, err := ledger.CheckCover(head, span, f.cover, next)
	switch {
	case err == nil:
	case errors.Is(err, ErrAltered), errors.Is(err, ErrFormat), ctx.Err() != nil: // says so itself, or was not read to its end
		return err
	default:
		return fmt.Errorf("%w: %w", ErrAltered, err)
	}
	if !read.first.Equal(m.FirstAt) || !read.last.Equal(m.LastAt) || read.control != m.Control {
		return fmt.Errorf("%w: it says of itself what its entries do not show", ErrAltered)
	}
	return nil
}

// reading is the state of one pass over a segment's entries.
type reading struct {
	m           *Manifest
	index       uint64 // next group
	first, last time.Time
	control     uint64
}

// group takes the next group of entries and gives the root of its subtree.
func (r *reading) group(bundle []byte) (tlog.Hash, error) {
	tree, seq := ledger.NewTree(), r.index*ledger.TileWidth
	for raw, err := range ledger.ReadBundle(bundle) {
		if err != nil {
			return tlog.Hash{}, fmt.Errorf("%w: entry %d: %w", ErrAltered, seq, err)
		}
		e, err := ledger.Decode(raw)
		if err != nil {
			return tlog.Hash{}, fmt.Errorf("%w: entry %d: %w", ErrAltered, seq, err)
		}
		if e.Seq != seq || e.At.Before(r.last) {
			return tlog.Hash{}, fmt.Errorf("%w: entry %d stands where %d is due", ErrAltered, e.Seq, seq)
		}
		if seq == r.m.From {
			r.first = e.At
		}
		r.last = e.At
		if e.Link != nil {
			r.control++
		}
		tree.Append(ledger.LeafHash(raw))
		seq++
	}
	if tree.Size() != ledger.TileWidth {
		return tlog.Hash{}, fmt.Errorf("%w: %d entries from %d on, want %d", ErrAltered, tree.Size(), r.index*ledger.TileWidth, ledger.TileWidth)
	}
	r.index++
	return tree.Root(), nil
}
