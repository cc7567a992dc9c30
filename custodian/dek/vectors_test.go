package dek_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/dek"
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/hsm/soft"
)

// -update makes new vectors. The format is frozen: use it only to add a format, never to make a test pass.
var update = flag.Bool("update", false, "write new test vectors")

// vectorFile is testdata/vectors.json; docs/wire-formats.md describes its fields. Bytes are hexadecimal.
type vectorFile struct {
	Note      string         `json:"note"`
	Keystores []keystoreCase `json:"keystores"`
}

type keystoreCase struct {
	KeystoreID  string        `json:"keystore_id"`
	Activation  string        `json:"activation_secret"`
	VerifierKey string        `json:"verifier_key"`
	Verifier    string        `json:"verifier"`
	WrappingKey string        `json:"wrapping_key"`
	Versions    []versionCase `json:"versions"`
}

type versionCase struct {
	Key        string        `json:"key"`
	Version    uint32        `json:"version"`
	BlobAAD    string        `json:"blob_aad"`
	Blob       string        `json:"blob"`
	VersionKey string        `json:"version_key"`
	CheckValue string        `json:"check_value"`
	Messages   []messageCase `json:"messages"`
}

type messageCase struct {
	Name        string            `json:"name"`
	Development bool              `json:"development"`
	Algorithm   uint8             `json:"algorithm"`
	Instance    string            `json:"instance"`
	ProtectedAt string            `json:"protected_at"`
	Context     map[string]string `json:"context"`
	ContextHash string            `json:"context_hash"`
	Header      string            `json:"header"`
	MessageKey  string            `json:"message_key"`
	Ciphertext  string            `json:"ciphertext"`
	Plaintext   string            `json:"plaintext"`
}

const vectorsPath = "testdata/vectors.json"

// TestVectors opens the stored ciphertexts twice: by the product, and by the reference functions below,
// which follow docs/wire-formats.md and share no code with it.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	stored, err := os.ReadFile(filepath.FromSlash(vectorsPath))
	require.NoError(t, err)
	var file vectorFile
	require.NoError(t, json.Unmarshal(stored, &file))
	require.NotEmpty(t, file.Keystores)
	for _, k := range file.Keystores {
		keystore := openKeystore(t, k)
		reference := referenceKeystore(t, k)
		for _, v := range k.Versions {
			requireVersion(t, k, v, reference)
			handle, err := keystore.Open(t.Context(), hsm.Material{Key: v.Key, Version: v.Version, Blob: unhex(t, v.Blob), CheckValue: v.CheckValue})
			require.NoError(t, err)
			sealer, err := hsm.As[hsm.Sealer](handle)
			require.NoError(t, err)
			require.NotEmpty(t, v.Messages)
			for _, m := range v.Messages {
				t.Run(k.KeystoreID+"/"+v.Key+"/"+m.Name, func(t *testing.T) {
					requireOpens(t, v, m, sealer)
					requireReferenceOpens(t, v, m)
				})
			}
		}
	}
}

func openKeystore(t *testing.T, k keystoreCase) *soft.Keystore {
	t.Helper()
	keystore, err := soft.New(soft.Config{ID: k.KeystoreID, Verifier: unhex(t, k.Verifier)})
	require.NoError(t, err)
	require.NoError(t, keystore.Activate(t.Context(), secret.New(unhex(t, k.Activation))))
	return keystore
}

// requireOpens is the product's way: parse, authenticate, open.
func requireOpens(t *testing.T, v versionCase, m messageCase, handle hsm.Sealer) {
	t.Helper()
	header, headerBytes, body, err := dek.Parse(unhex(t, m.Ciphertext))
	require.NoError(t, err)
	require.NoError(t, dek.ValidateContext(m.Context))
	protectedAt, err := time.Parse(time.RFC3339Nano, m.ProtectedAt)
	require.NoError(t, err)
	want := dek.Header{
		Development: m.Development, Algorithm: hsm.Algorithm(m.Algorithm),
		Key: v.Key, Version: v.Version, ProtectedAt: protectedAt,
	}
	copy(want.Instance[:], unhex(t, m.Instance))
	require.Equal(t, want, header)
	require.Equal(t, m.Header, hex.EncodeToString(headerBytes))
	plaintext, err := handle.Open(t.Context(), nil, body, dek.AAD(nil, headerBytes, dek.HashContext(m.Context)))
	require.NoError(t, err)
	require.Equal(t, m.Plaintext, hex.EncodeToString(plaintext))
}

