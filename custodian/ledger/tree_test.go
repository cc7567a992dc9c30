package ledger_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"conclave/custodian/ledger"
)

// reference is the same log by golang.org/x/mod/sumdb/tlog: every hash kept.
type reference []tlog.Hash

func (r *reference) append(t require.TestingT, n int64, h tlog.Hash) {
	hashes, err := tlog.StoredHashesForRecordHash(n, h, *r)
	require.NoError(t, err)
	*r = append(*r, hashes...)
}

func (r reference) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = r[x]
	}
	return out, nil
}

func TestTreeAgreesWithReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(0, 70_000).Draw(t, "size")
		if rapid.Bool().Draw(t, "small") {
			size %= 600
		}
		var ref reference
		tree, stored := ledger.NewTree(), memoryTiles{}
		for i := range size {
			ref.append(t, int64(i), leaf(i))
			tree.Append(leaf(i))
			if i%97 == 0 {
				stored.store(tree.TakeFullTiles())
			}
		}
		root, err := tlog.TreeHash(int64(size), ref)
		require.NoError(t, err)
		require.Equal(t, root, tree.Root())
		require.Equal(t, uint64(size), tree.Size())
		if size == 0 {
			return
		}
		checkProofs(t, ref, tree, stored, size)

		stored.store(tree.TakeFullTiles())
		checkTiles(t, ref, tree, stored, int64(size))
		tail := []tlog.Hash{}
		for i := size - size%ledger.TileWidth; i < size; i++ {
			tail = append(tail, leaf(i))
		}
		loaded, err := ledger.LoadTree(context.Background(), uint64(size), stored, tail)
		require.NoError(t, err)
		require.Equal(t, root, loaded.Root())
		for i := size; i < size+300; i++ { // a loaded tree goes on like the one it was
			tree.Append(leaf(i))
			loaded.Append(leaf(i))
		}
		require.Equal(t, tree.Root(), loaded.Root())
		require.Equal(t, tree.TakeFullTiles(), loaded.TakeFullTiles())
	})
}

func checkProofs(t *rapid.T, ref reference, tree *ledger.Tree, stored memoryTiles, size int) {
	ctx := context.Background()
	past := rapid.IntRange(1, size).Draw(t, "past")
	seq := rapid.IntRange(0, past-1).Draw(t, "seq")
	pastRoot, err := tlog.TreeHash(int64(past), ref)
	require.NoError(t, err)

	inclusion, err := ledger.ProveInclusion(ctx, tree, stored, uint64(seq), uint64(past))
	require.NoError(t, err)
	require.NoError(t, tlog.CheckRecord(inclusion, int64(past), pastRoot, int64(seq), leaf(seq)))

	consistency, err := ledger.ProveConsistency(ctx, tree, stored, uint64(past), uint64(size))
	require.NoError(t, err)
	require.NoError(t, tlog.CheckTree(consistency, int64(size), tree.Root(), int64(past), pastRoot))
}

func checkTiles(t *rapid.T, ref reference, tree *ledger.Tree, stored memoryTiles, size int64) {
	full := 0
	for _, tile := range tlog.NewTiles(ledger.TileHeight, 0, size) {
		want, err := tlog.ReadTileData(tile, ref)
		require.NoError(t, err)
		got := tree.PartialTile(tile.L)
		if tile.W == ledger.TileWidth {
			full++
			got, err = stored.ReadTile(context.Background(), tile.L, tile.N)
			require.NoError(t, err)
		}
		require.True(t, bytes.Equal(want, got), "tile %s", tile.Path())
	}
	require.Len(t, stored, full)
}

