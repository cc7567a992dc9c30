package store_test

import (
	"context"
	"database/sql"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

// intruder is somebody with SQL access to the database: each query must change something.
func intruder(t *testing.T, cfg store.Config) func(query string) {
	t.Helper()
	exec := access(t, cfg)
	return func(query string) {
		t.Helper()
		require.NotZero(t, exec(query), "the intrusion changed nothing: %s", query)
	}
}

// access runs SQL past the store and answers how many rows it touched.
func access(t *testing.T, cfg store.Config) func(query string) int64 {
	t.Helper()
	driver, dsn := "sqlite3", cfg.DSN+"?_busy_timeout=5000"
	if cfg.Driver == store.Postgres {
		driver, dsn = "pgx", cfg.DSN
	}
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return func(query string) int64 {
		t.Helper()
		res, err := db.Exec(query)
		require.NoError(t, err)
		n, err := res.RowsAffected()
		require.NoError(t, err)
		return n
	}
}

// alerts collects violations.
type alerts struct {
	mu   sync.Mutex
	seen []store.Violation
}

func (a *alerts) add(v store.Violation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = append(a.seen, v)
}

func (a *alerts) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.seen)
}

// ledgerOf makes a ledger with genesis, some control entries and 702 data entries.
func ledgerOf(t *testing.T, driver string) store.Config {
	t.Helper()
	cfg := storetest.Config(t, driver, schema())
	storetest.Genesis(t, cfg, seed)
	s := storetest.Open(t, cfg)
	for _, id := range []string{"n1", "n2", "n3"} {
		_, err := put(s, "note", id, note{Text: id})
		require.NoError(t, err)
	}
	for range 2 { // two batches of one entry, at 4 and 5
		_, err := s.Append(context.Background(), use(), s.View().Epoch())
		require.NoError(t, err)
	}
	appendMany(t, s, 700)
	_, err := put(s, "note", "n4", note{Text: "n4"})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	return cfg
}

func appendMany(t *testing.T, s *store.Store, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if _, err := s.Append(context.Background(), use(), s.View().Epoch()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

const (
	editEve   = `UPDATE authority_rows SET body = CAST('{"name":"eve","roles":["security-officer"]}' AS BLOB) WHERE id = 'eve'`
	deleteBob = `DELETE FROM authority_rows WHERE id = 'bob'`
	insertMal = `INSERT INTO authority_rows (kind, id, revision, seq, body) VALUES ('person', 'mal', 1, 0, CAST('{"name":"mal"}' AS BLOB))`
)

// forDriver writes byte literals the dialect's way.
func forDriver(cfg store.Config, query string) string {
	if cfg.Driver == store.Postgres {
		query = strings.ReplaceAll(query, "CAST(", "convert_to(")
		query = strings.ReplaceAll(query, " AS BLOB)", ", 'UTF8')")
	}
	return query
}

func TestInvariant08_RowsEditedWhileStopped(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		for _, c := range []struct {
			name, query, id string
			problem         store.Problem
		}{
			{"edited", editEve, "eve", store.ProblemEdited},
			{"revision", `UPDATE authority_rows SET revision = 9 WHERE id = 'eve'`, "eve", store.ProblemEdited},
			{"deleted", deleteBob, "bob", store.ProblemMissing},
			{"inserted", insertMal, "mal", store.ProblemExtra},
		} {
			t.Run(driver+"/"+c.name, func(t *testing.T) {
				cfg := storetest.Config(t, driver, schema())
				storetest.Genesis(t, cfg, seed)
				intruder(t, cfg)(forDriver(cfg, c.query))
				var a alerts
				cfg.Alert = a.add
				s := storetest.Open(t, cfg)
				requireQuarantined(t, s, c.id, c.problem)
				require.Equal(t, 1, a.count())
				require.Error(t, s.Health())

				// The row is set anew by a control change: it is bound again and released.
				_, err := put(s, "person", c.id, person{Name: "restored"})
				require.NoError(t, err)
				require.NoError(t, s.Health())
				found, err := s.Integrity(context.Background())
				require.NoError(t, err)
				require.Empty(t, found)
			})
		}
	}
}

func requireQuarantined(t *testing.T, s *store.Store, id string, problem store.Problem) {
	t.Helper()
	v := s.View()
	_, err := v.Get("person", id)
	var tampered *store.TamperedError
	require.ErrorAs(t, err, &tampered)
	require.Equal(t, id, tampered.ID)
	require.NotContains(t, names(v, "person"), id)
	list := v.Tampered("person")
	require.Len(t, list, 1)
	require.Equal(t, problem, list[0].Problem)
}

func TestInvariant08_RowsEditedWhileRunning(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		for _, c := range []struct {
			name, query, id string
			problem         store.Problem
		}{
			{"edited", editEve, "eve", store.ProblemEdited},
			{"deleted", deleteBob, "bob", store.ProblemMissing},
			{"inserted", insertMal, "mal", store.ProblemExtra},
		} {
			t.Run(driver+"/"+c.name, func(t *testing.T) {
				cfg := storetest.Config(t, driver, schema())
				var a alerts
				cfg.Alert = a.add
				storetest.Genesis(t, cfg, seed)
				s := storetest.Open(t, cfg)
				generation := s.View().Generation()
				ctx := context.Background()
				found, err := s.Integrity(ctx)
				require.NoError(t, err)
				require.Empty(t, found)
				intruder(t, cfg)(forDriver(cfg, c.query))
				for range 2 {
					found, err = s.Integrity(ctx)
					require.NoError(t, err)
					require.Len(t, found, 1)
					require.Equal(t, c.problem, found[0].Problem)
					requireQuarantined(t, s, c.id, c.problem)
				}
				require.Equal(t, 1, a.count(), "told once")
				require.Error(t, s.Health())
				require.NotEqual(t, generation, s.View().Generation())
			})
		}
	}
}

