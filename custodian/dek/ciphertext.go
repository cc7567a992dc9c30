package dek

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"conclave/hsm"
)

// Bounds of a ciphertext. Key ids match [a-z0-9][a-z0-9._-]*.
const (
	MaxKeyID      = 64                     // bytes of a key id
	MaxHeader     = fixedHeader + MaxKeyID // bytes of a header
	MaxCiphertext = MaxHeader + 64<<10 + 1<<10
)

const (
	magic         = "CNCL"
	formatVersion = 1
	// fixedHeader: magic, format, flags, algorithm, instance, version, protected_at, length of the key id.
	fixedHeader     = len(magic) + 1 + 1 + 1 + 16 + 4 + 8 + 1
	flagDevelopment = 1
	// maxMillis is the end of the year 9999 in Unix milliseconds: what RFC 3339 can still write.
	maxMillis = 253402300799999
)

var (
	// ErrCiphertext: the bytes are not a ciphertext of this product, or are altered or cut off.
	ErrCiphertext = errors.New("malformed ciphertext")
	// ErrUnsupported: a ciphertext of a format or algorithm that this program does not have.
	ErrUnsupported = errors.New("unsupported ciphertext")
	// ErrContext: the encryption context is out of bounds.
	ErrContext = errors.New("invalid encryption context")
)

// FieldError names what was wrong with bytes or values from outside. It wraps ErrCiphertext,
// ErrUnsupported or ErrContext and holds no value of the caller's.
type FieldError struct {
	Kind    error
	Field   string
	Problem string
	Allowed string
}

// Error implements error.
func (e *FieldError) Error() string {
	return e.Kind.Error() + ": " + e.Field + ": " + e.Problem + ", allowed: " + e.Allowed
}

// Unwrap implements errors.Unwrap.
func (e *FieldError) Unwrap() error { return e.Kind }

// Header is what a ciphertext says of itself, all of it authenticated.
type Header struct {
	Development bool          // made by an instance in development mode
	Algorithm   hsm.Algorithm // how the body came to be
	Instance    [16]byte      // first 16 bytes of the genesis digest of the instance that made it
	Key         string        // key id
	Version     uint32        // key version, from 1
	ProtectedAt time.Time     // when it was made, UTC, milliseconds
}

// Validate reports the first field that no ciphertext can carry, as a *FieldError.
func (h Header) Validate() error {
	if !h.Algorithm.Known() {
		return &FieldError{ErrUnsupported, "algorithm", h.Algorithm.String(), hsm.AlgorithmDerivedAES256GCM.String() + ", " + hsm.AlgorithmWrappedAES256GCM.String()}
	}
	if !validKeyID(h.Key) {
		return &FieldError{ErrCiphertext, "key", "not a key id", fmt.Sprintf("1 to %d bytes of [a-z0-9._-], first of [a-z0-9]", MaxKeyID)}
	}
	if h.Version == 0 {
		return &FieldError{ErrCiphertext, "version", "0", "1 and above"}
	}
	if ms := h.ProtectedAt.UnixMilli(); ms < 0 || ms > maxMillis {
		return &FieldError{ErrCiphertext, "protected_at", "out of range", "1970 to 9999"}
	}
	return nil
}

func validKeyID(id string) bool {
	if id == "" || len(id) > MaxKeyID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		alphanumeric := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alphanumeric && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return true
}

// AppendHeader appends the bytes of h to dst. A header that Validate refuses is a mistake of the calling
// code that would make data unreadable for ever, so it panics, as the standard ciphers do on a bad nonce.
func AppendHeader(dst []byte, h Header) []byte {
	if err := h.Validate(); err != nil {
		panic("dek: " + err.Error())
	}
	var flags byte
	if h.Development {
		flags |= flagDevelopment
	}
	dst = append(dst, magic...)
	dst = append(dst, formatVersion, flags, byte(h.Algorithm))
	dst = append(dst, h.Instance[:]...)
	dst = binary.BigEndian.AppendUint32(dst, h.Version)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.ProtectedAt.UnixMilli()))
	dst = append(dst, byte(len(h.Key)))
	return append(dst, h.Key...)
}

// Parse splits a ciphertext into its header and body. header and body are parts of ct, not copies. Every
// error is a *FieldError. Nothing is authenticated yet: the keystore does that when it opens body with
// AAD(header, context). For every accepted ct, AppendHeader of the result gives the same header bytes.
func Parse(ct []byte) (h Header, header, body []byte, err error) {
	if err := checkFrame(ct); err != nil {
		return Header{}, nil, nil, err
	}
	rest := ct[len(magic)+1:]
	flags := rest[0]
	if flags&^flagDevelopment != 0 {
		return Header{}, nil, nil, &FieldError{ErrUnsupported, "flags", "unknown flag set", "0 or " + strconv.Itoa(flagDevelopment)}
	}
	h.Development = flags&flagDevelopment != 0
	h.Algorithm = hsm.Algorithm(rest[1])
	copy(h.Instance[:], rest[2:18])
	h.Version = binary.BigEndian.Uint32(rest[18:22])
	ms := binary.BigEndian.Uint64(rest[22:30])
	if ms > maxMillis {
		return Header{}, nil, nil, &FieldError{ErrCiphertext, "protected_at", "out of range", "1970 to 9999"}
	}
	h.ProtectedAt = time.UnixMilli(int64(ms)).UTC()
	end := fixedHeader + int(rest[30])
	if end > len(ct) {
		return Header{}, nil, nil, &FieldError{ErrCiphertext, "length", "cut off within the key id", "the whole ciphertext"}
	}
	h.Key = string(ct[fixedHeader:end])
	if err := h.Validate(); err != nil {
		return Header{}, nil, nil, err
	}
	return h, ct[:end:end], ct[end:], nil
}

// checkFrame checks the size, magic and format, so that the fixed part of the header can be read.
func checkFrame(ct []byte) error {
	if len(ct) > MaxCiphertext {
		return &FieldError{ErrCiphertext, "length", strconv.Itoa(len(ct)) + " bytes", "at most " + strconv.Itoa(MaxCiphertext)}
	}
	if len(ct) <= len(magic) || string(ct[:len(magic)]) != magic {
		return &FieldError{ErrCiphertext, "magic", "not a ciphertext of this product", strconv.Quote(magic)}
	}
	if format := ct[len(magic)]; format != formatVersion {
		return &FieldError{ErrUnsupported, "format", strconv.Itoa(int(format)), strconv.Itoa(formatVersion)}
	}
	if len(ct) < fixedHeader {
		return &FieldError{ErrCiphertext, "length", "cut off within the header", "the whole ciphertext"}
	}
	return nil
}
