package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

// nextLogKey makes a log key for a store's instance.
func nextLogKey(t *testing.T, cfg store.Config) *ledger.LogKey {
	t.Helper()
	k, err := ledger.GenerateLogKey(filepath.Join(t.TempDir(), "log.key"), cfg.LogKey.Origin)
	require.NoError(t, err)
	return k
}

// handOver replaces the log key as the governed operation does.
func handOver(t *testing.T, s *store.Store, to *ledger.LogKey) {
	t.Helper()
	s.OfferLogKey(to)
	_, err := s.Control(t.Context(), rotates(s, to))
	require.NoError(t, err)
}

func rotates(s *store.Store, to *ledger.LogKey) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		e := storetest.Entry(ledger.RotationType)
		var err error
		if e.Detail, err = json.Marshal(ledger.RotationDetail(s.LogKeys().Newest(), to.VerifierKey)); err != nil {
			return err
		}
		if err := tx.Append(e); err != nil {
			return err
		}
		tx.HandOver(to.VerifierKey)
		return tx.Append(storetest.Entry("ceremony.complete"))
	}
}

func record(t *testing.T, s *store.Store, kind string) error {
	t.Helper()
	_, err := s.Control(t.Context(), func(tx *store.Tx) error { return tx.Append(storetest.Entry(kind)) })
	return err
}

func eachDriver(t *testing.T, test func(t *testing.T, cfg store.Config)) {
	for _, driver := range storetest.Drivers() {
		t.Run(driver, func(t *testing.T) {
			cfg := storetest.Config(t, driver, store.Schema{"thing": store.JSON[struct{}](false)})
			storetest.Genesis(t, cfg, nil)
			test(t, cfg)
		})
	}
}

func TestLogKeyIsHandedOver(t *testing.T) {
	eachDriver(t, func(t *testing.T, cfg store.Config) {
		s := storetest.Open(t, cfg)
		require.NoError(t, record(t, s, "before"))
		first, second, third := cfg.LogKey, nextLogKey(t, cfg), nextLogKey(t, cfg)
		handOver(t, s, second)
		handed := s.Checkpoint()
		_, err := ledger.OpenHead(handed, first.Origin, second.Verifier)
		require.NoError(t, err, "both sign")
		head, err := ledger.OpenHead(handed, first.Origin, first.Verifier)
		require.NoError(t, err)
		require.Equal(t, second.VerifierKey, head.Next)
		require.NoError(t, record(t, s, "after"))
		_, err = ledger.OpenHead(s.Checkpoint(), first.Origin, first.Verifier)
		require.ErrorIs(t, err, ledger.ErrSignature)
		_, err = s.LogKeys().Open(s.Checkpoint())
		require.NoError(t, err)
		handOver(t, s, third)
		require.NoError(t, record(t, s, "after both"))
		require.Len(t, s.LogKeys().Handovers(), 2)
		found, err := s.Integrity(t.Context())
		require.NoError(t, err)
		require.Empty(t, found)
		require.NoError(t, s.Close())

		// It starts with the key in force, and with the old one where the new one stands beside it, as after a crash.
		for name, keys := range map[string][]*ledger.LogKey{"in its place": {third}, "beside": {second, third}} {
			again := cfg
			again.LogKey, again.NextLogKeys = keys[0], keys[1:]
			s = storetest.Open(t, again)
			require.NoError(t, s.CanSign(), name)
			require.Equal(t, []string{first.VerifierKey, second.VerifierKey, third.VerifierKey}, s.LogKeys().Keys(), name)
			require.NoError(t, record(t, s, "again"), name)
			kept, err := s.KeepLogKey()
			require.NoError(t, err)
			require.Equal(t, third.VerifierKey, kept.VerifierKey)
			require.NoError(t, s.Close())
		}
		// With an older key alone it reads and verifies, follows the succession, and does not write.
		old := cfg
		s = storetest.Open(t, old)
		require.ErrorIs(t, s.CanSign(), store.ErrLogKeyMissing)
		require.ErrorIs(t, s.Health(), store.ErrLogKeyMissing)
		err = record(t, s, "with an old key")
		require.ErrorIs(t, err, store.ErrLogKeyMissing)
		require.ErrorIs(t, err, store.ErrUnavailable)
		size := s.View().Head().Size
		s.OfferLogKey(third)
		require.NoError(t, record(t, s, "given"))
		require.Greater(t, s.View().Head().Size, size)
	})
}

func TestHandoverNeedsTheKeyThatItNames(t *testing.T) {
	eachDriver(t, func(t *testing.T, cfg store.Config) {
		s := storetest.Open(t, cfg)
		stranger := nextLogKey(t, cfg)
		_, err := s.Control(t.Context(), rotates(s, stranger))
		require.ErrorIs(t, err, store.ErrLogKeyMissing)
		_, err = s.Control(t.Context(), rotates(s, cfg.LogKey))
		require.Error(t, err)
		require.NoError(t, record(t, s, "goes on"))
		require.Empty(t, s.LogKeys().Handovers())
	})
}

// Others write on while the key changes: nothing of theirs is lost, and everything after the handover is the new key's.
func TestHandoverUnderLoad(t *testing.T) {
	eachDriver(t, func(t *testing.T, cfg store.Config) {
		s := storetest.Open(t, cfg)
		const writers, each = 4, 20
		before := s.View().Head().Size
		var group sync.WaitGroup
		errs := make(chan error, writers*each*2)
		for w := range writers {
			group.Go(func() {
				for i := range each {
					e := storetest.Entry("key.use.datakey")
					e.Target.ID = fmt.Sprintf("%d-%d", w, i)
					_, err := s.Append(context.Background(), &e, s.View().Epoch())
					errs <- err
					_, err = s.Control(context.Background(), func(tx *store.Tx) error { return tx.Append(storetest.Entry("control")) })
					errs <- err
				}
			})
		}
		for range 3 {
			handOver(t, s, nextLogKey(t, cfg))
		}
		group.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
		require.Equal(t, before+2*writers*each+3*2, s.View().Head().Size)
		for _, note := range s.LogKeys().Handovers() {
			_, err := s.LogKeys().Open([]byte(note))
			require.NoError(t, err)
		}
		exportAndVerify(t, s, cfg)
	})
}

