package render

import (
	"fmt"
	"html/template"
	"maps"
	"regexp"
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
		"begins":     recordBegins,
		"day":        day,
		"cell":       cell,
		"numeric":    func(t control.ColumnType) bool { return t == control.Integer },
		"column":     func(t control.Table, i int) control.Column { return t.Columns[i] },
		"short":      short,
		"heading":    heading,
		"prose":      prose,
		"answer":     answerCommand,
		"outcomes":   func() string { return outcomes },
		"words":      func(kind string) string { return strings.ReplaceAll(kind, "_", " ") },
		"hash":       isDigest,
		"notes":      notesOf,
		"digest":     func(s string) string { return s[:min(16, len(s))] },
	}
}

// isDigest says whether a text is a SHA-256 in hex, which is no word to be read.
func isDigest(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }

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
		{"Instance", fmt.Sprintf("%s (%s mode)", i.Name, i.Mode)}, {"Instance id", i.ID}, {"Period", moment(from) + " up to " + moment(to)}, {"Record begins", recordBegins(i, from)}, {"State as of", moment(asOf)},
		{"Ledger checkpoint", fmt.Sprintf("%d entries, root %s", c.Size, c.Root)}, {"Made", moment(made)},
	}
}

// recordBegins says where a period reaches back beyond the record, of which nothing is known; "" where it does not.
func recordBegins(i control.Instance, from time.Time) string {
	if !from.Before(i.Begins) {
		return ""
	}
	return moment(i.Begins) + "; of what was before in the period, nothing is shown"
}

// instants finds times as programs write them, within a sentence.
var instants = regexp.MustCompile(`\b(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2})(?::\d{2}(?:\.\d+)?)?Z`)

// prose writes the times within a sentence for reading.
func prose(text string) string { return instants.ReplaceAllString(text, "$1 $2 UTC") }

// heading is a column's name as its table shows it: times are all in one zone, and it is said once.
func heading(c control.Column) string {
	if c.Type == control.Instant {
		return c.Name + " (UTC)"
	}
	return c.Name
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
	if c.Type == control.Text {
		return prose(text)
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
		return "the requirement's text was read: " + v.Source
	case "secondary":
		return "the requirement is known from a secondary source: " + v.Source
	}
	return "the requirement is known from memory and was not held against its text: " + v.Source
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

// howToRead says what the verdicts of a report, and what is found of rows, mean.
func howToRead() []term {
	return []term{
		{"satisfied", "Every row that was looked at meets the rule, and there was at least one."},
		{"violated", "At least one row breaks the rule. Under the row stands how."},
		{"needs a human", "No program can judge it, or not all of it. The box asks the question; the rows below it help to answer."},
		{"no evidence", "There was nothing to look at, so nothing is shown: neither good nor bad."},
		{"not applicable", "There is evidence that the matter does not arise here."},
		{"Assessor's word", "The verdict in the words of the framework's assessors, with what people signed about the control taken in. Each control lists who signed what, and until when it counts. The verdict stays the program's."},
		{"Rows", "What was looked at, one line each. Found: ok meets the rule; violating breaks it; attention is for a person to judge; info is context and decides nothing."},
		{"Ledger, #number", "The ledger entries that prove the row. The evidence bundle holds each with its proof: entries/<number>.json and proofs/<number>.tlog-proof. Nothing (—) stands where a row is counted from many entries, or where what it says is that something is missing."},
		{"Times", "All are UTC. Events are those of the period; state is that of the checkpoint, judged as of the instant on the cover."},
		{"Requirements", "They are in our own words; the standard's text is what counts. Each control says by which source its requirement is known."},
	}
}

func glossary() []term {
	return []term{
		{"Account data", "What PCI DSS protects (PAN: the card number). Here: keys that are classified cardholder-data or list pci-dss among their frameworks."},
		{"Activation secret", "What a keystore needs before it works. It is stored nowhere; custodians hold it in shares."},
		{"Authority row", "A database row that gives somebody power, or a key its meaning. Its hash stands in the ledger entry that wrote it."},
		{"Ceremony", "One governed operation, from proposal to completion, with everybody's signature."},
		{"Check value", "A few bytes computed with a key that tell it from others and reveal nothing of it (CMAC, ANSI X9.24-1)."},
		{"Checkpoint", "The ledger's signed size and Merkle root. Whoever has it can tell whether anything before it was changed."},
		{"Classes of operations", "Governed: the requester and at least two others. Attended: custodians bring shares. Protective: one person restricts at once, others review and release. Direct: one person about what is theirs. Some rest on an earlier decision: by date, schedule or template."},
		{"Custodian", "A named person who holds at most one share of a set and has accepted the duty in writing."},
		{"Data key (DEK)", "A key made for an application and wrapped by a key of this service, which keeps no copy of it."},
		{"ePHI", "Electronic protected health information, what HIPAA protects. Here: keys that are classified ephi or list hipaa among their frameworks."},
		{"Genesis", "The file with which the instance began, signed by everybody named in it. Its SHA-256 is the instance's id and entry 0 of the ledger."},
		{"Grant", "What one application may do with one key, until when."},
		{"Key version", "Key material with its check value, usage period and state; written key/number. Rotation makes the next version of the same key."},
		{"Keystore", "A place where keys live: software, a hardware module, a cloud service."},
		{"Ledger", "The record of every decision and effect, numbered from 0, that shows any later change (RFC 6962)."},
		{"Policy bundle", "The rules that decide who may do what, named by their digest and changed by ceremony only."},
		{"Protect, process", "Protect: encrypt, wrap, sign. Process: decrypt, unwrap, verify. A retired key may process and never protect."},
		{"Quorum", "The people that policy demands for one operation."},
		{"Share, epoch", "One part of an activation secret; m of n open it. A new epoch replaces all shares of a set at once."},
		{"Trust file", "What an instance's ledger and bundles are checked against, handed out at genesis by a trusted way."},
		{"Usage period", "Originator usage period of a key version: how long it may protect (NIST SP 800-57 Part 1)."},
	}
}
