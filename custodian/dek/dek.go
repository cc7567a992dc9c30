package dek

import (
	"context"
	"fmt"
	"time"

	"conclave/custodian/key"
	"conclave/hsm"
)

// Sealing is what a ciphertext made here carries besides its payload.
type Sealing struct {
	Instance    [16]byte // first 16 bytes of the instance id
	Development bool
	At          time.Time
	Context     ContextHash
}

// Seal protects plaintext under a key version and returns the self-describing ciphertext. A version whose
// record no ciphertext could name is ErrMaterial.
func (r *Ring) Seal(ctx context.Context, ks hsm.Keystore, v *key.Version, s Sealing, plaintext []byte) ([]byte, error) {
	header := Header{
		Development: s.Development,
		Algorithm:   v.Algorithm,
		Instance:    s.Instance,
		Key:         v.Key,
		Version:     v.Version,
		ProtectedAt: s.At,
	}
	if err := header.Validate(); err != nil {
		return nil, fmt.Errorf("sealing under %s: %w: %w", key.VersionID(v.Key, v.Version), ErrMaterial, err)
	}
	scratch := r.scratch.Get().(*[]byte)
	defer r.scratch.Put(scratch)
	out := make([]byte, 0, fixedHeader+len(v.Key)+v.Algorithm.Overhead()+len(plaintext))
	out = AppendHeader(out, header)
	aad := AAD((*scratch)[:0], out, s.Context)
	for opens := 1; ; opens++ {
		h, err := r.handle(ctx, ks, v)
		if err != nil {
			return nil, err
		}
		sealer, err := hsm.As[hsm.Sealer](h)
		if err != nil {
			return nil, err
		}
		sealed, err := sealer.Seal(ctx, out, plaintext, aad)
		if err == nil {
			return sealed, nil
		}
		if !r.stale(v, h, err) || opens == maxOpens {
			return nil, err
		}
	}
}

// Open recovers the plaintext of a ciphertext whose header was parsed before. The receiver wipes it.
// Anything altered, and any other context, is hsm.ErrCorrupt.
func (r *Ring) Open(ctx context.Context, ks hsm.Keystore, v *key.Version, header, body []byte, encryption ContextHash) ([]byte, error) {
	scratch := r.scratch.Get().(*[]byte)
	defer r.scratch.Put(scratch)
	aad := AAD((*scratch)[:0], header, encryption)
	for opens := 1; ; opens++ {
		h, err := r.handle(ctx, ks, v)
		if err != nil {
			return nil, err
		}
		sealer, err := hsm.As[hsm.Sealer](h)
		if err != nil {
			return nil, err
		}
		plaintext, err := sealer.Open(ctx, nil, body, aad)
		if err == nil {
			return plaintext, nil
		}
		if !r.stale(v, h, err) || opens == maxOpens {
			return nil, err
		}
	}
}

// PayloadBytes is the length of the plaintext inside a body of an algorithm, 0 for a body that is too short to hold one.
func PayloadBytes(a hsm.Algorithm, body []byte) int { return max(0, len(body)-a.Overhead()) }
