package client

import (
	"container/list"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"conclave/hsm/secret"
)

// maxCacheAge caps what any policy and any caller can ask for.
const maxCacheAge = 24 * time.Hour

// Limits of a data-key cache. The service's own bound on the age holds as well; the smaller one counts.
// A zero MaxAge, MaxMessages or MaxBytes means that nothing is cached.
type Limits struct {
	MaxAge      time.Duration // counted from before the key was asked for
	MaxMessages uint64        // messages protected with one data key
	MaxBytes    uint64        // plaintext bytes protected with one data key
	MaxKeys     int           // data keys held at once, the least recently used goes first; default 1024
}

func (l Limits) none() bool { return l.MaxAge <= 0 || l.MaxMessages == 0 || l.MaxBytes == 0 }

// ErrCacheClosed says that the cache was closed.
var ErrCacheClosed = errors.New("data-key cache is closed")

// dataKeyBytes is the length of the data keys that the cache asks for: AES-256.
const dataKeyBytes = 32

// DataKeyCache reuses data keys within limits, one per key and encryption context. Whatever leaves it,
// by age, use, number or Close, is wiped. It is safe for concurrent use.
type DataKeyCache struct {
	client *Client
	limits Limits

	mu      sync.Mutex
	closed  bool
	entries map[string]*cached
	recent  *list.List // of *cached, the most recently used in front
	flights map[string]*flight
}

type cached struct {
	id       string
	key      DataKey
	until    time.Duration // on the clock's monotonic reading
	messages uint64        // left
	bytes    uint64        // left
	timer    *time.Timer
	place    *list.Element
}

// flight is one request for a data key that several callers wait for.
type flight struct {
	done  chan struct{}
	err   error
	alone bool // policy forbids reuse: every caller asks for a key of their own
}

// NewDataKeyCache returns an empty cache in front of a client.
func NewDataKeyCache(c *Client, limits Limits) *DataKeyCache {
	if limits.MaxKeys <= 0 {
		limits.MaxKeys = 1024
	}
	limits.MaxAge = min(limits.MaxAge, maxCacheAge)
	return &DataKeyCache{
		client: c, limits: limits,
		entries: map[string]*cached{}, recent: list.New(), flights: map[string]*flight{},
	}
}

// Use hands a data key (AES-256) for one message of n plaintext bytes to f, from the cache where limits
// and policy allow it. plaintext must not be kept; dk.Plaintext is nil. f runs at most once.
func (c *DataKeyCache) Use(ctx context.Context, key string, encryptionContext map[string]string, n uint64, f func(plaintext []byte, dk DataKey) error) error {
	if c.limits.none() || n > c.limits.MaxBytes {
		return c.useOnce(ctx, key, encryptionContext, f)
	}
	id := cacheID(key, encryptionContext)
	for {
		dk, ok, err := c.lease(id, n)
		if err != nil {
			return err
		}
		if ok {
			called := false
			err := dk.Plaintext.Use(func(b []byte) error {
				called = true
				return f(b, withoutPlaintext(dk))
			})
			if called || !errors.Is(err, secret.ErrWiped) {
				return err
			}
			continue // evicted between lease and use
		}
		mine, err := c.fetch(ctx, id, key, encryptionContext)
		if err != nil {
			return err
		}
		if mine != nil { // policy forbids caching: it serves this call alone
			return consume(*mine, f)
		}
	}
}

// Close wipes everything. Uses in progress finish.
func (c *DataKeyCache) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, e := range c.entries {
		c.evict(e)
	}
}

// Len is the number of data keys held.
func (c *DataKeyCache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}

func (c *DataKeyCache) useOnce(ctx context.Context, key string, encryptionContext map[string]string, f func([]byte, DataKey) error) error {
	dk, err := c.client.DataKey(ctx, key, dataKeyBytes, encryptionContext)
	if err != nil {
		return err
	}
	return consume(dk, f)
}

