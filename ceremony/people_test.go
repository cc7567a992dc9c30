package ceremony_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/operation"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/custodian/strictjson"
	"conclave/hsm"
)

// office is an engine with the real operations, on the rig's store and people.
func (r *rig) office(t *testing.T) {
	t.Helper()
	engine, err := ceremony.New(ceremony.Config{Custodian: r.Service, NodeSigner: r.nodeKey, ChallengeKey: r.challenge, Clock: r.Clock,
		Operations: operation.All(), Drivers: func(*key.Keystore) (hsm.Keystore, error) { return nil, hsm.ErrUnsupported }})
	require.NoError(t, err)
	r.engine = engine
}

func (r *rig) ask(t *testing.T, who, op string, params map[string]any) *ceremony.Ceremony {
	t.Helper()
	c, once, err := r.engine.Propose(t.Context(), human(who), ceremony.Proposal{Operation: op, Params: custodian.Detail(params), Reason: "test"})
	require.NoError(t, err)
	if once != nil {
		once.Wipe()
	}
	return c
}

// clerks are further people with keys: key managers.
func (r *rig) clerks(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		signer, err := keyfile.Generate(id, "ES256")
		require.NoError(t, err)
		r.signers[id] = signer
		p, _, err := store.Get[people.Person](r.Store.View(), custodian.KindPerson, "demo-dan")
		require.NoError(t, err)
		credential, err := signer.Public().Credential(r.Clock.Now())
		require.NoError(t, err)
		p.ID, p.Name, p.ApprovalKeys, p.ShareKey, p.ShareKeyID, p.Roles = id, id, []people.Credential{credential}, nil, "", []people.Role{people.RoleKeyManager}
		r.Put(t, custodian.KindPerson, id, p)
	}
}

// An approval given with a key that is revoked since counts no more, nor does what was asked for with one.
func TestInvariant02_RevokedKeysCountNoMoreInOpenCeremonies(t *testing.T) {
	r := newRig(t, custodian.Production)
	r.office(t)
	r.clerks(t, "fay", "gus", "hal")
	c := r.ask(t, "fay", "custodian.alter", map[string]any{"person": "hal", "team": "treasury"})
	c = r.vote(t, "gus", c.ID, "approve")
	require.Equal(t, []string{"gus"}, r.engine.Standing(c).Approved)
	id := r.signers["gus"].KeyID()
	r.ask(t, "gus", "credential.revoke", map[string]any{"person": "gus", "credential": id, "reason": "stolen"})
	standing := r.engine.Standing(r.state(t, c.ID))
	require.Empty(t, standing.Approved)
	require.NotEmpty(t, standing.Refused)
	c = r.vote(t, "demo-ada", c.ID, "approve")
	require.Equal(t, ceremony.Proposed, c.State, "one of two is missing again")
	c = r.vote(t, "demo-cleo", c.ID, "approve")
	require.Equal(t, ceremony.Completed, c.State)
}

// Whoever leaves takes their approvals and requests along.
func TestInvariant03_RemovedPeopleCountNoMoreInFlight(t *testing.T) {
	r := newRig(t, custodian.Production)
	r.office(t)
	r.clerks(t, "fay", "gus", "hal")
	theirs := r.ask(t, "gus", "custodian.alter", map[string]any{"person": "hal", "site": "far"})
	ours := r.ask(t, "fay", "custodian.alter", map[string]any{"person": "hal", "team": "treasury"})
	r.vote(t, "gus", ours.ID, "approve")
	leaves := r.ask(t, "fay", "custodian.remove", map[string]any{"person": "gus", "reason": "left"})
	r.vote(t, "demo-ada", leaves.ID, "approve")
	_, err := r.engine.Statement(t.Context(), human("gus"), leaves.ID, "reject")
	denied(t, err, people.CodeExcludedSubject)
	require.Equal(t, ceremony.Completed, r.vote(t, "demo-cleo", leaves.ID, "approve").State)
	require.Empty(t, r.engine.Standing(r.state(t, ours.ID)).Approved)
	r.vote(t, "demo-ada", theirs.ID, "approve")
	_, err = r.engine.Vote(t.Context(), human("demo-cleo"), theirs.ID, r.sign(t, "demo-cleo", theirs.ID, "approve"))
	require.Error(t, err)
	require.Equal(t, ceremony.Failed, r.state(t, theirs.ID).State, "who asked is gone")
}

