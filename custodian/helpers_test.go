package custodian_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/go-json-experiment/json"
	_ "github.com/mattn/go-sqlite3" // the intruder's own driver
	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

// change edits one row through the committer, as a ceremony would.
func change[T any](t testing.TB, c *custodiantest.Custodian, kind store.Kind, id string, edit func(*T)) {
	t.Helper()
	value, _, err := store.Get[T](c.View(), kind, id)
	require.NoError(t, err)
	edit(value)
	c.Put(t, kind, id, value)
}

func changeVersion(t testing.TB, c *custodiantest.Custodian, keyID string, version uint32, edit func(*key.Version)) {
	t.Helper()
	change(t, c, custodian.KindKeyVersion, key.VersionID(keyID, version), edit)
}

// longLived keeps grant and token out of the way of tests that move years ahead.
func longLived(t testing.TB, c *custodiantest.Custodian) {
	t.Helper()
	end := c.Clock.Now().AddDate(20, 0, 0)
	change(t, c, custodian.KindToken, c.App.Credential, func(k *access.Token) { k.ExpiresAt = end })
	change(t, c, custodian.KindGrant, custodiantest.GrantID, func(g *access.Grant) { g.ExpiresAt = end })
}

func dataKey(keyID string) custodian.Use {
	return custodian.Use{Operation: access.DataKey, Key: keyID, Bytes: 32, WithPlain: true}
}

func encrypt(keyID, text string) custodian.Use {
	return custodian.Use{Operation: access.Encrypt, Key: keyID, Plaintext: []byte(text)}
}

func decrypt(ciphertext []byte) custodian.Use {
	return custodian.Use{Operation: access.Decrypt, Ciphertext: ciphertext}
}

func rewrap(ciphertext []byte) custodian.Use {
	return custodian.Use{Operation: access.Rewrap, Ciphertext: ciphertext}
}

func mustUse(t testing.TB, c *custodiantest.Custodian, u custodian.Use) custodian.Used {
	t.Helper()
	used, err := c.Use(context.Background(), c.App, u)
	require.NoError(t, err)
	return used
}

// requireDenied wants a recorded refusal with this code, and nothing else answered.
func requireDenied(t testing.TB, code string, used custodian.Used, err error) *custodian.Denied {
	t.Helper()
	var denied *custodian.Denied
	require.ErrorAs(t, err, &denied)
	require.Equal(t, code, denied.Code, "%+v", denied.Reasons)
	require.NotEmpty(t, denied.Decision)
	require.Zero(t, used)
	return denied
}

// last is the newest entry of the ledger.
func last(t testing.TB, c *custodiantest.Custodian) *ledger.Entry {
	t.Helper()
	_, e, err := c.Store.EntryAt(context.Background(), c.View().Head().Size-1)
	require.NoError(t, err)
	return e
}

func detailOf(t testing.TB, e *ledger.Entry) map[string]any {
	t.Helper()
	var out map[string]any
	if len(e.Detail) > 0 {
		require.NoError(t, json.Unmarshal(e.Detail, &out))
	}
	return out
}

// intruder is somebody with SQL access to the database.
func intruder(t testing.TB, c *custodiantest.Custodian) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", c.Config.DSN+"?_busy_timeout=5000")
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// breakStorage makes every commit fail until the returned function is called.
func breakStorage(t testing.TB, c *custodiantest.Custodian) (mend func()) {
	t.Helper()
	db := intruder(t, c)
	_, err := db.Exec(`CREATE TRIGGER broken BEFORE INSERT ON ledger_batches BEGIN SELECT RAISE(ABORT, 'disk is full'); END`)
	require.NoError(t, err)
	return func() {
		_, err := db.Exec(`DROP TRIGGER broken`)
		require.NoError(t, err)
	}
}

func custodianNode() identity.Principal {
	return identity.Principal{Kind: identity.Node, ID: custodiantest.NodeID}
}

func human(id string) identity.Principal {
	return identity.Principal{Kind: identity.Human, ID: id, Credential: "key-1", Origin: "127.0.0.1", RequestID: "r1"}
}

func placementKey() policies.PlacementKey {
	return policies.PlacementKey{Type: string(key.DataEncryption), Classification: string(key.Internal), Impact: string(key.Low),
		Jurisdiction: "EU", Environment: "test", Algorithm: "aes-256", StrengthBits: 256}
}
