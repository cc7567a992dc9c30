package soft

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"encoding/binary"
	"fmt"

	"conclave/hsm"
	"conclave/hsm/keypair"
	"conclave/hsm/secret"
)

// How a key passes from one software keystore to another: an ephemeral P-521 key with the receiver's (SP 800-56A Rev 3,
// 6.2.2.2, one-pass Diffie-Hellman), HKDF-SHA-512 (SP 800-56C Rev 2, section 5), AES-256-GCM. The labels are part of the
// formats: never change one.
const (
	transportFormat = 4
	transportLabel  = "conclave software keystore transport v1"
	transferLabel   = "conclave group transfer v1"
	transferFormat  = 1
	// transportBits is the strength of P-521 (SP 800-57 Part 1 Rev 5, Table 2).
	transportBits = 256
	// pointBytes is an uncompressed point of P-521.
	pointBytes = 1 + 2*66
)

// transportSpec names the pair in its record; it is no specification of keys.
const transportSpec hsm.Spec = "ecdh-p521"

// TransportBits implements hsm.Member.
func (*Keystore) TransportBits() int { return transportBits }

// transportAAD is what the blob of a transport pair is bound to.
func transportAAD(keystore, name string) []byte {
	aad := append([]byte(transportLabel), byte(len(keystore)))
	aad = append(append(aad, keystore...), byte(len(name)))
	return append(aad, name...)
}

// makeTransport makes a pair and keeps its private half in a blob.
func (k *Keystore) makeTransport(name string) (hsm.Material, error) {
	private, err := ecdh.P521().GenerateKey(rand.Reader)
	if err != nil {
		return hsm.Material{}, err
	}
	public, err := x509.MarshalPKIXPublicKey(private.PublicKey())
	if err != nil {
		return hsm.Material{}, err
	}
	scalar := secret.New(private.Bytes())
	defer scalar.Wipe()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.wrapping == nil {
		return hsm.Material{}, hsm.ErrInactive
	}
	m := hsm.Material{Key: name, Version: 1, Spec: transportSpec, EffectID: name, Public: public, CheckValue: keypair.CheckValue(public), Wrapping: wrappingID(k.verifier)}
	err = k.wrapping.Use(func(w []byte) error {
		aead, err := newGCM(w)
		if err != nil {
			return err
		}
		return scalar.Use(func(s []byte) error {
			m.Blob = aead.Seal([]byte{transportFormat}, nil, s, transportAAD(k.id, name))
			return nil
		})
	})
	return m, err
}

// openTransport is the private half of one of this keystore's transport pairs.
func (k *Keystore) openTransport(m hsm.Material) (*ecdh.PrivateKey, error) {
	if m.Spec != transportSpec || len(m.Key) > maxID || len(m.Blob) < blobOverhead || len(m.Blob) > blobOverhead+maxKeyBytes || m.Blob[0] != transportFormat {
		return nil, fmt.Errorf("not a transport pair of this keystore: %w", hsm.ErrCorrupt)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	wrapping := k.wrapping
	switch {
	case wrapping == nil:
		return nil, hsm.ErrInactive
	case k.staged != nil && m.Wrapping == wrappingID(k.staged.verifier):
		wrapping = k.staged.wrapping
	case m.Wrapping != wrappingID(k.verifier):
		return nil, fmt.Errorf("the transport pair is wrapped under another activation secret: %w", hsm.ErrInactive)
	}
	var private *ecdh.PrivateKey
	err := wrapping.Use(func(w []byte) error {
		aead, err := newGCM(w)
		if err != nil {
			return err
		}
		scalar, err := aead.Open(nil, nil, m.Blob[1:], transportAAD(k.id, m.Key))
		if err != nil {
			return hsm.ErrCorrupt
		}
		defer secret.Wipe(scalar)
		private, err = ecdh.P521().NewPrivateKey(scalar)
		return err
	})
	return private, err
}

// transportPoint reads the public half of a member's transport pair.
func transportPoint(spki []byte) (*ecdh.PublicKey, error) {
	if len(spki) > maxKeyBytes {
		return nil, fmt.Errorf("transport key of %d bytes: %w", len(spki), hsm.ErrInvalid)
	}
	parsed, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, fmt.Errorf("transport key: %w: %w", hsm.ErrInvalid, err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("transport key: not one of an elliptic curve: %w", hsm.ErrInvalid)
	}
	point, err := key.ECDH()
	if err != nil || point.Curve() != ecdh.P521() {
		return nil, fmt.Errorf("transport key: not one of P-521: %w", hsm.ErrInvalid)
	}
	return point, nil
}

// transferInfo is what a transfer is bound to: which key it is, of which group, from which ephemeral key to whom. Lengths
// (at most maxID) precede strings.
func transferInfo(m hsm.Material, ephemeral, to *ecdh.PublicKey) []byte {
	info := []byte(transferLabel)
	for _, s := range []string{m.Group, m.Key, string(m.Specification()), m.CheckValue} {
		info = append(append(info, byte(len(s))), s...)
	}
	info = binary.BigEndian.AppendUint32(info, m.Version)
	return append(append(info, ephemeral.Bytes()...), to.Bytes()...)
}

// transferKey is the key of one transfer, for whoever has either private half.
func transferKey(private *ecdh.PrivateKey, public *ecdh.PublicKey, info []byte) (*secret.Bytes, error) {
	shared, err := private.ECDH(public)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(shared)
	key, err := hkdf.Key(sha512.New, shared, nil, string(info), keyBytes)
	if err != nil {
		return nil, err
	}
	return secret.New(key), nil
}

// sealTransfer wraps a version key for a member: format(1) ‖ ephemeral point(133) ‖ nonce(12) ‖ key ‖ tag(16).
func sealTransfer(m hsm.Material, versionKey *secret.Bytes, to *ecdh.PublicKey) ([]byte, error) {
	ephemeral, err := ecdh.P521().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	info := transferInfo(m, ephemeral.PublicKey(), to)
	key, err := transferKey(ephemeral, to, info)
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	sealed := append([]byte{transferFormat}, ephemeral.PublicKey().Bytes()...)
	err = key.Use(func(b []byte) error {
		aead, err := newGCM(b)
		if err != nil {
			return err
		}
		return versionKey.Use(func(v []byte) error {
			sealed = aead.Seal(sealed, nil, v, info)
			return nil
		})
	})
	return sealed, err
}

// openTransfer opens what sealTransfer wrapped for the holder of private, as the key that m describes. Whatever is wrong
// with it is hsm.ErrUnwrap.
func openTransfer(m hsm.Material, private *ecdh.PrivateKey, sealed []byte) (*secret.Bytes, error) {
	if n := len(sealed) - pointBytes; n < blobOverhead || n > blobOverhead+maxKeyBytes || sealed[0] != transferFormat {
		return nil, hsm.ErrUnwrap
	}
	ephemeral, err := ecdh.P521().NewPublicKey(sealed[1 : 1+pointBytes])
	if err != nil {
		return nil, hsm.ErrUnwrap
	}
	info := transferInfo(m, ephemeral, private.PublicKey())
	key, err := transferKey(private, ephemeral, info)
	if err != nil {
		return nil, hsm.ErrUnwrap
	}
	defer key.Wipe()
	var out *secret.Bytes
	err = key.Use(func(b []byte) error {
		aead, err := newGCM(b)
		if err != nil {
			return err
		}
		plain, err := aead.Open(nil, nil, sealed[1+pointBytes:], info)
		if err != nil {
			return hsm.ErrUnwrap
		}
		out = secret.New(plain)
		return nil
	})
	return out, err
}
