package monitor_test

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/monitor"
	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/follow"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
)

const denials = `[{"id":"denials","title":"Refusals","operation":"key.use","outcome":"deny","by":["actor"],"count":5,"seconds":300}]`

// restart is another process that watches by the same rules, on a node.
func (w *world) restart(t *testing.T, node string) *monitor.Watch {
	t.Helper()
	require.NoError(t, follow.New(w.Store, "node-1", nil).Release(t.Context()))
	return monitor.NewWatch(w.Store, node, func() string { return "" }, []monitor.Rule{{ID: "denials", Title: "Refusals", Operation: "key.use", Outcome: "deny", By: []string{"actor"},
		Count: 5, Seconds: 300}}, slog.New(slog.DiscardHandler))
}

func (w *world) alerts(t *testing.T) []map[string]any {
	t.Helper()
	_, details := w.entries(t, "monitor.alert")
	return details
}

// A window has no boundary: a burst counts wherever it begins, and what lies further apart does not.
func TestBurstCountsWhereverItBegins(t *testing.T) {
	w := newWorld(t, denials)
	begin := w.Clock.Now().UTC().Truncate(300 * time.Second).Add(300 * time.Second)
	w.Clock.Advance(begin.Sub(w.Clock.Now()) - 20*time.Second) // shortly before a multiple of the window
	w.use(t, "nope", 3)
	w.Clock.Advance(40 * time.Second)
	w.use(t, "nope", 2)
	w.look(t)
	require.Len(t, w.alerts(t), 1)

	w.Clock.Advance(time.Hour)
	for range 4 { // never five within the window
		w.use(t, "nope", 2)
		w.Clock.Advance(200 * time.Second)
	}
	w.look(t)
	require.Len(t, w.alerts(t), 1)
}

// Whoever goes on counts what was there before: a burst across a restart, or across replicas, is found, and what was told
// is not told again.
func TestBurstCountsAcrossARestart(t *testing.T) {
	w := newWorld(t, denials)
	w.use(t, "nope", 3)
	w.look(t)
	w.watch = w.restart(t, "node-2")
	w.Clock.Advance(100 * time.Second)
	w.use(t, "nope", 2)
	w.look(t)
	require.Len(t, w.alerts(t), 1)
	require.EqualValues(t, 5, w.alerts(t)[0]["count"])

	w.watch = w.restart(t, "node-1")
	w.use(t, "nope", 20)
	w.look(t)
	require.Len(t, w.alerts(t), 1, "told within the window")
	w.Clock.Advance(301 * time.Second)
	w.watch = w.restart(t, "node-2")
	w.use(t, "nope", 5)
	w.look(t)
	require.Len(t, w.alerts(t), 2)
}

// A process that ends between an alert and the note of how far it had looked leaves one alert, and so do two that look at
// once.
func TestAlertIsRecordedOnce(t *testing.T) {
	w := newWorld(t, denials)
	before, err := w.Store.ExportCursor(t.Context(), "monitor/rules")
	require.NoError(t, err)
	w.use(t, "nope", 7)
	w.look(t)
	require.Len(t, w.alerts(t), 1)
	after, err := w.Store.ExportCursor(t.Context(), "monitor/rules")
	require.NoError(t, err)
	moved, err := w.Store.MoveExport(t.Context(), "monitor/rules", after, before) // as that process left it
	require.NoError(t, err)
	require.True(t, moved)
	w.watch = w.restart(t, "node-1")
	w.look(t)
	w.use(t, "nope", 1)
	w.look(t)
	require.Len(t, w.alerts(t), 1)

	w.Clock.Advance(301 * time.Second)
	w.use(t, "nope", 9)
	w.look(t)
	require.Len(t, w.alerts(t), 2)
	var group sync.WaitGroup
	w.Clock.Advance(301 * time.Second)
	w.use(t, "nope", 9)
	for i := range 4 {
		watch := w.restart(t, fmt.Sprintf("node-%d", i))
		group.Go(func() {
			pass := follow.New(w.Store, fmt.Sprintf("node-%d", i), watch)
			if err := errors.Join(pass.Run(t.Context()), pass.Release(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	w.look(t)
	require.Len(t, w.alerts(t), 3)
}

// What a rule finds is among the alerts until the log of that day is reviewed; a notice is not.
func TestAlarmsShowAmongAlerts(t *testing.T) {
	w := newWorld(t, denials)
	w.use(t, "nope", 5)
	w.look(t)
	shown := func() (out []string) {
		for _, a := range operation.Alerts(w.Store.View(), w.Clock.Now()) {
			if a.Kind == operation.AlertRule {
				out = append(out, a.Message)
			}
		}
		return out
	}
	require.Len(t, shown(), 1)
	require.Contains(t, shown()[0], "Refusals: actor application:"+custodiantest.ApplicationID)
	row, _, err := store.Get[oversight.Watched](w.Store.View(), custodian.KindWatched, oversight.WatchedRow)
	require.NoError(t, err)
	next := row.Clone()
	require.False(t, next.Review("2001-01-01"))
	require.True(t, next.Review(w.Clock.Now().UTC().Format(time.DateOnly)))
	require.Empty(t, next.Open)
	for range oversight.MaxOpen + 7 {
		next.Add(oversight.OpenAlert{At: w.Clock.Now()})
	}
	require.Len(t, next.Open, oversight.MaxOpen)
	require.Equal(t, 7, next.More)
	w.Put(t, custodian.KindWatched, oversight.WatchedRow, next)
	require.Len(t, shown(), oversight.MaxOpen+1)
}
