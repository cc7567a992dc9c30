package custodian_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
)

func TestUseRoundTrip(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	encryption := map[string]string{"order": "4711", "tenant": "demo"}

	made, err := c.Use(ctx, c.App, custodian.Use{Operation: access.DataKey, Key: custodiantest.KeyID, Bytes: 32, WithPlain: true, Context: encryption})
	require.NoError(t, err)
	require.Len(t, made.Plaintext, 32)
	require.NotEmpty(t, made.Decision)
	require.EqualValues(t, 1, made.Version)

	opened, err := c.Use(ctx, c.App, custodian.Use{Operation: access.Decrypt, Ciphertext: made.Ciphertext, Context: encryption})
	require.NoError(t, err)
	require.Equal(t, made.Plaintext, opened.Plaintext)
	require.Equal(t, custodiantest.KeyID, opened.Key)

	sealed, err := c.Use(ctx, c.App, custodian.Use{Operation: access.Encrypt, Key: custodiantest.KeyID, Plaintext: []byte("four words of text"), Context: encryption})
	require.NoError(t, err)
	require.Empty(t, sealed.Plaintext)
	rewrapped, err := c.Use(ctx, c.App, custodian.Use{Operation: access.Rewrap, Ciphertext: sealed.Ciphertext, Context: encryption, NewContext: map[string]string{"order": "4712"}})
	require.NoError(t, err)
	require.Empty(t, rewrapped.Plaintext, "rewrap shows no plaintext")
	back, err := c.Use(ctx, c.App, custodian.Use{Operation: access.Decrypt, Ciphertext: rewrapped.Ciphertext, Context: map[string]string{"order": "4712"}})
	require.NoError(t, err)
	require.Equal(t, "four words of text", string(back.Plaintext))

	kept, err := c.Use(ctx, c.App, custodian.Use{Operation: access.Rewrap, Ciphertext: sealed.Ciphertext, Context: encryption})
	require.NoError(t, err)
	_, err = c.Use(ctx, c.App, custodian.Use{Operation: access.Decrypt, Ciphertext: kept.Ciphertext, Context: encryption})
	require.NoError(t, err, "without a new context the old one stays")
	bare, err := c.Use(ctx, c.App, custodian.Use{Operation: access.Rewrap, Ciphertext: sealed.Ciphertext, Context: encryption, NewContext: map[string]string{}})
	require.NoError(t, err)
	mustUse(t, c, decrypt(bare.Ciphertext))
}

func TestDataKeyWithoutPlaintext(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	u := dataKey(custodiantest.KeyID)
	u.WithPlain = false
	made := mustUse(t, c, u)
	require.Empty(t, made.Plaintext)
	require.Zero(t, made.CacheFor, "what is not given cannot be cached")
	require.Len(t, mustUse(t, c, decrypt(made.Ciphertext)).Plaintext, 32)
}

// The largest payload that may be encrypted can be decrypted and rewrapped again.
func TestLargestPayload(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	payload := bytes.Repeat([]byte{'x'}, custodian.MaxPlaintext)
	sealed := mustUse(t, c, custodian.Use{Operation: access.Encrypt, Key: custodiantest.KeyID, Plaintext: payload})
	require.Equal(t, payload, mustUse(t, c, decrypt(sealed.Ciphertext)).Plaintext)
	again := mustUse(t, c, rewrap(sealed.Ciphertext))
	require.Equal(t, payload, mustUse(t, c, decrypt(again.Ciphertext)).Plaintext)

	empty := mustUse(t, c, custodian.Use{Operation: access.Encrypt, Key: custodiantest.KeyID})
	require.Empty(t, mustUse(t, c, decrypt(empty.Ciphertext)).Plaintext)
}

// The caller's plaintext stays the caller's, whatever becomes of the call.
func TestEncryptLeavesThePlaintextAlone(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	plaintext := []byte("mine")
	_, err := c.Use(context.Background(), c.App, custodian.Use{Operation: access.Encrypt, Key: custodiantest.KeyID, Plaintext: plaintext})
	require.NoError(t, err)
	mend := breakStorage(t, c)
	_, err = c.Use(context.Background(), c.App, custodian.Use{Operation: access.Encrypt, Key: custodiantest.KeyID, Plaintext: plaintext})
	require.Error(t, err)
	mend()
	require.Equal(t, "mine", string(plaintext))
}