func TestRowPutRightIsReleased(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		t.Run(driver, func(t *testing.T) {
			cfg := storetest.Config(t, driver, schema())
			storetest.Genesis(t, cfg, seed)
			s := storetest.Open(t, cfg)
			hack := intruder(t, cfg)
			hack(`UPDATE authority_rows SET revision = 7 WHERE id = 'eve'`)
			found, err := s.Integrity(context.Background())
			require.NoError(t, err)
			require.Len(t, found, 1)
			hack(`UPDATE authority_rows SET revision = 1 WHERE id = 'eve'`)
			found, err = s.Integrity(context.Background())
			require.NoError(t, err)
			require.Empty(t, found)
			p, _, err := store.Get[person](s.View(), "person", "eve")
			require.NoError(t, err)
			require.Equal(t, "eve", p.Name)
			require.NoError(t, s.Health())
		})
	}
}

// Whatever is done to the ledger's own tables, the store does not start on it.
func TestInvariant09_LedgerEditedWhileStopped(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		t.Run(driver, func(t *testing.T) {
			for _, c := range []struct {
				name, query string
				want        error
			}{
				{"control batch deleted", `DELETE FROM ledger_batches WHERE first_seq = 2`, store.ErrEdited},
				{"control batch hidden", `UPDATE ledger_batches SET control = 0 WHERE first_seq = 2`, store.ErrEdited},
				{"control batch replaced", `UPDATE ledger_batches SET body = (SELECT body FROM ledger_batches b WHERE b.first_seq = 3) WHERE first_seq = 2`, store.ErrEdited},
				{"last batch deleted", `DELETE FROM ledger_batches WHERE first_seq = (SELECT MAX(first_seq) FROM ledger_batches)`, store.ErrEdited},
				{"count", `UPDATE ledger_batches SET count = 2 WHERE first_seq = 2`, store.ErrEdited},
				{"head column", `UPDATE ledger_head SET epoch = 99`, store.ErrEdited},
				{"head note", `UPDATE ledger_head SET note = root`, store.ErrEdited},
				{"head gone", `DELETE FROM ledger_head`, store.ErrEdited},
				{"tile edited", `UPDATE ledger_tiles SET body = (SELECT body FROM ledger_tiles t WHERE t.idx = 1 AND t.level = 0) WHERE idx = 0 AND level = 0`, store.ErrEdited},
				{"tiles gone", `DELETE FROM ledger_tiles`, store.ErrEdited},
				{"signed older head put back", `UPDATE ledger_head SET note = (SELECT note FROM ledger_checkpoints WHERE size = 3), size = 3`, store.ErrEdited},
			} {
				t.Run(c.name, func(t *testing.T) {
					cfg := ledgerOf(t, driver)
					intruder(t, cfg)(c.query)
					_, err := store.Open(context.Background(), cfg)
					require.ErrorIs(t, err, c.want)
				})
			}
		})
	}
}

