package ceremony_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/identity"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm/secret"
)

func suspended(p *people.Person) { p.Status = people.StatusSuspended }

// approved is a ceremony with its quorum that could not run yet: storage answers, the clock does not.
func (r *rig) approved(t *testing.T, operation string) *ceremony.Ceremony {
	t.Helper()
	c := r.propose(t, "demo-cleo", operation)
	r.vote(t, "demo-ada", c.ID, "approve")
	bens := r.sign(t, "demo-ben", c.ID, "approve")
	r.Clock.MoveWall(10 * time.Second)
	_, err := r.engine.Vote(t.Context(), human("demo-ben"), c.ID, bens)
	require.ErrorIs(t, err, ceremony.ErrClockDisagrees)
	r.Clock.MoveWall(-10 * time.Second)
	c = r.state(t, c.ID)
	require.Equal(t, ceremony.Approved, c.State)
	return c
}

func TestInvariant01_OnlyPeopleAskForWhatPeopleDecide(t *testing.T) {
	r := newRig(t, custodian.Production)
	for _, kind := range []identity.Kind{identity.Application, identity.Auditor, identity.Node} {
		p := identity.Principal{Kind: kind, ID: "demo-ada", Credential: "test", Origin: "127.0.0.1", RequestID: "test"}
		for _, operation := range []string{"key.resume", "key.suspend"} {
			_, _, err := r.engine.Propose(t.Context(), p, ceremony.Proposal{Operation: operation})
			var denied *custodian.Denied
			require.ErrorAs(t, err, &denied, "%s %s", kind, operation)
		}
		c := r.propose(t, "demo-cleo", "key.resume")
		_, err := r.engine.Statement(t.Context(), p, c.ID, "approve")
		denied(t, err, "not-a-person")
		_, _, err = r.engine.Execute(t.Context(), p, c.ID)
		denied(t, err, "not-a-person")
		_, err = r.engine.Cancel(t.Context(), p, c.ID, "")
		denied(t, err, "not-a-person")
	}
	require.Zero(t, r.done(t, "key.suspend"))
}

func TestInvariant01_PreAuthorisedLeadsBackToAGovernedDecision(t *testing.T) {
	r := newRig(t, custodian.Production)
	node := identity.Principal{Kind: identity.Node, ID: custodiantest.NodeID}
	rotate := func(cites string) (*ceremony.Ceremony, error) {
		r.scheduled.precedent = cites
		c, _, err := r.engine.Propose(t.Context(), node, ceremony.Proposal{Operation: "key.rotate"})
		return c, err
	}
	alone := r.propose(t, "demo-ben", "key.suspend")
	governed := r.propose(t, "demo-cleo", "key.resume")
	for _, cites := range []string{"c-none", alone.ID, governed.ID} {
		_, err := rotate(cites)
		denied(t, err, "precedent_missing")
	}
	_, err := rotate("")
	require.Error(t, err, "a node has no say of its own")
	r.vote(t, "demo-ada", governed.ID, "approve")
	r.vote(t, "demo-dan", governed.ID, "approve")
	first, err := rotate(governed.ID)
	require.NoError(t, err)
	require.Equal(t, ceremony.Completed, first.State)
	require.Equal(t, governed.ID, first.Cites)
	_, err = rotate(first.ID)
	require.NoError(t, err, "over another that rests on it")
	require.Equal(t, 2, r.done(t, "key.rotate"))
}

func TestInvariant01_WhoMayCallForAnExecution(t *testing.T) {
	r := newRig(t, custodian.Production)
	c := r.approved(t, "key.resume")
	_, _, err := r.engine.Execute(t.Context(), human("demo-wim"), c.ID)
	denied(t, err, people.CodeWrongRole)
	r.person(t, "demo-dan", suspended)
	_, _, err = r.engine.Execute(t.Context(), human("demo-dan"), c.ID)
	denied(t, err, people.CodeSuspended)
	_, _, err = r.engine.Execute(t.Context(), human("demo-cleo"), c.ID)
	require.NoError(t, err)
	require.Equal(t, []string{"demo-ada", "demo-ben"}, r.state(t, c.ID).Approvers)
}

