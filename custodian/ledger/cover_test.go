package ledger_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"conclave/custodian/ledger"
)

// logOf is a log of a size with its leaves and stored hashes, made by the library, not by this package.
func logOf(t require.TestingT, size int) (ledger.Head, []tlog.Hash, tlog.HashReader) {
	var stored []tlog.Hash
	leaves := make([]tlog.Hash, size)
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, n := range indexes {
			if n >= int64(len(stored)) {
				return nil, fmt.Errorf("hash %d of %d", n, len(stored))
			}
			out[i] = stored[n]
		}
		return out, nil
	})
	for i := range size {
		leaves[i] = tlog.RecordHash(fmt.Appendf(nil, "entry %d", i))
		hashes, err := tlog.StoredHashesForRecordHash(int64(i), leaves[i], reader)
		require.NoError(t, err)
		stored = append(stored, hashes...)
	}
	root, err := tlog.TreeHash(int64(size), reader)
	require.NoError(t, err)
	return ledger.Head{Size: uint64(size), Root: root}, leaves, reader
}

// known gives the hashes of spans.
func known(t require.TestingT, reader tlog.HashReader, spans []ledger.Span) []tlog.Hash {
	var indexes []int64
	for _, s := range spans {
		for n := s.From >> s.Height; n < s.To>>s.Height; n++ {
			indexes = append(indexes, tlog.StoredHashIndex(s.Height, int64(n)))
		}
	}
	out, err := reader.ReadHashes(indexes)
	require.NoError(t, err)
	return out
}

func feed(hashes []tlog.Hash) func() (tlog.Hash, error) {
	return func() (tlog.Hash, error) {
		if len(hashes) == 0 {
			return tlog.Hash{}, errors.New("no more hashes")
		}
		h := hashes[0]
		hashes = hashes[1:]
		return h, nil
	}
}

func check(head ledger.Head, spans []ledger.Span, cov []tlog.Hash, next func() (tlog.Hash, error)) error {
	_, err := ledger.CheckCover(head, spans, cov, next)
	return err
}

// Where the last entry of an earlier log is among those that a reader has, they see its root.
func TestInvariant09_CoverShowsTheEarlierRoot(t *testing.T) {
	t.Parallel()
	head, _, reader := logOf(t, 77)
	for earlier := uint64(1); earlier <= head.Size; earlier++ {
		want, err := tlog.TreeHash(int64(earlier), reader)
		require.NoError(t, err)
		spans := ledger.EntrySpans([]uint64{earlier - 1})
		cov, err := ledger.ProveCover(head.Size, spans, reader)
		require.NoError(t, err)
		roots, err := ledger.CheckCover(head, spans, cov, feed(known(t, reader, spans)), earlier)
		require.NoError(t, err)
		require.Equal(t, map[uint64]tlog.Hash{earlier: want}, roots)
	}
	spans := ledger.EntrySpans([]uint64{70})
	cov, err := ledger.ProveCover(head.Size, spans, reader)
	require.NoError(t, err)
	roots, err := ledger.CheckCover(head, spans, cov, feed(known(t, reader, spans)), 11, 0)
	require.NoError(t, err)
	require.Empty(t, roots)

	// Of a run, every size that ends in it, all in one walk; and the whole.
	spans = ledger.RangeSpans(20, 50, 0)
	cov, err = ledger.ProveCover(head.Size, spans, reader)
	require.NoError(t, err)
	var sizes []uint64
	for size := uint64(0); size <= head.Size; size++ {
		sizes = append(sizes, size)
	}
	roots, err = ledger.CheckCover(head, spans, cov, feed(known(t, reader, spans)), sizes...)
	require.NoError(t, err)
	for size := uint64(21); size <= 50; size++ {
		want, err := tlog.TreeHash(int64(size), reader)
		require.NoError(t, err)
		require.Equal(t, want, roots[size], size)
	}
	for size, root := range roots { // others may be known by chance: then rightly
		want, err := tlog.TreeHash(int64(size), reader)
		require.NoError(t, err)
		require.Equal(t, want, root, size)
	}
}

// Whatever run or set of entries a reader has, cover and entries make the root; with one hash changed, moved, left
// out or added they do not.
func TestInvariant09_CoverShowsThatNothingIsLeftOut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 90).Draw(t, "size")
		head, _, reader := logOf(t, size)
		var spans []ledger.Span
		if rapid.Bool().Draw(t, "run") {
			from := rapid.IntRange(0, size-1).Draw(t, "from")
			to := rapid.IntRange(from+1, size).Draw(t, "to")
			spans = ledger.RangeSpans(uint64(from), uint64(to), rapid.IntRange(0, 4).Draw(t, "height"))
		} else {
			seqs := rapid.SliceOfDistinct(rapid.Uint64Range(0, uint64(size-1)), func(n uint64) uint64 { return n }).Draw(t, "seqs")
			slices.Sort(seqs)
			spans = ledger.EntrySpans(seqs)
		}
		cov, err := ledger.ProveCover(head.Size, spans, reader)
		require.NoError(t, err)
		have := known(t, reader, spans)
		require.NoError(t, check(head, spans, cov, feed(have)))
		if len(have) > 0 {
			i := rapid.IntRange(0, len(have)-1).Draw(t, "flipped")
			bad := slices.Clone(have)
			bad[i][5] ^= 1
			require.ErrorIs(t, check(head, spans, cov, feed(bad)), ledger.ErrProof)
			if j := rapid.IntRange(0, len(have)-1).Draw(t, "swapped"); i != j {
				bad = slices.Clone(have)
				bad[i], bad[j] = bad[j], bad[i]
				require.ErrorIs(t, check(head, spans, cov, feed(bad)), ledger.ErrProof)
			}
			require.Error(t, check(head, spans, cov, feed(have[1:])))
		}
		require.ErrorIs(t, check(head, spans, append(slices.Clone(cov), tlog.Hash{}), feed(have)), ledger.ErrProof)
		if len(cov) > 0 {
			require.ErrorIs(t, check(head, spans, cov[1:], feed(have)), ledger.ErrProof)
		}
	})
}

func TestCoverRefusesSpansThatAreNone(t *testing.T) {
	t.Parallel()
	head, _, reader := logOf(t, 20)
	for name, spans := range map[string][]ledger.Span{
		"empty":         {{From: 4, To: 4}},
		"reversed":      {{From: 5, To: 4}},
		"beyond":        {{From: 4, To: 21}},
		"overlapping":   {{From: 1, To: 4}, {From: 3, To: 5}},
		"not in order":  {{From: 6, To: 8}, {From: 1, To: 2}},
		"not aligned":   {{From: 2, To: 6, Height: 2}},
		"height beyond": {{From: 0, To: 8, Height: 60}},
	} {
		_, err := ledger.ProveCover(head.Size, spans, reader)
		require.Error(t, err, name)
		require.ErrorIs(t, check(head, spans, nil, feed(nil)), ledger.ErrProof, name)
	}
}
