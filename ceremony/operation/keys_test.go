package operation_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

func errorsAs[T error](err error, into *T) bool { return errors.As(err, into) }

func newKey(id string) map[string]any {
	return map[string]any{"id": id, "label": "Demo payroll", "classification": "internal", "impact": "low", "jurisdiction": "EU",
		"environment": "test", "owner": "demo-ada", "keystore": custodiantest.KeystoreID}
}

// use asks the door for a data key.
func (r *rig) use(t *testing.T, keyID string) ([]byte, error) {
	t.Helper()
	used, err := r.Use(t.Context(), r.App, custodian.Use{Operation: access.DataKey, Key: keyID, Bytes: 32})
	return used.Ciphertext, err
}

func (r *rig) decrypt(t *testing.T, ciphertext []byte) error {
	t.Helper()
	_, err := r.Use(t.Context(), r.App, custodian.Use{Operation: access.Decrypt, Ciphertext: ciphertext})
	return err
}

func TestKeyCreate(t *testing.T) {
	r := newRig(t)
	result := r.run(t, "key.create", human("demo-ada"), newKey("payroll"))
	require.Equal(t, "active", decoded(t, result)["state"])

	k := row[key.Key](t, r, custodian.KindKey, "payroll")
	require.Equal(t, 365, k.OUPDays, "policy's default for the type")
	require.EqualValues(t, 1, k.Current)
	require.EqualValues(t, 1, k.GovRevision)
	require.True(t, k.Development)
	require.NoError(t, k.Validate())
	v := r.version(t, "payroll", 1)
	require.Equal(t, key.Active, v.State)
	require.NoError(t, v.CheckHistory())
	require.Equal(t, []string{"T1", "T4"}, historyIDs(v))

	e, detail := r.lastEvent(t, "key.create")
	require.Equal(t, ledger.Target{Type: "key", ID: "payroll", Version: 1}, e.Target)
	require.Equal(t, k.CreatedBy, e.Ceremony)
	for _, member := range []string{"module", "rng", "strength", "check_value", "keystore"} {
		require.NotEmpty(t, detail[member], member)
	}
	require.Equal(t, v.CheckValue, detail["check_value"])
	r.lastEvent(t, "key.activate")

	r.run(t, "grant.create", human("demo-ada"), map[string]any{"application": custodiantest.ApplicationID, "key": "payroll", "operations": []string{"datakey", "decrypt"}, "days": 30})
	ciphertext, err := r.use(t, "payroll")
	require.NoError(t, err)
	require.NoError(t, r.decrypt(t, ciphertext))
}

func historyIDs(v *key.Version) []string {
	var out []string
	for _, line := range v.History {
		out = append(out, line.ID)
	}
	return out
}

// A key whose date is still to come waits for it; the job brings it into use, citing who set the date.
func TestKeyCreateForLater(t *testing.T) {
	r := newRig(t)
	params := newKey("later")
	params["activation_at"] = r.Clock.Now().Add(10 * days).Format(time.RFC3339)
	result := r.run(t, "key.create", human("demo-ada"), params)
	require.Equal(t, "pre-activation", decoded(t, result)["state"])
	jobs := operation.Jobs{Env: r.env}
	require.Empty(t, r.due(t, jobs))
	require.Contains(t, r.denied(t, "key.activate", node(), map[string]any{"key": "later", "version": 1}), key.CodeNotDue)

	r.Clock.Advance(10 * days)
	due := r.due(t, jobs)
	require.Len(t, due, 1)
	require.Equal(t, "T4", due[0].Transition)
	require.Equal(t, row[key.Key](t, r, custodian.KindKey, "later").CreatedBy, due[0].Cites)
	r.apply(t, jobs, due)
	v := r.version(t, "later", 1)
	require.Equal(t, key.Active, v.State)
	require.NoError(t, v.CheckHistory())
	require.Empty(t, r.due(t, jobs))
}

func (r *rig) due(t *testing.T, jobs operation.Jobs) []operation.Due {
	t.Helper()
	due, err := jobs.DueTransitions(t.Context(), r.View(), r.Clock.Now())
	require.NoError(t, err)
	return due
}

func (r *rig) apply(t *testing.T, jobs operation.Jobs, due []operation.Due) {
	t.Helper()
	_, err := r.Store.Control(t.Context(), func(tx *store.Tx) error { return jobs.ApplyDue(tx, due) })
	require.NoError(t, err)
}

