package store_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

func TestControlEntriesOfARange(t *testing.T) {
	storetest.Each(t, schema(), seed, func(t *testing.T, open func() *store.Store) {
		ctx, s := context.Background(), open()
		for i := range 40 {
			_, err := put(s, "note", fmt.Sprint(i), note{Text: "hello"})
			require.NoError(t, err)
			_, err = s.Append(ctx, use(), s.View().Epoch())
			require.NoError(t, err)
		}
		in := func(from, to uint64) []uint64 {
			seqs := []uint64{}
			require.NoError(t, s.ControlEntriesIn(ctx, from, to, func(e *ledger.Entry, _ []byte) error {
				require.NotNil(t, e.Link)
				seqs = append(seqs, e.Seq)
				return nil
			}))
			return seqs
		}
		var want []uint64
		for _, e := range requireWhole(t, s) {
			if e.Link != nil {
				want = append(want, e.Seq)
			}
		}
		require.Len(t, want, 41)
		require.Equal(t, want, in(0, ledger.MaxInteger))
		require.Equal(t, want[3:9], in(want[3], want[8]+1))
		require.Equal(t, want[3:9], in(want[2]+1, want[9]))
		require.Empty(t, in(want[5]+1, want[6]))
		require.Empty(t, in(want[5], want[5]))
	})
}
