package dek_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/dek"
	"conclave/hsm"
	"conclave/hsm/soft"
)

// messageInput is what varies from vector to vector.
type messageInput struct {
	name        string
	development bool
	context     map[string]string
	plaintext   []byte
}

func vectorInputs() []messageInput {
	dataKey := make([]byte, 32)
	_, _ = rand.Read(dataKey)
	full := make(map[string]string)
	for i := range dek.MaxContextPairs {
		full[strings.Repeat(string(rune('a'+i)), dek.MaxContextName-i)] = strings.Repeat("v", dek.MaxContextValue-i)
	}
	return []messageInput{
		{"data key without context", false, nil, dataKey},
		{"development mark", true, map[string]string{"tenant": "north"}, dataKey},
		{"several pairs, one value empty", false, map[string]string{"table": "cards", "row": "4711", "b": "", "ab": "c", "a": "bc"}, dataKey},
		{"context of UTF-8", false, map[string]string{"пациент": "№ 7", "é": "e\u0301"}, []byte("grüße")},
		{"context at every bound", false, full, []byte("x")},
		{"empty plaintext", false, map[string]string{"file": ""}, nil},
		{"thousand bytes", false, map[string]string{"file": "a.bin"}, bytes.Repeat([]byte("0123456789"), 100)},
	}
}

// writeVectors makes keys and messages with the product and takes the intermediate values from the
// reference functions, so that both sides must agree before a vector is ever written.
func writeVectors(t *testing.T) {
	t.Helper()
	activation, verifier, err := soft.NewActivation()
	require.NoError(t, err)
	k := keystoreCase{KeystoreID: "vectors", Verifier: hex.EncodeToString(verifier)}
	require.NoError(t, activation.Use(func(b []byte) error {
		k.Activation = hex.EncodeToString(b)
		return nil
	}))
	k.VerifierKey = hex.EncodeToString(expand(t, unhex(t, k.Activation), nil, "conclave software keystore verifier key v1"))
	k.WrappingKey = hex.EncodeToString(expand(t, unhex(t, k.Activation), nil, "conclave software keystore wrapping key v1"))
	keystore := openKeystore(t, k)
	k.Versions = append(k.Versions,
		makeVersion(t, keystore, k, "k", 1, vectorInputs()[:1]),
		makeVersion(t, keystore, k, "card-data.2026_eu", 3, vectorInputs()),
		makeVersion(t, keystore, k, strings.Repeat("0a.b_c-d", 8), 4294967295, vectorInputs()[1:2]))
	file := vectorFile{
		Note:      "Test keys, published on purpose: never use them. docs/wire-formats.md describes the fields.",
		Keystores: []keystoreCase{k},
	}
	encoded, err := json.MarshalIndent(file, "", "  ")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.FromSlash(vectorsPath), append(encoded, '\n'), 0o644))
}

func makeVersion(t *testing.T, keystore *soft.Keystore, k keystoreCase, key string, version uint32, inputs []messageInput) versionCase {
	t.Helper()
	material, err := keystore.Create(t.Context(), key, version, hsm.AES256, "vector")
	require.NoError(t, err)
	handle, err := keystore.Open(t.Context(), material)
	require.NoError(t, err)
	defer handle.Close()
	sealer, err := hsm.As[hsm.Sealer](handle)
	require.NoError(t, err)
	aad := referenceBlobAAD(k.KeystoreID, key, version)
	v := versionCase{
		Key: key, Version: version, CheckValue: material.CheckValue,
		BlobAAD: hex.EncodeToString(aad), Blob: hex.EncodeToString(material.Blob),
		VersionKey: hex.EncodeToString(gcmOpen(t, unhex(t, k.WrappingKey), material.Blob[1:], aad)),
	}
	for i, input := range inputs {
		v.Messages = append(v.Messages, makeMessage(t, v, sealer, i, input))
	}
	return v
}

func makeMessage(t *testing.T, v versionCase, handle hsm.Sealer, i int, input messageInput) messageCase {
	t.Helper()
	header := dek.Header{
		Development: input.development, Algorithm: handle.Algorithm(), Key: v.Key, Version: v.Version,
		ProtectedAt: time.Date(2026, 11, 23, 12, 0, i, 123_000_000, time.UTC),
	}
	_, _ = rand.Read(header.Instance[:])
	ct := dek.AppendHeader(nil, header)
	headerBytes := bytes.Clone(ct)
	ct, err := handle.Seal(t.Context(), ct, input.plaintext, dek.AAD(nil, headerBytes, dek.HashContext(input.context)))
	require.NoError(t, err)
	salt := ct[len(headerBytes) : len(headerBytes)+32]
	return messageCase{
		Name: input.name, Development: input.development, Algorithm: uint8(header.Algorithm),
		Instance: hex.EncodeToString(header.Instance[:]), ProtectedAt: header.ProtectedAt.Format(time.RFC3339Nano),
		Context: input.context, ContextHash: hex.EncodeToString(referenceContextHash(input.context)),
		Header: hex.EncodeToString(headerBytes), Ciphertext: hex.EncodeToString(ct), Plaintext: hex.EncodeToString(input.plaintext),
		MessageKey: hex.EncodeToString(expand(t, unhex(t, v.VersionKey), salt, "conclave message key v1")),
	}
}
