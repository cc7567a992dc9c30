package store_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

// shelf keeps the bundles of archived groups, as a process has its archive at hand. The archive itself, files and rows, is
// tested with the operations that make it.
type shelf struct {
	mu      sync.Mutex
	runs    []store.Run
	bundles map[uint64][]byte
}

var errShelf = errors.New("the shelf is locked")

func (s *shelf) Covering(_ *store.View, seq uint64) (store.Run, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.runs {
		if r.From <= seq && seq < r.To {
			return r, true
		}
	}
	return store.Run{}, false
}

func (s *shelf) Bundle(_ context.Context, _ store.Run, index uint64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.bundles[index]
	if !ok {
		return nil, errShelf
	}
	return b, nil
}

// fill copies whole groups from a store.
func (s *shelf) fill(t *testing.T, from *store.Store, runs ...store.Run) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs = runs
	for _, run := range runs {
		for index := run.From / 256; index < run.To/256; index++ {
			var b []byte
			require.NoError(t, from.ReadEntries(t.Context(), index*256, (index+1)*256, func(_ uint64, raw []byte) (err error) {
				b, err = ledger.AppendBundle(b, raw)
				return err
			}))
			s.bundles[index] = b
		}
	}
}

// archivedLedger has 700 data entries among some of the control plane; the first 512 entries are in segments and out of
// the database.
func archivedLedger(t *testing.T, driver string) (*store.Store, *shelf, [][]byte, store.Config) {
	t.Helper()
	instance := sha256.Sum256([]byte(rand.Text()))
	origin, err := ledger.Origin(hex.EncodeToString(instance[:]))
	require.NoError(t, err)
	cfg := storetest.Config(t, driver, schema())
	cfg.LogKey, err = ledger.GenerateLogKey(filepath.Join(t.TempDir(), "log.key"), origin)
	require.NoError(t, err)
	kept := &shelf{bundles: map[uint64][]byte{}}
	cfg.Segments = kept
	require.NoError(t, store.Initialise(t.Context(), cfg, func(tx *store.Tx) error {
		e := storetest.Entry("genesis")
		e.Target = ledger.Target{Type: "instance", ID: hex.EncodeToString(instance[:])}
		return tx.Append(e)
	}))
	s := storetest.Open(t, cfg)
	for i := range 70 { // batches of at most ten, so that few stand across an end
		if i < 3 || i == 40 {
			_, err := put(s, "note", fmt.Sprint("n", i), note{Text: "n"})
			require.NoError(t, err)
		}
		appendMany(t, s, 10)
	}
	all := rawEntries(t, s)
	kept.fill(t, s, store.Run{ID: "a", From: 0, To: 256}, store.Run{ID: "b", From: 256, To: 512})
	next, steps := uint64(0), 0
	for next < 512 {
		var err error
		next, err = s.DropArchived(t.Context(), next, 512, 1)
		require.NoError(t, err)
		require.Less(t, steps, 600)
		steps++
	}
	return s, kept, all, cfg
}

func countOf(t *testing.T, cfg store.Config, where string) (n int64) {
	t.Helper()
	driver := "sqlite3"
	if cfg.Driver == store.Postgres {
		driver = "pgx"
	}
	db, err := sql.Open(driver, cfg.DSN)
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM ledger_batches WHERE "+where).Scan(&n))
	return n
}

func rawEntries(t *testing.T, s *store.Store) [][]byte {
	t.Helper()
	var out [][]byte
	require.NoError(t, s.ReadEntries(t.Context(), 0, s.View().Head().Size, func(_ uint64, raw []byte) error {
		out = append(out, append([]byte(nil), raw...))
		return nil
	}))
	return out
}

func TestArchivedEntriesAreReadAsBefore(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		t.Run(driver, func(t *testing.T) {
			s, kept, all, cfg := archivedLedger(t, driver)
			require.Zero(t, countOf(t, cfg, "control = 0 AND first_seq < 512"), "the data plane is out of the database")
			require.EqualValues(t, 5, countOf(t, cfg, "control = 1 AND first_seq < 512"), "the control plane is not")
			require.Positive(t, countOf(t, cfg, "control = 0"))
			require.Equal(t, all, rawEntries(t, s))
			requireWhole(t, s)
			for _, seq := range []uint64{0, 4, 5, 255, 256, 300, 511, 512} {
				raw, e, err := s.EntryAt(t.Context(), seq)
				require.NoError(t, err)
				require.Equal(t, all[seq], raw)
				require.Equal(t, seq, e.Seq)
				_, err = s.Inclusion(t.Context(), seq, s.View().Head().Size)
				require.NoError(t, err)
			}
			_, err := s.Integrity(t.Context())
			require.NoError(t, err)
			require.NoError(t, s.Health())

			// Altered in the archive: named, as in the database.
			kept.bundles[1][20] ^= 1
			_, _, err = s.EntryAt(t.Context(), 256)
			require.ErrorIs(t, err, store.ErrEdited)
			kept.bundles[1][20] ^= 1
			// Out of reach: said so, and not taken for edited.
			delete(kept.bundles, 1)
			_, _, err = s.EntryAt(t.Context(), 300)
			require.ErrorIs(t, err, errShelf)
			require.NotErrorIs(t, err, store.ErrEdited)

			// Dropped without a segment: missing.
			kept.runs = kept.runs[:1]
			_, _, err = s.EntryAt(t.Context(), 300)
			require.ErrorIs(t, err, store.ErrEdited)
			require.ErrorContains(t, err, "entry 300 is missing")

			require.NoError(t, s.Close())
			storetest.Open(t, cfg) // the start needs no archive
		})
	}
}

