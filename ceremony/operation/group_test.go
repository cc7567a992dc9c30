package operation_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/operation"
	"conclave/ceremony/placement"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
)

const theGroup = "pair"

// groupRig is the engine with a group of two software keystores, and a third that is in none.
func groupRig(t *testing.T) *engineRig {
	t.Helper()
	r := newEngineRig(t)
	for _, id := range []string{"north", "south", "spare"} {
		r.addKeystore(t, id, nil)
	}
	c := r.decided(t, "demo-cleo", "group.create", newGroup("north", "south"), "demo-ada", "demo-ben")
	require.Equal(t, ceremony.Completed, c.State, c.Outcome)
	require.Equal(t, "G", c.Class)
	return r
}

func newGroup(members ...string) map[string]any {
	return map[string]any{"id": theGroup, "members": members, "location": "two halls", "controller": "demo-ada", "reason": "no single point of failure"}
}

func inGroup(keystore string) map[string]any {
	return map[string]any{"group": theGroup, "keystore": keystore, "reason": "the test asks for it"}
}

func (r *engineRig) groupRow(t *testing.T) *key.Keystore {
	t.Helper()
	return row[key.Keystore](t, r.rig, custodian.KindKeystore, theGroup)
}

// grouped makes a key in the group that the demo application may use.
func (r *engineRig) grouped(t *testing.T, id string) *key.Version {
	t.Helper()
	params := newKey(id)
	params["keystore"] = theGroup
	r.run(t, "key.create", human("demo-ada"), params)
	r.run(t, "grant.create", human("demo-ada"), map[string]any{"application": custodiantest.ApplicationID, "key": id, "operations": []string{"datakey", "decrypt"}, "days": 30})
	return r.version(t, id, 1)
}

func (r *engineRig) member(t *testing.T, id string) hsm.Keystore {
	t.Helper()
	d, err := r.Keystore(id)
	require.NoError(t, err)
	return d
}

// resync does what the node's job does.
func (r *engineRig) resync(t *testing.T) bool {
	t.Helper()
	due, err := operation.Jobs{Env: r.env}.DueResyncs(r.View())
	require.NoError(t, err)
	for _, s := range due {
		c, _, err := r.engine.Propose(t.Context(), node(), ceremony.Proposal{Operation: s.Operation, Params: s.Params, Reason: s.Reason})
		require.NoError(t, err)
		require.Equal(t, ceremony.Completed, c.State, c.Outcome)
		require.Equal(t, "A", c.Class, "which keystores hold the keys was decided before")
	}
	return len(due) > 0
}

// even checks that every version of the group is in every member, with the check value that each computes itself.
func (r *engineRig) even(t *testing.T, versions int) {
	t.Helper()
	require.Zero(t, custodian.Degraded(r.View())[theGroup])
	seen := 0
	for _, v := range store.All[key.Version](r.View(), custodian.KindKeyVersion) {
		if v.Keystore != theGroup || !v.State.HasMaterial() {
			continue
		}
		seen++
		require.Len(t, v.Material.Copies, len(r.groupRow(t).Group.Members))
		for _, c := range v.Material.Copies {
			require.Equal(t, v.CheckValue, c.CheckValue)
			own, has := v.Material.In(c.Member)
			require.True(t, has)
			h, err := r.member(t, c.Member).Open(t.Context(), own)
			require.NoError(t, err, "%s in %s", v.Key, c.Member)
			h.Close()
		}
	}
	require.Equal(t, versions, seen)
}

