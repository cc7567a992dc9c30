package reports_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/oversight"
	"conclave/reports"
	"conclave/reports/control"
	"conclave/reports/internal/fixture"
)

func ready(t *testing.T, on time.Time, change ...func(*history)) *reports.Readiness {
	t.Helper()
	r, err := reports.Ready(t.Context(), fixture.New(t, custodian.Production, change...).Source(t), "pci-dss-4.0.1", nil, on, fixture.Now())
	require.NoError(t, err)
	return r
}

func TestReadinessLooksAhead(t *testing.T) {
	t.Parallel()
	now := fixture.Now()
	ends := now.AddDate(0, 0, 20)
	change := func(h *history) {
		h.People[0].Acknowledgement.ExpiresAt = ends
		h.Findings = []oversight.Finding{{ID: "f1", Title: "door open", Source: oversight.FromPerson, About: oversight.Ref{Type: "person", ID: "ada"}, Owner: "efua", OpenedAt: fixture.Days(2), DueAt: ends}}
	}
	today := ready(t, now, change)
	require.Zero(t, today.Counts["violated"])
	require.Equal(t, today.Counts, today.CountsOn)
	require.Empty(t, today.Due)
	require.False(t, today.Findings[0].OnDay)

	month := ready(t, now.AddDate(0, 0, 30), change)
	require.Zero(t, month.Counts["violated"])
	turns := map[string]reports.ReadyControl{}
	for _, c := range month.Controls {
		turns[c.ID] = c
	}
	require.Equal(t, control.Violated, turns["3.7.8"].VerdictOn)
	require.Equal(t, control.Satisfied, turns["3.7.8"].Verdict)
	require.Contains(t, turns["3.7.8"].Why[0], "ada")
	require.Equal(t, control.Violated, turns["10.4.3"].VerdictOn, "the finding will be late")
	require.Equal(t, control.Violated, turns["10.4.1"].VerdictOn, "nobody will have reviewed the log")
	require.NotContains(t, turns, "3.7.4")
	require.NotContains(t, turns, "10.4.1.1", "the daily run goes on by itself")
	require.True(t, month.Findings[0].OnDay)
	require.False(t, month.Findings[0].Late)
	about := map[string]string{}
	for _, d := range month.Due {
		about[d.About] = d.Owner
		require.False(t, d.At.After(month.On))
	}
	require.Equal(t, "ada", about["person ada"])
	require.Equal(t, "efua", about["finding f1"])
	require.NotContains(t, about, "key_version cards/1")

	year := ready(t, now.AddDate(1, 0, 0), change)
	var version *reports.Due
	for i := range year.Due {
		if year.Due[i].About == "key_version cards/1" {
			version = &year.Due[i]
		}
	}
	require.NotNil(t, version)
	require.Equal(t, "dana", version.Owner)
	for _, c := range year.Controls {
		require.NotEqual(t, "3.7.4", c.ID, "a key ends by itself")
	}
}

// Whoever the service will have suspended by then is suspended in what is judged, and the list of dates says the same of
// everybody.
func TestReadinessTakesSuspensionsAsTheServiceMakesThem(t *testing.T) {
	t.Parallel()
	src, on := fixture.New(t, custodian.Production).Source(t), fixture.Now().AddDate(0, 4, 0)
	look := func(inactive ...string) (due map[string]string, idle *reports.ReadyControl) {
		r, err := reports.Ready(t.Context(), src, "pci-dss-4.0.1", inactive, on, fixture.Now())
		require.NoError(t, err)
		due = map[string]string{}
		for _, d := range r.Due {
			if strings.Contains(d.What, "not seen for 90 days") {
				due[d.Owner] = d.What
			}
		}
		for i := range r.Controls {
			if r.Controls[i].ID == "8.2.6" {
				idle = &r.Controls[i]
			}
		}
		return due, idle
	}
	due, idle := look("ada", "ben")
	require.Contains(t, due["ada"], ": is suspended")
	require.Contains(t, due["dana"], "stays active, since too few would be left")
	require.Equal(t, control.Violated, idle.VerdictOn)
	why := strings.Join(idle.Why, "; ")
	require.Contains(t, why, "dana")
	require.NotContains(t, why, "ada")

	everybody := slices.Collect(maps.Keys(due))
	due, idle = look(everybody...)
	require.Equal(t, control.NoEvidence, idle.VerdictOn, "nobody is active then")
	for _, what := range due {
		require.Contains(t, what, ": is suspended")
	}
}

func TestReadinessRefusesBadDays(t *testing.T) {
	t.Parallel()
	src := fixture.New(t, custodian.Production).Source(t)
	for _, on := range []time.Time{fixture.Now().Add(-time.Hour), fixture.Now().AddDate(9, 0, 0)} {
		_, err := reports.Ready(t.Context(), src, "pci-dss-4.0.1", nil, on, fixture.Now())
		var input *custodian.InputError
		require.ErrorAs(t, err, &input)
		require.Equal(t, "on", input.Field)
	}
	_, err := reports.Ready(t.Context(), src, "iso", nil, fixture.Now(), fixture.Now())
	require.Error(t, err)
}
