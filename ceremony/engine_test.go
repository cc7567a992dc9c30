package ceremony_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/dsse"
	"conclave/custodian/people"
	"conclave/hsm/secret"
)

func denied(t *testing.T, err error, code string) {
	t.Helper()
	var d *custodian.Denied
	require.ErrorAs(t, err, &d)
	require.Equal(t, code, d.Code)
	require.NotEmpty(t, d.Decision, "a refusal is on record before it is answered")
}

func TestGovernedRunsWithItsQuorum(t *testing.T) {
	r := newRig(t, custodian.Production)
	c := r.propose(t, "demo-cleo", "key.resume")
	require.Equal(t, ceremony.Proposed, c.State)
	require.Equal(t, ceremony.Proposed, r.vote(t, "demo-ada", c.ID, "approve").State)
	require.Zero(t, r.done(t, "key.resume"))
	c = r.vote(t, "demo-dan", c.ID, "approve")
	require.Equal(t, ceremony.Completed, c.State)
	require.Equal(t, 1, r.done(t, "key.resume"))

	_, err := r.engine.Vote(t.Context(), human("demo-ben"), c.ID, nil)
	require.Error(t, err)
	_, _, err = r.engine.Execute(t.Context(), human("demo-ben"), c.ID)
	require.ErrorIs(t, err, ceremony.ErrEnded)

	envelope, err := r.engine.Transcript(t.Context(), c.ID)
	require.NoError(t, err)
	credential, err := r.nodeKey.(*keyfile.Signer).Public().Credential(r.Clock.Now())
	require.NoError(t, err)
	payload, err := dsse.Verify(envelope, statement.TypeTranscript, credential)
	require.NoError(t, err)
	require.Contains(t, string(payload), "ceremony.complete")
}

func TestInvariant01_NobodyActsAlone(t *testing.T) {
	for _, mode := range []custodian.Mode{custodian.Production, custodian.Development} {
		r := newRig(t, mode)
		c := r.propose(t, "demo-cleo", "key.resume")
		_, err := r.engine.Statement(t.Context(), human("demo-cleo"), c.ID, "approve")
		denied(t, err, people.CodeExcludedRequester)
		_, _, err = r.engine.Execute(t.Context(), human("demo-cleo"), c.ID)
		require.ErrorIs(t, err, ceremony.ErrQuorum)
		require.Zero(t, r.done(t, "key.resume"))
	}
}

func TestInvariant01_ProtectiveRunsAtOnce(t *testing.T) {
	r := newRig(t, custodian.Production)
	c := r.propose(t, "demo-ben", "key.suspend")
	require.Equal(t, ceremony.Completed, c.State)
	require.NotNil(t, c.ReviewBy)
	require.Equal(t, 1, r.done(t, "key.suspend"))
	_, _, err := r.engine.Propose(t.Context(), human("demo-wim"), ceremony.Proposal{Operation: "key.suspend"})
	var d *custodian.Denied
	require.ErrorAs(t, err, &d, "a witness may not suspend")
}

func TestInvariant02_ASignatureCoversExactlyThis(t *testing.T) {
	r := newRig(t, custodian.Production)
	c := r.propose(t, "demo-cleo", "key.resume")
	other := r.propose(t, "demo-cleo", "key.resume")
	forOther := r.sign(t, "demo-ada", other.ID, "approve")

	_, err := r.engine.Vote(t.Context(), human("demo-ada"), c.ID, forOther)
	require.ErrorIs(t, err, ceremony.ErrStatement, "a signature for another ceremony")

	adas := r.sign(t, "demo-ada", c.ID, "approve")
	_, err = r.engine.Vote(t.Context(), human("demo-ben"), c.ID, adas)
	denied(t, err, "credential") // somebody else's signature

	payload, err := r.engine.Statement(t.Context(), human("demo-ada"), c.ID, "approve")
	require.NoError(t, err)
	s, err := statement.Parse(payload)
	require.NoError(t, err)
	for name, change := range map[string]func(*statement.Statement){
		"instance":  func(s *statement.Statement) { s.Instance = r.Instance.ID[1:] + "0" },
		"operation": func(s *statement.Statement) { s.Operation = "key.destroy" },
		"params":    func(s *statement.Statement) { s.Params = []byte(`{"key":"other"}`) },
		"revision":  func(s *statement.Statement) { s.Target.GovRevision++ },
		"policy":    func(s *statement.Statement) { s.Policy = s.Policy[1:] + "0" },
		"requester": func(s *statement.Statement) { s.Requester = "demo-dan" },
		"nonce":     func(s *statement.Statement) { s.Nonce = statement.NewNonce() },
		"expiry":    func(s *statement.Statement) { s.ExpiresAt = s.ExpiresAt.Add(time.Hour) },
	} {
		changed := s
		change(&changed)
		bytes, err := changed.Marshal()
		require.NoError(t, err, name)
		envelope, err := r.signers["demo-ada"].Sign(statement.TypeStatement, bytes)
		require.NoError(t, err)
		_, err = r.engine.Vote(t.Context(), human("demo-ada"), c.ID, envelope)
		require.ErrorIs(t, err, ceremony.ErrStatement, name)
	}
	require.Empty(t, r.state(t, c.ID).Votes)
}