func TestInvariant09_LedgerEditedWhileRunning(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		for name, query := range map[string]string{
			"control batch deleted": `DELETE FROM ledger_batches WHERE first_seq = 1`,
			"head edited":           `UPDATE ledger_head SET epoch = 99`,
			"head note edited":      `UPDATE ledger_head SET note = root`,
			"head gone":             `DELETE FROM ledger_head`,
		} {
			t.Run(driver+"/"+name, func(t *testing.T) {
				cfg := storetest.Config(t, driver, schema())
				var a alerts
				cfg.Alert = a.add
				storetest.Genesis(t, cfg, seed)
				s := storetest.Open(t, cfg)
				_, err := put(s, "note", "n1", note{Text: "x"})
				require.NoError(t, err)
				intruder(t, cfg)(query)
				found, err := s.Integrity(context.Background())
				require.NoError(t, err)
				require.NotEmpty(t, found)
				require.NotZero(t, a.count())
				require.Error(t, s.Health())
				_, err = put(s, "note", "n2", note{Text: "x"})
				require.ErrorIs(t, err, store.ErrEdited, "nothing is written on an edited ledger")
			})
		}
	}
}

// A head that the intruder changed is also found by the next commits, without a sweep.
func TestInvariant09_CommitNoticesEditedHead(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		t.Run(driver, func(t *testing.T) {
			cfg := storetest.Config(t, driver, schema())
			storetest.Genesis(t, cfg, seed)
			s := storetest.Open(t, cfg)
			intruder(t, cfg)(`UPDATE ledger_head SET note = root`)
			_, err := put(s, "note", "n1", note{Text: "x"})
			require.Error(t, err)
			_, err = put(s, "note", "n1", note{Text: "x"})
			require.ErrorIs(t, err, store.ErrEdited)
			require.Error(t, s.Health())
		})
	}
}

// The data plane is not read at start, so that starting takes no longer on a large ledger; an edit there is found
// by whoever reads it.
func TestInvariant09_DataBatchEdited(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		t.Run(driver, func(t *testing.T) {
			cfg := ledgerOf(t, driver)
			intruder(t, cfg)(`UPDATE ledger_batches SET body = (SELECT body FROM ledger_batches b WHERE b.first_seq = 5) WHERE first_seq = 4`)
			ctx := context.Background()
			s := storetest.Open(t, cfg)
			err := s.Entries(ctx, 0, s.View().Head().Size, func(*ledger.Entry, []byte) error { return nil })
			require.ErrorIs(t, err, store.ErrEdited)
			_, _, err = s.EntryAt(ctx, 4)
			require.ErrorIs(t, err, store.ErrEdited)
			_, _, err = s.EntryAt(ctx, 5)
			require.NoError(t, err)
		})
	}
}

func TestInvariant09_RestoredOlderDatabase(t *testing.T) {
	cfg := storetest.Config(t, store.SQLite, schema())
	storetest.Genesis(t, cfg, seed)
	s := storetest.Open(t, cfg)
	_, err := put(s, "note", "n1", note{Text: "x"})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	backup := filepath.Join(t.TempDir(), "backup.db")
	copyFile(t, cfg.DSN, backup)

	s = storetest.Open(t, cfg)
	appendMany(t, s, 300)
	require.NoError(t, s.Close())
	newer := cfg
	cfg.DSN = backup
	_, err = store.Open(context.Background(), cfg)
	require.ErrorIs(t, err, store.ErrRollback)
	require.ErrorContains(t, err, "the tail of the ledger is missing")

	// The same backup continued elsewhere is another history of the same log.
	lost := cfg
	lost.HighWaterPath = filepath.Join(t.TempDir(), "other")
	s = storetest.Open(t, lost)
	appendMany(t, s, 400)
	require.NoError(t, s.Close())
	_, err = store.Open(context.Background(), cfg)
	require.ErrorIs(t, err, store.ErrFork)
	storetest.Open(t, newer)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())
}
