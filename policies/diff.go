package policies

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Change is one difference between two bundles. A table's differences are told value by value; of a rule's text the
// lines that go and come.
type Change struct {
	File   string `json:"file"`
	At     string `json:"at,omitempty"`     // path in a table, e.g. "ephi.max_oup_days"
	Before string `json:"before,omitempty"` // "" for what was not there
	After  string `json:"after,omitempty"`  // "" for what is gone
}

// Diff lists what differs between two bundles, tests aside, in order of file and path.
func Diff(before, after Files) []Change {
	before, after = before.Deciding(), after.Deciding()
	var out []Change
	names := slices.AppendSeq(before.Paths(), maps.Keys(after))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		old, young := before[name], after[name]
		switch {
		case bytes.Equal(old, young) && (old == nil) == (young == nil):
		case path.Ext(name) == ".json":
			out = append(out, diffTable(name, old, young)...)
		default:
			out = append(out, diffText(name, string(old), string(young)))
		}
	}
	return out
}

func diffTable(name string, before, after []byte) []Change {
	old, errOld := parseOptional(name, before)
	young, errYoung := parseOptional(name, after)
	if errOld != nil || errYoung != nil {
		return []Change{diffText(name, string(before), string(after))}
	}
	var out []Change
	walkDiff("", old, young, func(at string, b, a any) { out = append(out, Change{name, at, jsonText(b), jsonText(a)}) })
	if len(out) == 0 {
		out = []Change{{File: name, At: "", Before: "the same values", After: "written otherwise"}}
	}
	return out
}

func parseOptional(name string, text []byte) (any, error) {
	if text == nil {
		return nil, nil
	}
	return parseTable(name, text)
}

// walkDiff calls found for each value that differs; lists are compared whole.
func walkDiff(at string, before, after any, found func(at string, before, after any)) {
	b, isOld := before.(map[string]any)
	a, isNew := after.(map[string]any)
	if !isOld || !isNew {
		if jsonText(before) != jsonText(after) {
			found(at, before, after)
		}
		return
	}
	names := slices.AppendSeq(slices.Collect(maps.Keys(b)), maps.Keys(a))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		walkDiff(strings.TrimPrefix(at+"."+name, "."), b[name], a[name], found)
	}
}

func jsonText(v any) string {
	if v == nil {
		return ""
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}

// diffText leaves out the lines that both texts begin and end with.
func diffText(name, before, after string) Change {
	old, young := strings.SplitAfter(before, "\n"), strings.SplitAfter(after, "\n")
	same := 0
	for same < min(len(old), len(young)) && old[same] == young[same] {
		same++
	}
	old, young = old[same:], young[same:]
	for len(old) > 0 && len(young) > 0 && old[len(old)-1] == young[len(young)-1] {
		old, young = old[:len(old)-1], young[:len(young)-1]
	}
	return Change{File: name, At: fmt.Sprintf("line %d", same+1), Before: strings.Join(old, ""), After: strings.Join(young, "")}
}

// Set changes one value of a table: "classifications.ephi.max_oup_days" or "operations.key.rotate.0.why" to a JSON
// value. The file is written anew. A path that leads nowhere is ErrInput, so that a slip of the pen makes no new
// value; "+" before it says that the last name is to be added.
func (f Files) Set(at string, value json.RawMessage) (Files, error) {
	where, add := strings.CutPrefix(at, "+")
	table, rest, _ := strings.Cut(where, ".")
	name := "data/" + table + ".json"
	if f[name] == nil || rest == "" {
		return nil, fmt.Errorf("%w: %q: no such table; write TABLE.PATH=VALUE, e.g. classifications.ephi.max_oup_days=365", ErrInput, at)
	}
	document, err := parseTable(name, f[name])
	if err != nil {
		return nil, err
	}
	wanted, err := parseTable(at, value)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: the value is no JSON: %w", ErrInput, at, err)
	}
	if !put(document, rest, add, wanted) {
		return nil, fmt.Errorf("%w: %s: there is nothing of this name in %s", ErrInput, at, name)
	}
	text, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", name, err)
	}
	out := maps.Clone(f)
	out[name] = append(text, '\n')
	return out, nil
}

// put sets the value at a path below node; false when the path leads nowhere.
func put(node any, at string, add bool, value any) bool {
	switch n := node.(type) {
	case map[string]any:
		name, rest := longestName(n, at)
		switch {
		case name == "" && add && !strings.Contains(at, "."):
			n[at] = value
		case name == "" || rest == "" && add:
			return false
		case rest == "":
			n[name] = value
		default:
			return put(n[name], rest, add, value)
		}
		return true
	case []any:
		head, rest, _ := strings.Cut(at, ".")
		i, err := strconv.Atoi(head)
		if err != nil || i < 0 || i >= len(n) {
			return false
		}
		if rest == "" {
			n[i] = value
			return !add
		}
		return put(n[i], rest, add, value)
	}
	return false
}

// longestName is the longest name of an object that the path begins with, since names hold dots themselves
// ("key.rotate"), and what is left of the path.
func longestName(node map[string]any, at string) (name, rest string) {
	for key := range node {
		if (at == key || strings.HasPrefix(at, key+".")) && len(key) > len(name) {
			name, rest = key, strings.TrimPrefix(strings.TrimPrefix(at, key), ".")
		}
	}
	return name, rest
}