func TestInvariant02_ApprovalsAreVoidWhenTheTargetMoves(t *testing.T) {
	r := newRig(t, custodian.Production)
	first, second := r.propose(t, "demo-cleo", "key.resume"), r.propose(t, "demo-cleo", "key.resume")
	r.vote(t, "demo-ada", first.ID, "approve")
	r.vote(t, "demo-ada", second.ID, "approve")
	r.vote(t, "demo-ben", first.ID, "approve")
	require.Equal(t, 1, r.done(t, "key.resume"))
	_, err := r.engine.Vote(t.Context(), human("demo-ben"), second.ID, r.sign(t, "demo-ben", second.ID, "approve"))
	require.ErrorIs(t, err, ceremony.ErrVoid)
	require.Equal(t, ceremony.Failed, r.state(t, second.ID).State)
	require.Equal(t, 1, r.done(t, "key.resume"))
}

func TestInvariant03_OneHumanOneVoice(t *testing.T) {
	r := newRig(t, custodian.Production)
	c := r.propose(t, "demo-cleo", "key.resume")
	r.vote(t, "demo-ada", c.ID, "approve")

	second, err := keyfile.Generate("demo-ada", "ES256")
	require.NoError(t, err)
	r.person(t, "demo-ada", func(p *people.Person) {
		credential, err := second.Public().Credential(r.Clock.Now())
		require.NoError(t, err)
		p.ApprovalKeys = append(p.ApprovalKeys, credential)
	})
	_, err = r.engine.Statement(t.Context(), human("demo-ada"), c.ID, "approve")
	require.ErrorIs(t, err, ceremony.ErrAlreadyVoted)
}

func TestInvariant03_WhoDoesNotCountAtExecutionDoesNotCount(t *testing.T) {
	for name, change := range map[string]func(p *people.Person){
		"suspended":      func(p *people.Person) { p.Status = people.StatusSuspended },
		"left":           func(p *people.Person) { p.Status = people.StatusLeft },
		"unacknowledged": func(p *people.Person) { p.Acknowledgement = nil },
		"key revoked":    func(p *people.Person) { p.ApprovalKeys[0].Revoked = true },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, custodian.Production)
			c := r.propose(t, "demo-cleo", "key.resume")
			r.vote(t, "demo-dan", c.ID, "approve")
			r.person(t, "demo-dan", change)
			c = r.vote(t, "demo-ada", c.ID, "approve")
			require.Equal(t, ceremony.Proposed, c.State, "demo-dan's approval no longer counts")
			require.Zero(t, r.done(t, "key.resume"))
			c = r.vote(t, "demo-ben", c.ID, "approve")
			require.Equal(t, ceremony.Completed, c.State)
		})
	}
}

func TestInvariant03_TheSubjectTakesNoPart(t *testing.T) {
	r := newRig(t, custodian.Production)
	r.governed.subjects = []string{"demo-ada"}
	c := r.propose(t, "demo-cleo", "key.resume")
	for _, decision := range []string{"approve", "reject"} {
		_, err := r.engine.Statement(t.Context(), human("demo-ada"), c.ID, decision)
		denied(t, err, people.CodeExcludedSubject)
	}
}

func TestInvariant03_RejectionEndsOnlyWhatCannotBeReached(t *testing.T) {
	r := newRig(t, custodian.Production)
	c := r.propose(t, "demo-cleo", "key.resume")
	require.Equal(t, ceremony.Proposed, r.vote(t, "demo-ada", c.ID, "reject").State)
	require.Equal(t, ceremony.Rejected, r.vote(t, "demo-ben", c.ID, "reject").State, "no security officer is left")
}

