package ceremony_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/operation"
	"conclave/ceremony/quorum"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/policies"
)

// departOp takes one person out of the register, as departures do: simulated for lock-out whenever it is judged.
type departOp struct{}

func (departOp) Name() string { return "custodian.remove" }

func (o departOp) person(in operation.Input) string {
	var p struct{ Person string }
	_ = json.Unmarshal(in.Params, &p)
	return p.Person
}

func (o departOp) Prepare(ctx context.Context, env operation.Env, view *store.View, in operation.Input) (operation.Plan, error) {
	id := o.person(in)
	_, row, err := store.Get[people.Person](view, custodian.KindPerson, id)
	if err != nil {
		return operation.Plan{}, err
	}
	plan := operation.Plan{Target: operation.Target{Type: "person", ID: id, GovRevision: row.Revision}, Title: "leaves", Subjects: []string{id},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "person", ID: id}}}
	plan.Deny, err = operation.LockOut(ctx, env, view, in, &quorum.Supposition{Remove: []string{id}}, nil)
	return plan, err
}

func (o departOp) Execute(_ context.Context, _ operation.Env, tx *store.Tx, in operation.Input) (operation.Result, error) {
	p, _, err := store.Get[people.Person](tx.View(), custodian.KindPerson, o.person(in))
	if err != nil {
		return operation.Result{}, err
	}
	p.Status = people.StatusLeft
	if err := tx.Put(custodian.KindPerson, p.ID, p); err != nil {
		return operation.Result{}, err
	}
	return operation.Result{Data: []byte(`{}`)}, tx.Append(ledger.Entry{Type: "custodian.remove", Actor: in.Requester, Outcome: ledger.Done, Ceremony: in.Ceremony})
}

// departing is a rig whose engine knows departures, with a third officer.
func departing(t *testing.T) *rig {
	r := newRig(t, custodian.Production)
	r.engine = departingEngine(t, r)
	r.person(t, "demo-cleo", func(p *people.Person) { p.Roles = append(p.Roles, people.RoleSecurityOfficer) })
	return r
}

// TestInvariant12_TwoDeparturesThatTogetherLockEverybodyOut: each is fine, both are approved, the second is refused
// when it is about to run, because it is judged again by the people who are left then.
func TestInvariant12_TwoDeparturesThatTogetherLockEverybodyOut(t *testing.T) {
	r := departing(t)
	leave := func(id string) *ceremony.Ceremony {
		c, _, err := r.engine.Propose(t.Context(), human("demo-dan"), ceremony.Proposal{Operation: "custodian.remove", Params: []byte(`{"person":"` + id + `"}`), Reason: "leaves"})
		require.NoError(t, err)
		return c
	}
	ada, ben := leave("demo-ada"), leave("demo-ben")
	for _, c := range []*ceremony.Ceremony{ada, ben} {
		require.Equal(t, ceremony.Proposed, r.vote(t, "demo-cleo", c.ID, "approve").State)
	}
	require.Equal(t, ceremony.Completed, r.vote(t, "demo-eve", ada.ID, "approve").State)

	_, err := r.engine.Vote(t.Context(), human("demo-eve"), ben.ID, r.sign(t, "demo-eve", ben.ID, "approve"))
	var denied *custodian.Denied
	require.ErrorAs(t, err, &denied)
	require.Equal(t, "lock_out", denied.Reasons[0].Code)
	require.Contains(t, denied.Reasons[0].Message, "policy.activate would lack a quorum: 2 of the 3 approvals")
	require.Equal(t, ceremony.Failed, r.state(t, ben.ID).State)
	p, _, err := store.Get[people.Person](r.View(), custodian.KindPerson, "demo-ben")
	require.NoError(t, err)
	require.Equal(t, people.StatusActive, p.Status)
	_, _, err = r.engine.Propose(t.Context(), human("demo-dan"), ceremony.Proposal{Operation: "custodian.remove", Params: []byte(`{"person":"demo-ben"}`), Reason: "leaves"})
	require.ErrorAs(t, err, &denied, "and it can not be asked for any more")
	require.NotEmpty(t, denied.Decision, "recorded before answered")
}

// alerts are the entries about quorums.
func (r *rig) alerts(t *testing.T) (out []string) {
	t.Helper()
	require.NoError(t, r.Store.ControlEntries(t.Context(), 0, func(e *ledger.Entry, _ []byte) error {
		if e.Type == "quorum.worse" || e.Type == "quorum.better" {
			out = append(out, e.Type+" "+string(e.Detail))
		}
		return nil
	}))
	return out
}

