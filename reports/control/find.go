package control

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// nearest is how many names are offered in place of one that is unknown.
const nearest = 3

// UnknownControlError names a control that its framework's catalogue does not have, and the nearest ones that it has.
type UnknownControlError struct {
	Name    string
	Nearest []string // "id (title)"
}

func (e *UnknownControlError) Error() string {
	return fmt.Sprintf("control %q is unknown; the nearest are %s", e.Name, strings.Join(e.Nearest, ", "))
}

// Find returns the control that is called "framework:id", e.g. "pci-dss-4.0.1:12.3.1". One that is not in a catalogue is an
// [*UnknownFrameworkError] or an [*UnknownControlError].
func Find(name string) (*Control, error) {
	framework, id, _ := strings.Cut(name, ":")
	catalogue, err := Load(framework)
	if err != nil {
		return nil, err
	}
	for i := range catalogue.Controls {
		if c := &catalogue.Controls[i]; c.ID == id {
			return c, nil
		}
	}
	near := slices.Clone(catalogue.Controls)
	slices.SortStableFunc(near, func(a, b Control) int { return cmp.Compare(distance(id, a.ID), distance(id, b.ID)) })
	unknown := &UnknownControlError{Name: name}
	for _, c := range near[:min(nearest, len(near))] {
		unknown.Nearest = append(unknown.Nearest, fmt.Sprintf("%s (%s)", c.ID, c.Title))
	}
	return nil, unknown
}

// distance is how many characters must be put in, left out or replaced to make one id of another (Levenshtein).
func distance(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0]++
		for j := range len(b) {
			replaced := before
			if a[i] != b[j] {
				replaced++
			}
			before = row[j+1]
			row[j+1] = min(row[j+1]+1, row[j]+1, replaced)
		}
	}
	return row[len(b)]
}
