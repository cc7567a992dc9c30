package pkcs11

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"fmt"

	"conclave/hsm"
	"conclave/hsm/activate"
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
	nonceBytes = 12
	tagBytes   = 16
	carryBytes = nonceBytes + keyBytes + tagBytes
)

// pinBytes is the length of a PIN: 32 bytes in base64url without padding. A token that takes only shorter ones is
// not used: its PIN would be weaker than the keys behind it.
var pinBytes = base64.RawURLEncoding.EncodedLen(keyBytes)

// commitment is how a token's keystore commits to its activation secret, so that a wrong one costs the token no try.
func commitment() activate.Commitment {
	return activate.Commitment{Label: verifierLabel, Text: verifierText}
}

// NewActivation makes the activation secret of a new keystore and the verifier that its record holds. Both PINs of the token
// follow from the secret, so that nobody ever knows, types or stores one.
func NewActivation() (activation *secret.Bytes, verifier []byte, err error) {
	return commitment().New()
}

// splitVerifier takes the verifier of a record apart: what commits to the present secret, and, after a replacement,
// the secret before, sealed under the present one. Not a verifier of this driver: hsm.ErrInvalid.
func splitVerifier(recorded []byte) (verifier, carry []byte, err error) {
	verifier = recorded
	if len(recorded) == activate.VerifierBytes+carryBytes {
		verifier, carry = recorded[:activate.VerifierBytes], recorded[activate.VerifierBytes:]
	}
	if err := activate.CheckForm(verifier); err != nil {
		return nil, nil, err
	}
	return bytes.Clone(verifier), bytes.Clone(carry), nil
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
	key, err := activate.Derive(activation, carryLabel)
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
	raw, err := activate.Derive(activation, label)
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
