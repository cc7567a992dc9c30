package operation_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/operation"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// attend signs as a witness.
func (r *engineRig) attend(t *testing.T, who, id string) {
	t.Helper()
	payload, err := r.engine.Statement(t.Context(), human(who), id, "attend")
	require.NoError(t, err)
	envelope, err := r.signers[who].Sign(statement.TypeStatement, payload)
	require.NoError(t, err)
	_, err = r.engine.Vote(t.Context(), human(who), id, envelope)
	require.NoError(t, err)
}

// vote approves, and returns what came of it.
func (r *engineRig) vote(t *testing.T, who, id string) (*ceremony.Ceremony, error) {
	t.Helper()
	payload, err := r.engine.Statement(t.Context(), human(who), id, "approve")
	require.NoError(t, err)
	envelope, err := r.signers[who].Sign(statement.TypeStatement, payload)
	require.NoError(t, err)
	return r.engine.Vote(t.Context(), human(who), id, envelope)
}

// govern proposes and has two others approve.
func (r *engineRig) govern(t *testing.T, who, name string, params map[string]any) *ceremony.Ceremony {
	t.Helper()
	c := r.propose(t, who, name, params)
	for _, voter := range []string{"demo-ada", "demo-ben", "demo-cleo", "demo-dan"} {
		if c.State == ceremony.Proposed && voter != who {
			c = r.approve(t, voter, c.ID)
		}
	}
	return c
}

// refused proposes what must be refused, and gives the codes.
func (r *engineRig) refused(t *testing.T, who, name string, params map[string]any) []string {
	t.Helper()
	_, _, err := r.engine.Propose(t.Context(), human(who), ceremony.Proposal{Operation: name, Params: canonical(t, params), Reason: "the test asks for it"})
	var denied *custodian.Denied
	require.ErrorAs(t, err, &denied)
	var codes []string
	for _, reason := range denied.Reasons {
		require.NotEmpty(t, reason.Remedy)
		codes = append(codes, reason.Code)
	}
	return codes
}

func (r *engineRig) pass(t *testing.T, d, step time.Duration) {
	t.Helper()
	for end := r.Clock.Elapsed() + d; r.Clock.Elapsed() < end; {
		r.Clock.Advance(min(step, end-r.Clock.Elapsed()))
		_ = r.engine.Tick(t.Context())
	}
}

// A hold stops a destruction that is approved and waits; and after the lift it takes a new quorum.
func TestAHoldStopsADestructionThatWaits(t *testing.T) {
	r := newEngineRig(t)
	r.person(t, "demo-wit", people.RoleWitness)
	r.govern(t, "demo-ada", "key.deactivate", map[string]any{"key": custodiantest.KeyID, "version": 1, "reason": "no longer needed"})
	destroy := map[string]any{"key": custodiantest.KeyID, "version": 1, "reason": "no longer needed", "waiver": "demo-ada: nothing is under it"}
	c := r.propose(t, "demo-ada", "key.destroy", destroy)
	r.approve(t, "demo-ben", c.ID)
	r.approve(t, "demo-cleo", c.ID)
	r.attend(t, "demo-wit", c.ID)
	c, err := r.engine.Get(c.ID)
	require.NoError(t, err)
	require.Equal(t, ceremony.Approved, c.State)
	require.Positive(t, c.WaitLeft.Duration())

	hold := r.propose(t, "demo-ben", "hold.set", map[string]any{"id": "matter-7", "on": map[string]any{"type": "key", "id": custodiantest.KeyID},
		"matter": "Doe v. Shop", "reason": "litigation"})
	require.Equal(t, ceremony.Completed, hold.State)
	require.NotNil(t, hold.ReviewBy)
	c.WaitLeft = 1 // the rest of the wait is beside the point
	r.Put(t, ceremony.Kind, c.ID, c)
	r.pass(t, 3*time.Minute, time.Minute)
	c, err = r.engine.Get(c.ID)
	require.NoError(t, err)
	require.Equal(t, ceremony.Failed, c.State, c.Outcome)
	require.Contains(t, c.Outcome, key.CodeLegalHold)
	require.Equal(t, key.Deactivated, r.version(t, custodiantest.KeyID, 1).State)
	require.Equal(t, []string{key.CodeLegalHold}, r.refused(t, "demo-ada", "key.destroy", destroy))

	lifted := r.govern(t, "demo-ada", "hold.lift", map[string]any{"hold": "matter-7", "reason": "settled"})
	require.Equal(t, ceremony.Completed, lifted.State)
	require.Equal(t, ceremony.Proposed, r.propose(t, "demo-ada", "key.destroy", destroy).State)
	require.Equal(t, []string{"already_lifted"}, r.refused(t, "demo-ada", "hold.lift", map[string]any{"hold": "matter-7", "reason": "again"}))
}

