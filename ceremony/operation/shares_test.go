package operation_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/operation"
	"conclave/ceremony/shamir"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
)

// TestInvariant04_ReissueAndCutover: exactly one epoch works at any time, and the keys are the same before and after.
func TestInvariant04_ReissueAndCutover(t *testing.T) {
	r := newSharesRig(t)
	ciphertext, err := r.use(t, vaultKey)
	require.NoError(t, err)
	before := r.checkValues(t)
	old := row[key.Keystore](t, r.rig, custodian.KindKeystore, vault)

	r.reissue(t, map[string]any{"set": vaultSet, "holders": []string{"demo-fay", "demo-ben", "demo-cleo", "demo-dan", "demo-eve"}})
	set := r.set(t)
	require.EqualValues(t, 1, set.Epoch, "the old epoch stays in force")
	require.EqualValues(t, 2, set.Pending.Epoch)
	require.Equal(t, old.Verifier, row[key.Keystore](t, r.rig, custodian.KindKeystore, vault).Verifier)
	require.Equal(t, "demo-fay", r.line(t, vaultSet, 2, 1).Custodian)
	require.NoError(t, r.keystore.Deactivate(t.Context()))
	_, err = r.execute(t, "keystore.activate", r.input(t, node(), map[string]any{"keystore": vault}), r.combineOf(t, 2, 1, 2, 3))
	require.ErrorIs(t, err, hsm.ErrActivationSecret, "the pending epoch opens nothing")
	_, err = r.execute(t, "keystore.activate", r.input(t, node(), map[string]any{"keystore": vault}), r.combineOf(t, 1, 3, 4, 5))
	require.NoError(t, err)

	c := r.cutover(t)
	require.Equal(t, ceremony.Completed, c.State, c.Outcome)
	set = r.set(t)
	require.EqualValues(t, 2, set.Epoch)
	require.Nil(t, set.Pending)
	require.Len(t, set.Past, 1)
	require.Equal(t, c.ID, set.Past[0].SupersededBy)
	now := row[key.Keystore](t, r.rig, custodian.KindKeystore, vault)
	require.NotEqual(t, old.Verifier, now.Verifier)
	require.Equal(t, old.GovRevision+1, now.GovRevision)
	require.Equal(t, before, r.checkValues(t))
	r.wrappedByRecord(t)
	require.NoError(t, r.decrypt(t, ciphertext))
	for i := range 5 {
		require.Equal(t, people.ShareSuperseded, r.line(t, vaultSet, 1, i+1).Status)
	}

	require.NoError(t, r.keystore.Deactivate(t.Context()))
	_, err = r.execute(t, "keystore.activate", r.input(t, node(), map[string]any{"keystore": vault}), r.combineOf(t, 1, 1, 2, 3))
	require.ErrorIs(t, err, hsm.ErrActivationSecret, "the old epoch opens nothing any more")
	_, err = r.execute(t, "keystore.activate", r.input(t, node(), map[string]any{"keystore": vault}), r.combineOf(t, 2, 5, 4, 2))
	require.NoError(t, err)
	require.NoError(t, r.decrypt(t, ciphertext))
	_, detail := r.lastEvent(t, "shares.cutover")
	require.EqualValues(t, 1, detail["versions"])
}

// combineOf puts the secret of one epoch together as its holders could.
func (r *sharesRig) combineOf(t *testing.T, epoch uint32, indices ...int) *secret.Bytes {
	t.Helper()
	register := shamir.Register{Set: shamir.Set{ID: vaultSet, Epoch: epoch}, Threshold: 3, Commitments: map[int][]byte{}}
	var shares []*shamir.Share
	for _, i := range indices {
		register.Commitments[i] = r.line(t, vaultSet, epoch, i).Commitment
		shares = append(shares, r.openLine(t, vaultSet, epoch, i))
	}
	combined, err := shamir.Combine(register, shares)
	require.NoError(t, err)
	return combined
}

