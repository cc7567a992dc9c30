package operation_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/people"
	"conclave/hsm"
)

// acknowledgeAt dates the acknowledgements of all people.
func (r *engineRig) acknowledgeAt(t *testing.T, at time.Time) {
	t.Helper()
	for _, id := range custodiantest.People() {
		p := row[people.Person](t, r.rig, custodian.KindPerson, id)
		p.Acknowledgement = &people.Acknowledgement{FormVersion: people.CurrentForm().Version, SignedAt: at,
			ExpiresAt: at.Add(people.AcknowledgementPeriod), Envelope: json.RawMessage(`{}`)}
		r.Put(t, custodian.KindPerson, id, p)
	}
}

// secondNode is another replica's engine on the same ledger, with a clock of its own.
func (r *engineRig) secondNode(t *testing.T, c *custodiantest.Clock) *ceremony.Engine {
	t.Helper()
	door, err := custodian.New(t.Context(), custodian.Config{Store: r.Store, Policies: r.Policies, Node: "node-2",
		Keystores: map[string]hsm.Keystore{custodiantest.KeystoreID: r.Soft}, AuditKey: r.AuditKey, Clock: c})
	require.NoError(t, err)
	engine, err := ceremony.New(ceremony.Config{Custodian: door, Operations: operation.All(), Drivers: softDriver, NodeSigner: r.signers["demo-ada"],
		ChallengeKey: make([]byte, 32), Clock: c})
	require.NoError(t, err)
	return engine
}

// A quorum confirms a clock that moved: on every replica that shows what was confirmed, and on no other.
func TestInvariant11_AQuorumConfirmsTheClock(t *testing.T) {
	r := newEngineRig(t)
	r.acknowledgeAt(t, r.Clock.Now().Add(-24*time.Hour)) // before whatever the clock is going to show
	same, wrong := custodiantest.NewClock(), custodiantest.NewClock()
	replica, other := r.secondNode(t, same), r.secondNode(t, wrong)
	look := func() {
		for _, e := range []*ceremony.Engine{r.engine, replica, other} {
			e.Sweep()
		}
	}
	for _, c := range []*custodiantest.Clock{r.Clock, same} {
		c.MoveWall(-time.Hour)
	}
	wrong.MoveWall(-2 * time.Hour)
	look()
	for _, e := range []*ceremony.Engine{r.engine, replica, other} {
		require.NotEmpty(t, e.ClockProblem())
	}
	held := r.propose(t, "demo-dan", "key.create", newKey("waits"))
	r.approve(t, "demo-ben", held.ID)
	_, err := r.vote(t, "demo-cleo", held.ID)
	require.ErrorIs(t, err, ceremony.ErrClockDisagrees)

	c := r.propose(t, "demo-dan", "clock.confirm", map[string]any{"source": "two radio clocks"})
	r.approve(t, "demo-ben", c.ID)
	require.NotEmpty(t, r.engine.ClockProblem(), "one person confirms nothing")
	for _, clock := range []*custodiantest.Clock{r.Clock, same, wrong} {
		clock.Advance(10 * time.Minute)
	}
	look()
	c = r.approve(t, "demo-ada", c.ID)
	require.Equal(t, ceremony.Completed, c.State)
	for _, clock := range []*custodiantest.Clock{r.Clock, same, wrong} {
		clock.Advance(2 * time.Second)
	}
	require.Empty(t, r.engine.ClockProblem())
	require.Empty(t, replica.ClockProblem())
	require.NotEmpty(t, other.ClockProblem(), "its clock shows something else")
	require.NoError(t, r.engine.Tick(t.Context()))

	// A later disagreement is not confirmed by what was said before.
	r.Clock.MoveWall(time.Minute)
	require.NotEmpty(t, r.engine.ClockProblem())
	r.Clock.MoveWall(-time.Minute)
	require.Empty(t, r.engine.ClockProblem())

	// The ledger's last entry stays ahead for an hour: a restart within it is no new disagreement.
	again := r.secondNode(t, same)
	require.Empty(t, again.ClockProblem())
	same.MoveWall(-5 * time.Minute)
	require.NotEmpty(t, r.secondNode(t, same).ClockProblem(), "earlier than what was confirmed is")
}

// Approvals given before the clock moved once more confirm nothing.
func TestInvariant11_ApprovalsOfAnotherClockConfirmNothing(t *testing.T) {
	r := newEngineRig(t)
	r.Clock.MoveWall(time.Hour)
	r.engine.Sweep()
	c := r.propose(t, "demo-dan", "clock.confirm", map[string]any{"source": "a radio clock"})
	r.approve(t, "demo-ben", c.ID)
	r.Clock.MoveWall(24 * time.Hour)
	r.engine.Sweep()
	_, err := r.vote(t, "demo-ada", c.ID)
	require.ErrorIs(t, err, ceremony.ErrVoid)
	require.NotEmpty(t, r.engine.ClockProblem())
}