// A hold on data keeps what it is read with and the data on record; one on a template keeps that as it is, with its keys.
func TestHoldsOnDataAndTemplates(t *testing.T) {
	r := newRig(t)
	hold := func(id, kind, on string) {
		r.run(t, "hold.set", human("demo-ben"), map[string]any{"id": id, "on": map[string]any{"type": kind, "id": on}, "matter": "Doe", "reason": "litigation"})
	}
	_, err := r.prepare(t, "hold.set", r.input(t, human("demo-ben"), map[string]any{"on": map[string]any{"type": "asset", "id": "nothing"}, "matter": "Doe", "reason": "x"}))
	require.Equal(t, "on.id", fieldOf(t, err))
	r.run(t, "template.create", human("demo-ada"), newTemplate("small"))
	r.run(t, "key.create", human("demo-ada"), underTemplate("svc-one"))
	require.Equal(t, "small", row[key.Key](t, r, custodian.KindKey, "svc-one").Template)
	r.run(t, "key.rotate", human("demo-ada"), map[string]any{"key": custodiantest.KeyID, "reason": "x"})
	r.run(t, "asset.register", human("demo-ada"), map[string]any{"id": "orders", "label": "orders", "location": "db", "key": custodiantest.KeyID,
		"owner": "demo-ada", "counts": []any{map[string]any{"version": 1, "records": 5}}, "reason": "x"})
	destroy := map[string]any{"key": custodiantest.KeyID, "version": 1, "reason": "old", "waiver": "demo-ada: not needed"}
	r.plan(t, "key.destroy", r.input(t, human("demo-ada"), destroy))

	hold("h-data", "asset", "orders")
	require.Equal(t, []string{key.CodeLegalHold}, r.denied(t, "key.destroy", human("demo-ada"), destroy), "a waiver is no lift")
	retire := map[string]any{"asset": "orders", "deleted": true, "reason": "x"}
	require.Equal(t, []string{key.CodeLegalHold}, r.denied(t, "asset.retire", human("demo-ada"), retire))
	_, err = r.execute(t, "asset.retire", r.input(t, human("demo-ada"), retire), nil)
	require.ErrorContains(t, err, "legal hold")
	r.run(t, "asset.rewrap", human("demo-ada"), map[string]any{"asset": "orders", "from": 1, "to": 2, "rewrapped": 5, "left": 0, "reason": "x"})
	r.plan(t, "key.destroy", r.input(t, human("demo-ada"), destroy))
	r.run(t, "hold.lift", human("demo-ada"), map[string]any{"hold": "h-data", "reason": "settled"})
	r.run(t, "asset.retire", human("demo-ada"), retire)

	r.run(t, "key.deactivate", human("demo-ada"), map[string]any{"key": "svc-one", "version": 1, "reason": "old"})
	under := map[string]any{"key": "svc-one", "version": 1, "reason": "old", "waiver": "none"}
	r.plan(t, "key.destroy", r.input(t, human("demo-ada"), under))
	hold("h-small", "template", "small")
	require.Equal(t, []string{key.CodeLegalHold}, r.denied(t, "key.destroy", human("demo-ada"), under))
	require.Equal(t, []string{key.CodeLegalHold}, r.denied(t, "template.alter", human("demo-ada"), newTemplate("small")))
	r.run(t, "template.retire", human("demo-ada"), map[string]any{"template": "small", "reason": "x"})
}

