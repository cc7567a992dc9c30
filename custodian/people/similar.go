package people

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Confusions says in words with whom of the register a person could be confused: the same or nearly the same name,
// staff number or id, of people who left among them. It refuses nothing; people who approve are told.
func Confusions(p *Person, register []*Person) []string {
	var out []string
	name, id, staff := skeleton(p.Name), squash(p.ID), squash(strings.ToLower(p.StaffNumber))
	for _, q := range register {
		if q.ID == p.ID {
			continue
		}
		whom := fmt.Sprintf("%s (%s, %s, %s)", q.ID, q.Name, q.Team, q.Status)
		other := skeleton(q.Name)
		switch {
		case p.Name == q.Name:
			out = append(out, "has the same name as "+whom)
		case name == other:
			out = append(out, "has a name that reads like that of "+whom)
		case len(name) >= leastCompared && near(name, other):
			out = append(out, "has nearly the name of "+whom)
		}
		if staff != "" && staff == squash(strings.ToLower(q.StaffNumber)) {
			out = append(out, "has the staff number of "+whom)
		}
		if id == squash(q.ID) {
			out = append(out, "has an id that reads like that of "+whom)
		}
	}
	return out
}

// leastCompared is the length from which one letter more, less or other is taken for a likeness.
const leastCompared = 6

// skeleton is a name without what the eye passes over: case, accents, spacing, punctuation, the order of its parts,
// and letters of other scripts that look like Latin ones (a selection of Unicode TS 39's confusables).
func skeleton(name string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(strings.ToLower(name)) {
		if i := strings.IndexRune(lookalikes, r); i >= 0 {
			r = []rune(latin)[len([]rune(lookalikes[:i]))]
		}
		switch {
		case unicode.Is(unicode.Mn, r), unicode.Is(unicode.Cf, r):
		case unicode.IsLetter(r), unicode.IsDigit(r):
			b.WriteRune(r)
		default:
			b.WriteByte(' ')
		}
	}
	parts := strings.Fields(b.String())
	slices.Sort(parts)
	return strings.Join(parts, "")
}

// Letters of Cyrillic and Greek, each above the Latin one that it looks like.
const (
	lookalikes = "аеорсухіјѕԁһкмтвнαορνικτυχγεηω"
	latin      = "aeopcyxijsdhkmtbhaopviktuxyenw"
)

// squash is an id or a number without separators, and with the digits that look like letters as letters.
func squash(s string) string {
	return strings.NewReplacer("-", "", "_", "", ".", "", " ", "", "/", "", "0", "o", "1", "l").Replace(s)
}

// near reports whether one letter inserted, left out, replaced or exchanged with its neighbour makes a into b.
func near(a, b string) bool {
	x, y := []rune(a), []rune(b)
	if len(x) > len(y) {
		x, y = y, x
	}
	if len(y)-len(x) > 1 {
		return false
	}
	i := 0
	for i < len(x) && x[i] == y[i] {
		i++
	}
	if len(x) < len(y) {
		return slices.Equal(x[i:], y[i+1:])
	}
	if i == len(x) {
		return true
	}
	swapped := i+1 < len(x) && x[i] == y[i+1] && x[i+1] == y[i] && slices.Equal(x[i+2:], y[i+2:])
	return swapped || slices.Equal(x[i+1:], y[i+1:])
}
