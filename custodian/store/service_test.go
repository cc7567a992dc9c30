package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

func TestIdempotencyAndLeases(t *testing.T) {
	storetest.Each(t, schema(), seed, func(t *testing.T, open func() *store.Store) {
		s := open()
		ctx := context.Background()
		_, err := s.Idempotency(ctx, "human:ada", "k1")
		require.ErrorIs(t, err, store.ErrNotFound)
		reply := store.IdempotentReply{Principal: "human:ada", Key: "k1", RequestHash: []byte{1}, Status: 201, Body: []byte("one")}
		kept, err := s.SaveIdempotency(ctx, reply)
		require.NoError(t, err)
		require.Equal(t, "one", string(kept.Body))
		reply.Body = []byte("two")
		kept, err = s.SaveIdempotency(ctx, reply)
		require.NoError(t, err)
		require.Equal(t, "one", string(kept.Body), "the first answer stays")
		reply.RequestHash = []byte{2}
		_, err = s.SaveIdempotency(ctx, reply)
		require.ErrorIs(t, err, store.ErrIdempotencyConflict)
		_, err = s.Idempotency(ctx, "human:bob", "k1")
		require.ErrorIs(t, err, store.ErrNotFound, "a key belongs to its caller")
		n, err := s.PurgeIdempotency(ctx, time.Now().Add(time.Hour))
		require.NoError(t, err)
		require.EqualValues(t, 1, n)

		for _, c := range []struct {
			holder string
			ttl    time.Duration
			want   bool
		}{{"n1", time.Hour, true}, {"n2", time.Hour, false}, {"n1", time.Microsecond, true}, {"n2", time.Hour, true}, {"n1", time.Hour, false}} {
			got, err := s.Lease(ctx, "rollup", c.holder, c.ttl)
			require.NoError(t, err)
			require.Equal(t, c.want, got, c.holder)
		}
		require.NoError(t, s.Release(ctx, "rollup", "n2"))
		got, err := s.Lease(ctx, "rollup", "n1", time.Hour)
		require.NoError(t, err)
		require.True(t, got)
	})
}