// The last look is right before the keystore destroys.
func TestAHoldStopsTheEffectItself(t *testing.T) {
	r := newRig(t)
	r.run(t, "key.deactivate", human("demo-ada"), map[string]any{"key": custodiantest.KeyID, "version": 1, "reason": "old"})
	for _, on := range []oversight.Ref{{Type: "key", ID: custodiantest.KeyID}, {Type: "key_version", ID: custodiantest.KeyID + "/1"}, {Type: "instance"}} {
		in := r.input(t, human("demo-ada"), map[string]any{"key": custodiantest.KeyID, "version": 1, "reason": "old", "waiver": "none under it"})
		in.ApprovedAt = r.Clock.Now().Add(-31 * days)
		h := oversight.Hold{ID: "h-test", On: on, Matter: "m", SetAt: r.Clock.Now(), SetBy: "demo-ben", Ceremony: "c-1"}
		r.Put(t, custodian.KindHold, h.ID, h)
		_, err := r.execute(t, "key.destroy", in, nil)
		var refused *key.TransitionError
		require.ErrorAs(t, err, &refused, on.Type)
		require.Equal(t, key.CodeLegalHold, refused.Code)
		require.Equal(t, []string{key.CodeLegalHold}, r.denied(t, "key.destroy", human("demo-ada"), map[string]any{"key": custodiantest.KeyID, "version": 1, "reason": "old", "waiver": "none under it"}))
		lifted := r.Clock.Now()
		h.LiftedAt = &lifted
		r.Put(t, custodian.KindHold, h.ID, h)
	}
	in := r.input(t, human("demo-ada"), map[string]any{"key": custodiantest.KeyID, "version": 1, "reason": "old", "waiver": "none under it"})
	in.ApprovedAt = r.Clock.Now().Add(-31 * days)
	_, err := r.execute(t, "key.destroy", in, nil)
	require.NoError(t, err)
	require.Equal(t, key.Destroyed, r.version(t, custodiantest.KeyID, 1).State)
}

func TestRetentionNeverGoesBelowTheStandards(t *testing.T) {
	r := newEngineRig(t)
	params := func(n, immediate int) map[string]any {
		return map[string]any{"class": "ledger", "days": n, "immediate_days": immediate, "reason": "storage"}
	}
	for _, bad := range []map[string]any{params(365, 92), params(366, 91), params(366, 367)} {
		_, err := r.prepare(t, "retention.change", r.input(t, human("demo-ada"), bad))
		require.Error(t, err)
	}
	require.Equal(t, ceremony.Completed, r.govern(t, "demo-ada", "retention.change", params(366, 92)).State)
	kept := row[oversight.Retention](t, r.rig, custodian.KindRetention, "ledger")
	require.Equal(t, 366, kept.Days)
	r.AddKey(t, "records", key.EPHI)
	_, err := r.prepare(t, "retention.change", r.input(t, human("demo-ada"), params(2191, 92)))
	require.Equal(t, "days", fieldOf(t, err), "six years once a key is for ePHI")
	require.Equal(t, 2192, kept.Effective(true).Days, "and what was governed before does not undercut them")
}

func (r *rig) person(t *testing.T, id string, roles ...people.Role) {
	t.Helper()
	p := row[people.Person](t, r, custodian.KindPerson, "demo-aud")
	p.ID, p.Name, p.Roles = id, id, roles
	r.signers[id] = r.signers["demo-aud"]
	r.Put(t, custodian.KindPerson, id, p)
}

