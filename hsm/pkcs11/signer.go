//go:build cgo

package pkcs11

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"

	"github.com/miekg/pkcs11"

	"conclave/hsm"
	"conclave/hsm/keypair"
)

// signer is the private half of a signature pair.
type signer struct{ held }

// Sign implements hsm.Signer.
func (h *signer) Sign(ctx context.Context, dst []byte, hash hsm.Hash, input []byte) ([]byte, error) {
	switch {
	case !h.ref.spec.Takes(hash):
		return nil, fmt.Errorf("hash: %q does not go with %s: %w", hash, h.ref.spec, hsm.ErrInvalid)
	case hash != hsm.NoHash && len(input) != hash.Size():
		return nil, fmt.Errorf("digest: %d bytes, %s has %d: %w", len(input), hash, hash.Size(), hsm.ErrInvalid)
	case hash == hsm.NoHash:
		if err := checkMessage("message", input); err != nil {
			return nil, err
		}
	}
	own := bytes.Clone(input)
	signature, err := run(ctx, &h.held, "signing", func(s *session, o pkcs11.ObjectHandle) ([]byte, error) {
		return s.signature(o, h.ref.spec, hash, own)
	}, nil)
	if err != nil {
		return nil, err
	}
	return append(dst, signature...), nil
}

// signature is one signature in the form that hsm.Signer gives.
func (s *session) signature(o pkcs11.ObjectHandle, spec hsm.Spec, hash hsm.Hash, input []byte) ([]byte, error) {
	m, _ := makingOf(spec)
	mechanism := pkcs11.NewMechanism(m.use[0], nil)
	switch m.use[0] {
	case pkcs11.CKM_RSA_PKCS:
		input = append(digestInfo(hash), input...)
	case pkcs11.CKM_RSA_PKCS_PSS:
		p := m.hashes[hash]
		mechanism = pkcs11.NewMechanism(m.use[0], pkcs11.NewPSSParams(p[0], p[1], uint(hash.Size())))
	}
	signature, err := s.sign(o, mechanism, input)
	if err != nil || m.use[0] != pkcs11.CKM_ECDSA {
		return signature, err
	}
	half := len(signature) / 2 // r ‖ s
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])})
}

// digestInfo is what goes before a digest in RSASSA-PKCS1-v1_5 (RFC 8017, section 9.2, note 1).
func digestInfo(hash hsm.Hash) []byte {
	last := map[hsm.Hash]byte{hsm.SHA256: 1, hsm.SHA384: 2, hsm.SHA512: 3}[hash]
	size := byte(hash.Size())
	return []byte{0x30, 17 + size, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, last, 0x05, 0x00, 0x04, size}
}

// public reads the public half of a pair, as SubjectPublicKeyInfo.
func (s *session) public(id []byte, spec hsm.Spec) ([]byte, error) {
	o, err := s.one(pkcs11.CKO_PUBLIC_KEY, id)
	if err != nil {
		return nil, err
	}
	var key any
	if spec.ModulusBits() > 0 {
		n, err := s.value(o, pkcs11.CKA_MODULUS)
		if err != nil {
			return nil, err
		}
		e, err := s.value(o, pkcs11.CKA_PUBLIC_EXPONENT)
		if err != nil {
			return nil, err
		}
		if len(e) > 4 {
			return nil, fmt.Errorf("public exponent of %d bytes: %w", len(e), hsm.ErrCorrupt)
		}
		key = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	} else {
		encoded, err := s.value(o, pkcs11.CKA_EC_POINT)
		if err != nil {
			return nil, err
		}
		if key, err = point(spec, encoded); err != nil {
			return nil, err
		}
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err == nil {
		_, err = keypair.ParsePublic(spec, der)
	}
	if err != nil {
		return nil, fmt.Errorf("the public half in the token: %w: %w", hsm.ErrCorrupt, err)
	}
	return der, nil
}

// point reads CKA_EC_POINT: an octet string in DER (PKCS #11 2.40), or its content alone, as some tokens have it.
func point(spec hsm.Spec, encoded []byte) (any, error) {
	raw := encoded
	var inner []byte
	if rest, err := asn1.Unmarshal(encoded, &inner); err == nil && len(rest) == 0 {
		raw = inner
	}
	if spec == hsm.Ed25519 {
		if len(raw) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("a public key of %d bytes: %w", len(raw), hsm.ErrCorrupt)
		}
		return ed25519.PublicKey(raw), nil
	}
	curve := elliptic.P256()
	if spec == hsm.ECDSAP384 {
		curve = elliptic.P384()
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, raw)
	if err != nil {
		return nil, fmt.Errorf("a public key that is no point of its curve: %w", hsm.ErrCorrupt)
	}
	return key, nil
}
