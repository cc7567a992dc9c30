package store_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

// BenchmarkLargeLedger makes a synthetic ledger, by the committer as the service runs it, of ten million entries or as
// many as CONCLAVE_LEDGER_ENTRIES says, and measures what must not depend on its size: the rate of appending at the
// beginning and at the end, proofs, reading an entry, and opening. Run it with -benchtime 1x -v.
func BenchmarkLargeLedger(b *testing.B) {
	n := 10_000_000
	if text := os.Getenv("CONCLAVE_LEDGER_ENTRIES"); text != "" {
		_, err := fmt.Sscan(text, &n)
		require.NoError(b, err)
	}
	const part = 200_000
	cfg := storetest.Config(b, store.SQLite, schema())
	storetest.Genesis(b, cfg, seed)
	s := storetest.Open(b, cfg)
	b.Logf("first %d entries: %.0f entries/s", part, fillLedger(b, s, part))
	began := time.Now()
	fillLedger(b, s, n-2*part)
	b.Logf("%d entries more in %s", n-2*part, time.Since(began).Round(time.Second))
	b.Logf("last %d entries: %.0f entries/s", part, fillLedger(b, s, part))
	size := s.View().Head().Size
	for what, prove := range map[string]func(seq uint64) error{
		"inclusion proof":   func(seq uint64) error { _, err := s.Inclusion(b.Context(), seq, size); return err },
		"consistency proof": func(seq uint64) error { _, err := s.Consistency(b.Context(), seq+1, size); return err },
		"entry, proven":     func(seq uint64) error { _, _, err := s.EntryAt(b.Context(), seq); return err },
	} {
		took := make([]time.Duration, 1000)
		for i := range took {
			seq, err := rand.Int(rand.Reader, new(big.Int).SetUint64(size))
			require.NoError(b, err)
			began := time.Now()
			require.NoError(b, prove(seq.Uint64()))
			took[i] = time.Since(began)
		}
		slices.Sort(took)
		b.Logf("%s: median %s, 99th of 100 %s, slowest %s", what, took[500], took[990], took[999])
	}
	require.NoError(b, s.Close())
	info, err := os.Stat(cfg.DSN)
	require.NoError(b, err)
	b.Logf("database: %.0f bytes an entry", float64(info.Size())/float64(size))
	began = time.Now()
	s = storetest.Open(b, cfg)
	b.Logf("open, replay and compare: %s", time.Since(began))
	require.Equal(b, size, s.View().Head().Size)
}

// fillLedger appends n data-plane entries from 512 callers and returns the rate.
func fillLedger(b *testing.B, s *store.Store, n int) float64 {
	epoch, began := s.View().Epoch(), time.Now()
	var left atomic.Int64
	left.Store(int64(n))
	var group sync.WaitGroup
	for range 512 {
		group.Go(func() {
			for e := use(); left.Add(-1) >= 0; {
				if _, err := s.Append(context.Background(), e, epoch); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	return float64(n) / time.Since(began).Seconds()
}
