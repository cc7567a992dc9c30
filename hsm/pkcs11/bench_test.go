//go:build cgo

package pkcs11_test

import (
	"crypto/rand"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	binding "github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"
)

// BenchmarkToken is the driver beside the token itself: the same calls of the module, bare, from as many callers with a session
// each. Every caller does the one and the other in turn, so that what else the machine does meets both alike. Read
// "of-token": the token's own time as a part of the driver's.
func BenchmarkToken(b *testing.B) {
	r := theRig(b)
	k, activation := r.keystore(b, "bench")
	require.NoError(b, k.Activate(b.Context(), activation))
	_, h := sealing(b, k, "key-a")
	slot := r.slot(b, k.Device().Label)
	plaintext, aad := make([]byte, 32), make([]byte, 80)
	_, _ = rand.Read(plaintext)
	body, err := h.Seal(b.Context(), nil, plaintext, aad)
	require.NoError(b, err)

	type bare func(s binding.SessionHandle, o binding.ObjectHandle) error
	inTurn := func(token bare, driver func() error) func(b *testing.B) {
		return func(b *testing.B) {
			var bareTime, driverTime atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				s, err := r.lib.OpenSession(slot, binding.CKF_SERIAL_SESSION|binding.CKF_RW_SESSION)
				if err != nil {
					b.Error(err)
					return
				}
				defer func() { _ = r.lib.CloseSession(s) }()
				o, err := bareKey(r.lib, s)
				for pb.Next() && err == nil {
					start := time.Now()
					err = token(s, o)
					middle := time.Now()
					err = errors.Join(err, driver())
					bareTime.Add(int64(middle.Sub(start)))
					driverTime.Add(int64(time.Since(middle)))
				}
				if err != nil {
					b.Error(err)
				}
			})
			b.ReportMetric(float64(bareTime.Load())/float64(b.N), "token-ns/op")
			b.ReportMetric(float64(driverTime.Load())/float64(b.N), "driver-ns/op")
			b.ReportMetric(float64(bareTime.Load())/float64(driverTime.Load()), "of-token")
			b.ReportMetric(0, "ns/op") // of both together: says nothing
		}
	}
	b.Run("seal", inTurn(func(s binding.SessionHandle, o binding.ObjectHandle) error {
		_, err := bareSeal(r.lib, s, o, plaintext, aad)
		return err
	}, func() error { _, err := h.Seal(b.Context(), nil, plaintext, aad); return err }))
	b.Run("open", inTurn(func(s binding.SessionHandle, o binding.ObjectHandle) error {
		return bareOpen(r.lib, s, o, body, aad)
	}, func() error { _, err := h.Open(b.Context(), nil, body, aad); return err }))
}

func bareKey(l *binding.Ctx, s binding.SessionHandle) (binding.ObjectHandle, error) {
	if err := l.FindObjectsInit(s, []*binding.Attribute{binding.NewAttribute(binding.CKA_LABEL, "key-a:1:aes-256")}); err != nil {
		return 0, err
	}
	found, _, err := l.FindObjects(s, 1)
	if err == nil {
		err = l.FindObjectsFinal(s)
	}
	if err != nil || len(found) == 0 {
		return 0, err
	}
	return found[0], nil
}

func bareTemplate(use uint, more ...*binding.Attribute) []*binding.Attribute {
	return append([]*binding.Attribute{binding.NewAttribute(binding.CKA_CLASS, binding.CKO_SECRET_KEY), binding.NewAttribute(binding.CKA_KEY_TYPE, binding.CKK_AES),
		binding.NewAttribute(binding.CKA_TOKEN, false), binding.NewAttribute(binding.CKA_PRIVATE, true), binding.NewAttribute(binding.CKA_SENSITIVE, true),
		binding.NewAttribute(use, true)}, more...)
}

func bareSeal(l *binding.Ctx, s binding.SessionHandle, o binding.ObjectHandle, plaintext, aad []byte) ([]byte, error) {
	m, err := l.GenerateKey(s, []*binding.Mechanism{binding.NewMechanism(binding.CKM_AES_KEY_GEN, nil)},
		bareTemplate(binding.CKA_ENCRYPT, binding.NewAttribute(binding.CKA_EXTRACTABLE, true), binding.NewAttribute(binding.CKA_VALUE_LEN, 32)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.DestroyObject(s, m) }()
	if _, err := l.WrapKey(s, []*binding.Mechanism{binding.NewMechanism(binding.CKM_AES_KEY_WRAP, nil)}, o, m); err != nil {
		return nil, err
	}
	nonce := make([]byte, 12)
	_, _ = rand.Read(nonce)
	params := binding.NewGCMParams(nonce, aad, 128)
	defer params.Free()
	if err := l.EncryptInit(s, []*binding.Mechanism{binding.NewMechanism(binding.CKM_AES_GCM, params)}, m); err != nil {
		return nil, err
	}
	return l.Encrypt(s, plaintext)
}

func bareOpen(l *binding.Ctx, s binding.SessionHandle, o binding.ObjectHandle, body, aad []byte) error {
	m, err := l.UnwrapKey(s, []*binding.Mechanism{binding.NewMechanism(binding.CKM_AES_KEY_WRAP, nil)}, o, body[:40],
		bareTemplate(binding.CKA_DECRYPT, binding.NewAttribute(binding.CKA_EXTRACTABLE, false)))
	if err != nil {
		return err
	}
	defer func() { _ = l.DestroyObject(s, m) }()
	params := binding.NewGCMParams(body[40:52], aad, 128)
	defer params.Free()
	if err := l.DecryptInit(s, []*binding.Mechanism{binding.NewMechanism(binding.CKM_AES_GCM, params)}, m); err != nil {
		return err
	}
	_, err = l.Decrypt(s, body[52:])
	return err
}
