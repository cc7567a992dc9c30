//go:build cgo

package pkcs11_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
)

// TestOtherToolsSeeTheKeys: OpenSC's tool, in a process of its own, finds in the token what the keystore says is there,
// kept as it says, and gets none of it out.
func TestOtherToolsSeeTheKeys(t *testing.T) {
	r := theRig(t)
	k, activation := r.keystore(t, "seen")
	require.NoError(t, k.Activate(t.Context(), activation))
	_, h := sealing(t, k, "payroll")
	require.NoError(t, sealOnce(t, h))
	pair, err := k.Create(t.Context(), "signing", 2, hsm.ECDSAP256, "effect-pair")
	require.NoError(t, err)
	tool := func(arguments ...string) (string, error) {
		out, err := exec.Command("pkcs11-tool", append([]string{"--module", softHSM, "--token-label", k.Device().Label, "--login",
			"--pin", pinOf(t, activation, "conclave token user pin v1")}, arguments...)...).CombinedOutput()
		return string(out), err
	}
	out, err := tool("--list-objects")
	require.NoError(t, err, out)
	for label, kind := range map[string]string{"payroll:1:aes-256": "Secret Key Object; AES length 32", "signing:2:ecdsa-p256": "Private Key Object; EC"} {
		_, object, found := strings.Cut(out, kind)
		require.True(t, found, "%s in\n%s", kind, out)
		object, _, _ = strings.Cut(object, "Object;")
		require.Contains(t, object, label)
		require.Contains(t, object, "sensitive, always sensitive, never extractable, local")
	}
	require.Contains(t, out, fmt.Sprintf("%x", pair.Blob[1:]), "the id in the record is the object's")
	out, err = tool("--read-object", "--type", "secrkey", "--label", "payroll:1:aes-256")
	require.Error(t, err, "the key was read:\n%s", out)
}
