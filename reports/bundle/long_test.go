package bundle_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/follow"
	"conclave/reports"
	"conclave/reports/bundle"
	"conclave/reports/internal/fixture"
)

// use appends data-plane entries and has them counted by day.
func use(t testing.TB, w *fixture.World, entries int) {
	t.Helper()
	const writers = 64
	var wait sync.WaitGroup
	for i := range writers {
		wait.Go(func() {
			for range (entries + writers - 1 - i) / writers {
				if _, err := w.Store.Append(t.Context(), fixture.AnyUse(), w.Store.View().Epoch()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	require.NoError(t, follow.CatchUp(t.Context(), w.Store))
}

// byDay builds the bundle of the whole history, whose report counts by day, within bounds.
func byDay(t testing.TB, w *fixture.World, readAtMost uint64, build func(f *os.File, src reports.Source, r *reports.Report) error) string {
	t.Helper()
	src := w.Source(t)
	request := lightest()
	request.ReadAtMost = readAtMost
	r, err := reports.Generate(t.Context(), src, request, fixture.Now())
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "evidence.zip")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, build(f, src, r))
	require.NoError(t, f.Close())
	return path
}

// A period so long that its entries are counted by day and travel as the hashes of subtrees is verified like any other, by
// program and page, and none of its hashes can be changed.
func TestInvariant09_BundleOfALongPeriodIsVerified(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production)
	use(t, w, 1500)
	path := byDay(t, w, 1, func(f *os.File, src reports.Source, r *reports.Report) error {
		return bundle.BuildWithin(t.Context(), f, src, r, w.Node, 1000, 2, 2)
	})
	r, err := bundle.Verify(t.Context(), path, w.Trust(t))
	require.NoError(t, err)
	require.True(t, r.Complete)
	require.GreaterOrEqual(t, r.PeriodEntries, uint64(1500))
	require.Contains(t, strings.Join(r.Checked, "\n"), "none is left out")
	page := openPage(t)
	class, words, checks := page.verify(t, path, w.Trust(t))
	require.Equal(t, "good", class, words)
	require.Contains(t, checks, "by their hashes")

	files := unpack(t, path)
	var p bundle.Period
	require.NoError(t, json.Unmarshal(files["ledger/period.json"], &p))
	require.Equal(t, "subtrees", p.Form)
	require.Greater(t, len(files["ledger/period/000000.hashes"]), 4*32)
	for name, change := range map[string]func(t *testing.T, b built, files map[string][]byte){
		"subtree changed": flip("ledger/period/000000.hashes"),
		"subtree left out": func(_ *testing.T, _ built, f map[string][]byte) {
			f["ledger/period/000000.hashes"] = f["ledger/period/000000.hashes"][32:]
		},
		"counts changed": func(t *testing.T, b built, f map[string][]byte) {
			replace("report.json", `"key.use.datakey":`, `"key.use.datakey":1`)(t, b, f)
		},
	} {
		bad := unpack(t, path)
		change(t, built{}, bad)
		resignCanonical(t, bad, w.Node)
		altered := pack(t, bad)
		_, err := bundle.Verify(t.Context(), altered, w.Trust(t))
		require.Error(t, err, name)
		requireAgree(t, name, page, altered, w.Trust(t), err)
	}
}

// BenchmarkLongPeriod builds and verifies the bundle of as many entries as BUNDLE_ENTRIES says: beyond two million a report
// counts by day by itself, and the bundle holds the hashes of subtrees.
func BenchmarkLongPeriod(b *testing.B) {
	entries := 20_000
	if n, err := strconv.Atoi(os.Getenv("BUNDLE_ENTRIES")); err == nil {
		entries = n
	}
	w := fixture.New(b, custodian.Production)
	use(b, w, entries)
	trust := w.Trust(b)
	path := byDay(b, w, 0, func(f *os.File, src reports.Source, r *reports.Report) error {
		return bundle.Build(b.Context(), f, src, r, w.Node)
	})
	info, err := os.Stat(path)
	require.NoError(b, err)
	b.Logf("the bundle is %d KiB", info.Size()>>10)
	b.Run("build", func(b *testing.B) {
		measure(b, func() {
			byDay(b, w, 0, func(f *os.File, src reports.Source, r *reports.Report) error {
				return bundle.Build(b.Context(), f, src, r, w.Node)
			})
		})
	})
	b.Run("verify", func(b *testing.B) {
		measure(b, func() {
			r, err := bundle.Verify(b.Context(), path, trust)
			require.NoError(b, err)
			require.GreaterOrEqual(b, r.PeriodEntries, uint64(entries))
		})
	})
}

// measure runs f and says beside its time the most heap that was in use, looked at every 10 ms.
func measure(b *testing.B, f func()) {
	b.Helper()
	done, most := make(chan struct{}), make(chan uint64)
	go func() {
		var peak uint64
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapInuse)
			select {
			case <-done:
				most <- peak
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	for b.Loop() {
		f()
	}
	close(done)
	b.ReportMetric(float64(<-most)/(1<<20), "MiB-heap")
}
