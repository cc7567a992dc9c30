package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"
)

// Names in a C2SP tlog-tiles directory, and one of our own: the log's public keys, so that a copy
// without a trust file can at least be checked against itself.
const (
	CheckpointFile = "checkpoint"
	LogKeysFile    = "log-keys.txt"
	HandoversFile  = "log-handovers.json" // only where a log key was replaced

	// maxFile bounds any file of a log: a full bundle of entries of the largest size.
	maxFile = TileWidth * (2 + MaxEntry)
)

// TilePath is the path of a tile of hashes, width 1 to TileWidth, relative to the log's directory.
func TilePath(level int, index uint64, width int) string {
	return fmt.Sprintf("tile/%d/%s", level, indexPath(index, width))
}

// EntriesPath is the path of an entry bundle, width 1 to TileWidth, relative to the log's directory.
func EntriesPath(index uint64, width int) string { return "tile/entries/" + indexPath(index, width) }

// KeptPath is the path of the control entries that remain of a group whose entry bundle was deleted under retention,
// relative to the log's directory. It is absent where none remains. Ours: C2SP tlog-tiles knows no deletion.
func KeptPath(index uint64) string { return "kept/" + indexPath(index, TileWidth) }

// indexPath writes an index in groups of three digits, all but the last marked with x, and the width
// of what is partial.
func indexPath(index uint64, width int) string {
	s := fmt.Sprintf("%03d", index%1000)
	for index /= 1000; index > 0; index /= 1000 {
		s = fmt.Sprintf("x%03d/%s", index%1000, s)
	}
	if width < TileWidth {
		s += fmt.Sprintf(".p/%d", width)
	}
	return s
}

// LogSource reads the files of a tlog-tiles log by their path. A missing file is fs.ErrNotExist.
type LogSource interface {
	ReadFile(ctx context.Context, path string) ([]byte, error)
}

// DirSource reads a log from a directory, and nothing outside it.
type DirSource struct{ root *os.Root }

// OpenDir opens a tlog-tiles directory. Close it after use.
func OpenDir(dir string) (*DirSource, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening log directory: %w", err)
	}
	return &DirSource{root}, nil
}

// Close releases the directory.
func (d *DirSource) Close() error { return d.root.Close() }

// ReadFile implements [LogSource].
func (d *DirSource) ReadFile(ctx context.Context, path string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	f, err := d.root.Open(filepath.FromSlash(path))
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return data, nil
}

// logFiles reads and bounds the files of a log of a known size. What is wrong with a file's content is a
// [VerifyError]; a missing file is fs.ErrNotExist; anything else means that it could not be read.
type logFiles struct {
	src  LogSource
	size uint64
}

// width is how many entries of the log fall into the index'th group of TileWidth.
func (f logFiles) width(index uint64) int { return int(min(TileWidth, f.size-index*TileWidth)) }

// tile reads a tile of hashes. The log may have grown since the checkpoint: a partial tile that is
// gone is the beginning of the full one.
func (f logFiles) tile(ctx context.Context, level int, index uint64, width int) ([]byte, error) {
	data, err := f.read(ctx, TilePath(level, index, width), tileBytes)
	if errors.Is(err, fs.ErrNotExist) && width < TileWidth {
		data, err = f.read(ctx, TilePath(level, index, TileWidth), tileBytes)
		if err == nil && len(data) == tileBytes {
			data = data[:width*tlog.HashSize]
		}
	}
	if err != nil {
		return nil, err
	}
	if len(data) != width*tlog.HashSize {
		return nil, somewhere(ErrTiles, "%s: %d bytes, want %d", TilePath(level, index, width), len(data), width*tlog.HashSize)
	}
	return data, nil
}

// bundle reads an entry bundle. grown says that it is a full one in place of the partial one asked
// for, and holds entries after the checkpoint.
func (f logFiles) bundle(ctx context.Context, index uint64) (data []byte, grown bool, err error) {
	width := f.width(index)
	data, err = f.read(ctx, EntriesPath(index, width), maxFile)
	if errors.Is(err, fs.ErrNotExist) && width < TileWidth {
		data, err = f.read(ctx, EntriesPath(index, TileWidth), maxFile)
		grown = true
	}
	return data, grown, err
}

// kept reads the control entries that remain of a group, nothing where there are none.
func (f logFiles) kept(ctx context.Context, index uint64) ([]byte, error) {
	data, err := f.read(ctx, KeptPath(index), maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

func (f logFiles) read(ctx context.Context, path string, limit int) ([]byte, error) {
	data, err := f.src.ReadFile(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(data) > limit {
		return nil, somewhere(ErrEdited, "%s: over %d bytes", path, limit)
	}
	return data, nil
}

// leafReader reads single leaf hashes from genuine level-0 tiles, keeping the tile read last.
type leafReader struct {
	files logFiles
	index uint64
	tile  []byte
}

func (r *leafReader) at(ctx context.Context, seq uint64) (tlog.Hash, error) {
	tile, err := r.group(ctx, seq/TileWidth)
	if err != nil {
		return tlog.Hash{}, err
	}
	return leafOf(tile, seq), nil
}

// group is the level-0 tile of a group.
func (r *leafReader) group(ctx context.Context, index uint64) ([]byte, error) {
	if r.tile == nil || r.index != index {
		data, err := r.files.tile(ctx, 0, index, r.files.width(index))
		if err != nil {
			return nil, err
		}
		r.index, r.tile = index, data
	}
	return r.tile, nil
}

// leafOf is an entry's leaf hash in the level-0 tile that holds it.
func leafOf(tile []byte, seq uint64) tlog.Hash {
	i := seq % TileWidth * tlog.HashSize
	return tlog.Hash(tile[i : i+tlog.HashSize])
}
