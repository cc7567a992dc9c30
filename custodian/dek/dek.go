package dek

import (
	"context"
	"time"

	"conclave/custodian/key"
	"conclave/hsm"
)

// Sealing is what a ciphertext made here carries besides its payload.
type Sealing struct {
	Instance    [16]byte // first 16 bytes of the instance id
	Development bool
	At          time.Time
	Context     map[string]string
}

// Seal protects plaintext under a key version and returns the self-describing ciphertext.
func (r *Ring) Seal(ctx context.Context, ks hsm.Keystore, v *key.Version, s Sealing, plaintext []byte) ([]byte, error) {
	header := Header{
		Development: s.Development,
		Algorithm:   v.Algorithm,
		Instance:    s.Instance,
		Key:         v.Key,
		Version:     v.Version,
		ProtectedAt: s.At,
	}
	out := make([]byte, 0, len(v.Key)+len(plaintext)+sealOverhead)
	out = AppendHeader(out, header)
	n := len(out)
	var scratch [aadScratch]byte
	aad := AAD(scratch[:0], out[:n], s.Context)
	err := r.use(ctx, ks, v, func(h hsm.Handle) error {
		sealed, err := h.Seal(ctx, out[:n], plaintext, aad)
		if err == nil {
			out = sealed
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Open recovers the plaintext of a ciphertext whose header was parsed before. The receiver wipes it.
// Anything altered, and any other context, is hsm.ErrCorrupt.
func (r *Ring) Open(ctx context.Context, ks hsm.Keystore, v *key.Version, header, body []byte, encryption map[string]string) ([]byte, error) {
	var scratch [aadScratch]byte
	aad := AAD(scratch[:0], header, encryption)
	var plaintext []byte
	err := r.use(ctx, ks, v, func(h hsm.Handle) error {
		var err error
		plaintext, err = h.Open(ctx, nil, body, aad)
		return err
	})
	if err != nil {
		return nil, err
	}
	return plaintext, nil
}

const (
	sealOverhead = 160 // header without the key's name, salt, nonce and tag
	aadScratch   = 192 // header of the longest key name and the context's hash
)