// TestInvariant04_CutoverTakesThePendingEpochOnly: whatever else is brought is named and costs nothing.
func TestInvariant04_CutoverTakesThePendingEpochOnly(t *testing.T) {
	r := newSharesRig(t)
	r.reissue(t, map[string]any{"set": vaultSet})
	cut := map[string]any{"set": vaultSet}
	ask := func() error {
		_, _, err := r.engine.Propose(t.Context(), human("demo-ada"), ceremony.Proposal{Operation: "shares.cutover", Params: canonical(t, cut), Reason: "test"})
		return err
	}
	for i := range 4 {
		require.ErrorIs(t, ask(), ceremony.ErrUnconfirmed, "after %d confirmations: m+1 are needed", i)
		r.confirm(t, vaultSet, 2, i+1)
	}
	c := r.propose(t, "demo-ada", "shares.cutover", cut)
	refused := func(code string, err error) {
		t.Helper()
		var share *ceremony.ShareError
		require.ErrorAs(t, err, &share)
		require.Equal(t, code, share.Denied.Code)
	}
	_, err := r.bring(t, c.ID, vaultSet, 1, 1)
	refused("share_stale", err)
	_, err = r.bringAs(t, "demo-ben", c.ID, r.openLine(t, vaultSet, 2, 1))
	refused("share_wrong", err)
	foreign, err := shamir.Split(secret.Random(32), 3, 5, shamir.Set{ID: vaultSet, Epoch: 2})
	require.NoError(t, err)
	_, err = r.bringAs(t, "demo-ada", c.ID, foreign[0])
	refused("share_wrong", err)
	r.bringAll(t, c.ID, vaultSet, 2, 1, 2)
	_, err = r.bring(t, c.ID, vaultSet, 1, 3)
	refused("share_stale", err)
	_, err = r.bring(t, c.ID, vaultSet, 2, 2)
	refused("share_repeated", err)
	require.EqualValues(t, 1, r.set(t).Epoch)
	require.Equal(t, ceremony.Completed, r.bringAll(t, c.ID, vaultSet, 2, 5).State, "a share that was not confirmed proves itself")

	again := map[string]any{"set": vaultSet}
	require.Equal(t, []string{"nothing_pending"}, r.denied(t, "shares.cutover", human("demo-ada"), again), "replayed")
	require.Equal(t, []string{"nothing_pending"}, r.denied(t, "shares.abandon", human("demo-ada"), again))

	activation := r.propose2(t)
	_, err = r.bring(t, activation.ID, vaultSet, 1, 1)
	refused("share_stale", err)
}

// propose2 closes the vault and asks for its activation.
func (r *sharesRig) propose2(t *testing.T) *ceremony.Ceremony {
	t.Helper()
	require.NoError(t, r.keystore.Deactivate(t.Context()))
	c, err := r.engine.ActivationFor(t.Context(), vault)
	require.NoError(t, err)
	return c
}

// TestInvariant04_AReissueTakesTheOldQuorumAndAWitness: neither alone is enough, in whatever order they come.
func TestInvariant04_AReissueTakesTheOldQuorumAndAWitness(t *testing.T) {
	r := newSharesRig(t)
	c := r.propose(t, "demo-ada", "shares.reissue", map[string]any{"set": vaultSet})
	c = r.bringAll(t, c.ID, vaultSet, 1, 1, 2, 3)
	require.Equal(t, ceremony.Gathering, c.State)
	require.Equal(t, []string{"a witness who attends and signs"}, r.engine.Standing(c).Missing)
	require.Nil(t, r.set(t).Pending)
	require.Equal(t, ceremony.Completed, r.attend(t, c.ID).State)

	next := r.propose(t, "demo-ada", "shares.reissue", map[string]any{"set": vaultSet})
	require.Equal(t, ceremony.Gathering, r.attend(t, next.ID).State)
	require.Equal(t, ceremony.Completed, r.bringAll(t, next.ID, vaultSet, 1, 3, 4, 5).State)
	set := r.set(t)
	require.EqualValues(t, 3, set.Pending.Epoch, "the number of an epoch that was given up is not used again")
	for i := range 5 {
		require.Equal(t, people.ShareRetired, r.line(t, vaultSet, 2, i+1).Status)
	}
	require.Zero(t, people.Assess(set, []*people.Share{r.line(t, vaultSet, 2, 1)}, people.Among(nil), r.Clock.Now()).OldShares,
		"what never came into force is no old share")
}

