package keypair_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/keypair"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

// The prefixes of SubjectPublicKeyInfo: RFC 5480 for P-256 and P-384, RFC 8410 for Ed25519.
const (
	spkiP256    = "3059301306072a8648ce3d020106082a8648ce3d030107034200"
	spkiP384    = "3076301006072a8648ce3d020106052b81040022036200"
	spkiEd25519 = "302a300506032b6570032100"
)

// der is the ECDSA-Sig-Value of RFC 3279.
func der(t testing.TB, r, s string) []byte {
	t.Helper()
	integer := func(h string) []byte {
		b := new(big.Int).SetBytes(unhex(t, h)).Bytes()
		if b[0] >= 0x80 {
			b = append([]byte{0}, b...)
		}
		return append([]byte{2, byte(len(b))}, b...)
	}
	body := append(integer(r), integer(s)...)
	return append([]byte{0x30, byte(len(body))}, body...)
}

// Published signatures verify: RFC 6979 appendix A.2.5 and A.2.6 (message "sample"), RFC 8032 section 7.1 (tests 2
// and 3).
func TestPublishedSignatures(t *testing.T) {
	for name, v := range map[string]struct {
		spec      hsm.Spec
		spki      string
		message   []byte
		signature []byte
	}{
		"RFC 6979 P-256": {hsm.ECDSAP256, spkiP256 + "04" + "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6" +
			"7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299", []byte("sample"),
			der(t, "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
				"f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8")},
		"RFC 6979 P-384": {hsm.ECDSAP384, spkiP384 + "04" + "ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64def8f0ea9055866064a254515480bc13" +
			"8015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9f54ca84b3f1c9db1288b231c3ae0d4fe7344fd2533264720", []byte("sample"),
			der(t, "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c81a648152e44acf96e36dd1e80fabe46",
				"99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8")},
		"RFC 8032 test 2": {hsm.Ed25519, spkiEd25519 + "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", unhex(t, "72"),
			unhex(t, "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")},
		"RFC 8032 test 3": {hsm.Ed25519, spkiEd25519 + "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", unhex(t, "af82"),
			unhex(t, "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a")},
	} {
		t.Run(name, func(t *testing.T) {
			public, err := keypair.ParsePublic(v.spec, unhex(t, v.spki))
			require.NoError(t, err)
			hash := hsm.NoHash
			if hashes := v.spec.Hashes(); len(hashes) > 0 {
				hash = hashes[0]
			}
			valid, err := public.Verify(hash, hash.Sum(nil, v.message), v.signature)
			require.NoError(t, err)
			require.True(t, valid)
			v.signature[len(v.signature)-1] ^= 1
			valid, err = public.Verify(hash, hash.Sum(nil, v.message), v.signature)
			require.NoError(t, err)
			require.False(t, valid)
		})
	}
}

// The thumbprint of RFC 8037, appendix A.3.
func TestThumbprint(t *testing.T) {
	x, err := base64.RawURLEncoding.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	require.NoError(t, err)
	public, err := keypair.ParsePublic(hsm.Ed25519, append(unhex(t, spkiEd25519), x...))
	require.NoError(t, err)
	require.Equal(t, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", public.JWK().Kid)
}

func TestRSAKeysAreWhatTheySay(t *testing.T) {
	private, der, err := keypair.Generate(hsm.RSAPSS3072)
	require.NoError(t, err)
	defer private.Wipe()
	for _, spec := range hsm.Specs() {
		_, err := keypair.ParsePublic(spec, der)
		if spec.ModulusBits() == 3072 {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, hsm.ErrCorrupt, spec)
		}
	}
	public, err := keypair.ParsePublic(hsm.RSAPSS3072, der)
	require.NoError(t, err)
	jwk := public.JWK()
	require.Equal(t, []string{"RSA", "AQAB", "sig"}, []string{jwk.Kty, jwk.E, jwk.Use})
	_, err = public.Encrypt([]byte("x"), nil)
	require.ErrorIs(t, err, hsm.ErrUnsupported, "a signature pair encrypts nothing")

	// One scheme a pair: a PKCS#1 v1.5 signature is none of a PSS pair, and the other way round.
	digest := sha256.Sum256([]byte("m"))
	require.NoError(t, private.Use(func(b []byte) error {
		pss, err := keypair.ParsePrivate(hsm.RSAPSS3072, b)
		require.NoError(t, err)
		_, err = pss.Decrypt(nil, make([]byte, 384), nil)
		require.ErrorIs(t, err, hsm.ErrUnsupported, "and decrypts nothing")
		pkcs1, err := keypair.ParsePrivate(hsm.RSAPKCS13072, b)
		require.NoError(t, err)
		signature, err := pkcs1.Sign(nil, hsm.SHA256, digest[:])
		require.NoError(t, err)
		valid, err := public.Verify(hsm.SHA256, digest[:], signature)
		require.NoError(t, err)
		require.False(t, valid)
		require.NoError(t, rsa.VerifyPKCS1v15(public.Key().(*rsa.PublicKey), crypto.SHA256, digest[:], signature))
		for _, shown := range []string{fmt.Sprint(pss), fmt.Sprintf("%+v", pss), fmt.Sprintf("%#v", pss), fmt.Sprintf("%x", pss)} {
			require.Equal(t, "[redacted]", shown)
		}
		return nil
	}))
}

