package httpapi_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/hsm"
)

// standardKey makes a key of a specification that the demo application may use.
func (e *edge) standardKey(t *testing.T, spec hsm.Spec) (path string) {
	t.Helper()
	id := "key-" + string(spec)
	e.AddKeyOf(t, id, key.Internal, spec)
	e.AddGrant(t, "grant-"+id, custodiantest.ApplicationID, id)
	return "/v1/keys/" + id
}

// OpenSSL verifies what was signed here, by the PEM that the service gives out, and the service opens what OpenSSL
// encrypted.
func TestOpenSSLAgrees(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	require.NoError(t, err, "this test needs the openssl command")
	e := newEdge(t, options{})
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, b, 0o600))
		return path
	}
	run := func(args ...string) {
		t.Helper()
		out, err := exec.Command(openssl, args...).CombinedOutput()
		require.NoError(t, err, "openssl %v: %s", args, out)
	}
	message := file("message", []byte("contract"))
	for spec, options := range map[hsm.Spec][]string{
		hsm.ECDSAP256:    {"-rawin", "-digest", "sha256"},
		hsm.ECDSAP384:    {"-rawin", "-digest", "sha384"},
		hsm.Ed25519:      {"-rawin"},
		hsm.RSAPSS3072:   {"-rawin", "-digest", "sha256", "-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest"},
		hsm.RSAPKCS13072: {"-rawin", "-digest", "sha256"},
	} {
		path := e.standardKey(t, spec)
		var signed api.SignResponse
		e.app(t, http.MethodPost, path+"/sign", encode(t, api.SignRequest{Message: []byte("contract")})).into(t, &signed)
		var public api.PublicKeys
		e.app(t, http.MethodGet, path+"/public", "").into(t, &public)
		require.Len(t, public.Items, 1)
		args := []string{"pkeyutl", "-verify", "-pubin", "-inkey", file("public.pem", []byte(public.Items[0].PEM)),
			"-sigfile", file("signature", signed.Signature), "-in", message}
		run(append(args, options...)...)
	}

	path := e.standardKey(t, hsm.RSAOAEP3072)
	var public api.PublicKeys
	e.app(t, http.MethodGet, path+"/public", "").into(t, &public)
	sealed := filepath.Join(dir, "sealed")
	run("pkeyutl", "-encrypt", "-pubin", "-inkey", file("public.pem", []byte(public.Items[0].PEM)), "-in", message, "-out", sealed,
		"-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256", "-pkeyopt", "rsa_mgf1_md:sha256")
	ciphertext, err := os.ReadFile(sealed)
	require.NoError(t, err)
	var opened api.DecryptResponse
	e.app(t, http.MethodPost, path+"/decrypt", encode(t, api.DecryptRequest{Ciphertext: ciphertext, Version: 1})).into(t, &opened)
	require.Equal(t, "contract", string(opened.Plaintext))

	var pair api.DataKeyPairResponse
	e.app(t, http.MethodPost, keyPath+"/datakeypairs", `{"algorithm":"ecdsa-p384","plaintext":true}`).into(t, &pair)
	run("pkey", "-inform", "DER", "-in", file("private.der", pair.Plaintext), "-check", "-noout")
}

// Go's standard library verifies by the exported PEM; the JWK names the same key.
func TestPublicKeysAreStandard(t *testing.T) {
	e := newEdge(t, options{})
	path := e.standardKey(t, hsm.ECDSAP256)
	var signed api.SignResponse
	e.app(t, http.MethodPost, path+"/sign", encode(t, api.SignRequest{Message: []byte("contract")})).into(t, &signed)
	require.Equal(t, "ecdsa-p256", signed.Algorithm)
	require.Equal(t, "sha-256", signed.Hash)
	var public api.PublicKeys
	e.app(t, http.MethodGet, path+"/public", "").into(t, &public)
	block, rest := pem.Decode([]byte(public.Items[0].PEM))
	require.Empty(t, rest)
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	require.NoError(t, err)
	digest := sha256.Sum256([]byte("contract"))
	require.True(t, ecdsa.VerifyASN1(parsed.(*ecdsa.PublicKey), digest[:], signed.Signature))
	var jwk map[string]string
	require.NoError(t, json.Unmarshal(public.Items[0].JWK, &jwk))
	require.Equal(t, []string{"EC", "P-256", "ES256", "sig"}, []string{jwk["kty"], jwk["crv"], jwk["alg"], jwk["use"]})
	require.Equal(t, "active", public.Items[0].State)

	require.Equal(t, "key", e.app(t, http.MethodGet, keyPath+"/public", "").problem(t).Field, "a key without a public half")
	e.AddKeyOf(t, "hidden", key.Internal, hsm.ECDSAP256)
	require.Equal(t, 404, e.app(t, http.MethodGet, "/v1/keys/hidden/public", "").problem(t).Status)
}

