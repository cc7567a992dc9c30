package storetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"conclave/custodian/clock"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// errNoGenesis ends [store.Initialise] when the schema stands.
var errNoGenesis = errors.New("no genesis")

// migrated is a database file with the schema and without a ledger: what [store.Initialise] leaves when its genesis
// fails. It is made once a test binary, since under the race detector a quarter of what the parser of migrations
// puts back into its pool of 4 MiB buffers is thrown away, at each line (sync.Pool, goose's sqlparser).
var migrated = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "conclave-schema-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	origin, err := ledger.Origin(strings.Repeat("00", 32))
	if err != nil {
		return nil, err
	}
	key, err := ledger.GenerateLogKey(filepath.Join(dir, "log.key"), origin)
	if err != nil {
		return nil, err
	}
	cfg := store.Config{Driver: store.SQLite, DSN: filepath.Join(dir, "db"), Schema: store.Schema{"row": store.JSON[map[string]any](false)}, LogKey: key, Clock: clock.NewSystem(), Node: "node-1"}
	if err := store.Initialise(context.Background(), cfg, func(*store.Tx) error { return errNoGenesis }); !errors.Is(err, errNoGenesis) {
		return nil, err
	}
	return os.ReadFile(cfg.DSN)
})

// SQLite puts an SQLite database with the schema and without a ledger at path, and returns path.
func SQLite(tb testing.TB, path string) string {
	tb.Helper()
	file, err := migrated()
	if err == nil {
		err = os.WriteFile(path, file, 0o600)
	}
	if err != nil {
		tb.Fatalf("making a test database: %v", err)
	}
	return path
}
