package dek

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Bounds of an encryption context.
const (
	MaxContextPairs = 16
	MaxContextName  = 64  // bytes of a name, at least 1
	MaxContextValue = 256 // bytes of a value, may be 0
)

// contextLabel separates this hash from every other; part of the format.
const contextLabel = "conclave encryption context v1"

// ValidateContext checks an encryption context against the bounds above and for valid UTF-8. The error
// is a *FieldError that names the pair by its name, never by its value, which may be personal data.
func ValidateContext(context map[string]string) error {
	if len(context) > MaxContextPairs {
		return &FieldError{ErrContext, "context", strconv.Itoa(len(context)) + " pairs", "at most " + strconv.Itoa(MaxContextPairs)}
	}
	for name, value := range context {
		if err := checkPair(name, value); err != nil {
			return err
		}
	}
	return nil
}

func checkPair(name, value string) error {
	switch {
	case name == "" || len(name) > MaxContextName:
		return &FieldError{ErrContext, "context", fmt.Sprintf("a name of %d bytes", len(name)), fmt.Sprintf("1 to %d", MaxContextName)}
	case !utf8.ValidString(name):
		return &FieldError{ErrContext, fmt.Sprintf("context[%q]", name), "name is not valid UTF-8", "UTF-8"}
	case len(value) > MaxContextValue:
		return &FieldError{ErrContext, fmt.Sprintf("context[%q]", name), fmt.Sprintf("a value of %d bytes", len(value)), fmt.Sprintf("at most %d", MaxContextValue)}
	case !utf8.ValidString(value):
		return &FieldError{ErrContext, fmt.Sprintf("context[%q]", name), "value is not valid UTF-8", "UTF-8"}
	}
	return nil
}

// AAD appends to dst what the keystore authenticates with the body: the header bytes and the hash of the
// encryption context.
func AAD(dst, header []byte, context ContextHash) []byte {
	dst = append(dst, header...)
	return append(dst, context[:]...)
}

// ContextHash stands for an encryption context wherever it is bound to something.
type ContextHash [sha256.Size]byte

// HashContext hashes label ‖ count ‖ (length ‖ name ‖ length ‖ value)…, pairs sorted by the bytes of
// their names, numbers as 32-bit big-endian. Every length precedes its bytes, so that no two contexts
// share an encoding. Names are compared as bytes: there is no Unicode normalisation. A nil and an empty
// context are the same.
func HashContext(context map[string]string) ContextHash {
	var namesArray [MaxContextPairs]string
	names := namesArray[:0]
	for name := range context {
		names = append(names, name)
	}
	slices.Sort(names)
	var array [512]byte
	encoding := append(array[:0], contextLabel...)
	encoding = binary.BigEndian.AppendUint32(encoding, uint32(len(names)))
	for _, name := range names {
		encoding = appendString(encoding, name)
		encoding = appendString(encoding, context[name])
	}
	return sha256.Sum256(encoding)
}

func appendString(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
	return append(dst, s...)
}
