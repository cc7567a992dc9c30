package pkcs11

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"

	"conclave/hsm"
	"conclave/hsm/secret"
)

// Labels separate the uses of the activation secret. They are part of the formats: never change one.
const (
	userPINLabel  = "conclave token user pin v1"
	soPINLabel    = "conclave token so pin v1"
	carryLabel    = "conclave token carry v1"
	verifierLabel = "conclave token verifier key v1"
	verifierText  = "conclave token verifier v1"
)

const (
	verifierFormat = 1
	verifierBytes  = 1 + sha256.Size
	nonceBytes     = 12
	tagBytes       = 16
	carryBytes     = nonceBytes + keyBytes + tagBytes
)

// pinBytes is the length of a PIN: 32 bytes in base64url without padding. A token that takes only shorter ones is
// not used: its PIN would be weaker than the keys behind it.
var pinBytes = base64.RawURLEncoding.EncodedLen(keyBytes)

// NewActivation makes the activation secret of a new keystore, 32 bytes of crypto/rand, and the verifier that tells it
// from any other. Both PINs of the token follow from it, so that nobody ever knows, types or stores one. The verifier
// is safe to store in the clear: it is HMAC-SHA-256 under a derived key and commits to the secret.
func NewActivation() (activation *secret.Bytes, verifier []byte, err error) {
	activation = secret.Random(keyBytes)
	if verifier, err = verifierOf(activation); err != nil {
		activation.Wipe()
		return nil, nil, fmt.Errorf("making an activation secret: %w", err)
	}
	return activation, verifier, nil
}

func verifierOf(activation *secret.Bytes) ([]byte, error) {
	key, err := derive(activation, verifierLabel)
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	verifier := append(make([]byte, 0, verifierBytes), verifierFormat)
	err = key.Use(func(b []byte) error {
		mac := hmac.New(sha256.New, b)
		mac.Write([]byte(verifierText))
		verifier = mac.Sum(verifier)
		return nil
	})
	return verifier, err
}

// verify returns hsm.ErrActivationSecret unless activation is the secret that verifier commits to. So a wrong secret
// costs the token no try.
func verify(activation *secret.Bytes, verifier []byte) error {
	if activation.Len() != keyBytes {
		return hsm.ErrActivationSecret
	}
	got, err := verifierOf(activation)
	if err != nil {
		return fmt.Errorf("%w: %w", hsm.ErrActivationSecret, err)
	}
	if subtle.ConstantTimeCompare(got, verifier) != 1 {
		return hsm.ErrActivationSecret
	}
	return nil
}

// splitVerifier takes the verifier of a record apart: what commits to the present secret, and, after a replacement,
// the secret before, sealed under the present one. Not a verifier of this driver: hsm.ErrInvalid.
func splitVerifier(recorded []byte) (verifier, carry []byte, err error) {
	if n := len(recorded); (n != verifierBytes && n != verifierBytes+carryBytes) || recorded[0] != verifierFormat {
		return nil, nil, fmt.Errorf("keystore verifier: not a format %d verifier of %d or %d bytes: %w", verifierFormat, verifierBytes,
			verifierBytes+carryBytes, hsm.ErrInvalid)
	}
	return bytes.Clone(recorded[:verifierBytes]), bytes.Clone(recorded[verifierBytes:]), nil
}

// carryOf seals the present secret under the one that follows it. With the record, whoever has the new secret can
// finish what a process that ended left undone: the token may still have the PINs of the secret before.
func carryOf(present, next *secret.Bytes) ([]byte, error) {
	aead, err := carryCipher(next)
	if err != nil {
		return nil, err
	}
	var carry []byte
	err = present.Use(func(b []byte) error {
		carry = aead.Seal(nil, nil, b, []byte(carryLabel))
		return nil
	})
	return carry, err
}

// before opens what carryOf sealed.
func before(present *secret.Bytes, carry []byte) (*secret.Bytes, error) {
	aead, err := carryCipher(present)
	if err != nil {
		return nil, err
	}
	b, err := aead.Open(nil, nil, carry, []byte(carryLabel))
	if err != nil || len(b) != keyBytes {
		return nil, fmt.Errorf("the secret before, as the keystore's record has it: %w", hsm.ErrCorrupt)
	}
	return secret.New(b), nil
}

func carryCipher(activation *secret.Bytes) (cipher.AEAD, error) {
	key, err := derive(activation, carryLabel)
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	var aead cipher.AEAD
	err = key.Use(func(b []byte) error {
		block, err := aes.NewCipher(b)
		if err != nil {
			return err
		}
		aead, err = cipher.NewGCMWithRandomNonce(block)
		return err
	})
	return aead, err
}

// pin derives one of the token's PINs, as the characters that the token is given.
func pin(activation *secret.Bytes, label string) (*secret.Bytes, error) {
	raw, err := derive(activation, label)
	if err != nil {
		return nil, err
	}
	defer raw.Wipe()
	var out *secret.Bytes
	err = raw.Use(func(b []byte) error {
		characters := make([]byte, pinBytes)
		base64.RawURLEncoding.Encode(characters, b)
		out = secret.New(characters)
		return nil
	})
	return out, err
}

// derive is HKDF-SHA-256 (RFC 5869) of the activation secret without salt: the secret is uniformly random.
func derive(activation *secret.Bytes, label string) (*secret.Bytes, error) {
	var derived *secret.Bytes
	err := activation.Use(func(b []byte) error {
		key, err := hkdf.Key(sha256.New, b, nil, label, keyBytes)
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
