package reports_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/follow"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/reports"
	"conclave/reports/control"
	"conclave/reports/internal/fixture"
)

// Daily counts give the same verdicts and counts as every entry: among the uses are some after the version's end and some
// while it was suspended, beginning in the middle of a day.
func TestDailyCountsSayWhatEveryEntrySays(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production, func(h *history) {
		for day := 10; day < 20; day++ {
			for hour := range 6 {
				at := fixture.Days(day).Add(time.Duration(hour) * time.Hour)
				h.Uses = append(h.Uses, fixture.Use{At: at, Operation: access.Encrypt, Key: "cards", Version: 1, Outcome: ledger.Allow},
					fixture.Use{At: at, Operation: access.Decrypt, Key: "cards", Version: 1, Outcome: ledger.Deny})
			}
		}
		v := &h.Versions[0]
		v.OUPEnd = fixture.Days(18).Add(150 * time.Minute)
		v.History = append(v.History, key.Transition{ID: "T7", From: key.Active, To: key.Suspended, At: fixture.Days(12).Add(90 * time.Minute), Actor: "human:dana", Reason: "x"},
			key.Transition{ID: "T10", From: key.Suspended, To: key.Active, At: fixture.Days(13).Add(30 * time.Minute), Actor: "human:dana", Reason: "x"})
	})
	make := func(most uint64) *reports.Report {
		req := fixture.Request()
		req.ReadAtMost = most
		r, err := reports.Generate(t.Context(), w.Source(t), req, fixture.Now())
		require.NoError(t, err)
		return r
	}
	req := fixture.Request()
	req.ReadAtMost = 1
	_, err := reports.Generate(t.Context(), w.Source(t), req, fixture.Now())
	require.ErrorIs(t, err, reports.ErrNotCounted)
	require.NoError(t, follow.CatchUp(t.Context(), w.Store))

	read, counted := make(0), make(1)
	require.Zero(t, read.Counted)
	require.Greater(t, counted.Counted, 50)
	total := func(r *reports.Report) (n int) {
		for _, of := range r.Entries {
			n += of
		}
		return n
	}
	require.Equal(t, total(read), total(counted), "every entry is accounted for")
	require.Greater(t, counted.Entries[control.CountedByDay], 50)
	require.Equal(t, control.Violated, resultOf(t, read, "3.7.4").Verdict)
	require.Equal(t, control.Violated, resultOf(t, read, "3.7.5").Verdict)
	for i, c := range read.Controls {
		other := counted.Controls[i]
		if strings.HasPrefix(c.ID, "10.2.1") { // counts by type: uses are of one type where they were counted by day
			require.Equal(t, c.Result.Verdict, other.Result.Verdict, c.ID)
			continue
		}
		if c.ID == "10.2.2" {
			require.Equal(t, control.NeedsHuman, other.Result.Verdict, "fields are seen entry by entry only")
			continue
		}
		require.Equal(t, c.Result.Verdict, other.Result.Verdict, c.ID)
		require.Equal(t, c.Result.Summary, other.Result.Summary, c.ID)
		for j, table := range c.Result.Tables {
			for k, row := range table.Rows {
				require.Equal(t, row.Cells, other.Result.Tables[j].Rows[k].Cells, "%s %s", c.ID, table.Title)
				require.Equal(t, row.Why, other.Result.Tables[j].Rows[k].Why, "%s %s", c.ID, table.Title)
			}
		}
	}
}
