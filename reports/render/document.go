package render

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

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
	running           string   // at the top of every page but the first
	intro             []string // paragraphs of a register
	sign              string   // the command that signs a review of a register; "" where none is due
	paperRows         int      // rows of one table on paper; the spreadsheet has all that there are
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
	answer     string // the command that puts an answer on record
	notes      [][2]string
	tables     []control.Table
	empty      string // said where there is no table
}

// anchor names a section within the document.
func (x *section) anchor() string {
	if x.id != "" {
		return x.id
	}
	return "section " + x.title
}

// doing is one part of what is to be done about a report.
type doing struct {
	Verdict             control.Verdict
	Title, What, Column string
	Lines               []doingLine
}

type doingLine struct{ ID, Text string }

// toDo gathers what a report leaves to people: what to put right, what to show, and what to answer.
func toDo(sections []section) []doing {
	out := []doing{
		{Verdict: control.Violated, Title: "To be put right", Column: "why", What: "At least one row breaks the rule. The rows on the control's page say which, and how."},
		{Verdict: control.NoEvidence, Title: "Not shown", Column: "why", What: "There was nothing to look at in the period: neither good nor bad is shown."},
		{Verdict: control.NeedsHuman, Title: "Questions to be answered by a person", Column: "question", What: "No program can judge these, or not all of them. The page of each has the rows that help."},
	}
	for i := range sections {
		x := &sections[i]
		for j := range out {
			if out[j].Verdict != x.verdict {
				continue
			}
			text := x.summary
			switch x.verdict {
			case control.NeedsHuman:
				text = x.question
			case control.Violated:
				text += firstWrong(x) + x.metWhen()
			}
			if x.attested {
				text = "Answered on people's word: " + x.conclusion + ". " + text
			}
			out[j].Lines = append(out[j].Lines, doingLine{x.id, x.title + ": " + text})
		}
	}
	return out
}

// firstWrong is the first row that breaks the rule, as an example; "" where none is listed.
func firstWrong(x *section) string {
	for _, t := range x.tables {
		for _, row := range t.Rows {
			if row.State == control.Violating && row.Why != "" && len(row.Cells) > 0 {
				return " First: " + strings.TrimPrefix(prose(row.Cells[0])+": ", ": ") + prose(row.Why) + "."
			}
		}
	}
	return ""
}

// metWhen says what it takes for a control to be satisfied.
func (x *section) metWhen() string {
	for _, n := range x.notes {
		if n[0] == noteRule && n[1] != "" {
			return " Met when: " + n[1]
		}
	}
	return ""
}

// noteRule is the label of the rule by which a control is judged.
const noteRule = "Rule"

func documentOf(r *reports.Report) *document {
	d := &document{
		paperRows: reportRows, over: "Evidence report", title: r.FrameworkName, development: r.Development(), made: r.GeneratedAt.UTC().Format(rfc3339),
		lede:  fmt.Sprintf("%s, %s to %s", r.Instance.Name, day(r.From), day(r.To)),
		facts: facts(r.Instance, r.From, r.To, r.AsOf, r.GeneratedAt, r.Checkpoint), counts: bars(r.Counts), groups: groupsOf(r.Controls, r.Parts), glossary: glossary(),
		running: fmt.Sprintf("%s · %s · %s to %s", r.Instance.Name, r.Framework, day(r.From), day(r.To)),
		footer:  fmt.Sprintf("%s %s · instance %s · checkpoint of %d entries", r.Framework, r.CatalogueVersion, r.Instance.ID[:min(16, len(r.Instance.ID))], r.Checkpoint.Size),
	}
	d.facts = append(d.facts, [2]string{"Policy bundle", r.Instance.PolicyDigest}, [2]string{"Catalogue", r.Framework + ", version " + r.CatalogueVersion})
	d.facts = append(d.facts, [2]string{"What it covers", scopeOf()})
	for _, c := range r.Controls {
		d.sections = append(d.sections, section{id: c.ID, title: c.Title, verdict: c.Result.Verdict, conclusion: c.Conclusion, attested: c.Attested, demands: c.WhatItDemands,
			summary: prose(c.Result.Summary), question: prose(c.Result.Question), answer: answerCommand(r.Framework, c), tables: c.Result.Tables, notes: notesOf(c.Control)})
	}
	d.sections = append(d.sections, section{title: "Who is who", demands: "The people and applications whose ids stand in the rows of this report.", tables: []control.Table{r.Who}})
	types := control.Table{Title: "Entries by type", Columns: []control.Column{{Name: "type", Type: control.ID}, {Name: "entries", Type: control.Integer}}}
	for _, e := range entryTypes(r.Entries) {
		types.Rows = append(types.Rows, control.Row{Cells: []string{e.Name, fmt.Sprint(e.Count)}, State: control.Info})
		types.Total++
	}
	entries := section{title: "The period's ledger entries", demands: countedText(r), empty: "The period has no entries."}
	if types.Total > 0 {
		entries.tables = []control.Table{types}
	}
	d.sections = append(d.sections, entries)
	return d
}

// notesOf say by which rule a control is judged, and how the rule is known.
func notesOf(c control.Control) [][2]string {
	return [][2]string{
		{"Looks at", sentence(c.Evidence.Query)}, {noteRule, sentence(c.PassRule)}, {"How it is judged here", c.Judged}, {"Note", c.Note}, {"Would fail, e.g.", sentence(strings.Join(c.FailExamples, "; "))},
		{"Applies when", sentence(c.AppliesWhen + "; " + c.Status)}, {"Our source", sentence(verification(c.Verification) + ". Keep the evidence: " + c.Retention)},
	}
}

// sentence begins a text with a capital and ends it with a full stop; "" stays.
func sentence(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	if size == 0 || text == "." {
		return ""
	}
	return string(unicode.ToUpper(first)) + strings.TrimSuffix(text[size:], ".") + "."
}

// answerCommand puts an answer to a control's question on record; "" where there is none.
func answerCommand(framework string, c reports.Judgement) string {
	if c.Result.Question == "" {
		return ""
	}
	return fmt.Sprintf(`conclave audit attest --kind answer --control %s:%s --outcome met --says "…" --reference "where it is filed" --days 365 --reason "assessment"`, framework, c.ID)
}

// outcomes are what an answer can be.
const outcomes = "--outcome is met, not-met or not-applicable"

// scopeOf says what a report sees, and what it does not.
func scopeOf() string {
	return "What this service did and has on record, as this instance's ledger proves it. It does not see hosts, networks, applications, paper, or what people do beside it: " +
		"where a control is about those, a person is asked."
}

// countedText says what of a long period was taken from daily counts.
func countedText(r *reports.Report) string {
	if r.Counted == 0 {
		return ""
	}
	return fmt.Sprintf("The period is long: %d uses of keys were taken from daily counts, which are derived from the ledger and can be made anew from it; the entries themselves are one line below. "+
		"Where a key's end or suspension fell into a day, its uses of that day were read one by one.", r.Counted)
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