func TestInvariant12_LostQuorumsAreToldOnce(t *testing.T) {
	r := departing(t)
	tick(t, r, time.Minute)
	require.Len(t, r.alerts(t), 1, "what can be done is noted when it is first seen")
	for range 3 {
		tick(t, r, time.Minute)
	}
	require.Len(t, r.alerts(t), 1)

	r.person(t, "demo-ada", func(p *people.Person) { p.Status = people.StatusSuspended })
	r.person(t, "demo-ben", func(p *people.Person) { p.Status = people.StatusSuspended })
	tick(t, r, time.Minute)
	require.Len(t, r.alerts(t), 2)
	require.Contains(t, r.alerts(t)[1], `quorum.worse`)
	require.Contains(t, r.alerts(t)[1], `"custodian.remove: no-spare"`)
	r.engine = departingEngine(t, r) // another process, or another replica, does not tell it again
	tick(t, r, time.Minute)
	require.Len(t, r.alerts(t), 2)

	r.person(t, "demo-cleo", func(p *people.Person) { p.Acknowledgement = nil })
	tick(t, r, time.Minute)
	require.Contains(t, r.alerts(t)[2], `"custodian.remove: lost"`)
	r.person(t, "demo-ada", func(p *people.Person) { p.Status = people.StatusActive })
	tick(t, r, time.Minute)
	require.Contains(t, r.alerts(t)[3], `quorum.better`)
	require.Contains(t, r.alerts(t)[3], `"custodian.remove: no-spare"`)
	require.Len(t, r.alerts(t), 4)
}

func departingEngine(t *testing.T, r *rig) *ceremony.Engine {
	t.Helper()
	engine, err := ceremony.New(ceremony.Config{Custodian: r.Service, NodeSigner: r.nodeKey, ChallengeKey: r.challenge, Clock: r.Clock,
		Operations: []operation.Operation{r.governed, departOp{}}, Drivers: func(*key.Keystore) (hsm.Keystore, error) { return nil, hsm.ErrUnsupported }})
	require.NoError(t, err)
	return engine
}

func TestQuorumHealthAndSimulation(t *testing.T) {
	r := departing(t)
	h, err := r.engine.QuorumHealth(t.Context())
	require.NoError(t, err)
	again, err := r.engine.QuorumHealth(t.Context())
	require.NoError(t, err)
	require.Same(t, h, again, "computed once")
	require.Equal(t, "demo-shares", h.Sets[0].Set)
	require.Len(t, h.Operations, 3, "departures, and releases of keys of both kinds")
	detail, err := r.engine.OperationHealth(t.Context(), "custodian.remove")
	require.NoError(t, err)
	require.Len(t, detail[0].Requesters, 5)
	_, err = r.engine.OperationHealth(t.Context(), "king.crown")
	require.ErrorIs(t, err, ceremony.ErrNotFound)

	before := r.View().Head().Size
	out, err := r.engine.SimulateQuorum(t.Context(), human("demo-ada"), &quorum.Supposition{Remove: []string{"demo-ada", "demo-ben", "demo-cleo"}})
	require.NoError(t, err)
	require.NotEmpty(t, out.Refused)
	require.Equal(t, "lock_out", out.Refused[0].Code)
	require.Negative(t, out.Sets[0].After.Survives)
	require.Equal(t, before, r.View().Head().Size, "nothing happened")
	_, err = r.engine.SimulateQuorum(t.Context(), human("demo-ada"), &quorum.Supposition{Remove: []string{custodiantest.NodeID}})
	var field *key.FieldError
	require.ErrorAs(t, err, &field)
	_, err = r.engine.SimulateQuorum(t.Context(), human("demo-ada"), &quorum.Supposition{Policy: "no-such-digest"})
	require.ErrorAs(t, err, &field)
	require.Equal(t, "policy", field.Field)
	out, err = r.engine.SimulateQuorum(t.Context(), human("demo-ada"), &quorum.Supposition{Policy: r.Policies.Digest()})
	require.NoError(t, err)
	require.Empty(t, out.Refused)
	for _, o := range out.Operations {
		require.Equal(t, "same", o.Verdict)
	}
}