func TestInvariant02_OneSignedRequestOpensOneCeremony(t *testing.T) {
	r := newRig(t, custodian.Production)
	in := ceremony.Proposal{Operation: "key.suspend", Evidence: []byte(`{"the":"signed request"}`)}
	first, _, err := r.engine.Propose(t.Context(), human("demo-ben"), in)
	require.NoError(t, err)
	again, _, err := r.replica(t).Propose(t.Context(), human("demo-ben"), in)
	require.NoError(t, err)
	require.Equal(t, first.ID, again.ID)
	require.Equal(t, 1, r.done(t, "key.suspend"), "replayed on another replica it does nothing")
	in.Operation = "key.resume"
	_, _, err = r.engine.Propose(t.Context(), human("demo-ben"), in)
	require.ErrorIs(t, err, store.ErrIdempotencyConflict)
}

func TestInvariant03_WhoAskedMustStillCount(t *testing.T) {
	for name, change := range map[string]func(p *people.Person){
		"suspended": suspended,
		"left":      func(p *people.Person) { p.Status = people.StatusLeft },
		"no role":   func(p *people.Person) { p.Roles = []people.Role{people.RoleWitness} },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, custodian.Production)
			c := r.propose(t, "demo-cleo", "key.resume")
			r.vote(t, "demo-ada", c.ID, "approve")
			r.person(t, "demo-cleo", change)
			_, err := r.engine.Vote(t.Context(), human("demo-ben"), c.ID, r.sign(t, "demo-ben", c.ID, "approve"))
			var failed *ceremony.FailedError
			require.ErrorAs(t, err, &failed)
			require.Equal(t, ceremony.Failed, r.state(t, c.ID).State)
			require.Zero(t, r.done(t, "key.resume"))
		})
	}
	t.Run("unacknowledged", func(t *testing.T) { // can sign again: it waits
		r := newRig(t, custodian.Production)
		c := r.propose(t, "demo-cleo", "key.resume")
		r.vote(t, "demo-ada", c.ID, "approve")
		var before *people.Acknowledgement
		r.person(t, "demo-cleo", func(p *people.Person) { before, p.Acknowledgement = p.Acknowledgement, nil })
		require.Equal(t, ceremony.Approved, r.vote(t, "demo-ben", c.ID, "approve").State)
		require.Zero(t, r.done(t, "key.resume"))
		r.person(t, "demo-cleo", func(p *people.Person) { p.Acknowledgement = before })
		require.NoError(t, r.engine.Tick(t.Context()))
		require.Equal(t, ceremony.Completed, r.state(t, c.ID).State)
	})
}

func TestInvariant03_AnApprovalEndsNothing(t *testing.T) {
	r := newRig(t, custodian.Production)
	c := r.propose(t, "demo-cleo", "key.resume")
	for _, id := range []string{"demo-ben", "demo-dan", "demo-eve"} {
		r.person(t, id, func(p *people.Person) { p.Acknowledgement = nil })
	}
	c = r.vote(t, "demo-ada", c.ID, "approve")
	require.Equal(t, ceremony.Proposed, c.State, "the others may still sign their acknowledgements")
	standing := r.engine.Standing(c)
	require.Equal(t, []string{"demo-ada"}, standing.Approved)
	require.Equal(t, []string{"1 more approval"}, standing.Missing)
	require.False(t, standing.Met)
	require.False(t, standing.Reachable)
}

func TestInvariant03_OneNoIsAVoteNotAnEnd(t *testing.T) {
	r := newRig(t, custodian.Production)
	c := r.propose(t, "demo-cleo", "key.destroy")
	_, err := r.engine.Cancel(t.Context(), human("demo-dan"), c.ID, "no")
	denied(t, err, "not-waiting")
	r.vote(t, "demo-ada", c.ID, "approve")
	c = r.vote(t, "demo-ben", c.ID, "approve")
	require.Equal(t, ceremony.Proposed, c.State, "no witness")
	_, err = r.engine.Statement(t.Context(), human("demo-ben"), c.ID, "attend")
	require.ErrorIs(t, err, ceremony.ErrAlreadyVoted, "who approves does not witness")
	c = r.vote(t, "demo-wim", c.ID, "attend")
	require.Equal(t, ceremony.Approved, c.State)
	require.NotZero(t, c.WaitLeft)
	_, err = r.engine.Cancel(t.Context(), human("demo-wim"), c.ID, "no")
	denied(t, err, people.CodeWrongRole)
	c, err = r.engine.Cancel(t.Context(), human("demo-dan"), c.ID, "no")
	require.NoError(t, err, "while it waits, one person suffices")
	require.Equal(t, ceremony.Cancelled, c.State)

	r.destroys.subjects = []string{"demo-dan"}
	c = r.propose(t, "demo-cleo", "key.destroy")
	for who, decision := range map[string]string{"demo-ada": "approve", "demo-ben": "approve", "demo-wim": "attend"} {
		r.vote(t, who, c.ID, decision)
	}
	_, err = r.engine.Cancel(t.Context(), human("demo-dan"), c.ID, "no")
	denied(t, err, people.CodeExcludedSubject)
}

