package reports_test

import (
	"io"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"conclave/custodian"
	"conclave/custodian/follow"
	"conclave/custodian/store"
	"conclave/reports"
	"conclave/reports/internal/fixture"
	"conclave/reports/render"
)

// BenchmarkReport measures a report over a period with many data-plane entries, read one by one. Memory must not grow with
// them.
func BenchmarkReport(b *testing.B) { benchmarkReport(b, 0) }

// BenchmarkReportByDay measures the same by daily counts, as a year's report is made.
func BenchmarkReportByDay(b *testing.B) { benchmarkReport(b, 1) }

// number reads a size from the environment, so that a benchmark can be made larger by hand.
func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// addCounts adds lines of daily counts for 20 applications with 50 keys, as many as a year has.
func addCounts(b *testing.B, w *fixture.World, lines int) {
	b.Helper()
	at, err := w.Store.UsageCursor(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	first := fixture.Start().Unix() / 86400
	const step = 10_000
	rows := make([]store.UsageRow, 0, step)
	for i := range lines {
		day := first + int64(i%28)
		rows = append(rows, store.UsageRow{Day: day, Key: "k" + strconv.Itoa(i/28%50), Version: uint32(1 + i/28/50/20%12), Actor: "application:a" + strconv.Itoa(i/28/50%20), Operation: "datakey",
			Outcome: "allow", Origin: strconv.Itoa(i / 28 / 50 / 20 / 12), Uses: 1000, FirstAt: day * 86400e6, LastAt: day*86400e6 + 1, FirstSeq: 1, LastSeq: 2})
		if len(rows) < step && i < lines-1 {
			continue
		}
		if _, err := w.Store.AddDerived(b.Context(), store.Derived{From: at, To: at, Counted: true, Usage: rows}); err != nil {
			b.Fatal(err)
		}
		rows = rows[:0]
	}
}

func benchmarkReport(b *testing.B, atMost uint64) {
	w := fixture.New(b, custodian.Production)
	const writers = 64
	entries := number("REPORT_ENTRIES", 100_000)
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
	if err := follow.CatchUp(b.Context(), w.Store); err != nil {
		b.Fatal(err)
	}
	if atMost > 0 {
		addCounts(b, w, number("REPORT_ROLLUPS", 10_000))
	}
	src := w.Source(b)
	req := fixture.Request()
	req.ReadAtMost = atMost
	if atMost == 0 {
		req.ReadAtMost = 1 << 40
	}
	for b.Loop() {
		r, err := reports.Generate(b.Context(), src, req, fixture.Now())
		if err != nil {
			b.Fatal(err)
		}
		if err := render.PDF(io.Discard, r); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/report")
	b.ReportMetric(float64(entries)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapSys)/(1<<20), "MiB-heap")
}
