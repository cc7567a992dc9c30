package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// MaxEntry bounds one entry's canonical form, in bytes.
	MaxEntry = 16 << 10
	// MaxText bounds each text field of an entry, in bytes.
	MaxText = 256
	// MaxRows bounds the authority rows that one entry may change.
	MaxRows = 128
	// MaxInteger is the largest integer in an entry: what every JSON implementation reads exactly
	// (RFC 8785 section 3.2.2.3, IEEE 754 doubles).
	MaxInteger = 1 << 53

	maxDetailDepth = 16
	// committerRoom is what Seq, At, Epoch and Link may add to an entry that is validated before the
	// committer has set them.
	committerRoom = 128
)

// FieldError says which field of an entry is wrong, how, and what is allowed. Nothing has changed.
type FieldError struct {
	Field   string
	Problem string
	Allowed string
}

// Error implements error.
func (e *FieldError) Error() string {
	return fmt.Sprintf("ledger entry field %s: %s; allowed: %s", e.Field, e.Problem, e.Allowed)
}

// Validate says whether the entry can be recorded. It may run before the committer has set Seq, At,
// Epoch and Link; where they are set they are checked too. A failure is a [FieldError]. A Detail that
// makes the entry too large is refused: call [ShrinkDetail] first.
func Validate(e *Entry) error {
	total, err := validateTexts(e)
	if err != nil {
		return err
	}
	if err := validateValues(e); err != nil {
		return err
	}
	if err := validateRows(e.Rows); err != nil {
		return err
	}
	if len(e.Detail) > 0 {
		if err := validateDetail(e.Detail); err != nil {
			return err
		}
	}
	// Six bytes a character is the worst that escaping does; rows and fixed members take under 256
	// each. Only an entry that might be too large is encoded to find out.
	if 6*total+256*(len(e.Rows)+2)+len(e.Detail) > MaxEntry {
		if n := encodedSize(e); n > MaxEntry {
			return &FieldError{"entry", fmt.Sprintf("%d bytes encoded", n), fmt.Sprintf("at most %d", MaxEntry)}
		}
	}
	return nil
}

// encodedSize is the size that e has or, once the committer has set its fields, may reach.
func encodedSize(e *Entry) int {
	n := len(AppendCanonical(nil, e))
	if e.At.IsZero() {
		n += committerRoom
	}
	return n
}

func validateTexts(e *Entry) (int, error) {
	total := 0
	for _, f := range [...]struct {
		name, value string
		required    bool
	}{
		{"type", e.Type, true},
		{"actor.kind", string(e.Actor.Kind), true},
		{"actor.id", e.Actor.ID, true},
		{"actor.cred", e.Actor.Credential, false},
		{"actor.from", e.Actor.Origin, false},
		{"actor.req", e.Actor.RequestID, false},
		{"node", e.Node, false},
		{"target.type", e.Target.Type, false},
		{"target.id", e.Target.ID, false},
		{"reason", e.Reason, false},
		{"policy", e.Policy, false},
		{"ceremony", e.Ceremony, false},
		{"ctx", e.Context, false},
	} {
		if f.value == "" && f.required {
			return 0, &FieldError{f.name, "empty", "a value"}
		}
		if err := validateText(f.name, f.value); err != nil {
			return 0, err
		}
		total += len(f.value)
	}
	return total, nil
}

func validateText(field, s string) error {
	if len(s) > MaxText {
		return &FieldError{field, strconv.Itoa(len(s)) + " bytes", fmt.Sprintf("at most %d bytes", MaxText)}
	}
	if !utf8.ValidString(s) {
		return &FieldError{field, "not valid UTF-8", "UTF-8 text"}
	}
	return nil
}