// A pending epoch is given up by one officer, and the old one goes on as if nothing had been.
func TestAbandonedEpoch(t *testing.T) {
	r := newSharesRig(t)
	r.reissue(t, map[string]any{"set": vaultSet})
	for i := range 4 {
		r.confirm(t, vaultSet, 2, i+1)
	}
	cut := r.propose(t, "demo-ada", "shares.cutover", map[string]any{"set": vaultSet})
	r.bringAll(t, cut.ID, vaultSet, 2, 1, 2)
	c := r.propose(t, "demo-ben", "shares.abandon", map[string]any{"set": vaultSet, "reason": "a holder vanished"})
	require.Equal(t, ceremony.Completed, c.State)
	require.NotNil(t, c.ReviewBy)
	_, err := r.bring(t, cut.ID, vaultSet, 1, 3)
	require.ErrorIs(t, err, ceremony.ErrVoid)
	_, _, err = r.engine.Propose(t.Context(), human("demo-cleo"), ceremony.Proposal{Operation: "shares.abandon", Params: canonical(t, map[string]any{"set": vaultSet}), Reason: "x"})
	require.Error(t, err, "not an officer, and nothing is pending")

	r.reissue(t, map[string]any{"set": vaultSet})
	require.EqualValues(t, 3, r.set(t).Pending.Epoch)
	require.Equal(t, ceremony.Completed, r.cutover(t).State)
	r.wrappedByRecord(t)
}

// A custodian confirms and vanishes: the others cut over, and the one who is gone counts for nothing.
func TestAHolderVanishesBeforeTheCutover(t *testing.T) {
	r := newSharesRig(t)
	r.reissue(t, map[string]any{"set": vaultSet})
	for i := range 4 {
		r.confirm(t, vaultSet, 2, i+1)
	}
	c := r.propose(t, "demo-ada", "shares.cutover", map[string]any{"set": vaultSet})
	p := row[people.Person](t, r.rig, custodian.KindPerson, "demo-cleo")
	p.Status = people.StatusLeft
	r.Put(t, custodian.KindPerson, p.ID, p)
	_, err := r.bring(t, c.ID, vaultSet, 2, 3)
	require.Error(t, err)
	require.Equal(t, ceremony.Completed, r.bringAll(t, c.ID, vaultSet, 2, 1, 2, 4).State)
}

func TestQuorumChangeAndAnotherSet(t *testing.T) {
	r := newSharesRig(t)
	r.reissue(t, map[string]any{"set": vaultSet, "threshold": 2, "holders": []string{"demo-ada", "demo-ben", "demo-fay"}})
	c := r.cutover(t)
	require.Equal(t, ceremony.Completed, c.State, c.Outcome)
	set := r.set(t)
	require.Equal(t, []int{2, 3}, []int{set.Threshold, set.Total})
	require.Equal(t, 3, set.Past[0].Threshold)
	r.wrappedByRecord(t)

	made := r.propose(t, "demo-ada", "shareset.create", map[string]any{"id": "root", "keystore": vault, "threshold": 3,
		"holders": []string{"demo-ada", "demo-ben", "demo-cleo", "demo-dan", "demo-eve"}})
	r.attend(t, made.ID)
	require.Equal(t, ceremony.Completed, r.bringAll(t, made.ID, vaultSet, 2, 1, 3).State)
	root := row[people.ShareSet](t, r.rig, custodian.KindShareSet, "root")
	require.False(t, root.InForce())
	unknown := func(uint32) people.Copies { return people.Copies{} }
	require.Equal(t, "pending", root.Status(nil, unknown))
	for i := range 4 {
		r.confirm(t, "root", 1, i+1)
	}
	cut := r.propose(t, "demo-ada", "shares.cutover", map[string]any{"set": "root"})
	require.Equal(t, ceremony.Completed, r.bringAll(t, cut.ID, "root", 1, 2, 3, 5).State)
	require.Equal(t, "root", row[key.Keystore](t, r.rig, custodian.KindKeystore, vault).ShareSet)
	set = r.set(t)
	require.Equal(t, "root", set.ReplacedBy)
	require.False(t, set.InForce())
	require.True(t, row[people.ShareSet](t, r.rig, custodian.KindShareSet, "root").InForce())
	require.Len(t, set.OldEpochs(r.lines(vaultSet)), 2, "all its epochs are old now")
	r.wrappedByRecord(t)
	require.Contains(t, r.denied(t, "shares.reissue", human("demo-ada"), map[string]any{"set": vaultSet}), "set_not_in_force")
}