func TestInvariant03_WhoNoLongerCountsIsReplaced(t *testing.T) {
	r := newRig(t, custodian.Production)
	c := r.approved(t, "key.resume")
	r.person(t, "demo-ada", suspended)
	require.ErrorIs(t, r.engine.Tick(t.Context()), ceremony.ErrQuorum)
	require.Equal(t, ceremony.Approved, r.state(t, c.ID).State)
	c = r.vote(t, "demo-dan", c.ID, "approve")
	require.Equal(t, ceremony.Completed, c.State)
	require.Equal(t, []string{"demo-ben", "demo-dan"}, c.Approvers)

	c = r.propose(t, "demo-cleo", "key.resume")
	r.vote(t, "demo-dan", c.ID, "reject")
	second, err := keyfile.Generate("demo-dan", "ES256")
	require.NoError(t, err)
	r.person(t, "demo-dan", func(p *people.Person) {
		credential, err := second.Public().Credential(r.Clock.Now())
		require.NoError(t, err)
		p.ApprovalKeys[0].Revoked = true
		p.ApprovalKeys = append(p.ApprovalKeys, credential)
	})
	r.signers["demo-dan"] = second
	r.vote(t, "demo-dan", c.ID, "approve") // what was signed with the revoked key is not their word
	_, err = r.engine.Statement(t.Context(), human("demo-dan"), c.ID, "approve")
	require.ErrorIs(t, err, ceremony.ErrAlreadyVoted)
	require.Equal(t, ceremony.Completed, r.vote(t, "demo-ben", c.ID, "approve").State)
}

func TestInvariant04_TheShareOfSomebodySuspendedOpensNothing(t *testing.T) {
	r := newRig(t, custodian.Production)
	require.NoError(t, r.Soft.Deactivate(t.Context()))
	c, err := r.engine.ActivationFor(t.Context(), custodiantestKeystore)
	require.NoError(t, err)
	_, err = r.bring(t, "demo-ada", c.ID, nil)
	require.NoError(t, err)
	r.restart(t) // ada's approval stays, her share is gone
	for _, id := range []string{"demo-ben", "demo-cleo"} {
		_, err = r.bring(t, id, c.ID, nil)
		require.NoError(t, err)
	}
	r.person(t, "demo-ben", suspended)
	c, err = r.bring(t, "demo-dan", c.ID, nil)
	require.NoError(t, err)
	require.Equal(t, ceremony.Gathering, c.State, "three shares and three approvals, but of different people")
	require.False(t, r.Soft.Active())
	require.Equal(t, []string{"1 more share of set demo-shares, brought to this node"}, r.engine.Standing(r.state(t, c.ID)).Missing)
	c, err = r.bring(t, "demo-eve", c.ID, nil)
	require.NoError(t, err)
	require.Equal(t, ceremony.Completed, c.State)
	require.Zero(t, r.engine.Gathered())
}

func TestInvariant04_AShareLostAfterItWasBroughtOpensNothing(t *testing.T) {
	r := newRig(t, custodian.Production)
	require.NoError(t, r.Soft.Deactivate(t.Context()))
	c, err := r.engine.ActivationFor(t.Context(), custodiantestKeystore)
	require.NoError(t, err)
	for _, id := range []string{"demo-ada", "demo-ben"} {
		_, err = r.bring(t, id, c.ID, nil)
		require.NoError(t, err)
	}
	for row, s := range store.All[people.Share](r.View(), custodian.KindShare) {
		if s.Custodian == "demo-ada" {
			s.Status = people.ShareLost
			r.Put(t, custodian.KindShare, row.ID, s)
		}
	}
	c, err = r.bring(t, "demo-dan", c.ID, nil)
	require.NoError(t, err)
	require.Equal(t, ceremony.Gathering, c.State, "a lost share is none")
	require.False(t, r.Soft.Active())
	require.Equal(t, 2, r.engine.Gathered(), "what is good no more is wiped")
	require.Contains(t, r.engine.Standing(r.state(t, c.ID)).Missing, "1 more share of set demo-shares, brought to this node")
	r.person(t, "demo-ben", suspended)
	_, err = r.bring(t, "demo-eve", c.ID, nil)
	require.NoError(t, err)
	require.NoError(t, r.engine.RunGathered(t.Context()))
	require.Equal(t, ceremony.Gathering, r.state(t, c.ID).State)
	r.person(t, "demo-ben", func(p *people.Person) { p.Status, p.SuspendedAt = people.StatusActive, nil })
	require.NoError(t, r.engine.RunGathered(t.Context()), "what was missing came from elsewhere")
	require.Equal(t, ceremony.Completed, r.state(t, c.ID).State)
	require.True(t, r.Soft.Active())
}

