package reports_test

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/reports"
	"conclave/reports/control"
	"conclave/reports/internal/fixture"
)

func verdicts(r *reports.Report) map[string]control.Verdict {
	out := map[string]control.Verdict{}
	for _, c := range r.Controls {
		out[c.ID] = c.Result.Verdict
	}
	return out
}

func TestAGoodInstance(t *testing.T) {
	t.Parallel()
	r := fixture.New(t, custodian.Production).Report(t)
	for _, c := range r.Controls {
		for _, table := range c.Result.Tables {
			for _, row := range table.Rows {
				require.NotEqual(t, control.Violating, row.State, "%s %s: %v: %s", c.ID, table.Title, row.Cells, row.Why)
				require.Len(t, row.Cells, len(table.Columns), "%s %s", c.ID, table.Title)
			}
		}
	}
	got := verdicts(r)
	for id, want := range map[string]control.Verdict{
		"3.6.1": control.NeedsHuman, "3.6.1.1": control.Satisfied, "3.6.1.2": control.Satisfied, "3.6.1.3": control.Satisfied, "3.6.1.4": control.NeedsHuman,
		"3.7.1": control.Satisfied, "3.7.2": control.Satisfied, "3.7.3": control.NeedsHuman, "3.7.4": control.Satisfied, "3.7.5": control.Satisfied,
		"3.7.6": control.Satisfied, "3.7.7": control.Satisfied, "3.7.8": control.Satisfied, "3.7.9": control.NeedsHuman,
	} {
		require.Equal(t, want, got[id], id)
	}
	require.Len(t, got, 64)
	require.Equal(t, 0, r.Counts["violated"])
	require.Equal(t, 5, r.Entries["key.use.datakey"])
}

func TestAnEmptyInstance(t *testing.T) {
	t.Parallel()
	r := fixture.New(t, custodian.Production, func(h *fixture.History) { *h = fixture.History{} }).Report(t)
	for id, v := range verdicts(r) {
		require.Equal(t, control.NoEvidence, v, id)
	}
}

func TestEveryQuestionIsAsked(t *testing.T) {
	t.Parallel()
	for _, c := range fixture.New(t, custodian.Production).Report(t).Controls {
		require.Equal(t, c.Result.Verdict == control.NeedsHuman, c.Result.Question != "", c.ID)
		if c.Result.Question != "" {
			require.True(t, strings.HasSuffix(c.Result.Question, "?"), c.ID)
		}
		require.NotEmpty(t, c.Result.Summary, c.ID)
	}
}

func TestReportsAreDeterministic(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production)
	first, err := w.Report(t).JSON()
	require.NoError(t, err)
	second, err := w.Report(t).JSON()
	require.NoError(t, err)
	require.Equal(t, string(first), string(second))
	parsed, err := reports.Parse(first)
	require.NoError(t, err)
	again, err := parsed.JSON()
	require.NoError(t, err)
	require.Equal(t, string(first), string(again))
	_, err = reports.Parse([]byte(strings.Replace(string(first), `"format"`, `"other":1,"format"`, 1)))
	require.Error(t, err)
}

func TestStateIsThatOfThePeriodsEnd(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production)
	// On day 1 there was a keystore with its custodians and no key yet.
	r, err := reports.Generate(t.Context(), w.Source(t), reports.Request{Framework: "pci-dss-4.0.1", From: fixture.Start(), To: fixture.Days(1)}, fixture.Now())
	require.NoError(t, err)
	require.Equal(t, fixture.Days(1), r.AsOf)
	got := verdicts(r)
	require.Equal(t, control.NotApplicable, got["3.7.4"])
	require.Equal(t, control.Satisfied, got["3.6.1.3"])
	require.Zero(t, r.Entries["key.use.datakey"])
}

// A row edited by SQL is left out of what is judged, and named.
func TestInvariant08_EditedRowIsInTheReport(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production)
	db, err := sql.Open("sqlite3", w.Config.DSN+"?_busy_timeout=5000")
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `UPDATE authority_rows SET body = replace(CAST(body AS TEXT), 'Ada', 'Eve') WHERE kind = 'person' AND id = 'ada'`)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	found, err := w.Store.Integrity(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, found)
	r := w.Report(t)
	require.Equal(t, control.Violated, verdicts(r)["3.7.7"])
	require.Contains(t, reasons(resultOf(t, r, "3.7.7")), "not the one that the ledger binds")
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	src := fixture.New(t, custodian.Production).Source(t)
	from, to := fixture.Start(), fixture.Now()
	for name, c := range map[string]struct {
		req            reports.Request
		field, allowed string
	}{
		"unknown framework": {reports.Request{Framework: "iso-27001", From: from, To: to}, "framework", "pci-dss-4.0.1"},
		"no from":           {reports.Request{Framework: "pci-dss-4.0.1", To: to}, "from", "RFC 3339"},
		"no to":             {reports.Request{Framework: "pci-dss-4.0.1", From: from}, "to", "RFC 3339"},
		"future":            {reports.Request{Framework: "pci-dss-4.0.1", From: from, To: to.Add(time.Second)}, "to", "not after"},
		"all in the future": {reports.Request{Framework: "pci-dss-4.0.1", From: to.Add(time.Hour), To: to.Add(2 * time.Hour)}, "from", "not after"},
		"reversed":          {reports.Request{Framework: "pci-dss-4.0.1", From: to, To: from}, "to", "after from"},
		"empty":             {reports.Request{Framework: "pci-dss-4.0.1", From: from, To: from}, "to", "after from"},
		"before the record": {reports.Request{Framework: "pci-dss-4.0.1", From: from.AddDate(0, 0, -9), To: from.AddDate(0, 0, -8)}, "to", "a time after"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := reports.Generate(t.Context(), src, c.req, fixture.Now())
			var input *custodian.InputError
			require.ErrorAs(t, err, &input)
			require.Equal(t, c.field, input.Field)
			require.Contains(t, input.Allowed, c.allowed)
		})
	}
}
