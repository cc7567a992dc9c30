// Package activate is about the activation secret of a keystore: how it is made, what commits to it, and what is derived from
// it. Drivers differ in what they derive (a wrapping key, the PINs of a token), not in this.
package activate

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"

	"conclave/hsm"
	"conclave/hsm/secret"
)

const (
	// Bytes is the length of an activation secret, and of every key derived from one: 256 bits of strength.
	Bytes = 32
	// VerifierBytes is the length of a verifier: its format and an HMAC-SHA-256.
	VerifierBytes = 1 + sha256.Size

	verifierFormat = 1
)

// Commitment is how one kind of keystore commits to its activation secret. Its texts separate the kinds, and the verifier
// from all else that is derived: they are part of what is stored, never change one.
type Commitment struct {
	Label string // of the key that the verifier is made under
	Text  string // what the verifier is the HMAC of
}

// New makes the activation secret of a new keystore, Bytes of crypto/rand, and the verifier that tells it from any other.
// The verifier is safe to store in the clear: it is HMAC-SHA-256 under a derived key, which commits to the secret, so that no
// two known secrets pass one verifier.
func (c Commitment) New() (activation *secret.Bytes, verifier []byte, err error) {
	activation = secret.Random(Bytes)
	if verifier, err = c.verifier(activation); err != nil {
		activation.Wipe()
		return nil, nil, fmt.Errorf("making an activation secret: %w", err)
	}
	return activation, verifier, nil
}

// Verify returns hsm.ErrActivationSecret unless activation is the secret that verifier commits to.
func (c Commitment) Verify(activation *secret.Bytes, verifier []byte) error {
	if activation.Len() != Bytes {
		return hsm.ErrActivationSecret
	}
	got, err := c.verifier(activation)
	if err != nil {
		return fmt.Errorf("%w: %w", hsm.ErrActivationSecret, err)
	}
	if subtle.ConstantTimeCompare(got, verifier) != 1 {
		return hsm.ErrActivationSecret
	}
	return nil
}

func (c Commitment) verifier(activation *secret.Bytes) ([]byte, error) {
	key, err := Derive(activation, c.Label)
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	verifier := append(make([]byte, 0, VerifierBytes), verifierFormat)
	err = key.Use(func(b []byte) error {
		mac := hmac.New(sha256.New, b)
		mac.Write([]byte(c.Text))
		verifier = mac.Sum(verifier)
		return nil
	})
	return verifier, err
}

// CheckForm returns hsm.ErrInvalid for what no Commitment made as a verifier, by its length and format.
func CheckForm(verifier []byte) error {
	if len(verifier) != VerifierBytes || verifier[0] != verifierFormat {
		return fmt.Errorf("keystore verifier: not a format %d verifier of %d bytes: %w", verifierFormat, VerifierBytes, hsm.ErrInvalid)
	}
	return nil
}

// Derive is HKDF-SHA-256 (RFC 5869) of an activation secret without salt: the secret is uniformly random. label separates
// the uses. The caller wipes the key of Bytes that it gets.
func Derive(activation *secret.Bytes, label string) (*secret.Bytes, error) {
	var derived *secret.Bytes
	err := activation.Use(func(b []byte) error {
		key, err := hkdf.Key(sha256.New, b, nil, label, Bytes)
		if err != nil {
			return err
		}
		derived = secret.New(key)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("deriving from the activation secret: %w", err)
	}
	return derived, nil
}
