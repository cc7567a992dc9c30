package operation_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// What waits on a register is told of in time, and is a finding, once, when its date has passed.
func TestWhatLapsesIsFound(t *testing.T) {
	r := newEngineRig(t)
	told := func(kind operation.AlertKind) string {
		for _, a := range operation.Alerts(r.View(), r.Clock.Now()) {
			if a.Kind == kind {
				return a.Message
			}
		}
		return ""
	}
	findings := func() (out []*oversight.Finding) {
		for _, f := range store.All[oversight.Finding](r.View(), custodian.KindFinding) {
			if f.Source == oversight.FromLapse {
				out = append(out, f)
			}
		}
		return out
	}
	now := r.Clock.Now()
	long := strings.Repeat("w", key.MaxID)
	r.Put(t, custodian.KindCampaign, long, key.Campaign{ID: long, Key: custodiantest.KeyID, Version: 1, Cause: key.CauseRotation, DueAt: now.Add(8 * key.Day), OpenedAt: now, OpenedBy: "c-x", GovRevision: 1})
	r.Put(t, custodian.KindCustody, "l-1", people.CustodyEntry{ID: "l-1", State: people.EntryPending, Recorded: "c-y", RecordedAt: now,
		Facts: people.CustodyFacts{Form: "card-1", Set: vaultSet, Epoch: 1, Index: 1, Action: people.ActCheck, Who: "demo-ada", Witness: "demo-ben"}})
	require.Empty(t, told(operation.AlertCampaign)+told(operation.AlertCustody))
	r.Clock.Advance(25 * time.Hour)
	require.Contains(t, told(operation.AlertCustody), "awaits the signature of demo-ben")
	require.Contains(t, told(operation.AlertCampaign), "within 7 days")
	require.NoError(t, r.engine.Tick(t.Context()))
	require.Empty(t, findings())
	r.Clock.Advance(8 * key.Day)
	require.Contains(t, told(operation.AlertCampaign), "was due")
	for range 2 {
		require.NoError(t, r.engine.Tick(t.Context()))
		require.Len(t, findings(), 2, "one each")
	}
	require.ElementsMatch(t, []string{"demo-ada", r.keyRow(t, custodiantest.KeyID).Owner}, []string{findings()[0].Owner, findings()[1].Owner})

	suspend := map[string]any{"key": custodiantest.KeyID, "suspected": true, "reason": "odd calls at night"}
	require.Contains(t, lineOf(r.plan(t, "key.suspend", r.input(t, human("demo-ada"), suspend)), "to be decided"), "campaign "+long+" is under way")
	r.propose(t, "demo-ada", "key.suspend", suspend)
	require.Contains(t, told(operation.AlertSuspicion), "decide by")
	r.Clock.Advance(25 * time.Hour)
	require.Contains(t, told(operation.AlertSuspicion), "was to be decided")
}

func (r *engineRig) keyRow(t *testing.T, id string) *key.Key {
	t.Helper()
	return row[key.Key](t, r.rig, custodian.KindKey, id)
}