func TestGroupFormed(t *testing.T) {
	r := groupRig(t)
	g := r.groupRow(t)
	require.Equal(t, []string{"north", "south"}, g.Group.IDs())
	require.Equal(t, theGroup, row[key.Keystore](t, r.rig, custodian.KindKeystore, "north").MemberOf)
	_, detail := r.lastEvent(t, "group.create")
	require.Len(t, detail["check_values"], 2)
	v := r.grouped(t, "orders")
	require.Equal(t, theGroup, v.Keystore)
	require.Equal(t, 256, v.StrengthBits, "no stronger than what it travels under")
	_, made := r.lastEvent(t, "key.create")
	require.Equal(t, map[string]any{"north": v.CheckValue, "south": v.CheckValue}, made["members"])
	r.even(t, 1)

	t.Run("a member takes no keys by itself", func(t *testing.T) {
		alone := newKey("alone")
		alone["keystore"] = "north"
		require.Contains(t, r.refused(t, "demo-ada", "key.create", alone), "keystore_in_group")
		require.Contains(t, r.refused(t, "demo-ada", "keystore.retire", map[string]any{"keystore": "north", "reason": "x"}), "keystore_in_group")
	})
	t.Run("refused", func(t *testing.T) {
		other := func(members ...string) map[string]any { p := newGroup(members...); p["id"] = "other"; return p }
		require.Contains(t, r.denied(t, "group.create", human("demo-cleo"), other("north", "spare")), "keystore_in_group")
		require.Contains(t, r.denied(t, "group.create", human("demo-cleo"), other(custodiantest.KeystoreID, "spare")), "keystore_not_empty", "keys that are there do not leave it")
		require.Contains(t, r.denied(t, "group.create", human("demo-cleo"), other(theGroup, "spare")), "group_nested")
		r.addKeystore(t, "elsewhere", func(ks *key.Keystore) { ks.Environment = key.Production })
		require.Contains(t, r.denied(t, "group.create", human("demo-cleo"), other("spare", "elsewhere")), "group_differs")
		require.Contains(t, r.denied(t, "group.add", human("demo-cleo"), inGroup("elsewhere")), "group_differs")
		for field, bad := range map[string]map[string]any{"members": other("spare"), "members[1]": other("spare", "spare"), "members[0]": other("ghost", "spare")} {
			_, err := r.prepare(t, "group.create", r.input(t, human("demo-cleo"), bad))
			require.Equal(t, field, fieldOf(t, err))
		}
		require.Contains(t, r.denied(t, "keystore.alter", human("demo-ada"), map[string]any{"keystore": theGroup, "jurisdiction": "US", "reason": "x"}), "group_facts")
	})
	t.Run("retired when it is empty, its members go on by themselves", func(t *testing.T) {
		require.Contains(t, r.refused(t, "demo-ada", "keystore.retire", map[string]any{"keystore": theGroup, "reason": "x"}), "keystore_not_empty")
	})
}

// A group is its weakest member, and every member's jurisdiction must be allowed to a key.
func TestInvariant06_GroupIsItsWeakestMember(t *testing.T) {
	r := newEngineRig(t)
	r.addKeystore(t, "north", nil)
	r.addKeystore(t, "south", func(ks *key.Keystore) { ks.Jurisdiction = "US" })
	c := r.decided(t, "demo-cleo", "group.create", newGroup("north", "south"), "demo-ada", "demo-ben")
	require.Contains(t, linesOf(c.Lines), "every jurisdiction must be allowed to a key: EU, US")
	params := newKey("orders")
	params["keystore"] = theGroup
	plan, err := r.prepare(t, "key.create", r.input(t, human("demo-ada"), params))
	require.NoError(t, err)
	require.Equal(t, "residency", plan.Deny[0].Code)
	require.Contains(t, plan.Deny[0].Message, "member south")

	t.Run("nor is a member brought in that its keys may not be in", func(t *testing.T) {
		r := groupRig(t)
		r.grouped(t, "orders")
		r.addKeystore(t, "abroad", func(ks *key.Keystore) { ks.Jurisdiction = "US" })
		plan, err := r.prepare(t, "group.add", r.input(t, human("demo-cleo"), inGroup("abroad")))
		require.NoError(t, err)
		require.Equal(t, "group_strands_keys", plan.Deny[0].Code)
		require.Contains(t, plan.Deny[0].Message, "residency")
	})
	t.Run("what becomes of a member is what becomes of the group", func(t *testing.T) {
		r := groupRig(t)
		r.grouped(t, "orders")
		south := row[key.Keystore](t, r.rig, custodian.KindKeystore, "south")
		changes, err := operation.WhatIf(t.Context(), r.env, r.View(), r.input(t, human("demo-ada"), nil),
			operation.Supposition{Keystore: canonical(t, map[string]any{"keystore": south.ID, "jurisdiction": "US", "reason": "x"})})
		require.NoError(t, err)
		require.Equal(t, []any{theGroup, placement.Stranded}, []any{changes[0].After.Keystore, changes[0].After.State})
		south.Jurisdiction = "US"
		r.Put(t, custodian.KindKeystore, south.ID, south)
		found, err := operation.Jobs{Env: r.env}.Drift(t.Context(), r.View(), r.Clock.Now())
		require.NoError(t, err)
		require.Equal(t, "orders", found.Found[0].RowID())
	})
}

