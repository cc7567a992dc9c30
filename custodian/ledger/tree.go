package ledger

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	// TileHeight is the height of a tile, in tree levels (C2SP tlog-tiles).
	TileHeight = 8
	// TileWidth is the number of hashes in a full tile, and of entries in a full entry bundle.
	TileWidth = 1 << TileHeight
	// tileBytes is the size of a full tile.
	tileBytes = TileWidth * tlog.HashSize
	// tileLevels is enough for 2^56 entries, beyond [MaxInteger].
	tileLevels = 7
)

// ErrTileMissing: a [TileSource] does not hold the tile asked for.
var ErrTileMissing = errors.New("tile is missing")

// Tile is one full tile: TileWidth hashes of tree level TileHeight × Level, starting at Index × TileWidth.
type Tile struct {
	Level int
	Index int64
	Data  []byte // TileWidth × 32 bytes
}

// TileSource reads full tiles from where [Tree.TakeFullTiles] results were stored. A tile that it does
// not hold is [ErrTileMissing].
type TileSource interface {
	ReadTile(ctx context.Context, level int, index int64) ([]byte, error)
}

// Tree is the right edge of an RFC 6962 Merkle tree: enough to append and to know the root, whatever
// the size. A Tree is one writer's; [Tree.Clone] gives an independent value, so that a batch is built
// on a clone and dropped when its commit fails.
type Tree struct {
	size uint64
	// peaks[i] is the root of the complete subtree of 2^i leaves at the right edge, for each bit i of size.
	peaks [64]tlog.Hash
	// edge[k] holds the hashes of the unfinished tile of tile level k. Slices are only ever appended
	// to: a finished tile's slice is left to whoever shares it.
	edge [tileLevels][]tlog.Hash
	full []Tile
}

// NewTree returns the empty tree.
func NewTree() *Tree { return &Tree{} }

// Size is the number of leaves.
func (t *Tree) Size() uint64 { return t.size }

// Clone returns an independent copy. It shares what both have written so far and costs no more than
// the struct: appends on either side go to memory that the other does not see.
func (t *Tree) Clone() *Tree {
	c := *t
	for k := range c.edge {
		c.edge[k] = slices.Clip(c.edge[k])
	}
	c.full = slices.Clip(c.full)
	return &c
}

// LeafHash is the RFC 6962 hash of an encoded entry, SHA-256(0x00 || entry).
func LeafHash(entry []byte) tlog.Hash {
	if len(entry) > 1023 {
		return tlog.RecordHash(entry)
	}
	// Most entries fit a buffer on the stack; a running hash would be allocated.
	var buf [1024]byte
	n := copy(buf[1:], entry)
	return sha256.Sum256(buf[:1+n])
}

// Append adds one leaf by its hash; see [LeafHash].
func (t *Tree) Append(leaf tlog.Hash) {
	h := leaf
	t.push(0, h)
	level := 0
	for ; t.size>>level&1 == 1; level++ {
		h = tlog.NodeHash(t.peaks[level], h)
		if (level+1)%TileHeight == 0 {
			t.push((level+1)/TileHeight, h)
		}
	}
	t.peaks[level] = h
	t.size++
}

// push adds a hash to the unfinished tile of tile level k. It runs before size counts the leaf.
func (t *Tree) push(k int, h tlog.Hash) {
	if t.edge[k] == nil {
		t.edge[k] = make([]tlog.Hash, 0, TileWidth)
	}
	t.edge[k] = append(t.edge[k], h)
	if len(t.edge[k]) == TileWidth {
		t.full = append(t.full, Tile{Level: k, Index: int64(t.size >> (TileHeight * (k + 1))), Data: tileData(t.edge[k])})
		t.edge[k] = nil
	}
}

