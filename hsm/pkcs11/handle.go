//go:build cgo

package pkcs11

import (
	"bytes"
	"context"
	"crypto/hmac"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/miekg/pkcs11"

	"conclave/hsm"
	"conclave/hsm/secret"
)

var (
	_ hsm.Sealer = (*sealer)(nil)
	_ hsm.MACer  = (*macer)(nil)
	_ hsm.Signer = (*signer)(nil)
)

// held is what all handles have in common: which key they are, and their end.
type held struct {
	store   *Keystore
	ref     *reference
	keyID   string
	version uint32
	ended   atomic.Pointer[error] // why the handle serves no more, nil while it does
}

func (k *Keystore) handleOf(m hsm.Material, ref *reference) (hsm.Handle, *held) {
	switch ref.spec.Kind() {
	case hsm.Seals:
		h := &sealer{}
		return h, h.init(k, m, ref)
	case hsm.MACs:
		h := &macer{}
		return h, h.init(k, m, ref)
	}
	h := &signer{}
	return h, h.init(k, m, ref)
}

func (h *held) init(k *Keystore, m hsm.Material, ref *reference) *held {
	h.store, h.ref, h.keyID, h.version = k, ref, m.Key, m.Version
	return h
}

// Spec implements hsm.Handle.
func (h *held) Spec() hsm.Spec { return h.ref.spec }

// Format shows nothing but the name.
func (h *held) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "handle of "+objectLabel(h.keyID, h.version, h.ref.spec))
}

// end ends the handle, for the first reason given.
func (h *held) end(reason error) { h.ended.CompareAndSwap(nil, &reason) }

// Close implements hsm.Handle.
func (h *held) Close() {
	h.end(hsm.ErrClosed)
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	delete(h.store.handles, h)
}

// run puts the key to its use in a session, and gives the reason of the handle's end where that is why it failed.
// after runs when do will not run again.
func run(ctx context.Context, h *held, doing string, do func(s *session, o pkcs11.ObjectHandle) ([]byte, error), after func()) ([]byte, error) {
	out, err := []byte(nil), error(nil)
	if reason := h.ended.Load(); reason != nil {
		err = *reason
	} else {
		out, err = call(ctx, h.store.token, h.store.token.cfg.Deadline, func(s *session) ([]byte, error) {
			return with(s, h.ref, func(o pkcs11.ObjectHandle) ([]byte, error) { return do(s, o) })
		}, secret.Wipe, after)
	}
	if err == nil {
		return out, nil
	}
	if reason := h.ended.Load(); reason != nil {
		err = *reason
	}
	return nil, fmt.Errorf("%s under key %q version %d: %w", doing, h.keyID, h.version, err)
}

func checkMessage(what string, message []byte) error {
	if len(message) > MaxMessage {
		return fmt.Errorf("%s: %d bytes, allowed are 0 to %d: %w", what, len(message), MaxMessage, hsm.ErrTooLarge)
	}
	return nil
}

// macer is an HMAC key.
type macer struct{ held }

// MAC implements hsm.MACer: HMAC (FIPS 198-1) in the token, not cut off.
func (h *macer) MAC(ctx context.Context, dst, message []byte) ([]byte, error) {
	mac, err := h.mac(ctx, "authenticating", message)
	if err != nil {
		return nil, err
	}
	return append(dst, mac...), nil
}

// VerifyMAC implements hsm.MACer: the token makes the MAC, which is compared here.
func (h *macer) VerifyMAC(ctx context.Context, message, mac []byte) (bool, error) {
	right, err := h.mac(ctx, "verifying a MAC", message)
	if err != nil {
		return false, err
	}
	return hmac.Equal(right, mac), nil
}

func (h *macer) mac(ctx context.Context, doing string, message []byte) ([]byte, error) {
	if err := checkMessage("message", message); err != nil {
		return nil, err
	}
	m, _ := makingOf(h.ref.spec)
	own := bytes.Clone(message)
	return run(ctx, &h.held, doing, func(s *session, o pkcs11.ObjectHandle) ([]byte, error) {
		mac, err := s.sign(o, pkcs11.NewMechanism(m.use[0], nil), own)
		if err == nil && len(mac) != h.ref.spec.Hashes()[0].Size() {
			err = fmt.Errorf("a MAC of %d bytes: %w", len(mac), hsm.ErrUnavailable)
		}
		return mac, err
	}, nil)
}
