package component

import (
	"errors"
	"fmt"
	"strings"

	"conclave/ceremony/shamir"
	"conclave/hsm/secret"

	"github.com/go-jose/go-jose/v4"
)

// sealedType is the JWE "typ" of a sealed component: no share is taken for one, nor the other way round.
const sealedType = "conclave-component"

// maxSealed bounds a sealed component, which takes some 700 bytes.
const maxSealed = 4 << 10

// Seal encrypts a component to a collector key, as shares are sealed: JWE compact serialisation (RFC 7516), ECDH-ES+A256KW on
// P-256 and A256CBC-HS512.
func Seal(b Binding, value *secret.Bytes, collector shamir.Recipient) (string, error) {
	to, err := collector.JOSE()
	if err != nil {
		return "", fmt.Errorf("sealing a component: %w", err)
	}
	encrypter, err := jose.NewEncrypter(jose.A256CBC_HS512, to, (&jose.EncrypterOptions{}).WithType(sealedType))
	if err != nil {
		return "", fmt.Errorf("sealing a component: %w", err)
	}
	encoded, err := encode(b, value)
	if err != nil {
		return "", err
	}
	defer encoded.Wipe()
	var object *jose.JSONWebEncryption
	err = encoded.Use(func(raw []byte) error {
		object, err = encrypter.Encrypt(raw)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("sealing a component: %w", err)
	}
	return object.CompactSerialize()
}

// Open decrypts a component sealed to this collector key. It is the caller's to wipe.
func Open(collector *shamir.OpeningKey, sealed string) (Binding, *secret.Bytes, error) {
	if len(sealed) > maxSealed || strings.HasPrefix(sealed, "{") {
		return Binding{}, nil, fmt.Errorf("%w: %d bytes, at most %d of the compact serialisation are allowed", ErrSealed, len(sealed), maxSealed)
	}
	object, err := jose.ParseEncryptedCompact(sealed, []jose.KeyAlgorithm{jose.ECDH_ES_A256KW}, []jose.ContentEncryption{jose.A256CBC_HS512})
	if err != nil {
		return Binding{}, nil, fmt.Errorf("%w: no JWE", ErrSealed)
	}
	if object.Header.ExtraHeaders[jose.HeaderType] != sealedType {
		return Binding{}, nil, fmt.Errorf("%w: typ is not %q", ErrSealed, sealedType)
	}
	if object.Header.KeyID != collector.KeyID() {
		return Binding{}, nil, ErrNotFor
	}
	encoded, err := collector.Decrypt(object)
	switch {
	case errors.Is(err, secret.ErrWiped):
		return Binding{}, nil, fmt.Errorf("opening a component: %w", err)
	case err != nil:
		return Binding{}, nil, fmt.Errorf("%w: it does not open", ErrSealed)
	}
	defer encoded.Wipe()
	return decode(encoded)
}
