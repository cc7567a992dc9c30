package group

import (
	"context"

	"conclave/hsm"
)

var (
	_ hsm.Keystore  = (*Keystore)(nil)
	_ hsm.Sealer    = (*sealer)(nil)
	_ hsm.MACer     = macer{}
	_ hsm.Signer    = signer{}
	_ hsm.Decrypter = decrypter{}
)

type (
	sealer struct {
		*held
		algorithm hsm.Algorithm
	}
	macer     struct{ *held }
	signer    struct{ *held }
	decrypter struct{ *held }
)

// Algorithm implements hsm.Sealer.
func (h *sealer) Algorithm() hsm.Algorithm { return h.algorithm }

// Seal implements hsm.Sealer. dst of a member that failed is not what the next one appends to.
func (h *sealer) Seal(ctx context.Context, dst, plaintext, aad []byte) ([]byte, error) {
	return try(ctx, h.held, "sealing", func(ctx context.Context, use hsm.Sealer) ([]byte, error) { return use.Seal(ctx, dst, plaintext, aad) })
}

// Open implements hsm.Sealer.
func (h *sealer) Open(ctx context.Context, dst, body, aad []byte) ([]byte, error) {
	return try(ctx, h.held, "opening", func(ctx context.Context, use hsm.Sealer) ([]byte, error) { return use.Open(ctx, dst, body, aad) })
}

// MAC implements hsm.MACer.
func (h macer) MAC(ctx context.Context, dst, message []byte) ([]byte, error) {
	return try(ctx, h.held, "computing a MAC", func(ctx context.Context, use hsm.MACer) ([]byte, error) { return use.MAC(ctx, dst, message) })
}

// VerifyMAC implements hsm.MACer.
func (h macer) VerifyMAC(ctx context.Context, message, mac []byte) (bool, error) {
	return try(ctx, h.held, "verifying a MAC", func(ctx context.Context, use hsm.MACer) (bool, error) { return use.VerifyMAC(ctx, message, mac) })
}

// Sign implements hsm.Signer.
func (h signer) Sign(ctx context.Context, dst []byte, hash hsm.Hash, input []byte) ([]byte, error) {
	return try(ctx, h.held, "signing", func(ctx context.Context, use hsm.Signer) ([]byte, error) { return use.Sign(ctx, dst, hash, input) })
}

// Decrypt implements hsm.Decrypter.
func (h decrypter) Decrypt(ctx context.Context, dst, ciphertext, label []byte) ([]byte, error) {
	return try(ctx, h.held, "decrypting", func(ctx context.Context, use hsm.Decrypter) ([]byte, error) {
		return use.Decrypt(ctx, dst, ciphertext, label)
	})
}
