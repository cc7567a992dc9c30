package soft

import (
	"context"
	"sync/atomic"

	"conclave/hsm"
	"conclave/hsm/keypair"
	"conclave/hsm/secret"
)

// signer is the private half of a signature pair, ready for use. The key is nil once it was taken away; whoever
// uses it at that moment finishes.
type signer struct {
	held
	key atomic.Pointer[keypair.Private]
}

// Sign implements hsm.Signer. It never blocks, so it does not look at the context.
func (h *signer) Sign(_ context.Context, dst []byte, hash hsm.Hash, input []byte) ([]byte, error) {
	if hash == hsm.NoHash {
		if err := checkMessage(input); err != nil {
			return nil, err
		}
	}
	private := h.key.Load()
	if private == nil {
		return nil, h.refusal("signing", secret.ErrWiped)
	}
	out, err := private.Sign(dst, hash, input)
	if err != nil {
		return nil, h.refusal("signing", err)
	}
	return out, nil
}

// decrypter is the private half of a key-transport pair, ready for use.
type decrypter struct {
	held
	key atomic.Pointer[keypair.Private]
}

// Decrypt implements hsm.Decrypter. It never blocks, so it does not look at the context.
func (h *decrypter) Decrypt(_ context.Context, dst, ciphertext, label []byte) ([]byte, error) {
	private := h.key.Load()
	if private == nil {
		return nil, h.refusal("decrypting", secret.ErrWiped)
	}
	out, err := private.Decrypt(dst, ciphertext, label)
	if err != nil {
		return nil, h.refusal("decrypting", err)
	}
	return out, nil
}