// Placement and periods are refused with every reason, and with where the key could live instead.
func TestKeyCreateRefusals(t *testing.T) {
	r := newRig(t)
	card := newKey("card")
	card["classification"], card["frameworks"] = "cardholder-data", []string{"pci-dss"}
	codes := r.denied(t, "key.create", human("demo-ada"), card)
	require.Contains(t, codes, "placement_nowhere")
	require.Greater(t, len(codes), 1, "and why not here")

	elsewhere := newKey("elsewhere")
	elsewhere["jurisdiction"] = "US"
	ks := *row[key.Keystore](t, r, custodian.KindKeystore, custodiantest.KeystoreID)
	ks.ID, ks.Jurisdiction = "soft-us", "US"
	r.Put(t, custodian.KindKeystore, ks.ID, ks)
	plan, err := r.prepare(t, "key.create", r.input(t, human("demo-ada"), elsewhere))
	require.NoError(t, err)
	last := plan.Deny[len(plan.Deny)-1]
	require.Equal(t, "placement_elsewhere", last.Code)
	require.Contains(t, last.Message, "soft-us")

	long := newKey("long")
	long["oup_days"] = 731
	require.Contains(t, r.denied(t, "key.create", human("demo-ada"), long), "oup_too_long")

	require.NoError(t, r.Soft.Deactivate(t.Context()))
	require.Contains(t, r.denied(t, "key.create", human("demo-ada"), newKey("asleep")), custodian.CodeKeystoreInactive)
}

// TestInvariant10_RecoveredKeyIsMadeOnce: a crash between effect and record. The software keystore stores
// nothing, so the effect did not happen and is run again under the same id; what is recorded works.
func TestInvariant10_RecoveredKeyIsMadeOnce(t *testing.T) {
	r := newRig(t)
	create := op(t, "key.create").(operation.Effectful)
	in := r.input(t, human("demo-ada"), newKey("crash"))
	r.plan(t, "key.create", in)
	lost, err := create.Effect(t.Context(), r.env, in, "e-1", nil)
	require.NoError(t, err)
	_, found, err := create.Recover(t.Context(), r.env, in, "e-1")
	require.NoError(t, err)
	require.False(t, found)

	again, err := create.Effect(t.Context(), r.env, in, "e-1", nil)
	require.NoError(t, err)
	require.NotEqual(t, lost.Material.Blob, again.Material.Blob)
	_, err = r.record(t, "key.create", in, again)
	require.NoError(t, err)
	require.Equal(t, again.Material.CheckValue, r.version(t, "crash", 1).CheckValue)

	_, err = r.record(t, "key.create", in, lost)
	require.Error(t, err, "the same key is not recorded twice")
	require.NoError(t, create.Undo(t.Context(), r.env, in, lost))
	require.NoError(t, create.Undo(t.Context(), r.env, in, lost), "undoing twice is undoing once")
}

func TestKeyRotate(t *testing.T) {
	r := newRig(t)
	old, err := r.use(t, custodiantest.KeyID)
	require.NoError(t, err)
	r.run(t, "key.rotate", human("demo-cleo"), map[string]any{"key": custodiantest.KeyID, "reason": "practice"})

	k := row[key.Key](t, r, custodian.KindKey, custodiantest.KeyID)
	require.EqualValues(t, 2, k.Current)
	require.EqualValues(t, 2, k.Versions)
	require.EqualValues(t, 2, k.GovRevision)
	require.Equal(t, key.Deactivated, r.version(t, k.ID, 1).State)
	require.Equal(t, []string{"T1", "T4", "T8"}, historyIDs(r.version(t, k.ID, 1)))
	require.Contains(t, r.version(t, k.ID, 1).History[2].Reason, "replaced by version 2")
	require.Equal(t, key.Active, r.version(t, k.ID, 2).State)
	require.NoError(t, r.decrypt(t, old), "the old version goes on processing")
	made, err := r.use(t, custodiantest.KeyID)
	require.NoError(t, err)
	require.NoError(t, r.decrypt(t, made))
	e, detail := r.lastEvent(t, "key.rotate")
	require.EqualValues(t, 2, e.Target.Version)
	require.NotEmpty(t, detail["check_value"])
}

