package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

func TestOpenRefusals(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		t.Run(driver, func(t *testing.T) {
			ctx := context.Background()
			cfg := storetest.Config(t, driver, schema())
			_, err := store.Open(ctx, cfg)
			require.ErrorIs(t, err, store.ErrNotInitialised)
			boom := errors.New("boom")
			require.ErrorIs(t, store.Initialise(ctx, cfg, func(*store.Tx) error { return boom }), boom)
			_, err = store.Open(ctx, cfg)
			require.ErrorIs(t, err, store.ErrNotInitialised, "a failed genesis leaves no ledger")
			storetest.Genesis(t, cfg, seed)
			require.ErrorIs(t, store.Initialise(ctx, cfg, seed), store.ErrInitialised)

			foreign := storetest.Config(t, driver, schema())
			foreign.DSN, foreign.HighWaterPath = cfg.DSN, ""
			_, err = store.Open(ctx, foreign)
			require.ErrorIs(t, err, store.ErrEdited, "another log key")

			narrow := cfg
			narrow.Schema = store.Schema{"note": store.JSON[note](false)}
			_, err = store.Open(ctx, narrow)
			require.ErrorIs(t, err, store.ErrNewerSchema)

			intruder(t, cfg)("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, " + map[string]string{store.SQLite: "1", store.Postgres: "true"}[driver] + ")")
			_, err = store.Open(ctx, cfg)
			require.ErrorIs(t, err, store.ErrNewerSchema)
			require.ErrorContains(t, err, "99")
			require.ErrorContains(t, err, "this program knows up to")
		})
	}
}

// A PostgreSQL that would lose what was acknowledged, and a URL that is none, are told from a server that is down.
func TestUnfitPostgres(t *testing.T) {
	good := storetest.Config(t, store.Postgres, schema())
	storetest.Genesis(t, good, seed)
	for dsn, want := range map[string]string{good.DSN + " synchronous_commit=off": "synchronous_commit is off", "postgres://u:p%zz@127.0.0.1/db": "postgres DSN",
		"postgres://u@127.0.0.1/db?sslmode=verify-full&sslrootcert=/no/such/file": "/no/such/file"} {
		cfg := good
		cfg.DSN = dsn
		_, err := store.Open(t.Context(), cfg)
		require.ErrorIs(t, err, store.ErrUnfit)
		require.ErrorContains(t, err, want)
		require.NotErrorIs(t, err, store.ErrUnavailable)
	}
}

func TestConfigRefusals(t *testing.T) {
	good := storetest.Config(t, store.SQLite, schema())
	for want, change := range map[string]func(*store.Config){
		"driver is":        func(c *store.Config) { c.Driver = "oracle" },
		"DSN is empty":     func(c *store.Config) { c.DSN = "" },
		"plain path":       func(c *store.Config) { c.DSN = ":memory:" },
		"schema is empty":  func(c *store.Config) { c.Schema = nil },
		"log key":          func(c *store.Config) { c.LogKey = nil },
		"clock is missing": func(c *store.Config) { c.Clock = nil },
		"node id":          func(c *store.Config) { c.Node = "" },
	} {
		cfg := good
		change(&cfg)
		_, err := store.Open(context.Background(), cfg)
		require.ErrorContains(t, err, want)
	}
}

