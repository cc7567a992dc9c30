package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"conclave/app/api"
	"conclave/app/client"
)

// handClock is moved by the test.
type handClock struct{ elapsed atomic.Int64 }

func (*handClock) Now() time.Time { return time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC) }

func (c *handClock) Elapsed() time.Duration { return time.Duration(c.elapsed.Load()) }

func (c *handClock) advance(d time.Duration) { c.elapsed.Add(int64(d)) }

type cacheRig struct {
	*client.DataKeyCache
	clock *handClock
	asked *atomic.Int32
}

func newCache(t *testing.T, cacheSeconds int64, limits client.Limits, before func(r *http.Request)) cacheRig {
	t.Helper()
	asked, clock := new(atomic.Int32), new(handClock)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		if before != nil {
			before(r)
		}
		answer(w, api.DataKeyResponse{Key: "orders", Version: uint32(n), Plaintext: []byte(fmt.Sprintf("%032d", n)), Ciphertext: []byte{byte(n)}, CacheSeconds: cacheSeconds})
	}, func(cfg *client.Config) { cfg.Clock = clock })
	cache := client.NewDataKeyCache(c, limits)
	t.Cleanup(cache.Close)
	return cacheRig{cache, clock, asked}
}

// use returns the number of the data key that was used.
func (c cacheRig) use(t *testing.T, encryptionContext map[string]string, n uint64) uint32 {
	t.Helper()
	var version uint32
	err := c.Use(t.Context(), "orders", encryptionContext, n, func(b []byte, dk client.DataKey) error {
		require.Equal(t, fmt.Sprintf("%032d", dk.Version), string(b))
		require.Nil(t, dk.Plaintext)
		version = dk.Version
		return nil
	})
	require.NoError(t, err)
	return version
}

func wide() client.Limits {
	return client.Limits{MaxAge: time.Hour, MaxMessages: 1000, MaxBytes: 1 << 30}
}

func TestCacheReusesWithinContext(t *testing.T) {
	c := newCache(t, 3600, wide(), nil)
	require.EqualValues(t, 1, c.use(t, nil, 10))
	require.EqualValues(t, 1, c.use(t, nil, 10))
	require.EqualValues(t, 2, c.use(t, map[string]string{"a": "b"}, 10), "another context, another key")
	require.EqualValues(t, 2, c.use(t, map[string]string{"a": "b"}, 10))
	require.EqualValues(t, 3, c.use(t, map[string]string{"ab": ""}, 10), "contexts are told apart exactly")
	require.Equal(t, 3, c.Len())
}

func TestCacheBounds(t *testing.T) {
	t.Run("messages", func(t *testing.T) {
		limits := wide()
		limits.MaxMessages = 2
		c := newCache(t, 3600, limits, nil)
		require.Equal(t, []uint32{1, 1, 2, 2, 3}, []uint32{c.use(t, nil, 1), c.use(t, nil, 1), c.use(t, nil, 1), c.use(t, nil, 1), c.use(t, nil, 1)})
	})
	t.Run("bytes", func(t *testing.T) {
		limits := wide()
		limits.MaxBytes = 100
		c := newCache(t, 3600, limits, nil)
		require.Equal(t, []uint32{1, 1, 2}, []uint32{c.use(t, nil, 60), c.use(t, nil, 40), c.use(t, nil, 1)})
		require.EqualValues(t, 3, c.use(t, nil, 101), "a message over the bound gets a key of its own")
		require.EqualValues(t, 2, c.use(t, nil, 1), "and the cached one stays")
	})
	t.Run("age of the caller", func(t *testing.T) {
		limits := wide()
		limits.MaxAge = time.Minute
		c := newCache(t, 3600, limits, nil)
		require.EqualValues(t, 1, c.use(t, nil, 1))
		c.clock.advance(time.Minute - 1)
		require.EqualValues(t, 1, c.use(t, nil, 1))
		c.clock.advance(1)
		require.EqualValues(t, 2, c.use(t, nil, 1))
	})
	t.Run("age of policy", func(t *testing.T) {
		c := newCache(t, 10, wide(), nil)
		require.EqualValues(t, 1, c.use(t, nil, 1))
		c.clock.advance(10 * time.Second)
		require.EqualValues(t, 2, c.use(t, nil, 1))
	})
	t.Run("number of keys", func(t *testing.T) {
		limits := wide()
		limits.MaxKeys = 2
		c := newCache(t, 3600, limits, nil)
		a, b, d := map[string]string{"k": "a"}, map[string]string{"k": "b"}, map[string]string{"k": "d"}
		require.Equal(t, []uint32{1, 2, 1, 3}, []uint32{c.use(t, a, 1), c.use(t, b, 1), c.use(t, a, 1), c.use(t, d, 1)})
		require.Equal(t, 2, c.Len())
		require.EqualValues(t, 1, c.use(t, a, 1))
		require.EqualValues(t, 4, c.use(t, b, 1), "the least recently used went")
	})
}

func TestCacheForbidden(t *testing.T) {
	for name, c := range map[string]cacheRig{
		"by policy":   newCache(t, 0, wide(), nil),
		"by age":      newCache(t, 3600, client.Limits{MaxMessages: 9, MaxBytes: 9}, nil),
		"by messages": newCache(t, 3600, client.Limits{MaxAge: time.Hour, MaxBytes: 9}, nil),
		"by bytes":    newCache(t, 3600, client.Limits{MaxAge: time.Hour, MaxMessages: 9}, nil),
	} {
		require.EqualValues(t, 1, c.use(t, nil, 1), name)
		require.EqualValues(t, 2, c.use(t, nil, 1), name)
		require.Zero(t, c.Len(), name)
	}
}

func TestCacheAsksOnceForManyCallers(t *testing.T) {
	release := make(chan struct{})
	c := newCache(t, 3600, wide(), func(*http.Request) { <-release })
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() { c.use(t, nil, 1) })
	}
	close(release)
	group.Wait()
	require.EqualValues(t, 1, c.asked.Load())
}

func TestCacheWaiterOutlivesCancelledAsker(t *testing.T) {
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	c := newCache(t, 3600, wide(), func(*http.Request) { arrived <- struct{}{}; <-release })
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		first <- c.Use(ctx, "orders", nil, 1, func([]byte, client.DataKey) error { return nil })
	}()
	<-arrived
	second := make(chan uint32, 1)
	go func() { second <- c.use(t, nil, 1) }()
	cancel()
	require.ErrorIs(t, <-first, context.Canceled)
	close(release)
	require.EqualValues(t, 2, <-second)
}

func TestCacheCloseWipes(t *testing.T) {
	c := newCache(t, 3600, wide(), nil)
	c.use(t, nil, 1)
	c.Close()
	require.Zero(t, c.Len())
	err := c.Use(t.Context(), "orders", nil, 1, func([]byte, client.DataKey) error { return nil })
	require.ErrorIs(t, err, client.ErrCacheClosed)
}

func TestCacheGivesCallersErrorBack(t *testing.T) {
	c := newCache(t, 3600, wide(), nil)
	mine := errors.New("disk full")
	calls := 0
	err := c.Use(t.Context(), "orders", nil, 1, func([]byte, client.DataKey) error { calls++; return mine })
	require.ErrorIs(t, err, mine)
	require.Equal(t, 1, calls)
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
