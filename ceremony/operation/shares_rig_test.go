package operation_test

import (
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/dsse"
	"conclave/custodian/jwk"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
)

const (
	vault      = "second"        // the keystore whose shares are re-issued
	vaultSet   = "second-shares" // 3 of 5
	vaultKey   = "vaulted"       // a key in it
	theWitness = "demo-wim"
)

// sharesRig is the real engine over a keystore that real shares opened, with a key in it and a witness at hand.
type sharesRig struct {
	*engineRig
	keystore hsm.Keystore
}

func newSharesRig(t *testing.T) *sharesRig {
	t.Helper()
	r := &sharesRig{engineRig: newEngineRig(t)}
	r.enrolPerson(t, theWitness, people.RoleWitness)
	r.enrolPerson(t, "demo-fay", people.RoleCustodian)
	r.register(t)
	for i := range 5 {
		r.confirm(t, vaultSet, 1, i+1)
	}
	_, err := r.execute(t, "keystore.activate", r.input(t, node(), map[string]any{"keystore": vault}), r.combine(t, 1, 2, 3))
	require.NoError(t, err)
	r.keystore, err = r.Keystore(vault)
	require.NoError(t, err)
	r.vaulted(t, vaultKey)
	return r
}

// vaulted makes a key in the vault that the demo application may use.
func (r *sharesRig) vaulted(t *testing.T, id string) {
	t.Helper()
	params := newKey(id)
	params["keystore"] = vault
	r.run(t, "key.create", human("demo-ada"), params)
	r.run(t, "grant.create", human("demo-ada"), map[string]any{"application": custodiantest.ApplicationID, "key": id, "operations": []string{"datakey", "decrypt"}, "days": 30})
}

func (r *sharesRig) enrolPerson(t *testing.T, id string, roles ...people.Role) {
	t.Helper()
	now := r.Clock.Now()
	signer, err := keyfile.Generate(id, "ES256")
	require.NoError(t, err)
	r.signers[id] = signer
	credential, err := signer.Public().Credential(now)
	require.NoError(t, err)
	shareKey, err := signer.Public().ShareKey.JSON()
	require.NoError(t, err)
	r.Put(t, custodian.KindPerson, id, people.Person{ID: id, Name: "Demo " + id, Roles: roles, Team: "audit", Site: "west", Status: people.StatusActive,
		ApprovalKeys: []people.Credential{credential}, ShareKey: shareKey, ShareKeyID: signer.Public().ShareKey.Thumbprint(), AddedAt: now, AddedBy: "genesis",
		Acknowledgement: &people.Acknowledgement{FormVersion: people.CurrentForm().Version, SignedAt: now, ExpiresAt: now.Add(people.AcknowledgementPeriod), Envelope: json.RawMessage(`{}`)}})
}

func (r *sharesRig) set(t *testing.T) *people.ShareSet {
	t.Helper()
	return row[people.ShareSet](t, r.rig, custodian.KindShareSet, vaultSet)
}

func (r *sharesRig) line(t *testing.T, set string, epoch uint32, index int) *people.Share {
	t.Helper()
	return row[people.Share](t, r.rig, custodian.KindShare, people.ShareID(set, epoch, index))
}

// openLine opens a share with its holder's key.
func (r *sharesRig) openLine(t *testing.T, set string, epoch uint32, index int) *shamir.Share {
	t.Helper()
	line := r.line(t, set, epoch, index)
	share, err := r.signers[line.Custodian].OpenShare(line.Sealed)
	require.NoError(t, err)
	return share
}

func (r *sharesRig) confirm(t *testing.T, set string, epoch uint32, index int) {
	t.Helper()
	share := r.openLine(t, set, epoch, index)
	holder := r.line(t, set, epoch, index).Custodian
	challenge := r.challenges.New(holder, set, epoch, index, r.Clock.Now())
	signature, err := share.Sign(challenge)
	require.NoError(t, err)
	r.run(t, "share.confirm", human(holder), map[string]any{"set": set, "epoch": epoch, "index": index,
		"challenge": base64.StdEncoding.EncodeToString(challenge), "signature": base64.StdEncoding.EncodeToString(signature)})
}

// bring hands in one share, whatever epoch the ceremony wants.
func (r *sharesRig) bring(t *testing.T, id, set string, epoch uint32, index int) (*ceremony.Ceremony, error) {
	t.Helper()
	return r.bringAs(t, r.line(t, set, epoch, index).Custodian, id, r.openLine(t, set, epoch, index))
}

