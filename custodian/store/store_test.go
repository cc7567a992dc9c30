package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

// person has authority, note has none.
type person struct {
	Name  string   `json:"name"`
	Roles []string `json:"roles,omitempty"`
	Level int      `json:"level,omitempty"`
	Big   uint64   `json:"big,omitempty"`
	Ratio float64  `json:"ratio,omitempty"`
}

type note struct {
	Text string `json:"text"`
}

func schema() store.Schema {
	return store.Schema{"person": store.JSON[person](true), "note": store.JSON[note](false)}
}

func seed(tx *store.Tx) error {
	for _, name := range []string{"ada", "bob", "eve"} {
		if err := tx.Put("person", name, person{Name: name, Roles: []string{"custodian"}}); err != nil {
			return err
		}
	}
	return nil
}

func use() *ledger.Entry {
	e := storetest.Entry("key.use.datakey")
	e.Actor = identity.Principal{Kind: identity.Application, ID: "payments", Credential: "tok_1", Origin: "10.1.2.3", RequestID: "01J9Z3"}
	e.Target = ledger.Target{Type: "key", ID: "cards", Version: 3}
	e.Outcome = ledger.Allow
	e.Policy = "0123456789abcdef0123456789abcdef"
	return &e
}

func put(s *store.Store, kind store.Kind, id string, value any) (store.Receipt, error) {
	return s.Control(context.Background(), func(tx *store.Tx) error {
		if err := tx.Put(kind, id, value); err != nil {
			return err
		}
		return tx.Append(storetest.Entry(string(kind) + ".put"))
	})
}

func names(v *store.View, kind store.Kind) []string {
	var out []string
	for r := range v.List(kind) {
		out = append(out, r.ID)
	}
	return out
}

// requireWhole verifies the whole ledger: contiguous, proven, chained, times and epochs in order.
func requireWhole(t *testing.T, s *store.Store) []*ledger.Entry {
	t.Helper()
	var all []*ledger.Entry
	head := s.View().Head()
	require.NoError(t, s.Entries(context.Background(), 0, head.Size, func(e *ledger.Entry, _ []byte) error {
		all = append(all, e)
		return nil
	}))
	require.Len(t, all, int(head.Size))
	for i, e := range all {
		require.EqualValues(t, i, e.Seq)
		if i > 0 {
			require.False(t, e.At.Before(all[i-1].At))
			require.GreaterOrEqual(t, e.Epoch, all[i-1].Epoch)
		}
	}
	return all
}

func TestRowsAndEntries(t *testing.T) {
	storetest.Each(t, schema(), seed, func(t *testing.T, open func() *store.Store) {
		ctx := context.Background()
		s := open()
		require.Equal(t, []string{"ada", "bob", "eve"}, names(s.View(), "person"))
		epoch := s.View().Epoch()
		require.EqualValues(t, 2, epoch, "genesis made authority rows")

		before := s.View()
		receipt, err := put(s, "person", "cyd", person{Name: "Cyd"})
		require.NoError(t, err)
		require.EqualValues(t, 1, receipt.Seq)
		require.Equal(t, epoch+1, receipt.Epoch)
		_, err = before.Get("person", "cyd")
		require.ErrorIs(t, err, store.ErrNotFound, "a View never changes")

		p, row, err := store.Get[person](s.View(), "person", "cyd")
		require.NoError(t, err)
		require.Equal(t, "Cyd", p.Name)
		require.Equal(t, `{"name":"Cyd"}`, string(row.Body))
		require.EqualValues(t, 1, row.Revision)
		require.EqualValues(t, 1, row.Seq)

		receipt, err = put(s, "note", "n1", note{Text: "hello"})
		require.NoError(t, err)
		require.Equal(t, epoch+1, receipt.Epoch, "a row without authority leaves the epoch")

		receipt, err = s.Append(ctx, use(), epoch+1)
		require.NoError(t, err)
		raw, e, err := s.EntryAt(ctx, receipt.Seq)
		require.NoError(t, err)
		require.Equal(t, "payments", e.Actor.ID)
		require.Equal(t, receipt.At, e.At)
		require.EqualValues(t, receipt.Leaf, ledger.LeafHash(raw))

		_, err = s.Control(ctx, func(tx *store.Tx) error {
			require.NoError(t, tx.Delete("person", "cyd"))
			_, err := tx.View().Get("person", "cyd")
			require.ErrorIs(t, err, store.ErrNotFound)
			return tx.Append(storetest.Entry("person.delete"))
		})
		require.NoError(t, err)
		_, err = put(s, "person", "cyd", person{Name: "Cyd again"})
		require.NoError(t, err)

		head, list := s.View().Head(), names(s.View(), "person")
		s = open()
		require.Equal(t, head, s.View().Head())
		require.Equal(t, list, names(s.View(), "person"))
		_, row, err = store.Get[person](s.View(), "person", "cyd")
		require.NoError(t, err)
		require.EqualValues(t, 3, row.Revision, "a deletion counts as a revision")
		require.NoError(t, s.Health())
		requireWhole(t, s)
		found, err := s.Integrity(ctx)
		require.NoError(t, err)
		require.Empty(t, found)
	})
}