// unfitHolders: whoever stands in for a holder holds nothing of the set, and no reporting line comes to hold a quorum.
func (r *sharesRig) unfitHolders(t *testing.T) {
	t.Helper()
	with := func(id string, change func(p *people.Person)) {
		p := row[people.Person](t, r.rig, custodian.KindPerson, id)
		change(p)
		r.Put(t, custodian.KindPerson, id, p)
	}
	others := []string{"demo-ada", "demo-ben", "demo-cleo", "demo-dan", "demo-fay"}
	fresh := map[string]any{"id": "third", "driver": "software", "jurisdiction": "EU", "environment": "production", "location": "x", "controller": "demo-ada",
		"share_set": map[string]any{"id": "third-set", "threshold": 3, "holders": others}}
	issues := map[string]map[string]any{"shares.reissue": {"set": vaultSet, "holders": others}, "shareset.create": {"id": "x", "keystore": vault, "threshold": 3, "holders": others},
		"keystore.register": fresh}
	with("demo-dan", func(p *people.Person) { p.Backup = "demo-fay" })
	for name, params := range issues {
		_, err := r.prepare(t, name, r.input(t, human("demo-ada"), params))
		require.ErrorContains(t, err, "demo-fay, backup of demo-dan, holds a share", name)
	}
	with("demo-dan", func(p *people.Person) { p.Backup, p.Manager = "", "demo-fay" })
	with("demo-cleo", func(p *people.Person) { p.Manager = "demo-dan" })
	for name, params := range issues {
		require.Contains(t, r.denied(t, name, human("demo-ada"), params), "line_holds_quorum", name)
	}
	// What a line holds already stops nobody from issuing anew to the same people.
	with("demo-ben", func(p *people.Person) { p.Manager = "demo-dan" })
	r.plan(t, "shares.reissue", r.input(t, human("demo-ada"), map[string]any{"set": vaultSet, "holders": custodiantest.People()}))
}

func (r *sharesRig) lines(set string) []*people.Share {
	var out []*people.Share
	for _, s := range store.All[people.Share](r.View(), custodian.KindShare) {
		if s.Set == set {
			out = append(out, s)
		}
	}
	return out
}

// TestInvariant12_AReissueLocksNobodyOut: bad sizes, holders who do not count, and another number than re-issue keeps.
func TestInvariant12_AReissueLocksNobodyOut(t *testing.T) {
	r := newSharesRig(t)
	all := custodiantest.People()
	for name, c := range map[string]struct {
		operation string
		params    map[string]any
		field     string
	}{
		"all of all":       {"quorum.change", map[string]any{"set": vaultSet, "threshold": 5, "holders": all}, "threshold"},
		"not a majority":   {"quorum.change", map[string]any{"set": vaultSet, "threshold": 2, "holders": all}, "threshold"},
		"one twice":        {"quorum.change", map[string]any{"set": vaultSet, "threshold": 2, "holders": []string{"demo-ada", "demo-ada", "demo-ben"}}, "holders[1]"},
		"no custodian":     {"quorum.change", map[string]any{"set": vaultSet, "threshold": 2, "holders": []string{"demo-ada", "demo-ben", theWitness}}, "holders[2]"},
		"another number":   {"shares.reissue", map[string]any{"set": vaultSet, "holders": all[:4]}, "holders"},
		"nobody":           {"shares.reissue", map[string]any{"set": vaultSet, "holders": []string{"a", "b", "c", "d", "e"}}, "holders[0]"},
		"a set that is":    {"shareset.create", map[string]any{"id": vaultSet, "keystore": vault, "threshold": 3, "holders": all}, "id"},
		"no such keystore": {"shareset.create", map[string]any{"id": "x", "keystore": "nowhere", "threshold": 3, "holders": all}, "keystore"},
		"no such set":      {"shares.cutover", map[string]any{"set": "nowhere"}, "set"},
		"nothing to give":  {"shares.abandon", map[string]any{"set": "nowhere"}, "set"},
	} {
		_, err := r.prepare(t, c.operation, r.input(t, human("demo-ada"), c.params))
		require.Error(t, err, name)
		require.Equal(t, c.field, fieldOf(t, err), "%s: %v", name, err)
	}
	r.unfitHolders(t)
	require.NoError(t, r.keystore.Deactivate(t.Context()))
	r.plan(t, "shares.reissue", r.input(t, human("demo-ada"), map[string]any{"set": vaultSet}))
}