// exportAndVerify checks the whole log offline, from the first key.
func exportAndVerify(t *testing.T, s *store.Store, cfg store.Config) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "export")
	require.NoError(t, ledger.ExportDir(t.Context(), dir, ledger.Export{Checkpoint: s.Checkpoint(), Keys: s.LogKeys(), Entries: s}))
	_, err := os.Stat(filepath.Join(dir, ledger.HandoversFile))
	require.NoError(t, err)
}

// A replica takes over what another one wrote with a key that it does not have, verified, and writes once it has it.
func TestReplicaFollowsTheSuccession(t *testing.T) {
	cfg := storetest.Config(t, store.Postgres, store.Schema{"thing": store.JSON[struct{}](false)})
	storetest.Genesis(t, cfg, nil)
	one := storetest.Open(t, cfg)
	other := cfg
	other.HighWaterPath, other.Node = filepath.Join(t.TempDir(), "high-water"), "node-2"
	two := storetest.Open(t, other)
	second, third := nextLogKey(t, cfg), nextLogKey(t, cfg)

	two.OfferLogKey(second) // given before
	handOver(t, one, second)
	require.NoError(t, record(t, two, "at once"))
	require.NoError(t, record(t, one, "and back"))

	handOver(t, one, third)
	require.NoError(t, record(t, one, "beyond the handover"))
	err := record(t, two, "without it")
	require.ErrorIs(t, err, store.ErrLogKeyMissing)
	require.Equal(t, one.View().Head(), two.View().Head(), "it has followed")
	require.Equal(t, one.LogKeys().Keys(), two.LogKeys().Keys())
	two.OfferLogKey(third)
	require.NoError(t, record(t, two, "with it"))
	require.NoError(t, one.Refresh(t.Context()))
	require.NoError(t, two.Close())

	// One that was stopped all the time follows from the first key.
	three := cfg
	three.HighWaterPath, three.Node = filepath.Join(t.TempDir(), "high-water"), "node-3"
	late := storetest.Open(t, three)
	require.Equal(t, one.LogKeys().Keys(), late.LogKeys().Keys())
	require.ErrorIs(t, late.CanSign(), store.ErrLogKeyMissing)
}

// A replica that forged with the old key is not followed.
func TestHeadOfAReplacedKeyIsRefused(t *testing.T) {
	cfg := storetest.Config(t, store.SQLite, store.Schema{"thing": store.JSON[struct{}](false)})
	storetest.Genesis(t, cfg, nil)
	s := storetest.Open(t, cfg)
	second := nextLogKey(t, cfg)
	handOver(t, s, second)
	require.NoError(t, record(t, s, "after"))
	head := s.View().Head()
	require.NoError(t, s.Close())

	forged, err := ledger.SignHead(cfg.LogKey.Signer, cfg.LogKey.Origin, head)
	require.NoError(t, err)
	intruder(t, cfg)(fmt.Sprintf("UPDATE ledger_head SET note = X'%x'", forged))
	own := cfg
	own.LogKey = second
	_, err = store.Open(t.Context(), own)
	require.ErrorIs(t, err, ledger.ErrSignature)
	_, err = store.Open(t.Context(), cfg)
	require.ErrorIs(t, err, ledger.ErrLogKeyReplaced, "with the old key too: the entry is in the log")
}

// A copy of the database from before the rotation, beside the newer key, is an older copy.
func TestOlderDatabaseBesideANewerKeyIsARollback(t *testing.T) {
	cfg := storetest.Config(t, store.SQLite, store.Schema{"thing": store.JSON[struct{}](false)})
	storetest.Genesis(t, cfg, nil)
	older, err := os.ReadFile(cfg.DSN)
	require.NoError(t, err)
	s := storetest.Open(t, cfg)
	second := nextLogKey(t, cfg)
	handOver(t, s, second)
	require.NoError(t, record(t, s, "after"))
	require.NoError(t, s.Close())
	require.NoError(t, os.WriteFile(cfg.DSN, older, 0o600))
	for _, tail := range []string{"-wal", "-shm"} {
		_ = os.Remove(cfg.DSN + tail)
	}
	own := cfg
	own.LogKey = second
	_, err = store.Open(t.Context(), own)
	require.ErrorIs(t, err, store.ErrRollback)
}

func TestAnswersOutliveTheLogKey(t *testing.T) {
	cfg := storetest.Config(t, store.SQLite, store.Schema{"thing": store.JSON[struct{}](false)})
	storetest.Genesis(t, cfg, nil)
	s := storetest.Open(t, cfg)
	_, err := s.SaveIdempotency(t.Context(), store.IdempotentReply{Principal: "a", Key: "k", RequestHash: []byte{1}, Status: 200, Body: []byte("x")})
	require.NoError(t, err)
	handOver(t, s, nextLogKey(t, cfg))
	got, err := s.Idempotency(t.Context(), "a", "k")
	require.NoError(t, err)
	require.Equal(t, "x", string(got.Body))
	handOver(t, s, nextLogKey(t, cfg))
	_, err = s.Idempotency(t.Context(), "a", "k")
	require.Error(t, err, "two rotations are too many")
}
