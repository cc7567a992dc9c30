package reports_test

import (
	"runtime"
	"sync"
	"testing"

	"conclave/custodian"
	"conclave/reports"
	"conclave/reports/internal/fixture"
)

// BenchmarkReport measures a report over a period with many data-plane entries. Memory must not grow with them.
func BenchmarkReport(b *testing.B) {
	w := fixture.New(b, custodian.Production)
	const entries, writers = 100_000, 64
	var wait sync.WaitGroup
	for range writers {
		wait.Go(func() {
			for range entries / writers {
				if _, err := w.Store.Append(b.Context(), fixture.AnyUse(), w.Store.View().Epoch()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	src := w.Source(b)
	req := fixture.Request()
	for b.Loop() {
		if _, err := reports.Generate(b.Context(), src, req, fixture.Now()); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(entries)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapSys)/(1<<20), "MiB-heap")
}
