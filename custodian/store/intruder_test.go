package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/clock"
	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

// Content that the ledger did once bind, to another revision or to another row, is no better than invented content.
func TestInvariant08_GenuineContentInTheWrongPlace(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		for _, c := range []struct {
			name    string
			queries []string
		}{
			{"old body", []string{`UPDATE authority_rows SET body = CAST('{"text":"old"}' AS BLOB) WHERE id = 'n1'`}},
			{"old row", []string{`UPDATE authority_rows SET revision = 1, seq = 1, body = CAST('{"text":"old"}' AS BLOB) WHERE id = 'n1'`}},
			{"body of another row", []string{`UPDATE authority_rows SET body = (SELECT body FROM authority_rows r WHERE r.id = 'n2') WHERE id = 'n1'`}},
			{"renamed", []string{`DELETE FROM authority_rows WHERE id = 'n1'`, `UPDATE authority_rows SET id = 'n1' WHERE id = 'n2'`}},
			{"position", []string{`UPDATE authority_rows SET seq = seq - 1 WHERE id = 'n1'`}},
		} {
			t.Run(driver+"/"+c.name, func(t *testing.T) {
				cfg := storetest.Config(t, driver, schema())
				storetest.Genesis(t, cfg, seed)
				s := storetest.Open(t, cfg)
				for _, row := range [][2]string{{"n1", "old"}, {"n1", "new"}, {"n2", "other"}} {
					_, err := put(s, "note", row[0], note{Text: row[1]})
					require.NoError(t, err)
				}
				for _, query := range c.queries {
					intruder(t, cfg)(forDriver(cfg, query))
				}
				_, err := s.Integrity(context.Background())
				require.NoError(t, err)
				var tampered *store.TamperedError
				_, err = s.View().Get("note", "n1")
				require.ErrorAs(t, err, &tampered, "while running")
				require.NoError(t, s.Close())
				s = storetest.Open(t, cfg)
				_, err = s.View().Get("note", "n1")
				require.ErrorAs(t, err, &tampered, "after a start")
			})
		}
	}
}

// A value that no column of ours holds is an edit like any other. It must not look like a database that does not
// answer: that would end every sweep before it has seen the rest, and leave the node healthy.
func TestInvariant08_ImpossibleValuesBlindNobody(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		queries := []string{`UPDATE authority_rows SET revision = -1 WHERE id = 'bob'`, `UPDATE authority_rows SET seq = -7 WHERE id = 'bob'`}
		if driver == store.SQLite { // its columns take values of any type
			queries = append(queries, `UPDATE authority_rows SET revision = 'many' WHERE id = 'bob'`,
				`UPDATE authority_rows SET seq = 1.5 WHERE id = 'bob'`, `UPDATE authority_rows SET body = 7 WHERE id = 'bob'`)
		}
		for _, query := range queries {
			t.Run(driver+"/"+query, func(t *testing.T) {
				cfg := storetest.Config(t, driver, schema())
				storetest.Genesis(t, cfg, seed)
				s := storetest.Open(t, cfg)
				hack := intruder(t, cfg)
				hack(query)
				hack(forDriver(cfg, editEve))
				found, err := s.Integrity(context.Background())
				require.NoError(t, err)
				require.Len(t, found, 2)
				require.NoError(t, s.Close())
				s = storetest.Open(t, cfg)
				require.Len(t, s.View().Tampered("person"), 2)
			})
		}
		for _, query := range []string{`UPDATE ledger_head SET size = -1`, `UPDATE ledger_head SET control_last = -1`} {
			t.Run(driver+"/"+query, func(t *testing.T) {
				cfg := storetest.Config(t, driver, schema())
				storetest.Genesis(t, cfg, seed)
				s := storetest.Open(t, cfg)
				intruder(t, cfg)(query)
				_, err := s.Integrity(context.Background())
				require.NoError(t, err)
				require.ErrorIs(t, s.Health(), store.ErrEdited)
				require.NoError(t, s.Close())
				_, err = store.Open(context.Background(), cfg)
				require.ErrorIs(t, err, store.ErrEdited)
			})
		}
	}
}

// Whoever can stop the sweep could edit unseen: the node does not count as healthy then.
func TestInvariant08_ASweepThatCannotBeMadeShows(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		t.Run(driver, func(t *testing.T) {
			cfg := storetest.Config(t, driver, schema())
			storetest.Genesis(t, cfg, seed)
			s := storetest.Open(t, cfg)
			hack := intruder(t, cfg)
			change(t, cfg, `ALTER TABLE authority_rows RENAME TO elsewhere`)
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			go s.Guard(ctx, time.Millisecond)
			require.Eventually(t, func() bool { return s.Health() != nil }, time.Minute, time.Millisecond)
			hack(`UPDATE elsewhere SET seq = seq`)
			change(t, cfg, `ALTER TABLE elsewhere RENAME TO authority_rows`)
			require.Eventually(t, func() bool { return s.Health() == nil }, time.Minute, time.Millisecond)
		})
	}
}

// change runs a statement that reports no rows.
func change(t *testing.T, cfg store.Config, query string) {
	t.Helper()
	driver, dsn := "sqlite3", cfg.DSN+"?_busy_timeout=5000"
	if cfg.Driver == store.Postgres {
		driver, dsn = "pgx", cfg.DSN
	}
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Exec(query)
	require.NoError(t, err)
}

