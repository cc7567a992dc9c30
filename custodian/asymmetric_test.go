package custodian_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/dek"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/keypair"
)

// keyOf makes a key of a specification that the demo application may use for all that such keys do.
func keyOf(t testing.TB, c *custodiantest.Custodian, spec hsm.Spec) string {
	t.Helper()
	id := "key-" + string(spec)
	c.AddKeyOf(t, id, key.Internal, spec)
	c.AddGrant(t, "grant-"+id, custodiantest.ApplicationID, id)
	return id
}

func sign(keyID, message string) custodian.Use {
	return custodian.Use{Operation: access.Sign, Key: keyID, Message: []byte(message)}
}

func verify(keyID string, version uint32, message string, signature []byte) custodian.Use {
	return custodian.Use{Operation: access.VerifySignature, Key: keyID, Version: version, Message: []byte(message), Signature: signature}
}

func mac(keyID, message string) custodian.Use {
	return custodian.Use{Operation: access.MAC, Key: keyID, Message: []byte(message)}
}

func verifyMAC(keyID string, version uint32, message string, tag []byte) custodian.Use {
	return custodian.Use{Operation: access.VerifyMAC, Key: keyID, Version: version, Message: []byte(message), Signature: tag}
}

func versionOf(t testing.TB, c *custodiantest.Custodian, keyID string, n uint32) *key.Version {
	t.Helper()
	v, _, err := store.Get[key.Version](c.View(), custodian.KindKeyVersion, key.VersionID(keyID, n))
	require.NoError(t, err)
	return v
}

func TestSignAndVerify(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	for _, spec := range []hsm.Spec{hsm.ECDSAP256, hsm.ECDSAP384, hsm.Ed25519, hsm.RSAPSS3072, hsm.RSAPKCS13072} {
		t.Run(string(spec), func(t *testing.T) {
			id := keyOf(t, c, spec)
			signed := mustUse(t, c, sign(id, "contract"))
			require.EqualValues(t, 1, signed.Version)
			require.Equal(t, spec, signed.Spec)
			e := last(t, c)
			require.Equal(t, "key.use.sign", e.Type)
			require.NotEmpty(t, detailOf(t, e)["input"])
			require.NotContains(t, string(e.Detail), "contract", "the message is not in the ledger")

			public, err := keypair.ParsePublic(spec, versionOf(t, c, id, 1).Public)
			require.NoError(t, err)
			valid, err := public.Verify(signed.Hash, signed.Hash.Sum(nil, []byte("contract")), signed.Signature)
			require.NoError(t, err)
			require.True(t, valid, "a standard signature")

			require.True(t, mustUse(t, c, verify(id, 1, "contract", signed.Signature)).Valid)
			require.Equal(t, true, detailOf(t, last(t, c))["valid"])
			require.False(t, mustUse(t, c, verify(id, 1, "Contract", signed.Signature)).Valid)
			e = last(t, c)
			require.Equal(t, ledger.Allow, e.Outcome, "an answer, not an error")
			require.Equal(t, false, detailOf(t, e)["valid"])
			require.False(t, mustUse(t, c, verify(id, 1, "contract", []byte("nonsense"))).Valid)

			for _, hash := range spec.Hashes() {
				u := custodian.Use{Operation: access.Sign, Key: id, Digest: hash.Sum(nil, []byte("contract")), Hash: hash}
				s := mustUse(t, c, u)
				v := verify(id, 1, "contract", s.Signature)
				v.Hash = hash
				require.True(t, mustUse(t, c, v).Valid, "a digest signed is the message signed")
			}
		})
	}
}

func TestMACs(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	for _, spec := range []hsm.Spec{hsm.HMACSHA256, hsm.HMACSHA384, hsm.HMACSHA512} {
		id := keyOf(t, c, spec)
		tag := mustUse(t, c, mac(id, "amount=1")).Signature
		require.Len(t, tag, spec.Hashes()[0].Size())
		require.Equal(t, "key.use.mac", last(t, c).Type)
		require.True(t, mustUse(t, c, verifyMAC(id, 1, "amount=1", tag)).Valid)
		require.False(t, mustUse(t, c, verifyMAC(id, 1, "amount=2", tag)).Valid)
		require.Equal(t, "key.use.verify_mac", last(t, c).Type)
		require.False(t, mustUse(t, c, verifyMAC(id, 1, "amount=1", tag[:16])).Valid, "no shortened MAC")
	}
}

