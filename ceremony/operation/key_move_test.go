package operation_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
)

// actives are the versions of a key that protect.
func (r *rig) actives(t *testing.T, id string) []uint32 {
	t.Helper()
	var out []uint32
	for n := range row[key.Key](t, r, custodian.KindKey, id).Versions {
		if v := r.version(t, id, n+1); v.State == key.Active {
			out = append(out, v.Version)
		}
	}
	return out
}

func linesOf(lines []operation.Line) string {
	text := ""
	for _, l := range lines {
		text += fmt.Sprintf("%s: %s -> %s\n", l.Label, l.Before, l.After)
	}
	return text
}

func TestInvariant05_KeyMovesByANewVersion(t *testing.T) {
	r := newEngineRig(t)
	r.addKeystore(t, "other", nil)
	id := custodiantest.KeyID
	r.run(t, "asset.register", human("demo-ada"), map[string]any{"id": "archive", "label": "Archive", "location": "lake", "key": id,
		"counts": []map[string]any{{"version": 1, "records": 5}}, "reason": "x"})
	r.Put(t, custodian.KindGrant, "grant-rewrap", access.Grant{ID: "grant-rewrap", Application: custodiantest.ApplicationID, Key: id, Operations: []access.Operation{access.Rewrap},
		ExpiresAt: r.Clock.Now().Add(20 * days), CreatedAt: r.Clock.Now(), CreatedBy: "genesis"})
	old, err := r.use(t, id)
	require.NoError(t, err)
	material := r.version(t, id, 1).Material

	params := map[string]any{"key": id, "keystore": "other", "reason": "the first host is given up"}
	c := r.decided(t, "demo-cleo", "key.move", params, "demo-ada", "demo-ben")
	require.Equal(t, "G", c.Class)
	require.Equal(t, []string{"demo-ada", "demo-ben"}, c.Approvers)
	text := linesOf(c.Lines)
	for _, part := range []string{"keystore: soft: ", "-> other: ", "version 1: active -> deactivated: stays in soft", "version 2:  -> active", "placement in other:  -> allowed",
		"versions left in soft:  -> fits", "campaign for version 1:  -> what is under it is protected anew within 90 days", "no key leaves a keystore"} {
		require.Contains(t, text, part)
	}
	k := row[key.Key](t, r.rig, custodian.KindKey, id)
	require.Equal(t, []any{"other", uint32(2), uint32(2)}, []any{k.Keystore, k.Current, k.Versions})
	require.Equal(t, []uint32{2}, r.actives(t, id))
	require.Equal(t, custodiantest.KeystoreID, r.version(t, id, 1).Keystore)
	require.Equal(t, key.Deactivated, r.version(t, id, 1).State)
	require.Equal(t, material, r.version(t, id, 1).Material, "what was there stays as it was")
	require.Equal(t, "other", r.version(t, id, 2).Keystore)
	require.NotEqual(t, r.version(t, id, 1).CheckValue, r.version(t, id, 2).CheckValue)
	e, detail := r.lastEvent(t, "key.move")
	require.EqualValues(t, 2, e.Target.Version)
	require.Equal(t, []any{"soft", "other", "generated"}, []any{detail["from"], detail["keystore"], detail["origin"]})

	require.NoError(t, r.decrypt(t, old), "the old version goes on processing where it is")
	fresh, err := r.use(t, id)
	require.NoError(t, err)
	require.NoError(t, r.decrypt(t, fresh))
	moved, err := r.Use(t.Context(), r.App, custodian.Use{Operation: access.Rewrap, Ciphertext: old})
	require.NoError(t, err, "from one keystore to the other")
	require.EqualValues(t, 2, moved.Version)
	campaigns := 0
	for _, c := range store.All[key.Campaign](r.View(), custodian.KindCampaign) {
		campaigns++
		require.Equal(t, []any{id, uint32(1), key.CauseMove, int64(5)}, []any{c.Key, c.Version, c.Cause, c.AtStart[0].Records})
	}
	require.Equal(t, 1, campaigns)

	require.NoError(t, r.Soft.Deactivate(t.Context()))
	require.ErrorContains(t, r.decrypt(t, old), custodian.CodeKeystoreInactive)
	require.NoError(t, r.decrypt(t, fresh), "nothing asks for the keystore that it left")
	require.Contains(t, r.refused(t, "demo-ada", "keystore.retire", map[string]any{"keystore": custodiantest.KeystoreID, "reason": "x"}), "keystore_not_empty")

	r.decided(t, "demo-cleo", "key.rotate", map[string]any{"key": id, "reason": "yearly"})
	require.Equal(t, "other", r.version(t, id, 3).Keystore)
	require.Contains(t, r.refused(t, "demo-cleo", "key.move", map[string]any{"key": id, "keystore": "soft", "reason": "back"}), custodian.CodeKeystoreInactive)
}

