package judge

import (
	"cmp"
	"slices"
	"strings"

	"conclave/reports/control"
)

// table starts a table whose columns are given as "name" for text or "name|type".
func table(title string, columns ...string) *control.Table {
	out := make([]control.Column, len(columns))
	for i, c := range columns {
		name, kind, _ := strings.Cut(c, "|")
		out[i] = control.Column{Name: name, Type: cmp.Or(control.ColumnType(kind), control.Text)}
	}
	return control.NewTable(title, out...)
}

// listing is a table of a register: it keeps all rows where a register is made, and as many as any other table of a report.
func listing(ev *control.Evidence, title string, columns ...string) *control.Table {
	t := table(title, columns...)
	if ev.Whole {
		t.Whole()
	}
	return t
}

// words joins values of any string type, sorted and without repetitions.
func words[T ~string](values []T) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return list(out)
}

// className is the class of an operation in words (docs/architecture.md).
func className(class string) string {
	switch class {
	case "G":
		return "governed"
	case "S":
		return "attended by shares"
	case "P":
		return "protective: restricts at once"
	case "A":
		return "rests on an earlier decision"
	case "D":
		return "direct: by one person"
	}
	return ""
}

// oneOf holds where a value is among those given.
func oneOf[T comparable](v T, allowed ...T) bool { return slices.Contains(allowed, v) }