func TestKeyTransport(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	id := keyOf(t, c, hsm.RSAOAEP3072)
	sealed := mustUse(t, c, encrypt(id, "a key")).Ciphertext
	opened := custodian.Use{Operation: access.Decrypt, Key: id, Version: 1, Ciphertext: sealed}
	require.Equal(t, "a key", string(mustUse(t, c, opened).Plaintext))

	// Anybody with the public half encrypts; the context is the label.
	public, err := keypair.ParsePublic(hsm.RSAOAEP3072, versionOf(t, c, id, 1).Public)
	require.NoError(t, err)
	bound := map[string]string{"partner": "north"}
	opened.Ciphertext, err = public.Encrypt([]byte("from outside"), dek.Label(bound))
	require.NoError(t, err)
	_, err = c.Use(t.Context(), c.App, opened)
	require.ErrorIs(t, err, custodian.ErrBadCiphertext)
	opened.Context = bound
	require.Equal(t, "from outside", string(mustUse(t, c, opened).Plaintext))

	requireInput := func(u custodian.Use, field string) {
		var input *custodian.InputError
		_, err := c.Use(t.Context(), c.App, u)
		require.ErrorAs(t, err, &input)
		require.Equal(t, field, input.Field)
	}
	requireInput(encrypt(id, strings.Repeat("x", keypair.MaxPlaintext(hsm.RSAOAEP3072)+1)), "plaintext")
	requireInput(custodian.Use{Operation: access.Decrypt, Key: custodiantest.KeyID, Version: 1, Ciphertext: sealed}, "version")
	requireInput(custodian.Use{Operation: access.Decrypt, Key: id, Version: 2, Ciphertext: sealed}, "version")
	requireInput(custodian.Use{Operation: access.Decrypt, Key: id, Ciphertext: sealed}, "version")
	stranger := c.App
	stranger.ID = "somebody-else"
	_, err = c.Use(t.Context(), stranger, custodian.Use{Operation: access.Decrypt, Key: id, Ciphertext: sealed})
	require.ErrorIs(t, err, custodian.ErrBadCiphertext, "who has no grant learns nothing of the key")
}

func TestDataKeyPairs(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	for _, spec := range []hsm.Spec{hsm.ECDSAP256, hsm.Ed25519, hsm.RSAPSS3072} {
		u := custodian.Use{Operation: access.DataKeyPair, Key: custodiantest.KeyID, Spec: spec, Context: map[string]string{"device": "7"}}
		wrapped := mustUse(t, c, u)
		require.Empty(t, wrapped.Plaintext, "not asked for")
		require.Equal(t, map[string]any{"algorithm": string(spec)}, detailOf(t, last(t, c)))
		d := decrypt(wrapped.Ciphertext)
		_, err := c.Use(t.Context(), c.App, d)
		require.ErrorIs(t, err, custodian.ErrBadCiphertext, "the context is bound")
		d.Context = u.Context
		private, err := x509.ParsePKCS8PrivateKey(mustUse(t, c, d).Plaintext)
		require.NoError(t, err)
		public, err := x509.MarshalPKIXPublicKey(private.(crypto.Signer).Public())
		require.NoError(t, err)
		require.Equal(t, wrapped.Public, public)

		u.WithPlain = true
		both := mustUse(t, c, u)
		d.Ciphertext = both.Ciphertext
		require.Equal(t, both.Plaintext, mustUse(t, c, d).Plaintext)
		require.NotEqual(t, wrapped.Public, both.Public)
	}
	var input *custodian.InputError
	_, err := c.Use(t.Context(), c.App, custodian.Use{Operation: access.DataKeyPair, Key: custodiantest.KeyID, Spec: hsm.AES256})
	require.ErrorAs(t, err, &input)
	require.Equal(t, "algorithm", input.Field)
	_, err = c.UseBatch(t.Context(), c.App, []custodian.Use{{Operation: access.DataKeyPair, Key: custodiantest.KeyID, Spec: hsm.ECDSAP256}})
	require.ErrorAs(t, err, &input)
}

