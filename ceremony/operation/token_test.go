//go:build cgo

package operation_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/key"
	"conclave/hsm"
	"conclave/hsm/pkcs11"
)

// tokenDriver is the driver of software keystores, and of one token of SoftHSM as its maker's tools leave it.
func tokenDriver(t *testing.T) func(record *key.Keystore) (hsm.Keystore, error) {
	t.Helper()
	return tokenDriverBy(t, "/usr/lib/softhsm/libsofthsm2.so")
}

// tokenDriverBy speaks to it by another module.
func tokenDriverBy(t *testing.T, module string) func(record *key.Keystore) (hsm.Keystore, error) {
	t.Helper()
	dir := t.TempDir()
	config, soPIN := filepath.Join(dir, "softhsm2.conf"), filepath.Join(dir, "so-pin")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "tokens"), 0o700))
	require.NoError(t, os.WriteFile(config, []byte("directories.tokendir = "+filepath.Join(dir, "tokens")+"\nlog.level = ERROR\n"), 0o600))
	require.NoError(t, os.WriteFile(soPIN, []byte("first-so-pin"), 0o600))
	t.Setenv("SOFTHSM2_CONF", config)
	out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", "conclave", "--so-pin", "first-so-pin", "--pin", "operators-pin").CombinedOutput()
	require.NoError(t, err, string(out))
	modules := pkcs11.NewModules()
	return func(record *key.Keystore) (hsm.Keystore, error) {
		if record.Driver != pkcs11.Driver {
			return softDriver(record)
		}
		k, err := pkcs11.New(pkcs11.Config{ID: record.ID, Verifier: record.Verifier, Modules: modules, Module: module,
			Token: record.Token.Device, Sessions: 2, Capabilities: record.Capabilities, SOPINFile: soPIN})
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = k.Deactivate(t.Context()) })
		return k, nil
	}
}

// TestTokenThroughItsLife: a token is registered, taken over by its custodians, used, given new shares, and opens with
// those only.
func TestTokenThroughItsLife(t *testing.T) {
	r := &sharesRig{engineRig: newEngineRigWith(t, tokenDriver(t))}
	r.enrolPerson(t, theWitness, "witness")
	params := newKeystore(vault)
	params["driver"] = "pkcs11"
	for field, token := range map[string]map[string]any{
		"token":        nil,
		"token.module": {"module": "", "label": "conclave", "serial": ""},
		"token.label":  {"module": "softhsm", "label": "a label that no token can ever have", "serial": ""},
	} {
		params["token"] = token
		if token == nil {
			delete(params, "token")
		}
		_, err := r.prepare(t, "keystore.register", r.input(t, human("demo-ada"), params))
		require.ErrorContains(t, err, field)
	}
	register := func(label string) (*ceremony.Ceremony, error) {
		params["token"] = map[string]any{"module": "softhsm", "label": label, "serial": ""}
		c, _, err := r.engine.Propose(t.Context(), human("demo-ada"), ceremony.Proposal{Operation: "keystore.register", Params: custodian.Detail(params)})
		return c, err
	}
	_, err := register("another")
	require.ErrorContains(t, err, "no such token", "nobody is asked to approve what this node does not find")
	require.ErrorContains(t, err, `there are "conclave"`)
	asked, err := register("conclave")
	require.NoError(t, err)
	require.NotContains(t, string(asked.Params), `"serial":""`, "everybody signs for the device that was found")
	params["token"] = map[string]any{"module": "softhsm", "label": "conclave", "serial": ""}
	r.run(t, "keystore.register", human("demo-ada"), params)
	ks := row[key.Keystore](t, r.rig, custodian.KindKeystore, vault)
	require.NotEmpty(t, ks.Token.Device.Serial, "pinned to the one that was found")
	require.Equal(t, 0, ks.FIPSLevel, "SoftHSM claims nothing")
	require.NotContains(t, ks.Capabilities.Specs, hsm.RSAOAEP3072)
	require.True(t, ks.Capabilities.StoresKeys)
	r.takeOver(t)
	r.vaulted(t, vaultKey)
	require.Equal(t, hsm.AlgorithmWrappedAES256GCM, r.version(t, vaultKey, 1).Algorithm)
	before, err := r.use(t, vaultKey)
	require.NoError(t, err)

	r.reissue(t, map[string]any{"set": vaultSet})
	c := r.cutover(t)
	require.Equal(t, ceremony.Completed, c.State, c.Outcome)
	require.NoError(t, r.keystore.Deactivate(t.Context()))
	require.ErrorIs(t, r.keystore.Activate(t.Context(), r.combineOf(t, 1, 1, 2, 3)), hsm.ErrActivationSecret, "the old shares")
	require.NoError(t, r.keystore.Activate(t.Context(), r.combineOf(t, 2, 1, 2, 3)))
	used, err := r.Use(t.Context(), r.App, custodian.Use{Operation: access.Decrypt, Ciphertext: before})
	require.NoError(t, err)
	require.Len(t, used.Plaintext, 32)
}

// takeOver has holders confirm their shares of a registered token, and initialises it.
func (r *sharesRig) takeOver(t *testing.T) {
	t.Helper()
	for i := range 5 {
		r.confirm(t, vaultSet, 1, i+1)
	}
	plan, err := r.prepare(t, "keystore.activate", r.input(t, node(), map[string]any{"keystore": vault}))
	require.NoError(t, err)
	require.Equal(t, "not_initialised", plan.Deny[0].Code)

	c := r.propose(t, "demo-ada", "keystore.initialise", map[string]any{"keystore": vault})
	require.Equal(t, ceremony.Gathering, c.State)
	r.bringAll(t, c.ID, vaultSet, 1, 1, 2, 3)
	c = r.attend(t, c.ID)
	require.Equal(t, ceremony.Completed, c.State, c.Outcome)
	ks := row[key.Keystore](t, r.rig, custodian.KindKeystore, vault)
	require.True(t, ks.Initialised())
	require.Equal(t, c.ID, ks.Token.InitialisedBy)
	again, err := r.prepare(t, "keystore.initialise", r.input(t, human("demo-ada"), map[string]any{"keystore": vault}))
	require.NoError(t, err)
	require.Equal(t, "already_initialised", again.Deny[0].Code)

	r.keystore, err = r.Keystore(vault)
	require.NoError(t, err)
	require.True(t, r.keystore.Active())
}
