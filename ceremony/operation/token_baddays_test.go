//go:build cgo

package operation_test

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/custodian"
	"conclave/custodian/key"
)

// A token that is away when a quorum is complete costs nobody's approval: the ceremony says what it waits for, and is done
// once the token is back. A key that others deleted is lost alone, by name.
func TestTokenOnBadDays(t *testing.T) {
	r := newTokenRig(t)
	r.vaulted(t, vaultKey)
	r.vaulted(t, "doomed")
	_, err := r.use(t, "doomed")
	require.NoError(t, err)

	tokens := filepath.Join(filepath.Dir(os.Getenv("SOFTHSM2_CONF")), "tokens")
	list, err := os.ReadDir(tokens)
	require.NoError(t, err)
	require.Len(t, list, 1)
	here, away := filepath.Join(tokens, list[0].Name()), filepath.Join(t.TempDir(), "pulled-out")
	fresh := newKey("late")
	fresh["keystore"] = vault
	c := r.propose(t, "demo-ada", "key.create", fresh)
	r.approve(t, "demo-ben", c.ID)
	require.NoError(t, os.Rename(here, away))
	c = r.approve(t, "demo-cleo", c.ID)
	require.Equal(t, ceremony.Executing, c.State, "the approval counts")
	require.Contains(t, r.engine.Stalled(c.ID), "no such token")
	_, err = r.use(t, vaultKey)
	require.ErrorContains(t, err, "unavailable")
	require.NoError(t, os.Rename(away, here))
	require.Eventually(t, func() bool {
		_ = r.engine.Tick(t.Context()) // what can not be recovered now is tried again by the next
		c, err = r.engine.Get(c.ID)
		return err == nil && c.State == ceremony.Completed
	}, 2*time.Minute, 200*time.Millisecond)
	require.Empty(t, r.engine.Stalled(c.ID))
	require.Equal(t, key.Active, r.version(t, "late", 1).State)

	activation := r.combineOf(t, 1, 1, 2, 3)
	defer activation.Wipe()
	var pin string
	require.NoError(t, activation.Use(func(b []byte) error {
		raw, err := hkdf.Key(sha256.New, b, nil, "conclave token user pin v1", 32)
		pin = base64.RawURLEncoding.EncodeToString(raw)
		return err
	}))
	out, err := exec.Command("pkcs11-tool", "--module", "/usr/lib/softhsm/libsofthsm2.so", "--token-label", "conclave", "--login", "--pin", pin,
		"--delete-object", "--type", "secrkey", "--label", "doomed:1:aes-256").CombinedOutput()
	require.NoError(t, err, string(out))
	_, err = r.use(t, "doomed")
	require.ErrorIs(t, err, custodian.ErrKeystore)
	_, err = r.use(t, vaultKey)
	require.NoError(t, err, "others go on")
}
