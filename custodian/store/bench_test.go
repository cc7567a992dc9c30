package store_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

func BenchmarkAppend(b *testing.B) {
	for _, driver := range storetest.Drivers() {
		for _, waiters := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d", driver, waiters), func(b *testing.B) {
				cfg := storetest.Config(b, driver, schema())
				storetest.Genesis(b, cfg, seed)
				s := storetest.Open(b, cfg)
				epoch := s.View().Epoch()
				b.ReportAllocs()
				b.ResetTimer()
				appendAll(b, s, waiters, epoch)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
			})
		}
	}
}

func appendAll(b *testing.B, s *store.Store, waiters int, epoch uint64) {
	var wg sync.WaitGroup
	for w := range waiters {
		wg.Go(func() {
			e := use()
			for i := w; i < b.N; i += waiters {
				if _, err := s.Append(context.Background(), e, epoch); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkReplicas has one, two and three replicas on one PostgreSQL append, each for 64 callers of its own, and holds all
// of them to one ledger in which no entry is lost or doubled. The callers decide nothing and use no key: what is measured is
// what sharing one head costs.
func BenchmarkReplicas(b *testing.B) {
	const callers = 64 // of a replica
	for _, replicas := range []int{1, 2, 3} {
		b.Run(fmt.Sprint(replicas), func(b *testing.B) {
			cfg := storetest.Config(b, store.Postgres, schema())
			storetest.Genesis(b, cfg, seed)
			var nodes []*store.Store
			for i := range replicas {
				c := cfg
				c.Node, c.HighWaterPath = fmt.Sprintf("node-%d", i), filepath.Join(b.TempDir(), "mark")
				nodes = append(nodes, storetest.Open(b, c))
			}
			before, epoch := nodes[0].View().Head().Size, nodes[0].View().Epoch()
			places := make([]atomic.Bool, b.N)
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var wg sync.WaitGroup
			for i := range callers * replicas {
				wg.Go(func() {
					for e := use(); left.Add(-1) >= 0; {
						r, err := nodes[i%replicas].Append(context.Background(), e, epoch)
						if err != nil || r.Seq-before >= uint64(b.N) || places[r.Seq-before].Swap(true) {
							b.Errorf("entry %d is beyond the end, or stands twice: %v", r.Seq, err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
			for _, s := range nodes {
				require.NoError(b, s.Refresh(b.Context()))
				require.Equal(b, before+uint64(b.N), s.View().Head().Size)
				require.Equal(b, nodes[0].View().Head().Root, s.View().Head().Root)
			}
		})
	}
}
