package operation_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
)

// rehearse has three holders bring their shares to a rehearsal, before the witness.
func (r *sharesRig) rehearse(t *testing.T, params map[string]any, indices ...int) map[string]any {
	t.Helper()
	c := r.propose(t, "demo-ada", "shares.rehearse", params)
	require.Equal(t, ceremony.Gathering, c.State)
	c = r.bringAll(t, c.ID, vaultSet, 1, indices...)
	require.Equal(t, ceremony.Gathering, c.State, "no witness yet")
	c = r.attend(t, c.ID)
	require.Equal(t, ceremony.Completed, c.State, c.Outcome)
	return decoded(t, operation.Result{Data: c.Result})
}

func (r *sharesRig) drillDue(t *testing.T, kind people.DrillKind) people.DrillDue {
	t.Helper()
	list := operation.DrillRegister(r.View(), r.Clock.Now())
	i := slices.IndexFunc(list, func(d people.DrillDue) bool { return d.Set == vaultSet && d.Kind == kind })
	require.GreaterOrEqual(t, i, 0, kind)
	return list[i]
}

// TestInvariant04_SharesAreRehearsed: a quorum's shares open a scratch keystore and nothing changes; a secret that does
// not open what is in the register is a failed drill with a finding.
func TestInvariant04_SharesAreRehearsed(t *testing.T) {
	r := newSharesRig(t)
	before := row[key.Keystore](t, r.rig, custodian.KindKeystore, vault)
	require.Nil(t, r.drillDue(t, people.DrillReconstruction).Last)

	done := r.rehearse(t, map[string]any{"set": vaultSet}, 1, 2, 4)
	require.Equal(t, "passed", done["result"])
	require.EqualValues(t, 1, done["keys"])
	require.Equal(t, []any{float64(1), float64(2), float64(4)}, done["shares"])
	require.Equal(t, []any{"reconstruction", "rehearsal"}, done["counts_for"])
	require.Equal(t, before, row[key.Keystore](t, r.rig, custodian.KindKeystore, vault))
	require.True(t, r.keystore.Active())
	_, err := r.use(t, vaultKey)
	require.NoError(t, err)
	d := row[people.Drill](t, r.rig, custodian.KindDrill, done["drill"].(string))
	require.Equal(t, []string{"demo-ada", "demo-ben", "demo-dan"}, d.Attendance)
	require.Equal(t, []string{theWitness}, d.Witnesses)
	require.NotNil(t, r.drillDue(t, people.DrillReconstruction).Last)
	require.NotNil(t, r.drillDue(t, people.DrillRehearsal).Last)
	require.Nil(t, r.drillDue(t, people.DrillSite).Last)

	// It works with a keystore that nobody has opened, and leaves it so; without one site it is that drill too.
	require.NoError(t, r.keystore.Deactivate(t.Context()))
	done = r.rehearse(t, map[string]any{"set": vaultSet, "missing_site": "south"}, 1, 3, 5)
	require.Equal(t, []any{"reconstruction", "rehearsal", "site-missing"}, done["counts_for"])
	require.False(t, r.keystore.Active())
	done = r.rehearse(t, map[string]any{"set": vaultSet, "missing_site": "south"}, 1, 2, 3)
	require.Equal(t, []any{"reconstruction", "rehearsal"}, done["counts_for"], "demo-ben is of the site that was to be missing")
	_, err = r.prepare(t, "shares.rehearse", r.input(t, human("demo-ada"), map[string]any{"set": vaultSet, "missing_site": "moon"}))
	require.ErrorContains(t, err, "no holder")

	// Of a keystore that holds its keys the secret is held against the verifier alone: the token is left in peace.
	token := *row[key.Keystore](t, r.rig, custodian.KindKeystore, vault)
	token.Capabilities.StoresKeys = true
	r.Put(t, custodian.KindKeystore, vault, &token)
	done = r.rehearse(t, map[string]any{"set": vaultSet}, 1, 2, 3)
	require.Equal(t, "passed", done["result"])
	require.Zero(t, done["keys"])
	token.Capabilities.StoresKeys = false
	r.Put(t, custodian.KindKeystore, vault, &token)

	// The register says another check value than the key has: a reconstruction that proves nothing is no success.
	v := r.version(t, vaultKey, 1)
	v.CheckValue = "0000000000"
	r.Put(t, custodian.KindKeyVersion, key.VersionID(vaultKey, 1), v)
	done = r.rehearse(t, map[string]any{"set": vaultSet}, 2, 3, 4)
	require.Equal(t, "failed", done["result"])
	require.Contains(t, done["problem"], "does not open with the check value of the register")
	f := row[oversight.Finding](t, r.rig, custodian.KindFinding, done["finding"].(string))
	require.Equal(t, oversight.FromDrill, f.Source)
	require.Equal(t, "demo-ada", f.Owner)
	_, detail := r.lastEvent(t, "drill.held")
	require.Equal(t, "failed", detail["result"])
}