func TestBadInputNamesTheFieldAndRecordsNothing(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	long := map[string]string{}
	for i := range 17 {
		long[strings.Repeat("f", i+1)] = ""
	}
	with := func(u custodian.Use, edit func(*custodian.Use)) custodian.Use { edit(&u); return u }
	k := custodiantest.KeyID
	for name, tc := range map[string]struct {
		use   custodian.Use
		field string
	}{
		"operation":        {custodian.Use{Operation: "stir", Key: k}, "operation"},
		"no operation":     {custodian.Use{Key: k}, "operation"},
		"data key short":   {with(dataKey(k), func(u *custodian.Use) { u.Bytes = 15 }), "bytes"},
		"data key long":    {with(dataKey(k), func(u *custodian.Use) { u.Bytes = 65 }), "bytes"},
		"data key none":    {with(dataKey(k), func(u *custodian.Use) { u.Bytes = 0 }), "bytes"},
		"plaintext":        {custodian.Use{Operation: access.Encrypt, Key: k, Plaintext: make([]byte, custodian.MaxPlaintext+1)}, "plaintext"},
		"no key":           {dataKey(""), "key"},
		"key name":         {dataKey("Demo Orders"), "key"},
		"key name long":    {dataKey(strings.Repeat("k", 65)), "key"},
		"key of decrypt":   {with(decrypt([]byte("x")), func(u *custodian.Use) { u.Key = "../x" }), "key"},
		"context pairs":    {with(dataKey(k), func(u *custodian.Use) { u.Context = long }), "context"},
		"context value":    {with(dataKey(k), func(u *custodian.Use) { u.Context = map[string]string{"a": strings.Repeat("v", 257)} }), `context["a"]`},
		"context encoding": {with(dataKey(k), func(u *custodian.Use) { u.Context = map[string]string{"a": "\xff"} }), `context["a"]`},
		"new context":      {with(rewrap([]byte("x")), func(u *custodian.Use) { u.NewContext = map[string]string{"": "a"} }), "new_context"},
		"reason":           {with(decrypt([]byte("x")), func(u *custodian.Use) { u.ReasonCode = "because\n" }), "reason"},
	} {
		t.Run(name, func(t *testing.T) {
			size := c.View().Head().Size
			used, err := c.Use(context.Background(), c.App, tc.use)
			var input *custodian.InputError
			require.ErrorAs(t, err, &input)
			require.Equal(t, tc.field, input.Field)
			require.NotEmpty(t, input.Problem)
			require.NotEmpty(t, input.Allowed)
			require.Zero(t, used)
			require.Equal(t, size, c.View().Head().Size)
		})
	}
}

func TestWarningAndCacheBounds(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	longLived(t, c)
	made := mustUse(t, c, dataKey(custodiantest.KeyID))
	require.Empty(t, made.Warning)
	require.Equal(t, 5*time.Minute, made.CacheFor)

	c.Clock.Advance(335*24*time.Hour + time.Second)
	made = mustUse(t, c, dataKey(custodiantest.KeyID))
	require.Contains(t, made.Warning, "in 29 days, on 2027-11-23")
	require.Empty(t, mustUse(t, c, decrypt(made.Ciphertext)).Warning, "who reads is not warned of the end of writing")

	for _, class := range []key.Classification{key.Restricted, key.CardholderData, key.EPHI} {
		change(t, c, custodian.KindKey, custodiantest.KeyID, func(k *key.Key) { k.Classification = class })
		require.Zero(t, mustUse(t, c, dataKey(custodiantest.KeyID)).CacheFor, class)
	}
}

// Whoever has no grant gets one answer, whether the key exists or not, and whatever state it is in.
func TestExistenceOfKeysIsNotTold(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	c.AddKey(t, "other", key.EPHI)
	change(t, c, custodian.KindKey, "other", func(k *key.Key) { k.Type, k.Environment = key.KeyWrapping, "production" })
	changeVersion(t, c, "other", 1, func(v *key.Version) { v.State = key.Compromised })
	c.AddKey(t, "half", key.Internal) // a key whose current version is not there
	change(t, c, custodian.KindKey, "half", func(k *key.Key) { k.Current = 7 })
	answer := func(u custodian.Use) custodian.Denied {
		used, err := c.Use(ctx, c.App, u)
		d := *requireDenied(t, "grant_missing", used, err)
		d.Reasons, d.Decision = nil, ""
		return d
	}
	compare := func(t *testing.T) {
		for _, keyID := range []string{"other", "half"} {
			require.Equal(t, answer(dataKey("none")), answer(dataKey(keyID)))
			require.Equal(t, answer(encrypt("none", "x")), answer(encrypt(keyID, "x")))
		}
	}
	compare(t)
	change(t, c, custodian.KindApplication, custodiantest.ApplicationID, func(a *access.Application) { a.Status = "suspended" })
	compare(t)
	person := c.App
	person.Kind, person.ID = identity.Human, "demo-ada"
	used, err := c.Use(ctx, person, dataKey(custodiantest.KeyID))
	requireDenied(t, "grant_missing", used, err)
}

