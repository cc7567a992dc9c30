package shamir_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"conclave/ceremony/shamir"
	"conclave/hsm/secret"

	"github.com/stretchr/testify/require"
)

func openingKey(t testing.TB) (*shamir.OpeningKey, shamir.Recipient) {
	t.Helper()
	key, err := shamir.NewOpeningKey()
	require.NoError(t, err)
	recipient, err := key.Recipient()
	require.NoError(t, err)
	return key, recipient
}

func same(t *testing.T, a, b *shamir.Share) {
	t.Helper()
	x, err := a.Encode()
	require.NoError(t, err)
	y, err := b.Encode()
	require.NoError(t, err)
	require.True(t, x.Equal(y))
}

func TestSealOneRecipient(t *testing.T) {
	_, shares, _ := issue(t, 32, 2, 3, production)
	key, recipient := openingKey(t)
	sealed, err := shamir.Seal(shares[1], recipient)
	require.NoError(t, err)
	require.Equal(t, 4, strings.Count(sealed, "."), "compact serialisation")
	outside, err := shamir.Inspect(sealed)
	require.NoError(t, err)
	require.Equal(t, shamir.Sealed{Set: production, Index: 2, KeyIDs: []string{key.KeyID()}}, outside)
	got, err := key.Open(sealed)
	require.NoError(t, err)
	same(t, shares[1], got)
}

func TestSealTwoRecipients(t *testing.T) {
	_, shares, _ := issue(t, shamir.MaxSecret, 2, 3, production)
	daily, r1 := openingKey(t)
	backup, r2 := openingKey(t)
	sealed, err := shamir.Seal(shares[0], r1, r2)
	require.NoError(t, err)
	var general map[string]any
	require.NoError(t, json.Unmarshal([]byte(sealed), &general))
	require.NotContains(t, general, "encrypted_key", "RFC 7516 section 7.2.1")
	require.Len(t, general["recipients"], 2)
	for _, key := range []*shamir.OpeningKey{daily, backup} {
		got, err := key.Open(sealed)
		require.NoError(t, err)
		same(t, shares[0], got)
	}
	stranger, _ := openingKey(t)
	_, err = stranger.Open(sealed)
	require.ErrorIs(t, err, shamir.ErrNotFor)
}

func TestInvariant04_SealedShareOpensOnlyForItsKey(t *testing.T) {
	_, shares, _ := issue(t, 32, 2, 3, production)
	key, recipient := openingKey(t)
	stranger, _ := openingKey(t)
	sealed, err := shamir.Seal(shares[0], recipient)
	require.NoError(t, err)
	_, err = stranger.Open(sealed)
	require.ErrorIs(t, err, shamir.ErrNotFor)

	// The outside may be edited; it is authenticated with the rest.
	edit := func(old, replacement string) string {
		protected, rest, _ := strings.Cut(sealed, ".")
		raw, err := base64.RawURLEncoding.DecodeString(protected)
		require.NoError(t, err)
		changed := strings.Replace(string(raw), old, replacement, 1)
		require.NotEqual(t, string(raw), changed)
		return base64.RawURLEncoding.EncodeToString([]byte(changed)) + "." + rest
	}
	_, err = stranger.Open(edit(key.KeyID(), stranger.KeyID()))
	require.ErrorIs(t, err, shamir.ErrUnseal)
	_, err = key.Open(edit(`"index":1`, `"index":2`))
	require.ErrorIs(t, err, shamir.ErrUnseal)
	_, err = key.Open(edit(`"epoch":3`, `"epoch":4`))
	require.ErrorIs(t, err, shamir.ErrUnseal)
	_, err = key.Open(edit(`A256CBC-HS512`, `A128CBC-HS256`))
	require.ErrorIs(t, err, shamir.ErrSealed)
	_, err = key.Open(edit(`ECDH-ES+A256KW`, `ECDH-ES`))
	require.ErrorIs(t, err, shamir.ErrSealed)
	_, err = key.Open(edit(`"typ":"conclave-share"`, `"typ":"JWT"`))
	require.ErrorIs(t, err, shamir.ErrSealed)
	_, err = key.Open(edit(`"index":1`, `"index":1,"zip":"DEF"`))
	require.ErrorIs(t, err, shamir.ErrSealed)

	parts := strings.Split(sealed, ".")
	for i := 1; i < len(parts); i++ {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		require.NoError(t, err)
		for at := range b {
			b[at] ^= 1
			altered := append([]string(nil), parts...)
			altered[i] = base64.RawURLEncoding.EncodeToString(b)
			_, err := key.Open(strings.Join(altered, "."))
			require.ErrorIs(t, err, shamir.ErrUnseal)
			b[at] ^= 1
		}
	}
	key.Wipe()
	_, err = key.Open(sealed)
	require.ErrorIs(t, err, secret.ErrWiped)
}

func TestSealRefuses(t *testing.T) {
	_, shares, _ := issue(t, 32, 2, 3, production)
	_, one := openingKey(t)
	_, two := openingKey(t)
	_, three := openingKey(t)
	crossed := shamir.Recipient{KeyID: one.KeyID, Key: two.Key}
	ed := shamir.Recipient{KeyID: "x", Key: []byte(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`)}
	for name, to := range map[string][]shamir.Recipient{
		"nobody": nil, "three": {one, two, three}, "twice": {one, one}, "crossed": {crossed},
		"no key": {{KeyID: "x"}}, "signing key": {ed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := shamir.Seal(shares[0], to...)
			require.Error(t, err)
		})
	}
}

func TestOpenRefusesMalformed(t *testing.T) {
	key, recipient := openingKey(t)
	_, other := openingKey(t)
	_, shares, _ := issue(t, 32, 2, 3, production)
	general, err := shamir.Seal(shares[0], recipient, other)
	require.NoError(t, err)
	for name, sealed := range map[string]string{
		"empty":       "",
		"text":        "hello",
		"dots":        "....",
		"JSON":        "{}",
		"huge":        strings.Repeat("A", 1<<20),
		"deep":        strings.Repeat(`{"recipients":[`, 100),
		"unprotected": strings.Replace(general, `{"ciphertext"`, `{"unprotected":{},"ciphertext"`, 1),
		"duplicate":   strings.Replace(general, `{"ciphertext"`, `{"iv":"AA","ciphertext"`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := key.Open(sealed)
			require.ErrorIs(t, err, shamir.ErrSealed)
		})
	}
}

func TestImportOpeningKey(t *testing.T) {
	key, recipient := openingKey(t)
	again, err := shamir.ImportOpeningKey(key.Scalar().Clone())
	require.NoError(t, err)
	require.Equal(t, key.Public(), again.Public())
	require.Equal(t, recipient.KeyID, again.KeyID())
	for _, bad := range [][]byte{make([]byte, 32), make([]byte, 31), {}} {
		_, err := shamir.ImportOpeningKey(secret.New(bad))
		require.Error(t, err)
	}
}

func FuzzOpen(f *testing.F) {
	_, shares, _ := issue(f, 32, 2, 3, production)
	key, r1 := openingKey(f)
	_, r2 := openingKey(f)
	one, err := shamir.Seal(shares[0], r1)
	require.NoError(f, err)
	both, err := shamir.Seal(shares[0], r1, r2)
	require.NoError(f, err)
	f.Add(one)
	f.Add(both)
	f.Fuzz(func(t *testing.T, sealed string) {
		share, err := key.Open(sealed)
		if err == nil {
			same(t, shares[0], share)
		}
	})
}
