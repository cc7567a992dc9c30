package reports_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/hsm"
	"conclave/reports"
	"conclave/reports/control"
	"conclave/reports/internal/fixture"
)

type history = fixture.History

// judged is one case: what was changed, and what one control must say of it.
type judged struct {
	name    string
	control string
	verdict control.Verdict
	why     string // must occur in a row of that state, or in the summary
	change  func(h *history)
}

func violations() []judged {
	return []judged{
		{"weak wrapping", "3.6.1", control.Violated, "see 3.6.1.2", func(h *history) { h.Keystores[0].Capabilities.KeyStrength = 112 }},
		{"same key in production and test", "3.6.1.1", control.Violated, "same check value in production, test", func(h *history) {
			h.AddKey("cards-test", "test", key.Internal, h.Versions[0].CheckValue)
		}},
		{"keystore without location", "3.6.1.1", control.Violated, "no location", func(h *history) { h.Keystores[0].Location = "" }},
		{"key without expiry", "3.6.1.1", control.Violated, "no expiry", func(h *history) { h.Versions[0].OUPEnd = time.Time{} }},
		{"threshold of one", "3.6.1.2", control.Violated, "threshold is 1 of 3", func(h *history) { h.ShareSets[0].Threshold = 1 }},
		{"home-made splitting", "3.6.1.2", control.Violated, "is not ISO/IEC 19592-2", func(h *history) { h.ShareSets[0].Scheme = "halves" }},
		{"no share set", "3.6.1.2", control.Violated, "not split among custodians", func(h *history) { h.Keystores[0].ShareSet = "" }},
		{"export in the clear", "3.6.1.2", control.Violated, "does not say that the key left wrapped", exported("plaintext")},
		{"two shares for one person", "3.6.1.3", control.Violated, "ada holds more than one share", func(h *history) { h.Shares[1].Custodian = "ada" }},
		{"administrator holds a share", "3.6.1.3", control.Violated, "is an administrator", func(h *history) {
			h.People[0].Roles = append(h.People[0].Roles, people.RoleAdministrator)
		}},
		{"a share is missing", "3.6.1.3", control.Violated, "2 shares in the register for a set of 3", func(h *history) { h.Shares = h.Shares[:2] }},
		{"a place without location", "3.6.1.4", control.Violated, "has no location", func(h *history) { h.Keystores[0].Location = "" }},
		{"seeded generator", "3.7.1", control.Violated, "no generator recorded", func(h *history) { h.Versions[0].RNG = "" }},
		{"weak key", "3.7.1", control.Violated, "strength of 112 bits", func(h *history) { h.Versions[0].StrengthBits = 112 }},
		{"imported", "3.7.1", control.NeedsHuman, "", func(h *history) { h.Versions[0].Import = &key.Import{Form: hsm.ImportComponents} }},
		{"making not recorded", "3.7.1", control.Violated, "no ledger entry records its making", func(h *history) { h.NoOrigins = true }},
		{"unvalidated generator", "3.7.1", control.NeedsHuman, "", func(h *history) { h.Versions[0].FIPSClaim = "" }},
		{"share never confirmed", "3.7.2", control.Violated, "not confirmed within 30 days", func(h *history) {
			h.Shares[0].ConfirmedAt, h.Shares[0].Status, h.Shares[0].IssuedAt = nil, people.ShareIssued, fixture.Start().AddDate(0, 0, -10)
		}},
		{"share on its way", "3.7.2", control.NeedsHuman, "", func(h *history) {
			h.Shares[0].ConfirmedAt, h.Shares[0].IssuedAt = nil, fixture.Days(20)
		}},
		{"share not sealed", "3.7.2", control.Violated, "not recorded as sealed", func(h *history) { h.Shares[0].Sealed = "" }},
		{"key exported in the clear", "3.7.2", control.Violated, "does not say that the key left wrapped", exported("plaintext")},
		{"unwrapped storage", "3.7.3", control.Violated, "not split among custodians", func(h *history) { h.Keystores[0].ShareSet = "" }},
		{"no cryptoperiod", "3.7.4", control.Violated, "no cryptoperiod is defined", func(h *history) { h.Keys[0].OUPDays = 0 }},
		{"active past its end", "3.7.4", control.Violated, "still active past the end", func(h *history) { h.Versions[0].OUPEnd = fixture.Days(20) }},
		{"encryption after the end", "3.7.4", control.Violated, "3 protecting calls at or after the end", func(h *history) { h.Versions[0].OUPEnd = fixture.Days(6) }},
		{"very long cryptoperiod", "3.7.4", control.NeedsHuman, "", func(h *history) { h.Keys[0].OUPDays = 3000 }},
		{"protect after suspension", "3.7.5", control.Violated, "2 protecting calls while it was not active", func(h *history) {
			h.Leave(0, key.Suspended, fixture.Days(6).Add(time.Hour), false)
		}},
		{"suspicion not decided", "3.7.5", control.Violated, "not decided upon within 24 hours", func(h *history) {
			h.Leave(0, key.Suspended, fixture.Days(20), true)
		}},
		{"compromised and not replaced", "3.7.5", control.Violated, "not replaced within 24 hours", func(h *history) {
			h.Leave(0, key.Compromised, fixture.Days(20), false)
		}},
		{"holder gone, set not renewed", "3.7.5", control.Violated, "no new epoch of the set in time", func(h *history) {
			at := fixture.Start().AddDate(0, 0, -5)
			h.People[0].Status, h.People[0].SuspendedAt = people.StatusLeft, &at
		}},
		{"holder suspended lately", "3.7.5", control.NeedsHuman, "", func(h *history) {
			at := fixture.Days(25)
			h.People[0].Status, h.People[0].SuspendedAt = people.StatusSuspended, &at
		}},
		{"share lost", "3.7.5", control.Violated, "no new epoch of the set in time", func(h *history) { h.Shares[0].Status = people.ShareLost }},
		{"too few approvers", "3.7.6", control.Violated, "1 person approved, 2 were demanded", func(h *history) {
			h.Ceremonies[1] = fixture.Governed("cer-key-cards", "key.create", "cards", fixture.Days(2), "efua", "dana", "dana")
		}},
		{"own approval", "3.7.6", control.Violated, "efua approved their own request", func(h *history) {
			h.Ceremonies[1] = fixture.Governed("cer-key-cards", "key.create", "cards", fixture.Days(2), "efua", "dana", "efua")
		}},
		{"borrowed credential", "3.7.6", control.Violated, "credential that is not theirs", func(h *history) {
			h.People[3].ApprovalKeys[0].ID = "another"
		}},
		{"nothing demanded", "3.7.6", control.Violated, "no number of approvals was demanded", func(h *history) {
			h.Ceremonies[1]["takes"] = map[string]any{}
		}},
		{"below the floor", "3.7.6", control.Violated, "the floor is 2", func(h *history) { h.Ceremonies[1]["takes"] = map[string]any{"approvals": 1} }},
		{"two shares from one person", "3.7.6", control.Violated, "ada brought more than one share", func(h *history) {
			h.Ceremonies[0] = fixture.Attended("cer-activate", "keystore.activate", "soft", fixture.Hours(4), "ada", "ada")
		}},
		{"key operation without ceremony", "3.7.6", control.Violated, "no ceremony is cited", func(h *history) {
			h.Events = append(h.Events, fixture.Event{At: fixture.Days(7), Type: "key.compromise", Actor: fixture.Human("dana"), Target: ledger.Target{Type: "key", ID: "cards", Version: 1}})
		}},
		{"ceremony that does not exist", "3.7.6", control.Violated, "there is no ceremony cer-none", func(h *history) {
			h.Events = append(h.Events, fixture.Event{At: fixture.Days(7), Type: "key.destroy", Actor: fixture.Human("dana"), Ceremony: "cer-none", Target: ledger.Target{Type: "key", ID: "cards", Version: 1}})
		}},
		{"a node acts for people", "3.7.6", control.Violated, "no ceremony is cited", func(h *history) {
			h.Events = append(h.Events, fixture.Event{At: fixture.Days(7), Type: "grant.create", Target: ledger.Target{Type: "grant", ID: "g1"}})
		}},
		{"approval that did not count", "3.7.6", control.Violated, "1 person approved, 2 were demanded", func(h *history) {
			h.Ceremonies[1]["approvers"] = []string{"dana"}
		}},
		{"caller approves", "3.7.6", control.Violated, "approved what they had called for", func(h *history) {
			h.Ceremonies[1]["requester"] = map[string]any{"kind": "node", "id": "node-1", "called_by": "dana"}
		}},
		{"direct on account data", "3.7.6", control.Violated, "done by one person on one of the keys for account data", func(h *history) {
			h.Ceremonies[3]["class"] = "D"
			h.Ceremonies[3]["target"] = map[string]any{"type": "grant", "id": "g1"}
		}},
		{"direct enrolment with a grant on account data", "3.7.6", control.Violated, "done by one person on one of the keys for account data", func(h *history) {
			h.Ceremonies[2]["class"] = "D"
			h.Grants[0].CreatedBy = "cer-enrol"
		}},
		{"outcome not known", "3.7.6", control.NeedsHuman, "its outcome is not known", func(h *history) { h.Ceremonies[2]["state"] = "indeterminate" }},
		{"made in the period, weak and gone", "3.7.1", control.Violated, "strength of 112 bits", func(h *history) {
			h.Versions[0].StrengthBits = 112
			h.Leave(0, key.Destroyed, fixture.Days(20), false)
		}},
		{"suspicion decided late", "3.7.5", control.Violated, "decided upon later than 24 hours", func(h *history) {
			v := &h.Versions[0]
			v.History = append(v.History, key.Transition{ID: "T6", From: key.Active, To: key.Suspended, At: fixture.Days(12), Suspected: true, Actor: "human:dana", Reason: "x"},
				key.Transition{ID: "T9", From: key.Suspended, To: key.Active, At: fixture.Days(15), Actor: "human:dana", Reason: "x"})
		}},
		{"compromised and replaced late", "3.7.5", control.Violated, "replaced later than 24 hours", func(h *history) {
			h.Leave(0, key.Compromised, fixture.Days(10), false)
			v := h.Versions[0]
			v.Version, v.State, v.CheckValue, v.Material.Version, v.Material.CheckValue = 2, key.Active, "1111111111", 2, "1111111111"
			v.GeneratedAt, v.ActivationAt = fixture.Days(20), fixture.Days(20)
			v.History = []key.Transition{{ID: "T4", From: key.PreActivation, To: key.Active, At: v.GeneratedAt, Actor: "human:efua", Reason: "due"}}
			h.Versions = append(h.Versions, v)
			h.Keys[0].Current, h.Keys[0].Versions = 2, 2
		}},
		{"protect before activation", "3.7.5", control.Violated, "2 protecting calls while it was not active", func(h *history) {
			h.Versions[0].History[1].At = fixture.Days(5).Add(time.Hour)
		}},
		{"integrity violation", "3.7.7", control.Violated, "an integrity violation was recorded", func(h *history) {
			h.Events = append(h.Events, fixture.Event{At: fixture.Days(7), Type: "integrity.violation", Target: ledger.Target{Type: "person", ID: "ada"}, Outcome: ledger.Failed})
		}},
		{"another check value", "3.7.7", control.Violated, "differs from the one recorded", func(h *history) { h.Versions[0].CheckValue = "0000000000" }},
		{"made twice", "3.7.7", control.Violated, "recorded more than once", func(h *history) {
			h.Events = append(h.Events, fixture.Event{At: fixture.Days(7), Type: "key.create", Actor: fixture.Human("dana"), Ceremony: "c", Target: ledger.Target{Type: "key", ID: "cards", Version: 1},
				Detail: map[string]any{"check_value": h.Versions[0].CheckValue}})
		}},
		{"never acknowledged", "3.7.8", control.Violated, "has not signed", func(h *history) { h.People[1].Acknowledgement = nil }},
		{"acknowledgement ended", "3.7.8", control.Violated, "acknowledgement ended", func(h *history) { h.People[1].Acknowledgement.ExpiresAt = fixture.Days(10) }},
		{"old form", "3.7.8", control.Violated, "version 0 of the form", func(h *history) { h.People[1].Acknowledgement.FormVersion = "0" }},
		{"share before the form", "3.7.8", control.Violated, "signed only after a share was confirmed", func(h *history) { h.People[1].Acknowledgement.SignedAt = fixture.Days(1) }},
		{"no keys for account data", "3.7.9", control.NotApplicable, "None of the 1 key", func(h *history) { h.Keys[0].Classification = key.Internal }},
	}
}