func TestTwoExecutionsAtOnceRunOnce(t *testing.T) {
	r := newRig(t, custodian.Production)
	c := r.propose(t, "demo-cleo", "key.create")
	r.vote(t, "demo-ada", c.ID, "approve")
	envelopes := map[string][]byte{}
	for _, id := range []string{"demo-ben", "demo-dan", "demo-eve"} {
		envelopes[id] = r.sign(t, id, c.ID, "approve")
	}
	var wg sync.WaitGroup
	var completed atomic.Int64
	for range 4 {
		for id, envelope := range envelopes {
			wg.Go(func() {
				if got, err := r.engine.Vote(t.Context(), human(id), c.ID, envelope); err == nil && got.State == ceremony.Completed {
					completed.Add(1)
				}
				_, _, _ = r.engine.Execute(t.Context(), human(id), c.ID)
			})
		}
	}
	wg.Wait()
	require.Equal(t, ceremony.Completed, r.state(t, c.ID).State)
	require.Equal(t, 1, r.done(t, "key.create"))
	require.EqualValues(t, 1, r.effect.outside.Load())
	require.LessOrEqual(t, completed.Load(), int64(3))
}

func TestRefusalsBeforeAnythingChanges(t *testing.T) {
	r := newRig(t, custodian.Production)
	size := r.Store.View().Head().ControlCount
	_, _, err := r.engine.Propose(t.Context(), human("demo-cleo"), ceremony.Proposal{Operation: "key.melt"})
	var input *custodian.InputError
	require.ErrorAs(t, err, &input)
	for _, params := range []string{`[]`, `{"a":1,"a":2}`, `{"a":1.5}`, `{"a":9007199254740993}`, "{\"a\":\"\xff\"}", "{\"a\":\"\u202e\"}", `{`} {
		_, _, err := r.engine.Propose(t.Context(), human("demo-cleo"), ceremony.Proposal{Operation: "key.resume", Params: []byte(params)})
		require.ErrorAs(t, err, &input, params)
		require.Equal(t, "params", input.Field)
	}
	r.governed.deny.Store(true)
	_, _, err = r.engine.Propose(t.Context(), human("demo-cleo"), ceremony.Proposal{Operation: "key.resume"})
	denied(t, err, "placement")
	require.Equal(t, size, r.Store.View().Head().ControlCount)
}

func TestFailuresLeaveNothingHalfDone(t *testing.T) {
	r := newRig(t, custodian.Production)
	r.governed.fail.Store(true)
	c := r.propose(t, "demo-cleo", "key.resume")
	r.vote(t, "demo-ada", c.ID, "approve")
	_, err := r.engine.Vote(t.Context(), human("demo-ben"), c.ID, r.sign(t, "demo-ben", c.ID, "approve"))
	var failed *ceremony.FailedError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, ceremony.Failed, r.state(t, c.ID).State)
	require.Zero(t, r.done(t, "key.resume"))

	r.effect.refuse.Store(true)
	c = r.propose(t, "demo-cleo", "key.create")
	r.vote(t, "demo-ada", c.ID, "approve")
	_, err = r.engine.Vote(t.Context(), human("demo-ben"), c.ID, r.sign(t, "demo-ben", c.ID, "approve"))
	require.ErrorAs(t, err, &failed)
	require.EqualValues(t, 1, r.effect.undone.Load(), "an effect that is not recorded is taken back")
	require.Equal(t, ceremony.Failed, r.state(t, c.ID).State)
}

func TestCancelAndExpiry(t *testing.T) {
	r := newRig(t, custodian.Production)
	c := r.propose(t, "demo-cleo", "key.resume")
	_, err := r.engine.Cancel(t.Context(), human("demo-wim"), c.ID, "no")
	denied(t, err, people.CodeWrongRole)
	c, err = r.engine.Cancel(t.Context(), human("demo-cleo"), c.ID, "changed my mind")
	require.NoError(t, err)
	require.Equal(t, ceremony.Cancelled, c.State)
	_, err = r.engine.Cancel(t.Context(), human("demo-cleo"), c.ID, "")
	require.ErrorIs(t, err, ceremony.ErrEnded)

	c = r.propose(t, "demo-cleo", "key.resume")
	adas := r.sign(t, "demo-ada", c.ID, "approve")
	r.Clock.Advance(c.ExpiresAt.Sub(r.Clock.Now()))
	_, err = r.engine.Vote(t.Context(), human("demo-ada"), c.ID, adas)
	require.ErrorIs(t, err, ceremony.ErrEnded, "by date, whether a job ran or not")
	require.NoError(t, r.engine.Tick(t.Context()))
	require.Equal(t, ceremony.Expired, r.state(t, c.ID).State)
}

