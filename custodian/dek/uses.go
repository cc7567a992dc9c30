package dek

import (
	"context"
	"fmt"

	"conclave/custodian/key"
	"conclave/hsm"
	"conclave/hsm/keypair"
)

// Sign signs by the private half of a version; hash and input are as for hsm.Signer.
func (r *Ring) Sign(ctx context.Context, ks hsm.Keystore, v *key.Version, hash hsm.Hash, input []byte) ([]byte, error) {
	return use(ctx, r, ks, v, func(h hsm.Signer) ([]byte, error) { return h.Sign(ctx, nil, hash, input) })
}

// MAC authenticates a message.
func (r *Ring) MAC(ctx context.Context, ks hsm.Keystore, v *key.Version, message []byte) ([]byte, error) {
	return use(ctx, r, ks, v, func(h hsm.MACer) ([]byte, error) { return h.MAC(ctx, nil, message) })
}

// VerifyMAC reports whether mac is that of a message.
func (r *Ring) VerifyMAC(ctx context.Context, ks hsm.Keystore, v *key.Version, message, mac []byte) (bool, error) {
	return use(ctx, r, ks, v, func(h hsm.MACer) (bool, error) { return h.VerifyMAC(ctx, message, mac) })
}

// Decrypt opens an OAEP ciphertext under the label that the encryption context stands for. The receiver wipes the
// plaintext.
func (r *Ring) Decrypt(ctx context.Context, ks hsm.Keystore, v *key.Version, ciphertext, label []byte) ([]byte, error) {
	return use(ctx, r, ks, v, func(h hsm.Decrypter) ([]byte, error) { return h.Decrypt(ctx, nil, ciphertext, label) })
}

// use puts a version to its use, and opens it anew where its handle was closed meanwhile.
func use[H hsm.Handle, T any](ctx context.Context, r *Ring, ks hsm.Keystore, v *key.Version, do func(H) (T, error)) (T, error) {
	var none T
	for opens := 1; ; opens++ {
		h, err := r.handle(ctx, ks, v)
		if err != nil {
			return none, err
		}
		fit, err := hsm.As[H](h)
		if err != nil {
			return none, err
		}
		out, err := do(fit)
		if err == nil {
			return out, nil
		}
		if !r.stale(v, h, err) || opens == maxOpens {
			return none, err
		}
	}
}

// PublicHalf is the public half of a version, for what needs no keystore. A record without one is ErrMaterial.
func PublicHalf(v *key.Version) (*keypair.Public, error) {
	public, err := keypair.ParsePublic(v.Specification(), v.Public)
	if err != nil {
		return nil, fmt.Errorf("reading the public half of %s: %w: %w", key.VersionID(v.Key, v.Version), ErrMaterial, err)
	}
	return public, nil
}

// Label is what an encryption context is to OAEP: its hash, or nothing for no context, so that whoever encrypts with
// the public half alone needs no more than the standard.
func Label(context map[string]string) []byte {
	if len(context) == 0 {
		return nil
	}
	hash := HashContext(context)
	return hash[:]
}
