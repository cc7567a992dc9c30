package operation_test

import (
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/operation"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/policies"
)

// engineRig runs the real operations through the real engine, with people who sign.
type engineRig struct {
	*rig
	engine *ceremony.Engine
}

func newEngineRig(t *testing.T) *engineRig {
	t.Helper()
	return newEngineRigWith(t, softDriver)
}

// newEngineRigWith has keystores of other drivers too.
func newEngineRigWith(t *testing.T, drivers operation.Drivers) *engineRig {
	t.Helper()
	r := &engineRig{rig: newRigOn(t, ceremony.Schema(store.Schema{}))}
	r.env.Drivers = drivers
	nodeKey, err := keyfile.Generate(custodiantest.NodeID, "ES256")
	require.NoError(t, err)
	challengeKey := make([]byte, 32)
	rand.Read(challengeKey)
	r.engine, err = ceremony.New(ceremony.Config{Custodian: r.Service, Operations: operation.All(), Drivers: drivers,
		NodeSigner: nodeKey, ChallengeKey: challengeKey, Controls: knownControls, Clock: r.Clock})
	require.NoError(t, err)
	return r
}

// knownControls is a catalogue of one control.
func knownControls(name string) (string, error) {
	if name != "pci-dss-4.0.1:10.6.2" {
		return "", fmt.Errorf("control %q is unknown", name)
	}
	return "Title of 10.6.2", nil
}

func (r *engineRig) propose(t *testing.T, who, name string, params map[string]any) *ceremony.Ceremony {
	t.Helper()
	c, once, err := r.engine.Propose(t.Context(), human(who), ceremony.Proposal{Operation: name, Params: canonical(t, params), Reason: "the test asks for it"})
	require.NoError(t, err)
	require.Nil(t, once)
	return c
}

func (r *engineRig) approve(t *testing.T, who, id string) *ceremony.Ceremony {
	t.Helper()
	payload, err := r.engine.Statement(t.Context(), human(who), id, "approve")
	require.NoError(t, err)
	envelope, err := r.signers[who].Sign(statement.TypeStatement, payload)
	require.NoError(t, err)
	c, err := r.engine.Vote(t.Context(), human(who), id, envelope)
	require.NoError(t, err)
	return c
}

// One person restricts at once, several release together: with the operations as they are.
func TestThroughTheEngine(t *testing.T) {
	r := newEngineRig(t)
	made := r.propose(t, "demo-ada", "key.create", newKey("payroll"))
	require.Equal(t, ceremony.Proposed, made.State)
	r.approve(t, "demo-ben", made.ID)
	made = r.approve(t, "demo-cleo", made.ID)
	require.Equal(t, ceremony.Completed, made.State)
	require.Equal(t, key.Active, r.version(t, "payroll", 1).State)
	e, detail := r.lastEvent(t, "key.create")
	require.Equal(t, made.ID, e.Ceremony)
	require.ElementsMatch(t, []any{"demo-ben", "demo-cleo"}, detail["approvers"])

	suspended := r.propose(t, "demo-cleo", "key.suspend", map[string]any{"key": "payroll", "suspected": false})
	require.Equal(t, ceremony.Completed, suspended.State)
	require.NotNil(t, suspended.ReviewBy)
	resumed := r.propose(t, "demo-cleo", "key.resume", map[string]any{"key": "payroll", "finding": "cleared"})
	require.Equal(t, ceremony.Proposed, resumed.State)
	r.approve(t, "demo-dan", resumed.ID)
	require.Equal(t, key.Suspended, r.version(t, "payroll", 1).State)
	require.Equal(t, ceremony.Completed, r.approve(t, "demo-ada", resumed.ID).State)
	require.Equal(t, key.Active, r.version(t, "payroll", 1).State)

	enrolled := r.propose(t, "demo-cleo", "application.enrol", newApplication("billing"))
	require.Equal(t, ceremony.Completed, enrolled.State)
	issued, once, err := r.engine.Propose(t.Context(), human("demo-cleo"), ceremony.Proposal{Operation: "token.issue",
		Params: canonical(t, map[string]any{"application": "billing", "days": 30})})
	require.NoError(t, err)
	require.Equal(t, ceremony.Completed, issued.State)
	require.NoError(t, once.Use(func(b []byte) error { _, err := access.ParseToken(string(b)); return err }))
	once.Wipe()
	_, _, err = r.engine.Propose(t.Context(), human("demo-dan"), ceremony.Proposal{Operation: "token.issue",
		Params: canonical(t, map[string]any{"application": "billing", "days": 30})})
	var denied *custodian.Denied
	require.ErrorAs(t, err, &denied)
	require.Equal(t, "not_owner", denied.Code)
}

// What was approved about a key is void once the key is governed otherwise.
func TestInvariant02_ApprovalsAreVoidAfterAChange(t *testing.T) {
	r := newEngineRig(t)
	r.propose(t, "demo-cleo", "key.suspend", map[string]any{"key": custodiantest.KeyID})
	first := r.propose(t, "demo-cleo", "key.resume", map[string]any{"key": custodiantest.KeyID, "finding": "cleared"})
	second := r.propose(t, "demo-dan", "key.resume", map[string]any{"key": custodiantest.KeyID, "finding": "cleared as well"})
	r.approve(t, "demo-ben", second.ID)
	for _, who := range []string{"demo-ada", "demo-ben"} {
		first = r.approve(t, who, first.ID)
	}
	require.Equal(t, ceremony.Completed, first.State)
	r.propose(t, "demo-cleo", "key.suspend", map[string]any{"key": custodiantest.KeyID})
	payload, err := r.engine.Statement(t.Context(), human("demo-ada"), second.ID, "approve")
	require.NoError(t, err)
	envelope, err := r.signers["demo-ada"].Sign(statement.TypeStatement, payload)
	require.NoError(t, err)
	_, err = r.engine.Vote(t.Context(), human("demo-ada"), second.ID, envelope)
	require.ErrorIs(t, err, ceremony.ErrVoid)
	require.Equal(t, key.Suspended, r.version(t, custodiantest.KeyID, 1).State)
}

// Dates are kept without anybody asking: rotation by schedule first, then activation and expiry.
func TestTickKeepsDates(t *testing.T) {
	r := newEngineRig(t)
	r.AddKey(t, "demo-plain", key.Internal)
	plain := row[key.Key](t, r.rig, custodian.KindKey, "demo-plain")
	plain.RotateDays = 365
	r.Put(t, custodian.KindKey, plain.ID, plain)
	r.Clock.Advance(300 * days)
	require.NoError(t, r.engine.Tick(t.Context()))
	require.EqualValues(t, 2, row[key.Key](t, r.rig, custodian.KindKey, custodiantest.KeyID).Current)
	_, detail := r.lastEvent(t, "key.rotate")
	require.Contains(t, detail["reason"], "scheduled")
	size := r.View().Head().Size
	require.NoError(t, r.engine.Tick(t.Context()))
	require.Equal(t, size, r.View().Head().Size, "nothing is due twice")
	for _, row := range r.events(t, "ceremony.propose") {
		require.Equal(t, "node", string(row.Actor.Kind))
	}
	list, _, err := r.engine.List(t.Context(), ceremony.Filter{})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, string(policies.PreAuthorised), list[0].Class)
	require.Equal(t, "genesis", list[0].Cites)
}
