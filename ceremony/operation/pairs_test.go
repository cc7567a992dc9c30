package operation_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/hsm"
)

func (r *rig) sign(t *testing.T, keyID string) (custodian.Used, error) {
	t.Helper()
	return r.Use(t.Context(), r.App, custodian.Use{Operation: access.Sign, Key: keyID, Message: []byte("contract")})
}

// newKeyOf is newKey of an algorithm.
func newKeyOf(id, algorithm string) map[string]any {
	params := newKey(id)
	params["algorithm"] = algorithm
	return params
}

func (r *rig) verifies(t *testing.T, keyID string, version uint32, signature []byte) bool {
	t.Helper()
	used, err := r.Use(t.Context(), r.App, custodian.Use{Operation: access.VerifySignature, Key: keyID, Version: version, Message: []byte("contract"), Signature: signature})
	require.NoError(t, err)
	return used.Valid
}

// A signature key from its making to the end of its private half, through ceremonies alone.
func TestLifeOfASignatureKey(t *testing.T) {
	r := newRig(t)
	r.run(t, "key.create", human("demo-ada"), newKeyOf("invoices", "ecdsa-p256"))
	k := row[key.Key](t, r, custodian.KindKey, "invoices")
	require.Equal(t, key.PrivateSignature, k.Type, "what goes with the algorithm")
	require.Equal(t, 365, k.OUPDays)
	require.Equal(t, 365+2555, k.RUPDays, "policy's default for signatures")
	v := r.version(t, "invoices", 1)
	require.Equal(t, hsm.ECDSAP256, v.Spec)
	require.NotEmpty(t, v.Public)
	require.Equal(t, 128, v.StrengthBits)
	_, detail := r.lastEvent(t, "key.create")
	require.Equal(t, "ecdsa-p256", detail["specification"])

	r.run(t, "grant.create", human("demo-ada"), map[string]any{"application": custodiantest.ApplicationID, "key": "invoices",
		"operations": []string{"sign", "verify"}, "days": 700})
	first, err := r.sign(t, "invoices")
	require.NoError(t, err)
	require.True(t, r.verifies(t, "invoices", 1, first.Signature))

	r.Clock.Advance(time.Hour)
	r.run(t, "key.rotate", human("demo-ada"), map[string]any{"key": "invoices", "reason": "yearly"})
	require.Equal(t, key.Deactivated, r.version(t, "invoices", 1).State, "the replaced private half stops by state")
	second, err := r.sign(t, "invoices")
	require.NoError(t, err)
	require.EqualValues(t, 2, second.Version)
	require.NotEqual(t, v.Public, r.version(t, "invoices", 2).Public)
	require.True(t, r.verifies(t, "invoices", 1, first.Signature))
	require.Contains(t, operation.Alerts(r.View(), r.Clock.Now()), operation.Alert{Kind: operation.AlertDestruction, Key: "invoices", Version: 1,
		Message: "invoices/1 can be destroyed (T13): propose key.destroy"})

	// Nothing depends on the private half: no waiver is needed, only the wait.
	in := r.input(t, human("demo-ada"), map[string]any{"key": "invoices", "version": 1, "reason": "replaced"})
	plan := r.plan(t, "key.destroy", in)
	require.Empty(t, plan.Deny)
	require.Contains(t, plan.Title, "can still be verified")
	in.ApprovedAt = r.Clock.Now()
	r.Clock.Advance(key.MinDestroyWait)
	in.Now = r.Clock.Now()
	_, err = r.execute(t, "key.destroy", in, nil)
	require.NoError(t, err)
	gone := r.version(t, "invoices", 1)
	require.Equal(t, key.Destroyed, gone.State)
	require.Empty(t, gone.Material.Blob)
	require.True(t, r.verifies(t, "invoices", 1, first.Signature), "until the end of the recipient usage period")

	r.run(t, "key.suspend", human("demo-ada"), map[string]any{"key": "invoices", "reason": "investigation"})
	suspended := r.version(t, "invoices", 2)
	require.Equal(t, []key.State{key.Suspended, key.Suspended}, []key.State{suspended.State, suspended.PublicState()})
	_, err = r.sign(t, "invoices")
	require.Error(t, err)
}

// Every kind of key is made, granted for what it does, and for nothing else.
func TestKeysOfEveryKind(t *testing.T) {
	r := newRig(t)
	for algorithm, c := range map[string]struct {
		typ    key.Type
		grants []string
		not    string
	}{
		"hmac-sha-256":  {key.SymmetricAuth, []string{"mac", "verify_mac"}, "sign"},
		"ed25519":       {key.PrivateSignature, []string{"sign", "verify"}, "encrypt"},
		"rsa-oaep-3072": {key.PrivateTransport, []string{"encrypt", "decrypt"}, "sign"},
		"aes-256":       {key.DataEncryption, []string{"datakeypair", "decrypt"}, "mac"},
	} {
		id := "k-" + algorithm
		r.run(t, "key.create", human("demo-ada"), newKeyOf(id, algorithm))
		require.Equal(t, c.typ, row[key.Key](t, r, custodian.KindKey, id).Type)
		r.run(t, "grant.create", human("demo-ada"), map[string]any{"application": custodiantest.ApplicationID, "key": id, "operations": c.grants, "days": 30})
		_, err := r.prepare(t, "grant.create", r.input(t, human("demo-ada"), map[string]any{"application": custodiantest.ApplicationID, "key": id, "operations": []string{c.not}, "days": 30}))
		require.Equal(t, "operations[0]", fieldOf(t, err))
	}
	_, err := r.prepare(t, "grant.create", r.input(t, human("demo-ada"), map[string]any{"application": custodiantest.ApplicationID, "key": "k-ed25519",
		"operations": []string{"sign"}, "context": map[string]string{"tenant": "north"}, "days": 30}))
	require.Equal(t, "context", fieldOf(t, err), "a signature binds no context")
}