// Two rotations at once: one is recorded, the other is taken back.
func TestKeyRotateRace(t *testing.T) {
	r := newRig(t)
	rotate := op(t, "key.rotate").(operation.Effectful)
	first, second := r.input(t, human("demo-cleo"), map[string]any{"key": custodiantest.KeyID}), r.input(t, human("demo-dan"), map[string]any{"key": custodiantest.KeyID})
	one, err := rotate.Effect(t.Context(), r.env, first, "e-1", nil)
	require.NoError(t, err)
	two, err := rotate.Effect(t.Context(), r.env, second, "e-2", nil)
	require.NoError(t, err)
	_, err = r.record(t, "key.rotate", first, one)
	require.NoError(t, err)
	_, err = r.record(t, "key.rotate", second, two)
	require.Error(t, err)
	require.NoError(t, rotate.Undo(t.Context(), r.env, second, two))
	require.EqualValues(t, 2, row[key.Key](t, r, custodian.KindKey, custodiantest.KeyID).Versions)
}

func TestKeySuspendAndResume(t *testing.T) {
	r := newRig(t)
	id := custodiantest.KeyID
	r.run(t, "key.suspend", human("demo-cleo"), map[string]any{"key": id, "suspected": true, "reason": "odd traffic"})
	v := r.version(t, id, 1)
	require.Equal(t, key.Suspended, v.State)
	require.True(t, v.Suspected)
	require.Equal(t, v.SuspendedAt.Add(30*days), *v.ReviewBy)
	require.EqualValues(t, 2, row[key.Key](t, r, custodian.KindKey, id).GovRevision)
	_, err := r.use(t, id)
	require.Error(t, err)
	e, detail := r.lastEvent(t, "key.suspend")
	require.Equal(t, "odd traffic", detail["reason"])
	require.Equal(t, true, detail["suspected"])
	require.NotEmpty(t, e.Ceremony)

	require.Contains(t, r.denied(t, "key.suspend", human("demo-dan"), map[string]any{"key": id}), key.CodeNoChange)
	require.Contains(t, r.denied(t, "key.rotate", human("demo-dan"), map[string]any{"key": id}), "not_rotatable")
	require.Contains(t, r.denied(t, "key.deactivate", human("demo-dan"), map[string]any{"key": id, "version": 1}), key.CodeFindingOpen)

	r.run(t, "key.resume", human("demo-ada"), map[string]any{"key": id, "finding": "a load test"})
	require.Equal(t, key.Active, r.version(t, id, 1).State)
	require.NoError(t, r.version(t, id, 1).CheckHistory())
	_, err = r.use(t, id)
	require.NoError(t, err)
	require.Contains(t, r.denied(t, "key.resume", human("demo-ada"), map[string]any{"key": id}), key.CodeNoChange)
}

// A key that is on hold while its usage period ends is released for processing only.
func TestKeyResumeAfterItsPeriod(t *testing.T) {
	r := newRig(t)
	id := custodiantest.KeyID
	r.run(t, "key.suspend", human("demo-cleo"), map[string]any{"key": id, "version": 1, "reason": "investigation"})
	r.Clock.Advance(366 * days)
	r.run(t, "key.resume", human("demo-ada"), map[string]any{"key": id, "version": 1, "finding": "cleared"})
	require.Equal(t, key.Deactivated, r.version(t, id, 1).State)
	require.Equal(t, "T12", r.version(t, id, 1).History[3].ID)
}

// A suspicion can begin the work of protecting anew, one campaign a version.
func TestASuspicionBeginsCampaigns(t *testing.T) {
	r := newRig(t)
	id := custodiantest.KeyID
	r.run(t, "key.rotate", human("demo-cleo"), map[string]any{"key": id})
	_, err := r.prepare(t, "key.suspend", r.input(t, human("demo-cleo"), map[string]any{"key": id, "campaign": true, "reason": "x"}))
	require.Equal(t, "campaign", fieldOf(t, err))
	params := map[string]any{"key": id, "version": 2, "suspected": true, "campaign": true, "reason": "odd traffic"}
	require.Contains(t, lineOf(r.plan(t, "key.suspend", r.input(t, human("demo-cleo"), params)), "follows"), "campaign")
	r.run(t, "key.suspend", human("demo-cleo"), params)
	var open []*key.Campaign
	for _, c := range store.All[key.Campaign](r.View(), custodian.KindCampaign) {
		open = append(open, c)
	}
	require.Len(t, open, 1)
	require.EqualValues(t, 2, open[0].Version)
	require.Equal(t, key.CauseCompromise, open[0].Cause)
	r.run(t, "key.compromise", human("demo-ada"), map[string]any{"key": id, "version": 2, "reason": "confirmed"})
	require.Len(t, r.events(t, "campaign.start"), 1, "the one that is under way goes on")
}