// What is put where the ledger has not got to yet is named, before commits run into it.
func TestInvariant09_InsertedBeyondTheHead(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		for name, query := range map[string]string{
			"control batch": `INSERT INTO ledger_batches (first_seq, count, control, body) SELECT 5000, count, control, body FROM ledger_batches WHERE first_seq = 0`,
			"data batch":    `INSERT INTO ledger_batches (first_seq, count, control, body) SELECT 3, count, 0, body FROM ledger_batches WHERE first_seq = 0`,
			"tile":          `INSERT INTO ledger_tiles (level, idx, body) SELECT 0, 1, body FROM ledger_batches WHERE first_seq = 0`,
			"high tile":     `INSERT INTO ledger_tiles (level, idx, body) SELECT 2, 0, body FROM ledger_batches WHERE first_seq = 0`,
		} {
			t.Run(driver+"/"+name, func(t *testing.T) {
				cfg := storetest.Config(t, driver, schema())
				storetest.Genesis(t, cfg, seed)
				s := storetest.Open(t, cfg)
				intruder(t, cfg)(query)
				found, err := s.Integrity(context.Background())
				require.NoError(t, err)
				require.Len(t, found, 1)
				require.ErrorIs(t, s.Health(), store.ErrEdited)
				require.NoError(t, s.Close())
				_, err = store.Open(context.Background(), cfg)
				require.ErrorIs(t, err, store.ErrEdited)
			})
		}
	}
}

// Answers kept for idempotency keys are not rows of the ledger, and yet nobody can write one.
func TestInvariant08_ForgedRepliesAreNotGiven(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		for name, query := range map[string]string{
			"body":    `UPDATE idempotency SET body = CAST('{"once":"chosen by an intruder"}' AS BLOB) WHERE key = 'k1'`,
			"empty":   `UPDATE idempotency SET body = CAST('' AS BLOB) WHERE key = 'k1'`,
			"status":  `UPDATE idempotency SET status = 200 WHERE key = 'k1'`,
			"request": `UPDATE idempotency SET request_hash = CAST('another' AS BLOB) WHERE key = 'k1'`,
			"time":    `UPDATE idempotency SET created_at = created_at + 1000000 WHERE key = 'k1'`,
			"moved":   `UPDATE idempotency SET body = (SELECT body FROM idempotency i WHERE i.key = 'k2') WHERE key = 'k1'`,
			"caller":  `INSERT INTO idempotency SELECT 'human:eve', key, request_hash, status, body, created_at FROM idempotency WHERE key = 'k1'`,
		} {
			t.Run(driver+"/"+name, func(t *testing.T) {
				cfg := storetest.Config(t, driver, schema())
				var a alerts
				cfg.Alert = a.add
				storetest.Genesis(t, cfg, seed)
				s := storetest.Open(t, cfg)
				ctx := context.Background()
				for _, key := range []string{"k1", "k2"} {
					_, err := s.SaveIdempotency(ctx, store.IdempotentReply{Principal: "human:ada", Key: key,
						RequestHash: bytes.Repeat([]byte{1}, 32), Status: 201, Body: []byte(`{"id":"` + key + `"}`)})
					require.NoError(t, err)
				}
				intruder(t, cfg)(forDriver(cfg, query))
				who := "human:ada"
				if name == "caller" {
					who = "human:eve"
				}
				var tampered *store.TamperedError
				_, err := s.Idempotency(ctx, who, "k1")
				require.ErrorAs(t, err, &tampered)
				require.Equal(t, 1, a.count())
				kept, err := s.Idempotency(ctx, "human:ada", "k2")
				require.NoError(t, err)
				require.Equal(t, `{"id":"k2"}`, string(kept.Body))
			})
		}
	}
}

// A lease that nobody could have taken holds up nothing.
func TestInvariant08_AForgedLeaseStopsNoJob(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		queries := []string{`UPDATE job_leases SET holder = 'nobody', until_time = 9000000000000000000`,
			`UPDATE job_leases SET holder = 'nobody', until_time = -5`}
		if driver == store.SQLite {
			queries = append(queries, `UPDATE job_leases SET holder = 'nobody', until_time = 'for ever'`)
		}
		for _, query := range queries {
			t.Run(driver+"/"+query, func(t *testing.T) {
				cfg := storetest.Config(t, driver, schema())
				cfg.Clock = clock.NewSystem()
				storetest.Genesis(t, cfg, seed)
				s := storetest.Open(t, cfg)
				ctx := context.Background()
				ours, err := s.Lease(ctx, "jobs", "n1", time.Minute)
				require.NoError(t, err)
				require.True(t, ours)
				theirs, err := s.Lease(ctx, "jobs", "n2", time.Minute)
				require.NoError(t, err)
				require.False(t, theirs)
				intruder(t, cfg)(query)
				ours, err = s.Lease(ctx, "jobs", "n1", time.Minute)
				require.NoError(t, err)
				require.True(t, ours)
			})
		}
	}
}

// Whoever takes away the mark together with the newer database leaves a trace: the store knows that it started
// without one, and the node records it.
func TestInvariant09_AStartWithoutAMarkIsKnown(t *testing.T) {
	cfg := storetest.Config(t, store.SQLite, schema())
	storetest.Genesis(t, cfg, seed)
	s := storetest.Open(t, cfg)
	require.True(t, s.Anchored())
	_, err := put(s, "note", "n1", note{Text: "x"})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, os.Remove(cfg.HighWaterPath))
	s = storetest.Open(t, cfg)
	require.False(t, s.Anchored())
	require.NoError(t, s.Close())
	require.True(t, storetest.Open(t, cfg).Anchored())
}