// Two removals that each are fine and together would leave nobody who could act: one of them fails, whichever
// comes second, also where both are approved at once.
func TestInvariant12_RemovalsThatTogetherLockOut(t *testing.T) {
	for _, order := range [][2]string{{"demo-ada", "demo-ben"}, {"demo-ben", "demo-ada"}} {
		r := newRig(t, custodian.Production)
		r.office(t)
		r.clerks(t, "fay", "gus", "hal", "ida")
		removals := map[string]string{} // officer who leaves → ceremony
		last := map[string][]byte{}
		for i, who := range order {
			c := r.ask(t, "fay", "custodian.remove", map[string]any{"person": who, "reason": "left"})
			removals[who] = c.ID
			r.vote(t, order[1-i], c.ID, "approve") // the other officer approves
			last[who] = r.sign(t, "gus", c.ID, "approve")
		}
		var wg sync.WaitGroup
		errs := make([]error, 2)
		for i, who := range order {
			wg.Go(func() { _, errs[i] = r.engine.Vote(t.Context(), human("gus"), removals[who], last[who]) })
		}
		wg.Wait()
		left := 0
		for _, who := range order {
			p, _, err := store.Get[people.Person](r.Store.View(), custodian.KindPerson, who)
			require.NoError(t, err)
			if p.Status == people.StatusLeft {
				left++
			}
		}
		require.Equal(t, 1, left, "one officer stays: %v %v", errs[0], errs[1])
		require.True(t, errors.Join(errs...) != nil || r.state(t, removals[order[0]]).State != r.state(t, removals[order[1]]).State)
	}
}

// An invitation is answered once, whoever tries at the same time.
func TestInvitationAnsweredOnceAtATime(t *testing.T) {
	r := newRig(t, custodian.Production)
	r.office(t)
	c := r.ask(t, "demo-ada", "invitation.open", map[string]any{"person": "fay", "name": "Fay"})
	var result struct {
		Invitation string `json:"invitation"`
	}
	require.NoError(t, json.Unmarshal(c.Result, &result))
	const tries = 8
	envelopes := make([][]byte, tries)
	for i := range tries {
		signer, err := keyfile.Generate("fay", "ES256")
		require.NoError(t, err)
		approval, err := signer.Public().ApprovalKey.JSON()
		require.NoError(t, err)
		share, err := signer.Public().ShareKey.JSON()
		require.NoError(t, err)
		raw, err := json.Marshal(people.Joining{Instance: r.Instance.ID, Invitation: result.Invitation, Person: "fay", ApprovalKey: approval, ShareKey: share})
		require.NoError(t, err)
		payload, err := strictjson.Canonical(raw)
		require.NoError(t, err)
		envelopes[i], err = signer.Sign(statement.TypeJoining, payload)
		require.NoError(t, err)
	}
	errs := make([]error, tries)
	var wg sync.WaitGroup
	for i := range tries {
		wg.Go(func() {
			_, errs[i] = r.engine.AnswerInvitation(t.Context(), result.Invitation, envelopes[i], fmt.Sprintf("192.0.2.%d", i))
		})
	}
	wg.Wait()
	good := 0
	for _, err := range errs {
		if err == nil {
			good++
			continue
		}
		require.ErrorIs(t, err, operation.ErrInvitationUsed)
	}
	require.Equal(t, 1, good)
}

// Activity lasts, costs one entry a day, and suspends whoever has been away; nobody right after a start.
func TestInactivePeopleAreSuspendedByTheNode(t *testing.T) {
	r := newRig(t, custodian.Production)
	r.office(t)
	r.clerks(t, "fay", "gus")
	require.NoError(t, r.engine.NoteActivity(t.Context()))
	size := r.Store.View().Head().Size
	for range 10 {
		r.engine.Seen(human("demo-ada"))
		require.NoError(t, r.engine.NoteActivity(t.Context()))
	}
	require.Equal(t, size, r.Store.View().Head().Size, "no entry a request")
	// Three months of a service that is there, with everybody but fay at work.
	for range 92 {
		r.Clock.Advance(24 * time.Hour)
		for _, id := range []string{"demo-ada", "demo-ben", "demo-cleo", "demo-dan", "demo-eve", "demo-wim", "gus"} {
			r.engine.Seen(human(id))
		}
		require.NoError(t, r.engine.NoteActivity(t.Context()))
	}
	require.NoError(t, r.engine.Tick(t.Context()))
	fay, _, err := store.Get[people.Person](r.Store.View(), custodian.KindPerson, "fay")
	require.NoError(t, err)
	require.Equal(t, people.StatusSuspended, fay.Status)
	require.Equal(t, "node:"+custodiantest.NodeID, fay.SuspendedBy)
	gus, _, err := store.Get[people.Person](r.Store.View(), custodian.KindPerson, "gus")
	require.NoError(t, err)
	require.Equal(t, people.StatusActive, gus.Status)
}