// A1: a destroyed version that turns out to have been compromised is annotated, once, and stays as it is.
func TestADestroyedVersionWasCompromised(t *testing.T) {
	r := newRig(t)
	id := custodiantest.KeyID
	v := r.version(t, id, 1)
	for _, step := range []string{"T8", "T13"} {
		next, err := v.Apply(key.Transition{ID: step, At: r.Clock.Now(), Actor: "human:demo-ada", Ceremony: "c-gone", Reason: "end"},
			key.Facts{NoDependents: true, NoLegalHold: true, ApprovedAt: r.Clock.Now().Add(-30 * days)})
		require.NoError(t, err)
		v = next
	}
	r.Put(t, custodian.KindKeyVersion, key.VersionID(id, 1), v)
	params := map[string]any{"key": id, "version": 1, "reason": "found in an old dump"}
	require.Contains(t, r.plan(t, "key.compromise", r.input(t, human("demo-ada"), params)).Title, "before it was destroyed")
	r.run(t, "key.compromise", human("demo-ada"), params)
	noted := r.version(t, id, 1)
	require.Equal(t, key.Destroyed, noted.State)
	require.True(t, noted.CompromisedBeforeDestroy)
	require.NoError(t, noted.CheckHistory())
	require.Empty(t, r.events(t, "campaign.start"))
	require.NotEmpty(t, r.denied(t, "key.compromise", human("demo-ada"), params))
}

func TestKeyCompromiseAndDeactivate(t *testing.T) {
	r := newRig(t)
	id := custodiantest.KeyID
	r.run(t, "key.rotate", human("demo-cleo"), map[string]any{"key": id})
	r.run(t, "key.deactivate", human("demo-ada"), map[string]any{"key": id, "version": 2, "reason": "end of the project"})
	require.Equal(t, key.Deactivated, r.version(t, id, 2).State)
	_, err := r.use(t, id)
	require.Error(t, err)
	require.Contains(t, r.denied(t, "key.deactivate", human("demo-ada"), map[string]any{"key": id, "version": 2}), key.CodeNoChange)

	in := r.input(t, human("demo-ada"), map[string]any{"key": id, "version": 1, "reason": "found on a disk"})
	plan := r.plan(t, "key.compromise", in)
	require.Equal(t, operation.Target{Type: "key_version", ID: id + "/1", GovRevision: 3}, plan.Target)
	r.run(t, "key.suspend", human("demo-cleo"), map[string]any{"key": r.other(t), "reason": "another key"})
	_, err = r.execute(t, "key.compromise", in, nil)
	require.NoError(t, err)
	require.Equal(t, key.Compromised, r.version(t, id, 1).State)
	require.Contains(t, r.denied(t, "key.resume", human("demo-ada"), map[string]any{"key": id, "version": 1}), key.CodeCompromisedReturns)
	r.lastEvent(t, "key.compromise")
}

// other is a second key.
func (r *rig) other(t *testing.T) string {
	t.Helper()
	r.AddKey(t, "demo-other", key.Internal)
	return "demo-other"
}

func TestKeyDestroy(t *testing.T) {
	r := newRig(t)
	id := custodiantest.KeyID
	old, err := r.use(t, id)
	require.NoError(t, err)
	require.NoError(t, r.decrypt(t, old), "the version is open in this process")
	params := map[string]any{"key": id, "version": 1, "reason": "no longer needed"}
	require.Contains(t, r.denied(t, "key.destroy", human("demo-ada"), params), key.CodeType, "an active version is in use")
	r.run(t, "key.rotate", human("demo-cleo"), map[string]any{"key": id})
	require.Contains(t, r.denied(t, "key.destroy", human("demo-ada"), params), key.CodeDependents, "data may be under it")

	params["waiver"] = "demo-ada answers for it: all rewrapped"
	in := r.input(t, human("demo-ada"), params)
	r.plan(t, "key.destroy", in)
	_, err = r.execute(t, "key.destroy", in, nil)
	require.Error(t, err, "nothing is destroyed without a recorded approval")
	in.ApprovedAt = r.Clock.Now()
	r.Clock.Advance(7*days - time.Second)
	in.Now = r.Clock.Now()
	_, err = r.execute(t, "key.destroy", in, nil)
	var refused *key.TransitionError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, key.CodeWait, refused.Code)
	require.NoError(t, r.decrypt(t, old))

	r.Clock.Advance(time.Second)
	in.Now = r.Clock.Now()
	_, err = r.execute(t, "key.destroy", in, nil)
	require.NoError(t, err)
	v := r.version(t, id, 1)
	require.Equal(t, key.Destroyed, v.State)
	require.Empty(t, v.Material.Blob)
	require.NotEmpty(t, v.CheckValue)
	require.NoError(t, v.CheckHistory())
	require.Error(t, r.decrypt(t, old), "and not from memory either")
	_, detail := r.lastEvent(t, "key.destroy")
	require.Equal(t, params["waiver"], detail["waiver"])
	require.Contains(t, r.denied(t, "key.destroy", human("demo-ada"), params), key.CodeNoChange)
}