func TestInvariant04_SharesOpenTheKeystore(t *testing.T) {
	r := newRig(t, custodian.Production)
	require.NoError(t, r.Soft.Deactivate(t.Context()))
	c, err := r.engine.ActivationFor(t.Context(), custodiantestKeystore)
	require.NoError(t, err)
	require.Equal(t, ceremony.Gathering, c.State)

	_, err = r.bring(t, "demo-ada", c.ID, forged(t))
	require.ErrorIs(t, err, shamir.ErrWrongShare)
	var refused *ceremony.ShareError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "share_wrong", refused.Denied.Code)
	require.Empty(t, r.state(t, c.ID).Shares, "a wrong share costs the ceremony nothing")

	for i, id := range []string{"demo-ada", "demo-ben"} {
		c, err = r.bring(t, id, c.ID, nil)
		require.NoError(t, err)
		require.Len(t, c.Shares, i+1)
	}
	_, err = r.bring(t, "demo-ada", c.ID, nil)
	require.ErrorIs(t, err, shamir.ErrRepeated)
	require.False(t, r.Soft.Active())
	c, err = r.bring(t, "demo-cleo", c.ID, nil)
	require.NoError(t, err)
	require.Equal(t, ceremony.Completed, c.State)
	require.True(t, r.Soft.Active())
}

func TestInvariant04_SharesOfAnEndedProcessAreVoidApprovalsAreNot(t *testing.T) {
	r := newRig(t, custodian.Production)
	require.NoError(t, r.Soft.Deactivate(t.Context()))
	c, err := r.engine.ActivationFor(t.Context(), custodiantestKeystore)
	require.NoError(t, err)
	for _, id := range []string{"demo-ada", "demo-ben"} {
		_, err = r.bring(t, id, c.ID, nil)
		require.NoError(t, err)
	}
	r.restart(t)
	c, err = r.bring(t, "demo-cleo", c.ID, nil)
	require.NoError(t, err)
	require.Equal(t, ceremony.Gathering, c.State, "the first two shares went with their process")
	require.Len(t, c.Votes, 3)
	for _, id := range []string{"demo-ada", "demo-ben"} {
		c, err = r.bring(t, id, c.ID, nil)
		require.NoError(t, err)
	}
	require.Equal(t, ceremony.Completed, c.State)
}

func TestSharesOfAKeystoreAreGatheredInOnePlace(t *testing.T) {
	r := newRig(t, custodian.Production)
	require.NoError(t, r.Soft.Deactivate(t.Context()))
	nodes, err := r.engine.ActivationFor(t.Context(), custodiantestKeystore)
	require.NoError(t, err)
	size := r.Store.View().Head().ControlCount
	called, _, err := r.engine.Propose(t.Context(), human("demo-ada"), ceremony.Proposal{Operation: "keystore.activate", Params: nodes.Params})
	require.NoError(t, err)
	require.Equal(t, nodes.ID, called.ID, "whoever calls finds the ceremony that is open")
	require.Equal(t, size, r.Store.View().Head().ControlCount)
}

func TestInvariant04_UnconfirmedSharesOpenNothing(t *testing.T) {
	r := newRig(t, custodian.Production)
	for _, id := range []int{1, 2} {
		s := r.share(t, id)
		s.Status = people.ShareIssued
		r.Put(t, custodian.KindShare, people.ShareID(s.Set, s.Epoch, s.Index), s)
	}
	_, err := r.engine.ActivationFor(t.Context(), custodiantestKeystore)
	require.ErrorIs(t, err, ceremony.ErrUnconfirmed)
}

func forged(t *testing.T) func(*shamir.Share) *shamir.Share {
	return func(s *shamir.Share) *shamir.Share {
		shares, err := shamir.Split(secret.Random(32), 3, 5, s.Set())
		require.NoError(t, err)
		return shares[s.Index()-1]
	}
}
