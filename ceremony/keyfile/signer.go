// Package keyfile keeps a custodian's two private keys, the approval key that signs statements and the
// share-opening key, in one passphrase-protected file: a JWE over a JWK Set (RFC 7517 section 7), so that
// any JOSE tool reads it. The format is written down in docs/statement-format.md.
package keyfile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"

	"conclave/ceremony/shamir"
	"conclave/custodian/dsse"
	"conclave/custodian/jwk"
	"conclave/hsm/secret"
)

// keyBytes is the length of an Ed25519 seed and of a P-256 scalar.
const keyBytes = 32

// Errors of key files.
var (
	ErrAlgorithm = errors.New("approval algorithm not allowed")
	ErrID        = errors.New("custodian id not allowed")
)

// Signer holds a custodian's private keys while they act. It implements dsse.Signer. Wipe it.
type Signer struct {
	id          string
	development bool
	alg         string
	private     *secret.Bytes // Ed25519 seed or P-256 scalar
	approval    jwk.Key       // public
	opening     *shamir.OpeningKey
}

// Generate makes both keys for a custodian. alg is jwk.ES256 (default choice: works in browsers and on
// cards) or jwk.EdDSA.
func Generate(id, alg string) (*Signer, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	var private *secret.Bytes
	switch alg {
	case jwk.ES256:
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("making approval key: %w", err)
		}
		scalar, err := key.Bytes()
		if err != nil {
			return nil, fmt.Errorf("making approval key: %w", err)
		}
		private = secret.New(scalar)
	case jwk.EdDSA:
		private = secret.Random(ed25519.SeedSize)
	default:
		return nil, fmt.Errorf("%w: %q, allowed are %s, %s", ErrAlgorithm, alg, jwk.ES256, jwk.EdDSA)
	}
	opening, err := shamir.NewOpeningKey()
	if err != nil {
		private.Wipe()
		return nil, err
	}
	return newSigner(id, alg, private, opening)
}

// newSigner takes over both private keys; it wipes them when it fails.
func newSigner(id, alg string, private *secret.Bytes, opening *shamir.OpeningKey) (*Signer, error) {
	s := &Signer{id: id, alg: alg, private: private, opening: opening}
	err := s.use(func(key crypto.Signer) error {
		var err error
		s.approval, err = jwk.New(key.Public(), alg, "sig")
		return err
	})
	if err != nil {
		s.Wipe()
		return nil, fmt.Errorf("reading approval key: %w", err)
	}
	return s, nil
}

// checkID holds ids to those of the register: [a-z0-9][a-z0-9._-]{0,63}.
func checkID(id string) error {
	for i, r := range id {
		alnum := r >= 'a' && r <= 'z' || r >= '0' && r <= '9'
		if !alnum && (i == 0 || r != '.' && r != '_' && r != '-') {
			return fmt.Errorf("%w: %q, allowed are a-z 0-9 . _ - beginning with a letter or digit", ErrID, id)
		}
	}
	if id == "" || len(id) > 64 {
		return fmt.Errorf("%w: %d characters, allowed are 1 to 64", ErrID, len(id))
	}
	return nil
}

// ID is the custodian's id.
func (s *Signer) ID() string { return s.id }

// Development says that the file is marked as demonstration data.
func (s *Signer) Development() bool { return s.development }

// KeyID implements dsse.Signer: the approval key's thumbprint.
func (s *Signer) KeyID() string { return s.approval.Kid }

// SignMessage implements dsse.Signer.
func (s *Signer) SignMessage(message []byte) ([]byte, error) {
	var signature []byte
	err := s.use(func(key crypto.Signer) error {
		signer, err := dsse.NewSigner(key)
		if err != nil {
			return err
		}
		signature, err = signer.SignMessage(message)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("signing with the key of %s: %w", s.id, err)
	}
	return signature, nil
}

// Sign returns a DSSE envelope over payload.
func (s *Signer) Sign(payloadType string, payload []byte) ([]byte, error) {
	return dsse.Sign(s, payloadType, payload)
}

// OpenShare opens a share sealed to this custodian.
func (s *Signer) OpenShare(sealed string) (*shamir.Share, error) { return s.opening.Open(sealed) }

// Wipe overwrites both private keys.
func (s *Signer) Wipe() {
	s.private.Wipe()
	s.opening.Wipe()
}

// String names the signer and keeps its keys secret.
func (s *Signer) String() string { return "signer " + s.id }

// use builds the approval key for the time of one call.
func (s *Signer) use(f func(key crypto.Signer) error) error {
	return s.private.Use(func(b []byte) error {
		if s.alg == jwk.EdDSA {
			if len(b) != ed25519.SeedSize {
				return fmt.Errorf("ed25519 seed of %d bytes", len(b))
			}
			key := ed25519.NewKeyFromSeed(b)
			defer secret.Wipe(key)
			return f(key)
		}
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), b)
		if err != nil {
			return err
		}
		return f(key)
	})
}