// What was destroyed and not recorded is recorded later: it can not be taken back.
func TestKeyDestroyIsAdopted(t *testing.T) {
	r := newRig(t)
	id := custodiantest.KeyID
	r.run(t, "key.rotate", human("demo-cleo"), map[string]any{"key": id})
	in := r.input(t, human("demo-ada"), map[string]any{"key": id, "version": 1, "waiver": "rewrapped"})
	in.ApprovedAt = r.Clock.Now()
	r.Clock.Advance(8 * days)
	in.Now = r.Clock.Now()
	destroy := op(t, "key.destroy").(operation.Effectful)
	effect, err := destroy.Effect(t.Context(), r.env, in, "e-1", nil)
	require.NoError(t, err)
	require.Error(t, destroy.Undo(t.Context(), r.env, in, effect))
	found, ok, err := destroy.Recover(t.Context(), r.env, in, "e-1")
	require.NoError(t, err)
	require.True(t, ok)
	_, err = r.record(t, "key.destroy", in, found)
	require.NoError(t, err)
	require.Equal(t, key.Destroyed, r.version(t, id, 1).State)
}

// Expiry never waits: the job deactivates at the end of the usage period. Warnings come before.
// keyAlerts are the alerts about keys.
func keyAlerts(r *rig, now time.Time) []operation.Alert {
	return slices.DeleteFunc(operation.Alerts(r.View(), now), func(a operation.Alert) bool { return a.Key == "" })
}

func TestExpiryAndAlerts(t *testing.T) {
	r := newRig(t)
	jobs := operation.Jobs{Env: r.env}
	require.Empty(t, keyAlerts(r, r.Clock.Now()))
	for _, c := range []struct {
		left time.Duration
		step int
	}{{90 * days, 90}, {30 * days, 30}, {7 * days, 7}} {
		at := r.version(t, custodiantest.KeyID, 1).OUPEnd.Add(-c.left)
		alerts := keyAlerts(r, at)
		require.Len(t, alerts, 1)
		require.Equal(t, operation.AlertExpiry, alerts[0].Kind)
		require.Equal(t, c.step, alerts[0].Days)
	}
	r.Clock.Advance(365 * days)
	due := r.due(t, jobs)
	require.Len(t, due, 1)
	r.apply(t, jobs, due)
	require.Equal(t, key.Deactivated, r.version(t, custodiantest.KeyID, 1).State)
	_, err := r.Store.Control(t.Context(), func(tx *store.Tx) error { return jobs.ApplyDue(tx, due) })
	require.ErrorIs(t, err, store.ErrNoEntry, "applied twice changes nothing")

	r.Clock.Advance(365 * days)
	alerts := keyAlerts(r, r.Clock.Now())
	require.Len(t, alerts, 1)
	require.Equal(t, operation.AlertDestruction, alerts[0].Kind)

	other := r.other(t)
	r.run(t, "key.suspend", human("demo-cleo"), map[string]any{"key": other, "reason": "hold"})
	r.Clock.Advance(31 * days)
	require.Contains(t, kinds(keyAlerts(r, r.Clock.Now())), operation.AlertReview)
}

func kinds(alerts []operation.Alert) []operation.AlertKind {
	var out []operation.AlertKind
	for _, a := range alerts {
		out = append(out, a.Kind)
	}
	return out
}

