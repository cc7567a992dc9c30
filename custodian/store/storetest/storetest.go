package storetest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"testing"

	"conclave/custodian/clock"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// Drivers lists what every store test runs on.
func Drivers() []string { return []string{store.SQLite, store.Postgres} }

// Config is the configuration of a fresh, empty database of a driver with a log key of its own, the system
// clock, and a high-water file. Change what the test needs otherwise before it is used.
func Config(tb testing.TB, driver string, schema store.Schema) store.Config {
	tb.Helper()
	dir := tb.TempDir()
	var dsn string
	if driver == store.Postgres {
		dsn = Postgres(tb)
	} else {
		dsn = SQLite(tb, filepath.Join(dir, "ledger.db"))
	}
	seed := make([]byte, 16)
	rand.Read(seed)
	instance := sha256.Sum256(seed)
	origin, err := ledger.Origin(hex.EncodeToString(instance[:]))
	if err != nil {
		tb.Fatal(err)
	}
	key, err := ledger.GenerateLogKey(filepath.Join(dir, "log.key"), origin)
	if err != nil {
		tb.Fatal(err)
	}
	return store.Config{
		Driver: driver, DSN: dsn, Schema: schema, LogKey: key,
		HighWaterPath: filepath.Join(dir, "high-water"),
		Clock:         clock.NewSystem(), Node: "node-1",
	}
}

// Entry is a valid entry of a type, by this node.
func Entry(kind string) ledger.Entry {
	return ledger.Entry{
		Type:    kind,
		Actor:   identity.Principal{Kind: identity.Node, ID: "node-1"},
		Target:  ledger.Target{Type: "test", ID: "target"},
		Outcome: ledger.Done,
	}
}

// Genesis makes a ledger of one entry, after what put adds; put may be nil.
func Genesis(tb testing.TB, cfg store.Config, put func(*store.Tx) error) {
	tb.Helper()
	err := store.Initialise(context.Background(), cfg, func(tx *store.Tx) error {
		if put != nil {
			if err := put(tx); err != nil {
				return err
			}
		}
		return tx.Append(Entry("genesis"))
	})
	if err != nil {
		tb.Fatalf("genesis: %v", err)
	}
}

// Open opens a store that is closed when the test ends, if it is not closed before.
func Open(tb testing.TB, cfg store.Config) *store.Store {
	tb.Helper()
	s, err := store.Open(context.Background(), cfg)
	if err != nil {
		tb.Fatalf("opening store: %v", err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("closing store: %v", err)
		}
	})
	return s
}

// Each runs a test on every driver. open opens the ledger, made by Genesis with put at the first call; a later
// call closes the store opened before and opens it again, as a restart does.
func Each(t *testing.T, schema store.Schema, put func(*store.Tx) error, test func(t *testing.T, open func() *store.Store)) {
	for _, driver := range Drivers() {
		t.Run(driver, func(t *testing.T) {
			cfg := Config(t, driver, schema)
			Genesis(t, cfg, put)
			var current *store.Store
			test(t, func() *store.Store {
				if current != nil {
					if err := current.Close(); err != nil {
						t.Fatalf("closing store: %v", err)
					}
				}
				current = Open(t, cfg)
				return current
			})
		})
	}
}
