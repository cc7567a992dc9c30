package keywrap_test

import (
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/keypair"
	"conclave/hsm/keywrap"
	"conclave/hsm/secret"
)

// openssl runs the tool that others would use instead of ours, as AWS and Google document it.
func openssl(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "openssl", args...).Output()
	require.NoError(t, err, "openssl %v", args)
	return out
}

func file(t *testing.T, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

// What is wrapped here opens by OpenSSL, and what OpenSSL wraps opens here: CKM_RSA_AES_KEY_WRAP is the same everywhere.
func TestOpenSSLAgrees(t *testing.T) {
	dir, pair := t.TempDir(), hsm.RSAOAEP3072
	private, public, err := keypair.Generate(pair)
	require.NoError(t, err)
	half, err := keypair.ParsePublic(pair, public)
	require.NoError(t, err)
	var own *keypair.Private
	require.NoError(t, private.Use(func(b []byte) error {
		file(t, dir, "private.der", b)
		own, err = keypair.ParsePrivate(pair, b)
		return err
	}))
	publicPEM := file(t, dir, "public.pem", []byte(half.PEM()))
	signing, _, err := keypair.Generate(hsm.ECDSAP256)
	require.NoError(t, err)
	oaep := []string{"-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256", "-pkeyopt", "rsa_mgf1_md:sha256"}
	for name, key := range map[string]*secret.Bytes{"aes": secret.Random(32), "hmac": secret.Random(48), "pkcs8": signing} {
		t.Run(name, func(t *testing.T) {
			wrapped, err := keywrap.Wrap(pair, public, key)
			require.NoError(t, err)
			require.Len(t, wrapped, keywrap.Length(pair, key.Len()))
			aesKey := openssl(t, append([]string{"pkeyutl", "-decrypt", "-keyform", "DER", "-inkey", filepath.Join(dir, "private.der"),
				"-in", file(t, dir, "oaep", wrapped[:384])}, oaep...)...)
			require.Len(t, aesKey, 32)
			plain := openssl(t, "enc", "-d", "-id-aes256-wrap-pad", "-iv", "A65959A6", "-K", hex.EncodeToString(aesKey), "-in", file(t, dir, "kwp", wrapped[384:]))
			require.NoError(t, key.Use(func(k []byte) error { require.Equal(t, k, plain); return nil }))

			theirs := openssl(t, append([]string{"pkeyutl", "-encrypt", "-pubin", "-inkey", publicPEM, "-in", file(t, dir, "aes", aesKey)}, oaep...)...)
			theirs = append(theirs, openssl(t, "enc", "-id-aes256-wrap-pad", "-iv", "A65959A6", "-K", hex.EncodeToString(aesKey), "-in", file(t, dir, "plain", plain))...)
			opened, err := keywrap.Unwrap(pair, own, theirs)
			require.NoError(t, err)
			require.True(t, opened.Equal(key))
		})
	}
}

// RSA of another size, an AES key of another length inside, and no room for a key are all the same refusal.
func TestUnwrapRefuses(t *testing.T) {
	pair := hsm.RSAOAEP3072
	private, public, err := keypair.Generate(pair)
	require.NoError(t, err)
	var own *keypair.Private
	require.NoError(t, private.Use(func(b []byte) error { own, err = keypair.ParsePrivate(pair, b); return err }))
	half, err := keypair.ParsePublic(pair, public)
	require.NoError(t, err)
	short, err := half.Encrypt(make([]byte, 16), nil)
	require.NoError(t, err)
	labelled, err := half.Encrypt(make([]byte, 32), []byte("a label"))
	require.NoError(t, err)
	for name, wrapped := range map[string][]byte{"nothing": nil, "no key": short, "an AES-128 key inside": append(short, make([]byte, 40)...),
		"under a label": append(labelled, make([]byte, 40)...), "too much": make([]byte, 384+8+4104)} {
		_, err := keywrap.Unwrap(pair, own, wrapped)
		require.ErrorIs(t, err, hsm.ErrUnwrap, name)
	}
	for _, n := range []int{0, 15, 4097} {
		_, err := keywrap.Wrap(pair, public, secret.Random(n))
		require.ErrorIs(t, err, hsm.ErrInvalid)
	}
	_, err = keywrap.Wrap(hsm.RSAOAEP4096, public, secret.Random(32))
	require.Error(t, err)
}
