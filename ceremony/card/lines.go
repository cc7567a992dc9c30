package card

import (
	"bytes"
	"encoding/base32"
	"fmt"

	"conclave/hsm/secret"
)

// The text of a card: its bytes in Crockford's base 32 (no I, L, O, U), LineSymbols to a line, each line followed by
// two check symbols. The two and the line's number make a Reed-Solomon code over GF(32) with distance 3: any one or two
// wrong symbols in a line are noticed, so are two that changed places, and a line that stands in another's place.
const (
	alphabet     = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	LineSymbols  = 20 // of the share; the last line may have fewer
	CheckSymbols = 2
	GroupSymbols = 4 // printed together
	// LineBreak separates lines where they stand on one, as in a QR code.
	LineBreak = '/'
)

func encoding() *base32.Encoding { return base32.NewEncoding(alphabet).WithPadding(base32.NoPadding) }

// Text is all that is to be typed, a line each, without spaces.
func (c *Card) Text() (*secret.Bytes, error) {
	var out []byte
	err := c.content.Use(func(b []byte) error {
		symbols := make([]byte, encoding().EncodedLen(len(b)))
		encoding().Encode(symbols, b)
		defer secret.Wipe(symbols)
		out = make([]byte, 0, len(symbols)*2)
		for n, rest := 1, symbols; len(rest) > 0; n++ {
			line := rest[:min(LineSymbols, len(rest))]
			rest = rest[len(line):]
			if n > 1 {
				out = append(out, '\n')
			}
			out = append(out, line...)
			out = append(out, checks(n, line)...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", c, err)
	}
	return secret.New(out), nil
}

// LineError says which line of a card was not read, and why.
type LineError struct {
	Line    int // from 1
	Problem string
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d of the card: %s", e.Line, e.Problem) }

// Reader takes the lines of a card one by one. Wipe it.
type Reader struct {
	symbols *secret.Bytes // of the lines taken; nil before the first
	lines   int
	total   int // symbols in all; 0 while not known
}

// Next is the number of the line that is wanted now.
func (r *Reader) Next() int { return r.lines + 1 }

// Lines is how many lines the card has; 0 while not known.
func (r *Reader) Lines() int { return (r.total + LineSymbols - 1) / LineSymbols }

// Done reports whether the whole card has been read.
func (r *Reader) Done() bool { return r.total > 0 && r.have() == r.total }

func (r *Reader) have() int {
	if r.symbols == nil {
		return 0
	}
	return r.symbols.Len()
}

// Add takes the next line, as typed: in either case, with spaces and dashes wherever. *LineError: it is not right, and
// nothing has changed. The line stays the caller's to wipe.
func (r *Reader) Add(line []byte) error {
	n := r.Next()
	if r.Done() {
		return &LineError{n, "the card ends with the line before"}
	}
	got := make([]byte, 0, LineSymbols+CheckSymbols)
	defer func() { secret.Wipe(got[:cap(got)]) }()
	for _, c := range line {
		if c == ' ' || c == '\t' || c == '-' {
			continue
		}
		if s := symbol(c); s < 0 || len(got) == LineSymbols+CheckSymbols {
			return &LineError{n, wrongSymbol(c, s < 0, len(got))}
		}
		got = append(got, canonical(c))
	}
	want := LineSymbols
	if r.total > 0 {
		want = min(want, r.total-r.have())
	}
	if len(got) != want+CheckSymbols { // before the length is known the line is never the last: see size
		return &LineError{n, fmt.Sprintf("%d characters, it has %d; is one missing, or twice there?", len(got), want+CheckSymbols)}
	}
	if at, ok := verify(n, got); !ok {
		hint := "a character is wrong, or another line was typed"
		if at > 0 {
			hint = fmt.Sprintf("a character is wrong: look at the one in place %d, or whether another line was typed", at)
		}
		return &LineError{n, hint}
	}
	return r.take(got[:len(got)-CheckSymbols])
}

func wrongSymbol(c byte, unknown bool, before int) string {
	if unknown {
		shown := fmt.Sprintf("%q", c)
		if c < ' ' || c > '~' {
			shown = "a sign"
		}
		return fmt.Sprintf("%s in place %d is on no card", shown, before+1)
	}
	return fmt.Sprintf("more than %d characters", LineSymbols+CheckSymbols)
}

// take appends a good line and finds how long the card is as soon as it says so.
func (r *Reader) take(symbols []byte) error {
	joined := make([]byte, 0, r.have()+len(symbols))
	if r.symbols != nil {
		err := r.symbols.Use(func(b []byte) error { joined = append(joined, b...); return nil })
		if err != nil {
			return err
		}
	}
	joined = append(joined, symbols...)
	if r.total == 0 {
		known, err := decode(joined)
		if err != nil {
			return &LineError{r.Next(), err.Error()}
		}
		n, err := size(known)
		secret.Wipe(known)
		if err != nil {
			secret.Wipe(joined)
			return err
		}
		if n > 0 {
			r.total = encoding().EncodedLen(n)
		}
	}
	r.Wipe()
	r.symbols, r.lines = secret.New(joined), r.lines+1
	return nil
}

// decode reads as many whole bytes as the symbols hold.
func decode(symbols []byte) ([]byte, error) {
	whole := len(symbols) / 8 * 8
	for rest := len(symbols) - whole; rest > 0; rest-- {
		if rest == 2 || rest == 4 || rest == 5 || rest == 7 {
			whole += rest
			break
		}
	}
	out := make([]byte, encoding().DecodedLen(whole))
	n, err := encoding().Decode(out, symbols[:whole])
	return out[:n], err
}

// Card is what was read. ErrDamaged: it is not whole.
func (r *Reader) Card() (*Card, error) {
	if !r.Done() {
		return nil, fmt.Errorf("%w: it ends with line %d of %d", ErrDamaged, r.lines, max(r.Lines(), r.lines+1))
	}
	var content []byte
	err := r.symbols.Use(func(b []byte) error {
		var err error
		content, err = decode(b)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return parse(secret.New(content))
}

// Wipe overwrites what was read.
func (r *Reader) Wipe() {
	if r.symbols != nil {
		r.symbols.Wipe()
	}
}

// maxText bounds the text of a card with generous spaces.
const maxText = 16 << 10

// Read reads the text of a whole card: lines as printed, or as a QR code holds them. Empty lines are passed over. The
// text stays the caller's to wipe. *LineError names the line that is not right.
func Read(text *secret.Bytes) (*Card, error) {
	if text.Len() > maxText {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are read", ErrDamaged, text.Len(), maxText)
	}
	var r Reader
	defer r.Wipe()
	err := text.Use(func(b []byte) error {
		for line := range bytes.FieldsFuncSeq(b, func(c rune) bool { return c == '\n' || c == '\r' || c == LineBreak }) {
			if len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			if err := r.Add(line); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r.Card()
}