// A drill that people held together is put on record by those who were there; overdue ones are told.
func TestDrillRecords(t *testing.T) {
	r := newSharesRig(t)
	r.govern(t, "demo-ada", "drill.schedule", map[string]any{"set": vaultSet, "owner": "demo-ben", "days": map[string]any{"table-top": 30}, "rto_minutes": 60, "reason": "monthly for a start"})
	require.Equal(t, "demo-ben", r.drillDue(t, people.DrillTableTop).Person)
	_, err := r.prepare(t, "drill.schedule", r.input(t, human("demo-ada"), map[string]any{"set": vaultSet, "days": map[string]any{"table-top": 5}, "reason": "too often"}))
	require.ErrorContains(t, err, "days.table-top")

	late := func() (about []string) {
		for _, a := range operation.Alerts(r.View(), r.Clock.Now()) {
			if a.Kind == operation.AlertDrill && a.Set == vaultSet {
				about = append(about, a.Message)
			}
		}
		return about
	}
	require.Empty(t, late())
	r.Clock.Advance(31 * key.Day)
	require.Len(t, late(), 1)
	require.Contains(t, late()[0], "table-top is overdue")

	now := r.Clock.Now()
	record := func(kind, result string, more map[string]any) map[string]any {
		p := map[string]any{"set": vaultSet, "kind": kind, "result": result, "steps": "as the script says", "attendance": []string{"demo-ada", "demo-cleo", "demo-eve"},
			"started_at": now.Add(-2 * time.Hour).UTC().Format(time.RFC3339), "finished_at": now.Add(-time.Hour - time.Second).UTC().Format(time.RFC3339)}
		for k, v := range more {
			p[k] = v
		}
		return p
	}
	c := r.govern(t, "demo-ada", "drill.record", record("table-top", "passed", map[string]any{"deviations": []string{"the phone list was old, and wrong"}}))
	require.Equal(t, ceremony.Completed, c.State, c.Outcome)
	require.Empty(t, late())
	failed := r.govern(t, "demo-ada", "drill.record", record("rehearsal", "failed", map[string]any{"problem": "the second holder had no key file", "days": 14}))
	require.Equal(t, ceremony.Completed, failed.State, failed.Outcome)
	done := decoded(t, operation.Result{Data: failed.Result})
	require.Equal(t, "demo-ben", row[oversight.Finding](t, r.rig, custodian.KindFinding, done["finding"].(string)).Owner)
	require.Nil(t, r.drillDue(t, people.DrillRehearsal).Last)

	for name, bad := range map[string]map[string]any{
		"60 minutes":              record("rehearsal", "passed", map[string]any{"started_at": now.Add(-5 * time.Hour).UTC().Format(time.RFC3339)}),
		"a quorum of holders":     record("rehearsal", "passed", map[string]any{"attendance": []string{"demo-ada", "demo-cleo", theWitness}}),
		"is of north":             record("site-missing", "passed", map[string]any{"missing_site": "north"}),
		"missing_site":            record("site-missing", "passed", nil),
		"kind":                    record("reconstruction", "passed", nil),
		"within the last 30 days": record("table-top", "passed", map[string]any{"started_at": now.AddDate(0, -2, 0).UTC().Format(time.RFC3339)}),
		"c-none":                  record("rehearsal", "passed", map[string]any{"evidence": "c-none"}),
		"problem":                 record("table-top", "failed", nil),
	} {
		_, err := r.prepare(t, "drill.record", r.input(t, human("demo-ada"), bad))
		require.ErrorContains(t, err, name)
	}

	// Nobody writes down alone that a drill passed, and those who sign must have been there.
	alone := r.propose(t, "demo-ada", "drill.record", record("table-top", "passed", map[string]any{"attendance": []string{"demo-ada", theWitness}}))
	require.Equal(t, ceremony.Proposed, alone.State)
	r.approve(t, "demo-ben", alone.ID)
	_, err = r.vote(t, "demo-cleo", alone.ID)
	require.ErrorContains(t, err, "none of those who signed was there")
}
