package bundles_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/bundles"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

// BenchmarkBacktest replays a million recorded decisions of 20 applications on 50 keys against another bundle.
func BenchmarkBacktest(b *testing.B) {
	const decisions, applications, keys, writers = 1_000_000, 20, 50, 64
	c := custodiantest.New(b, custodiantest.Options{Schema: ceremony.Schema(store.Schema{})})
	for i := range keys {
		c.AddKey(b, fmt.Sprintf("key-%d", i), key.Internal)
		for j := range applications {
			c.AddGrant(b, fmt.Sprintf("grant-%d-%d", i, j), fmt.Sprintf("app-%d", j), fmt.Sprintf("key-%d", i))
		}
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < decisions; i += writers {
				e := ledger.Entry{Type: []string{"key.use.datakey", "key.use.decrypt", "key.use.encrypt"}[i%3], Outcome: ledger.Allow,
					Actor:  identity.Principal{Kind: identity.Application, ID: fmt.Sprintf("app-%d", i%applications), Credential: "token"},
					Target: ledger.Target{Type: "key", ID: fmt.Sprintf("key-%d", i%keys), Version: 1}, Policy: c.Mark()}
				if _, err := c.Store.Append(context.Background(), &e, c.View().Epoch()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	files := custodiantest.DenyAll(b)
	c.PutBundle(b, files)
	keeper, err := bundles.New(bundles.Config{Custodian: c.Service, Sandbox: policies.PatientJob(time.Minute), Clock: c.Clock})
	require.NoError(b, err)
	defer keeper.Close()
	runtime.GC()
	var peak uint64
	b.ResetTimer()
	for b.Loop() {
		_, err := keeper.Backtest(identity.Principal{Kind: identity.Human, ID: "demo-ada"}, files.Digest())
		require.NoError(b, err)
		for state := bundles.Running; state == bundles.Running; {
			time.Sleep(20 * time.Millisecond)
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
			p, _ := keeper.Progress(files.Digest())
			if state = p.State; p.Problem != "" {
				b.Fatal(p.Problem)
			}
		}
	}
	row, _, err := store.Get[custodian.PolicyBacktest](c.View(), custodian.KindBacktest, files.Digest())
	require.NoError(b, err)
	require.Equal(b, decisions, row.Decisions)
	b.ReportMetric(float64(decisions)*float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
	b.ReportMetric(float64(peak)/(1<<20), "MiB-heap")
}
