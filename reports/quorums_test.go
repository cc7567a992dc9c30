package reports_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/ledger"
	"conclave/reports/control"
	"conclave/reports/internal/fixture"
)

// That another operation has enough people again settles nothing: each matter is settled by what is said of itself.
func TestFailuresOfQuorumsAreSettledByMatter(t *testing.T) {
	told := func(at time.Time, kind string, worse, better []any, more int) fixture.Event {
		return fixture.Event{At: at, Type: kind, Target: ledger.Target{Type: "instance", ID: "this"}, Outcome: ledger.Done,
			Detail: map[string]any{"worse": worse, "better": better, "worse_count": len(worse) + more, "better_count": len(better) + more}}
	}
	begin := fixture.Days(10)
	lost := told(begin, "quorum.worse", []any{"key.create: lost", "share set root: no-spare"}, []any{}, 0)
	later := func(n int) time.Time { return begin.Add(time.Duration(n) * time.Minute) }
	for name, c := range map[string]struct {
		events  []fixture.Event
		settled string // of the first failure
	}{
		"nothing":             {nil, ""},
		"another matter":      {[]fixture.Event{told(later(1), "quorum.better", []any{}, []any{"policy.activate: spare"}, 0)}, ""},
		"one of two":          {[]fixture.Event{told(later(1), "quorum.better", []any{}, []any{"key.create: spare"}, 0)}, ""},
		"one after the other": {[]fixture.Event{told(later(1), "quorum.better", []any{}, []any{"key.create: spare"}, 0), told(later(2), "quorum.better", []any{}, []any{"share set root: no longer there"}, 0)}, control.Time(later(2))},
		"while another fails": {[]fixture.Event{told(later(1), "quorum.worse", []any{"key.move: lost"}, []any{"key.create: spare", "share set root: spare"}, 0)}, control.Time(later(1))},
		"both":                {[]fixture.Event{told(later(1), "quorum.better", []any{}, []any{"key.create: no-spare", "share set root: spare"}, 0)}, control.Time(later(1))},
		"before it failed":    {[]fixture.Event{told(begin.Add(-time.Minute), "quorum.better", []any{}, []any{"key.create: spare", "share set root: spare"}, 0)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := whole(t, func(h *history) { h.Events = append(append(h.Events, lost), c.events...) })["pci-dss-4.0.1:10.7.2"]
			row := failureAt(t, r, begin)
			require.Equal(t, c.settled, row.Cells[3])
			require.Equal(t, c.settled == "", row.State == control.Violating)
			require.Equal(t, "key.create: lost; share set root: no-spare", row.Cells[2])
		})
	}
	t.Run("more than an entry names", func(t *testing.T) {
		t.Parallel()
		many := told(begin, "quorum.worse", []any{"key.create: lost"}, []any{}, 30)
		named := told(later(1), "quorum.better", []any{}, []any{"key.create: spare"}, 0)
		rest := told(later(2), "quorum.better", []any{}, []any{"key.use: spare"}, 30)
		r := whole(t, func(h *history) { h.Events = append(h.Events, many, named) })["pci-dss-4.0.1:10.7.2"]
		require.Empty(t, failureAt(t, r, begin).Cells[3])
		r = whole(t, func(h *history) { h.Events = append(h.Events, many, named, rest) })["pci-dss-4.0.1:10.7.2"]
		require.Equal(t, control.Time(later(2)), failureAt(t, r, begin).Cells[3])
	})
}

func failureAt(t *testing.T, r control.Result, at time.Time) control.Row {
	t.Helper()
	for _, row := range r.Tables[0].Rows {
		if row.Cells[0] == control.Time(at) {
			return row
		}
	}
	require.Fail(t, "no such failure")
	return control.Row{}
}
