package custodian_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// The door alone: policy, key, durable record; no HTTP. 64 callers wait at a time.
func benchmarkUse(b *testing.B, c *custodiantest.Custodian, make func(i int64) custodian.Use) {
	ctx := context.Background()
	var n atomic.Int64
	b.SetParallelism(32) // times GOMAXPROCS: 64 on two cores
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Use(ctx, c.App, make(n.Add(1))); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func uniqueContext(i int64) map[string]string {
	return map[string]string{"order": strconv.FormatInt(i, 10)}
}

func BenchmarkUseDataKey(b *testing.B) {
	c := custodiantest.New(b, custodiantest.Options{})
	benchmarkUse(b, c, func(i int64) custodian.Use {
		u := dataKey(custodiantest.KeyID)
		u.Context = uniqueContext(i)
		return u
	})
}

func BenchmarkUseDecrypt(b *testing.B) {
	c := custodiantest.New(b, custodiantest.Options{})
	u := dataKey(custodiantest.KeyID)
	u.Context = uniqueContext(1)
	sealed := mustUse(b, c, u).Ciphertext
	benchmarkUse(b, c, func(int64) custodian.Use {
		u := decrypt(sealed)
		u.Context = uniqueContext(1)
		return u
	})
}

// A thousand keys in turn, as many grants, each call with a context of its own.
func BenchmarkUseThousandKeys(b *testing.B) {
	c := custodiantest.New(b, custodiantest.Options{})
	const keys = 1000
	_, err := c.Store.Control(context.Background(), func(tx *store.Tx) error { return putKeys(b, c, tx, keys) })
	require.NoError(b, err)
	benchmarkUse(b, c, func(i int64) custodian.Use {
		u := dataKey("key-" + strconv.FormatInt(i%keys, 10))
		u.Context = uniqueContext(i)
		return u
	})
}

func putKeys(b *testing.B, c *custodiantest.Custodian, tx *store.Tx, n int) error {
	k, _, err := store.Get[key.Key](tx.View(), custodian.KindKey, custodiantest.KeyID)
	if err != nil {
		return err
	}
	now := c.Clock.Now()
	for i := range n {
		k.ID = fmt.Sprintf("key-%d", i)
		grant := access.Grant{ID: "grant-" + k.ID, Application: c.App.ID, Key: k.ID, Operations: []access.Operation{access.DataKey},
			CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
		for _, row := range []struct {
			kind  store.Kind
			id    string
			value any
		}{{custodian.KindKey, k.ID, k}, {custodian.KindKeyVersion, key.VersionID(k.ID, 1), c.NewVersion(b, k.ID, 1)}, {custodian.KindGrant, grant.ID, grant}} {
			if err := tx.Put(row.kind, row.id, row.value); err != nil {
				return err
			}
		}
		if err := tx.Append(ledger.Entry{Type: "demo.put", Actor: custodianNode(), Outcome: ledger.Done}); err != nil {
			return err
		}
	}
	return nil
}

// One operation is a batch of 100 data keys.
func BenchmarkUseBatch(b *testing.B) {
	c := custodiantest.New(b, custodiantest.Options{})
	ctx := context.Background()
	uses := make([]custodian.Use, custodian.MaxBatch)
	for i := range uses {
		uses[i] = dataKey(custodiantest.KeyID)
		uses[i].Context = uniqueContext(int64(i))
	}
	b.SetParallelism(8)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.UseBatch(ctx, c.App, uses); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N*len(uses))/b.Elapsed().Seconds(), "items/s")
}
