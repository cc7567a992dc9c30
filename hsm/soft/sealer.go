package soft

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"

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

// sealer is an AES-256 version key, ready for use.
type sealer struct {
	held
	key *secret.Bytes
}

// Algorithm implements hsm.Sealer.
func (*sealer) Algorithm() hsm.Algorithm { return hsm.AlgorithmDerivedAES256GCM }

// Seal implements hsm.Sealer: salt(32) ‖ nonce(12) ‖ ciphertext ‖ tag(16). It never blocks, so it does
// not look at the context.
func (h *sealer) Seal(_ context.Context, dst, plaintext, aad []byte) ([]byte, error) {
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

// Open implements hsm.Sealer. It never blocks, so it does not look at the context.
func (h *sealer) Open(_ context.Context, dst, body, aad []byte) ([]byte, error) {
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
