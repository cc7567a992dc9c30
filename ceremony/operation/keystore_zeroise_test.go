package operation_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/custodian"
	"conclave/custodian/key"
)

// zeroise has the vault's zeroisation decided by three shares and a witness.
func (r *sharesRig) zeroise(t *testing.T) *ceremony.Ceremony {
	t.Helper()
	c := r.propose(t, "demo-ada", "keystore.zeroise", map[string]any{"keystore": vault, "reason": "the device is returned"})
	require.Equal(t, ceremony.Gathering, c.State)
	r.bringAll(t, c.ID, vaultSet, 1, 1, 2, 3)
	return r.attend(t, c.ID)
}

// spare is another keystore with shares that open it: without one policy could not be recovered any more.
func (r *sharesRig) spare(t *testing.T) {
	t.Helper()
	r.run(t, "keystore.register", human("demo-ada"), newKeystore("spare"))
	for i := range 5 {
		r.confirm(t, "spare-shares", 1, i+1)
	}
}

// waited brings a ceremony to the last moment of its wait, and lets the time pass that the life cycle asks for.
func (r *sharesRig) waited(t *testing.T, id string) {
	t.Helper()
	c, err := r.engine.Get(id)
	require.NoError(t, err)
	c.WaitLeft = 1
	r.Put(t, ceremony.Kind, id, *c)
	r.Clock.Advance(7 * days)
}

// A quorum of shares and a witness decide, the shares are wiped, it waits; one person cancels it. Decided anew it destroys
// exactly what was signed, and nothing new came in meanwhile.
func TestKeystoreIsZeroised(t *testing.T) {
	r := newSharesRig(t)
	sealed, err := r.use(t, vaultKey)
	require.NoError(t, err)
	r.run(t, "wrappingkey.create", human("demo-dan"), map[string]any{"id": "pair", "keystore": vault, "algorithm": "rsa-oaep-3072", "hours": 200})

	require.Contains(t, r.refused(t, "demo-ada", "keystore.zeroise", map[string]any{"keystore": vault, "reason": "x"}), "lock_out")
	r.spare(t)
	c := r.zeroise(t)
	require.Equal(t, ceremony.Approved, c.State, c.Outcome)
	require.EqualValues(t, 7*days, c.WaitLeft.Duration())
	require.Len(t, c.Shares, 3)
	var signed struct {
		Unreadable struct {
			Versions int      `json:"versions"`
			Keys     []string `json:"keys"`
			SHA256   string   `json:"sha256"`
		} `json:"unreadable"`
	}
	require.NoError(t, json.Unmarshal(c.Params, &signed))
	require.Equal(t, []string{vaultKey + "/1"}, signed.Unreadable.Keys)
	require.Len(t, signed.Unreadable.SHA256, 64)
	_, err = r.use(t, vaultKey)
	require.NoError(t, err, "until then it is used")
	require.Contains(t, r.refused(t, "demo-ada", "key.rotate", map[string]any{"key": vaultKey}), "keystore_zeroising")
	fresh := newKey("late")
	fresh["keystore"] = vault
	require.Contains(t, r.refused(t, "demo-ada", "key.create", fresh), "keystore_zeroising")
	require.NoError(t, r.engine.Tick(t.Context()))

	cancelled, err := r.engine.Cancel(t.Context(), human("demo-eve"), c.ID, "not this one")
	require.NoError(t, err)
	require.Equal(t, ceremony.Cancelled, cancelled.State)
	r.propose(t, "demo-ada", "key.rotate", map[string]any{"key": vaultKey})
	invoices := newKeyOf("invoices", "ecdsa-p256")
	invoices["keystore"] = vault
	r.run(t, "key.create", human("demo-ada"), invoices)
	r.run(t, "key.suspend", human("demo-ben"), map[string]any{"key": "invoices", "suspected": false, "reason": "a drill"})
	c = r.zeroise(t)
	require.Equal(t, ceremony.Approved, c.State, c.Outcome)
	r.waited(t, c.ID)
	require.NoError(t, r.engine.Tick(t.Context()))
	c, err = r.engine.Get(c.ID)
	require.NoError(t, err)
	require.Equal(t, ceremony.Completed, c.State, c.Outcome)

	require.Equal(t, key.KeystoreZeroised, row[key.Keystore](t, r.rig, custodian.KindKeystore, vault).Status)
	for _, v := range []*key.Version{r.version(t, vaultKey, 1), r.version(t, vaultKey, 2), r.version(t, "invoices", 1)} {
		require.Equal(t, key.Destroyed, v.State)
		require.Empty(t, v.Material.Blob)
		require.NoError(t, v.CheckHistory())
	}
	require.NotNil(t, row[key.WrappingKey](t, r.rig, custodian.KindWrappingKey, "pair").DestroyedAt)
	require.False(t, r.keystore.Active(), "closed at once")
	require.Error(t, r.decrypt(t, sealed))
	_, detail := r.lastEvent(t, "keystore.zeroise")
	require.EqualValues(t, 3, detail["versions"])
	require.Len(t, r.events(t, "key.destroy"), 3)
	require.NoError(t, r.engine.Tick(t.Context()))
	require.Contains(t, r.denied(t, "keystore.zeroise", human("demo-ada"), map[string]any{"keystore": vault, "reason": "again"}), "keystore_retired")
}

// What may not be destroyed keeps its keystore: a legal hold, and the last shares by which policy is recovered. What came
// in after it was signed ends it.
func TestWhatIsNotZeroised(t *testing.T) {
	r := newSharesRig(t)
	params := map[string]any{"keystore": vault, "reason": "the device is returned"}
	r.run(t, "hold.set", human("demo-ben"), map[string]any{"id": "matter", "on": map[string]any{"type": "key", "id": vaultKey}, "matter": "Doe", "reason": "litigation"})
	require.Contains(t, r.refused(t, "demo-ada", "keystore.zeroise", params), "legal-hold")
	_, _, err := r.engine.Propose(t.Context(), human("demo-ada"), ceremony.Proposal{Operation: "keystore.zeroise", Params: canonical(t, map[string]any{"keystore": vault, "reason": "x",
		"unreadable": map[string]any{"versions": 0, "as_of": "2030-01-01T00:00:00Z"}}), Reason: "the test asks for it"})
	require.ErrorContains(t, err, "it is filled in")

	r = newSharesRig(t)
	r.spare(t)
	c := r.zeroise(t)
	v := r.version(t, vaultKey, 1)
	v.Version, v.GeneratedAt = 2, r.Clock.Now().Add(days)
	k := row[key.Key](t, r.rig, custodian.KindKey, vaultKey)
	k.Versions = 2
	r.Put(t, custodian.KindKey, vaultKey, *k)
	r.Put(t, custodian.KindKeyVersion, key.VersionID(vaultKey, 2), *v)
	r.waited(t, c.ID)
	require.Error(t, r.engine.Tick(t.Context()))
	after, err := r.engine.Get(c.ID)
	require.NoError(t, err)
	require.Equal(t, ceremony.Failed, after.State)
	require.Contains(t, after.Outcome, "unreadable_differs")
	require.Equal(t, key.Active, r.version(t, vaultKey, 1).State)
}
