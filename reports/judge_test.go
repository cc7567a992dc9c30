package reports_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/custodian/segment"
	"conclave/hsm"
	"conclave/reports"
	"conclave/reports/control"
	"conclave/reports/control/judge"
	"conclave/reports/internal/fixture"
)

// world is one history judged by every framework.
type world map[string]control.Result // by "framework:id"

func judgedBy(t *testing.T, src reports.Source, from, to time.Time) world {
	t.Helper()
	out := world{}
	frameworks, err := control.Frameworks()
	require.NoError(t, err)
	for _, f := range frameworks {
		r, err := reports.Generate(t.Context(), src, reports.Request{Framework: f, From: from, To: to}, fixture.Now())
		require.NoError(t, err)
		for _, c := range r.Controls {
			for _, table := range c.Result.Tables {
				for _, row := range table.Rows {
					require.Len(t, row.Cells, len(table.Columns), "%s %s", c.ID, table.Title)
				}
			}
			require.NotEmpty(t, c.Conclusion, c.ID)
			out[f+":"+c.ID] = c.Result
		}
	}
	return out
}

func whole(t *testing.T, change ...func(*history)) world {
	t.Helper()
	return judgedBy(t, fixture.New(t, custodian.Production, change...).Source(t), fixture.Start().AddDate(0, 0, -1), fixture.Now())
}

// both puts the fixture's key in the scope of HIPAA too, and has the monitor run each day.
func both(h *history) {
	h.Events = append(h.Events, fixture.Event{At: fixture.Days(3), Type: "ceremony.approve", Actor: fixture.Human("ada"), Target: ledger.Target{Type: "ceremony", ID: "cer-x"}, Outcome: ledger.Deny})
	h.Keys[0].Frameworks = []string{"hipaa"}
	for at := fixture.Days(1); at.Before(fixture.Now()); at = at.AddDate(0, 0, 1) {
		h.Events = append(h.Events, fixture.Event{At: at, Type: "monitor.run", Target: ledger.Target{Type: "monitor", ID: "daily"}, Outcome: ledger.Done})
	}
}