func TestControlRefusals(t *testing.T) {
	storetest.Each(t, schema(), seed, func(t *testing.T, open func() *store.Store) {
		s := open()
		head := s.View().Head()
		append1 := func(tx *store.Tx) error { return tx.Append(storetest.Entry("x")) }
		boom := errors.New("boom")
		for name, c := range map[string]struct {
			fn   func(*store.Tx) error
			want string
		}{
			"own error":        {func(tx *store.Tx) error { return errors.Join(append1(tx), boom) }, "boom"},
			"panic":            {func(tx *store.Tx) error { panic("secret 4711") }, "panicked with a string"},
			"nothing":          {func(*store.Tx) error { return nil }, "no ledger entry"},
			"row unrecorded":   {func(tx *store.Tx) error { return errors.Join(append1(tx), tx.Put("note", "a", note{})) }, "no ledger entry"},
			"unknown kind":     {func(tx *store.Tx) error { return tx.Put("ghost", "a", note{}) }, "unknown to this program"},
			"empty id":         {func(tx *store.Tx) error { return tx.Put("note", "", note{}) }, "allowed are 1 to"},
			"not an object":    {func(tx *store.Tx) error { return tx.Put("note", "a", []string{"x"}) }, "allowed is an object"},
			"wrong type":       {func(tx *store.Tx) error { return tx.Put("note", "a", person{Name: "x"}) }, "decoding note"},
			"integer too big":  {func(tx *store.Tx) error { return tx.Put("person", "a", person{Big: 1<<53 + 1}) }, "/big"},
			"fraction":         {func(tx *store.Tx) error { return tx.Put("person", "a", person{Ratio: 0.5}) }, "/ratio"},
			"delete of nobody": {func(tx *store.Tx) error { return tx.Delete("person", "zoe") }, "no such row"},
			"bad entry":        {func(tx *store.Tx) error { return tx.Append(ledger.Entry{}) }, "type"},
		} {
			_, err := s.Control(context.Background(), c.fn)
			require.ErrorContains(t, err, c.want, name)
			require.NotContains(t, err.Error(), "4711")
		}
		require.Equal(t, head, s.View().Head(), "nothing changed")
		_, err := put(s, "note", "a", note{Text: "fine"})
		require.NoError(t, err)
	})
}

func TestFailingClosureLeavesItsNeighboursAlone(t *testing.T) {
	storetest.Each(t, schema(), seed, func(t *testing.T, open func() *store.Store) {
		s := open()
		var wg sync.WaitGroup
		var mu sync.Mutex
		good, bad := 0, 0
		for i := range 60 {
			wg.Go(func() {
				_, err := s.Control(context.Background(), func(tx *store.Tx) error {
					if err := tx.Put("note", fmt.Sprintf("n%02d", i), note{Text: "x"}); err != nil {
						return err
					}
					if err := tx.Append(storetest.Entry("note.put")); err != nil {
						return err
					}
					switch i % 3 {
					case 1:
						return errors.New("no")
					case 2:
						panic(i)
					}
					return nil
				})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					good++
				} else {
					bad++
				}
			})
		}
		wg.Wait()
		require.Equal(t, 20, good)
		require.Equal(t, 40, bad)
		require.Len(t, names(s.View(), "note"), 20)
		s = open()
		require.Len(t, names(s.View(), "note"), 20)
		require.Len(t, requireWhole(t, s), 21)
	})
}

