package soft

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"

	"conclave/hsm"
	"conclave/hsm/secret"
)

// macer is an HMAC version key, ready for use.
type macer struct {
	held
	key *secret.Bytes
}

// MAC implements hsm.MACer: HMAC (FIPS 198-1), not cut off. It never blocks, so it does not look at the context.
func (h *macer) MAC(_ context.Context, dst, message []byte) ([]byte, error) {
	if err := checkMessage(message); err != nil {
		return nil, err
	}
	out := dst
	err := h.key.Use(func(key []byte) error {
		out = appendHMAC(dst, h.spec, key, message)
		return nil
	})
	if err != nil {
		return nil, h.refusal("authenticating", err)
	}
	return out, nil
}

// VerifyMAC implements hsm.MACer. It never blocks, so it does not look at the context.
func (h *macer) VerifyMAC(_ context.Context, message, mac []byte) (bool, error) {
	if err := checkMessage(message); err != nil {
		return false, err
	}
	valid := false
	err := h.key.Use(func(key []byte) error {
		var room [sha512.Size]byte
		valid = hmac.Equal(appendHMAC(room[:0], h.spec, key, message), mac)
		return nil
	})
	if err != nil {
		return false, h.refusal("verifying a MAC", err)
	}
	return valid, nil
}

func appendHMAC(dst []byte, spec hsm.Spec, key, message []byte) []byte {
	var function func() hash.Hash
	switch spec {
	case hsm.HMACSHA256:
		function = sha256.New
	case hsm.HMACSHA384:
		function = sha512.New384
	default:
		function = sha512.New
	}
	mac := hmac.New(function, key)
	mac.Write(message)
	return mac.Sum(dst)
}

func checkMessage(message []byte) error {
	if len(message) > MaxMessage {
		return fmt.Errorf("message: %d bytes, allowed are 0 to %d: %w", len(message), MaxMessage, hsm.ErrTooLarge)
	}
	return nil
}
