// Package secret holds the only type that carries key bytes. A [Bytes] keeps them outside the garbage
// collected heap, on a page that is locked and left out of core dumps where the operating system
// allows, redacts itself whenever it is printed or marshalled, and wipes itself.
package secret

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// ErrWiped says that the secret is gone; it cannot come back.
var ErrWiped = errors.New("secret has been wiped")

// Redacted is what a secret shows of itself in any rendering.
const Redacted = "[redacted]"

// wipedBit marks a secret as wiped in its state word; the bits above it count the uses in progress.
const (
	wipedBit = int64(1)
	oneUse   = int64(2)
)

// Bytes carries secret bytes. Make one with [New] or [Random]; never copy the struct. All methods are
// safe for concurrent use. A Bytes that becomes unreachable is wiped by the garbage collector's cleanup,
// which is a safety net only: its owner calls Wipe.
type Bytes struct {
	state   atomic.Int64 // uses in progress × 2, plus wipedBit
	mem     *region
	cleanup runtime.Cleanup
}

// region is the memory of one secret. It keeps an unsafe.Pointer rather than a slice so that a printer
// that walks values by reflection (a debugger's dump, a test's diff) meets an address, not the bytes.
type region struct {
	base   unsafe.Pointer
	size   int
	mapped int // bytes to unmap, 0 where the memory is ordinary heap
	locked bool
}

func (r *region) bytes() []byte { return unsafe.Slice((*byte)(r.base), r.size) }

func (r *region) release() {
	Wipe(r.bytes())
	unmap(r)
}

// New moves b into a secret: the bytes are copied to the secret's own memory and b is wiped.
func New(b []byte) *Bytes {
	s := allocate(len(b))
	copy(s.mem.bytes(), b)
	Wipe(b)
	return s
}

// Random returns n bytes (n ≥ 0) of crypto/rand, which in FIPS mode is the module's approved DRBG
// (SP 800-90A). They are written straight into the secret's own memory.
func Random(n int) *Bytes {
	s := allocate(n)
	// Since Go 1.24 rand.Read does not return an error: it ends the process if the system's source fails.
	_, _ = rand.Read(s.mem.bytes())
	return s
}

func allocate(n int) *Bytes {
	s := &Bytes{mem: newRegion(n)}
	s.cleanup = runtime.AddCleanup(s, (*region).release, s.mem)
	return s
}

// heapRegion is memory of the ordinary heap, for systems without page locking and for n = 0.
func heapRegion(n int) *region {
	b := make([]byte, n)
	return &region{base: unsafe.Pointer(unsafe.SliceData(b)), size: n}
}

// Use calls f with the bytes and returns f's error, or ErrWiped without calling it. The slice is valid
// until f returns and must not be kept; its memory is gone after Wipe. A Wipe that comes while f runs
// takes effect when f returns.
func (s *Bytes) Use(f func(b []byte) error) error {
	if !s.acquire() {
		return ErrWiped
	}
	defer s.done()
	return f(s.mem.bytes())
}

func (s *Bytes) acquire() bool {
	for {
		v := s.state.Load()
		if v&wipedBit != 0 || s.mem == nil {
			return false
		}
		if s.state.CompareAndSwap(v, v+oneUse) {
			return true
		}
	}
}

func (s *Bytes) done() {
	if s.state.Add(-oneUse) == wipedBit {
		s.free()
	}
}

// free runs once: no use can begin after wipedBit is set, so the state "wiped, none in use" is entered once.
func (s *Bytes) free() {
	s.cleanup.Stop()
	s.mem.release()
}

// Wipe overwrites the bytes and gives the memory back. After it returns no new use can begin; a use in
// progress finishes first and the bytes go with it. Wipe is idempotent and does not wait.
func (s *Bytes) Wipe() {
	if s == nil || s.mem == nil {
		return
	}
	if s.state.Or(wipedBit) == 0 {
		s.free()
	}
}

// Len is the number of bytes; it stays known after Wipe.
func (s *Bytes) Len() int {
	if s == nil || s.mem == nil {
		return 0
	}
	return s.mem.size
}

// Locked reports whether the operating system keeps the bytes out of swap.
func (s *Bytes) Locked() bool { return s != nil && s.mem != nil && s.mem.locked }

// Equal compares in time that depends on the lengths only. A wiped secret equals nothing, itself included.
func (s *Bytes) Equal(other *Bytes) bool {
	if s == nil || other == nil {
		return false
	}
	equal := false
	err := s.Use(func(a []byte) error {
		return other.Use(func(b []byte) error {
			equal = subtle.ConstantTimeCompare(a, b) == 1
			return nil
		})
	})
	return err == nil && equal
}

// Clone returns an independent secret with the same bytes. The clone of a wiped secret is wiped too.
func (s *Bytes) Clone() *Bytes {
	c := allocate(s.Len())
	if err := s.Use(func(b []byte) error { copy(c.mem.bytes(), b); return nil }); err != nil {
		c.Wipe()
	}
	return c
}

// String implements fmt.Stringer: Redacted.
func (*Bytes) String() string { return Redacted }

// GoString implements fmt.GoStringer: Redacted.
func (*Bytes) GoString() string { return Redacted }

// Format implements fmt.Formatter: Redacted under every verb.
func (*Bytes) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// MarshalJSON implements json.Marshaler: Redacted.
func (*Bytes) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// MarshalText implements encoding.TextMarshaler: Redacted.
func (*Bytes) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// LogValue implements slog.LogValuer: Redacted.
func (*Bytes) LogValue() slog.Value { return slog.StringValue(Redacted) }

// Wipe overwrites b with zeros, in a way the compiler does not remove.
func Wipe(b []byte) {
	clear(b)
	runtime.KeepAlive(unsafe.SliceData(b))
}