// broken has one thing wrong for each evaluator that is listed in faults.
func broken(h *history) {
	both(h)
	h.Events = h.Events[:3] // the monitor stopped
	long := fixture.Start().AddDate(0, 0, -400)
	at := fixture.Days(25)
	for i := range h.People {
		h.People[i].AddedAt = long
	}
	h.Activities = h.Activities[1:]
	h.People[4].Roles = append(h.People[4].Roles, people.RoleAuditor)
	left := fixture.Days(5)
	h.People[3].Status, h.People[3].LeftAt = people.StatusLeft, &left
	h.People[1].ApprovalKeys[0].ID = h.People[0].ApprovalKeys[0].ID
	h.People[2].ApprovalKeys[0].Alg = "password"
	h.Applications[0].Status = "suspended"
	apps := h.Applications[0]
	apps.ID, apps.Status = "desk", "active"
	h.Applications = append(h.Applications, apps)
	h.Grants[0].CreatedBy = "cer-none"
	h.Policy.Ceremony = "cer-none"
	h.Tokens[0].ExpiresAt = h.Tokens[0].CreatedAt.AddDate(2, 0, 0)
	for i := range h.Attestations {
		h.Attestations[i].WithdrawnAt, h.Attestations[i].WithdrawnBy = &at, "efua"
	}
	h.Backups[0].At, h.Backups[0].Drills = fixture.Days(2), nil
	h.Backups = append(h.Backups, backup.Copy{ID: "b-old", File: "/srv/old", ShareSet: "copies", Epoch: 1, Threshold: 2, At: long, Status: backup.CopyPresent})
	h.Findings = []oversight.Finding{{ID: "f1", Title: "door open", Source: oversight.FromPerson, About: oversight.Ref{Type: "person", ID: "ada"}, Owner: "efua", OpenedAt: fixture.Days(2), DueAt: fixture.Days(9)}}
	h.Drills[0].Problem, h.Drills[0].Result = "nobody came", people.DrillFailed
	h.BreakGlass = []oversight.BreakGlass{{ID: "bg", Kind: identity.Human, Principal: "ada", Keys: []string{"cards"}, Reason: "x", OpenedAt: fixture.Days(6), ExpiresAt: fixture.Days(6).Add(time.Hour), Ceremony: "cer-none"}}
	h.Custody = []people.CustodyEntry{{ID: "c1", Facts: people.CustodyFacts{Form: "card-1", Who: "ada", Witness: "ada", At: fixture.Days(6)}, State: people.EntryEffective, RecordedAt: fixture.Days(6)}}
	h.Keystores[0].CertificateStatus = "revoked"
	h.AddKey("old", "production", key.CardholderData, "1111111111")
	h.Keys[1].Frameworks, h.Keys[1].Impact = []string{"hipaa"}, ""
	h.Versions[1].StrengthBits = 64
	h.Leave(1, key.Compromised, fixture.Days(20), false)
	h.Versions[1].History[2].From = key.Deactivated
	h.AddKey("gone", "production", key.CardholderData, "2222222222")
	h.Leave(2, key.Destroyed, fixture.Days(20), false)
	h.AddKey("pan", "production", key.CardholderData, "3333333333")
	h.Versions[3].Spec, h.Keys[3].Spec = hsm.HMACSHA256, hsm.HMACSHA256
	h.AddKey("signer", "production", key.CardholderData, "4444444444")
	h.Versions[4].Spec, h.Keys[4].Spec = hsm.ECDSAP256, hsm.ECDSAP256
	h.Leave(4, key.Compromised, fixture.Days(20), false)
	h.Versions[4].History[2].From = key.Deactivated
	h.Segments = []segment.Segment{{ID: segment.ID(0, 256), To: 256, FirstAt: fixture.Days(1), LastAt: fixture.Days(2), ArchivedAt: fixture.Days(8), ArchivedBy: "cer-none", Status: segment.Kept}}
	event := func(kind string, who identity.Principal, outcome ledger.Outcome) fixture.Event {
		return fixture.Event{At: fixture.Days(7), Type: kind, Actor: who, Target: ledger.Target{Type: "thing", ID: "thing"}, Outcome: outcome}
	}
	h.Events = append(h.Events, event("role.change", fixture.Human("dana"), ledger.Done), event("backup.delete", fixture.Human("dana"), ledger.Done),
		event("integrity.violation", identity.Principal{}, ledger.Failed), event("ledger.read", fixture.Human("mallory"), ledger.Allow),
		event("clock.confirm", fixture.Human("dana"), ledger.Done), event("placement.drift", identity.Principal{}, ledger.Done), event("share.report-lost", fixture.Human("ada"), ledger.Done))
}