// What one person did alone is reviewed by somebody who took no part; when nobody does, that becomes a finding.
func TestReviewsOfWhatOnePersonDid(t *testing.T) {
	r := newEngineRig(t)
	c := r.propose(t, "demo-cleo", "key.suspend", map[string]any{"key": custodiantest.KeyID, "reason": "odd traffic"})
	sign := map[string]any{"ceremony": c.ID, "outcome": "confirmed", "note": "traffic looked at"}
	require.Equal(t, []string{"took_part"}, r.refused(t, "demo-cleo", "review.sign", sign), "the actor")
	led, err := r.engine.Get(c.ID)
	require.NoError(t, err)
	led.Administrator = "demo-ben"
	r.Put(t, ceremony.Kind, c.ID, led)
	require.Equal(t, []string{"took_part"}, r.refused(t, "demo-ben", "review.sign", sign), "who led it by its script")
	led.Administrator = ""
	r.Put(t, ceremony.Kind, c.ID, led)
	done := r.propose(t, "demo-dan", "review.sign", sign)
	require.Equal(t, ceremony.Completed, done.State)
	require.Equal(t, []string{"already_reviewed"}, r.refused(t, "demo-ben", "review.sign", sign))
	got, err := r.engine.Get(c.ID)
	require.NoError(t, err)
	require.Equal(t, "demo-dan", ceremony.Review(r.View(), got.ID).Reviewer)
	r.pass(t, 25*time.Hour, time.Hour)
	require.Empty(t, r.events(t, "finding.open"), "reviewed in time")
}

// An auditor, who accepts no duty of a custodian, reviews and closes findings.
func TestAuditorsReview(t *testing.T) {
	r := newEngineRig(t)
	auditor := row[people.Person](t, r.rig, custodian.KindPerson, "demo-aud")
	auditor.Acknowledgement = nil
	r.Put(t, custodian.KindPerson, auditor.ID, auditor)
	c := r.propose(t, "demo-cleo", "key.suspend", map[string]any{"key": custodiantest.KeyID, "reason": "odd traffic"})
	done := r.propose(t, "demo-aud", "review.sign", map[string]any{"ceremony": c.ID, "outcome": "finding", "note": "no ticket", "owner": "demo-cleo", "days": 3})
	require.Equal(t, ceremony.Completed, done.State)
	finding := row[oversight.Review](t, r.rig, custodian.KindReview, c.ID).Finding
	require.Equal(t, ceremony.Completed, r.propose(t, "demo-aud", "finding.close", map[string]any{"finding": finding, "evidence": "ticket 12"}).State)
	require.Equal(t, ceremony.Completed, r.propose(t, "demo-aud", "hold.set", map[string]any{"on": map[string]any{"type": "instance"}, "matter": "Doe", "reason": "litigation"}).State)
	require.Equal(t, []string{"proposer_role_missing"}, r.refused(t, "demo-aud", "application.suspend", map[string]any{"application": custodiantest.ApplicationID, "reason": "x"}))
}

// Of several who review at once one is heard, and what they open is opened once.
func TestReviewersAtOnce(t *testing.T) {
	r := newEngineRig(t)
	c := r.propose(t, "demo-cleo", "key.suspend", map[string]any{"key": custodiantest.KeyID, "reason": "odd traffic"})
	var group sync.WaitGroup
	var heard atomic.Int32
	for _, who := range []string{"demo-ada", "demo-ben", "demo-dan", "demo-eve"} {
		params := canonical(t, map[string]any{"ceremony": c.ID, "outcome": "finding", "note": "seen by " + who, "owner": "demo-cleo", "days": 3})
		group.Go(func() {
			_, _, err := r.engine.Propose(context.Background(), human(who), ceremony.Proposal{Operation: "review.sign", Params: params})
			if err == nil {
				heard.Add(1)
			}
		})
		group.Go(func() { _ = r.engine.Tick(context.Background()) })
	}
	group.Wait()
	require.EqualValues(t, 1, heard.Load())
	require.Len(t, r.events(t, "finding.open"), 1)
	require.Len(t, r.events(t, "review.sign"), 1)
}

