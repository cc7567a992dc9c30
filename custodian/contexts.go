package custodian

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const auditKeySize = 32

// contextHasher turns encryption contexts into what the ledger shows of them: an HMAC under a key of the
// month, so that equal contexts can be matched by whoever holds the audit key and read by nobody.
type contextHasher struct {
	root  []byte
	month atomic.Pointer[monthKey]
}

type monthKey struct {
	name string // "2026-11"
	pool sync.Pool
}

func newContextHasher(root []byte) *contextHasher {
	return &contextHasher{root: slices.Clone(root)}
}

// sum is the base64url HMAC-SHA-256 of the context, "" for none.
func (c *contextHasher) sum(encryption map[string]string, at time.Time) string {
	if len(encryption) == 0 {
		return ""
	}
	m := c.keyFor(at)
	mac := m.pool.Get().(hash.Hash)
	mac.Reset()
	var names [16]string
	sorted := names[:0]
	for name := range encryption {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	buf := make([]byte, 0, 256)
	for _, name := range sorted {
		buf = binary.AppendUvarint(buf, uint64(len(name)))
		buf = append(buf, name...)
		value := encryption[name]
		buf = binary.AppendUvarint(buf, uint64(len(value)))
		buf = append(buf, value...)
	}
	mac.Write(buf)
	var sum [sha256.Size]byte
	out := base64.RawURLEncoding.EncodeToString(mac.Sum(sum[:0]))
	m.pool.Put(mac)
	return out
}

func (c *contextHasher) keyFor(at time.Time) *monthKey {
	name := at.UTC().Format("2006-01")
	if m := c.month.Load(); m != nil && m.name == name {
		return m
	}
	k, err := hkdf.Key(sha256.New, c.root, nil, "conclave encryption context "+name, sha256.Size)
	if err != nil {
		panic("deriving the month's context key: " + err.Error()) // sizes are constants: cannot happen
	}
	m := &monthKey{name: name}
	m.pool.New = func() any { return hmac.New(sha256.New, k) }
	c.month.Store(m)
	return m
}