func consume(dk DataKey, f func([]byte, DataKey) error) error {
	defer dk.Plaintext.Wipe()
	if dk.Plaintext == nil {
		return errNoPlaintext
	}
	return dk.Plaintext.Use(func(b []byte) error { return f(b, withoutPlaintext(dk)) })
}

var errNoPlaintext = errors.New("the service returned no plaintext data key")

// lease takes one message of n bytes out of a cached key's allowance.
func (c *DataKeyCache) lease(id string, n uint64) (DataKey, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return DataKey{}, false, ErrCacheClosed
	}
	e, ok := c.entries[id]
	if !ok {
		return DataKey{}, false, nil
	}
	if c.client.clock.Elapsed() >= e.until || e.messages == 0 || e.bytes < n {
		c.evict(e)
		return DataKey{}, false, nil
	}
	e.messages--
	e.bytes -= n
	c.recent.MoveToFront(e.place)
	return e.key, true, nil
}

// fetch asks the service for a data key, once for all callers that want the same one. It returns a key
// only when policy forbids caching it; else the key is in the cache, or another caller's fetch ended.
func (c *DataKeyCache) fetch(ctx context.Context, id, key string, encryptionContext map[string]string) (*DataKey, error) {
	c.mu.Lock()
	if fl, ok := c.flights[id]; ok {
		c.mu.Unlock()
		select {
		case <-fl.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if fl.err != nil && !errors.Is(fl.err, context.Canceled) && !errors.Is(fl.err, context.DeadlineExceeded) {
			return nil, fl.err
		}
		if fl.alone { // not one after the other
			dk, err := c.client.DataKey(ctx, key, dataKeyBytes, encryptionContext)
			return &dk, err
		}
		return nil, nil // look again: a caller who gave up took nobody else's chance
	}
	fl := &flight{done: make(chan struct{})}
	c.flights[id] = fl
	c.mu.Unlock()

	asked := c.client.clock.Elapsed()
	dk, err := c.client.DataKey(ctx, key, dataKeyBytes, encryptionContext)
	if err == nil && dk.Plaintext == nil {
		err = errNoPlaintext
	}
	age := min(c.limits.MaxAge, dk.CacheFor)
	c.mu.Lock()
	defer c.mu.Unlock()
	fl.err, fl.alone = err, err == nil && age <= 0
	delete(c.flights, id)
	close(fl.done)
	if err != nil {
		return nil, err
	}
	if age <= 0 || c.closed {
		return &dk, nil
	}
	c.add(id, dk, asked+age, age)
	return nil, nil
}

func (c *DataKeyCache) add(id string, dk DataKey, until, age time.Duration) {
	if old, ok := c.entries[id]; ok {
		c.evict(old)
	}
	for len(c.entries) >= c.limits.MaxKeys {
		oldest, ok := c.recent.Back().Value.(*cached)
		if !ok {
			break
		}
		c.evict(oldest)
	}
	e := &cached{id: id, key: dk, until: until, messages: c.limits.MaxMessages, bytes: c.limits.MaxBytes}
	// A key that nobody asks for again must not outstay its age in memory.
	e.timer = time.AfterFunc(age, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.evict(e)
	})
	e.place = c.recent.PushFront(e)
	c.entries[id] = e
}

// evict removes and wipes; it is idempotent. The caller holds mu.
func (c *DataKeyCache) evict(e *cached) {
	if c.entries[e.id] != e {
		return
	}
	delete(c.entries, e.id)
	c.recent.Remove(e.place)
	e.timer.Stop()
	e.key.Plaintext.Wipe()
}

func withoutPlaintext(dk DataKey) DataKey {
	dk.Plaintext = nil
	return dk
}

// cacheID is an unambiguous encoding of a key and its encryption context.
func cacheID(key string, encryptionContext map[string]string) string {
	b := appendField(nil, key)
	for _, name := range slices.Sorted(maps.Keys(encryptionContext)) {
		b = appendField(appendField(b, name), encryptionContext[name])
	}
	return string(b)
}

func appendField(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(min(len(s), math.MaxUint32)))
	return append(b, s...)
}