func TestInvariant06_MovesAreJudgedWhereTheyGo(t *testing.T) {
	r := newEngineRig(t)
	id := custodiantest.KeyID
	r.addKeystore(t, "other", nil)
	r.addKeystore(t, "abroad", func(ks *key.Keystore) { ks.Jurisdiction = "US" })
	r.addKeystore(t, "gone", func(ks *key.Keystore) { ks.Status = key.KeystoreRetired })
	move := func(to string) map[string]any { return map[string]any{"key": id, "keystore": to, "reason": "x"} }
	for field, bad := range map[string]map[string]any{
		"key":         {"key": "ghost", "keystore": "other", "reason": "x"},
		"keystore":    move("ghost"),
		"rewrap_days": {"key": id, "keystore": "other", "rewrap_days": 731, "reason": "x"},
	} {
		_, err := r.prepare(t, "key.move", r.input(t, human("demo-cleo"), bad))
		require.Equal(t, field, fieldOf(t, err))
	}
	_, err := r.prepare(t, "key.move", r.input(t, human("demo-cleo"), move(custodiantest.KeystoreID)))
	require.ErrorContains(t, err, "lives there")
	require.Contains(t, r.refused(t, "demo-cleo", "key.move", move("abroad")), "residency")
	require.Contains(t, r.refused(t, "demo-cleo", "key.move", move("gone")), "keystore_not_registered")

	t.Run("of a keystore that may not keep it, once it has moved", func(t *testing.T) {
		ks := r.keystore(t)
		ks.Jurisdiction = "US"
		r.Put(t, custodian.KindKeystore, ks.ID, ks)
		plan := r.plan(t, "key.move", r.input(t, human("demo-cleo"), move("other")))
		require.Contains(t, linesOf(plan.Lines), "versions left in soft:  -> must move (residency)")
		ks.Jurisdiction = "EU"
		r.Put(t, custodian.KindKeystore, ks.ID, ks)
	})
	t.Run("custodians acknowledge first", func(t *testing.T) {
		r.Put(t, custodian.KindShareSet, "root", people.ShareSet{ID: "root", Keystore: "held", Threshold: 1, Total: 2, Epoch: 1})
		r.Put(t, custodian.KindShare, people.ShareID("root", 1, 1), people.Share{Set: "root", Epoch: 1, Index: 1, Custodian: "demo-ben", Status: people.ShareConfirmed})
		r.addKeystore(t, "held", func(ks *key.Keystore) { ks.ShareSet = "root" })
		p := row[people.Person](t, r.rig, custodian.KindPerson, "demo-ben")
		signed := p.Acknowledgement
		p.Acknowledgement = nil
		r.Put(t, custodian.KindPerson, p.ID, p)
		require.Contains(t, r.denied(t, "key.move", human("demo-cleo"), move("held")), key.CodeAcknowledgement)
		p.Acknowledgement = signed
		r.Put(t, custodian.KindPerson, p.ID, p)
	})
	t.Run("not what is suspended, nor while a version is to come", func(t *testing.T) {
		r.run(t, "key.suspend", human("demo-cleo"), map[string]any{"key": id, "reason": "x"})
		require.Contains(t, r.denied(t, "key.move", human("demo-cleo"), move("other")), "not_rotatable")
		r.run(t, "key.resume", human("demo-ada"), map[string]any{"key": id, "finding": "fine"})
		r.plan(t, "key.move", r.input(t, human("demo-cleo"), move("other")))
	})
	t.Run("a legal hold stays on what stays", func(t *testing.T) {
		r.run(t, "hold.set", human("demo-ada"), map[string]any{"id": "matter", "on": map[string]any{"type": "key_version", "id": id + "/1"}, "matter": "court", "reason": "x"})
		require.Contains(t, linesOf(r.plan(t, "key.move", r.input(t, human("demo-cleo"), move("other"))).Lines), "legal hold on version 1:  -> matter")
	})
}

