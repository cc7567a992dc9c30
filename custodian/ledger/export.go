package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"
)

// EntrySource reads encoded entries in order, from ≤ seq < to. raw is valid during fn only; an error
// of fn ends the reading and is returned. Where entries among them were deleted the reading ends with a [*DeletedError];
// those before them may have been read or not.
type EntrySource interface {
	ReadEntries(ctx context.Context, from, to uint64, fn func(seq uint64, raw []byte) error) error
}

// Export is what ExportDir writes.
type Export struct {
	Checkpoint []byte // signed checkpoint: the export holds exactly the entries it covers
	Keys       *KeyChain
	Entries    EntrySource
	// Remains has the level-0 tiles and the kept control entries of groups whose entries were deleted; may be nil where
	// none were.
	Remains  LogSource
	Progress func(done, total uint64) // may be nil
}

// ErrExportTarget: the directory to export into exists and is not empty.
var ErrExportTarget = errors.New("export directory is not empty")

// ExportDir writes a log as a C2SP tlog-tiles directory that public tools read. Everything is written
// to a new directory beside dir, checked against the checkpoint's root, and renamed to dir at the end:
// dir is there whole or not at all. Nothing that exists is overwritten. Of groups that were deleted it holds what remains.
func ExportDir(ctx context.Context, dir string, in Export) error {
	head, err := in.Keys.Open(in.Checkpoint)
	if err != nil {
		return fmt.Errorf("exporting ledger: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return fmt.Errorf("exporting ledger: %w", err)
	}
	if err := freeTarget(dir); err != nil {
		return fmt.Errorf("exporting ledger: %w", err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".")
	if err != nil {
		return fmt.Errorf("exporting ledger: %w", err)
	}
	defer os.RemoveAll(temp) // gone already when all went well
	x := &exporter{dir: temp, in: in, head: head, tree: NewTree()}
	if err := x.run(ctx); err != nil {
		return fmt.Errorf("exporting ledger: %w", err)
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return fmt.Errorf("exporting ledger: %w", err)
	}
	unix.Sync() // once for all files: a file at a time would take longer than writing them
	// An empty target makes way; this fails on one that has been filled meanwhile.
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("exporting ledger: %w", err)
	}
	if err := os.Rename(temp, dir); err != nil {
		return fmt.Errorf("exporting ledger: %w", err)
	}
	return syncDir(filepath.Dir(dir))
}

func freeTarget(dir string) error {
	found, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at target: %w", err)
	}
	if len(found) > 0 {
		return fmt.Errorf("%s: %w", dir, ErrExportTarget)
	}
	return nil
}

type exporter struct {
	dir    string
	in     Export
	head   Head
	tree   *Tree
	bundle []byte
	count  int    // entries in bundle
	made   string // directory made last
}

func (x *exporter) run(ctx context.Context) error {
	if err := x.entries(ctx); err != nil {
		return fmt.Errorf("reading entries: %w", err)
	}
	if x.count > 0 {
		if err := x.flush(); err != nil {
			return err
		}
	}
	if x.tree.Size() != x.head.Size || x.tree.Root() != x.head.Root {
		return fmt.Errorf("the %d entries read do not make the checkpoint's tree of %d: %w", x.tree.Size(), x.head.Size, ErrEdited)
	}
	for level := range tileLevels {
		if data := x.tree.PartialTile(level); data != nil {
			index := x.tree.Size() >> (TileHeight * (level + 1))
			if err := x.write(TilePath(level, index, len(data)/tlog.HashSize), data); err != nil {
				return err
			}
		}
	}
	keys, err := x.in.Keys.Before(x.head.Size) // what was handed over later says nothing about this copy
	if err != nil {
		return err
	}
	if err := x.write(LogKeysFile, []byte(strings.Join(keys.Keys(), "\n")+"\n")); err != nil {
		return err
	}
	if handovers := keys.Handovers(); len(handovers) > 0 {
		data, err := EncodeHandovers(handovers)
		if err != nil {
			return err
		}
		if err := x.write(HandoversFile, data); err != nil {
			return err
		}
	}
	return x.write(CheckpointFile, x.in.Checkpoint)
}

// entries takes all entries and, of those that were deleted, what remains.
func (x *exporter) entries(ctx context.Context) error {
	for x.tree.Size() < x.head.Size {
		err := x.in.Entries.ReadEntries(ctx, x.tree.Size(), x.head.Size, x.entry)
		var gone *DeletedError
		if err == nil || !errors.As(err, &gone) || x.in.Remains == nil {
			return err
		}
		if next := x.tree.Size(); next < gone.From {
			if err := x.in.Entries.ReadEntries(ctx, next, min(gone.From, x.head.Size), x.entry); err != nil {
				return err
			}
		}
		next, to := x.tree.Size(), min(gone.To, x.head.Size)
		if next < gone.From || next >= to || next%TileWidth != 0 || to%TileWidth != 0 {
			return fmt.Errorf("whole groups of %d entries can be left out, not entries from %d up to %d: %w", TileWidth, next, to, gone)
		}
		for ; next < to; next += TileWidth {
			if err := x.deleted(ctx, next/TileWidth); err != nil {
				return err
			}
		}
	}
	return nil
}

// deleted takes what remains of a group whose entries were deleted.
func (x *exporter) deleted(ctx context.Context, index uint64) error {
	files := logFiles{src: x.in.Remains, size: x.head.Size}
	tile, err := files.tile(ctx, 0, index, TileWidth)
	if err != nil {
		return err
	}
	kept, err := files.kept(ctx, index)
	if err != nil {
		return err
	}
	for _, err := range keptEntries(index, tile, kept) {
		if err != nil {
			return err
		}
	}
	if len(kept) > 0 {
		if err := x.write(KeptPath(index), kept); err != nil {
			return err
		}
	}
	for seq := range uint64(TileWidth) {
		x.tree.Append(leafOf(tile, seq))
	}
	return x.writeTiles()
}

// entry takes the next entry.
func (x *exporter) entry(seq uint64, raw []byte) (err error) {
	if seq != x.tree.Size() {
		return fmt.Errorf("entry %d where %d is due", seq, x.tree.Size())
	}
	if x.bundle, err = AppendBundle(x.bundle, raw); err != nil {
		return fmt.Errorf("entry %d: %w", seq, err)
	}
	x.count++
	x.tree.Append(LeafHash(raw))
	if x.count == TileWidth {
		return x.flush()
	}
	return nil
}

// flush writes the bundle of the last group and the tiles that it finished.
func (x *exporter) flush() error {
	if err := x.write(EntriesPath((x.tree.Size()-1)/TileWidth, x.count), x.bundle); err != nil {
		return err
	}
	x.bundle, x.count = x.bundle[:0], 0
	return x.writeTiles()
}

// writeTiles writes the tiles that the last group finished.
func (x *exporter) writeTiles() error {
	for _, t := range x.tree.TakeFullTiles() {
		if err := x.write(TilePath(t.Level, uint64(t.Index), TileWidth), t.Data); err != nil {
			return err
		}
	}
	if x.in.Progress != nil {
		x.in.Progress(x.tree.Size(), x.head.Size)
	}
	return nil
}

func (x *exporter) write(name string, data []byte) error {
	path := filepath.Join(x.dir, filepath.FromSlash(name))
	if parent := filepath.Dir(path); parent != x.made {
		if err := os.MkdirAll(parent, 0o755); err != nil {
			return fmt.Errorf("making %s: %w", parent, err)
		}
		x.made = parent
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
