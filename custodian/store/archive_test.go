package store_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

// errand is a row of which memory keeps no content once it is done.
type errand struct {
	Text string `json:"text"`
	Done bool   `json:"done,omitempty"`
	Due  uint64 `json:"due,omitempty"`
}

func errands() store.Schema {
	type part struct {
		Done bool   `json:"done"`
		Due  uint64 `json:"due"`
	}
	spec := store.WithActive(store.JSON[errand](false), func(v *errand) bool { return !v.Done })
	return store.Schema{"errand": store.WithArchive(spec, func(v *part) (uint64, bool) { return v.Due, v.Done })}
}

func errandOf(t *testing.T, v *store.View, id string) *errand {
	t.Helper()
	got, row, err := store.Get[errand](v, "errand", id)
	require.NoError(t, err)
	require.Equal(t, v.Revision("errand", id), row.Revision)
	return got
}

func walked(t *testing.T, v *store.View, after string, pick func(uint64) bool) []string {
	t.Helper()
	var out []string
	require.NoError(t, v.Walk(t.Context(), "errand", after, pick, func(r store.Row) error {
		out = append(out, r.ID)
		return nil
	}))
	return out
}

func recent(t *testing.T, v *store.View, before store.Position, limit int) []string {
	t.Helper()
	rows, err := v.Recent(t.Context(), "errand", before, limit)
	require.NoError(t, err)
	out := []string{}
	for _, r := range rows {
		out = append(out, r.ID)
	}
	return out
}

func TestArchivedRows(t *testing.T) {
	begin := func(tx *store.Tx) error { return tx.Put("errand", "a", errand{Text: "first"}) }
	storetest.Each(t, errands(), begin, func(t *testing.T, open func() *store.Store) {
		s := open()
		_, err := put(s, "errand", "a", errand{Text: "first", Done: true, Due: 7})
		require.NoError(t, err)
		for i := range 250 { // more than are read at once
			_, err := put(s, "errand", fmt.Sprintf("e%03d", i), errand{Text: fmt.Sprint(i), Done: i != 100, Due: uint64(i % 2)})
			require.NoError(t, err)
		}
		for range 2 {
			v := s.View()
			require.Equal(t, []string{"e100"}, names(v, "errand"), "what is archived is not in memory")
			require.Equal(t, "first", errandOf(t, v, "a").Text)
			require.Equal(t, "17", errandOf(t, v, "e017").Text)
			require.Equal(t, []string{"e249", "e248"}, recent(t, v, store.Position{}, 2))
			row, err := v.Get("errand", "e248")
			require.NoError(t, err)
			require.Equal(t, []string{"e247", "e246"}, recent(t, v, store.Position{Seq: row.Seq, ID: row.ID}, 2))
			require.Empty(t, recent(t, v, store.Position{}, 0))
			require.Len(t, recent(t, v, store.Position{}, 1000), 250)
			all := walked(t, v, "", nil)
			require.Len(t, all, 251)
			require.True(t, slices.IsSorted(all))
			require.Equal(t, []string{"e100", "e101", "e103"}, walked(t, v, "e099", func(due uint64) bool { return due > 0 })[:3])
			marks := 0
			for _, due := range v.Marks("errand") {
				marks += int(min(due, 1))
			}
			require.Equal(t, 126, marks)
			require.NoError(t, s.Close())
			s = open()
		}
		// It comes back into memory with the change that takes it up again, and a View of before says what it knew.
		before := s.View()
		_, err = put(s, "errand", "a", errand{Text: "again"})
		require.NoError(t, err)
		require.Equal(t, []string{"a", "e100"}, names(s.View(), "errand"))
		require.EqualValues(t, 3, s.View().Revision("errand", "a"))
		require.EqualValues(t, 2, before.Revision("errand", "a"))
		got, _, err := store.Get[errand](before, "errand", "a")
		require.NoError(t, err)
		require.Equal(t, "again", got.Text, "as it is now")
		// Within one change it is read as that left it.
		_, err = s.Control(t.Context(), func(tx *store.Tx) error {
			if err := tx.Put("errand", "a", errand{Text: "done again", Done: true}); err != nil {
				return err
			}
			require.Equal(t, "done again", errandOf(t, tx.View(), "a").Text)
			require.Equal(t, "17", errandOf(t, tx.View(), "e017").Text)
			if err := tx.Delete("errand", "e018"); err != nil {
				return err
			}
			return tx.Append(storetest.Entry("errand.put"))
		})
		require.NoError(t, err)
		require.Equal(t, "done again", errandOf(t, s.View(), "a").Text)
		_, err = s.View().Get("errand", "e018")
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = before.Get("errand", "e018")
		require.ErrorIs(t, err, store.ErrNotFound, "as it is now")
		_, err = put(s, "errand", "e018", errand{Text: "made again", Done: true})
		require.NoError(t, err)
		require.EqualValues(t, 3, s.View().Revision("errand", "e018"))
		found, err := s.Integrity(t.Context())
		require.NoError(t, err)
		require.Empty(t, found)
		require.NoError(t, s.Close())
		require.Equal(t, "made again", errandOf(t, open().View(), "e018").Text)
	})
}

