package reports_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/reports"
	"conclave/reports/control"
	"conclave/reports/internal/fixture"
)

func tableOf(r control.Result, title string) *control.Table {
	for i := range r.Tables {
		if strings.HasPrefix(r.Tables[i].Title, title) {
			return &r.Tables[i]
		}
	}
	return nil
}

func suspended(at time.Time, review ...oversight.Review) func(*history) {
	return func(h *history) {
		h.Ceremonies = append(h.Ceremonies, fixture.Protective("cer-suspend", "key.suspend", "other", at, "dana"))
		h.Reviews = append(h.Reviews, review...)
	}
}

func TestReviewsAreJudged(t *testing.T) {
	at := fixture.Days(10)
	due := at.Add(24 * time.Hour)
	for name, c := range map[string]struct {
		change  func(*history)
		verdict control.Verdict
		why     string
	}{
		"in time":          {suspended(at, fixture.Reviewed("cer-suspend", "efua", at.Add(time.Hour), due)), control.Satisfied, ""},
		"still time":       {suspended(fixture.Now().Add(-time.Hour)), control.Satisfied, "its time has not run out"},
		"never":            {suspended(at), control.Violated, "nobody has reviewed it in time"},
		"late":             {suspended(at, fixture.Reviewed("cer-suspend", "efua", due.Add(time.Hour), due)), control.Violated, "reviewed late"},
		"by the actor":     {suspended(at, fixture.Reviewed("cer-suspend", "dana", at.Add(time.Hour), due)), control.Violated, "dana reviewed what they had a part in"},
		"another ceremony": {suspended(at, fixture.Reviewed("cer-other", "efua", at.Add(time.Hour), due)), control.Violated, "nobody has reviewed it in time"},
	} {
		t.Run(name, func(t *testing.T) {
			r := resultOf(t, fixture.New(t, custodian.Production, c.change).Report(t), "3.7.6")
			require.Equal(t, c.verdict, r.Verdict, r.Summary)
			table := tableOf(r, "Reviews")
			require.NotNil(t, table)
			require.Contains(t, table.Rows[0].Why, c.why)
		})
	}
	require.Nil(t, tableOf(resultOf(t, fixture.New(t, custodian.Production).Report(t), "3.7.6"), "Reviews"), "nothing to review, nothing said")
}

func accepted(ceremony string, days int) func(*history) {
	return func(h *history) {
		h.Ceremonies = append(h.Ceremonies, fixture.Governed("cer-accept", "exception.grant", "x", fixture.Days(5), "efua", "dana", "ada"))
		h.Exceptions = append(h.Exceptions, oversight.Exception{ID: "x", Rule: "place.module_validated", Keystore: "soft", Risk: "historical", Compensating: "patched",
			Owner: "dana", GrantedAt: fixture.Days(5), ExpiresAt: fixture.Days(5 + days), Ceremony: ceremony})
	}
}

func TestAcceptedRisksAreShown(t *testing.T) {
	good := resultOf(t, fixture.New(t, custodian.Production, accepted("cer-accept", 100)).Report(t), "3.6.1.2")
	require.Equal(t, control.NeedsHuman, good.Verdict, good.Summary)
	require.Contains(t, good.Question, "compensating")
	require.Equal(t, "patched", tableOf(good, "Accepted").Rows[0].Cells[4])
	bad := resultOf(t, fixture.New(t, custodian.Production, accepted("cer-none", 100)).Report(t), "3.6.1.2")
	require.Equal(t, control.Violated, bad.Verdict)
	require.Contains(t, tableOf(bad, "Accepted").Rows[0].Why, "no quorum")
	over := resultOf(t, fixture.New(t, custodian.Production, accepted("cer-accept", 10)).Report(t), "3.6.1.2")
	require.Equal(t, control.Satisfied, over.Verdict, "one that has ended is no risk any more")
	require.Nil(t, tableOf(over, "Accepted"))
}

func onHold(destroyed bool) func(*history) {
	return func(h *history) {
		h.Holds = append(h.Holds, oversight.Hold{ID: "h", On: oversight.Ref{Type: "key", ID: "cards"}, Matter: "Doe", SetAt: fixture.Days(8), SetBy: "dana", Ceremony: "c"})
		if destroyed {
			h.Leave(0, key.Destroyed, fixture.Days(9), false)
		}
	}
}

func TestHoldsAreJudged(t *testing.T) {
	kept := resultOf(t, fixture.New(t, custodian.Production, onHold(false)).Report(t), "3.7.5")
	require.NotEqual(t, control.Violated, kept.Verdict, kept.Summary)
	require.Equal(t, "h", tableOf(kept, "Legal holds").Rows[0].Cells[0])
	broken := resultOf(t, fixture.New(t, custodian.Production, onHold(true)).Report(t), "3.7.5")
	require.Equal(t, control.Violated, broken.Verdict)
	require.Contains(t, tableOf(broken, "Legal holds").Rows[0].Why, "cards/1 was destroyed under it")
	require.Nil(t, tableOf(resultOf(t, fixture.New(t, custodian.Production).Report(t), "3.7.5"), "Legal holds"))
}