// Root is the root hash, SHA-256 of nothing for the empty tree (RFC 6962 section 2.1). It costs one
// hash for each set bit of the size.
func (t *Tree) Root() tlog.Hash {
	if t.size == 0 {
		return sha256.Sum256(nil)
	}
	level := bits.TrailingZeros64(t.size)
	h := t.peaks[level]
	for level++; level < bits.Len64(t.size); level++ {
		if t.size>>level&1 == 1 {
			h = tlog.NodeHash(t.peaks[level], h)
		}
	}
	return h
}

// TakeFullTiles returns the tiles finished since the last take, children before parents, and forgets
// them. Each is stored once and never changes.
func (t *Tree) TakeFullTiles() []Tile {
	full := t.full
	t.full = nil
	return full
}

// PartialTile returns the hashes of the unfinished tile at a tile level, 32 bytes each, nil where the
// level has none.
func (t *Tree) PartialTile(level int) []byte {
	if level < 0 || level >= tileLevels || len(t.edge[level]) == 0 {
		return nil
	}
	return tileData(t.edge[level])
}

func tileData(hashes []tlog.Hash) []byte {
	data := make([]byte, 0, len(hashes)*tlog.HashSize)
	for i := range hashes {
		data = append(data, hashes[i][:]...)
	}
	return data
}

// LoadTree rebuilds the tree of a size from stored full tiles and the leaf hashes of the entries after
// the last full level-0 tile (size modulo TileWidth of them). It reads at most TileWidth-1 tiles a
// level. Tiles are taken at their word: compare [Tree.Root] with a signed checkpoint.
func LoadTree(ctx context.Context, size uint64, tiles TileSource, tail []tlog.Hash) (*Tree, error) {
	if size > MaxInteger {
		return nil, fmt.Errorf("loading tree: size %d, at most 2^53 allowed", size)
	}
	if uint64(len(tail)) != size%TileWidth {
		return nil, fmt.Errorf("loading tree of size %d: %d leaf hashes after the last full tile, want %d", size, len(tail), size%TileWidth)
	}
	t := &Tree{size: size}
	t.setEdge(0, tail)
	for level := 1; size>>(TileHeight*level) > 0; level++ {
		count := int64(size >> (TileHeight * level))
		hashes := make([]tlog.Hash, 0, TileWidth)
		for index := count - count%TileWidth; index < count; index++ {
			data, err := readFullTile(ctx, tiles, level-1, index)
			if err != nil {
				return nil, fmt.Errorf("loading tree of size %d: %w", size, err)
			}
			hashes = append(hashes, subtreeRoot(data))
		}
		t.setEdge(level, hashes)
	}
	return t, nil
}

func readFullTile(ctx context.Context, tiles TileSource, level int, index int64) ([]byte, error) {
	data, err := tiles.ReadTile(ctx, level, index)
	if err != nil {
		return nil, fmt.Errorf("reading tile %d/%d: %w", level, index, err)
	}
	if len(data) != tileBytes {
		return nil, fmt.Errorf("reading tile %d/%d: %d bytes, want %d", level, index, len(data), tileBytes)
	}
	return data, nil
}

// setEdge sets an unfinished tile and the peaks inside it: its widest complete subtrees, from the left.
func (t *Tree) setEdge(level int, hashes []tlog.Hash) {
	if len(hashes) == 0 {
		return
	}
	t.edge[level] = append(make([]tlog.Hash, 0, TileWidth), hashes...)
	data := tileData(hashes)
	for bit := TileHeight - 1; bit >= 0; bit-- {
		if len(hashes)>>bit&1 == 1 {
			width := tlog.HashSize << bit
			t.peaks[TileHeight*level+bit] = subtreeRoot(data[:width])
			data = data[width:]
		}
	}
}

// subtreeRoot is the root over a power of two of hashes.
func subtreeRoot(data []byte) tlog.Hash {
	if len(data) == tlog.HashSize {
		return tlog.Hash(data)
	}
	half := len(data) / 2
	return tlog.NodeHash(subtreeRoot(data[:half]), subtreeRoot(data[half:]))
}