func (r *sharesRig) bringAs(t *testing.T, who, id string, share *shamir.Share) (*ceremony.Ceremony, error) {
	t.Helper()
	envelope, err := r.engine.Collector(t.Context())
	require.NoError(t, err)
	parsed, err := dsse.Parse(envelope)
	require.NoError(t, err)
	var collector ceremony.CollectorKey
	require.NoError(t, json.Unmarshal(parsed.UnverifiedPayload(), &collector))
	public, err := jwk.Parse(collector.Key)
	require.NoError(t, err)
	sealed, err := shamir.Seal(share, shamir.Recipient{Key: collector.Key, KeyID: public.Thumbprint()})
	require.NoError(t, err)
	var approval []byte
	if payload, err := r.engine.Statement(t.Context(), human(who), id, "approve"); err == nil {
		approval, err = r.signers[who].Sign(statement.TypeStatement, payload)
		require.NoError(t, err)
	}
	return r.engine.SubmitShare(t.Context(), human(who), id, approval, sealed)
}

func (r *sharesRig) bringAll(t *testing.T, id, set string, epoch uint32, indices ...int) *ceremony.Ceremony {
	t.Helper()
	var c *ceremony.Ceremony
	for _, i := range indices {
		var err error
		c, err = r.bring(t, id, set, epoch, i)
		require.NoError(t, err, "share %d of epoch %d", i, epoch)
	}
	return c
}

func (r *sharesRig) attend(t *testing.T, id string) *ceremony.Ceremony {
	t.Helper()
	payload, err := r.engine.Statement(t.Context(), human(theWitness), id, "attend")
	require.NoError(t, err)
	envelope, err := r.signers[theWitness].Sign(statement.TypeStatement, payload)
	require.NoError(t, err)
	c, err := r.engine.Vote(t.Context(), human(theWitness), id, envelope)
	require.NoError(t, err)
	return c
}

// reissue issues a new epoch by a quorum of the one in force and a witness.
func (r *sharesRig) reissue(t *testing.T, params map[string]any) {
	t.Helper()
	name := "shares.reissue"
	if params["threshold"] != nil {
		name = "quorum.change"
	}
	epoch := r.set(t).Epoch
	c := r.propose(t, "demo-ada", name, params)
	require.Equal(t, ceremony.Gathering, c.State)
	require.Equal(t, epoch, c.ShareEpoch)
	r.bringAll(t, c.ID, vaultSet, epoch, 1, 2, 3)
	c = r.attend(t, c.ID)
	require.Equal(t, ceremony.Completed, c.State, c.Outcome)
}

// cutover has enough holders of the pending epoch confirm and bring their shares.
func (r *sharesRig) cutover(t *testing.T) *ceremony.Ceremony {
	t.Helper()
	p := r.set(t).Pending
	require.NotNil(t, p)
	for i := range p.Threshold + 1 {
		r.confirm(t, vaultSet, p.Epoch, i+1)
	}
	c := r.propose(t, "demo-ada", "shares.cutover", map[string]any{"set": vaultSet})
	require.Equal(t, p.Epoch, c.ShareEpoch)
	for i := range p.Threshold {
		var err error
		c, err = r.bring(t, c.ID, vaultSet, p.Epoch, i+1)
		require.NoError(t, err)
	}
	return c
}

// checkValues are those of every version in the vault.
func (r *sharesRig) checkValues(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, v := range store.All[key.Version](r.View(), custodian.KindKeyVersion) {
		if v.Keystore == vault && v.State.HasMaterial() {
			require.Equal(t, v.CheckValue, v.Material.CheckValue)
			out[key.VersionID(v.Key, v.Version)] = v.CheckValue
		}
	}
	return out
}

// wrappedByRecord checks that every version in the vault opens under the record's secret alone.
func (r *sharesRig) wrappedByRecord(t *testing.T) {
	t.Helper()
	ks := row[key.Keystore](t, r.rig, custodian.KindKeystore, vault)
	driver := r.keystore.(hsm.Rekeyer)
	for _, v := range store.All[key.Version](r.View(), custodian.KindKeyVersion) {
		if v.Keystore != vault || !v.State.HasMaterial() {
			continue
		}
		require.True(t, driver.Wraps(v.Material, ks.Verifier), "%s is wrapped under another secret", key.VersionID(v.Key, v.Version))
		h, err := driver.Open(t.Context(), v.Material)
		require.NoError(t, err, key.VersionID(v.Key, v.Version))
		h.Close()
	}
}
