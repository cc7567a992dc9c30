package shamir

import (
	"errors"
	"fmt"
	"strings"

	"conclave/hsm/secret"

	"github.com/go-jose/go-jose/v4"
)

// SealValue encrypts bytes that are no share to a recipient as shares are sealed: JWE compact serialisation (RFC 7516),
// ECDH-ES+A256KW on P-256 and A256CBC-HS512. typ says what they are, so that nothing sealed for one purpose is taken for
// another's. The value stays the caller's to wipe.
func SealValue(typ string, value *secret.Bytes, recipient Recipient) (string, error) {
	to, err := recipient.JOSE()
	if err != nil {
		return "", err
	}
	encrypter, err := jose.NewEncrypter(jose.A256CBC_HS512, to, (&jose.EncrypterOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		return "", err
	}
	var object *jose.JSONWebEncryption
	err = value.Use(func(raw []byte) error {
		object, err = encrypter.Encrypt(raw)
		return err
	})
	if err != nil {
		return "", err
	}
	return object.CompactSerialize()
}

// OpenValue decrypts what SealValue made under this typ, at most so many bytes of it. The value is the caller's to wipe.
// Errors: ErrSealed, ErrNotFor, ErrUnseal, secret.ErrWiped.
func (k *OpeningKey) OpenValue(typ, sealed string, most int) (*secret.Bytes, error) {
	if len(sealed) > most || strings.HasPrefix(sealed, "{") {
		return nil, fmt.Errorf("%w: %d bytes, at most %d of the compact serialisation are allowed", ErrSealed, len(sealed), most)
	}
	object, err := parseSealed(sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: no JWE", ErrSealed)
	}
	if object.Header.ExtraHeaders[jose.HeaderType] != typ {
		return nil, fmt.Errorf("%w: typ is not %q", ErrSealed, typ)
	}
	if object.Header.KeyID != k.KeyID() {
		return nil, ErrNotFor
	}
	value, err := k.Decrypt(object)
	if err != nil && !errors.Is(err, secret.ErrWiped) {
		err = ErrUnseal
	}
	return value, err
}