// The schedule that was set with the key rotates it without asking again, citing the ceremony that set it.
func TestScheduledRotation(t *testing.T) {
	r := newRig(t)
	jobs := operation.Jobs{Env: r.env}
	rotations := func() []operation.Scheduled {
		out, err := jobs.DueRotations(t.Context(), r.View(), r.Clock.Now())
		require.NoError(t, err)
		return out
	}
	require.Empty(t, rotations())
	early := r.plan(t, "key.rotate", r.input(t, node(), map[string]any{"key": custodiantest.KeyID}))
	require.Empty(t, early.Quorum.Precedent, "a node that is too early has nothing to cite")

	r.Clock.Advance(300 * days)
	due := rotations()
	require.Len(t, due, 1)
	require.Equal(t, "key.rotate", due[0].Operation)
	in := r.input(t, node(), nil)
	in.Params, in.Reason = due[0].Params, due[0].Reason
	plan := r.plan(t, "key.rotate", in)
	require.Equal(t, "genesis", plan.Quorum.Precedent)
	require.NoError(t, r.Soft.Deactivate(t.Context()))
	require.Empty(t, rotations(), "not while the keystore is inactive")
	require.NoError(t, r.Soft.Activate(t.Context(), r.Activation))
	_, err := r.execute(t, "key.rotate", in, nil)
	require.NoError(t, err)
	require.Empty(t, rotations())
}

// A new version comes into use only when those who hold the keystore's shares have signed for their duty.
func TestActivationNeedsAcknowledgedCustodians(t *testing.T) {
	r := newRig(t)
	r.register(t)
	p := row[people.Person](t, r, custodian.KindPerson, "demo-dan")
	p.Acknowledgement = nil
	r.Put(t, custodian.KindPerson, p.ID, p)
	ks := row[key.Keystore](t, r, custodian.KindKeystore, custodiantest.KeystoreID)
	ks.ShareSet = "second-shares"
	r.Put(t, custodian.KindKeystore, ks.ID, ks)
	plan, err := r.prepare(t, "key.create", r.input(t, human("demo-ada"), newKey("blocked")))
	require.NoError(t, err)
	require.Len(t, plan.Deny, 1)
	require.Equal(t, key.CodeAcknowledgement, plan.Deny[0].Code)
	require.Contains(t, plan.Deny[0].Message, "demo-dan")

	// Their acknowledgement ended while the ceremony went on: the key is made and waits.
	result, err := r.execute(t, "key.create", r.input(t, human("demo-ada"), newKey("blocked")), nil)
	require.NoError(t, err)
	require.Equal(t, "pre-activation", decoded(t, result)["state"])
	jobs := operation.Jobs{Env: r.env}
	require.Empty(t, r.due(t, jobs))
	require.Contains(t, r.denied(t, "key.activate", human("demo-ada"), map[string]any{"key": "blocked", "version": 1}), key.CodeAcknowledgement)
	require.Contains(t, r.denied(t, "key.rotate", human("demo-cleo"), map[string]any{"key": "blocked"}), "not_rotatable")

	p.Acknowledgement = row[people.Person](t, r, custodian.KindPerson, "demo-ben").Acknowledgement
	r.Put(t, custodian.KindPerson, p.ID, p)
	r.run(t, "key.activate", human("demo-ada"), map[string]any{"key": "blocked", "version": 1})
	require.Equal(t, key.Active, r.version(t, "blocked", 1).State)
}

// A version that waits for its date does not come into use while the one before it is on hold.
func TestSuspendedKeyIsNotReleasedByDate(t *testing.T) {
	r := newRig(t)
	k := row[key.Key](t, r, custodian.KindKey, custodiantest.KeyID)
	v := r.NewVersion(t, k.ID, 2)
	v.State, v.History = key.PreActivation, v.History[:1]
	v.ActivationAt = r.Clock.Now().Add(days)
	k.Versions = 2
	r.Put(t, custodian.KindKey, k.ID, k)
	r.Put(t, custodian.KindKeyVersion, key.VersionID(k.ID, 2), v)
	require.Contains(t, r.denied(t, "key.rotate", human("demo-cleo"), map[string]any{"key": k.ID}), "version_pending")
	r.run(t, "key.suspend", human("demo-cleo"), map[string]any{"key": k.ID, "reason": "investigation"})
	r.Clock.Advance(2 * days)
	jobs := operation.Jobs{Env: r.env}
	require.Empty(t, r.due(t, jobs))
	r.run(t, "key.resume", human("demo-ada"), map[string]any{"key": k.ID, "finding": "cleared"})
	due := r.due(t, jobs)
	require.Len(t, due, 1)
	r.apply(t, jobs, due)
	require.EqualValues(t, 2, row[key.Key](t, r, custodian.KindKey, k.ID).Current)
	require.Equal(t, key.Deactivated, r.version(t, k.ID, 1).State)
}