func TestDifferentFormsAreRefused(t *testing.T) {
	_, der, err := keypair.Generate(hsm.ECDSAP256)
	require.NoError(t, err)
	for name, bad := range map[string][]byte{
		"empty": nil, "cut": der[:len(der)-1], "lengthened": append(append([]byte(nil), der...), 0), "enormous": make([]byte, 1<<20),
		"zeros": make([]byte, len(der)),
	} {
		_, err := keypair.ParsePublic(hsm.ECDSAP256, bad)
		require.ErrorIs(t, err, hsm.ErrCorrupt, name)
		_, err = keypair.ParsePrivate(hsm.ECDSAP256, bad)
		require.ErrorIs(t, err, hsm.ErrCorrupt, name)
	}
	_, _, err = keypair.Generate(hsm.AES256)
	require.ErrorIs(t, err, hsm.ErrUnsupported)
}

// Whatever bytes come as a public key, a signature or a ciphertext: no panic, one form a key.
func FuzzParsePublic(f *testing.F) {
	for _, spec := range []hsm.Spec{hsm.ECDSAP256, hsm.ECDSAP384, hsm.Ed25519} {
		_, der, err := keypair.Generate(spec)
		require.NoError(f, err)
		f.Add(string(spec), der, []byte("signature"))
	}
	f.Fuzz(func(t *testing.T, spec string, der, signature []byte) {
		public, err := keypair.ParsePublic(hsm.Spec(spec), der)
		if err != nil {
			require.ErrorIs(t, err, hsm.ErrCorrupt)
			return
		}
		again, err := x509.MarshalPKIXPublicKey(public.Key())
		require.NoError(t, err)
		require.Equal(t, der, again)
		_, err = json.Marshal(public.JWK())
		require.NoError(t, err)
		if hsm.Spec(spec).Kind() == hsm.Signs {
			hash := hsm.NoHash
			if hashes := hsm.Spec(spec).Hashes(); len(hashes) > 0 {
				hash = hashes[0]
			}
			valid, err := public.Verify(hash, hash.Sum(nil, []byte("m")), signature)
			require.NoError(t, err)
			require.False(t, valid, "nobody signed this")
		}
	})
}

func FuzzParsePrivate(f *testing.F) {
	private, _, err := keypair.Generate(hsm.ECDSAP256)
	require.NoError(f, err)
	require.NoError(f, private.Use(func(b []byte) error { f.Add(string(hsm.ECDSAP256), append([]byte(nil), b...)); return nil }))
	f.Fuzz(func(t *testing.T, spec string, der []byte) {
		if _, err := keypair.ParsePrivate(hsm.Spec(spec), der); err != nil {
			require.ErrorIs(t, err, hsm.ErrCorrupt)
		}
	})
}

// A ciphertext that begins with a zero is not taken without it (RFC 8017, section 7.1.2, step 1).
func TestCiphertextIsAsLongAsTheModulus(t *testing.T) {
	made, der, err := keypair.Generate(hsm.RSAOAEP3072)
	require.NoError(t, err)
	defer made.Wipe()
	var private *keypair.Private
	require.NoError(t, made.Use(func(pkcs8 []byte) error {
		private, err = keypair.ParsePrivate(hsm.RSAOAEP3072, pkcs8)
		return err
	}))
	public, err := keypair.ParsePublic(hsm.RSAOAEP3072, der)
	require.NoError(t, err)
	for {
		ciphertext, err := public.Encrypt([]byte("text"), nil)
		require.NoError(t, err)
		if ciphertext[0] != 0 {
			continue
		}
		got, err := private.Decrypt(nil, ciphertext, nil)
		require.NoError(t, err)
		require.Equal(t, "text", string(got))
		_, err = private.Decrypt(nil, ciphertext[1:], nil)
		require.ErrorIs(t, err, hsm.ErrCorrupt)
		return
	}
}
