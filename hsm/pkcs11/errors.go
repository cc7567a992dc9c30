//go:build cgo

package pkcs11

import (
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"

	"conclave/hsm"
)

// is reports whether err is one of these return values of a module.
func is(err error, values ...uint) bool {
	var code pkcs11.Error
	return errors.As(err, &code) && slices.Contains(values, uint(code))
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", hsm.ErrUnavailable, err) }

// sessionGone: this session ended, which says nothing of the others.
func sessionGone(err error) bool {
	return is(err, pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_OPERATION_ACTIVE, pkcs11.CKR_OPERATION_NOT_INITIALIZED)
}

// tokenGone: the token is not where it was, and says so in so many words.
func tokenGone(err error) bool {
	return is(err, pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED, pkcs11.CKR_SLOT_ID_INVALID,
		pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED)
}

// linkGone: the token, its module or what stands between is not what it was: everything is looked for anew. General
// errors count: what a module means by them nobody knows.
func linkGone(err error) bool {
	return tokenGone(err) || is(err, pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED, pkcs11.CKR_HOST_MEMORY)
}

// objectGone: the handle of a key means nothing (any more).
func objectGone(err error) bool {
	return is(err, pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.CKR_WRAPPING_KEY_HANDLE_INVALID,
		pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID) || errors.Is(err, errNoObject)
}

// errNoObject: the token, as it shows itself now, has no such object.
var errNoObject = errors.New("no such object")

// refusedCiphertext: the module says that what it was to open is not right. Some say so by a general error, which is
// told apart by trying; see sealer.Open.
func refusedCiphertext(err error) bool {
	return is(err, pkcs11.CKR_ENCRYPTED_DATA_INVALID, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE, pkcs11.CKR_WRAPPED_KEY_INVALID,
		pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, pkcs11.CKR_DATA_INVALID, pkcs11.CKR_DATA_LEN_RANGE)
}

// translate gives a module's error the meaning that callers decide by.
func translate(err error) error {
	var code pkcs11.Error
	switch {
	case err == nil || !errors.As(err, &code):
		return err
	case is(err, pkcs11.CKR_MECHANISM_INVALID, pkcs11.CKR_MECHANISM_PARAM_INVALID, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED,
		pkcs11.CKR_FUNCTION_NOT_SUPPORTED, pkcs11.CKR_KEY_TYPE_INCONSISTENT, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID,
		pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_TEMPLATE_INCONSISTENT, pkcs11.CKR_KEY_SIZE_RANGE):
		return fmt.Errorf("the token refuses what its list of mechanisms offers: %w: %w", hsm.ErrUnsupported, err)
	case is(err, pkcs11.CKR_DEVICE_MEMORY):
		return fmt.Errorf("the token is full: %w: %w", hsm.ErrUnavailable, err)
	case is(err, pkcs11.CKR_TOKEN_WRITE_PROTECTED, pkcs11.CKR_SESSION_READ_ONLY):
		return fmt.Errorf("the token is write-protected: %w: %w", hsm.ErrUnavailable, err)
	case is(err, pkcs11.CKR_PIN_LOCKED):
		return fmt.Errorf("the token's PIN is locked: %w: %w", hsm.ErrUnavailable, err)
	}
	return unavailable(err)
}