func TestStandardAnswers(t *testing.T) {
	e := newEdge(t, options{})
	signing, macing := e.standardKey(t, hsm.RSAPSS3072), e.standardKey(t, hsm.HMACSHA256)
	digest := sha256.Sum256([]byte("contract"))
	var signed api.SignResponse
	e.app(t, http.MethodPost, signing+"/sign", encode(t, api.SignRequest{Digest: digest[:], Hash: "sha-256"})).into(t, &signed)
	var public api.PublicKeys
	e.app(t, http.MethodGet, signing+"/public", "").into(t, &public)
	block, _ := pem.Decode([]byte(public.Items[0].PEM))
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	require.NoError(t, err)
	require.NoError(t, rsa.VerifyPSS(parsed.(*rsa.PublicKey), crypto.SHA256, digest[:], signed.Signature, nil))

	verify := func(message string) bool {
		var answer api.VerifyResponse
		e.app(t, http.MethodPost, signing+"/verify", encode(t, api.VerifyRequest{Version: signed.Version, Message: []byte(message), Signature: signed.Signature})).into(t, &answer)
		return answer.Valid
	}
	require.True(t, verify("contract"))
	require.False(t, verify("another"))

	var made api.MACResponse
	e.app(t, http.MethodPost, macing+"/mac", encode(t, api.MACRequest{Message: []byte("m")})).into(t, &made)
	var answer api.VerifyResponse
	e.app(t, http.MethodPost, macing+"/verify-mac", encode(t, api.VerifyMACRequest{Version: 1, Message: []byte("m"), MAC: made.MAC})).into(t, &answer)
	require.True(t, answer.Valid)

	p := e.app(t, http.MethodPost, macing+"/sign", encode(t, api.SignRequest{Message: []byte("m")})).problem(t)
	require.Equal(t, []any{400, "operation", "mac, verify_mac"}, []any{p.Status, p.Field, p.Allowed})

	var batch api.BatchResult[api.VerifyResponse]
	body := encode(t, api.Batch[api.VerifyMACRequest]{Items: []api.VerifyMACRequest{{Version: 1, Message: []byte("m"), MAC: made.MAC},
		{Version: 1, Message: []byte("n"), MAC: made.MAC}, {Message: []byte("m"), MAC: made.MAC}}})
	e.app(t, http.MethodPost, macing+"/verify-mac/batch", body).into(t, &batch)
	require.True(t, batch.Items[0].Result.Valid)
	require.False(t, batch.Items[1].Result.Valid)
	require.Equal(t, "version", batch.Items[2].Error.Field)

	transport := e.standardKey(t, hsm.RSAOAEP3072)
	e.app(t, http.MethodGet, transport+"/public", "").into(t, &public)
	block, _ = pem.Decode([]byte(public.Items[0].PEM))
	parsed, err = x509.ParsePKIXPublicKey(block.Bytes)
	require.NoError(t, err)
	ciphertext, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, parsed.(*rsa.PublicKey), []byte("k"), nil)
	require.NoError(t, err)
	p = e.app(t, http.MethodPost, transport+"/decrypt", encode(t, api.DecryptRequest{Ciphertext: ciphertext})).problem(t)
	require.Equal(t, 400, p.Status)
}
