package custodian_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/soft"
)

// inState makes a key with a version of its own in a state, after a ciphertext was made under it.
func inState(t *testing.T, c *custodiantest.Custodian, s key.State) (keyID string, ciphertext []byte) {
	t.Helper()
	keyID = "in-" + string(s)
	c.AddKey(t, keyID, key.Internal)
	c.AddGrant(t, "grant-"+keyID, custodiantest.ApplicationID, keyID)
	ciphertext = mustUse(t, c, encrypt(keyID, "text")).Ciphertext
	c.Clock.Advance(time.Minute)
	changeVersion(t, c, keyID, 1, func(v *key.Version) { setState(v, s, c.Clock.Now()) })
	c.Clock.Advance(time.Minute)
	return keyID, ciphertext
}

func setState(v *key.Version, s key.State, at time.Time) {
	v.State, v.SuspendedAt = s, nil
	if s == key.Suspended {
		v.SuspendedAt = &at
	}
	if s == key.Destroyed {
		v.Material = hsm.Material{}
	}
}

// The answer of the door for every state and data-plane operation is the state table's (SP 800-57 Part 1 section 7).
func TestStateTable(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	for _, s := range key.States() {
		keyID, ciphertext := inState(t, c, s)
		protects := key.Permitted(s, key.Encrypt)
		processes := key.Permitted(s, key.Decrypt)
		check := func(name string, permission key.Permission, u custodian.Use) {
			t.Run(string(s)+"/"+name, func(t *testing.T) {
				used, err := c.Use(ctx, c.App, u)
				if permission == key.Free || permission == key.InPeriod {
					require.NoError(t, err)
					require.Equal(t, ledger.Allow, last(t, c).Outcome)
					return
				}
				var denied *custodian.Denied
				require.ErrorAs(t, err, &denied, "%s", permission)
				require.Zero(t, used)
				require.Equal(t, ledger.Deny, last(t, c).Outcome)
			})
		}
		check("datakey", protects, dataKey(keyID))
		check("encrypt", protects, encrypt(keyID, "more"))
		check("decrypt", processes, decrypt(ciphertext))

		// Away from this version, onto an active one.
		c.Put(t, custodian.KindKeyVersion, key.VersionID(keyID, 2), c.NewVersion(t, keyID, 2))
		change(t, c, custodian.KindKey, keyID, func(k *key.Key) { k.Current = 2 })
		check("rewrap from", processes, rewrap(ciphertext))
		// From an active version onto this one.
		onto := mustUse(t, c, encrypt(keyID, "text")).Ciphertext
		change(t, c, custodian.KindKey, keyID, func(k *key.Key) { k.Current = 1 })
		check("rewrap onto", protects, rewrap(onto))
	}
}

// While suspended, only data from before it is processed, with the risk accepted and a reason, and never on
// suspicion of compromise (state table, note (a)).
func TestSuspendedVersions(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	before := mustUse(t, c, encrypt(custodiantest.KeyID, "text")).Ciphertext
	c.Clock.Advance(time.Hour)
	suspendedAt := c.Clock.Now().Add(500 * time.Microsecond)
	sameMillisecond := mustUse(t, c, encrypt(custodiantest.KeyID, "text")).Ciphertext
	c.Clock.Advance(time.Hour)
	during := mustUse(t, c, encrypt(custodiantest.KeyID, "text")).Ciphertext

	for name, tc := range map[string]struct {
		suspected  bool
		ciphertext []byte
		accept     bool
		reason     string
		allowed    bool
	}{
		"accepted":              {false, before, true, "recovery", true},
		"not accepted":          {false, before, false, "recovery", false},
		"no reason":             {false, before, true, "", false},
		"unknown reason":        {false, before, true, "because", false},
		"from the suspension":   {false, during, true, "recovery", false},
		"of the very moment":    {false, sameMillisecond, true, "recovery", false},
		"compromise suspected":  {true, before, true, "recovery", false},
		"suspected, from later": {true, during, true, "recovery", false},
	} {
		t.Run(name, func(t *testing.T) {
			changeVersion(t, c, custodiantest.KeyID, 1, func(v *key.Version) {
				v.State, v.SuspendedAt, v.Suspected = key.Suspended, &suspendedAt, tc.suspected
			})
			u := decrypt(tc.ciphertext)
			u.AcceptRisk, u.ReasonCode = tc.accept, tc.reason
			used, err := c.Use(context.Background(), c.App, u)
			detail := detailOf(t, last(t, c))
			if tc.allowed {
				require.NoError(t, err)
				require.Equal(t, "text", string(used.Plaintext))
				require.Equal(t, map[string]any{"accept_risk": true, "reason_code": tc.reason}, detail)
				return
			}
			var denied *custodian.Denied
			require.ErrorAs(t, err, &denied)
			require.Zero(t, used)
			require.Equal(t, tc.accept, detail["accept_risk"] == true, "what was accepted is on record")
		})
	}
}