// Every operation with every kind of key: what a key was not made for is bad input that names what it does, for
// callers with a grant, and the answer for a key that is not there for everybody else.
func TestUsageIsKeptApart(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	for _, spec := range []hsm.Spec{hsm.AES256, hsm.HMACSHA256, hsm.ECDSAP256, hsm.RSAOAEP3072} {
		id := keyOf(t, c, spec)
		for _, op := range access.Operations() {
			u := custodian.Use{Operation: op, Key: id}
			switch op {
			case access.DataKey:
				u.Bytes = 32
			case access.DataKeyPair:
				u.Spec = hsm.ECDSAP256
			case access.Decrypt, access.Rewrap:
				u.Ciphertext = ciphertextOf(t, c, id)
			case access.VerifySignature, access.VerifyMAC:
				u.Version, u.Signature = 1, []byte("x")
			}
			fits := false
			for _, o := range access.OperationsOf(key.TypeFor(spec)) {
				fits = fits || o == op
			}
			_, err := c.Use(t.Context(), c.App, u)
			var input *custodian.InputError
			if !fits {
				require.ErrorAs(t, err, &input, "%s with %s", op, spec)
				require.Equal(t, "operation", input.Field)
				require.Contains(t, input.Allowed, string(access.OperationsOf(key.TypeFor(spec))[0]))
				require.Equal(t, ledger.Failed, last(t, c).Outcome, "recorded")
			} else if err != nil {
				require.False(t, strings.HasPrefix(err.Error(), "operation"), "%s with %s: %v", op, spec, err)
			}
		}
	}
	c.AddKeyOf(t, "ungranted", key.Internal, hsm.ECDSAP256)
	_, err := c.Use(t.Context(), c.App, encrypt("ungranted", "x"))
	var denied *custodian.Denied
	require.ErrorAs(t, err, &denied)
	require.Equal(t, "grant_missing", denied.Code, "of which type a key is, is nobody else's business")
}

// ciphertextOf is a well-formed ciphertext that names a key.
func ciphertextOf(t testing.TB, c *custodiantest.Custodian, id string) []byte {
	t.Helper()
	var instance [16]byte
	ct := mustUse(t, c, encrypt(custodiantest.KeyID, "x")).Ciphertext
	h, _, body, err := dek.Parse(ct)
	require.NoError(t, err)
	instance = h.Instance
	return append(dek.AppendHeader(nil, dek.Header{Algorithm: h.Algorithm, Instance: instance, Key: id, Version: 1, ProtectedAt: h.ProtectedAt}), body...)
}

// The state table over the operations of pairs and MACs, each state with a version of its own.
func TestInvariant04_StateTableOfSignaturesAndMACs(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	for _, s := range key.States() {
		publicHalf := s
		if s == key.Destroyed {
			publicHalf = key.Deactivated
		}
		signing, macing := "sign-"+string(s), "mac-"+string(s)
		c.AddKeyOf(t, signing, key.Internal, hsm.ECDSAP256)
		c.AddKeyOf(t, macing, key.Internal, hsm.HMACSHA256)
		c.AddGrant(t, "grant-"+signing, custodiantest.ApplicationID, signing)
		c.AddGrant(t, "grant-"+macing, custodiantest.ApplicationID, macing)
		signature := mustUse(t, c, sign(signing, "m")).Signature
		tag := mustUse(t, c, mac(macing, "m")).Signature
		c.Clock.Advance(time.Minute)
		for _, id := range []string{signing, macing} {
			changeVersion(t, c, id, 1, func(v *key.Version) { setState(v, s, c.Clock.Now()) })
		}
		for name, x := range map[string]struct {
			use        custodian.Use
			permission key.Permission
		}{
			"sign":       {sign(signing, "m"), key.Permitted(s, key.Sign)},
			"mac":        {mac(macing, "m"), key.Permitted(s, key.MACCreate)},
			"verify_mac": {verifyMAC(macing, 1, "m", tag), key.Permitted(s, key.MACVerify)},
			// The public half is deactivated, not destroyed, when the private one is destroyed after use.
			"verify": {verify(signing, 1, "m", signature), key.Permitted(publicHalf, key.Verify)},
		} {
			t.Run(fmt.Sprintf("%s/%s", s, name), func(t *testing.T) {
				used, err := c.Use(context.Background(), c.App, x.use)
				if x.permission == key.InPeriod || x.permission == key.Free {
					require.NoError(t, err)
					return
				}
				var denied *custodian.Denied
				require.ErrorAs(t, err, &denied, "%s", x.permission)
				require.Zero(t, used)
			})
		}
	}
}