// faults is one case an evaluator: the control, what is wrong, and what must be said where there is nothing to look at.
// Controls of 3.6 and 3.7 of PCI DSS have their own cases.
func faults() map[string]struct{ control, good, why, empty string } {
	const pci, hipaa, n53, n57 = "pci-dss-4.0.1:", "hipaa-security-rule:", "nist-800-53r5:", "nist-800-57:"
	const sat, hum, non, nap = "satisfied", "needs a human", "no evidence", "not applicable"
	return map[string]struct{ control, good, why, empty string }{
		"separation":          {n53 + "AC-5", sat, "is both auditor and security-officer", "no people"},
		"grants":              {pci + "7.2.2", hum, "its application is suspended", "no people"},
		"approved-access":     {pci + "7.2.3", sat, "no ceremony on record", "no people"},
		"access-review":       {pci + "7.2.4", sat, "none within the last 183 days", "no people"},
		"applications":        {pci + "7.2.5", sat, "its owner is left", "no people"},
		"policy-in-force":     {pci + "7.3.3", sat, "no ceremony on record put it in force", "no people"},
		"identities":          {pci + "8.2.1", sat, "shares an approval key with ada", "no people"},
		"decided-together":    {pci + "8.2.4", sat, "no ceremony on record stands behind it", "no entries"},
		"leavers":             {n53 + "PS-4", hum, "an approval key is not revoked", "no people"},
		"inactivity":          {pci + "8.2.6", sat, "not seen for more than 90 days", "no people"},
		"no-passwords":        {pci + "8.3.4", nap, `algorithm "password"`, "no people"},
		"credentials":         {pci + "8.4.1", hum, `algorithm "password"`, "no people"},
		"application-secrets": {pci + "8.6.1-8.6.3", hum, "longer than a year", "no people"},
		"recorded":            {pci + "10.2.1.7", sat, "an integrity violation was recorded", "no entries"},
		"refusals":            {pci + "10.2.1.4", sat, "an integrity violation was recorded", "no entries"},
		"record-fields":       {pci + "10.2.2", sat, "", "no entries"},
		"readers":             {pci + "10.3.1", non, "nobody in the register", "no people"},
		"log-integrity":       {pci + "10.3.2", sat, "an integrity violation was recorded", "no entries"},
		"backups":             {pci + "10.3.3", hum, "its newest copy is too old", "no keys"},
		"reviewed":            {pci + "10.4.1", sat, "none within the last 2 days", "no people"},
		"findings":            {pci + "10.4.3", non, "open past its date", "no people"},
		"retention":           {pci + "10.5.1", sat, "archived within the 92 days that stay at hand", "nothing"},
		"clock":               {n53 + "AU-8", sat, "no ceremony stands behind it", "no entries"},
		"failures":            {pci + "10.7.2", hum, "not settled", "no entries"},
		"monitored":           {pci + "10.4.1.1", sat, "the record was not gone over", "no entries"},
		"sign-in-failures":    {hipaa + "164.308(a)(5)(ii)(C)", sat, "", "no entries"},
		"restore-tests":       {n53 + "CP-9(1)", sat, "no backup was opened within the last year", "no people"},
		"drills":              {hipaa + "164.308(a)(7)(ii)(C)", hum, "nobody owns what follows", "no keys"},
		"emergency-access":    {hipaa + "164.312(a)(2)(ii)", non, "no ceremony on record opened it", "no people"},
		"incidents":           {hipaa + "164.308(a)(6)(ii)", non, "no finding about it", "no people"},
		"custody":             {hipaa + "164.310(d)(2)(iii)", non, "one person was both", "no people"},
		"safe-harbour":        {hipaa + "164.402 + HHS guidance (74 FR 19006)", hum, "it counts as compromised", "no keys"},
		"strength":            {n57 + "P1-5.6-STRENGTH", sat, "strength of 64 bits", "no keys"},
		"mac-keys":            {pci + "3.5.1.1", hum, "one key, one use", "no keys"},
		"inventory-review":    {pci + "12.3.3", hum, "none within the last 366 days", "nothing"},
		"modules":             {n53 + "SC-12(2)", sat, "its certificate was revoked", "no keys"},
		"criticality":         {hipaa + "164.308(a)(7)(ii)(E)", sat, "its impact was not weighed", "no keys"},
		"pairs":               {n57 + "P1-7-PAIR", nap, "a step begins at", "no keys"},
		"transitions":         {n57 + "P1-7-TRANSITIONS", sat, "a step begins at", "no keys"},
		"destroyed":           {n57 + "P1-8.3.4-DESTROY", non, "its material is still in the row", "no keys"},
		"documents":           {pci + "12.3.1", hum, "", "nothing"},
		"question":            {pci + "10.6.2", hum, "", "nothing"},
	}
}

func TestEveryEvaluatorPassesViolatesAndAdmitsIgnorance(t *testing.T) {
	t.Parallel()
	source := fixture.New(t, custodian.Production, both).Source(t)
	good, bad := judgedBy(t, source, fixture.Start().AddDate(0, 0, -1), fixture.Now()), whole(t, broken)
	empty := map[string]world{
		"nothing":    whole(t, func(h *history) { *h = history{} }),
		"no entries": judgedBy(t, source, fixture.Start().Add(time.Minute), fixture.Start().Add(2*time.Minute)),
		"no people": whole(t, func(h *history) {
			*h = history{Keystores: h.Keystores, ShareSets: h.ShareSets, Keys: h.Keys, Versions: h.Versions}
		}),
		"no keys": whole(t, func(h *history) { *h = history{People: h.People} }),
	}
	cases := faults()
	for _, name := range judge.Names() {
		c, ok := cases[name]
		if !ok {
			switch name {
			case "procedures", "architecture", "permitted-forms", "fewest-custodians", "fewest-places", "generation", "distribution", "storage", "cryptoperiods", "retirement",
				"dual-control", "substitution", "acknowledgement", "customer-guidance": // TestEvaluators
				continue
			}
			t.Errorf("evaluator %s has no case", name)
			continue
		}
		require.Equal(t, c.good, string(good[c.control].Verdict), "%s: %s %s", name, good[c.control].Summary, reasons(good[c.control]))
		if c.why != "" {
			require.Equal(t, control.Violated, bad[c.control].Verdict, "%s: %s", name, bad[c.control].Summary)
			require.Contains(t, reasons(bad[c.control]), c.why, name)
		}
		require.Equal(t, control.NoEvidence, empty[c.empty][c.control].Verdict, "%s: %s", name, empty[c.empty][c.control].Summary)
	}
	for id, r := range good {
		require.NotEqual(t, control.Violated, r.Verdict, "%s: %s", id, reasons(r))
	}
	for id, r := range empty["nothing"] {
		require.Equal(t, control.NoEvidence, r.Verdict, id)
	}
}