func TestOneProcessPerSQLiteFile(t *testing.T) {
	cfg := storetest.Config(t, store.SQLite, schema())
	storetest.Genesis(t, cfg, seed)
	s := storetest.Open(t, cfg)
	_, err := store.Open(context.Background(), cfg)
	require.ErrorIs(t, err, store.ErrLocked)
	require.NoError(t, s.Close())
	storetest.Open(t, cfg)
	info, err := os.Stat(cfg.DSN)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// Two replicas append to one ledger at once.
func TestInvariant07_ReplicasShareOneLedger(t *testing.T) {
	cfg := storetest.Config(t, store.Postgres, schema())
	storetest.Genesis(t, cfg, seed)
	var nodes []*store.Store
	for i := range 3 {
		c := cfg
		c.Node, c.HighWaterPath = fmt.Sprintf("node-%d", i), filepath.Join(t.TempDir(), "mark")
		nodes = append(nodes, storetest.Open(t, c))
	}
	var written, bounced atomic.Int64
	var wg sync.WaitGroup
	for n, s := range nodes {
		for w := range 8 {
			wg.Go(func() {
				for i := range 25 {
					if w == 0 && i%5 == 0 {
						if _, err := put(s, "person", fmt.Sprintf("p%d-%d", n, i), person{Name: "x"}); err != nil {
							t.Error(err)
						}
						written.Add(1)
						continue
					}
					for {
						_, err := s.Append(context.Background(), use(), s.View().Epoch())
						if errors.Is(err, store.ErrEpochChanged) {
							bounced.Add(1)
							continue
						}
						if err != nil {
							t.Error(err)
							return
						}
						written.Add(1)
						break
					}
				}
			})
		}
	}
	wg.Wait()
	for _, s := range nodes {
		require.NoError(t, s.Refresh(context.Background()))
		require.Equal(t, nodes[0].View().Head(), s.View().Head())
		require.Equal(t, names(nodes[0].View(), "person"), names(s.View(), "person"))
		require.NoError(t, s.Health())
	}
	all := requireWhole(t, nodes[1])
	require.Len(t, all, int(written.Load())+1)
	byNode := map[string]int{}
	for _, e := range all {
		byNode[e.Node]++
	}
	require.Len(t, byNode, 3)
	t.Logf("%d decisions were made again", bounced.Load())
}

// What one replica revoked holds on the other at its next commit, without any notification.
func TestInvariant07_RevocationReachesOtherReplicas(t *testing.T) {
	cfg := storetest.Config(t, store.Postgres, schema())
	storetest.Genesis(t, cfg, seed)
	a := storetest.Open(t, cfg)
	other := cfg
	other.HighWaterPath = filepath.Join(t.TempDir(), "mark")
	b := storetest.Open(t, other)
	epoch := b.View().Epoch()
	_, err := put(a, "person", "ada", person{Name: "Ada", Roles: []string{"none"}})
	require.NoError(t, err)
	_, err = b.Append(context.Background(), use(), epoch)
	require.ErrorIs(t, err, store.ErrEpochChanged)
	p, _, err := store.Get[person](b.View(), "person", "ada")
	require.NoError(t, err)
	require.Equal(t, []string{"none"}, p.Roles, "the View had moved before the answer")

	// A foreign change whose row was edited before we load it is not believed.
	_, err = put(a, "person", "bob", person{Name: "Bob"})
	require.NoError(t, err)
	intruder(t, cfg)(`UPDATE authority_rows SET revision = 8 WHERE id = 'bob'`)
	require.NoError(t, b.Refresh(context.Background()))
	requireQuarantined(t, b, "bob", store.ProblemEdited)
}

// A full disk refuses, loses nothing and double-applies nothing; the service goes on when there is room.
func TestInvariant10_FullDisk(t *testing.T) {
	cfg := storetest.Config(t, store.SQLite, schema())
	storetest.Genesis(t, cfg, seed)
	s := storetest.Open(t, cfg)
	ctx := context.Background()
	epoch := s.View().Epoch()
	require.NoError(t, store.ExecWrite(s, "PRAGMA max_page_count = 40"))
	acknowledged := 1
	var err error
	for acknowledged < 10_000 {
		if _, err = s.Append(ctx, use(), epoch); err != nil {
			break
		}
		acknowledged++
	}
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.ErrorContains(t, err, "full")
	require.EqualValues(t, acknowledged, s.View().Head().Size)
	require.NoError(t, store.ExecWrite(s, "PRAGMA max_page_count = 100000"))
	_, err = s.Append(ctx, use(), epoch)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.Len(t, requireWhole(t, storetest.Open(t, cfg)), acknowledged+1)
}

// Connections die under load, some during COMMIT: each acknowledged entry is there once, no entry twice.
func TestInvariant10_LostConnections(t *testing.T) {
	cfg := storetest.Config(t, store.Postgres, schema())
	storetest.Genesis(t, cfg, seed)
	s := storetest.Open(t, cfg)
	query := access(t, cfg)
	var struck int64
	var acknowledged sync.Map
	var done, n atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for done.Load() < 2000 {
				e := use()
				e.Actor.RequestID = fmt.Sprintf("%08d", n.Add(1))
				switch _, err := s.Append(context.Background(), e, s.View().Epoch()); {
				case err == nil:
					acknowledged.Store(e.Actor.RequestID, true)
					done.Add(1)
				case !errors.Is(err, store.ErrUnavailable):
					t.Error(err)
					return
				}
			}
		})
	}
	for i := int64(1); i <= 10; i++ {
		for done.Load() < i*180 && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
		// Between two connections there is none to end: then this strike hits nobody, which is as well.
		struck += query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'conclave' AND datname = current_database()")
	}
	wg.Wait()
	require.GreaterOrEqual(t, struck, int64(5))
	require.NoError(t, s.Health())
	seen := map[string]bool{}
	for _, e := range requireWhole(t, s) {
		require.False(t, seen[e.Actor.RequestID], "written twice")
		seen[e.Actor.RequestID] = true
	}
	acknowledged.Range(func(id, _ any) bool {
		require.True(t, seen[id.(string)], "acknowledged entry is lost")
		return true
	})
}