func validateValues(e *Entry) error {
	switch e.Outcome {
	case Allow, Deny, Done, Failed:
	default:
		return &FieldError{"outcome", strconv.Quote(string(e.Outcome)), "allow, deny, done or failed"}
	}
	if e.Salt == ([16]byte{}) {
		return &FieldError{"salt", "all zero", "16 random bytes"}
	}
	if !e.At.IsZero() {
		if us := e.At.UnixMicro(); us <= 0 || us > MaxInteger {
			return &FieldError{"at", e.At.Format(time.RFC3339), "a time from 1970 to 2255"}
		}
		if e.At.Nanosecond()%1000 != 0 {
			return &FieldError{"at", "finer than a microsecond", "whole microseconds"}
		}
	}
	if err := validateInteger("seq", e.Seq); err != nil {
		return err
	}
	if err := validateInteger("epoch", e.Epoch); err != nil {
		return err
	}
	if e.Link != nil {
		if err := validateInteger("link.n", e.Link.Number); err != nil {
			return err
		}
		return validateInteger("link.prev", e.Link.Prev)
	}
	return nil
}

func validateInteger(field string, v uint64) error {
	if v > MaxInteger {
		return &FieldError{field, strconv.FormatUint(v, 10), "0 to 2^53"}
	}
	return nil
}

func validateRows(rows []RowChange) error {
	if len(rows) > MaxRows {
		return &FieldError{"rows", strconv.Itoa(len(rows)) + " rows", fmt.Sprintf("at most %d", MaxRows)}
	}
	for i := range rows {
		r := &rows[i]
		at := "rows[" + strconv.Itoa(i) + "]"
		if r.Kind == "" || r.ID == "" {
			return &FieldError{at, "kind or id is empty", "both"}
		}
		if err := validateText(at+".kind", r.Kind); err != nil {
			return err
		}
		if err := validateText(at+".id", r.ID); err != nil {
			return err
		}
		if err := validateInteger(at+".rev", r.Revision); err != nil {
			return err
		}
	}
	return nil
}

// validateDetail holds a Detail to what is signed and hashed elsewhere: one canonical JSON object,
// no floats, integers within ±2^53, bounded nesting.
func validateDetail(detail []byte) error {
	fail := func(problem string) error {
		return &FieldError{"detail", problem, "one JSON object in RFC 8785 form with integers within 2^53"}
	}
	if len(detail) > MaxEntry {
		return fail(strconv.Itoa(len(detail)) + " bytes")
	}
	if detail[0] != '{' {
		return fail("not an object")
	}
	d := jsontext.NewDecoder(bytes.NewReader(detail))
	for {
		t, err := d.ReadToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fail(err.Error())
		}
		if d.StackDepth() > maxDetailDepth {
			return fail(fmt.Sprintf("nested deeper than %d", maxDetailDepth))
		}
		if t.Kind() == '0' {
			if n, err := strconv.ParseInt(t.String(), 10, 64); err != nil || n > MaxInteger || n < -MaxInteger {
				return fail("number " + t.String())
			}
		}
	}
	canonical := jsontext.Value(bytes.Clone(detail))
	if err := canonical.Canonicalize(); err != nil {
		return fail(err.Error())
	}
	if !bytes.Equal(canonical, detail) {
		return fail("not in canonical form")
	}
	return nil
}

// ShrinkDetail makes an entry fit: where it would exceed [MaxEntry], Detail gives way to its size and
// SHA-256, {"bytes":n,"digest":"sha256:…"}. Whoever holds the full text can still prove that it is the
// one recorded.
func ShrinkDetail(e *Entry) {
	if len(e.Detail) == 0 || encodedSize(e) <= MaxEntry {
		return
	}
	sum := sha256.Sum256(e.Detail)
	short := append(make([]byte, 0, 112), `{"bytes":`...)
	short = strconv.AppendInt(short, int64(len(e.Detail)), 10)
	short = append(short, `,"digest":"sha256:`...)
	short = hex.AppendEncode(short, sum[:])
	e.Detail = append(short, '"', '}')
}

// CleanText makes text from outside fit for an entry: what is not valid UTF-8, controls, and marks
// that reorder the text around them become U+FFFD, and the rest is cut to [MaxText] bytes. Refused
// requests are recorded too, and may ask for anything.
func CleanText(s string) string {
	if len(s) > MaxText {
		s = s[:MaxText]
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			r = utf8.RuneError
		}
		if b.Len()+utf8.RuneLen(r) > MaxText {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}
