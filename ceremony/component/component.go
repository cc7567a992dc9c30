// Package component is one component of a key on its way from the custodian who enters it to the process that gathers
// them: its encoding, and its sealing to that process's collector key. Formats are written down in
// docs/wire-formats.md.
package component

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"conclave/hsm/secret"
)

// Reasons why a component is refused. None of them costs the ceremony anything: bring the right one.
var (
	// ErrSealed: not a sealed component, or one that was altered.
	ErrSealed = errors.New("malformed sealed component")
	// ErrNotFor: sealed to another key than this process's collector key.
	ErrNotFor = errors.New("component is sealed to another key")
	// ErrWrong: not the component that its custodian is to bring: by its check value a digit is wrong, or it is
	// another's. Also all zeros, or of another length than the key.
	ErrWrong = errors.New("wrong component")
	// ErrRepeated: the same component was entered before, by somebody else.
	ErrRepeated = errors.New("component already entered")
)

// Bounds of what is encoded, in bytes.
const (
	maxCeremony = 64
	maxValue    = 64
)

// Binding is which component of which import it is: what is sealed for one fits no other.
type Binding struct {
	Ceremony string
	Index    int // from 1
}

func (b Binding) check() error {
	if b.Ceremony == "" || len(b.Ceremony) > maxCeremony || b.Index < 1 || b.Index > 255 {
		return fmt.Errorf("%w: ceremony of 1 to %d bytes, index from 1 to 255", ErrSealed, maxCeremony)
	}
	return nil
}

// The encoding of a component:
//
//	"cvkc" | version 1 | len(ceremony) | ceremony | index uint8 | len(value) uint8 | value | tag
//
// The tag is the first four bytes of SHA-256 over all before it.
const (
	magic         = "cvkc"
	formatVersion = 1
	tagBytes      = 4
	fixedBytes    = len(magic) + 4 + tagBytes
)

func encode(b Binding, value *secret.Bytes) (*secret.Bytes, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	if n := value.Len(); n < 1 || n > maxValue {
		return nil, fmt.Errorf("%w: component of %d bytes, allowed are 1 to %d", ErrSealed, n, maxValue)
	}
	out := make([]byte, 0, fixedBytes+len(b.Ceremony)+value.Len())
	out = append(append(out, magic...), formatVersion, byte(len(b.Ceremony)))
	out = append(append(out, b.Ceremony...), byte(b.Index), byte(value.Len()))
	if err := value.Use(func(v []byte) error { out = append(out, v...); return nil }); err != nil {
		return nil, fmt.Errorf("encoding a component: %w", err)
	}
	sum := sha256.Sum256(out)
	return secret.New(append(out, sum[:tagBytes]...)), nil
}

func decode(encoded *secret.Bytes) (b Binding, value *secret.Bytes, err error) {
	err = encoded.Use(func(raw []byte) error {
		bad := fmt.Errorf("%w: not a component", ErrSealed)
		if len(raw) < fixedBytes || string(raw[:len(magic)]) != magic || raw[len(magic)] != formatVersion {
			return bad
		}
		body, tag := raw[:len(raw)-tagBytes], raw[len(raw)-tagBytes:]
		if sum := sha256.Sum256(body); binary.BigEndian.Uint32(sum[:]) != binary.BigEndian.Uint32(tag) {
			return bad
		}
		body = body[len(magic)+1:]
		n := int(body[0])
		if len(body) < 1+n+2 {
			return bad
		}
		b = Binding{Ceremony: string(body[1 : 1+n]), Index: int(body[1+n])}
		length := int(body[2+n])
		if body = body[3+n:]; len(body) != length || length < 1 || length > maxValue {
			return bad
		}
		if err := b.check(); err != nil {
			return err
		}
		value = secret.New(append([]byte(nil), body...))
		return nil
	})
	return b, value, err
}
