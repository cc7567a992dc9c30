package dsse

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"time"

	"conclave/custodian/jwk"
	"conclave/custodian/people"
)

// signatureBytes is the length of both kinds of signature: r and s of ES256 as 32 big-endian bytes each
// (RFC 7518 section 3.4, what WebCrypto makes), or Ed25519 (RFC 8032).
const signatureBytes = 64

// ErrAlgorithm says that a key or credential is of a kind that may not sign here.
var ErrAlgorithm = errors.New("signature algorithm not allowed")

// Signer signs with one credential.
type Signer interface {
	// KeyID is the RFC 7638 thumbprint of the public key: people.Credential.ID.
	KeyID() string
	// SignMessage signs message (not a digest) and returns the 64 raw bytes of the signature.
	SignMessage(message []byte) ([]byte, error)
}

type keySigner struct {
	id  string
	key crypto.Signer
}

// NewSigner signs with a key held by this process or behind a crypto.Signer: ECDSA P-256 or Ed25519.
func NewSigner(key crypto.Signer) (Signer, error) {
	public, err := jwk.New(key.Public(), "", "")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAlgorithm, err)
	}
	return &keySigner{id: public.Kid, key: key}, nil
}

func (s *keySigner) KeyID() string { return s.id }

func (s *keySigner) SignMessage(message []byte) ([]byte, error) {
	if _, ok := s.key.Public().(ed25519.PublicKey); ok {
		signature, err := s.key.Sign(rand.Reader, message, crypto.Hash(0))
		if err != nil {
			return nil, fmt.Errorf("ed25519: %w", err)
		}
		return signature, nil
	}
	digest := sha256.Sum256(message)
	der, err := s.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("ecdsa: %w", err)
	}
	return rawSignature(der)
}

// rawSignature turns the ASN.1 form of crypto.Signer into r and s.
func rawSignature(der []byte) ([]byte, error) {
	var pair struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &pair); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("ecdsa: signer returned no ASN.1 signature: %w", errors.Join(err, ErrSignature))
	}
	if pair.R.Sign() <= 0 || pair.S.Sign() <= 0 || pair.R.BitLen() > 256 || pair.S.BitLen() > 256 {
		return nil, fmt.Errorf("ecdsa: %w: r or s out of range", ErrSignature)
	}
	out := make([]byte, signatureBytes)
	pair.R.FillBytes(out[:signatureBytes/2])
	pair.S.FillBytes(out[signatureBytes/2:])
	return out, nil
}

// VerifyMessage checks a raw 64-byte signature over message with a public credential.
func VerifyMessage(credential people.Credential, message, signature []byte) error {
	key, err := jwk.Parse(credential.Key)
	if err != nil {
		return fmt.Errorf("credential %.60q: %w", credential.ID, err)
	}
	if key.Thumbprint() != credential.ID {
		return fmt.Errorf("credential %.60q: id is not the thumbprint of its key: %w", credential.ID, ErrSignature)
	}
	if key.Use == "enc" {
		return fmt.Errorf("%w: credential %q is an encryption key", ErrAlgorithm, credential.ID)
	}
	if len(signature) != signatureBytes {
		return fmt.Errorf("%w: %d bytes, must be %d", ErrSignature, len(signature), signatureBytes)
	}
	public, err := key.Public()
	if err != nil {
		return fmt.Errorf("credential %q: %w", credential.ID, err)
	}
	good := false
	switch p := public.(type) {
	case ed25519.PublicKey:
		if credential.Alg != jwk.EdDSA {
			return fmt.Errorf("%w: credential %q is an Ed25519 key with alg %.40q", ErrAlgorithm, credential.ID, credential.Alg)
		}
		good = ed25519.Verify(p, message, signature)
	case *ecdsa.PublicKey:
		if credential.Alg != jwk.ES256 {
			return fmt.Errorf("%w: credential %q is a P-256 key with alg %.40q", ErrAlgorithm, credential.ID, credential.Alg)
		}
		digest := sha256.Sum256(message)
		r := new(big.Int).SetBytes(signature[:signatureBytes/2])
		s := new(big.Int).SetBytes(signature[signatureBytes/2:])
		good = ecdsa.Verify(p, digest[:], r, s)
	}
	if !good {
		return ErrSignature
	}
	return nil
}

// NewCredential describes a public signing key (P-256 or Ed25519) as a credential.
func NewCredential(public crypto.PublicKey, addedAt time.Time) (people.Credential, error) {
	alg := jwk.ES256
	if _, ok := public.(ed25519.PublicKey); ok {
		alg = jwk.EdDSA
	}
	key, err := jwk.New(public, alg, "sig")
	if err != nil {
		return people.Credential{}, err
	}
	raw, err := key.JSON()
	if err != nil {
		return people.Credential{}, err
	}
	return people.Credential{ID: key.Kid, Alg: alg, Key: json.RawMessage(raw), AddedAt: addedAt}, nil
}