func TestOverdueReviewsBecomeFindings(t *testing.T) {
	r := newEngineRig(t)
	c := r.propose(t, "demo-cleo", "key.suspend", map[string]any{"key": custodiantest.KeyID, "reason": "odd traffic"})
	r.pass(t, 24*time.Hour-time.Minute, time.Hour)
	require.Empty(t, r.events(t, "finding.open"))
	r.pass(t, 10*time.Minute, time.Minute)
	require.Len(t, r.events(t, "finding.open"), 1, "once")
	var f *oversight.Finding
	for _, found := range store.All[oversight.Finding](r.View(), custodian.KindFinding) {
		f = found
	}
	require.Equal(t, oversight.FromOverdue, f.Source)
	require.Equal(t, "demo-cleo", f.Owner)
	require.Equal(t, oversight.Ref{Type: "ceremony", ID: c.ID}, f.About)

	late := r.propose(t, "demo-dan", "review.sign", map[string]any{"ceremony": c.ID, "outcome": "undo", "note": "no reason seen", "owner": "demo-ben", "days": 3})
	require.Equal(t, ceremony.Completed, late.State)
	require.True(t, row[oversight.Review](t, r.rig, custodian.KindReview, c.ID).Late())
	require.Len(t, r.events(t, "finding.open"), 2, "what is to be undone has an owner and a date")
	require.Equal(t, ceremony.Completed, r.govern(t, "demo-cleo", "key.resume", map[string]any{"key": custodiantest.KeyID, "finding": "undone"}).State,
		"a finding that asks for the release does not stand against it")

	require.Equal(t, []string{"proposer_role_missing"}, r.refused(t, "demo-dan", "finding.close", map[string]any{"finding": f.ID, "evidence": "reviewed late"}))
	closed := r.propose(t, "demo-ada", "finding.close", map[string]any{"finding": f.ID, "evidence": "reviewed late by demo-dan"})
	require.Equal(t, ceremony.Completed, closed.State)
	require.Equal(t, []string{"finding_closed"}, r.refused(t, "demo-ada", "finding.close", map[string]any{"finding": f.ID, "evidence": "again"}))
}

// An open finding stands against the release of what it is about; its owner does not close it.
func TestFindingsStandAgainstRelease(t *testing.T) {
	r := newEngineRig(t)
	r.propose(t, "demo-cleo", "key.suspend", map[string]any{"key": custodiantest.KeyID, "suspected": true, "reason": "a copy was seen"})
	opened := r.propose(t, "demo-cleo", "finding.open", map[string]any{"id": "f-copy", "title": "copy of a key seen", "source": "incident",
		"about": map[string]any{"type": "key", "id": custodiantest.KeyID}, "owner": "demo-ada", "days": 5})
	require.Equal(t, ceremony.Completed, opened.State)
	resume := map[string]any{"key": custodiantest.KeyID, "finding": "cleared"}
	require.Equal(t, []string{key.CodeFindingOpen}, r.refused(t, "demo-cleo", "key.resume", resume))
	require.Equal(t, []string{"own_finding"}, r.refused(t, "demo-ada", "finding.close", map[string]any{"finding": "f-copy", "evidence": "trust me"}))
	require.Equal(t, []string{"own_finding"}, r.refused(t, "demo-ada", "finding.alter", map[string]any{"finding": "f-copy", "days": 90, "reason": "later"}))
	require.Equal(t, ceremony.Completed, r.propose(t, "demo-ben", "finding.alter", map[string]any{"finding": "f-copy", "owner": "demo-cleo", "reason": "she knows"}).State)
	require.Equal(t, "demo-cleo", row[oversight.Finding](t, r.rig, custodian.KindFinding, "f-copy").Owner)
	require.Equal(t, ceremony.Completed, r.propose(t, "demo-ben", "finding.close", map[string]any{"finding": "f-copy", "evidence": "it was a test vector"}).State)
	require.Equal(t, ceremony.Completed, r.govern(t, "demo-cleo", "key.resume", resume).State)
}