func TestTreeClonesAreIndependent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := ledger.NewTree()
		n := rapid.IntRange(0, 1000).Draw(t, "base")
		for i := range n {
			base.Append(leaf(i))
		}
		before := base.Root()
		a, b := base.Clone(), base.Clone()
		steps := rapid.SliceOfN(rapid.IntRange(0, 2), 0, 700).Draw(t, "steps")
		var sums [3][]int
		for i, which := range steps {
			[]*ledger.Tree{a, b, base}[which].Append(leaf(n + i))
			sums[which] = append(sums[which], n+i)
		}
		for which, tree := range []*ledger.Tree{a, b, base} {
			want := ledger.NewTree()
			for i := range n {
				want.Append(leaf(i))
			}
			require.Equal(t, before, want.Root())
			for _, i := range sums[which] {
				want.Append(leaf(i))
			}
			require.Equal(t, want.Root(), tree.Root())
			require.Equal(t, want.TakeFullTiles(), tree.TakeFullTiles())
			require.Equal(t, want.PartialTile(0), tree.PartialTile(0))
		}
	})
}

func TestProofsRefuseDamagedTiles(t *testing.T) {
	tree, stored := ledger.NewTree(), memoryTiles{}
	for i := range 1000 {
		tree.Append(leaf(i))
	}
	stored.store(tree.TakeFullTiles())
	stored[[2]int64{0, 1}][100] ^= 1
	_, err := ledger.ProveInclusion(t.Context(), tree, stored, 300, 1000)
	require.Error(t, err, "a damaged tile never makes it into a proof")
	delete(stored, [2]int64{0, 1})
	_, err = ledger.ProveInclusion(t.Context(), tree, stored, 300, 1000)
	require.ErrorIs(t, err, ledger.ErrTileMissing)
}

func TestProofArguments(t *testing.T) {
	tree := ledger.NewTree()
	tree.Append(leaf(0))
	for _, c := range [][2]uint64{{0, 0}, {1, 1}, {0, 2}, {5, 1 << 60}} {
		_, err := ledger.ProveInclusion(t.Context(), tree, memoryTiles{}, c[0], c[1])
		require.Error(t, err)
	}
	for _, c := range [][2]uint64{{1, 0}, {0, 2}, {2, 2}} {
		_, err := ledger.ProveConsistency(t.Context(), tree, memoryTiles{}, c[0], c[1])
		require.Error(t, err)
	}
	proof, err := ledger.ProveConsistency(t.Context(), tree, memoryTiles{}, 0, 1)
	require.NoError(t, err)
	require.Empty(t, proof)
}

func TestLoadTreeArguments(t *testing.T) {
	_, err := ledger.LoadTree(t.Context(), 300, memoryTiles{}, nil)
	require.Error(t, err, "tail of the wrong length")
	_, err = ledger.LoadTree(t.Context(), 256, memoryTiles{}, nil)
	require.ErrorIs(t, err, ledger.ErrTileMissing)
	_, err = ledger.LoadTree(t.Context(), 256, memoryTiles{{0, 0}: {1, 2}}, nil)
	require.Error(t, err, "short tile")
	_, err = ledger.LoadTree(t.Context(), 1<<60, memoryTiles{}, nil)
	require.Error(t, err)
}

func TestLeafHash(t *testing.T) {
	for _, n := range []int{0, 1, 1022, 1023, 1024, 16384} {
		b := random(t, n)
		require.Equal(t, tlog.RecordHash(b), ledger.LeafHash(b))
	}
}

func BenchmarkTreeAppend(b *testing.B) {
	tree, h := ledger.NewTree(), leaf(1)
	b.ReportAllocs()
	for b.Loop() {
		tree.Append(h)
		if tree.Size()%4096 == 0 {
			tree.TakeFullTiles()
		}
	}
}

func BenchmarkLeafHash(b *testing.B) {
	entry := random(b, 430)
	b.ReportAllocs()
	for b.Loop() {
		ledger.LeafHash(entry)
	}
}

func BenchmarkTreeCloneRoot(b *testing.B) {
	tree := ledger.NewTree()
	for i := range 1_000_000 {
		tree.Append(leaf(i))
	}
	tree.TakeFullTiles()
	b.ReportAllocs()
	for b.Loop() {
		c := tree.Clone()
		c.Append(leaf(1))
		c.Root()
	}
}