func exported(form string) func(h *history) {
	return func(h *history) {
		h.Events = append(h.Events, fixture.Event{At: fixture.Days(7), Type: "key.export", Actor: fixture.Human("dana"), Reason: form, Ceremony: "c", Target: ledger.Target{Type: "key", ID: "cards", Version: 1}})
	}
}

func TestEvaluators(t *testing.T) {
	t.Parallel()
	for _, c := range violations() {
		t.Run(c.control+" "+c.name, func(t *testing.T) {
			t.Parallel()
			result := resultOf(t, fixture.New(t, custodian.Production, c.change).Report(t), c.control)
			require.Equal(t, c.verdict, result.Verdict, "%s", result.Summary)
			require.Contains(t, reasons(result), c.why)
		})
	}
}

func resultOf(t *testing.T, r *reports.Report, id string) control.Result {
	t.Helper()
	for _, c := range r.Controls {
		if c.ID == id {
			return c.Result
		}
	}
	t.Fatalf("no control %s", id)
	return control.Result{}
}

func reasons(r control.Result) string {
	out := r.Summary
	for _, table := range r.Tables {
		for _, row := range table.Rows {
			out += "\n" + row.Why
		}
	}
	return out
}

func TestEveryControlHasAViolatingCase(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{"3.7.9": true} // nothing that a program can see violates it
	for _, c := range violations() {
		if c.verdict == control.Violated {
			seen[c.control] = true
		}
	}
	catalogue, err := control.Load("pci-dss-4.0.1")
	require.NoError(t, err)
	for _, c := range catalogue.Controls {
		if strings.HasPrefix(c.ID, "3.6") || strings.HasPrefix(c.ID, "3.7") { // the others: TestEveryEvaluator…
			require.True(t, seen[c.ID], c.ID)
		}
	}
}