// What is read from the database is held against the ledger each time, and quarantined at once.
func TestInvariant08_ArchivedRowsAreComparedWhenRead(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		for name, intrusion := range map[string]string{
			"edited":  `UPDATE authority_rows SET body = (SELECT body FROM authority_rows WHERE id = 'b') WHERE id = 'a'`,
			"removed": `DELETE FROM authority_rows WHERE id = 'a'`,
			"older":   `UPDATE authority_rows SET revision = 1, seq = 0 WHERE id = 'a'`,
			"later":   `UPDATE authority_rows SET seq = 1000000, revision = 9 WHERE id = 'a'`,
		} {
			if driver == store.Postgres && name != "edited" {
				continue // the same code
			}
			t.Run(driver+"/"+name, func(t *testing.T) {
				cfg := storetest.Config(t, driver, errands())
				var seen alerts
				cfg.Alert = seen.add
				storetest.Genesis(t, cfg, func(tx *store.Tx) error { return tx.Put("errand", "a", errand{Text: "a"}) })
				s := storetest.Open(t, cfg)
				for _, id := range []string{"a", "b", "c"} {
					_, err := put(s, "errand", id, errand{Text: id, Done: true})
					require.NoError(t, err)
				}
				intruder(t, cfg)(intrusion)
				var tampered *store.TamperedError
				if name != "later" { // which looks like what another replica has just written, until it is looked at
					_, err := s.View().Get("errand", "a")
					require.ErrorAs(t, err, &tampered)
					require.Eventually(t, func() bool { return len(s.View().Tampered("errand")) == 1 }, 10*time.Second, time.Millisecond)
				}
				found, err := s.Integrity(t.Context())
				require.NoError(t, err)
				require.Len(t, found, 1)
				require.Equal(t, 1, seen.count())
				_, err = s.View().Get("errand", "a")
				require.ErrorAs(t, err, &tampered)
				require.Equal(t, []string{"b", "c"}, walked(t, s.View(), "", nil), "others are read")
				require.Equal(t, []string{"c", "b"}, recent(t, s.View(), store.Position{}, 5))
				require.Error(t, s.Health())
				require.NoError(t, s.Close())
				s = storetest.Open(t, cfg)
				_, err = s.View().Get("errand", "a")
				require.ErrorAs(t, err, &tampered, "after a start too")
			})
		}
	}
}

// Readers of Views that others outdate, on the process that writes and on another one.
func TestArchivedRowsAreReadWhileTheyChange(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		t.Run(driver, func(t *testing.T) {
			cfg := storetest.Config(t, driver, errands())
			storetest.Genesis(t, cfg, func(tx *store.Tx) error { return tx.Put("errand", "a", errand{}) })
			stores := []*store.Store{storetest.Open(t, cfg)}
			ctx, stop := context.WithCancel(t.Context())
			refresh, stopRefresh := context.WithCancel(t.Context())
			var jobs, readers sync.WaitGroup
			if driver == store.Postgres {
				other := cfg
				other.HighWaterPath = ""
				stores = append(stores, storetest.Open(t, other))
				jobs.Go(func() {
					for refresh.Err() == nil { // as the job does, but more often
						for _, s := range stores {
							_ = s.Refresh(refresh)
						}
						time.Sleep(time.Millisecond)
					}
				})
			}
			for _, s := range stores {
				readers.Go(func() {
					for ctx.Err() == nil {
						v := s.View()
						if _, err := v.Get("errand", "a"); err != nil {
							t.Errorf("reading: %v", err)
							return
						}
						if err := v.Walk(context.Background(), "errand", "", nil, func(store.Row) error { return nil }); err != nil {
							t.Errorf("walking: %v", err)
							return
						}
					}
				})
			}
			for i := range 100 {
				_, err := put(stores[i%len(stores)], "errand", "a", errand{Text: fmt.Sprint(i), Done: i%3 > 0})
				require.NoError(t, err)
			}
			stop()
			readers.Wait()
			stopRefresh()
			jobs.Wait()
		})
	}
}