// An accepted risk lets a key be placed on a module whose certificate is historical, until its date and not a
// second longer; one person ends it sooner.
func TestExceptionsLiftPlacementUntilTheirDate(t *testing.T) {
	r := newEngineRig(t)
	ks := row[key.Keystore](t, r.rig, custodian.KindKeystore, custodiantest.KeystoreID)
	r.Device.Declare()
	ks.FIPSStandard, ks.FIPSLevel, ks.Certificate, ks.CertificateStatus = "140-2", 3, "1234", key.CertHistorical
	r.Put(t, custodian.KindKeystore, ks.ID, ks)
	create := func(id string) map[string]any {
		p := newKey(id)
		p["classification"], p["impact"] = "cardholder-data", "low"
		return p
	}
	require.Contains(t, r.refused(t, "demo-ada", "key.create", create("cards")), "module_not_validated")
	grant := map[string]any{"id": "x-historical", "rule": "place.module_validated", "keystore": ks.ID, "control": "nist-800-53r5:SC-13",
		"risk": "certificate 1234 became historical", "compensating": "module firmware is patched, replacement ordered", "owner": "demo-ada", "days": 30}
	for field, bad := range map[string]map[string]any{"rule": {"rule": "place.residency"}, "days": {"days": 366}, "keystore": {"keystore": ""}, "owner": {"owner": "nobody"}} {
		p := map[string]any{}
		for k, v := range grant {
			p[k] = v
		}
		for k, v := range bad {
			p[k] = v
		}
		_, err := r.prepare(t, "exception.grant", r.input(t, human("demo-cleo"), p))
		require.Equal(t, field, fieldOf(t, err))
	}
	require.Equal(t, ceremony.Completed, r.govern(t, "demo-cleo", "exception.grant", grant).State)
	x := row[oversight.Exception](t, r.rig, custodian.KindException, "x-historical")
	c := r.propose(t, "demo-ada", "key.create", create("cards"))
	require.Equal(t, ceremony.Proposed, c.State)
	require.True(t, slices.ContainsFunc(c.Lines, func(l operation.Line) bool {
		return l.Label == "accepted risk" && strings.Contains(l.After, "x-historical") && strings.Contains(l.After, "patched")
	}), "who approves sees what it rests on: %v", c.Lines)
	place := func() policies.KeystoreVerdict {
		d, err := r.Place(t.Context(), r.View(), policies.PlacementKey{ID: "cards", Type: string(key.DataEncryption), Classification: "cardholder-data", Impact: "low",
			Jurisdiction: "EU", Environment: "test", Algorithm: "aes-256", StrengthBits: 256})
		require.NoError(t, err)
		v, ok := d.Verdict(ks.ID)
		require.True(t, ok)
		return v
	}
	require.Equal(t, []string{"x-historical"}, place().Exceptions)
	r.Clock.Advance(x.ExpiresAt.Sub(r.Clock.Now()) - time.Second)
	require.True(t, place().Allow)
	r.Clock.Advance(time.Second)
	require.False(t, place().Allow)
	require.Contains(t, r.refused(t, "demo-ada", "key.create", create("cards-2")), "module_not_validated")

	grant["id"] = "x-second"
	require.Equal(t, ceremony.Completed, r.govern(t, "demo-cleo", "exception.grant", grant).State)
	require.True(t, place().Allow)
	require.Equal(t, ceremony.Completed, r.propose(t, "demo-ben", "exception.revoke", map[string]any{"exception": "x-second", "reason": "no longer needed"}).State)
	require.False(t, place().Allow)
}

