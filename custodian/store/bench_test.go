package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

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
