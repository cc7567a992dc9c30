// Package strictjson is the one rule for JSON that is signed or hashed: strict to read (RFC 7493 and more) and
// canonical to write (RFC 8785). docs/statement-format.md, section 1.
package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of every signed JSON document.
const (
	MaxBytes = 64 << 10 // size of a payload
	MaxDepth = 16       // nesting of arrays and objects
	// MaxInteger is the largest magnitude that every JSON reader keeps exactly (RFC 8259 section 6).
	MaxInteger = 1 << 53
)

// Reasons why bytes are not a document that may be signed. Errors say where and what.
var (
	ErrTooLarge     = errors.New("document too large")
	ErrTooDeep      = errors.New("document nested too deeply")
	ErrSyntax       = errors.New("not strict JSON")
	ErrNumber       = errors.New("number is not an integer of at most 2^53")
	ErrControl      = errors.New("control character")
	ErrNotCanonical = errors.New("not in canonical form (RFC 8785)")
)

// Check checks that data is one JSON value fit to be signed or hashed: at most limit bytes, MaxDepth
// levels, valid UTF-8, no duplicate names, only integers up to 2^53, and neither bidirectional controls
// (U+202A–202E, U+2066–2069, U+200E, U+200F, U+061C), which make text read differently from what it
// says, nor terminal controls (all of C0 and C1 but tab and line feed) in any name or string.
func Check(data []byte, limit int) error {
	if len(data) > limit {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, len(data), limit)
	}
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	for {
		token, err := dec.ReadToken()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrSyntax, unexpected(err))
		}
		if dec.StackDepth() > MaxDepth {
			return fmt.Errorf("%w: more than %d levels at %q", ErrTooDeep, MaxDepth, dec.StackPointer())
		}
		switch token.Kind() {
		case '0':
			err = checkNumber(token.String())
		case '"':
			err = checkText(token.String())
		}
		if err != nil {
			return fmt.Errorf("%w at %q", err, dec.StackPointer())
		}
		if dec.StackDepth() == 0 {
			break
		}
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: data after the document's end", ErrSyntax)
	}
	return nil
}

// Canonical returns the RFC 8785 form of one JSON value, after Check. data is not changed.
func Canonical(data []byte) ([]byte, error) {
	if err := Check(data, MaxBytes); err != nil {
		return nil, err
	}
	v := jsontext.Value(bytes.Clone(data))
	if err := v.Canonicalize(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	return v, nil
}

// CheckCanonical refuses any spelling but the canonical one, so that one meaning has one byte string.
func CheckCanonical(data []byte) error {
	canonical, err := Canonical(data)
	if err != nil {
		return err
	}
	if !bytes.Equal(canonical, data) {
		return ErrNotCanonical
	}
	return nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func checkNumber(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n > MaxInteger || n < -MaxInteger {
		return fmt.Errorf("%w: %.40s", ErrNumber, text)
	}
	return nil
}

func checkText(text string) error {
	for _, r := range text {
		if isControl(r) {
			return fmt.Errorf("%w U+%04X", ErrControl, r)
		}
	}
	return nil
}

func isControl(r rune) bool {
	switch {
	case r < 0x20:
		return r != '\t' && r != '\n'
	case r >= 0x7f && r <= 0x9f:
		return true
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
		return true
	}
	return r == 0x200e || r == 0x200f || r == 0x061c
}
