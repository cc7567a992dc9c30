package ceremony_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/custodian"
	"conclave/custodian/store"
)

// Ended ceremonies are not in memory, and listed, read, proposed again and reviewed all the same.
func TestEndedCeremoniesAreReadFromTheDatabase(t *testing.T) {
	r := newRig(t, custodian.Production)
	var ids []string
	for range 6 {
		ids = append(ids, r.propose(t, "demo-cleo", "key.resume").ID)
		r.Clock.Advance(time.Second)
	}
	for _, i := range []int{4, 1, 2} {
		_, err := r.engine.Cancel(t.Context(), human("demo-cleo"), ids[i], "enough")
		require.NoError(t, err)
	}
	want := []string{ids[5], ids[3], ids[0], ids[2], ids[1], ids[4]} // open ones by age, then the last to end first
	for range 2 {
		inMemory := 0
		for range store.All[ceremony.Ceremony](r.View(), ceremony.Kind) {
			inMemory++
		}
		require.Equal(t, 3, inMemory, "what is open")
		for limit := range 7 {
			var got []string
			for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
				page, next, err := r.engine.List(t.Context(), ceremony.Filter{Limit: limit, Cursor: cursor})
				require.NoError(t, err)
				for _, c := range page {
					got = append(got, c.ID)
				}
				cursor = next
			}
			require.Equal(t, want, got, "pages of %d", limit)
		}
		open, _, err := r.engine.List(t.Context(), ceremony.Filter{Open: true})
		require.NoError(t, err)
		require.Len(t, open, 3)
		require.Equal(t, ceremony.Cancelled, r.state(t, ids[1]).State)
		transcript, err := r.engine.Transcript(t.Context(), ids[1])
		require.NoError(t, err)
		require.NotEmpty(t, transcript)
		_, err = r.engine.Cancel(t.Context(), human("demo-cleo"), ids[1], "again")
		require.ErrorIs(t, err, ceremony.ErrEnded)
		r.Restart(t)
		r.restart(t)
	}
}