func TestDeletedEntriesAreNamed(t *testing.T) {
	s, kept, all, _ := archivedLedger(t, store.SQLite)
	kept.runs[0].Deleted = "c-1"
	var gone *ledger.DeletedError
	_, _, err := s.EntryAt(t.Context(), 100)
	require.ErrorAs(t, err, &gone)
	require.Equal(t, ledger.DeletedError{From: 0, To: 256, By: "c-1"}, *gone)
	require.ErrorAs(t, s.Entries(t.Context(), 0, 300, func(*ledger.Entry, []byte) error { return nil }), &gone)
	_, err = s.Inclusion(t.Context(), 100, s.View().Head().Size)
	require.NoError(t, err, "that it was there is still proven")

	var present []uint64
	require.NoError(t, s.Present(t.Context(), 0, 260, func(e *ledger.Entry, raw []byte) error {
		require.Equal(t, all[e.Seq], raw)
		present = append(present, e.Seq)
		return nil
	}))
	require.Equal(t, []uint64{0, 1, 12, 23, 256, 257, 258, 259}, present, "of the deleted ones those of the control plane")

	kept.runs[0].Deleted, kept.runs[1].Deleted = "", "c-2" // what is before it is given first
	present = nil
	require.NoError(t, s.Present(t.Context(), 250, 520, func(e *ledger.Entry, _ []byte) error {
		present = append(present, e.Seq)
		return nil
	}))
	require.Equal(t, []uint64{250, 251, 252, 253, 254, 255, 404, 512, 513, 514, 515, 516, 517, 518, 519}, present)
	kept.runs[0].Deleted = "c-1"

	// Where time is looked for: what is left tells.
	for _, seq := range []uint64{512, 600, 700} {
		e, err := ledger.Decode(all[seq])
		require.NoError(t, err)
		found, err := s.FirstAt(t.Context(), e.At)
		require.NoError(t, err)
		require.LessOrEqual(t, found, seq)
		first, err := ledger.Decode(all[found])
		require.NoError(t, err)
		require.Equal(t, e.At, first.At)
	}
	found, err := s.FirstAt(t.Context(), time.Unix(0, 0))
	require.NoError(t, err)
	require.Zero(t, found)
	found, err = s.FirstAt(t.Context(), time.Now().AddDate(100, 0, 0))
	require.NoError(t, err)
	require.Equal(t, s.View().Head().Size, found)
}

// A backup of a ledger with archived entries holds their hashes in their place; what is restored from it reads them from
// the archive.
func TestExportAndRestoreWithArchivedEntries(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		t.Run(driver, func(t *testing.T) {
			s, kept, all, cfg := archivedLedger(t, driver)
			var records []store.Record
			require.NoError(t, s.Export(t.Context(), func(r store.Record) error {
				r.Body = append([]byte(nil), r.Body...)
				records = append(records, r)
				return nil
			}))
			target := storetest.Config(t, driver, schema())
			target.LogKey, target.Segments = cfg.LogKey, kept
			restored, err := store.Restore(t.Context(), target, restoreInput(t, s, cfg, records))
			require.NoError(t, err)
			require.Equal(t, s.View().Head(), restored.Backup)
			again := storetest.Open(t, target)
			require.Equal(t, all, rawEntries(t, again)[:len(all)])
			requireWhole(t, again)

			// Entries that no segment has are missing, whatever their hashes say.
			kept.runs = kept.runs[:1]
			other := storetest.Config(t, driver, schema())
			other.LogKey, other.Segments = cfg.LogKey, kept
			_, err = store.Restore(t.Context(), other, restoreInput(t, s, cfg, records))
			require.ErrorIs(t, err, store.ErrEdited)
			require.ErrorContains(t, err, "entry 256 is missing")
			require.ErrorIs(t, s.Export(t.Context(), func(store.Record) error { return nil }), store.ErrEdited)
		})
	}
}

func restoreInput(t *testing.T, s *store.Store, cfg store.Config, records []store.Record) store.RestoreInput {
	t.Helper()
	_, genesis, err := s.EntryAt(t.Context(), 0)
	require.NoError(t, err)
	i := 0
	return store.RestoreInput{
		Records: func() (store.Record, error) {
			if i == len(records) {
				return store.Record{}, io.EOF
			}
			i++
			return records[i-1], nil
		},
		Trust: &ledger.TrustFile{Instance: genesis.Target.ID, Origin: cfg.LogKey.Origin, LogKeys: []string{cfg.LogKey.VerifierKey}},
		Amend: func(tx *store.Tx, _ *ledger.VerifyReport, _ []ledger.Head) error {
			return tx.Append(storetest.Entry("recovery.begin"))
		},
	}
}