// TestInvariant10_CutoverOvertaken: a version that is made between the effect and its record is not left behind: the
// cutover is done again; and a key made under the secret that was just replaced is made again.
func TestInvariant10_CutoverOvertaken(t *testing.T) {
	r := newSharesRig(t)
	r.reissue(t, map[string]any{"set": vaultSet})
	cut := op(t, "shares.cutover").(operation.Settling)
	in := r.input(t, node(), map[string]any{"set": vaultSet})
	shares := r.combineOf(t, 2, 1, 2, 3)
	effect, err := cut.Effect(t.Context(), r.env, in, "e-1", shares)
	require.NoError(t, err)
	r.vaulted(t, "meanwhile")
	_, err = r.record(t, "shares.cutover", in, effect)
	require.ErrorIs(t, err, operation.ErrOvertaken)
	require.EqualValues(t, 1, r.set(t).Epoch, "nothing was recorded")
	require.NoError(t, cut.Undo(t.Context(), r.env, in, effect))
	ciphertext, err := r.use(t, "meanwhile")
	require.NoError(t, err)

	rotate := op(t, "key.rotate").(operation.Effectful)
	rotation := r.input(t, human("demo-cleo"), map[string]any{"key": vaultKey})
	early, err := rotate.Effect(t.Context(), r.env, rotation, "e-2", nil)
	require.NoError(t, err)
	effect, err = cut.Effect(t.Context(), r.env, in, "e-1", shares)
	require.NoError(t, err)
	_, err = r.record(t, "shares.cutover", in, effect)
	require.NoError(t, err)
	staged, err := rotate.Effect(t.Context(), r.env, rotation, "e-2", nil)
	require.NoError(t, err)
	_, err = r.record(t, "key.rotate", rotation, early)
	require.ErrorIs(t, err, operation.ErrOvertaken)
	require.NoError(t, cut.Settle(t.Context(), r.env, in, effect))
	require.NoError(t, cut.Settle(t.Context(), r.env, in, effect))
	_, err = r.record(t, "key.rotate", rotation, staged)
	require.NoError(t, err, "whoever makes a key after the commit follows it first")
	r.wrappedByRecord(t)
	require.NoError(t, r.decrypt(t, ciphertext))

	_, err = r.record(t, "shares.cutover", in, effect)
	require.Error(t, err, "recorded once")
	require.NotErrorIs(t, err, operation.ErrOvertaken)
}

// TestInvariant10_CutoverRecovery: a process that died before the record did nothing; another replica's driver that
// still has the old secret becomes inactive, and does not call keys corrupt.
func TestInvariant10_CutoverRecovery(t *testing.T) {
	r := newSharesRig(t)
	ciphertext, err := r.use(t, vaultKey)
	require.NoError(t, err)
	replica, err := custodian.New(t.Context(), custodian.Config{Store: r.Store, Policies: r.Policies, Node: "node-2",
		Keystores: map[string]hsm.Keystore{}, AuditKey: r.AuditKey, Clock: r.Clock})
	require.NoError(t, err)
	env := r.env
	env.Custodian = replica
	other, err := operation.Current(env, vault)
	require.NoError(t, err)
	require.NoError(t, other.Activate(t.Context(), r.combineOf(t, 1, 1, 2, 3)))

	r.reissue(t, map[string]any{"set": vaultSet})
	cut := op(t, "shares.cutover").(operation.Effectful)
	in := r.input(t, node(), map[string]any{"set": vaultSet})
	_, err = cut.Effect(t.Context(), r.env, in, "e-1", secret.Random(32))
	require.ErrorIs(t, err, hsm.ErrActivationSecret)
	_, err = cut.Effect(t.Context(), r.env, in, "e-1", nil)
	require.Error(t, err)
	_, err = cut.Effect(t.Context(), r.env, in, "e-1", r.combineOf(t, 2, 1, 2, 3))
	require.NoError(t, err)
	_, found, err := cut.Recover(t.Context(), r.env, in, "e-1")
	require.NoError(t, err)
	require.False(t, found)
	require.NoError(t, r.decrypt(t, ciphertext))
	require.Equal(t, ceremony.Completed, r.cutover(t).State)

	v := r.version(t, vaultKey, 1)
	_, err = other.Open(t.Context(), v.Material)
	require.ErrorIs(t, err, hsm.ErrInactive, "before it notices: not corrupt")
	_, err = operation.Current(env, vault)
	require.NoError(t, err)
	require.False(t, other.Active())
	require.NoError(t, other.Activate(t.Context(), r.combineOf(t, 2, 1, 2, 3)))
	h, err := other.Open(t.Context(), v.Material)
	require.NoError(t, err)
	h.Close()
}
