package people

import (
	"fmt"
	"slices"
	"strings"

	"conclave/custodian/key"
)

// maxLine bounds a reporting line, so that a register that is wrong can not make a walk endless.
const maxLine = 64

// Lookup finds a person by id; nil where the register has none.
type Lookup func(id string) *Person

// Among makes a Lookup over a list.
func Among(register []*Person) Lookup {
	byID := make(map[string]*Person, len(register))
	for _, p := range register {
		byID[p.ID] = p
	}
	return func(id string) *Person { return byID[id] }
}

// Line is the chain of managers above a person, nearest first. The last may be a name outside the register.
// A circle ends where it closes.
func Line(p *Person, find Lookup) []string {
	var line []string
	for p != nil && p.Manager != "" && len(line) < maxLine {
		if p.Manager == p.ID || slices.Contains(line, p.Manager) {
			return line
		}
		line = append(line, p.Manager)
		p = find(p.Manager)
	}
	return line
}

// SameLine reports whether one of two people reports, directly or not, to the other.
func SameLine(a, b *Person, find Lookup) bool {
	return slices.Contains(Line(a, find), b.ID) || slices.Contains(Line(b, find), a.ID)
}

// CheckLines refuses circles of managers; the error names a person on it and shows the circle.
func CheckLines(register []*Person) error {
	find := Among(register)
	for _, start := range register {
		trail := []string{start.ID}
		for p := start; p != nil && p.Manager != ""; p = find(p.Manager) {
			if p.Manager == start.ID {
				return &key.FieldError{
					Field:   fmt.Sprintf("people[%s].manager", start.ID),
					Problem: "circle " + clip(strings.Join(append(trail, start.ID), " → ")),
					Allowed: "a reporting line that ends",
				}
			}
			if slices.Contains(trail, p.Manager) {
				break // a circle further up: found from one of its own members
			}
			trail = append(trail, p.Manager)
		}
	}
	return nil
}
