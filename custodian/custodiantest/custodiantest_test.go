package custodiantest_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// After a restart everything acknowledged is there, and the keystore waits for its activation secret.
func TestRestart(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	made, err := c.Use(ctx, c.App, custodian.Use{Operation: access.DataKey, Key: custodiantest.KeyID, Bytes: 32, WithPlain: true})
	require.NoError(t, err)
	size, epoch := c.View().Head().Size, c.View().Epoch()

	c.Restart(t)
	require.NoError(t, c.Store.Health())
	require.Equal(t, size, c.View().Head().Size)
	require.Equal(t, epoch, c.View().Epoch())
	require.False(t, c.Soft.Active())

	decrypt := custodian.Use{Operation: access.Decrypt, Ciphertext: made.Ciphertext}
	_, err = c.Use(ctx, c.App, decrypt)
	var denied *custodian.Denied
	require.ErrorAs(t, err, &denied)
	require.Equal(t, custodian.CodeKeystoreInactive, denied.Code)

	c.Activate(t)
	opened, err := c.Use(ctx, c.App, decrypt)
	require.NoError(t, err)
	require.Equal(t, made.Plaintext, opened.Plaintext)
	recorded, err := c.Why(ctx, made.Decision)
	require.NoError(t, err)
	require.Equal(t, "key.use.datakey", recorded.Entry.Type)
}

func TestEmptyInstance(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{Empty: true, Mode: custodian.Production})
	require.Equal(t, custodian.Production, c.Service.Instance().Mode)
	for _, kind := range []store.Kind{custodian.KindPerson, custodian.KindKey, custodian.KindGrant, custodian.KindToken} {
		for range c.View().List(kind) {
			t.Errorf("an empty instance has a %s", kind)
		}
	}
}

// The demo rows are such that the rules of their packages accept them.
func TestDemoRowsAreValid(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{Class: key.EPHI})
	view := c.View()
	for _, id := range custodiantest.People() {
		_, _, err := store.Get[people.Person](view, custodian.KindPerson, id)
		require.NoError(t, err)
	}
	k, _, err := store.Get[key.Key](view, custodian.KindKey, custodiantest.KeyID)
	require.NoError(t, err)
	require.NoError(t, k.Validate())
	require.Equal(t, key.EPHI, k.Classification)
	v, _, err := store.Get[key.Version](view, custodian.KindKeyVersion, key.VersionID(custodiantest.KeyID, 1))
	require.NoError(t, err)
	require.NoError(t, v.CheckHistory())
	g, _, err := store.Get[access.Grant](view, custodian.KindGrant, custodiantest.GrantID)
	require.NoError(t, err)
	require.NoError(t, g.Validate())
	token, _, err := store.Get[access.Token](view, custodian.KindToken, c.App.Credential)
	require.NoError(t, err)
	require.NoError(t, token.Validate())
	require.NoError(t, c.Token.Use(func(b []byte) error {
		presented, err := access.ParseToken(string(b))
		require.NoError(t, err)
		return access.Verify(token, presented, c.Clock.Now())
	}))
	_, err = os.Stat(c.Config.DSN)
	require.NoError(t, err, "a real database file")
}

func TestClockMovesOnlyWhenTold(t *testing.T) {
	c := custodiantest.NewClock()
	require.Equal(t, custodiantest.Start(), c.Now())
	c.Advance(time.Hour)
	require.Equal(t, custodiantest.Start().Add(time.Hour), c.Now())
	require.Equal(t, time.Hour, c.Elapsed())
	c.MoveWall(-3 * time.Hour)
	require.Equal(t, custodiantest.Start().Add(-2*time.Hour), c.Now())
	require.Equal(t, time.Hour, c.Elapsed(), "the hand on the wall clock moves no time")
}
