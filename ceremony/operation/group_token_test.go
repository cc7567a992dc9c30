//go:build cgo

package operation_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/key"
	"conclave/hsm"
	"conclave/hsm/pkcs11"
)

// tokensIn makes SoftHSM tokens that are keystores of the rig, each taken over and active, and returns where each is kept.
func (r *engineRig) tokensIn(t *testing.T, names ...string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	tokens, config, soPIN := filepath.Join(dir, "tokens"), filepath.Join(dir, "softhsm2.conf"), filepath.Join(dir, "so-pin")
	require.NoError(t, os.Mkdir(tokens, 0o700))
	require.NoError(t, os.WriteFile(config, []byte("directories.tokendir = "+tokens+"\nlog.level = ERROR\n"), 0o600))
	require.NoError(t, os.WriteFile(soPIN, []byte("first-so-pin"), 0o600))
	t.Setenv("SOFTHSM2_CONF", config)
	dirs, known := map[string]string{}, map[string]bool{}
	for _, name := range names {
		out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", name, "--so-pin", "first-so-pin", "--pin", "operators-pin").CombinedOutput()
		require.NoError(t, err, string(out))
		list, err := os.ReadDir(tokens)
		require.NoError(t, err)
		for _, e := range list {
			if !known[e.Name()] {
				known[e.Name()], dirs[name] = true, filepath.Join(tokens, e.Name())
			}
		}
	}
	modules := pkcs11.NewModules()
	for _, name := range names {
		activation, verifier, err := pkcs11.NewActivation()
		require.NoError(t, err)
		t.Cleanup(activation.Wipe)
		driver, err := pkcs11.New(pkcs11.Config{ID: name, Verifier: verifier, Modules: modules, Module: "/usr/lib/softhsm/libsofthsm2.so",
			Token: hsm.Device{Label: name}, Sessions: 4, SOPINFile: soPIN})
		require.NoError(t, err)
		require.NoError(t, driver.Initialise(t.Context(), activation))
		t.Cleanup(func() { _ = driver.Deactivate(t.Context()) })
		require.NoError(t, r.Service.AddKeystore(name, driver))
		ks := *r.keystore(t)
		ks.ID, ks.Verifier, ks.ShareSet, ks.Driver = name, verifier, "", pkcs11.Driver
		ks.Token = &key.Token{Module: "softhsm", Device: driver.Device(), InitialisedAt: &ks.RegisteredAt}
		ks.SetFacts(driver)
		r.Put(t, custodian.KindKeystore, name, ks)
	}
	return dirs
}

// TestGroupOfTokens: two tokens of SoftHSM are one keystore. Forming it is cut off and comes to the same; one token is pulled
// out while applications call; no answer is wrong and none is missing; what it then lacks is sent to it, wrapped; the check
// values that both compute are equal.
func TestGroupOfTokens(t *testing.T) {
	r := newEngineRig(t)
	dirs := r.tokensIn(t, "north", "south")
	create := op(t, "group.create").(operation.Effectful)
	in := r.input(t, human("demo-cleo"), newGroup("north", "south"))
	first, err := create.Effect(t.Context(), r.env, in, "e-group", nil)
	require.NoError(t, err)
	again, found, err := create.Recover(t.Context(), r.env, in, "e-group")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, first, again, "the same pairs")
	require.NoError(t, create.Undo(t.Context(), r.env, in, first))
	require.NoError(t, create.Undo(t.Context(), r.env, in, first))
	c := r.decided(t, "demo-cleo", "group.create", newGroup("north", "south"), "demo-ada", "demo-ben")
	require.Equal(t, ceremony.Completed, c.State, c.Outcome)
	require.Equal(t, []hsm.Spec{hsm.AES256, hsm.HMACSHA256, hsm.HMACSHA384, hsm.HMACSHA512}, r.groupRow(t).Capabilities.Specs)
	require.Equal(t, 152, r.grouped(t, "orders").StrengthBits, "as strong as what it travels under")
	r.even(t, 1)
	sealed, err := r.use(t, "orders")
	require.NoError(t, err)

	elsewhere := filepath.Join(t.TempDir(), "pulled-out")
	wrong := make(chan error, 3)
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			for range 60 {
				used, err := r.Use(t.Context(), r.App, custodian.Use{Operation: access.Decrypt, Ciphertext: sealed})
				if err != nil || len(used.Plaintext) != 32 {
					wrong <- fmt.Errorf("%d bytes: %w", len(used.Plaintext), err)
					return
				}
			}
		})
	}
	require.NoError(t, os.Rename(dirs["north"], elsewhere))
	require.NoError(t, r.decrypt(t, sealed))
	group.Wait()
	close(wrong)
	for err := range wrong {
		require.NoError(t, err)
	}
	require.NoError(t, os.Rename(elsewhere, dirs["north"]))

	// The token lost a key: its maintenance shows it, and it is sent again.
	v := r.version(t, "orders", 1)
	own, _ := v.Material.In("north")
	require.Eventually(t, func() bool { return r.member(t, "north").Destroy(t.Context(), own) == nil }, time.Minute, 100*time.Millisecond, "once it is found again")
	require.NoError(t, r.decrypt(t, sealed), "the other still has it")
	r.propose(t, "demo-cleo", "group.drain", inGroup("north"))
	u := r.decided(t, "demo-cleo", "group.undrain", inGroup("north"), "demo-ada", "demo-ben")
	require.Contains(t, string(u.Result), `"wrong":1`)
	require.Equal(t, 1, custodian.Degraded(r.View())[theGroup])
	require.True(t, r.resync(t))
	r.even(t, 1)
	require.NoError(t, r.member(t, "south").Deactivate(t.Context()))
	require.NoError(t, r.decrypt(t, sealed), "by the token that was given it again")
}
