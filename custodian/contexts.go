package custodian

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"conclave/custodian/dek"
	"conclave/hsm/secret"
)

const auditKeySize = 32

// contextHasher turns encryption contexts into what the ledger shows of them: an HMAC under a key of the
// month, so that equal contexts can be matched by whoever holds the audit key and read by nobody.
type contextHasher struct {
	root  *secret.Bytes
	month atomic.Pointer[monthKey]
}

// monthKey makes the HMACs of one calendar month, UTC.
type monthKey struct {
	year  int
	month time.Month
	pool  sync.Pool // *keyedHash
}

// keyedHash is an HMAC under the month's key with room for its output.
type keyedHash struct {
	mac hash.Hash
	in  dek.ContextHash
	sum [sha256.Size]byte
	out [(sha256.Size*8 + 5) / 6]byte
}

func newContextHasher(root []byte) *contextHasher {
	return &contextHasher{root: secret.New(slices.Clone(root))}
}

// sum is base64url(HMAC-SHA-256(key of at's month, context hash)). docs/wire-formats.md defines the hash.
func (c *contextHasher) sum(context dek.ContextHash, at time.Time) (string, error) {
	m, err := c.keyFor(at)
	if err != nil {
		return "", err
	}
	k := m.pool.Get().(*keyedHash)
	defer m.pool.Put(k)
	k.mac.Reset()
	k.in = context
	k.mac.Write(k.in[:])
	base64.RawURLEncoding.Encode(k.out[:], k.mac.Sum(k.sum[:0]))
	return string(k.out[:]), nil
}

// keyFor returns the key of a month: HKDF-SHA-256 of the audit key with the month in its label.
func (c *contextHasher) keyFor(at time.Time) (*monthKey, error) {
	year, month, _ := at.UTC().Date()
	if m := c.month.Load(); m != nil && m.month == month && m.year == year {
		return m, nil
	}
	m := &monthKey{year: year, month: month}
	label := fmt.Sprintf("conclave encryption context %04d-%02d", year, month)
	var derived *secret.Bytes
	err := c.root.Use(func(root []byte) error {
		k, err := hkdf.Key(sha256.New, root, nil, label, sha256.Size)
		if err == nil {
			derived = secret.New(k)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("deriving the context key of %04d-%02d: %w", year, month, err)
	}
	m.pool.New = func() any {
		k := &keyedHash{}
		_ = derived.Use(func(b []byte) error { // never wiped while the pool can be reached
			k.mac = hmac.New(sha256.New, b)
			return nil
		})
		return k
	}
	c.month.Store(m)
	return m, nil
}
