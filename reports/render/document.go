package render

import (
	"fmt"
	"strings"

	"conclave/reports"
	"conclave/reports/control"
)

// document is what is handed out as PDF, spreadsheet or CSV, however it came about: a title, facts, and sections of tables.
type document struct {
	over, title, lede string
	facts             [][2]string
	development       bool
	made              string // RFC 3339
	counts            []bar  // verdicts, none where nothing was judged
	groups            []group
	sections          []section
	glossary          []term
	footer            string
	intro             []string // paragraphs of a register
}

// section is one control, or one part of a register.
type section struct {
	id, title  string
	verdict    control.Verdict // "" where nothing was judged
	conclusion string
	attested   bool
	demands    string
	summary    string
	question   string
	notes      [][2]string
	tables     []control.Table
}

func documentOf(r *reports.Report) *document {
	d := &document{
		over: "Evidence report", title: r.FrameworkName, development: r.Development(), made: r.GeneratedAt.UTC().Format(rfc3339),
		lede:  fmt.Sprintf("%s, %s to %s", r.Instance.Name, day(r.From), day(r.To)),
		facts: facts(r.Instance, r.From, r.To, r.AsOf, r.GeneratedAt, r.Checkpoint), counts: bars(r.Counts), groups: groupsOf(r.Controls), glossary: glossary(),
		footer: fmt.Sprintf("%s %s · instance %s · checkpoint of %d entries", r.Framework, r.CatalogueVersion, r.Instance.ID[:min(16, len(r.Instance.ID))], r.Checkpoint.Size),
	}
	d.facts = append(d.facts, [2]string{"Policy bundle", r.Instance.PolicyDigest}, [2]string{"Catalogue", r.Framework + ", version " + r.CatalogueVersion})
	for _, c := range r.Controls {
		d.sections = append(d.sections, section{id: c.ID, title: c.Title, verdict: c.Result.Verdict, conclusion: c.Conclusion, attested: c.Attested, demands: c.WhatItDemands,
			summary: c.Result.Summary, question: c.Result.Question, tables: c.Result.Tables, notes: [][2]string{
				{"Rule", c.PassRule + "."}, {"How it is judged here", c.Judged}, {"Note", c.Note}, {"Looks at", c.Evidence.Query + "."}, {"Would fail", strings.Join(c.FailExamples, "; ") + "."},
				{"Status", "Applies when " + c.AppliesWhen + ". " + c.Status + ". Keep: " + c.Retention + ". Requirement " + verification(c.Verification) + "."}}})
	}
	types := control.Table{Title: "Entries by type", Columns: []control.Column{{Name: "type", Type: control.ID}, {Name: "entries", Type: control.Integer}}}
	for _, e := range entryTypes(r.Entries) {
		types.Rows = append(types.Rows, control.Row{Cells: []string{e.Name, fmt.Sprint(e.Count)}, State: control.Info})
		types.Total++
	}
	d.sections = append(d.sections, section{title: "The period's ledger entries", tables: []control.Table{types}})
	return d
}

// forPaper writes out what a font does not show, so that nothing is left out unseen. Of characters that look the same in the
// font (one glyph) the one met first stands for all: the library orders them as a map happens to be walked, and equal
// reports would give unequal files.
func forPaper(glyph func(rune) int) func(string) string {
	first := map[int]rune{}
	return func(s string) string {
		var b strings.Builder
		for _, r := range s {
			g := 0
			if r < 0x10000 {
				g = glyph(r)
			}
			switch {
			case r == '\n':
				b.WriteRune(r)
			case g == 0:
				b.WriteString(codePoint(r))
			default:
				if first[g] == 0 {
					first[g] = r
				}
				b.WriteRune(first[g])
			}
		}
		return b.String()
	}
}

// codePoint names a character.
func codePoint(r rune) string { return fmt.Sprintf("U+%04X ", r) }
