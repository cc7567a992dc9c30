package soft

import (
	"errors"
	"fmt"
	"sync/atomic"

	"conclave/hsm"
	"conclave/hsm/keypair"
	"conclave/hsm/secret"
)

var (
	_ hsm.Sealer    = (*sealer)(nil)
	_ hsm.MACer     = (*macer)(nil)
	_ hsm.Signer    = (*signer)(nil)
	_ hsm.Decrypter = (*decrypter)(nil)
)

// held is what all handles have in common: which key version they are, and their end.
type held struct {
	store      *Keystore
	keyID      string
	version    uint32
	checkValue string
	spec       hsm.Spec
	wipe       func()                // takes the key away; safe to call twice
	ended      atomic.Pointer[error] // why the handle serves no more, nil while it does
}

// handle makes the handle that the specification of m calls for. It owns versionKey unless there is an error.
func (k *Keystore) handle(m hsm.Material, versionKey *secret.Bytes) (hsm.Handle, *held, error) {
	switch spec := m.Specification(); spec.Kind() {
	case hsm.Seals:
		h := &sealer{key: versionKey}
		return h, h.init(k, m, versionKey.Wipe), nil
	case hsm.MACs:
		h := &macer{key: versionKey}
		return h, h.init(k, m, versionKey.Wipe), nil
	default:
		return k.pairHandle(m, spec, versionKey)
	}
}

func (k *Keystore) pairHandle(m hsm.Material, spec hsm.Spec, versionKey *secret.Bytes) (hsm.Handle, *held, error) {
	var private *keypair.Private
	err := versionKey.Use(func(pkcs8 []byte) (err error) {
		private, err = keypair.ParsePrivate(spec, pkcs8)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	versionKey.Wipe() // the module keeps its own form of it
	if spec.Kind() == hsm.Signs {
		h := &signer{}
		h.key.Store(private)
		return h, h.init(k, m, func() { h.key.Store(nil) }), nil
	}
	h := &decrypter{}
	h.key.Store(private)
	return h, h.init(k, m, func() { h.key.Store(nil) }), nil
}

func (h *held) init(k *Keystore, m hsm.Material, wipe func()) *held {
	h.store, h.keyID, h.version, h.checkValue, h.spec, h.wipe = k, m.Key, m.Version, m.CheckValue, m.Specification(), wipe
	return h
}

// Spec implements hsm.Handle.
func (h *held) Spec() hsm.Spec { return h.spec }

// refusal turns the loss of the key into the reason for which it was taken away.
func (h *held) refusal(doing string, err error) error {
	if errors.Is(err, secret.ErrWiped) {
		if reason := h.ended.Load(); reason != nil {
			err = *reason
		}
	}
	return fmt.Errorf("%s under key %q version %d: %w", doing, h.keyID, h.version, err)
}

// end takes the key away, for the first reason given. The reason is set before the key goes, so that a
// caller who misses the key finds it.
func (h *held) end(reason error) {
	h.ended.CompareAndSwap(nil, &reason)
	h.wipe()
}

// Close implements hsm.Handle.
func (h *held) Close() {
	h.end(hsm.ErrClosed)
	h.store.forget(h)
}