// Emergency access takes its quorum, is bounded, ends early by one person, and is reviewed by the rest.
func TestEmergencyAccessThroughTheEngine(t *testing.T) {
	r := newEngineRig(t)
	made, err := r.Use(context.Background(), r.App, custodian.Use{Operation: access.Encrypt, Key: custodiantest.KeyID, Plaintext: []byte("record")})
	require.NoError(t, err)
	params := func(change map[string]any) map[string]any {
		p := map[string]any{"person": "demo-eve", "keys": []string{custodiantest.KeyID}, "operations": []string{"decrypt"}, "minutes": 60, "reason": "patient in danger"}
		for k, v := range change {
			p[k] = v
		}
		return p
	}
	for field, bad := range map[string]map[string]any{"minutes": {"minutes": 241}, "operations[0]": {"operations": []string{"encrypt"}}, "keys[0]": {"keys": []string{"nokey"}},
		"person": {"application": "demo-shop"}, "keys": {"keys": []string{}}} {
		_, err := r.prepare(t, "breakglass.open", r.input(t, human("demo-ada"), params(bad)))
		require.Equal(t, field, fieldOf(t, err))
	}
	shop := r.plan(t, "breakglass.open", r.input(t, human("demo-ada"), params(map[string]any{"person": "", "application": "demo-shop"})))
	require.Equal(t, []string{row[access.Application](t, r.rig, custodian.KindApplication, "demo-shop").Owner}, shop.Subjects, "whose application it is")
	c := r.propose(t, "demo-ada", "breakglass.open", params(nil))
	require.Zero(t, c.Takes.CoolingOffSeconds+c.Takes.WaitSeconds)
	_, err = r.engine.Statement(t.Context(), human("demo-eve"), c.ID, "approve")
	require.Error(t, err, "who gets it takes no part")
	r.approve(t, "demo-ben", c.ID)
	use := custodian.Use{Operation: access.Decrypt, Ciphertext: made.Ciphertext, ReasonCode: "treatment"}
	_, err = r.Use(t.Context(), human("demo-eve"), use)
	require.Error(t, err, "one approval opens nothing")
	c = r.approve(t, "demo-cleo", c.ID)
	require.Equal(t, ceremony.Completed, c.State)
	require.Equal(t, r.Clock.Now().Add(24*time.Hour), *c.ReviewBy)
	opened, err := r.Use(t.Context(), human("demo-eve"), use)
	require.NoError(t, err)
	require.Equal(t, "record", string(opened.Plaintext))
	recorded, err := r.Why(t.Context(), opened.Decision)
	require.NoError(t, err)
	require.Contains(t, string(recorded.Entry.Detail), c.ID)

	sign := map[string]any{"ceremony": c.ID, "outcome": "confirmed", "note": "one record, of the patient"}
	require.Equal(t, []string{"still_open"}, r.refused(t, "demo-dan", "review.sign", sign))
	var got struct {
		Breakglass string `json:"breakglass"`
	}
	require.NoError(t, json.Unmarshal(c.Result, &got))
	require.Equal(t, ceremony.Completed, r.propose(t, "demo-dan", "breakglass.close", map[string]any{"breakglass": got.Breakglass, "reason": "patient is safe"}).State)
	_, err = r.Use(t.Context(), human("demo-eve"), use)
	require.Error(t, err)
	for _, who := range []string{"demo-ada", "demo-ben", "demo-cleo", "demo-eve"} {
		require.Equal(t, []string{"took_part"}, r.refused(t, who, "review.sign", sign), who)
	}
	require.Equal(t, ceremony.Completed, r.propose(t, "demo-dan", "review.sign", sign).State)
	r.pass(t, 25*time.Hour, time.Hour)
	for _, f := range store.All[oversight.Finding](r.View(), custodian.KindFinding) {
		require.NotContains(t, f.About.ID, c.ID)
	}
}

// What people sign about controls: one person's word at once, a compensating control by a quorum, both for a time.
func TestStatementsAboutControls(t *testing.T) {
	r := newEngineRig(t)
	word := map[string]any{"id": "a-clock", "kind": "answer", "controls": []string{"pci-dss-4.0.1:10.6.2"}, "outcome": "met", "statement": "two time servers in the basement", "days": 90}
	for field, bad := range map[string]map[string]any{"kind": {"kind": "override"}, "days": {"days": 366}, "controls": {"controls": []string{}}, "controls[0]": {"controls": []string{"10.6.2"}},
		"outcome": {"outcome": ""}, "statement": {"statement": ""}, "sha256": {"sha256": "abc"}, "covers_to": {"covers_from": r.Clock.Now().Add(-time.Hour)}} {
		p := map[string]any{}
		for k, v := range word {
			p[k] = v
		}
		for k, v := range bad {
			p[k] = v
		}
		_, err := r.prepare(t, "attestation.sign", r.input(t, human("demo-cleo"), p))
		require.Equal(t, field, fieldOf(t, err))
	}
	word["controls"] = []string{"pci-dss-4.0.1:10.6.9"}
	_, _, err := r.engine.Propose(t.Context(), human("demo-cleo"), ceremony.Proposal{Operation: "attestation.sign", Params: canonical(t, word), Reason: "a slip"})
	require.Equal(t, "controls[0]", fieldOf(t, err))
	require.ErrorContains(t, err, "10.6.9")
	word["controls"] = []string{"pci-dss-4.0.1:10.6.2"}
	signed := r.propose(t, "demo-cleo", "attestation.sign", word)
	require.Equal(t, ceremony.Completed, signed.State, "one person's word")
	require.Contains(t, string(signed.Params), "Title of 10.6.2", "the title is signed too")
	require.Contains(t, fmt.Sprint(signed.Lines), "pci-dss-4.0.1:10.6.2 (Title of 10.6.2)")
	a := row[oversight.Attestation](t, r.rig, custodian.KindAttestation, "a-clock")
	require.Equal(t, "demo-cleo", a.Signer)
	require.True(t, a.InForce(r.Clock.Now()))
	require.False(t, a.InForce(a.ExpiresAt))

	instead := map[string]any{"id": "c-clock", "kind": "compensating", "controls": []string{"pci-dss-4.0.1:10.6.2"}, "statement": "a GPS receiver at each host", "days": 365}
	require.Equal(t, ceremony.Proposed, r.propose(t, "demo-cleo", "attestation.decide", instead).State, "nobody decides that alone")
	instead["id"] = "c-clock-2"
	require.Equal(t, ceremony.Completed, r.govern(t, "demo-cleo", "attestation.decide", instead).State)

	require.Equal(t, ceremony.Completed, r.propose(t, "demo-cleo", "attestation.withdraw", map[string]any{"attestation": "a-clock", "reason": "moved out"}).State)
	require.False(t, row[oversight.Attestation](t, r.rig, custodian.KindAttestation, "a-clock").InForce(r.Clock.Now()))
	require.Contains(t, r.refused(t, "demo-cleo", "attestation.withdraw", map[string]any{"attestation": "a-clock", "reason": "again"}), "not_in_force")
}

