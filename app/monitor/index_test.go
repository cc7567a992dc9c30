package monitor_test

import (
	"database/sql"
	"log/slog"
	"testing"

	_ "github.com/mattn/go-sqlite3" // the intruder's own driver
	"github.com/stretchr/testify/require"

	"conclave/app/monitor"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/follow"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/search"
	"conclave/custodian/store"
)

// What somebody takes out of the index is found when its block is looked at: recorded, among the alarms, and made anew, so
// that searches are whole again. An index that is whole, or behind, is left alone.
func TestEditedIndexIsFoundAndMadeAnew(t *testing.T) {
	w := newWorld(t, "[]")
	w.use(t, custodiantest.KeyID, 3*store.TermBlock)
	index := monitor.NewIndex(w.Store, "node-1", func() string { return "" }, slog.New(slog.DiscardHandler))
	require.NoError(t, index.Run(t.Context()))
	require.NoError(t, follow.CatchUp(t.Context(), w.Store))
	found := func() int {
		page, err := search.Find(t.Context(), w.Store, search.Query{Key: custodiantest.KeyID, Operation: "key.use", Limit: 1000})
		require.NoError(t, err)
		return len(page.Items)
	}
	all := found()
	require.NoError(t, index.Run(t.Context()))
	violations := func() []*ledger.Entry {
		list, _ := w.entries(t, "integrity.violation")
		return list
	}
	require.Empty(t, violations())

	intruder, err := sql.Open("sqlite3", w.Config.DSN+"?_busy_timeout=5000")
	require.NoError(t, err)
	defer intruder.Close()
	_, err = intruder.Exec("UPDATE ledger_terms SET blocks = blocks & ~2 WHERE span = 0")
	require.NoError(t, err)
	require.Less(t, found(), all, "hidden")
	require.NoError(t, index.Run(t.Context()))
	require.Len(t, violations(), 1)
	require.Equal(t, "search_index", violations()[0].Reason)
	row, _, err := store.Get[oversight.Watched](w.Store.View(), custodian.KindWatched, oversight.WatchedRow)
	require.NoError(t, err)
	require.Len(t, row.Open, 1)
	require.Equal(t, all, found(), "what is not indexed is looked at")
	require.NoError(t, follow.CatchUp(t.Context(), w.Store))
	require.Equal(t, all, found())
	require.NoError(t, index.Run(t.Context()))
	require.Len(t, violations(), 1)

	// Asked for, it is made anew once.
	w.Put(t, custodian.KindSearchIndex, oversight.SearchIndexRow, oversight.SearchIndex{By: "demo-aud", Why: "a test", At: w.Clock.Now()})
	require.NoError(t, index.Run(t.Context()))
	indexed, err := w.Store.TermsCursor(t.Context())
	require.NoError(t, err)
	require.Zero(t, indexed)
	require.NoError(t, follow.CatchUp(t.Context(), w.Store))
	require.NoError(t, index.Run(t.Context()))
	indexed, err = w.Store.TermsCursor(t.Context())
	require.NoError(t, err)
	require.NotZero(t, indexed)
}
