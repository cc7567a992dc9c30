//go:build cgo

package operation_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/hsm/secret"
)

// TestImportIntoToken: a token that takes keys made elsewhere takes them in both forms, inside; a one-time wrapping pair is
// in it, and is gone after its use. The module is SoftHSM with what it lacks for that.
func TestImportIntoToken(t *testing.T) {
	module := filepath.Join(t.TempDir(), "able.so")
	out, err := exec.Command("cc", "-shared", "-fPIC", "-std=gnu11", "-o", module, "../../hsm/pkcs11/testdata/able.c", "-ldl", "-lpthread").CombinedOutput()
	require.NoError(t, err, string(out))
	t.Setenv("ABLE_MODULE", "/usr/lib/softhsm/libsofthsm2.so")
	r := &sharesRig{engineRig: newEngineRigWith(t, tokenDriverBy(t, module))}
	r.enrolPerson(t, theWitness, "witness")
	params := newKeystore(vault)
	params["driver"], params["token"] = "pkcs11", map[string]any{"module": "able", "label": "conclave", "serial": ""}
	registered := r.run(t, "keystore.register", human("demo-ada"), params)
	var told struct {
		Takes map[string]string `json:"takes_keys"`
	}
	require.NoError(t, json.Unmarshal(registered.Data, &told))
	require.Contains(t, told.Takes["wrapped"], "aes-256")
	require.Contains(t, told.Takes["components"], "aes-256")
	r.takeOver(t)

	r.run(t, "wrappingkey.create", human("demo-dan"), map[string]any{"id": "once", "keystore": vault, "algorithm": "rsa-oaep-3072", "hours": 2})
	wrapping := row[key.WrappingKey](t, r.rig, custodian.KindWrappingKey, "once")
	value := secret.Random(32)
	fresh := newKey("wrapped")
	fresh["keystore"] = vault
	c := r.propose(t, "demo-ada", "key.import", map[string]any{"new": fresh, "wrapping_key": "once", "wrapped": r.wrappedFor(t, "once", value), "check_value": checkOf(t, value)})
	r.approve(t, "demo-ben", c.ID)
	require.Equal(t, ceremony.Completed, r.approve(t, "demo-cleo", c.ID).State)
	v := r.imported(t, "wrapped")
	require.Equal(t, checkOf(t, value), v.CheckValue)
	require.True(t, v.Import.Inside)
	require.NoError(t, r.engine.Tick(t.Context()))
	require.NotNil(t, row[key.WrappingKey](t, r.rig, custodian.KindWrappingKey, "once").DestroyedAt)
	driver, err := r.Keystore(vault)
	require.NoError(t, err)
	_, err = driver.Find(t.Context(), wrapping.Material.EffectID)
	require.Error(t, err, "the pair is gone from the token")

	list, check := parts(t, 2)
	fresh = newKey("combined")
	fresh["keystore"] = vault
	c = r.propose(t, "demo-ada", "key.import", map[string]any{"new": fresh, "components": componentsOf(list, "demo-ben", "demo-cleo")})
	_, err = r.bringPart(t, "demo-ben", c.ID, 1, list[0].value.Clone())
	require.NoError(t, err)
	done, err := r.bringPart(t, "demo-cleo", c.ID, 2, list[1].value.Clone())
	require.NoError(t, err)
	require.Equal(t, ceremony.Completed, done.State, done.Outcome)
	v = r.imported(t, "combined")
	require.Equal(t, check, v.CheckValue)
	require.True(t, v.Import.Inside)
	requireNoComponent(t, r.engineRig, list)
}
