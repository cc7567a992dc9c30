package render

import (
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"

	"conclave/reports"
	"conclave/reports/control"
)

func functions() template.FuncMap {
	return template.FuncMap{
		"anchor":     func(id string) string { return "c-" + anchorOf(id) },
		"class":      func(v control.Verdict) string { return "v-" + strings.ReplaceAll(string(v), " ", "-") },
		"mark":       mark,
		"groupsHigh": func(g []group) int { return len(g) * groupHigh },
		"moment":     moment,
		"day":        day,
		"cell":       cell,
		"numeric":    func(t control.ColumnType) bool { return t == control.Integer },
		"column":     func(t control.Table, i int) control.Column { return t.Columns[i] },
		"short":      short,
		"known":      verification,
		"digest":     func(s string) string { return s[:min(16, len(s))] },
	}
}

// anchorOf makes an id of a page's part of a control's id: letters, digits and hyphens.
func anchorOf(id string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, id)
}

// mark is a verdict's sign, so that no reader depends on colour.
func mark(v control.Verdict) string {
	switch v {
	case control.Satisfied:
		return "✓"
	case control.Violated:
		return "✕"
	case control.NeedsHuman:
		return "?"
	case control.NoEvidence:
		return "–"
	}
	return "○"
}

// rfc3339 is the form of times in files for programs.
const rfc3339 = time.RFC3339

func day(t time.Time) string { return t.UTC().Format("2 January 2006") }

// facts are what every page of evidence says of where it comes from.
func facts(i control.Instance, from, to, asOf, made time.Time, c reports.Checkpoint) [][2]string {
	return [][2]string{
		{"Instance", fmt.Sprintf("%s (%s mode)", i.Name, i.Mode)}, {"Instance id", i.ID}, {"Period", moment(from) + " up to " + moment(to)}, {"State as of", moment(asOf)},
		{"Ledger checkpoint", fmt.Sprintf("%d entries, root %s", c.Size, c.Root)}, {"Made", moment(made)},
	}
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// cell writes a cell for reading: times without the letters of RFC 3339, nothing as a dash.
func cell(c control.Column, text string) string {
	if text == "" {
		return "—"
	}
	if c.Type == control.Instant {
		if t, err := time.Parse(time.RFC3339, text); err == nil {
			return t.UTC().Format("2006-01-02 15:04")
		}
	}
	return text
}

// shownSeqs is how many ledger numbers a row shows; the JSON report has all.
const shownSeqs = 6

// seqs is a row's ledger numbers, cut for reading.
type seqs struct {
	Shown []uint64
	More  int
}

func short(all []uint64) seqs {
	if len(all) <= shownSeqs {
		return seqs{Shown: all}
	}
	return seqs{Shown: all[:shownSeqs], More: len(all) - shownSeqs}
}

func verification(v control.Verification) string {
	switch v.Level {
	case "text-checked":
		return "checked against the text: " + v.Source
	case "secondary":
		return "from a secondary source: " + v.Source
	}
	return "from memory: " + v.Source
}

type entryType struct {
	Name  string
	Count int
}

func entryTypes(counts map[string]int) []entryType {
	var out []entryType
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, entryType{name, counts[name]})
	}
	return out
}

// makeVisible returns the report with every text's invisible and direction-changing characters written out,
// so that a name cannot make a line read differently from what it says.
func makeVisible(r *reports.Report) (*reports.Report, error) {
	raw, err := json.Marshal(r, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("preparing report for the page: %w", err)
	}
	out := new(reports.Report)
	// Outside strings JSON holds none of these characters, so replacing them changes texts only.
	if err := json.Unmarshal([]byte(visible(string(raw))), out); err != nil {
		return nil, fmt.Errorf("preparing report for the page: %w", err)
	}
	return out, nil
}

func visible(s string) string {
	if !strings.ContainsFunc(s, invisible) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if invisible(r) {
			fmt.Fprintf(&b, "‹U+%04X›", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// invisible: format characters (among them all bidirectional controls), line and paragraph separators, and C1
// controls. C0 controls are escapes in JSON and harmless in HTML.
func invisible(r rune) bool {
	return unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' || (r >= 0x7f && r <= 0x9f)
}

// term is one line of the glossary.
type term struct{ Word, Meaning string }

func glossary() []term {
	return []term{
		{"Account data", "What PCI DSS protects. Here: keys that are classified cardholder-data or list pci-dss among their frameworks."},
		{"Activation secret", "What a keystore needs before it works. It is stored nowhere; custodians hold it in shares."},
		{"Authority row", "A database row that gives somebody power, or a key its meaning. Its hash stands in the ledger entry that wrote it."},
		{"Ceremony", "One governed operation, from proposal to completion, with everybody's signature."},
		{"Check value", "A few bytes computed with a key that tell it from others and reveal nothing of it (CMAC, ANSI X9.24-1)."},
		{"Checkpoint", "The ledger's signed size and Merkle root. Whoever has it can tell whether anything before it was changed."},
		{"Custodian", "A named person who holds at most one share of a set and has accepted the duty in writing."},
		{"Keystore", "A place where keys live: software, a hardware module, a cloud service."},
		{"Protect, process", "Protect: encrypt, wrap. Process: decrypt, unwrap. A retired key may process and never protect."},
		{"Share, epoch", "One part of an activation secret; m of n open it. A new epoch replaces all shares of a set at once."},
		{"Usage period", "Originator usage period of a key version: how long it may protect (NIST SP 800-57 Part 1)."},
	}
}
