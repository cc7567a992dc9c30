// Package amount puts counts into sentences.
package amount

import (
	"fmt"
	"strings"
)

// Of says how many of a noun, which is given in the singular: "1 ceremony", "2 ceremonies", "0 people".
func Of[N ~int | ~int64 | ~uint64](n N, noun string) string {
	return fmt.Sprintf("%d %s", n, Noun(n, noun))
}

// Noun is the noun in the number that n takes. Of several words the last one changes.
func Noun[N ~int | ~int64 | ~uint64](n N, noun string) string {
	switch {
	case n == 1:
		return noun
	case noun == "person" || strings.HasSuffix(noun, " person"):
		return strings.TrimSuffix(noun, "person") + "people"
	case strings.HasSuffix(noun, "y") && !strings.HasSuffix(noun, "ey") && !strings.HasSuffix(noun, "ay"):
		return strings.TrimSuffix(noun, "y") + "ies"
	case strings.HasSuffix(noun, "s"), strings.HasSuffix(noun, "ch"):
		return noun + "es"
	}
	return noun + "s"
}

// Verb is the form of a verb that n takes: "is" or "are", "was" or "were", and so on.
func Verb[N ~int | ~int64 | ~uint64](n N, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// Each begins a sentence in the singular about all of so many: "Each of 2 keys", and "The one key" where there is one.
func Each[N ~int | ~int64 | ~uint64](n N, noun string) string {
	if n == 1 {
		return "The one " + noun
	}
	return "Each of " + Of(n, noun)
}
