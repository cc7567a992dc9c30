package activate_test

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/activate"
	"conclave/hsm/secret"
)

func counting() *secret.Bytes {
	b := make([]byte, activate.Bytes)
	for i := range b {
		b[i] = byte(i)
	}
	return secret.New(b)
}

func software() activate.Commitment {
	return activate.Commitment{Label: "conclave software keystore verifier key v1", Text: "conclave software keystore verifier v1"}
}

func token() activate.Commitment {
	return activate.Commitment{Label: "conclave token verifier key v1", Text: "conclave token verifier v1"}
}

// TestVerifiersOfRecordsStand holds the formats still: records of keystores have these bytes. The values were computed from
// RFC 5869 and RFC 2104 apart from this package.
func TestVerifiersOfRecordsStand(t *testing.T) {
	for verifier, c := range map[string]activate.Commitment{
		"013ad1e9f26684b16b5273e0fdb2b8c3091f69cc0a80bf552555dd09072bcccc26": software(),
		"01ef6ee925b426bb85eb4e05f07ccc936694d550b83613c2c92d77eb88b1d944da": token(),
	} {
		b, err := hex.DecodeString(verifier)
		require.NoError(t, err)
		require.NoError(t, activate.CheckForm(b))
		require.NoError(t, c.Verify(counting(), b), c.Text)
	}
}

func TestOneSecretAndOneKindPassAVerifier(t *testing.T) {
	made, verifier, err := software().New()
	require.NoError(t, err)
	require.NoError(t, software().Verify(made, verifier))
	require.ErrorIs(t, token().Verify(made, verifier), hsm.ErrActivationSecret, "another kind of keystore")
	require.ErrorIs(t, software().Verify(counting(), verifier), hsm.ErrActivationSecret, "another secret")
	require.ErrorIs(t, software().Verify(secret.New([]byte("short")), verifier), hsm.ErrActivationSecret)
	made.Wipe()
	require.ErrorIs(t, software().Verify(made, verifier), hsm.ErrActivationSecret, "a wiped secret")
	for _, bad := range [][]byte{nil, verifier[:len(verifier)-1], append([]byte{2}, verifier[1:]...), append(verifier, 0)} {
		require.ErrorIs(t, activate.CheckForm(bad), hsm.ErrInvalid)
	}
}
