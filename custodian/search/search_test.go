package search_test

import (
	"fmt"
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

// write records n entries of several actors, keys and outcomes, some of them batches and ceremonies.
func write(t testing.TB, s *store.Store, n int) {
	t.Helper()
	entries := make(chan ledger.Entry)
	failed := make(chan error, 256)
	for range cap(failed) {
		go func() {
			var err error
			for e := range entries {
				if _, e := s.Append(t.Context(), &e, s.View().Epoch()); e != nil {
					err = e
				}
			}
			failed <- err
		}()
	}
	for i := range n {
		e := ledger.Entry{Type: "key.use.decrypt", Actor: identity.Principal{Kind: identity.Application, ID: fmt.Sprintf("app-%d", i%7)},
			Target: ledger.Target{Type: "key", ID: fmt.Sprintf("key-%d", i%11), Version: 1}, Outcome: ledger.Allow}
		switch {
		case i%97 == 5:
			e.Outcome, e.Reason = ledger.Deny, "no_grant"
		case i%131 == 7:
			e.Type, e.Target = "key.use.datakey", ledger.Target{Type: "key"}
			e.Detail = []byte(`{"count":2,"items":[{"k":0},{"k":1,"o":"deny"}],"keys":["key-1","key-rare"]}`)
		case i%211 == 9:
			e = ledger.Entry{Type: "ceremony.approve", Actor: identity.Principal{Kind: identity.Human, ID: "ada"},
				Target: ledger.Target{Type: "ceremony", ID: fmt.Sprintf("c-%d", i)}, Ceremony: fmt.Sprintf("c-%d", i), Outcome: ledger.Done}
		}
		entries <- e
	}
	close(entries)
	for range cap(failed) {
		require.NoError(t, <-failed)
	}
}

// all walks the pages of a query, checks each proof against the page's checkpoint, and returns sequence numbers.
func all(t testing.TB, s *store.Store, key *ledger.LogKey, q search.Query) []uint64 {
	t.Helper()
	var out []uint64
	for range 10_000 {
		page, err := search.Find(t.Context(), s, q)
		require.NoError(t, err)
		head, err := ledger.OpenHead(page.Checkpoint, key.Origin, key.Verifier)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Items), q.Limit)
		for _, found := range page.Items {
			require.NoError(t, ledger.CheckInclusion(found.Inclusion, head, found.Entry.Seq, found.Raw))
			out = append(out, found.Entry.Seq)
		}
		if page.Next == nil {
			return out
		}
		q.After = page.Next
	}
	t.Fatal("pages without end")
	return nil
}

// What is found is what a look at every entry finds, whatever part of the ledger is indexed, in either order, on
// either database; and making the index anew changes nothing.
func TestFindIsALookAtEveryEntry(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		t.Run(driver, func(t *testing.T) {
			cfg := storetest.Config(t, driver, schema())
			storetest.Genesis(t, cfg, func(*store.Tx) error { return nil })
			s := storetest.Open(t, cfg)
			write(t, s, 800)
			require.NoError(t, follow.CatchUp(t.Context(), s))
			write(t, s, 400) // beyond the index
			var entries []*ledger.Entry
			require.NoError(t, s.Entries(t.Context(), 0, s.View().Head().Size, func(e *ledger.Entry, _ []byte) error {
				entries = append(entries, e)
				return nil
			}))
			check := func() {
				for name, c := range map[string]struct {
					query search.Query
					match func(e *ledger.Entry) bool
				}{
					"everything":       {search.Query{}, func(*ledger.Entry) bool { return true }},
					"actor":            {search.Query{Actor: "app-3"}, func(e *ledger.Entry) bool { return e.Actor.ID == "app-3" }},
					"kind":             {search.Query{Actor: "human:ada"}, func(e *ledger.Entry) bool { return e.Actor.ID == "ada" }},
					"operation":        {search.Query{Operation: "ceremony"}, func(e *ledger.Entry) bool { return e.Type == "ceremony.approve" }},
					"denials":          {search.Query{Outcome: ledger.Deny, Actor: "app-5"}, func(e *ledger.Entry) bool { return denied(e) && e.Actor.ID == "app-5" }},
					"rare key":         {search.Query{Key: "key-rare"}, isBatch},
					"rare denied":      {search.Query{Key: "key-rare", Outcome: ledger.Deny}, isBatch},
					"rare allow":       {search.Query{Key: "key-rare", Outcome: ledger.Allow}, func(*ledger.Entry) bool { return false }},
					"target":           {search.Query{Target: "key:key-4", Operation: "key.use.decrypt"}, func(e *ledger.Entry) bool { return e.Target.ID == "key-4" }},
					"nobody":           {search.Query{Actor: "eve"}, func(*ledger.Entry) bool { return false }},
					"a part of a name": {search.Query{Operation: "key.us"}, func(*ledger.Entry) bool { return false }},
					"later": {search.Query{From: entries[500].At, To: entries[700].At, Actor: "app-1"}, func(e *ledger.Entry) bool {
						return e.Actor.ID == "app-1" && !e.At.Before(entries[500].At) && e.At.Before(entries[700].At)
					}},
				} {
					var want, reversed []uint64
					for _, e := range entries {
						if c.match(e) {
							want = append(want, e.Seq)
							reversed = append([]uint64{e.Seq}, reversed...)
						}
					}
					c.query.Limit = 90
					require.Equal(t, want, all(t, s, cfg.LogKey, c.query), name)
					c.query.NewestFirst = true
					require.Equal(t, reversed, all(t, s, cfg.LogKey, c.query), name+", newest first")
				}
			}
			check()
			require.NoError(t, follow.CatchUp(t.Context(), s))
			check()
			require.NoError(t, s.ResetTerms(t.Context()))
			check()
			require.NoError(t, follow.CatchUp(t.Context(), s))
			check()
			took, err := s.AddDerived(t.Context(), store.Derived{From: 5, To: 9, Indexed: true})
			require.NoError(t, err)
			require.False(t, took, "what is indexed is not indexed again")
		})
	}
}

func denied(e *ledger.Entry) bool  { return e.Outcome == ledger.Deny || isBatch(e) }
func isBatch(e *ledger.Entry) bool { return e.Type == "key.use.datakey" }

// BenchmarkFind measures a search in a ledger of b.N… entries: go test -bench Find -benchtime 1x with
// CONCLAVE_SEARCH_ENTRIES set; a million by default.
func BenchmarkFind(b *testing.B) {
	n := 1_000_000
	if text := os.Getenv("CONCLAVE_SEARCH_ENTRIES"); text != "" {
		_, err := fmt.Sscan(text, &n)
		require.NoError(b, err)
	}
	cfg := storetest.Config(b, store.SQLite, schema())
	storetest.Genesis(b, cfg, func(*store.Tx) error { return nil })
	s := storetest.Open(b, cfg)
	write(b, s, n)
	began := time.Now()
	require.NoError(b, follow.CatchUp(b.Context(), s))
	b.Logf("indexed %d entries in %s", n, time.Since(began).Round(time.Millisecond))
	for name, q := range map[string]search.Query{
		"rare key":       {Key: "key-rare", Limit: 100},
		"one ceremony":   {Ceremony: "c-" + fmt.Sprint(211*(n/422)+9), Limit: 100},
		"actor, outcome": {Actor: "app-5", Outcome: ledger.Deny, Limit: 100, NewestFirst: true},
		"nothing":        {Actor: "eve", Limit: 100},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, err := search.Find(b.Context(), s, q)
				require.NoError(b, err)
			}
		})
	}
}
