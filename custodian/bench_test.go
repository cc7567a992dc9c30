package custodian_test

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
)

// BenchmarkUseDataKey is the door alone: policy, key, durable record; no HTTP. 64 callers wait at a time.
func BenchmarkUseDataKey(b *testing.B) {
	c := custodiantest.New(b, custodiantest.Options{})
	ctx := context.Background()
	var n atomic.Int64
	b.SetParallelism(32) // times GOMAXPROCS: 64 on two cores
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			encryption := map[string]string{"order": strconv.FormatInt(n.Add(1), 10)}
			_, err := c.Use(ctx, c.App, custodian.Use{Operation: access.DataKey, Key: custodiantest.KeyID, Bytes: 32, WithPlain: true, Context: encryption})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}