func TestInvariant03_ALongWaitTakesOtherApprovers(t *testing.T) {
	r := newRig(t, custodian.Production)
	c := r.propose(t, "demo-cleo", "key.destroy")
	r.vote(t, "demo-wim", c.ID, "attend")
	r.vote(t, "demo-ada", c.ID, "approve")
	c = r.vote(t, "demo-ben", c.ID, "approve")
	require.Positive(t, c.WaitLeft)
	r.Clock.Advance(c.ExpiresAt.Sub(r.Clock.Now()) + time.Hour)
	r.person(t, "demo-ada", suspended)
	c = r.vote(t, "demo-dan", c.ID, "approve")
	require.Equal(t, ceremony.Approved, c.State)
	require.Contains(t, r.engine.Standing(c).Approved, "demo-dan")
	require.True(t, r.engine.Standing(c).Met)
}

func TestInvariant04_SharesOfAnEndedCeremonyAreWiped(t *testing.T) {
	r := newRig(t, custodian.Production)
	require.NoError(t, r.Soft.Deactivate(t.Context()))
	begin := func() *ceremony.Ceremony {
		c, err := r.engine.ActivationFor(t.Context(), custodiantestKeystore)
		require.NoError(t, err)
		_, err = r.bring(t, "demo-ada", c.ID, nil)
		require.NoError(t, err)
		require.Equal(t, 1, r.engine.Gathered())
		return c
	}
	c := begin()
	for _, id := range []string{"demo-ben", "demo-cleo", "demo-dan"} {
		c = r.vote(t, id, c.ID, "reject")
	}
	require.Equal(t, ceremony.Rejected, c.State)
	require.Zero(t, r.engine.Gathered(), "rejected")

	c = r.state(t, begin().ID)
	c.State = ceremony.Expired
	r.Put(t, ceremony.Kind, c.ID, c)
	r.engine.Sweep()
	require.Zero(t, r.engine.Gathered(), "ended on another replica")

	c = begin()
	r.Clock.Advance(c.ExpiresAt.Sub(r.Clock.Now()))
	_, err := r.bring(t, "demo-ben", c.ID, nil)
	require.ErrorIs(t, err, ceremony.ErrEnded)
	require.NoError(t, r.engine.Tick(t.Context()))
	require.Zero(t, r.engine.Gathered(), "expired")
}

func TestInvariant04_ApprovalForOneNodeOpensNoOther(t *testing.T) {
	r := newRig(t, custodian.Production)
	require.NoError(t, r.Soft.Deactivate(t.Context()))
	theirs, err := r.replica(t).ActivationFor(t.Context(), custodiantestKeystore)
	require.NoError(t, err)
	ours, err := r.engine.ActivationFor(t.Context(), custodiantestKeystore)
	require.NoError(t, err)
	require.NotEqual(t, theirs.ID, ours.ID)
	_, err = r.bring(t, "demo-ada", theirs.ID, nil)
	require.ErrorIs(t, err, ceremony.ErrCollector)
	require.Zero(t, r.engine.Gathered())
}

