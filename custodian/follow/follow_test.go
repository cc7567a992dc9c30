package follow_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/follow"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/search"
	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

func schema() store.Schema { return store.Schema{"note": store.JSON[string](false)} }

// watcher keeps its place in memory and notes what it was shown.
type watcher struct {
	next, judged uint64
	seen         []uint64
	fail         error
}

func (w *watcher) Next(context.Context, uint64) (uint64, error) {
	w.seen = w.seen[:w.judged]
	return w.next, nil
}

func (w *watcher) See(e *ledger.Entry) { w.seen = append(w.seen, e.Seq) }

func (w *watcher) Judge(_ context.Context, from, to uint64) error {
	if w.fail != nil {
		return w.fail
	}
	w.next, w.judged = to, uint64(len(w.seen))
	return nil
}

func numbers(from, to uint64) (out []uint64) {
	for i := from; i < to; i++ {
		out = append(out, i)
	}
	return out
}

func use(t *testing.T, s *store.Store, n int) {
	t.Helper()
	for range n {
		e := ledger.Entry{Type: "key.use.decrypt", Actor: identity.Principal{Kind: identity.Application, ID: "app"},
			Target: ledger.Target{Type: "key", ID: "key", Version: 1}, Outcome: ledger.Allow}
		_, err := s.Append(t.Context(), &e, s.View().Epoch())
		require.NoError(t, err)
	}
}

func open(t *testing.T, driver string) (*store.Store, store.Config) {
	t.Helper()
	cfg := storetest.Config(t, driver, schema())
	storetest.Genesis(t, cfg, func(*store.Tx) error { return nil })
	return storetest.Open(t, cfg), cfg
}

func counted(t *testing.T, s *store.Store) (uses int64) {
	t.Helper()
	rows, err := s.Usage(t.Context(), "key", 1, time.Time{})
	require.NoError(t, err)
	for _, r := range rows {
		uses += r.Uses
	}
	return uses
}

func found(t *testing.T, s *store.Store) (seqs []uint64) {
	t.Helper()
	page, err := search.Find(t.Context(), s, search.Query{Key: "key", Limit: 1000})
	require.NoError(t, err)
	for _, f := range page.Items {
		seqs = append(seqs, f.Entry.Seq)
	}
	require.Equal(t, s.View().Head().Size, page.Indexed)
	return seqs
}

// Whoever watches sees every entry once and in order, also from behind, and again what it could not judge; reports that
// need counts meanwhile lose it nothing.
func TestWhoeverWatchesSeesEveryEntryOnce(t *testing.T) {
	s, _ := open(t, store.SQLite)
	w := &watcher{}
	pass := follow.New(s, "node-1", w)
	use(t, s, 3)
	require.NoError(t, pass.CatchUp(t.Context()))
	require.Empty(t, w.seen)
	use(t, s, 2)
	require.NoError(t, pass.Run(t.Context()))
	require.Equal(t, numbers(0, 6), w.seen, "genesis and five uses")
	require.EqualValues(t, 5, counted(t, s))

	use(t, s, 2)
	w.fail = context.DeadlineExceeded
	require.ErrorIs(t, pass.Run(t.Context()), w.fail)
	require.EqualValues(t, 7, counted(t, s), "counted all the same")
	w.fail = nil
	use(t, s, 1)
	require.NoError(t, pass.Run(t.Context()))
	require.Equal(t, numbers(0, 9), w.seen)
	require.EqualValues(t, 8, counted(t, s))
	require.Equal(t, numbers(1, 9), found(t, s))
}

// One replica reads at a time; the next one goes on where it stopped.
func TestOneReplicaFollows(t *testing.T) {
	s, _ := open(t, store.SQLite)
	first, second := &watcher{}, &watcher{}
	a, b := follow.New(s, "node-1", first), follow.New(s, "node-2", second)
	use(t, s, 2)
	require.NoError(t, a.Run(t.Context()))
	use(t, s, 2)
	require.NoError(t, b.Run(t.Context()))
	require.Empty(t, second.seen)
	require.EqualValues(t, 2, counted(t, s))
	second.next = first.next
	require.NoError(t, a.Release(t.Context()))
	require.NoError(t, b.Run(t.Context()))
	require.Equal(t, numbers(3, 5), second.seen)
	require.EqualValues(t, 4, counted(t, s))
}

// A replica that has not heard yet of what others wrote takes nothing for lost.
func TestAReplicaThatLagsForgetsNothing(t *testing.T) {
	s, cfg := open(t, store.Postgres)
	cfg.Node, cfg.HighWaterPath = "node-2", ""
	late := storetest.Open(t, cfg)
	use(t, s, 3)
	require.NoError(t, follow.CatchUp(t.Context(), s))
	require.Less(t, late.View().Head().Size, s.View().Head().Size)
	use(t, s, 1)
	require.NoError(t, follow.CatchUp(t.Context(), late))
	require.EqualValues(t, 4, counted(t, late))
	require.Equal(t, numbers(1, 5), found(t, late))
	next, err := late.UsageCursor(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 5, next)
}

// Counts and index that are of a longer ledger, as behind a restore, are made anew; so is either alone.
func TestWhatIsDerivedIsMadeAnew(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		t.Run(driver, func(t *testing.T) {
			s, _ := open(t, driver)
			use(t, s, 4)
			require.NoError(t, follow.CatchUp(t.Context(), s))
			took, err := s.AddDerived(t.Context(), store.Derived{From: 5, To: 1000, Counted: true, Indexed: true,
				Usage: []store.UsageRow{{Key: "key", Version: 1, Outcome: "allow", Uses: 900}}})
			require.NoError(t, err)
			require.True(t, took)
			require.EqualValues(t, 904, counted(t, s))
			for _, reset := range []func(context.Context) error{func(context.Context) error { return nil }, s.ResetUsage, s.ResetTerms} {
				require.NoError(t, reset(t.Context()))
				require.NoError(t, follow.CatchUp(t.Context(), s))
				require.EqualValues(t, 4, counted(t, s))
				require.Equal(t, numbers(1, 5), found(t, s))
			}
		})
	}
}