// One member is gone and comes back; another takes the place of one that is lost: no call is answered wrongly, and no key is
// in one place only.
func TestGroupServesThroughTheLossOfAMember(t *testing.T) {
	r := groupRig(t)
	r.grouped(t, "orders")
	first, err := r.use(t, "orders")
	require.NoError(t, err)

	require.NoError(t, r.member(t, "north").Deactivate(t.Context()))
	require.NoError(t, r.decrypt(t, first))
	second, err := r.use(t, "orders")
	require.NoError(t, err)
	_, err = r.execute(t, "key.rotate", r.input(t, human("demo-cleo"), map[string]any{"key": "orders", "reason": "x"}), nil)
	require.ErrorIs(t, err, hsm.ErrUnavailable, "no version that one member only would hold")
	require.Contains(t, r.denied(t, "group.drain", human("demo-cleo"), inGroup("south")), "group_last_member", "one person does not stop everything")

	require.Contains(t, r.denied(t, "group.add", human("demo-cleo"), inGroup("spare")), custodian.CodeKeystoreInactive, "every member is told of a new one")
	require.NoError(t, r.decrypt(t, second))
}

func TestGroupMembersComeAndGo(t *testing.T) {
	r := groupRig(t)
	r.grouped(t, "orders")
	first, err := r.use(t, "orders")
	require.NoError(t, err)
	r.even(t, 1)

	c := r.decided(t, "demo-cleo", "group.add", inGroup("spare"), "demo-ada", "demo-ben")
	require.Equal(t, ceremony.Completed, c.State, c.Outcome)
	require.Equal(t, 1, custodian.Degraded(r.View())[theGroup])
	found, err := operation.Jobs{Env: r.env}.Drift(t.Context(), r.View(), r.Clock.Now())
	require.NoError(t, err)
	require.Contains(t, found.Found[0].Claims[0], "1 key version is not in every serving member: spare lacks 1")
	require.True(t, r.resync(t))
	require.False(t, r.resync(t), "nothing is left")
	r.even(t, 1)
	_, detail := r.lastEvent(t, "group.resync")
	require.Equal(t, map[string]any{"spare": 1.0}, detail["sent"])

	t.Run("drained at once by one, brought back by several", func(t *testing.T) {
		d := r.propose(t, "demo-cleo", "group.drain", inGroup("north"))
		require.Equal(t, []any{ceremony.Completed, "P"}, []any{d.State, d.Class})
		require.NotNil(t, d.ReviewBy, "what one person did is reviewed")
		require.NoError(t, r.decrypt(t, first))
		r.run(t, "key.rotate", human("demo-cleo"), map[string]any{"key": "orders", "reason": "x"})
		require.Len(t, r.version(t, "orders", 2).Material.Copies, 2, "a drained member gets no keys")
		require.Zero(t, custodian.Degraded(r.View())[theGroup], "and lacks nothing while it is")
		u := r.decided(t, "demo-cleo", "group.undrain", inGroup("north"), "demo-ada", "demo-ben")
		require.Equal(t, ceremony.Completed, u.State, u.Outcome)
		require.Equal(t, 1, custodian.Degraded(r.View())[theGroup])
		require.True(t, r.resync(t))
		r.even(t, 2)
	})
	t.Run("taken out, by the way that leads there", func(t *testing.T) {
		require.Contains(t, r.denied(t, "group.remove", human("demo-cleo"), inGroup("south")), "group_member_serving")
		r.propose(t, "demo-cleo", "group.drain", inGroup("south"))
		require.NoError(t, r.member(t, "south").Deactivate(t.Context()))
		require.Contains(t, r.denied(t, "group.remove", human("demo-cleo"), inGroup("south")), custodian.CodeKeystoreInactive)
		lost := inGroup("south")
		lost["lost"] = true
		c := r.decided(t, "demo-cleo", "group.remove", lost, "demo-ada", "demo-ben")
		require.Equal(t, ceremony.Completed, c.State, c.Outcome)
		require.Contains(t, linesOf(c.Lines), "stay in south, which can not be asked")
		require.Equal(t, []string{"north", "spare"}, r.groupRow(t).Group.IDs())
		require.Equal(t, []string{"south"}, r.groupRow(t).Group.Former)
		r.even(t, 2)
		require.NoError(t, r.decrypt(t, first))
		r.propose(t, "demo-cleo", "group.drain", inGroup("north"))
		require.Contains(t, r.denied(t, "group.remove", human("demo-cleo"), inGroup("north")), "group_too_small")
	})
	t.Run("a version that is destroyed is in no member", func(t *testing.T) {
		in := r.input(t, human("demo-ada"), map[string]any{"key": "orders", "version": 1, "waiver": "rewrapped", "reason": "x"})
		in.ApprovedAt = r.Clock.Now()
		r.Clock.Advance(key.MinDestroyWait)
		in.Now = r.Clock.Now()
		_, err := r.execute(t, "key.destroy", in, nil)
		require.NoError(t, err)
		require.Empty(t, r.version(t, "orders", 1).Material.Copies)
		require.Error(t, r.decrypt(t, first))
	})
}

