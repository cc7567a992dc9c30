package store_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/clock"
	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

// A database that neither answers nor refuses holds nobody: who waits is sent away, who comes is not queued, and
// service goes on by itself when it answers again.
func TestADatabaseThatHangsHoldsNobody(t *testing.T) {
	cfg := storetest.Config(t, store.SQLite, schema())
	storetest.Genesis(t, cfg, seed)
	s := storetest.Open(t, cfg)
	epoch := s.View().Epoch()

	hangs, release := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		_, err := s.Control(context.Background(), func(*store.Tx) error {
			close(hangs)
			<-release
			return nil
		})
		require.ErrorIs(t, err, store.ErrUnavailable)
	})
	<-hangs
	group.Go(func() {
		_, err := s.Append(context.Background(), use(), epoch)
		require.ErrorIs(t, err, store.ErrUnavailable)
	})
	require.Eventually(t, func() bool { return store.Waiting(s) == 1 }, 10*time.Second, time.Millisecond)
	store.CheckStall(s)
	require.NoError(t, s.Health(), "a round may take its time")

	for range 10 {
		store.CheckStall(s)
	}
	require.Error(t, s.Health())
	group.Wait()
	_, err := s.Append(context.Background(), use(), epoch)
	require.ErrorIs(t, err, store.ErrUnavailable)
	_, err = put(s, "note", "n", note{Text: "x"})
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.Equal(t, 1, store.Waiting(s), "nothing more is kept in memory")

	close(release)
	require.Eventually(t, func() bool {
		store.CheckStall(s)
		return s.Health() == nil
	}, 10*time.Second, time.Millisecond)
	_, err = s.Append(context.Background(), use(), epoch)
	require.NoError(t, err)
	require.Len(t, requireWhole(t, s), 2, "genesis and the one that was acknowledged")
}

// A change that writes many rows may take long as a whole: while it goes on, nobody is sent away.
func TestALongRoundThatGoesOnIsNoStall(t *testing.T) {
	cfg := storetest.Config(t, store.SQLite, schema())
	storetest.Genesis(t, cfg, seed)
	s := storetest.Open(t, cfg)
	_, err := s.Control(context.Background(), func(tx *store.Tx) error {
		for i := range 30 {
			if err := tx.Put("note", strconv.Itoa(i), note{Text: "x"}); err != nil {
				return err
			}
			store.CheckStall(s)
			require.NoError(t, s.Health())
		}
		return tx.Append(storetest.Entry("note.put"))
	})
	require.NoError(t, err)
}

// However far the service's clock moves between looks, only rounds that looks find under way count as slow: a machine that
// slept, and a clock that a test moves, send nobody away.
func TestAClockThatMovesIsNoStall(t *testing.T) {
	cfg := storetest.Config(t, store.SQLite, schema())
	clk := clock.NewManual(time.Now())
	cfg.Clock = clk
	storetest.Genesis(t, cfg, seed)
	s := storetest.Open(t, cfg)
	_, err := s.Control(context.Background(), func(tx *store.Tx) error {
		store.CheckStall(s)
		clk.Advance(time.Hour)
		store.CheckStall(s)
		return tx.Append(storetest.Entry("note.put"))
	})
	require.NoError(t, err)
	require.NoError(t, s.Health())
}

// Rows and checkpoint of one answer belong together, whatever is committed meanwhile.
func TestPublishedStateIsOne(t *testing.T) {
	cfg := storetest.Config(t, store.SQLite, schema())
	storetest.Genesis(t, cfg, seed)
	s := storetest.Open(t, cfg)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 50 {
			_, err := s.Append(context.Background(), use(), s.View().Epoch())
			require.NoError(t, err)
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		view, signed, _ := s.Published()
		require.Contains(t, string(signed), "\n"+strconv.FormatUint(view.Head().Size, 10)+"\n")
	}
}
