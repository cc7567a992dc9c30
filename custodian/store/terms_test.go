package store_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

// The index names the blocks that hold all of the terms, over many spans, in either order and in any range.
func TestTermBlocks(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		t.Run(driver, func(t *testing.T) {
			cfg := storetest.Config(t, driver, store.Schema{"note": store.JSON[string](false)})
			storetest.Genesis(t, cfg, func(*store.Tx) error { return nil })
			s := storetest.Open(t, cfg)
			const perSpan = store.TermSpan / store.TermBlock
			held := map[int64][]uint64{-5: {0, 1, 63, 64, 700, 701, 40_000}, 7: {1, 63, 64, 65, 701, 39_999, 40_000}}
			for term, blocks := range held {
				for _, b := range blocks { // one by one: what is added later joins what is there
					took, err := s.AddDerived(t.Context(), store.Derived{Terms: []store.Term{{Span: b / perSpan, Term: term, Blocks: 1 << (b % perSpan)}}})
					require.NoError(t, err)
					require.True(t, took)
				}
			}
			both := []uint64{1, 63, 64, 701, 40_000}
			for _, c := range []struct {
				terms    []int64
				from, to uint64
				limit    int
				want     []uint64
			}{
				{[]int64{-5, 7}, 0, 50_000, 16, both},
				{[]int64{-5, 7}, 0, 40_000, 16, both[:4]},
				{[]int64{-5, 7}, 2, 40_001, 16, both[1:]},
				{[]int64{-5, 7}, 63, 65, 16, both[1:3]},
				{[]int64{7}, 0, 50_000, 16, held[7]},
				{[]int64{8}, 0, 50_000, 16, nil},
				{[]int64{7, 8}, 0, 50_000, 16, nil},
				{[]int64{7}, 5, 5, 16, nil},
			} {
				for limit := 1; limit <= c.limit; limit += 3 {
					got, err := s.TermBlocks(t.Context(), c.terms, c.from, c.to, false, limit)
					require.NoError(t, err)
					require.Equal(t, c.want[:min(limit, len(c.want))], got)
					turned := slices.Clone(c.want)
					slices.Reverse(turned)
					got, err = s.TermBlocks(t.Context(), c.terms, c.from, c.to, true, limit)
					require.NoError(t, err)
					require.Equal(t, turned[:min(limit, len(turned))], got)
				}
			}
		})
	}
}