const crashVariable = "CONCLAVE_TEST_CRASH_DIR"

// The process is killed while 32 writers append: whatever was acknowledged is there, whole, afterwards.
func TestInvariant10_AcknowledgedSurvivesKill(t *testing.T) {
	if dir := os.Getenv(crashVariable); dir != "" {
		crashing(t, dir)
		return
	}
	cfg := storetest.Config(t, store.SQLite, schema())
	storetest.Genesis(t, cfg, seed)
	dir := filepath.Dir(cfg.DSN)
	child := exec.Command(os.Args[0], "-test.run=^TestInvariant10_AcknowledgedSurvivesKill$")
	// What it leaves behind goes with this test: a killed process tidies nothing up.
	child.Env = append(os.Environ(), crashVariable+"="+dir, "TMPDIR="+t.TempDir())
	out, err := child.CombinedOutput()
	require.Error(t, err, "%s", out)
	acknowledged, err := os.ReadFile(filepath.Join(dir, "acknowledged"))
	require.NoError(t, err, "%s", out)
	require.GreaterOrEqual(t, len(acknowledged)/8, 500)
	all := requireWhole(t, storetest.Open(t, cfg))
	seen := map[string]bool{}
	for _, e := range all {
		seen[e.Actor.RequestID] = true
	}
	for i := 0; i+8 <= len(acknowledged); i += 8 {
		require.True(t, seen[string(acknowledged[i:i+8])], "acknowledged entry is lost")
	}
}

// crashing appends and writes down what was acknowledged until it kills itself.
func crashing(t *testing.T, dir string) {
	key, err := ledger.LoadLogKey(filepath.Join(dir, "log.key"))
	require.NoError(t, err)
	cfg := storetest.Config(t, store.SQLite, schema())
	cfg.DSN, cfg.LogKey, cfg.HighWaterPath = filepath.Join(dir, "ledger.db"), key, filepath.Join(dir, "high-water")
	s := storetest.Open(t, cfg)
	log, err := os.OpenFile(filepath.Join(dir, "acknowledged"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(t, err)
	self, err := os.FindProcess(os.Getpid())
	require.NoError(t, err)
	var n atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for {
				i := n.Add(1)
				e := use()
				e.Actor.RequestID = fmt.Sprintf("%08d", i)
				if _, err := s.Append(context.Background(), e, s.View().Epoch()); err != nil {
					t.Error(err)
					return
				}
				if _, err := log.WriteString(e.Actor.RequestID); err != nil {
					t.Error(err)
					return
				}
				if i == 1000 {
					if err := self.Kill(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}
