//go:build cgo

package group_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/pkcs11"
	"conclave/hsm/secret"
)

const firstSOPIN = "first-so-pin"

// tokenPair is a pair of SoftHSM tokens, and the directory of each.
func tokenPair(t *testing.T, id string) (*pair, map[string]string) {
	t.Helper()
	dir := t.TempDir()
	tokens, config, soPIN := filepath.Join(dir, "tokens"), filepath.Join(dir, "softhsm2.conf"), filepath.Join(dir, "so-pin")
	require.NoError(t, os.Mkdir(tokens, 0o700))
	require.NoError(t, os.WriteFile(config, []byte("directories.tokendir = "+tokens+"\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600))
	require.NoError(t, os.WriteFile(soPIN, []byte(firstSOPIN), 0o600))
	t.Setenv("SOFTHSM2_CONF", config)
	modules, drivers, secrets, dirs := pkcs11.NewModules(), map[string]hsm.Member{}, map[string]*secret.Bytes{}, map[string]string{}
	for _, name := range []string{"a", "b"} {
		out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", name, "--so-pin", firstSOPIN, "--pin", "operators-pin").CombinedOutput()
		require.NoError(t, err, string(out))
		list, err := os.ReadDir(tokens)
		require.NoError(t, err)
		for _, e := range list {
			if path := filepath.Join(tokens, e.Name()); path != dirs["a"] {
				dirs[name] = path
			}
		}
	}
	for _, name := range []string{"a", "b"} {
		activation, verifier, err := pkcs11.NewActivation()
		require.NoError(t, err)
		t.Cleanup(activation.Wipe)
		k, err := pkcs11.New(pkcs11.Config{ID: id + "-" + name, Verifier: verifier, Modules: modules, Module: "/usr/lib/softhsm/libsofthsm2.so",
			Token: hsm.Device{Label: name}, Sessions: 4, SOPINFile: soPIN})
		require.NoError(t, err)
		require.NoError(t, k.Initialise(t.Context(), activation))
		t.Cleanup(func() { _ = k.Deactivate(t.Context()) })
		drivers[name], secrets[name] = k, activation
	}
	return newPair(t, id, drivers, secrets, "a", "b"), dirs
}

// TestTokenGroup: two tokens of SoftHSM are one keystore. One is pulled out under load, loses its keys, and is given them
// again, wrapped; the check values are those that it computes itself.
func TestTokenGroup(t *testing.T) {
	p, dirs := tokenPair(t, "token-pair")
	lives(t, p)
	require.Equal(t, []hsm.Spec{hsm.AES256, hsm.HMACSHA256, hsm.HMACSHA384, hsm.HMACSHA512}, p.Capabilities().Specs)
	t.Run("one pulled out under load", func(t *testing.T) {
		elsewhere := filepath.Join(t.TempDir(), "pulled-out")
		underLoad(t, p, 3, 150,
			func() { require.NoError(t, os.Rename(dirs["a"], elsewhere)) },
			func() { require.NoError(t, os.Rename(elsewhere, dirs["a"])) })
	})
	t.Run("MACs", func(t *testing.T) {
		var m hsm.Material
		require.Eventually(t, func() bool { // once the token that was away is asked again
			var err error
			m, err = p.Create(t.Context(), "macs", 1, hsm.HMACSHA256, "effect of macs")
			return err == nil
		}, time.Minute, 100*time.Millisecond)
		h, err := p.Open(t.Context(), m)
		require.NoError(t, err)
		defer h.Close()
		use, err := hsm.As[hsm.MACer](h)
		require.NoError(t, err)
		mac, err := use.MAC(t.Context(), nil, []byte("message"))
		require.NoError(t, err)
		require.NoError(t, p.driver("a").Deactivate(t.Context()))
		right, err := use.VerifyMAC(t.Context(), []byte("message"), mac)
		require.NoError(t, err)
		require.True(t, right, "by the other member")
		require.NoError(t, p.driver("a").Activate(t.Context(), p.secrets["a"]))
	})
}