func TestRetiredAndReplacedIsSatisfied(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production, func(h *history) {
		h.Leave(0, key.Compromised, fixture.Days(20), false)
		v := h.Versions[0]
		v.Version, v.State, v.CheckValue = 2, key.Active, "1111111111"
		v.Material.Version, v.Material.CheckValue = 2, "1111111111"
		v.GeneratedAt, v.ActivationAt = fixture.Days(20).Add(time.Hour), fixture.Days(20).Add(time.Hour)
		v.History = []key.Transition{{ID: "T4", From: key.PreActivation, To: key.Active, At: v.GeneratedAt, Actor: "human:efua", Reason: "due"}}
		h.Versions = append(h.Versions, v)
		h.Keys[0].Current, h.Keys[0].Versions = 2, 2
	})
	got := verdicts(w.Report(t))
	require.Equal(t, control.Satisfied, got["3.7.5"])
	require.Equal(t, control.Satisfied, got["3.7.4"])
	require.Equal(t, control.Satisfied, got["3.7.7"])
}

func TestAcknowledgementRenewedAfterThePeriod(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production, func(h *history) {
		h.People[0].Acknowledgement.SignedAt = fixture.Days(20) // the row has the renewal
		h.Events = append(h.Events, fixture.Event{At: fixture.Hours(1), Type: "custodian.ack", Actor: fixture.Human("ada"), Target: ledger.Target{Type: "person", ID: "ada"}})
	})
	r, err := reports.Generate(t.Context(), w.Source(t), reports.Request{Framework: "pci-dss-4.0.1", From: fixture.Start(), To: fixture.Days(10)}, fixture.Now())
	require.NoError(t, err)
	require.Equal(t, control.Satisfied, verdicts(r)["3.7.8"])
}