// TestInvariant04_CopiesOfTheDestroyedAreShown: a destroyed version that a registered backup holds is no end of it.
func TestInvariant04_CopiesOfTheDestroyedAreShown(t *testing.T) {
	destroyed := func(change func(c *backup.Copy)) control.Result {
		return resultOf(t, fixture.New(t, custodian.Production, func(h *history) {
			gone := fixture.Days(9)
			h.Leave(0, key.Destroyed, gone, false)
			h.Versions[0].DestroyedAt = &gone
			c := backup.Copy{ID: "b-1", Schedule: "nightly", File: "/srv/b", Node: "node-1", ShareSet: "copies", Epoch: 1, Threshold: 2,
				Sets: map[string]uint32{"soft-set": 1}, StartedAt: fixture.Days(8), At: fixture.Days(8).Add(time.Minute), Status: backup.CopyPresent}
			change(&c)
			h.Backups = append(h.Backups, c)
		}).Report(t), "3.7.5")
	}
	kept := destroyed(func(*backup.Copy) {})
	require.Equal(t, control.NeedsHuman, kept.Verdict, kept.Summary)
	require.Equal(t, "destroyed, copies outstanding", tableOf(kept, "Key versions that left").Rows[0].Cells[1])
	for name, change := range map[string]func(c *backup.Copy){
		"of another epoch":  func(c *backup.Copy) { c.Sets["soft-set"] = 2 },
		"made after":        func(c *backup.Copy) { c.StartedAt, c.At = fixture.Days(10), fixture.Days(10) },
		"made before":       func(c *backup.Copy) { c.StartedAt, c.At = fixture.Days(1), fixture.Days(1) },
		"deleted meanwhile": func(c *backup.Copy) { at := fixture.Days(10); c.Status, c.GoneAt = backup.CopyDeleted, &at },
	} {
		r := destroyed(change)
		require.Equal(t, control.Satisfied, r.Verdict, "%s: %s", name, r.Summary)
		require.Equal(t, "destroyed, no copies known", tableOf(r, "Key versions that left").Rows[0].Cells[1], name)
	}
	expired := destroyed(func(c *backup.Copy) { c.Status = backup.CopyExpired })
	require.Equal(t, control.NeedsHuman, expired.Verdict, "a file that is to be deleted is there until it is")
	places := resultOf(t, fixture.New(t, custodian.Production, func(h *history) {
		h.Backups = []backup.Copy{{ID: "b-1", File: "/srv/b", ShareSet: "copies", Epoch: 1, Threshold: 2, At: fixture.Days(8), Status: backup.CopyPresent}}
	}).Report(t), "3.6.1.4")
	require.Equal(t, "/srv/b", tableOf(places, "Registered backups").Rows[0].Cells[1])
}

func TestRetentionIsShown(t *testing.T) {
	world := fixture.New(t, custodian.Production)
	require.Equal(t, []reports.Retention{{Class: "ledger", Days: 2192, ImmediateDays: 2192}, {Class: "records", Days: 2192, ImmediateDays: 2192}}, world.Report(t).Retention)
	short := fixture.New(t, custodian.Production, func(h *history) {
		h.Retentions = append(h.Retentions, oversight.Retention{Class: oversight.ClassLedger, Days: 366, ImmediateDays: 92, ChangedAt: fixture.Days(3), ChangedBy: "cer-short"})
	})
	require.Equal(t, reports.Retention{Class: "ledger", Days: 366, ImmediateDays: 92, ChangedBy: "cer-short"}, short.Report(t).Retention[0])
	hipaa := fixture.New(t, custodian.Production, func(h *history) {
		h.Retentions = append(h.Retentions, oversight.Retention{Class: oversight.ClassLedger, Days: 366, ImmediateDays: 92, ChangedAt: fixture.Days(3), ChangedBy: "cer-short"})
		h.Keys[0].Frameworks = []string{"hipaa"}
	})
	require.Equal(t, 2192, hipaa.Report(t).Retention[0].Days)
}

func TestPlacesThatDriftedAreShown(t *testing.T) {
	drifted := func(stranded bool) control.Result {
		return resultOf(t, fixture.New(t, custodian.Production, func(h *history) {
			h.Drifts = append(h.Drifts, key.Drift{Key: "cards", Since: fixture.Days(9), Homes: []key.DriftHome{{Keystore: "soft", Stranded: stranded, Codes: []string{"residency"}, Message: "the key is bound to EU"}}},
				key.Drift{Keystore: "soft", Since: fixture.Days(9), Claims: []string{"certificate 5247 is past its sunset of 2026-01-01"}})
		}).Report(t), "3.6.1.2")
	}
	stays := drifted(false)
	require.Equal(t, control.NeedsHuman, stays.Verdict, stays.Summary)
	table := tableOf(stays, "Places")
	require.Equal(t, "cards", table.Rows[0].Cells[0])
	require.Contains(t, table.Rows[1].Why, "past its sunset")
	must := drifted(true)
	require.Equal(t, control.Violated, must.Verdict)
	require.Contains(t, tableOf(must, "Places").Rows[0].Why, "would not let it stay")
}

// A row that contradicted the ledger is settled by a finding about that row, not by whichever was closed next.
func TestAViolationIsSettledByAFindingAboutIt(t *testing.T) {
	t.Parallel()
	closed := fixture.Days(8)
	for about, want := range map[string]control.Verdict{"ada": control.NeedsHuman, "ben": control.Violated} {
		w := fixture.New(t, custodian.Production, func(h *fixture.History) {
			h.Events = append(h.Events, fixture.Event{At: fixture.Days(7), Type: "integrity.violation", Target: ledger.Target{Type: "person", ID: "ada"}, Outcome: ledger.Failed})
			h.Findings = []oversight.Finding{{ID: "f1", Title: "edited by hand", Source: oversight.FromPerson, About: oversight.Ref{Type: "person", ID: about}, Owner: "efua",
				OpenedAt: fixture.Days(7), DueAt: fixture.Days(9), ClosedAt: &closed, ClosedBy: "dana", Evidence: "restored"}}
		})
		result := resultOf(t, w.Report(t), "10.7.2")
		require.Equal(t, want, result.Verdict, "%s: %s %s", about, result.Summary, reasons(result))
	}
}