// A signature verifies for as long as its version's recipient usage period: after rotation, while the keystore is
// inactive, and when the private half is gone. Never once it is compromised.
func TestSignaturesOutliveTheirPrivateHalf(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	longLived(t, c)
	id := keyOf(t, c, hsm.ECDSAP256)
	change(t, c, custodian.KindGrant, "grant-"+id, func(g *access.Grant) { g.ExpiresAt = c.Clock.Now().AddDate(2, 0, 0) })
	signature := mustUse(t, c, sign(id, "m")).Signature

	c.Put(t, custodian.KindKeyVersion, key.VersionID(id, 2), c.NewVersionOf(t, id, 2, hsm.ECDSAP256))
	change(t, c, custodian.KindKey, id, func(k *key.Key) { k.Current, k.Versions = 2, 2 })
	second := mustUse(t, c, sign(id, "m"))
	require.EqualValues(t, 2, second.Version)
	require.True(t, mustUse(t, c, verify(id, 1, "m", signature)).Valid)
	require.False(t, mustUse(t, c, verify(id, 2, "m", signature)).Valid, "of another version")

	require.NoError(t, c.Soft.Deactivate(t.Context()))
	require.True(t, mustUse(t, c, verify(id, 1, "m", signature)).Valid)
	used, err := c.Use(t.Context(), c.App, sign(id, "m"))
	requireDenied(t, custodian.CodeKeystoreInactive, used, err)
	c.Activate(t)

	changeVersion(t, c, id, 1, func(v *key.Version) { setState(v, key.Destroyed, c.Clock.Now()) })
	c.Forget(id, 1)
	require.True(t, mustUse(t, c, verify(id, 1, "m", signature)).Valid)
	c.Clock.Advance(730 * 24 * time.Hour)
	used, err = c.Use(t.Context(), c.App, verify(id, 1, "m", signature))
	requireDenied(t, "rup_ended", used, err)

	c.Clock.MoveWall(-400 * 24 * time.Hour)
	changeVersion(t, c, id, 1, func(v *key.Version) { v.CompromisedBeforeDestroy = true })
	used, err = c.Use(t.Context(), c.App, verify(id, 1, "m", signature))
	requireDenied(t, "state_forbids_process", used, err)
}

// Dates are enforced by the call itself, for the private half and for MACs too.
func TestSigningEndsByDate(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	signing, macing := keyOf(t, c, hsm.ECDSAP256), keyOf(t, c, hsm.HMACSHA256)
	for _, id := range []string{signing, macing} {
		changeVersion(t, c, id, 1, func(v *key.Version) { v.OUPEnd = c.Clock.Now().Add(time.Minute) })
	}
	signature, tag := mustUse(t, c, sign(signing, "m")).Signature, mustUse(t, c, mac(macing, "m")).Signature
	c.Clock.Advance(time.Minute)
	for _, u := range []custodian.Use{sign(signing, "m"), mac(macing, "m")} {
		used, err := c.Use(t.Context(), c.App, u)
		requireDenied(t, "oup_ended", used, err)
	}
	require.True(t, mustUse(t, c, verify(signing, 1, "m", signature)).Valid)
	require.True(t, mustUse(t, c, verifyMAC(macing, 1, "m", tag)).Valid)
}