// Dates are enforced by the call itself: no job has to have run, and no remembered decision outlives one.
func TestCryptoperiodsEndByDate(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	start := c.Clock.Now()
	changeVersion(t, c, custodiantest.KeyID, 1, func(v *key.Version) {
		v.OUPEnd, v.RUPEnd = start.Add(time.Minute), start.Add(2*time.Minute)
	})
	sealed := mustUse(t, c, encrypt(custodiantest.KeyID, "text")).Ciphertext
	mustUse(t, c, decrypt(sealed))

	c.Clock.Advance(time.Minute - time.Nanosecond)
	mustUse(t, c, encrypt(custodiantest.KeyID, "text"))
	c.Clock.Advance(time.Nanosecond)
	used, err := c.Use(ctx, c.App, encrypt(custodiantest.KeyID, "text"))
	requireDenied(t, "oup_ended", used, err)
	used, err = c.Use(ctx, c.App, rewrap(sealed))
	requireDenied(t, "oup_ended", used, err)
	mustUse(t, c, decrypt(sealed))

	c.Clock.Advance(time.Minute - time.Nanosecond)
	mustUse(t, c, decrypt(sealed))
	c.Clock.Advance(time.Nanosecond)
	used, err = c.Use(ctx, c.App, decrypt(sealed))
	requireDenied(t, "rup_ended", used, err)
}

func TestActivationDate(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	changeVersion(t, c, custodiantest.KeyID, 1, func(v *key.Version) { v.ActivationAt = c.Clock.Now().Add(time.Minute) })
	used, err := c.Use(ctx, c.App, dataKey(custodiantest.KeyID))
	requireDenied(t, "not_yet_active", used, err)
	c.Clock.Advance(time.Minute)
	mustUse(t, c, dataKey(custodiantest.KeyID))
	c.Clock.MoveWall(-time.Second) // the hand on the clock does not carry the decision back in time
	used, err = c.Use(ctx, c.App, dataKey(custodiantest.KeyID))
	requireDenied(t, "not_yet_active", used, err)
}

// What proves and lets in the caller ends by its own date too, whatever was remembered.
func TestCredentialsAndGrantsEndByDate(t *testing.T) {
	for name, tc := range map[string]struct {
		end  func(t *testing.T, c *custodiantest.Custodian, at time.Time)
		code string
	}{
		"token": {func(t *testing.T, c *custodiantest.Custodian, at time.Time) {
			change(t, c, custodian.KindToken, c.App.Credential, func(k *access.Token) { k.ExpiresAt = at })
		}, "credential_expired"},
		"grant": {func(t *testing.T, c *custodiantest.Custodian, at time.Time) {
			change(t, c, custodian.KindGrant, custodiantest.GrantID, func(g *access.Grant) { g.ExpiresAt = at })
		}, "grant_expired"},
	} {
		t.Run(name, func(t *testing.T) {
			c := custodiantest.New(t, custodiantest.Options{})
			tc.end(t, c, c.Clock.Now().Add(time.Minute))
			mustUse(t, c, dataKey(custodiantest.KeyID))
			c.Clock.Advance(time.Minute)
			used, err := c.Use(context.Background(), c.App, dataKey(custodiantest.KeyID))
			requireDenied(t, tc.code, used, err)
		})
	}
}

func TestInactiveKeystore(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	sealed := mustUse(t, c, encrypt(custodiantest.KeyID, "text")).Ciphertext
	require.NoError(t, c.Soft.Deactivate(ctx))
	for _, u := range []custodian.Use{dataKey(custodiantest.KeyID), encrypt(custodiantest.KeyID, "x"), decrypt(sealed), rewrap(sealed)} {
		used, err := c.Use(ctx, c.App, u)
		denied := requireDenied(t, custodian.CodeKeystoreInactive, used, err)
		require.True(t, denied.Retryable)
	}
	c.Activate(t)
	require.Equal(t, "text", string(mustUse(t, c, decrypt(sealed)).Plaintext), "handles of before are opened anew")
}

