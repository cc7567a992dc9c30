package boot_test

import (
	"bytes"
	"database/sql"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/app/boot"
	"conclave/app/config"
	"conclave/app/httpapi"
	"conclave/custodian"
	"conclave/custodian/clock"
	"conclave/custodian/custodiantest"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/segment"
	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
	"conclave/reports/bundle"
)

// logged is what a service logs.
type logged struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

// uses appends entries of the data plane, in batches of ten at most.
func uses(t *testing.T, st *store.Store, n int) {
	t.Helper()
	for range n / 10 {
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				e := ledger.Entry{Type: "key.use.datakey", Actor: identity.Principal{Kind: identity.Application, ID: "demo-shop"},
					Target: ledger.Target{Type: "key", ID: "demo-orders", Version: 1}, Outcome: ledger.Allow}
				if _, err := st.Append(t.Context(), &e, st.View().Epoch()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

// sqlOf is somebody with the database's password.
func sqlOf(t *testing.T, cfg *config.Config) *sql.DB {
	t.Helper()
	driver, dsn := "sqlite3", cfg.DSN()+"?_busy_timeout=5000"
	if cfg.Database.Driver == config.DriverPostgres {
		driver, dsn = "pgx", cfg.DSN()
	}
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// drivers gives a test an instance on each database.
func drivers(t *testing.T, test func(t *testing.T, cfg *config.Config, b beginning)) {
	for _, driver := range storetest.Drivers() {
		t.Run(driver, func(t *testing.T) {
			b := begin(t, nil)
			more := map[string]string{}
			if driver == store.Postgres {
				more = map[string]string{"database.driver": "postgres", "database.dsn": storetest.Postgres(t)}
			}
			cfg := settings(t, filepath.Join(t.TempDir(), "data"), more)
			_, err := boot.Init(t.Context(), boot.InitOptions{Config: cfg, Genesis: b.file, Signatures: b.signatures})
			require.NoError(t, err)
			test(t, cfg, b)
		})
	}
}

// A segment whose row was edited in the database is no reason to let go of its entries, nor of those behind it: its file
// was not looked at. What is before it leaves the database; the log says why no more does, until the row is put right.
func TestInvariant08_EntriesStayFromTheFirstSegmentThatIsNotBelieved(t *testing.T) {
	drivers(t, func(t *testing.T, cfg *config.Config, _ beginning) {
		hand, out := clock.NewManual(time.Now().Add(time.Minute)), &logged{}
		r, err := boot.Rehearse(t.Context(), cfg, hand, slog.New(slog.NewTextHandler(out, nil)))
		require.NoError(t, err)
		t.Cleanup(func() { stop(t, r.Running) })
		st, db, dir := r.Custodian.Store(), sqlOf(t, cfg), t.TempDir()
		uses(t, st, 1100)
		var segments []*segment.Segment
		for from := uint64(0); from < 1024; from += 256 {
			segments = append(segments, custodiantest.Archive(t, st, dir, from, from+256))
		}
		batches := func(where string) (n int) {
			require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM ledger_batches WHERE control = 0 AND "+where).Scan(&n))
			return n
		}
		body := func(g *segment.Segment) (body []byte) {
			require.NoError(t, db.QueryRow("SELECT body FROM authority_rows WHERE kind = 'segment' AND id = $1", g.ID).Scan(&body))
			return body
		}
		edit := func(g *segment.Segment, body []byte) {
			done, err := db.Exec("UPDATE authority_rows SET body = $1 WHERE kind = 'segment' AND id = $2", body, g.ID)
			require.NoError(t, err)
			n, err := done.RowsAffected()
			require.NoError(t, err)
			require.EqualValues(t, 1, n)
			_, err = st.Integrity(t.Context())
			require.NoError(t, err)
		}
		const kept = "first_seq + count > 256" // one that stands across it is shortened
		stays := batches(kept)
		second, last := body(segments[1]), body(segments[3])
		edit(segments[1], bytes.Replace(second, []byte(segments[1].SHA256), []byte(segments[0].SHA256), 1))

		err = r.Pass(t.Context(), 10*time.Minute)
		require.ErrorContains(t, err, "entries from 256 to 512: no segment that can be believed is on record")
		require.Zero(t, batches("first_seq < 256"), "what is before it has left")
		require.Equal(t, stays, batches(kept), "what is in it and behind it stays")
		require.Contains(t, out.String(), "database contradicts the ledger")
		require.Contains(t, out.String(), segments[1].ID)
		require.Eventually(t, func() bool { return recorded(t, r.Running, "integrity.violation") }, time.Minute, 10*time.Millisecond)

		// Put right, it is taken up again, up to the last one: of that nothing comes after it that could show its place.
		edit(segments[1], second)
		edit(segments[3], bytes.Replace(last, []byte(`"kept"`), []byte(`"gone"`), 1))
		require.ErrorContains(t, r.Pass(t.Context(), time.Minute), "entries from 768 on: no segment that can be believed is on record")
		require.Zero(t, batches("first_seq < 768"))
		require.NotZero(t, batches("first_seq >= 768 AND first_seq < 1024"))
		edit(segments[3], last)
		require.NoError(t, r.Pass(t.Context(), time.Minute))
		require.Zero(t, batches("first_seq < 1024"))
		require.Empty(t, st.View().Tampered(custodian.KindSegment))
		require.NoError(t, st.ReadEntries(t.Context(), 0, st.View().Head().Size, func(uint64, []byte) error { return nil }), "nothing is missing")
	})
}

// rotate replaces the log key as the governed operation does, and puts it in its place.
func rotate(t *testing.T, st *store.Store, file string) {
	t.Helper()
	keys, made := st.LogKeys(), file+".made"
	next, err := ledger.GenerateLogKey(made, keys.Origin())
	require.NoError(t, err)
	st.OfferLogKey(next)
	_, err = st.Control(t.Context(), func(tx *store.Tx) error {
		tx.HandOver(next.VerifierKey)
		return tx.Append(ledger.Entry{Type: ledger.RotationType, Actor: identity.Principal{Kind: identity.Node, ID: "node-1"}, Outcome: ledger.Done,
			Target: ledger.Target{Type: "logkey", ID: custodian.LogKeyRow}, Detail: custodian.Detail(ledger.RotationDetail(keys.Newest(), next.VerifierKey))})
	})
	require.NoError(t, err)
	require.NoError(t, ledger.MoveFile(made, file))
	_, err = st.KeepLogKey()
	require.NoError(t, err)
}

// The log key was replaced, and years later the entries around that were deleted: what records it stays, and whoever pins the
// first key follows the succession through what is left, online, in an export, in a bundle, and after a restart.
func TestInvariant09_DeletedEntriesAroundLogKeyRotations(t *testing.T) {
	drivers(t, func(t *testing.T, cfg *config.Config, b beginning) {
		r := started(t, cfg)
		pinned, err := ledger.LoadTrustFile(cfg.TrustFile())
		require.NoError(t, err)
		st, dir := r.Custodian.Store(), t.TempDir()
		for range 3 {
			uses(t, st, 200)
			rotate(t, st, cfg.LogKeyFile())
			uses(t, st, 60)
		}
		segments := []*segment.Segment{custodiantest.Archive(t, st, dir, 0, 256), custodiantest.Archive(t, st, dir, 256, 512), custodiantest.Archive(t, st, dir, 512, 768)}
		custodiantest.Drop(t, st)
		custodiantest.DeleteArchived(t, st, segments[0])
		custodiantest.DeleteArchived(t, st, segments[1])
		var behind time.Time
		_, e, err := st.EntryAt(t.Context(), 512)
		require.NoError(t, err)
		behind = e.At.Add(time.Microsecond)

		check := func(r *boot.Running) {
			st := r.Custodian.Store()
			require.Len(t, st.LogKeys().Keys(), 4)
			c := as(t, r, b.signers[0])
			report, err := ledger.Verify(t.Context(), ledger.VerifyInput{Source: c.LogSource(), Trust: pinned})
			require.NoError(t, err)
			require.Len(t, report.Deleted, 2)
			_, _, err = c.CheckLedger(t.Context(), pinned, t.TempDir())
			require.NoError(t, err)
			head, note := st.View().Head(), st.Checkpoint()
			copied := filepath.Join(t.TempDir(), "copy")
			require.NoError(t, ledger.ExportDir(t.Context(), copied, ledger.Export{Checkpoint: note, Keys: st.LogKeys(), Entries: c.EntrySource(head.Size), Remains: c.LogSource()}))
			known, err := pinned.Follow(st.LogKeys().Handovers()...)
			require.NoError(t, err)
			for _, trust := range []*ledger.TrustFile{pinned, known, nil} {
				_, err = ledger.VerifyDir(t.Context(), copied, ledger.VerifyInput{Trust: trust})
				require.NoError(t, err)
			}
			// What is left of the group around the first rotation is held to the log like any other.
			kept := filepath.Join(copied, filepath.FromSlash(ledger.KeptPath(0)))
			text, err := os.ReadFile(kept)
			require.NoError(t, err)
			require.Contains(t, string(text), ledger.RotationType)
			require.NoError(t, os.WriteFile(kept, bytes.Replace(text, []byte(ledger.RotationType), []byte("logkey.rotatf"), 1), 0o600))
			_, err = ledger.VerifyDir(t.Context(), copied, ledger.VerifyInput{Trust: pinned})
			require.Error(t, err)
			require.NoError(t, os.Remove(kept))
			_, err = ledger.VerifyDir(t.Context(), copied, ledger.VerifyInput{Trust: pinned})
			require.ErrorIs(t, err, ledger.ErrTruncated)

			var archive bytes.Buffer
			require.NoError(t, r.Reporter().Report(t.Context(), api.ReportRequest{Framework: "pci-dss-4.0.1", From: behind, To: time.Now().UTC()}, httpapi.FormatBundle, &archive))
			path := filepath.Join(t.TempDir(), "bundle.zip")
			require.NoError(t, os.WriteFile(path, archive.Bytes(), 0o600))
			found, err := bundle.Verify(t.Context(), path, pinned)
			require.NoError(t, err)
			require.True(t, found.Complete)
		}
		check(r)
		stop(t, r)
		check(started(t, cfg))
	})
}
