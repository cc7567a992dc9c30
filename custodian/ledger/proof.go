package ledger

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// HashReader reads any hash of the tree from its stored full tiles and its right edge. Every tile is
// authenticated against the tree's root before a hash of it is used, so storage need not be trusted;
// the tree must be. One reader serves one request, bounded by ctx. The tree must not change meanwhile:
// pass a clone.
func HashReader(ctx context.Context, tree *Tree, tiles TileSource) tlog.HashReader {
	return tlog.TileHashReader(
		tlog.Tree{N: int64(tree.size), Hash: tree.Root()},
		&tileReader{ctx: ctx, tree: tree, tiles: tiles})
}

// tileReader gives tlog the tiles of a tree. tlog's interface has no context, hence the field.
type tileReader struct {
	ctx   context.Context
	tree  *Tree
	tiles TileSource
}

// Height implements tlog.TileReader.
func (*tileReader) Height() int { return TileHeight }

// SaveTiles implements tlog.TileReader: tiles come from our own storage, there is nothing to save.
func (*tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

// ReadTiles implements tlog.TileReader.
func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, t := range tiles {
		if t.L >= tileLevels {
			return nil, fmt.Errorf("%w: tile %d/%d", ErrTileMissing, t.L, t.N)
		}
		d, err := r.tree.tile(r.ctx, r.tiles, t.L, t.N)
		if err != nil {
			return nil, err
		}
		if len(d) < t.W*tlog.HashSize {
			return nil, fmt.Errorf("%w: tile %d/%d has %d hashes, want %d", ErrTileMissing, t.L, t.N, len(d)/tlog.HashSize, t.W)
		}
		data[i] = d[:t.W*tlog.HashSize]
	}
	return data, nil
}

// tile returns one tile of the tree: unfinished, finished but not taken yet, or stored.
func (t *Tree) tile(ctx context.Context, tiles TileSource, level int, index int64) ([]byte, error) {
	if uint64(index) == t.size>>(TileHeight*(level+1)) {
		return t.PartialTile(level), nil
	}
	for i := range t.full {
		if t.full[i].Level == level && t.full[i].Index == index {
			return t.full[i].Data, nil
		}
	}
	return readFullTile(ctx, tiles, level, index)
}

// ProveInclusion proves that the entry at seq is in the log of a size, present or past
// (RFC 6962 section 2.1.1).
func ProveInclusion(ctx context.Context, tree *Tree, tiles TileSource, seq, size uint64) (tlog.RecordProof, error) {
	if seq >= size || size > tree.size {
		return nil, fmt.Errorf("proving inclusion: entry %d in size %d of a log of %d entries: allowed: entry < size ≤ log", seq, size, tree.size)
	}
	proof, err := tlog.ProveRecord(int64(size), int64(seq), HashReader(ctx, tree, tiles))
	if err != nil {
		return nil, fmt.Errorf("proving inclusion of entry %d in size %d: %w", seq, size, err)
	}
	return proof, nil
}

// ProveConsistency proves that the log of size newSize begins with the log of size oldSize
// (RFC 6962 section 2.1.2). From the empty log, and from a size to itself, the proof is empty.
func ProveConsistency(ctx context.Context, tree *Tree, tiles TileSource, oldSize, newSize uint64) (tlog.TreeProof, error) {
	if oldSize > newSize || newSize > tree.size {
		return nil, fmt.Errorf("proving consistency: sizes %d and %d of a log of %d entries: allowed: old ≤ new ≤ log", oldSize, newSize, tree.size)
	}
	if oldSize == 0 || oldSize == newSize {
		return tlog.TreeProof{}, nil
	}
	proof, err := tlog.ProveTree(int64(newSize), int64(oldSize), HashReader(ctx, tree, tiles))
	if err != nil {
		return nil, fmt.Errorf("proving consistency of sizes %d and %d: %w", oldSize, newSize, err)
	}
	return proof, nil
}

// ErrProof: a proof that does not prove what it is offered for.
var ErrProof = errors.New("proof does not hold")

// CheckInclusion checks that the encoded entry is the one at seq in the log of a head.
func CheckInclusion(proof tlog.RecordProof, head Head, seq uint64, entry []byte) error {
	if head.Size > MaxInteger || seq >= head.Size {
		return fmt.Errorf("%w: entry %d in a log of %d", ErrProof, seq, head.Size)
	}
	if err := tlog.CheckRecord(proof, int64(head.Size), head.Root, int64(seq), LeafHash(entry)); err != nil {
		return fmt.Errorf("%w: entry %d in a log of %d: %w", ErrProof, seq, head.Size, err)
	}
	return nil
}

// behind says why a head can not be a later one of the same log, by its numbers alone: it has fewer entries ([ErrRollback]), or
// as many and yet fewer of the control plane or an earlier epoch, which no log has by going on ([ErrFork]).
func behind(older, newer Head) error {
	switch {
	case newer.Size < older.Size:
		return ErrRollback
	case newer.Epoch < older.Epoch || newer.ControlCount < older.ControlCount:
		return ErrFork
	}
	return nil
}

// CheckConsistency checks that a newer head continues an older one. [ErrRollback]: newer is in truth
// older. [ErrFork]: it is another log, or the proof is not good enough to show that it is the same.
func CheckConsistency(proof tlog.TreeProof, older, newer Head) error {
	if err := behind(older, newer); err != nil {
		return fmt.Errorf("log went from %d entries at epoch %d to %d at epoch %d: %w", older.Size, older.Epoch, newer.Size, newer.Epoch, err)
	}
	if older.Size == newer.Size {
		if older != newer {
			return fmt.Errorf("two heads of size %d differ: %w", newer.Size, ErrFork)
		}
		return nil
	}
	if older.Size == 0 {
		return nil
	}
	if newer.Size > MaxInteger {
		return fmt.Errorf("%w: size over 2^53", ErrProof)
	}
	if err := tlog.CheckTree(proof, int64(newer.Size), newer.Root, int64(older.Size), older.Root); err != nil {
		return fmt.Errorf("no proof that size %d continues size %d: %w: %w", newer.Size, older.Size, ErrFork, err)
	}
	return nil
}