// The store lets no entry without these fields in; an evaluator that only ever saw good ones would be none.
func TestEntriesWithoutTheirFieldsAreFound(t *testing.T) {
	t.Parallel()
	events := control.NewEvents(nil)
	events.Observe(&ledger.Entry{Type: "key.use.datakey", Seq: 7})
	e, err := judge.For(control.Control{ID: "10.2.2", Evaluator: "record-fields"})
	require.NoError(t, err)
	r := e(t.Context(), &control.Evidence{Events: events, People: []control.Record[people.Person]{{}}})
	require.Equal(t, control.Violated, r.Verdict)
	require.Equal(t, []uint64{7}, r.Tables[0].Rows[0].Ledger)
	require.Contains(t, reasons(r), "missing in 1 entry")
}

// reviewedDays gives each day of the period its summary, reviewed the morning after.
func reviewedDays(h *history) {
	h.Attestations = h.Attestations[1:] // the statement that covers all of them
	for start := fixture.Start().Truncate(24 * time.Hour); start.Add(24 * time.Hour).Before(fixture.Now()); start = start.AddDate(0, 0, 1) {
		made := start.Add(25 * time.Hour)
		h.LogDays = append(h.LogDays, oversight.LogDay{Day: start.Format(time.DateOnly), From: 0, To: 1, Entries: map[string]int{"genesis": 1}, Notable: []oversight.NotableEntry{}, MadeAt: made,
			Reviewed: &oversight.LogReview{By: "efua", At: made.Add(8 * time.Hour), Outcome: oversight.Confirmed, Note: "gone over", Ceremony: "cer-log"}})
	}
}

// TestEachDayOfTheLogIsJudged: by its review, by a statement that covers it, and never because it is missing.
func TestEachDayOfTheLogIsJudged(t *testing.T) {
	const id = "pci-dss-4.0.1:10.4.1"
	for name, c := range map[string]struct {
		change  func(h *history)
		verdict control.Verdict
		why     string
	}{
		"each in time":   {func(*history) {}, control.Satisfied, ""},
		"one unreviewed": {func(h *history) { h.LogDays[4].Reviewed = nil }, control.Violated, "nobody reviewed it in time"},
		"not due yet":    {func(h *history) { h.LogDays[len(h.LogDays)-1].Reviewed = nil }, control.Satisfied, "its time has not run out"},
		"one late":       {func(h *history) { h.LogDays[4].Reviewed.At = h.LogDays[4].Reviewed.At.AddDate(0, 0, 3) }, control.Violated, "reviewed late"},
		"by a stranger":  {func(h *history) { h.LogDays[4].Reviewed.By = "nobody" }, control.Violated, "not in the register"},
		"one missing":    {func(h *history) { h.LogDays = append(h.LogDays[:4:4], h.LogDays[5:]...) }, control.Violated, "neither summed up nor reviewed"},
		"one missing, stated": {func(h *history) {
			h.Review("a-day", h.LogDays[4].Start(), h.LogDays[5].Start(), id)
			h.LogDays = append(h.LogDays[:4:4], h.LogDays[5:]...)
		}, control.Satisfied, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := whole(t, reviewedDays, c.change)[id]
			require.Equal(t, c.verdict, r.Verdict, r.Summary)
			found := c.why == ""
			for _, table := range r.Tables {
				for _, row := range table.Rows {
					found = found || c.why != "" && strings.Contains(row.Why, c.why)
				}
			}
			require.True(t, found, c.why)
		})
	}
}