// A key moves into a group and out of it.
func TestKeyMovesIntoAGroup(t *testing.T) {
	r := groupRig(t)
	old, err := r.use(t, custodiantest.KeyID)
	require.NoError(t, err)
	r.decided(t, "demo-cleo", "key.move", map[string]any{"key": custodiantest.KeyID, "keystore": theGroup, "reason": "x"}, "demo-ada", "demo-ben")
	r.even(t, 1)
	require.NoError(t, r.Soft.Deactivate(t.Context()))
	require.NoError(t, r.member(t, "north").Deactivate(t.Context()))
	fresh, err := r.use(t, custodiantest.KeyID)
	require.NoError(t, err, "one of the group is enough")
	require.NoError(t, r.decrypt(t, fresh))
	require.ErrorContains(t, r.decrypt(t, old), custodian.CodeKeystoreInactive)
	used, err := r.Use(t.Context(), r.App, custodian.Use{Operation: access.DataKey, Key: custodiantest.KeyID, Bytes: 32, WithPlain: true})
	require.NoError(t, err)
	require.Len(t, used.Plaintext, 32)
	r.Clock.Advance(time.Minute)
	found, err := operation.Jobs{Env: r.env}.Drift(t.Context(), r.View(), r.Clock.Now())
	require.NoError(t, err)
	require.True(t, found.Nothing())
}

// A member is not emptied under its group, which would not be among what is listed; and a group is its members.
func TestNoGroupIsZeroised(t *testing.T) {
	r := groupRig(t)
	north := row[key.Keystore](t, r.rig, custodian.KindKeystore, "north")
	north.ShareSet = "root"
	r.Put(t, custodian.KindKeystore, "north", north)
	r.Put(t, custodian.KindShareSet, "root", people.ShareSet{ID: "root", Keystore: "north", Threshold: 2, Total: 3, Epoch: 1})
	require.Contains(t, r.denied(t, "keystore.zeroise", human("demo-ada"), map[string]any{"keystore": "north", "reason": "x"}), "keystore_in_group")
	_, err := r.prepare(t, "keystore.zeroise", r.input(t, human("demo-ada"), map[string]any{"keystore": theGroup, "reason": "x"}))
	require.ErrorContains(t, err, "is a group")
}
