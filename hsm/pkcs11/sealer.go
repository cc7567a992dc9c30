//go:build cgo

package pkcs11

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"

	"conclave/hsm"
	"conclave/hsm/secret"
)

const (
	// wrappedBytes is a message key of 32 bytes under AES-KW (SP 800-38F 6.2): 8 bytes more.
	wrappedBytes = keyBytes + 8
	bodyOverhead = wrappedBytes + nonceBytes + tagBytes
)

// sealer is an AES-256 key of the token.
type sealer struct{ held }

// Algorithm implements hsm.Sealer.
func (*sealer) Algorithm() hsm.Algorithm { return hsm.AlgorithmWrappedAES256GCM }

// Seal implements hsm.Sealer: wrapped message key(40) ‖ nonce(12) ‖ ciphertext ‖ tag(16). The message key is made by the
// token, for this message, and is never outside of it but wrapped.
func (h *sealer) Seal(ctx context.Context, dst, plaintext, aad []byte) ([]byte, error) {
	if err := checkMessage("plaintext", plaintext); err != nil {
		return nil, err
	}
	text, bound := bytes.Clone(plaintext), bytes.Clone(aad)
	body, err := run(ctx, &h.held, "sealing", func(s *session, o pkcs11.ObjectHandle) ([]byte, error) {
		return s.seal(o, text, bound)
	}, func() { secret.Wipe(text) })
	if err != nil {
		return nil, err
	}
	return append(dst, body...), nil
}

// Open implements hsm.Sealer.
func (h *sealer) Open(ctx context.Context, dst, body, aad []byte) ([]byte, error) {
	if len(body) < bodyOverhead || len(body) > bodyOverhead+MaxMessage {
		reason := h.ended.Load()
		if reason == nil {
			reason = &hsm.ErrCorrupt
		}
		return nil, fmt.Errorf("opening under key %q version %d: %w", h.keyID, h.version, *reason)
	}
	own, bound := bytes.Clone(body), bytes.Clone(aad)
	plaintext, err := run(ctx, &h.held, "opening", func(s *session, o pkcs11.ObjectHandle) ([]byte, error) {
		plaintext, err := s.unseal(o, own, bound)
		if err == nil || objectGone(err) || sessionGone(err) {
			return plaintext, err
		}
		// Some modules give a general error for a ciphertext that is not right. It is not right if the key opens what it
		// seals now: then the fault is not the token's.
		if refusedCiphertext(err) || s.proves(o) {
			return nil, hsm.ErrCorrupt
		}
		return nil, err
	}, nil)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(plaintext)
	return append(dst, plaintext...), nil
}

// proves reports whether the key opens what it seals.
func (s *session) proves(o pkcs11.ObjectHandle) bool {
	text := make([]byte, keyBytes)
	_, _ = rand.Read(text)
	body, err := s.seal(o, text, nil)
	if err != nil {
		return false
	}
	got, err := s.unseal(o, body, nil)
	return err == nil && bytes.Equal(got, text)
}

// messageKey is the template of a key for one message, which is gone when the session is.
func messageKey(extractable bool, use ...*pkcs11.Attribute) []*pkcs11.Attribute {
	return append([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, extractable),
	}, use...)
}

func (s *session) seal(o pkcs11.ObjectHandle, plaintext, aad []byte) ([]byte, error) {
	message, err := s.lib.GenerateKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)},
		messageKey(true, pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, keyBytes), pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, true)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.lib.DestroyObject(s.handle, message) }()
	wrapped, err := s.lib.WrapKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_WRAP, nil)}, o, message)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, nonceBytes)
	_, _ = rand.Read(nonce)
	params := pkcs11.NewGCMParams(nonce, aad, 8*tagBytes)
	defer params.Free()
	if err := s.lib.EncryptInit(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}, message); err != nil {
		return nil, messageGone(err)
	}
	ciphertext, err := s.lib.Encrypt(s.handle, plaintext)
	if err != nil {
		return nil, messageGone(err)
	}
	nonce = params.IV() // a token may have drawn its own
	if len(wrapped) != wrappedBytes || len(nonce) != nonceBytes || len(ciphertext) != len(plaintext)+tagBytes {
		return nil, fmt.Errorf("the token's answers have %d, %d and %d bytes: %w", len(wrapped), len(nonce), len(ciphertext), hsm.ErrUnsupported)
	}
	body := make([]byte, 0, bodyOverhead+len(plaintext))
	return append(append(append(body, wrapped...), nonce...), ciphertext...), nil
}

func (s *session) unseal(o pkcs11.ObjectHandle, body, aad []byte) ([]byte, error) {
	message, err := s.lib.UnwrapKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_WRAP, nil)}, o, body[:wrappedBytes],
		messageKey(false, pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, true)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.lib.DestroyObject(s.handle, message) }()
	params := pkcs11.NewGCMParams(body[wrappedBytes:wrappedBytes+nonceBytes], aad, 8*tagBytes)
	defer params.Free()
	if err := s.lib.DecryptInit(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}, message); err != nil {
		return nil, messageGone(err)
	}
	plaintext, err := s.lib.Decrypt(s.handle, body[wrappedBytes+nonceBytes:])
	return plaintext, messageGone(err)
}

// messageGone keeps the loss of a message key, which goes with its session, apart from that of the token's key.
func messageGone(err error) error {
	if objectGone(err) {
		return errors.Join(errMoved, err)
	}
	return err
}