// A row that contradicts the ledger is left out of what is judged, so nothing may be satisfied by its absence.
func TestDamagedRowsAreNoHopefulPass(t *testing.T) {
	t.Parallel()
	src := damaged{fixture.New(t, custodian.Production).Source(t)}
	r, err := reports.Generate(t.Context(), src, fixture.Request(), fixture.Now())
	require.NoError(t, err)
	require.Zero(t, r.Counts[string(control.Satisfied)])
	require.Equal(t, control.Violated, resultOf(t, r, "3.7.7").Verdict)
	require.Contains(t, resultOf(t, r, "3.7.4").Question, "contradict the ledger, and were left out")
}

type damaged struct{ reports.Source }

func (damaged) Damaged() []control.Ref { return []control.Ref{{Kind: "key", ID: "cards-2"}} }

func TestDevelopmentFloor(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Development, func(h *history) {
		h.Ceremonies[1] = fixture.Governed("cer-key-cards", "key.create", "cards", fixture.Days(2), "efua", "dana")
		h.Ceremonies[1]["takes"] = map[string]any{"approvals": 1}
	})
	r := resultOf(t, w.Report(t), "3.7.6")
	require.Equal(t, control.NeedsHuman, r.Verdict, "one approver is no hopeful pass")
	require.Contains(t, r.Question, "lowered floor")
}

// An allowed decryption with a deactivated version is what a retired key is kept for.
func TestProcessingAfterRetirementIsNoMisuse(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production, func(h *history) {
		h.Leave(0, key.Deactivated, fixture.Days(20), false)
		h.Uses = append(h.Uses, fixture.Use{At: fixture.Days(21), Operation: access.Decrypt, Key: "cards", Version: 1, Outcome: ledger.Allow},
			fixture.Use{At: fixture.Days(21), Operation: access.Encrypt, Key: "cards", Version: 1, Outcome: ledger.Deny})
	})
	require.Equal(t, control.Satisfied, verdicts(w.Report(t))["3.7.5"])
}
