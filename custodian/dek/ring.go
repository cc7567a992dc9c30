package dek

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"conclave/custodian/key"
	"conclave/hsm"
)

// ErrMaterial says that a key version's own record or stored material is not usable, whatever the caller sent.
var ErrMaterial = errors.New("key material is not usable")

const (
	// MaxHandles bounds the key versions kept open; each holds a locked page in the software keystore and an
	// object or session in others. Beyond it the ring closes one for every one it opens.
	MaxHandles = 8192
	// maxOpens bounds how often one call opens a version anew because its handle was closed meanwhile.
	maxOpens = 4
)

// ringKey names one key version without building a string on the hot path.
type ringKey struct {
	key     string
	version uint32
}

// opened is a handle and what it was opened from: a version whose material or keystore has changed since is
// opened anew.
type opened struct {
	hsm.Handle
	keystore   string
	checkValue string
	copies     []hsm.Copy // of a key in a keystore group
}

func (o opened) of(v *key.Version) bool {
	return o.Handle != nil && o.keystore == v.Keystore && o.checkValue == v.Material.CheckValue &&
		slices.EqualFunc(o.copies, v.Material.Copies, func(a, b hsm.Copy) bool { return a.Member == b.Member && bytes.Equal(a.Blob, b.Blob) })
}

// Ring keeps key versions opened in their keystores, so that a call pays for opening once. It never decides
// who may use them. Safe for concurrent use.
type Ring struct {
	exists  func(keyID string, version uint32) bool
	scratch sync.Pool // *[]byte

	mu      sync.RWMutex
	handles map[ringKey]opened
}

// NewRing returns an empty ring. exists reports whether a version still has material by the newest committed
// state; it must be safe for concurrent use.
func NewRing(exists func(keyID string, version uint32) bool) *Ring {
	r := &Ring{exists: exists, handles: make(map[ringKey]opened)}
	r.scratch.New = func() any {
		b := make([]byte, 0, MaxHeader+len(ContextHash{}))
		return &b
	}
	return r
}

// handle returns the version's open handle, opening it in ks when need be.
func (r *Ring) handle(ctx context.Context, ks hsm.Keystore, v *key.Version) (hsm.Handle, error) {
	k := ringKey{v.Key, v.Version}
	r.mu.RLock()
	o := r.handles[k]
	r.mu.RUnlock()
	if o.of(v) {
		return o.Handle, nil
	}
	if !v.State.HasMaterial() || len(v.Material.Blob) == 0 {
		return nil, fmt.Errorf("opening %s: %w: there is none", key.VersionID(v.Key, v.Version), ErrMaterial)
	}
	h, err := ks.Open(ctx, v.Material)
	if errors.Is(err, hsm.ErrCorrupt) || errors.Is(err, hsm.ErrNotFound) {
		return nil, fmt.Errorf("opening %s: %w: %w", key.VersionID(v.Key, v.Version), ErrMaterial, err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", key.VersionID(v.Key, v.Version), err)
	}
	h = r.keep(k, v, h)
	// Whoever destroys a version commits that first and clears the ring then. So either exists knows of it
	// here, or the clearing comes after keep: no handle of a destroyed version stays behind.
	if !r.exists(v.Key, v.Version) {
		r.drop(k, h)
		return nil, fmt.Errorf("opening %s: %w: it was destroyed", key.VersionID(v.Key, v.Version), ErrMaterial)
	}
	return h, nil
}

// keep stores an opened handle and returns the one to use: where somebody was faster, theirs.
func (r *Ring) keep(k ringKey, v *key.Version, h hsm.Handle) hsm.Handle {
	r.mu.Lock()
	other, exists := r.handles[k]
	if other.of(v) {
		r.mu.Unlock()
		h.Close()
		return other.Handle
	}
	if !exists && len(r.handles) >= MaxHandles {
		for victim, o := range r.handles { // any one: map order is random enough
			delete(r.handles, victim)
			other, exists = o, true
			break
		}
	}
	r.handles[k] = opened{h, v.Keystore, v.Material.CheckValue, v.Material.Copies}
	r.mu.Unlock()
	if exists {
		other.Close()
	}
	return h
}

// Drop closes one version's handle: it was destroyed.
func (r *Ring) Drop(keyID string, version uint32) { r.drop(ringKey{keyID, version}, nil) }

// drop removes k, but only while it still holds the handle that failed; nil means whatever it holds.
func (r *Ring) drop(k ringKey, failed hsm.Handle) {
	r.mu.Lock()
	o, exists := r.handles[k]
	if !exists || (failed != nil && o.Handle != failed) {
		r.mu.Unlock()
		return
	}
	delete(r.handles, k)
	r.mu.Unlock()
	o.Close()
}

// Sweep closes every handle whose version no longer exists, so that what was destroyed by another replica is
// gone here too.
func (r *Ring) Sweep() {
	r.mu.RLock()
	keys := make([]ringKey, 0, len(r.handles))
	for k := range r.handles {
		keys = append(keys, k)
	}
	r.mu.RUnlock()
	for _, k := range keys {
		if !r.exists(k.key, k.version) {
			r.drop(k, nil)
		}
	}
}

// stale reports whether h failed because it was closed under the caller, or because its keystore was
// deactivated since, and lets go of it: the version is worth opening again. A keystore that is inactive still
// says so then.
func (r *Ring) stale(v *key.Version, h hsm.Handle, err error) bool {
	if !errors.Is(err, hsm.ErrInactive) && !errors.Is(err, hsm.ErrClosed) {
		return false
	}
	r.drop(ringKey{v.Key, v.Version}, h)
	return true
}