// A day's log is reviewed once, by what the service summed up and nothing else; what was found becomes a finding.
func TestLogReview(t *testing.T) {
	r := newEngineRig(t)
	day := r.Clock.Now().UTC().Add(-24 * time.Hour).Format(time.DateOnly)
	r.Put(t, custodian.KindLogDay, day, &oversight.LogDay{Day: day, To: 7, Leaf: "00ff", Entries: map[string]int{"genesis": 7}, Notable: []oversight.NotableEntry{}})
	require.Contains(t, alertKinds(r), operation.AlertLogReview)
	r.Put(t, custodian.KindWatched, oversight.WatchedRow, &oversight.Watched{Open: []oversight.OpenAlert{{Title: "a rule", At: r.Clock.Now().UTC().Add(-24 * time.Hour)}}})
	require.Contains(t, alertKinds(r), operation.AlertRule)
	sign := map[string]any{"day": day, "to": 7, "leaf": "00ff", "outcome": "finding", "note": "who is node-9?", "owner": "demo-cleo", "days": 3}
	for field, bad := range map[string]map[string]any{"day": {"day": "2001-01-01"}, "leaf": {"to": 8}, "outcome": {"outcome": "undo"}, "note": {"note": ""}, "owner": {"owner": "nobody"},
		"days": {"days": 0}} {
		p := map[string]any{}
		for k, v := range sign {
			p[k] = v
		}
		for k, v := range bad {
			p[k] = v
		}
		_, err := r.prepare(t, "log.review", r.input(t, human("demo-cleo"), p))
		require.Equal(t, field, fieldOf(t, err))
	}
	require.Equal(t, ceremony.Completed, r.propose(t, "demo-aud", "log.review", sign).State)
	d := row[oversight.LogDay](t, r.rig, custodian.KindLogDay, day)
	require.Equal(t, "demo-aud", d.Reviewed.By)
	require.False(t, d.Late(r.Clock.Now()))
	require.Equal(t, "demo-cleo", row[oversight.Finding](t, r.rig, custodian.KindFinding, d.Reviewed.Finding).Owner)
	require.Contains(t, r.refused(t, "demo-aud", "log.review", sign), "already_reviewed")
	require.NotContains(t, alertKinds(r), operation.AlertLogReview)
	require.NotContains(t, alertKinds(r), operation.AlertRule)
}

func alertKinds(r *engineRig) (out []operation.AlertKind) {
	for _, a := range operation.Alerts(r.Store.View(), r.Clock.Now()) {
		out = append(out, a.Kind)
	}
	return out
}
