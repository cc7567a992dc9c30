//go:build cgo

package pkcs11_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	binding "github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/pkcs11"
	"conclave/hsm/secret"
)

// vectors are what docs/wire-formats.md describes, with published test keys; bytes are lower-case hexadecimal.
type vectors struct {
	KeystoreID string `json:"keystore_id"`
	Activation string `json:"activation_secret"`
	Verifier   string `json:"verifier"`
	UserPIN    string `json:"user_pin"`
	SOPIN      string `json:"so_pin"`
	Key        string `json:"key"`
	Version    uint32 `json:"version"`
	EffectID   string `json:"effect_id"`
	ObjectID   string `json:"object_id"`
	Label      string `json:"object_label"`
	Blob       string `json:"blob"`
	VersionKey string `json:"version_key"`
	CheckValue string `json:"check_value"`
	AAD        string `json:"aad"`
	MessageKey string `json:"message_key"`
	Body       string `json:"body"`
	Plaintext  string `json:"plaintext"`
}

const vectorFile = "testdata/vectors.json"

// TestVectors opens what was published, by the product and by functions that follow docs/wire-formats.md alone.
func TestVectors(t *testing.T) {
	data, err := os.ReadFile(vectorFile)
	require.NoError(t, err)
	var v vectors
	require.NoError(t, json.Unmarshal(data, &v))

	activation := unhex(t, v.Activation)
	verifierKey := derived(t, activation, "conclave token verifier key v1")
	mac := hmac.New(sha256.New, verifierKey)
	mac.Write([]byte("conclave token verifier v1"))
	require.Equal(t, v.Verifier, hex.EncodeToString(mac.Sum([]byte{1})))
	require.Equal(t, v.UserPIN, base64.RawURLEncoding.EncodeToString(derived(t, activation, "conclave token user pin v1")))
	require.Equal(t, v.SOPIN, base64.RawURLEncoding.EncodeToString(derived(t, activation, "conclave token so pin v1")))
	id := sha256.New()
	id.Write([]byte("conclave token object v1"))
	id.Write(append(append([]byte{byte(len(v.KeystoreID))}, v.KeystoreID...), append([]byte{byte(len(v.EffectID))}, v.EffectID...)...))
	require.Equal(t, v.ObjectID, hex.EncodeToString(id.Sum(nil)))
	require.Equal(t, v.Blob, "01"+v.ObjectID)

	body := unhex(t, v.Body)
	messageKey := unwrapKW(t, unhex(t, v.VersionKey), body[:40])
	require.Equal(t, v.MessageKey, hex.EncodeToString(messageKey))
	plain, err := gcm(t, messageKey).Open(nil, nil, body[40:], unhex(t, v.AAD))
	require.NoError(t, err)
	require.Equal(t, v.Plaintext, hex.EncodeToString(plain))

	k := vectorKeystore(t, &v)
	h, err := k.Open(t.Context(), hsm.Material{Key: v.Key, Version: v.Version, Spec: hsm.AES256, EffectID: v.EffectID, Blob: unhex(t, v.Blob), CheckValue: v.CheckValue})
	require.NoError(t, err)
	sealer, err := hsm.As[hsm.Sealer](h)
	require.NoError(t, err)
	got, err := sealer.Open(t.Context(), nil, body, unhex(t, v.AAD))
	require.NoError(t, err)
	require.Equal(t, plain, got)
	found, err := k.Find(t.Context(), v.EffectID)
	require.NoError(t, err)
	require.Equal(t, v.CheckValue, found.CheckValue)
}

// vectorKeystore is a token that has the published key, put there as no product does it.
func vectorKeystore(t *testing.T, v *vectors) *pkcs11.Keystore {
	t.Helper()
	r := theRig(t)
	cfg, _ := r.config(t, v.KeystoreID)
	cfg.Verifier = unhex(t, v.Verifier)
	k := r.taken(t, cfg, secret.New(unhex(t, v.Activation)))
	s, err := r.lib.OpenSession(r.slot(t, cfg.Token.Label), binding.CKF_SERIAL_SESSION|binding.CKF_RW_SESSION)
	require.NoError(t, err)
	require.NoError(t, r.lib.Login(s, binding.CKU_SO, v.SOPIN))
	require.NoError(t, r.lib.Logout(s))
	require.NoError(t, r.lib.Login(s, binding.CKU_USER, v.UserPIN))
	_, err = r.lib.CreateObject(s, []*binding.Attribute{binding.NewAttribute(binding.CKA_CLASS, binding.CKO_SECRET_KEY),
		binding.NewAttribute(binding.CKA_KEY_TYPE, binding.CKK_AES), binding.NewAttribute(binding.CKA_VALUE, unhex(t, v.VersionKey)),
		binding.NewAttribute(binding.CKA_TOKEN, true), binding.NewAttribute(binding.CKA_PRIVATE, true), binding.NewAttribute(binding.CKA_SENSITIVE, true),
		binding.NewAttribute(binding.CKA_EXTRACTABLE, false), binding.NewAttribute(binding.CKA_LABEL, v.Label), binding.NewAttribute(binding.CKA_ID, unhex(t, v.ObjectID)),
		binding.NewAttribute(binding.CKA_WRAP, true), binding.NewAttribute(binding.CKA_UNWRAP, true), binding.NewAttribute(binding.CKA_SIGN, true)})
	require.NoError(t, err)
	require.NoError(t, r.lib.CloseSession(s))
	require.NoError(t, k.Activate(t.Context(), secret.New(unhex(t, v.Activation))))
	return k
}

func derived(t *testing.T, activation []byte, label string) []byte {
	t.Helper()
	key, err := hkdf.Key(sha256.New, activation, nil, label, 32)
	require.NoError(t, err)
	return key
}

func gcm(t *testing.T, key []byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	aead, err := cipher.NewGCMWithRandomNonce(block) // reads the nonce that precedes the ciphertext
	require.NoError(t, err)
	return aead
}

// unwrapKW is KW-AD of SP 800-38F, section 6.2 (RFC 3394, section 2.2.2).
func unwrapKW(t *testing.T, kek, wrapped []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(kek)
	require.NoError(t, err)
	n := len(wrapped)/8 - 1
	a, r := bytes.Clone(wrapped[:8]), bytes.Clone(wrapped[8:])
	for j := 5; j >= 0; j-- {
		for i := n; i >= 1; i-- {
			binary.BigEndian.PutUint64(a, binary.BigEndian.Uint64(a)^uint64(n*j+i))
			b := append(bytes.Clone(a), r[8*(i-1):8*i]...)
			block.Decrypt(b, b)
			copy(a, b[:8])
			copy(r[8*(i-1):], b[8:])
		}
	}
	require.Equal(t, bytes.Repeat([]byte{0xa6}, 8), a, "the integrity check of the wrapped key")
	return r
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

// The unwrapping above, held to RFC 3394, section 4.6.
func TestKeyWrapOfTheTests(t *testing.T) {
	got := unwrapKW(t, unhex(t, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
		unhex(t, "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"))
	require.Equal(t, "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f", hex.EncodeToString(got))
}
