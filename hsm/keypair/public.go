package keypair

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"conclave/hsm"
)

// Public is a public half in use: it verifies or encrypts, as its specification says, without any keystore.
type Public struct {
	spec hsm.Spec
	key  crypto.PublicKey
	der  []byte
}

// ParsePublic reads a SubjectPublicKeyInfo of one specification, in its one DER form; anything else is
// hsm.ErrCorrupt.
func ParsePublic(spec hsm.Spec, der []byte) (*Public, error) {
	if len(der) > maxEncoded {
		return nil, fmt.Errorf("public key of %d bytes, at most %d are allowed: %w", len(der), maxEncoded, hsm.ErrCorrupt)
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("not a SubjectPublicKeyInfo: %w: %w", hsm.ErrCorrupt, err)
	}
	if !fits(spec, key) {
		return nil, fmt.Errorf("public key of another specification than %q: %w", spec, hsm.ErrCorrupt)
	}
	if again, err := x509.MarshalPKIXPublicKey(key); err != nil || !bytes.Equal(again, der) {
		return nil, fmt.Errorf("public key in another than its one form: %w", hsm.ErrCorrupt)
	}
	return &Public{spec, key, der}, nil
}

// fits reports whether a public key is what a specification says.
func fits(spec hsm.Spec, key crypto.PublicKey) bool {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return spec == hsm.ECDSAP256 && k.Curve == elliptic.P256() || spec == hsm.ECDSAP384 && k.Curve == elliptic.P384()
	case ed25519.PublicKey:
		return spec == hsm.Ed25519
	case *rsa.PublicKey:
		return spec.ModulusBits() > 0 && k.N.BitLen() == spec.ModulusBits() && k.E == publicExponent
	}
	return false
}

// Key is the key as the standard library has it.
func (p *Public) Key() crypto.PublicKey { return p.key }

// PEM is the SubjectPublicKeyInfo in the textual form of RFC 7468.
func (p *Public) PEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: p.der}))
}

// Verify reports whether signature is one of input, in the form that hsm.Signer gives. An error says that the
// question makes no sense for this key, never that the signature is wrong.
func (p *Public) Verify(hash hsm.Hash, input, signature []byte) (bool, error) {
	if _, err := checkInput(p.spec, hash, input); err != nil {
		return false, err
	}
	switch k := p.key.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, input, signature), nil
	case ed25519.PublicKey:
		return ed25519.Verify(k, input, signature), nil
	case *rsa.PublicKey:
		if p.spec == hsm.RSAPSS3072 || p.spec == hsm.RSAPSS4096 {
			return rsa.VerifyPSS(k, module(hash), input, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil, nil
		}
		return rsa.VerifyPKCS1v15(k, module(hash), input, signature) == nil, nil
	}
	return false, hsm.ErrUnsupported
}

// MaxPlaintext is the longest plaintext of one Encrypt in bytes, 0 for pairs that do not encrypt (RFC 8017,
// section 7.1.1: two hashes and two bytes less than the modulus).
func MaxPlaintext(spec hsm.Spec) int {
	if spec.Kind() != hsm.Deciphers {
		return 0
	}
	return spec.ModulusBits()/8 - 2*sha256.Size - 2
}

// Encrypt is OAEP with SHA-256 for hash and MGF1, under a label. A plaintext over MaxPlaintext is hsm.ErrTooLarge.
func (p *Public) Encrypt(plaintext, label []byte) ([]byte, error) {
	key, ok := p.key.(*rsa.PublicKey)
	if !ok || p.spec.Kind() != hsm.Deciphers {
		return nil, fmt.Errorf("a key of specification %q does not encrypt: %w", p.spec, hsm.ErrUnsupported)
	}
	if most := MaxPlaintext(p.spec); len(plaintext) > most {
		return nil, fmt.Errorf("plaintext: %d bytes, allowed are 0 to %d: %w", len(plaintext), most, hsm.ErrTooLarge)
	}
	ciphertext, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, key, plaintext, label)
	if err != nil {
		return nil, fmt.Errorf("encrypting by %s: %w", p.spec, err)
	}
	return ciphertext, nil
}