// Versions of one key may live in different keystores; each is used where it lives.
func TestVersionsInDifferentKeystores(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	first := mustUse(t, c, encrypt(custodiantest.KeyID, "text")).Ciphertext

	activation, verifier, err := soft.NewActivation()
	require.NoError(t, err)
	second, err := soft.New(soft.Config{ID: "second", Verifier: verifier})
	require.NoError(t, err)
	require.NoError(t, second.Activate(ctx, activation))
	change(t, c, custodian.KindKeystore, custodiantest.KeystoreID, func(k *key.Keystore) { k.ID = "second" })
	record, _, err := store.Get[key.Keystore](c.View(), custodian.KindKeystore, custodiantest.KeystoreID)
	require.NoError(t, err)
	c.Put(t, custodian.KindKeystore, "second", record)
	change(t, c, custodian.KindKeystore, custodiantest.KeystoreID, func(k *key.Keystore) { k.ID = custodiantest.KeystoreID })
	v := c.NewVersion(t, custodiantest.KeyID, 2)
	v.Keystore = "second"
	v.Material, err = second.Create(ctx, custodiantest.KeyID, 2, hsm.AES256, "effect")
	require.NoError(t, err)
	c.Put(t, custodian.KindKeyVersion, key.VersionID(custodiantest.KeyID, 2), v)
	change(t, c, custodian.KindKey, custodiantest.KeyID, func(k *key.Key) { k.Keystore, k.Current = "second", 2 })

	used, err := c.Use(ctx, c.App, dataKey(custodiantest.KeyID))
	requireDenied(t, custodian.CodeKeystoreInactive, used, err) // this node has no driver of it yet
	require.NoError(t, c.AddKeystore("second", second))
	require.Error(t, c.AddKeystore("second", second), "one driver an id")
	mustUse(t, c, dataKey(custodiantest.KeyID))
	require.Equal(t, "text", string(mustUse(t, c, decrypt(first)).Plaintext))
	moved := mustUse(t, c, rewrap(first))
	require.EqualValues(t, 2, moved.Version)

	require.NoError(t, c.Soft.Deactivate(ctx))
	mustUse(t, c, dataKey(custodiantest.KeyID))
	mustUse(t, c, decrypt(moved.Ciphertext))
	for _, u := range []custodian.Use{decrypt(first), rewrap(first)} {
		used, err = c.Use(ctx, c.App, u)
		requireDenied(t, custodian.CodeKeystoreInactive, used, err)
	}
}

// A version whose record or material cannot be used fails as the keystore's failure, never as the caller's
// ciphertext and never by a panic.
func TestUnusableMaterial(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	for name, edit := range map[string]func(*key.Version){
		"blob":      func(v *key.Version) { v.Material.Blob[20] ^= 1 },
		"no blob":   func(v *key.Version) { v.Material.Blob = nil },
		"algorithm": func(v *key.Version) { v.Algorithm = 0 },
		"other key": func(v *key.Version) { v.Material.Key = "another" },
		"check":     func(v *key.Version) { v.Material.CheckValue = "0000000000" },
	} {
		t.Run(name, func(t *testing.T) {
			keyID := "bad-" + name[:2]
			c.AddKey(t, keyID, key.Internal)
			c.AddGrant(t, "grant-"+keyID, custodiantest.ApplicationID, keyID)
			changeVersion(t, c, keyID, 1, edit)
			used, err := c.Use(context.Background(), c.App, encrypt(keyID, "x"))
			require.ErrorIs(t, err, custodian.ErrKeystore)
			require.NotErrorIs(t, err, custodian.ErrBadCiphertext)
			require.Zero(t, used)
			e := last(t, c)
			require.Equal(t, ledger.Failed, e.Outcome)
			require.Equal(t, "keystore_error", e.Reason)
			require.EqualValues(t, 1, e.Target.Version)
		})
	}
	t.Run("record of another version", func(t *testing.T) {
		changeVersion(t, c, custodiantest.KeyID, 1, func(v *key.Version) { v.Version = 9 })
		used, err := c.Use(context.Background(), c.App, encrypt(custodiantest.KeyID, "x"))
		requireDenied(t, "integrity", used, err)
	})
}
