package soft

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"conclave/hsm"
	"conclave/hsm/secret"
)

const (
	messageLabel = "conclave message key v1"
	saltBytes    = 32
	nonceBytes   = 12
	tagBytes     = 16
	bodyOverhead = saltBytes + nonceBytes + tagBytes
)

// handle is one version key, ready for use.
type handle struct {
	store      *Keystore
	keyID      string
	version    uint32
	checkValue string
	key        *secret.Bytes
	ended      atomic.Pointer[error] // why the handle serves no more, nil while it does
}

// Algorithm implements hsm.Handle.
func (*handle) Algorithm() hsm.Algorithm { return hsm.AlgorithmDerivedAES256GCM }

// Seal implements hsm.Handle: salt(32) ‖ nonce(12) ‖ ciphertext ‖ tag(16). It never blocks, so it does
// not look at the context.
func (h *handle) Seal(_ context.Context, dst, plaintext, aad []byte) ([]byte, error) {
	if len(plaintext) > MaxMessage {
		return nil, fmt.Errorf("plaintext: %d bytes, allowed are 0 to %d: %w", len(plaintext), MaxMessage, hsm.ErrTooLarge)
	}
	out := slices.Grow(dst, bodyOverhead+len(plaintext))[:len(dst)+saltBytes]
	salt := out[len(dst):]
	// Since Go 1.24 rand.Read does not return an error: it ends the process if the system's source fails.
	_, _ = rand.Read(salt)
	err := h.key.Use(func(key []byte) error {
		aead, err := messageCipher(key, salt)
		if err != nil {
			return err
		}
		out = aead.Seal(out, nil, plaintext, aad)
		return nil
	})
	if err != nil {
		return nil, h.refusal("sealing", err)
	}
	return out, nil
}

// Open implements hsm.Handle. It never blocks, so it does not look at the context.
func (h *handle) Open(_ context.Context, dst, body, aad []byte) ([]byte, error) {
	out := dst
	err := h.key.Use(func(key []byte) error {
		if len(body) < bodyOverhead || len(body) > bodyOverhead+MaxMessage {
			return hsm.ErrCorrupt
		}
		aead, err := messageCipher(key, body[:saltBytes])
		if err != nil {
			return err
		}
		if out, err = aead.Open(dst, nil, body[saltBytes:], aad); err != nil {
			return hsm.ErrCorrupt
		}
		return nil
	})
	if err != nil {
		return nil, h.refusal("opening", err)
	}
	return out, nil
}

// messageCipher derives the key of one message (HKDF-SHA-256, RFC 5869, an SP 800-56C two-step KDF) and
// returns AES-256-GCM under it, which draws its own nonces (SP 800-38D 8.2.2).
func messageCipher(versionKey, salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, versionKey, salt, messageLabel, keyBytes)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(key)
	return newGCM(key)
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// refusal turns the loss of the key into the reason for which it was taken away.
func (h *handle) refusal(doing string, err error) error {
	if errors.Is(err, secret.ErrWiped) {
		if reason := h.ended.Load(); reason != nil {
			err = *reason
		}
	}
	return fmt.Errorf("%s under key %q version %d: %w", doing, h.keyID, h.version, err)
}

// end takes the key away, for the first reason given. The reason is set before the key goes, so that a
// caller who misses the key finds it.
func (h *handle) end(reason error) {
	h.ended.CompareAndSwap(nil, &reason)
	h.key.Wipe()
}

// Close implements hsm.Handle.
func (h *handle) Close() {
	h.end(hsm.ErrClosed)
	h.store.forget(h)
}