// Move, rotation and reclassification at once: whoever is recorded first wins, the others are taken back whole.
func TestMoveConflicts(t *testing.T) {
	id := custodiantest.KeyID
	rotation := map[string]any{"key": id, "reason": "x"}
	move := map[string]any{"key": id, "keystore": "other", "reason": "x"}
	both := func(t *testing.T, first, second string, params map[string]map[string]any) *engineRig {
		r := newEngineRig(t)
		r.addKeystore(t, "other", nil)
		r.addKeystore(t, "third", nil)
		one, two := r.input(t, human("demo-cleo"), params[first]), r.input(t, human("demo-dan"), params[second])
		a, b := op(t, first).(operation.Effectful), op(t, second).(operation.Effectful)
		made, err := a.Effect(t.Context(), r.env, one, "e-1", nil)
		require.NoError(t, err)
		lost, err := b.Effect(t.Context(), r.env, two, "e-2", nil)
		require.NoError(t, err)
		_, err = r.record(t, first, one, made)
		require.NoError(t, err)
		_, err = r.record(t, second, two, lost)
		require.Error(t, err)
		require.NoError(t, b.Undo(t.Context(), r.env, two, lost))
		require.Equal(t, []uint32{2}, r.actives(t, id))
		require.EqualValues(t, 2, row[key.Key](t, r.rig, custodian.KindKey, id).Versions)
		_, err = r.use(t, id)
		require.NoError(t, err)
		return r
	}
	params := map[string]map[string]any{"key.rotate": rotation, "key.move": move}
	t.Run("rotation first", func(t *testing.T) {
		r := both(t, "key.rotate", "key.move", params)
		require.Equal(t, custodiantest.KeystoreID, row[key.Key](t, r.rig, custodian.KindKey, id).Keystore)
	})
	t.Run("move first", func(t *testing.T) {
		r := both(t, "key.move", "key.rotate", params)
		require.Equal(t, "other", row[key.Key](t, r.rig, custodian.KindKey, id).Keystore)
	})
	t.Run("reclassified meanwhile", func(t *testing.T) {
		r := newEngineRig(t)
		r.addKeystore(t, "other", nil)
		in := r.input(t, human("demo-cleo"), move)
		m := op(t, "key.move").(operation.Effectful)
		made, err := m.Effect(t.Context(), r.env, in, "e-1", nil)
		require.NoError(t, err)
		k := row[key.Key](t, r.rig, custodian.KindKey, id)
		k.Custody = []hsm.CustodyModel{hsm.CustodyHYOK}
		r.Put(t, custodian.KindKey, id, k)
		_, err = r.record(t, "key.move", in, made)
		require.ErrorContains(t, err, "custody")
		require.NoError(t, m.Undo(t.Context(), r.env, in, made))
		require.Equal(t, []uint32{1}, r.actives(t, id))
		require.Equal(t, custodiantest.KeystoreID, row[key.Key](t, r.rig, custodian.KindKey, id).Keystore)
	})
	t.Run("what is approved is void once the key was changed", func(t *testing.T) {
		r := newEngineRig(t)
		r.addKeystore(t, "other", nil)
		c := r.propose(t, "demo-cleo", "key.move", move)
		r.approve(t, "demo-ada", c.ID)
		r.decided(t, "demo-cleo", "key.rotate", rotation)
		require.ErrorContains(t, fmt.Errorf("%s", r.voteRefused(t, "demo-ben", c.ID)), "void")
		require.Equal(t, custodiantest.KeystoreID, row[key.Key](t, r.rig, custodian.KindKey, id).Keystore)
	})
}

// Drift is what a move answers: afterwards only what stayed behind is told of.
func TestMoveAnswersDrift(t *testing.T) {
	r := newEngineRig(t)
	r.addKeystore(t, "other", nil)
	jobs := operation.Jobs{Env: r.env}
	watch := func() *operation.Drifted {
		found, err := jobs.Drift(t.Context(), r.View(), r.Clock.Now())
		require.NoError(t, err)
		if !found.Nothing() {
			_, err = r.Store.Control(t.Context(), func(tx *store.Tx) error { return jobs.RecordDrift(tx, found) })
			require.NoError(t, err)
		}
		return found
	}
	ks := r.keystore(t)
	ks.MaxKeys = 1 // full: what is there stays, and gets no new version
	r.Put(t, custodian.KindKeystore, ks.ID, ks)
	watch()
	require.False(t, row[key.Drift](t, r.rig, custodian.KindDrift, custodiantest.KeyID).Homes[0].Stranded)
	c := r.decided(t, "demo-cleo", "key.move", map[string]any{"key": custodiantest.KeyID, "keystore": "other", "reason": "x"}, "demo-ada", "demo-ben")
	require.Equal(t, ceremony.Completed, c.State)
	r.Clock.Advance(time.Minute)
	require.NotEmpty(t, watch().Settled)
}
