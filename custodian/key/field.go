package key

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// FieldError is bad input: the field, what was wrong with it, what is allowed. The records of packages
// people and access use it too, so that callers have one type to decide by.
type FieldError struct {
	Field   string // as in JSON, with its path: "approval_keys[0].alg"
	Problem string
	Allowed string
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("%s: %s; allowed: %s", e.Field, e.Problem, e.Allowed)
}

// MaxID is the longest id in bytes.
const MaxID = 64

const idAllowed = "1 to 64 of a-z 0-9 . _ -, the first a letter or digit"

// CheckID checks an id of the form [a-z0-9][a-z0-9._-]{0,63}.
func CheckID(field, id string) error {
	bad := id == "" || len(id) > MaxID
	for i := 0; i < len(id) && !bad; i++ {
		c := id[i]
		alnum := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		bad = !alnum && (i == 0 || c != '.' && c != '_' && c != '-')
	}
	if bad {
		return &FieldError{field, fmt.Sprintf("%q is not an id", clip(id)), idAllowed}
	}
	return nil
}

// CheckText checks one line of text that people read: limit counts characters, 0 of them only where optional.
// Control and bidirectional formatting characters are refused, so that what is shown is what was signed.
func CheckText(field, text string, limit int, optional bool) error {
	allowed := fmt.Sprintf("one line of 1 to %d characters of UTF-8 without control or direction characters", limit)
	if optional {
		allowed += ", or nothing"
	}
	switch {
	case text == "" && optional:
		return nil
	case !utf8.ValidString(text):
		return &FieldError{field, "not valid UTF-8", allowed}
	case strings.TrimSpace(text) == "":
		return &FieldError{field, "empty", allowed}
	case utf8.RuneCountInString(text) > limit:
		return &FieldError{field, fmt.Sprintf("%d characters", utf8.RuneCountInString(text)), allowed}
	}
	for _, r := range text {
		if unicode.IsControl(r) || bidi(r) || r == '\u2028' || r == '\u2029' {
			return &FieldError{field, fmt.Sprintf("character U+%04X", r), allowed}
		}
	}
	return nil
}

// bidi reports the explicit directional formatting characters of Unicode UAX #9, section 2.
func bidi(r rune) bool {
	return r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069 || r == 0x200E || r == 0x200F || r == 0x061C
}

// CheckOneOf checks a value against a closed list.
func CheckOneOf[T ~string](field string, value T, allowed ...T) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = string(a)
	}
	return &FieldError{field, fmt.Sprintf("%q is unknown", clip(string(value))), strings.Join(names, ", ")}
}

// CheckRange checks a whole number; unit is what it counts.
func CheckRange(field string, value, lowest, highest int, unit string) error {
	if value >= lowest && value <= highest {
		return nil
	}
	return &FieldError{field, fmt.Sprintf("%d", value), fmt.Sprintf("%d to %d %s", lowest, highest, unit)}
}

// First is the first error of a list of checks, nil when all passed.
func First(checks []error) error {
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	return nil
}

// clip keeps what is echoed back short.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
