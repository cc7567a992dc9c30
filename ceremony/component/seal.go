package component

import (
	"errors"
	"fmt"

	"conclave/ceremony/shamir"
	"conclave/hsm/secret"
)

// sealedType is the JWE "typ" of a sealed component: no share is taken for one, nor the other way round.
const sealedType = "conclave-component"

// maxSealed bounds a sealed component, which takes some 700 bytes.
const maxSealed = 4 << 10

// Seal encrypts a component to a collector key, as shares are sealed: see [shamir.SealValue].
func Seal(b Binding, value *secret.Bytes, collector shamir.Recipient) (string, error) {
	encoded, err := encode(b, value)
	if err != nil {
		return "", err
	}
	defer encoded.Wipe()
	sealed, err := shamir.SealValue(sealedType, encoded, collector)
	if err != nil {
		return "", fmt.Errorf("sealing a component: %w", err)
	}
	return sealed, nil
}

// Open decrypts a component sealed to this collector key. It is the caller's to wipe.
func Open(collector *shamir.OpeningKey, sealed string) (Binding, *secret.Bytes, error) {
	encoded, err := collector.OpenValue(sealedType, sealed, maxSealed)
	switch {
	case errors.Is(err, secret.ErrWiped):
		return Binding{}, nil, fmt.Errorf("opening a component: %w", err)
	case errors.Is(err, shamir.ErrNotFor):
		return Binding{}, nil, ErrNotFor
	case err != nil:
		return Binding{}, nil, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	defer encoded.Wipe()
	return decode(encoded)
}
