//go:build cgo

package pkcs11_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	binding "github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/hsmtest"
	"conclave/hsm/keywrap"
	"conclave/hsm/pkcs11"
	"conclave/hsm/secret"
)

// able is a module that takes keys made elsewhere (testdata/able.c): in the two steps of the standard form, or at once.
func able(t *testing.T, atOnce bool) string {
	t.Helper()
	r := theRig(t)
	require.NoError(t, os.Setenv("ABLE_MODULE", softHSM))
	path := filepath.Join(filepath.Dir(r.tokens), fmt.Sprintf("able-%t.so", atOnce))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	arguments := []string{"-shared", "-fPIC", "-O1", "-std=gnu11", "-o", path, "testdata/able.c", "-ldl", "-lpthread"}
	if atOnce {
		arguments = append(arguments, "-DAT_ONCE")
	}
	out, err := exec.Command("cc", arguments...).CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

func ableKeystore(t *testing.T, path, id string) (*pkcs11.Keystore, *secret.Bytes) {
	t.Helper()
	r := theRig(t)
	cfg, activation := r.config(t, id)
	cfg.Module = path
	return r.taken(t, cfg, activation), activation
}

// TestImports holds what a token takes to the contract: both ways of opening the standard form, and components combined
// inside.
func TestImports(t *testing.T) {
	for name, atOnce := range map[string]bool{"in two steps": false, "at once": true} {
		t.Run(name, func(t *testing.T) {
			path := able(t, atOnce)
			hsmtest.RunImports(t, func(t *testing.T) hsmtest.Fixture {
				k, activation := ableKeystore(t, path, "imports")
				for _, form := range hsm.ImportForms() {
					can, takes := k.Capabilities().ImportsBy(form)
					require.True(t, takes, form)
					require.True(t, can.Inside)
				}
				return hsmtest.Fixture{Keystore: k, Activation: activation}
			})
		})
	}
}

// TestSoftHSMTakesNoKeys: OAEP with SHA-1 is not the standard form and does not stand in for it, and SoftHSM combines no
// components. That is known at registration.
func TestSoftHSMTakesNoKeys(t *testing.T) {
	k, activation := theRig(t).keystore(t, "no-imports")
	require.Empty(t, k.Capabilities().Imports)
	require.NoError(t, k.Activate(t.Context(), activation))
	_, err := k.CreateWrapping(t.Context(), "pair", hsm.RSAOAEP4096, "effect-pair")
	require.ErrorIs(t, err, hsm.ErrUnsupported)
	_, err = k.ImportComponents(t.Context(), "key", 1, hsm.AES256, "effect-key", []*secret.Bytes{secret.Random(32), secret.Random(32)})
	require.ErrorIs(t, err, hsm.ErrUnsupported)
}

// TestImportedKeysAreKept: another program sees that a key was not made in the token and that it does not leave it, and of a
// wrapping pair that it unwraps only, and is gone once it was destroyed.
func TestImportedKeysAreKept(t *testing.T) {
	path := able(t, false)
	k, activation := ableKeystore(t, path, "origin")
	require.NoError(t, k.Activate(t.Context(), activation))
	pair, err := k.CreateWrapping(t.Context(), "one", hsm.RSAOAEP3072, "effect-pair")
	require.NoError(t, err)
	again, err := k.CreateWrapping(t.Context(), "one", hsm.RSAOAEP3072, "effect-pair")
	require.NoError(t, err)
	require.Equal(t, pair, again, "an effect is found again")
	key := secret.Random(32)
	defer key.Wipe()
	wrapped, err := keywrap.Wrap(pair.Specification(), pair.Public, key)
	require.NoError(t, err)
	_, err = k.ImportWrapped(t.Context(), "brought", 1, hsm.AES256, "effect-brought", pair, wrapped)
	require.NoError(t, err)
	_, err = k.ImportComponents(t.Context(), "combined", 1, hsm.AES256, "effect-combined", []*secret.Bytes{secret.Random(32), key})
	require.NoError(t, err)
	_, made := sealing(t, k, "made")
	require.NoError(t, sealOnce(t, made))

	tool := func(arguments ...string) (string, error) {
		out, err := exec.Command("pkcs11-tool", append([]string{"--module", softHSM, "--token-label", k.Device().Label, "--login",
			"--pin", pinOf(t, activation, "conclave token user pin v1")}, arguments...)...).CombinedOutput()
		return string(out), err
	}
	out, err := tool("--list-objects")
	require.NoError(t, err, out)
	access := map[string]string{}
	usage := map[string]string{}
	for _, object := range strings.Split(out, "Object;") {
		facts := map[string]string{}
		for _, line := range strings.Split(object, "\n") {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			facts[name] = strings.TrimSpace(value)
		}
		if facts["Access"] != "none" {
			access[facts["label"]], usage[facts["label"]] = facts["Access"], facts["Usage"]
		}
	}
	require.Equal(t, "sensitive, always sensitive, never extractable, local", access["made:1:aes-256"])
	require.Equal(t, "sensitive", access["brought:1:aes-256"], "in the token, and not always there:\n%s", out)
	require.Equal(t, "sensitive", access["combined:1:aes-256"])
	require.Len(t, access, 4+1, "nothing is left of what was examined:\n%s", out) // with both halves of the pair under one label
	for _, label := range []string{"brought:1:aes-256", "combined:1:aes-256"} {
		out, err := tool("--read-object", "--type", "secrkey", "--label", label)
		require.Error(t, err, "the key was read:\n%s", out)
	}
	require.NoError(t, k.Destroy(t.Context(), pair))
	out, err = tool("--list-objects")
	require.NoError(t, err, out)
	require.NotContains(t, out, "import/one")
}

// TestImportOnBadDays: a token that is full, write-protected or hangs imports nothing by halves; the same effect, asked for
// again, comes to one key.
func TestImportOnBadDays(t *testing.T) {
	inner := able(t, false)
	first, err := theShim() // its control file serves this module too
	require.NoError(t, err)
	path := filepath.Join(filepath.Dir(first.path), "shim-able.so")
	data, err := os.ReadFile(first.path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	require.NoError(t, os.Setenv("SHIM_MODULE", inner))
	defer func() { require.NoError(t, os.Setenv("SHIM_MODULE", softHSM)) }()
	s := &shim{path: path, control: first.control}
	r := theRig(t)
	cfg, activation := r.config(t, "import-bad-days")
	cfg.Module, cfg.Sessions, cfg.Deadline = path, 2, 3*time.Second
	k := r.taken(t, cfg, activation)
	require.NoError(t, k.Activate(t.Context(), activation))
	t.Cleanup(func() {
		s.pass(t, unwrapKey)
		s.pass(t, deriveKey)
	})
	pair, err := k.CreateWrapping(t.Context(), "one", hsm.RSAOAEP3072, "effect-pair")
	require.NoError(t, err)
	key := secret.Random(32)
	defer key.Wipe()
	wrapped, err := keywrap.Wrap(pair.Specification(), pair.Public, key)
	require.NoError(t, err)
	imports := func(effect string) (hsm.Material, error) {
		return k.ImportWrapped(t.Context(), "brought", 1, hsm.AES256, effect, pair, wrapped)
	}
	for problem, code := range map[string]uint64{"full": binding.CKR_DEVICE_MEMORY, "write-protected": binding.CKR_TOKEN_WRITE_PROTECTED} {
		s.fails(t, unwrapKey, -1, code)
		_, err := imports("effect-" + problem)
		require.ErrorIs(t, err, hsm.ErrUnavailable)
		require.NotErrorIs(t, err, hsm.ErrUnwrap, "nothing is said of the blob")
		require.ErrorContains(t, err, problem)
		s.pass(t, unwrapKey)
		_, err = k.Find(t.Context(), "effect-"+problem)
		require.ErrorIs(t, err, hsm.ErrNotFound)
	}
	s.hangs(t, unwrapKey)
	_, err = imports("effect-hung")
	require.ErrorIs(t, err, hsm.ErrUnavailable)
	s.pass(t, unwrapKey)
	comes(t, "nothing hangs", func() error { return later(k.Stats().Stuck == 0) })
	made, err := imports("effect-hung")
	require.NoError(t, err)
	found, err := k.Find(t.Context(), "effect-hung")
	require.NoError(t, err, "one object of the effect, whoever made it")
	require.Equal(t, made, found)

	parts := []*secret.Bytes{secret.Random(32), secret.Random(32)}
	s.fails(t, deriveKey, -1, binding.CKR_DEVICE_MEMORY)
	_, err = k.ImportComponents(t.Context(), "combined", 1, hsm.AES256, "effect-combined", parts)
	require.ErrorContains(t, err, "full")
	s.pass(t, deriveKey)
	_, err = k.Find(t.Context(), "effect-combined")
	require.ErrorIs(t, err, hsm.ErrNotFound)
	_, err = k.ImportComponents(t.Context(), "combined", 1, hsm.AES256, "effect-combined", parts)
	require.NoError(t, err, "components stay the caller's")
}