func TestInvariant07_ConcurrentWritersLeaveNoGapAndNoDouble(t *testing.T) {
	storetest.Each(t, schema(), seed, func(t *testing.T, open func() *store.Store) {
		s := open()
		const writers, each = 64, 40
		seqs := make([][]uint64, writers)
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for range each {
					r, err := s.Append(context.Background(), use(), s.View().Epoch())
					if err != nil {
						t.Error(err)
						return
					}
					seqs[w] = append(seqs[w], r.Seq)
				}
			})
		}
		wg.Wait()
		var all []uint64
		for _, list := range seqs {
			require.True(t, slices.IsSorted(list))
			all = append(all, list...)
		}
		slices.Sort(all)
		require.Len(t, all, writers*each)
		require.Len(t, slices.Compact(all), writers*each)
		require.EqualValues(t, 1, all[0])
		require.EqualValues(t, writers*each, all[len(all)-1])
		s = open()
		require.Len(t, requireWhole(t, s), writers*each+1)
		ctx := context.Background()
		size := s.View().Head().Size
		for _, seq := range []uint64{0, 255, 256, 1000, size - 1} {
			raw, _, err := s.EntryAt(ctx, seq)
			require.NoError(t, err)
			proof, err := s.Inclusion(ctx, seq, size)
			require.NoError(t, err)
			require.NoError(t, ledger.CheckInclusion(proof, s.View().Head(), seq, raw))
		}
	})
}

func TestEpochBouncesOldDecisions(t *testing.T) {
	storetest.Each(t, schema(), seed, func(t *testing.T, open func() *store.Store) {
		s := open()
		ctx := context.Background()
		old := s.View().Epoch()
		_, err := put(s, "person", "ada", person{Name: "Ada", Roles: []string{"none"}})
		require.NoError(t, err)
		size := s.View().Head().Size
		_, err = s.Append(ctx, use(), old)
		require.ErrorIs(t, err, store.ErrEpochChanged)
		require.Equal(t, size, s.View().Head().Size)
		_, err = s.Append(ctx, use(), s.View().Epoch())
		require.NoError(t, err)
	})
}

// While a control change runs, everything else waits: what queued behind it must be committed after a second
// control change that arrived last.
func TestControlGoesFirst(t *testing.T) {
	storetest.Each(t, schema(), seed, func(t *testing.T, open func() *store.Store) {
		s := open()
		ctx := context.Background()
		epoch := s.View().Epoch()
		running, release := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := s.Control(ctx, func(tx *store.Tx) error {
				close(running)
				<-release
				return tx.Append(storetest.Entry("first"))
			})
			if err != nil {
				t.Error(err)
			}
		})
		<-running
		receipts := make(chan store.Receipt, 600)
		for range 600 {
			wg.Go(func() {
				r, err := s.Append(ctx, use(), epoch)
				if err != nil {
					t.Error(err)
				}
				receipts <- r
			})
		}
		require.Eventually(t, func() bool { return store.Waiting(s) == 600 }, 10*time.Second, time.Millisecond)
		var last store.Receipt
		wg.Go(func() {
			var err error
			last, err = put(s, "note", "late", note{Text: "late"})
			if err != nil {
				t.Error(err)
			}
		})
		require.Eventually(t, func() bool { return store.Waiting(s) == 601 }, 10*time.Second, time.Millisecond)
		close(release)
		wg.Wait()
		close(receipts)
		for r := range receipts {
			require.Greater(t, r.Seq, last.Seq)
		}
	})
}

func TestCancelledWaiters(t *testing.T) {
	storetest.Each(t, schema(), seed, func(t *testing.T, open func() *store.Store) {
		s := open()
		epoch := s.View().Epoch()
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				ctx, cancel := context.WithCancel(context.Background())
				if i%2 == 0 {
					cancel()
				}
				defer cancel()
				_, err := s.Append(ctx, use(), epoch)
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		s = open()
		require.GreaterOrEqual(t, len(requireWhole(t, s)), 101)
	})
}

func TestClosedStoreAnswers(t *testing.T) {
	storetest.Each(t, schema(), seed, func(t *testing.T, open func() *store.Store) {
		s := open()
		require.NoError(t, s.Close())
		_, err := s.Append(context.Background(), use(), 2)
		require.ErrorIs(t, err, store.ErrClosed)
		_, err = put(s, "note", "a", note{})
		require.ErrorIs(t, err, store.ErrClosed)
		require.NoError(t, s.Close())
	})
}
