package dek

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"conclave/custodian/key"
	"conclave/hsm"
)

// ringKey names one key version without building a string on the hot path.
type ringKey struct {
	key     string
	version uint32
}

// Ring keeps key versions opened in their keystores, so that a call pays for opening once. It never decides
// who may use them. Safe for concurrent use.
type Ring struct {
	mu      sync.RWMutex
	handles map[ringKey]hsm.Handle
}

// NewRing returns an empty ring.
func NewRing() *Ring { return &Ring{handles: make(map[ringKey]hsm.Handle)} }

// handle returns the version's open handle, opening it in ks when need be.
func (r *Ring) handle(ctx context.Context, ks hsm.Keystore, v *key.Version) (hsm.Handle, error) {
	k := ringKey{v.Key, v.Version}
	r.mu.RLock()
	h := r.handles[k]
	r.mu.RUnlock()
	if h != nil {
		return h, nil
	}
	if v.State == key.Destroyed || len(v.Material.Blob) == 0 {
		return nil, fmt.Errorf("opening %s: %w", key.VersionID(v.Key, v.Version), hsm.ErrNotFound)
	}
	h, err := ks.Open(ctx, v.Material)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", key.VersionID(v.Key, v.Version), err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if other := r.handles[k]; other != nil { // somebody was faster
		h.Close()
		return other, nil
	}
	r.handles[k] = h
	return h, nil
}

// Drop closes one version's handle: it was destroyed, or its keystore was deactivated.
func (r *Ring) Drop(keyID string, version uint32) { r.drop(ringKey{keyID, version}, nil) }

// drop removes k, but only while it still holds the handle that failed; nil means whatever it holds.
func (r *Ring) drop(k ringKey, failed hsm.Handle) {
	r.mu.Lock()
	h := r.handles[k]
	if h == nil || (failed != nil && h != failed) {
		r.mu.Unlock()
		return
	}
	delete(r.handles, k)
	r.mu.Unlock()
	h.Close()
}

// Retain closes every handle whose version keep refuses, so that what was destroyed elsewhere is gone here too.
func (r *Ring) Retain(keep func(keyID string, version uint32) bool) {
	r.mu.Lock()
	var closing []hsm.Handle
	for k, h := range r.handles {
		if !keep(k.key, k.version) {
			closing = append(closing, h)
			delete(r.handles, k)
		}
	}
	r.mu.Unlock()
	for _, h := range closing {
		h.Close()
	}
}

// use runs f with the version's handle. A keystore deactivated and activated again invalidates handles: one
// stale handle is replaced and f runs a second time.
func (r *Ring) use(ctx context.Context, ks hsm.Keystore, v *key.Version, f func(hsm.Handle) error) error {
	for attempt := 0; ; attempt++ {
		h, err := r.handle(ctx, ks, v)
		if err != nil {
			return err
		}
		err = f(h)
		stale := errors.Is(err, hsm.ErrInactive) || errors.Is(err, hsm.ErrClosed)
		if !stale || attempt > 0 || !ks.Active() {
			return err
		}
		r.drop(ringKey{v.Key, v.Version}, h)
	}
}