// referenceKeystore derives the two keys of a keystore from its activation secret and checks its verifier.
func referenceKeystore(t *testing.T, k keystoreCase) (wrappingKey []byte) {
	t.Helper()
	verifierKey := expand(t, unhex(t, k.Activation), nil, "conclave software keystore verifier key v1")
	require.Equal(t, k.VerifierKey, hex.EncodeToString(verifierKey))
	mac := hmac.New(sha256.New, verifierKey)
	mac.Write([]byte("conclave software keystore verifier v1"))
	require.Equal(t, k.Verifier, "01"+hex.EncodeToString(mac.Sum(nil)))
	wrappingKey = expand(t, unhex(t, k.Activation), nil, "conclave software keystore wrapping key v1")
	require.Equal(t, k.WrappingKey, hex.EncodeToString(wrappingKey))
	return wrappingKey
}

func requireVersion(t *testing.T, k keystoreCase, v versionCase, wrappingKey []byte) {
	t.Helper()
	require.Equal(t, v.BlobAAD, hex.EncodeToString(referenceBlobAAD(k.KeystoreID, v.Key, v.Version)))
	blob := unhex(t, v.Blob)
	require.Len(t, blob, 61)
	require.EqualValues(t, 1, blob[0])
	require.Equal(t, v.VersionKey, hex.EncodeToString(gcmOpen(t, wrappingKey, blob[1:], unhex(t, v.BlobAAD))))
}

func referenceBlobAAD(keystore, key string, version uint32) []byte {
	aad := []byte("conclave software keystore blob v1")
	aad = append(append(aad, byte(len(keystore))), keystore...)
	aad = append(append(aad, byte(len(key))), key...)
	return binary.BigEndian.AppendUint32(aad, version)
}

// requireReferenceOpens is the stranger's way, from the version key and the documented bytes.
func requireReferenceOpens(t *testing.T, v versionCase, m messageCase) {
	t.Helper()
	ct := unhex(t, m.Ciphertext)
	header := ct[:36+int(ct[35])]
	body := ct[len(header):]
	require.Equal(t, m.Header, hex.EncodeToString(header))
	require.Equal(t, m.ContextHash, hex.EncodeToString(referenceContextHash(m.Context)))
	messageKey := expand(t, unhex(t, v.VersionKey), body[:32], "conclave message key v1")
	require.Equal(t, m.MessageKey, hex.EncodeToString(messageKey))
	aad := slices.Concat(header, unhex(t, m.ContextHash))
	require.Equal(t, m.Plaintext, hex.EncodeToString(gcmOpen(t, messageKey, body[32:], aad)))
}

func referenceContextHash(context map[string]string) []byte {
	var pairs []string
	for name, value := range context {
		pairs = append(pairs, lengthAndBytes(name)+lengthAndBytes(value))
	}
	// Names sort by their bytes, not by their lengths, hence the skip over the length.
	slices.SortFunc(pairs, func(a, b string) int { return strings.Compare(nameOf(a), nameOf(b)) })
	count := binary.BigEndian.AppendUint32(nil, uint32(len(pairs)))
	digest := sha256.Sum256([]byte("conclave encryption context v1" + string(count) + strings.Join(pairs, "")))
	return digest[:]
}

func lengthAndBytes(s string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s
}

func nameOf(pair string) string { return pair[4 : 4+binary.BigEndian.Uint32([]byte(pair))] }

func expand(t *testing.T, key, salt []byte, info string) []byte {
	t.Helper()
	out, err := hkdf.Key(sha256.New, key, salt, info, 32)
	require.NoError(t, err)
	return out
}

// gcmOpen opens nonce(12) ‖ ciphertext ‖ tag(16); this constructor is the one that FIPS-only mode has.
func gcmOpen(t *testing.T, key, message, aad []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	aead, err := cipher.NewGCMWithRandomNonce(block)
	require.NoError(t, err)
	plaintext, err := aead.Open(nil, nil, message, aad)
	require.NoError(t, err)
	return plaintext
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}
