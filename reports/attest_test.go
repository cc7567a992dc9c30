package reports_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/oversight"
	"conclave/reports"
	"conclave/reports/control"
	"conclave/reports/internal/fixture"
)

func judgement(t *testing.T, r *reports.Report, id string) reports.Judgement {
	t.Helper()
	for _, c := range r.Controls {
		if c.ID == id {
			return c
		}
	}
	t.Fatalf("no control %s", id)
	return reports.Judgement{}
}

// What people sign changes the conclusion, never the verdict, and counts for a time.
func TestWhatPeopleSignIsTakenIn(t *testing.T) {
	t.Parallel()
	weak := func(h *history) { h.Keystores[0].Capabilities.KeyStrength = 112 }
	for name, c := range map[string]struct {
		control    string
		signed     oversight.Attestation
		change     func(*history)
		verdict    control.Verdict
		conclusion string
		attested   bool
	}{
		"an answer":              {"8.2.8", fixture.Attest("a", oversight.AttestAnswer, oversight.Met, 200, "pci-dss-4.0.1:8.2.8"), nil, control.NeedsHuman, "in place", true},
		"a no":                   {"8.2.8", fixture.Attest("a", oversight.AttestAnswer, oversight.NotMet, 200, "pci-dss-4.0.1:8.2.8"), nil, control.NeedsHuman, "not in place", true},
		"expired":                {"8.2.8", fixture.Attest("a", oversight.AttestAnswer, oversight.Met, 5, "pci-dss-4.0.1:8.2.8"), nil, control.NeedsHuman, "not tested: a person must answer", false},
		"elsewhere":              {"8.2.8", fixture.Attest("a", oversight.AttestAnswer, oversight.Met, 200, "hipaa-security-rule:8.2.8"), nil, control.NeedsHuman, "not tested: a person must answer", false},
		"an answer against rows": {"3.6.1.2", fixture.Attest("a", oversight.AttestAnswer, oversight.Met, 200, "pci-dss-4.0.1:3.6.1.2"), weak, control.Violated, "not in place", false},
		"compensated":            {"3.6.1.2", fixture.Attest("a", oversight.AttestCompensating, "", 200, "pci-dss-4.0.1:3.6.1.2"), weak, control.Violated, "in place with a compensating control", true},
		"overridden":             {"3.6.1.2", fixture.Attest("a", oversight.AttestOverride, oversight.NotApplicable, 200, "pci-dss-4.0.1:3.6.1.2"), weak, control.Violated, "not applicable", true},
		"doubted":                {"3.6.1.2", fixture.Attest("a", oversight.AttestAnswer, oversight.NotMet, 200, "pci-dss-4.0.1:3.6.1.2"), nil, control.Satisfied, "not in place", true},
		"withdrawn": {"8.2.8", fixture.Attest("a", oversight.AttestAnswer, oversight.Met, 200, "pci-dss-4.0.1:8.2.8"), func(h *history) {
			at := fixture.Days(20)
			h.Attestations[len(h.Attestations)-1].WithdrawnAt, h.Attestations[len(h.Attestations)-1].WithdrawnBy = &at, "efua"
		}, control.NeedsHuman, "not tested: a person must answer", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := fixture.New(t, custodian.Production, func(h *history) {
				h.Attestations = append(h.Attestations, c.signed)
				if c.change != nil {
					c.change(h)
				}
			}).Report(t)
			j := judgement(t, r, c.control)
			require.Equal(t, c.verdict, j.Result.Verdict, j.Result.Summary)
			require.Equal(t, c.conclusion, j.Conclusion)
			require.Equal(t, c.attested, j.Attested)
			if table := tableOf(j.Result, "What people signed"); c.signed.Serves("pci-dss-4.0.1", c.control) {
				require.NotNil(t, table)
				require.NotEmpty(t, table.Rows[0].Ledger, "what people signed is on record, and cited")
			} else {
				require.Nil(t, table)
			}
		})
	}
}
