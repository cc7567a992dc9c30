package reports

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// span is a time in words: in the largest unit of which it is a whole number.
func span(d time.Duration) string {
	for _, unit := range []struct {
		name string
		of   time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}} {
		if n := d / unit.of; n > 0 && d%unit.of == 0 {
			if n == 1 {
				return "1 " + unit.name
			}
			return fmt.Sprintf("%d %ss", n, unit.name)
		}
	}
	return d.String()
}

// inWords writes out a result as a person reads it, "name: value; name: value", in order of name.
func inWords(result jsontext.Value) string {
	var all map[string]any
	if result.Kind() != '{' || json.Unmarshal(result, &all) != nil {
		return string(result)
	}
	return membersInWords(all, "; ")
}

func membersInWords(all map[string]any, between string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		text := valueInWords(all[name])
		if text != "" {
			out = append(out, strings.ReplaceAll(name, "_", " ")+": "+text)
		}
	}
	return strings.Join(out, between)
}

func valueInWords(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case map[string]any:
		return membersInWords(x, ", ")
	case []any:
		out := make([]string, len(x))
		for i := range x {
			out[i] = valueInWords(x[i])
		}
		return strings.Join(out, ", ")
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	case bool:
		return map[bool]string{true: "yes", false: "no"}[x]
	}
	return fmt.Sprint(v)
}
