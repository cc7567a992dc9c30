package soft_test

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/keypair"
	"conclave/hsm/secret"
	"conclave/hsm/soft"
)

const vectorsPath = "testdata/specifications.json"

// specFile holds one key of each specification but AES-256, and what it made; docs/wire-formats.md has the fields.
type specFile struct {
	Note       string     `json:"note"`
	KeystoreID string     `json:"keystore_id"`
	Activation string     `json:"activation_secret"`
	Verifier   string     `json:"verifier"`
	Versions   []specCase `json:"versions"`
}

type specCase struct {
	Key        string   `json:"key"`
	Version    uint32   `json:"version"`
	Spec       hsm.Spec `json:"specification"`
	BlobAAD    string   `json:"blob_aad"`
	Blob       string   `json:"blob"`
	VersionKey string   `json:"version_key"`
	Public     string   `json:"public,omitempty"`
	CheckValue string   `json:"check_value"`
	Message    string   `json:"message"`
	Hash       hsm.Hash `json:"hash,omitempty"`
	// Result: MAC or signature of the message, or its OAEP ciphertext under an empty label.
	Result string `json:"result"`
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

// Every published key opens by the product and by functions that follow the page alone, and what it made is right by
// both. UPDATE_VECTORS=1 writes new ones.
func TestVectorsOfSpecifications(t *testing.T) {
	if os.Getenv("UPDATE_VECTORS") != "" {
		writeSpecVectors(t)
	}
	raw, err := os.ReadFile(vectorsPath)
	require.NoError(t, err)
	var file specFile
	require.NoError(t, json.Unmarshal(raw, &file))
	require.Len(t, file.Versions, len(hsm.Specs())-1)
	keystore, err := soft.New(soft.Config{ID: file.KeystoreID, Verifier: unhex(t, file.Verifier)})
	require.NoError(t, err)
	require.NoError(t, keystore.Activate(t.Context(), secret.New(unhex(t, file.Activation))))
	for _, v := range file.Versions {
		t.Run(string(v.Spec), func(t *testing.T) {
			h, err := keystore.Open(t.Context(), hsm.Material{Key: v.Key, Version: v.Version, Spec: v.Spec, Blob: unhex(t, v.Blob), CheckValue: v.CheckValue})
			require.NoError(t, err)
			requireResult(t, h, v)
			versionKey := referenceUnwrap(t, file, v)
			require.Equal(t, v.VersionKey, hex.EncodeToString(versionKey))
			requireReference(t, v, versionKey)
		})
	}
}

// requireResult holds the product to the published result.
func requireResult(t *testing.T, h hsm.Handle, v specCase) {
	t.Helper()
	message, result := []byte(v.Message), unhex(t, v.Result)
	switch use := h.(type) {
	case hsm.MACer:
		valid, err := use.VerifyMAC(t.Context(), message, result)
		require.NoError(t, err)
		require.True(t, valid)
	case hsm.Signer:
		public, err := keypair.ParsePublic(v.Spec, unhex(t, v.Public))
		require.NoError(t, err)
		valid, err := public.Verify(v.Hash, v.Hash.Sum(nil, message), result)
		require.NoError(t, err)
		require.True(t, valid)
	case hsm.Decrypter:
		plaintext, err := use.Decrypt(t.Context(), nil, result, nil)
		require.NoError(t, err)
		require.Equal(t, v.Message, string(plaintext))
	}
}

// referenceAAD is blob_aad of a format 2 blob, from the page.
func referenceAAD(keystoreID string, v specCase) []byte {
	aad := []byte("conclave software keystore blob v2")
	aad = append(append(aad, byte(len(keystoreID))), keystoreID...)
	aad = append(append(aad, byte(len(v.Key))), v.Key...)
	aad = binary.BigEndian.AppendUint32(aad, v.Version)
	return append(append(aad, byte(len(v.Spec))), v.Spec...)
}

func referenceUnwrap(t *testing.T, file specFile, v specCase) []byte {
	t.Helper()
	wrapping, err := hkdf.Key(sha256.New, unhex(t, file.Activation), nil, "conclave software keystore wrapping key v1", 32)
	require.NoError(t, err)
	block, err := aes.NewCipher(wrapping)
	require.NoError(t, err)
	gcm, err := cipher.NewGCMWithRandomNonce(block) // opens nonce ‖ wrapped key ‖ tag
	require.NoError(t, err)
	aad, blob := referenceAAD(file.KeystoreID, v), unhex(t, v.Blob)
	require.Equal(t, v.BlobAAD, hex.EncodeToString(aad))
	require.EqualValues(t, 2, blob[0])
	out, err := gcm.Open(nil, nil, blob[1:], aad)
	require.NoError(t, err)
	return out
}

// requireReference holds check value and result to the standard library alone.
func requireReference(t *testing.T, v specCase, versionKey []byte) {
	t.Helper()
	message, result := []byte(v.Message), unhex(t, v.Result)
	if functions := map[hsm.Spec]func() hash.Hash{hsm.HMACSHA256: sha256.New, hsm.HMACSHA384: sha512.New384, hsm.HMACSHA512: sha512.New}; functions[v.Spec] != nil {
		sum := func(m []byte) []byte {
			mac := hmac.New(functions[v.Spec], versionKey)
			mac.Write(m)
			return mac.Sum(nil)
		}
		require.Equal(t, result, sum(message))
		require.Equal(t, v.CheckValue, strings.ToUpper(hex.EncodeToString(sum([]byte("conclave check value v1"))[:5])))
		return
	}
	key, err := x509.ParsePKCS8PrivateKey(versionKey)
	require.NoError(t, err)
	public := key.(crypto.Signer).Public()
	spki, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	require.Equal(t, v.Public, hex.EncodeToString(spki))
	sum := sha256.Sum256(spki)
	require.Equal(t, v.CheckValue, strings.ToUpper(hex.EncodeToString(sum[:5])))
	digest256, digest384 := sha256.Sum256(message), sha512.Sum384(message)
	switch v.Spec {
	case hsm.ECDSAP256:
		require.True(t, ecdsa.VerifyASN1(public.(*ecdsa.PublicKey), digest256[:], result))
	case hsm.ECDSAP384:
		require.True(t, ecdsa.VerifyASN1(public.(*ecdsa.PublicKey), digest384[:], result))
	case hsm.Ed25519:
		require.True(t, ed25519.Verify(public.(ed25519.PublicKey), message, result))
	case hsm.RSAPSS3072, hsm.RSAPSS4096:
		require.NoError(t, rsa.VerifyPSS(public.(*rsa.PublicKey), crypto.SHA256, digest256[:], result, &rsa.PSSOptions{SaltLength: 32}))
	case hsm.RSAPKCS13072, hsm.RSAPKCS14096:
		require.NoError(t, rsa.VerifyPKCS1v15(public.(*rsa.PublicKey), crypto.SHA256, digest256[:], result))
	default:
		plaintext, err := rsa.DecryptOAEP(sha256.New(), rand.Reader, key.(*rsa.PrivateKey), result, nil)
		require.NoError(t, err)
		require.Equal(t, v.Message, string(plaintext))
	}
}

// writeSpecVectors makes new vectors with the product; the test that follows holds them to the reference.
func writeSpecVectors(t *testing.T) {
	t.Helper()
	activation, verifier, err := soft.NewActivation()
	require.NoError(t, err)
	file := specFile{Note: "Test keys, published on purpose: never use them. docs/wire-formats.md describes the fields.",
		KeystoreID: "vectors", Verifier: hex.EncodeToString(verifier)}
	require.NoError(t, activation.Use(func(b []byte) error { file.Activation = hex.EncodeToString(b); return nil }))
	keystore, err := soft.New(soft.Config{ID: file.KeystoreID, Verifier: verifier})
	require.NoError(t, err)
	require.NoError(t, keystore.Activate(t.Context(), activation))
	for i, spec := range hsm.Specs()[1:] {
		m, err := keystore.Create(t.Context(), "invoices", uint32(i+1), spec, "vector")
		require.NoError(t, err)
		v := specCase{Key: m.Key, Version: m.Version, Spec: spec, Blob: hex.EncodeToString(m.Blob), Public: hex.EncodeToString(m.Public),
			CheckValue: m.CheckValue, Message: "the contract"}
		v.BlobAAD = hex.EncodeToString(referenceAAD(file.KeystoreID, v))
		v.VersionKey = hex.EncodeToString(referenceUnwrap(t, file, v))
		h, err := keystore.Open(t.Context(), m)
		require.NoError(t, err)
		v.Hash, v.Result = makeResult(t, h, m, v.Message)
		file.Versions = append(file.Versions, v)
	}
	encoded, err := json.MarshalIndent(file, "", "  ")
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll("testdata", 0o755))
	require.NoError(t, os.WriteFile(vectorsPath, append(encoded, '\n'), 0o644))
}

func makeResult(t *testing.T, h hsm.Handle, m hsm.Material, message string) (hsm.Hash, string) {
	t.Helper()
	var out []byte
	var hash hsm.Hash
	var err error
	switch use := h.(type) {
	case hsm.MACer:
		out, err = use.MAC(t.Context(), nil, []byte(message))
	case hsm.Signer:
		if hashes := m.Spec.Hashes(); len(hashes) > 0 {
			hash = hashes[0]
		}
		out, err = use.Sign(t.Context(), nil, hash, hash.Sum(nil, []byte(message)))
	case hsm.Decrypter:
		var public *keypair.Public
		public, err = keypair.ParsePublic(m.Spec, m.Public)
		require.NoError(t, err)
		out, err = public.Encrypt([]byte(message), nil)
	}
	require.NoError(t, err)
	return hash, hex.EncodeToString(out)
}
