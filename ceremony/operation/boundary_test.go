package operation_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/soft"
)

// TestInvariant05_KeyMaterialStaysInsideTheKeystore: what operations leave outside is of use only to the keystore
// that made it, while it is active; and the secret that activates it is nowhere.
func TestInvariant05_KeyMaterialStaysInsideTheKeystore(t *testing.T) {
	r := newRig(t)
	r.run(t, "key.rotate", human("demo-ada"), map[string]any{"key": custodiantest.KeyID, "reason": "test"})
	v := r.version(t, custodiantest.KeyID, 2)
	handle, err := r.Soft.Open(t.Context(), v.Material)
	require.NoError(t, err)
	defer handle.Close()

	activation, verifier, err := soft.NewActivation()
	require.NoError(t, err)
	defer activation.Wipe()
	other, err := soft.New(soft.Config{ID: custodiantest.KeystoreID, Verifier: verifier})
	require.NoError(t, err)
	require.NoError(t, other.Activate(t.Context(), activation))
	_, err = other.Open(t.Context(), v.Material)
	require.Error(t, err, "another activation secret opens nothing")

	require.NoError(t, r.Activation.Use(func(root []byte) error {
		spellings := [][]byte{root, []byte(hex.EncodeToString(root)), []byte(base64.StdEncoding.EncodeToString(root)), []byte(base64.RawURLEncoding.EncodeToString(root))}
		for _, kind := range []store.Kind{custodian.KindKeystore, custodian.KindKey, custodian.KindKeyVersion, custodian.KindShareSet, custodian.KindShare} {
			for row := range r.View().List(kind) {
				for _, s := range spellings {
					require.False(t, bytes.Contains(row.Body, s), "%s %s", kind, row.ID)
				}
			}
		}
		return r.Store.ReadEntries(t.Context(), 0, r.View().Head().Size, func(seq uint64, raw []byte) error {
			for _, s := range spellings {
				require.False(t, bytes.Contains(raw, s), "entry %d", seq)
			}
			return nil
		})
	}))

	require.NoError(t, r.Soft.Deactivate(t.Context()))
	_, err = r.Soft.Open(t.Context(), v.Material)
	require.ErrorIs(t, err, hsm.ErrInactive)
	sealer, err := hsm.As[hsm.Sealer](handle)
	require.NoError(t, err)
	_, err = sealer.Seal(t.Context(), nil, []byte("x"), nil)
	require.ErrorIs(t, err, hsm.ErrInactive)
	require.Equal(t, key.Active, v.State)
}