func TestInvariant04_ForeignAndStaleSharesAreNamed(t *testing.T) {
	r := newRig(t, custodian.Production)
	require.NoError(t, r.Soft.Deactivate(t.Context()))
	c, err := r.engine.ActivationFor(t.Context(), custodiantestKeystore)
	require.NoError(t, err)
	foreign := func(s *shamir.Share) *shamir.Share {
		shares, err := shamir.Split(secret.Random(32), 3, 5, shamir.Set{ID: "other-shares", Epoch: 1})
		require.NoError(t, err)
		return shares[s.Index()-1]
	}
	refused := func(code string, change func(*shamir.Share) *shamir.Share) {
		t.Helper()
		_, err := r.bring(t, "demo-ada", c.ID, change)
		var refused *ceremony.ShareError
		require.ErrorAs(t, err, &refused, code)
		require.Equal(t, code, refused.Denied.Code)
	}
	refused("share_foreign", foreign) // of another keystore's set
	refused("share_wrong", forged(t))
	set, _, err := store.Get[people.ShareSet](r.Store.View(), custodian.KindShareSet, "demo-shares")
	require.NoError(t, err)
	set.Epoch = 2
	r.Put(t, custodian.KindShareSet, set.ID, set)
	_, err = r.bring(t, "demo-ada", c.ID, nil)
	require.ErrorIs(t, err, ceremony.ErrVoid, "what was asked for is of an epoch that is gone")
	require.Empty(t, r.state(t, c.ID).Votes, "no share, no approval")
	require.Zero(t, r.engine.Gathered())
}

func TestOpenCeremoniesAreBounded(t *testing.T) {
	r := newRig(t, custodian.Production)
	mine := []*ceremony.Ceremony{}
	for range ceremony.MaxOpenPerPerson {
		mine = append(mine, r.propose(t, "demo-cleo", "key.resume"))
	}
	_, _, err := r.engine.Propose(t.Context(), human("demo-cleo"), ceremony.Proposal{Operation: "key.resume"})
	denied(t, err, "too_many_open")
	r.propose(t, "demo-ben", "key.resume")
	require.Equal(t, ceremony.Completed, r.propose(t, "demo-cleo", "key.suspend").State, "restricting has room always")
	_, err = r.engine.Cancel(t.Context(), human("demo-cleo"), mine[0].ID, "enough")
	require.NoError(t, err)
	r.propose(t, "demo-cleo", "key.resume")

	model := mine[1]
	for i := range ceremony.MaxOpen / 100 {
		_, err := r.Store.Control(t.Context(), fill(model, i))
		require.NoError(t, err)
	}
	_, _, err = r.engine.Propose(t.Context(), human("demo-dan"), ceremony.Proposal{Operation: "key.resume"})
	denied(t, err, "too_many_open")
	require.NoError(t, r.Soft.Deactivate(t.Context()))
	_, err = r.engine.ActivationFor(t.Context(), custodiantestKeystore)
	require.NoError(t, err, "the node can always ask for its keystore")
}

// fill puts a hundred open ceremonies of many people.
func fill(model *ceremony.Ceremony, batch int) func(tx *store.Tx) error {
	return func(tx *store.Tx) error {
		for i := range 100 {
			c := *model
			c.ID, c.Requester.ID = fmt.Sprintf("c-%d-%d", batch, i), fmt.Sprintf("somebody-%d", i)
			if err := tx.Put(ceremony.Kind, c.ID, c); err != nil {
				return err
			}
			if err := tx.Append(demoEntry(c.ID)); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestPagesGoOnWhenTheirLastCeremonyEnded(t *testing.T) {
	r := newRig(t, custodian.Production)
	for range 4 {
		r.propose(t, "demo-cleo", "key.resume")
		r.Clock.Advance(time.Second)
	}
	first, cursor, err := r.engine.List(t.Context(), ceremony.Filter{Open: true, Limit: 2})
	require.NoError(t, err)
	require.Len(t, first, 2)
	_, err = r.engine.Cancel(t.Context(), human("demo-cleo"), cursor, "enough")
	require.NoError(t, err)
	second, cursor, err := r.engine.List(t.Context(), ceremony.Filter{Open: true, Limit: 2, Cursor: cursor})
	require.NoError(t, err)
	require.Len(t, second, 2)
	require.Empty(t, cursor)
	require.NotEqual(t, first[0].ID, second[0].ID)
	none, _, err := r.engine.List(t.Context(), ceremony.Filter{Cursor: "c-none"})
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestStatementTypesDoNotMix(t *testing.T) {
	r := newRig(t, custodian.Production)
	c := r.propose(t, "demo-cleo", "key.resume")
	payload, err := r.engine.Statement(t.Context(), human("demo-ada"), c.ID, "approve")
	require.NoError(t, err)
	envelope, err := r.signers["demo-ada"].Sign(statement.TypeRequest, payload)
	require.NoError(t, err)
	_, err = r.engine.Vote(t.Context(), human("demo-ada"), c.ID, envelope)
	require.ErrorIs(t, err, ceremony.ErrStatement, "signed for another purpose")
}