// Refusals and failures name what they were about.
func TestEveryRefusalIsRecorded(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	sealed := mustUse(t, c, encrypt(custodiantest.KeyID, "text"))
	foreign := custodiantest.New(t, custodiantest.Options{})
	alien := mustUse(t, foreign, encrypt(custodiantest.KeyID, "text"))
	c.AddKey(t, "other", key.Internal)
	changed := bytes.Clone(sealed.Ciphertext)
	changed[len(changed)-1] ^= 1
	named := decrypt(sealed.Ciphertext)
	named.Key = "other"
	context1 := decrypt(sealed.Ciphertext)
	context1.Context = map[string]string{"a": "b"}

	for name, tc := range map[string]struct {
		use     custodian.Use
		want    error
		outcome ledger.Outcome
		reason  string
		target  ledger.Target
	}{
		"malformed":       {decrypt([]byte("nothing of ours")), custodian.ErrBadCiphertext, ledger.Failed, "bad_ciphertext", ledger.Target{Type: "key"}},
		"nothing":         {decrypt(nil), custodian.ErrBadCiphertext, ledger.Failed, "bad_ciphertext", ledger.Target{Type: "key"}},
		"cut off":         {decrypt(sealed.Ciphertext[:60]), custodian.ErrBadCiphertext, ledger.Failed, "bad_ciphertext", ledger.Target{Type: "key", ID: custodiantest.KeyID, Version: 1}},
		"altered":         {decrypt(changed), custodian.ErrBadCiphertext, ledger.Failed, "bad_ciphertext", ledger.Target{Type: "key", ID: custodiantest.KeyID, Version: 1}},
		"rewrap altered":  {rewrap(changed), custodian.ErrBadCiphertext, ledger.Failed, "bad_ciphertext", ledger.Target{Type: "key", ID: custodiantest.KeyID, Version: 1}},
		"another context": {context1, custodian.ErrBadCiphertext, ledger.Failed, "bad_ciphertext", ledger.Target{Type: "key", ID: custodiantest.KeyID, Version: 1}},
		"another key":     {named, custodian.ErrNotThisKey, ledger.Failed, "wrong_key", ledger.Target{Type: "key", ID: "other"}},
		"another house":   {decrypt(alien.Ciphertext), custodian.ErrForeign, ledger.Failed, "foreign_ciphertext", ledger.Target{Type: "key"}},
		"no grant":        {dataKey("other"), nil, ledger.Deny, "grant_missing", ledger.Target{Type: "key", ID: "other", Version: 1}},
		"no key":          {dataKey("none"), nil, ledger.Deny, "grant_missing", ledger.Target{Type: "key", ID: "none"}},
	} {
		t.Run(name, func(t *testing.T) {
			size := c.View().Head().Size
			used, err := c.Use(ctx, c.App, tc.use)
			require.Zero(t, used)
			if tc.want != nil {
				require.ErrorIs(t, err, tc.want)
			} else {
				requireDenied(t, tc.reason, used, err)
			}
			require.Equal(t, size+1, c.View().Head().Size, "one entry")
			e := last(t, c)
			require.Equal(t, "key.use."+string(tc.use.Operation), e.Type)
			require.Equal(t, tc.outcome, e.Outcome)
			require.Equal(t, tc.reason, e.Reason)
			require.Equal(t, tc.target, e.Target)
			require.Equal(t, c.App, e.Actor)
			if tc.outcome == ledger.Deny {
				require.NotEmpty(t, detailOf(t, e)["reasons"])
			}
		})
	}
}

// No altered bit of a ciphertext, header or body, opens.
func TestAlteredCiphertextsNeverOpen(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	sealed := mustUse(t, c, encrypt(custodiantest.KeyID, "text"))
	uses := make([]custodian.Use, 0, len(sealed.Ciphertext))
	for i := range sealed.Ciphertext {
		altered := bytes.Clone(sealed.Ciphertext)
		altered[i] ^= 1 << (i % 8)
		uses = append(uses, decrypt(altered))
	}
	for len(uses) > 0 {
		n := min(len(uses), custodian.MaxBatch)
		items, err := c.UseBatch(context.Background(), c.App, uses[:n])
		require.NoError(t, err)
		for i, item := range items {
			require.Error(t, item.Err, "byte %d", len(sealed.Ciphertext)-len(uses)+i)
			require.Zero(t, item.Used)
		}
		uses = uses[n:]
	}
}

// How far rewrapping has come can be counted from the ledger.
func TestRewrapRecordsBothVersions(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	sealed := mustUse(t, c, encrypt(custodiantest.KeyID, "text"))
	c.Put(t, custodian.KindKeyVersion, key.VersionID(custodiantest.KeyID, 2), c.NewVersion(t, custodiantest.KeyID, 2))
	change(t, c, custodian.KindKey, custodiantest.KeyID, func(k *key.Key) { k.Current, k.Versions = 2, 2 })
	u := rewrap(sealed.Ciphertext)
	u.ReasonCode = "maintenance"
	moved := mustUse(t, c, u)
	require.EqualValues(t, 2, moved.Version)
	e := last(t, c)
	require.Equal(t, ledger.Target{Type: "key", ID: custodiantest.KeyID, Version: 2}, e.Target)
	require.Equal(t, map[string]any{"from_version": 1.0, "reason_code": "maintenance"}, detailOf(t, e))
	require.Equal(t, "text", string(mustUse(t, c, decrypt(moved.Ciphertext)).Plaintext))
	require.Equal(t, "text", string(mustUse(t, c, decrypt(sealed.Ciphertext)).Plaintext), "the earlier version still processes")
}