func TestSigningInputIsChecked(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	p256, ed, hmac := keyOf(t, c, hsm.ECDSAP256), keyOf(t, c, hsm.Ed25519), keyOf(t, c, hsm.HMACSHA256)
	digest := hsm.SHA256.Sum(nil, []byte("m"))
	for name, tc := range map[string]struct {
		use   custodian.Use
		field string
	}{
		"too long":               {sign(p256, strings.Repeat("x", custodian.MaxMessage+1)), "message"},
		"both":                   {custodian.Use{Operation: access.Sign, Key: p256, Message: []byte("m"), Digest: digest, Hash: hsm.SHA256}, "digest"},
		"digest of nothing":      {custodian.Use{Operation: access.Sign, Key: p256, Digest: digest}, "hash"},
		"cut digest":             {custodian.Use{Operation: access.Sign, Key: p256, Digest: digest[:31], Hash: hsm.SHA256}, "digest"},
		"hash of another curve":  {custodian.Use{Operation: access.Sign, Key: p256, Message: []byte("m"), Hash: hsm.SHA384}, "hash"},
		"unknown hash":           {custodian.Use{Operation: access.Sign, Key: p256, Message: []byte("m"), Hash: "sha-1"}, "hash"},
		"digest for Ed25519":     {custodian.Use{Operation: access.Sign, Key: ed, Digest: digest, Hash: hsm.SHA256}, "hash"},
		"digest for a MAC":       {custodian.Use{Operation: access.MAC, Key: hmac, Digest: digest, Hash: hsm.SHA256}, "digest"},
		"context":                {custodian.Use{Operation: access.Sign, Key: p256, Message: []byte("m"), Context: map[string]string{"a": "b"}}, "context"},
		"no version":             {verify(p256, 0, "m", []byte("x")), "version"},
		"version not made":       {verify(p256, 9, "m", []byte("x")), "version"},
		"no signature":           {verify(p256, 1, "m", nil), "signature"},
		"enormous signature":     {verify(p256, 1, "m", make([]byte, 2000)), "signature"},
		"no version for the MAC": {verifyMAC(hmac, 0, "m", []byte("x")), "version"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Use(t.Context(), c.App, tc.use)
			var input *custodian.InputError
			require.ErrorAs(t, err, &input)
			require.Equal(t, tc.field, input.Field, input.Error())
			require.NotEmpty(t, input.Allowed)
		})
	}
	mustUse(t, c, sign(p256, "")) // an empty message is a message
}

func TestBatchesOfSignatures(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	id := keyOf(t, c, hsm.ECDSAP256)
	uses := make([]custodian.Use, custodian.MaxBatch)
	for i := range uses {
		uses[i] = sign(id, fmt.Sprintf("message %d", i))
	}
	signed, err := c.UseBatch(t.Context(), c.App, uses)
	require.NoError(t, err)
	items := detailOf(t, last(t, c))["items"].([]any)
	require.Len(t, items, custodian.MaxBatch)
	require.Len(t, items[0].(map[string]any)["i"], 22)
	for i := range uses {
		require.NoError(t, signed[i].Err)
		uses[i] = verify(id, 1, fmt.Sprintf("message %d", i), signed[i].Signature)
	}
	uses[3].Message = []byte("another")
	checked, err := c.UseBatch(t.Context(), c.App, uses)
	require.NoError(t, err)
	items = detailOf(t, last(t, c))["items"].([]any)
	for i, item := range checked {
		require.NoError(t, item.Err)
		require.Equal(t, i != 3, item.Valid)
		require.Equal(t, i == 3, items[i].(map[string]any)["n"] == true)
	}
}

// A grant that ends while a call is on its way withholds the signature: it is decided anew under the lock.
func TestInvariant07_NoSignatureWithoutItsRecord(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	id := keyOf(t, c, hsm.ECDSAP256)
	mustUse(t, c, sign(id, "m"))
	mend := breakStorage(t, c)
	used, err := c.Use(t.Context(), c.App, sign(id, "m"))
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.Zero(t, used)
	mend()
	change(t, c, custodian.KindGrant, "grant-"+id, func(g *access.Grant) { at := c.Clock.Now(); g.RevokedAt = &at })
	used, err = c.Use(t.Context(), c.App, sign(id, "m"))
	requireDenied(t, "grant_revoked", used, err)
}
