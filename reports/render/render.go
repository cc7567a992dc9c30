// Package render shows a report: as JSON, and as one HTML page that needs nothing but itself. The page has no
// script and fetches nothing; its content security policy forbids both.
package render

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"conclave/reports"
	"conclave/reports/control"
)

//go:embed page.css
var style string

//go:embed page.html.tmpl
var page string

// JSON writes a report as canonical JSON (RFC 8785), indented for reading, with a line feed at the end.
func JSON(w io.Writer, r *reports.Report) error {
	canonical, err := r.JSON()
	if err != nil {
		return err
	}
	v := jsontext.Value(canonical)
	if err := v.Indent(jsontext.WithIndent("  ")); err != nil {
		return fmt.Errorf("indenting report: %w", err)
	}
	if _, err := w.Write(append(v, '\n')); err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	return nil
}

// HTML writes a report as a page. Every text in it is escaped for its place, and characters that change the
// direction of text or cannot be seen are shown as their code points.
func HTML(w io.Writer, r *reports.Report) error {
	visible, err := makeVisible(r)
	if err != nil {
		return err
	}
	t, err := template.New("report").Funcs(functions()).Parse(page)
	if err != nil {
		return fmt.Errorf("parsing page: %w", err)
	}
	if err := t.Execute(w, newView(visible)); err != nil {
		return fmt.Errorf("rendering report: %w", err)
	}
	return nil
}

// view is what the page shows.
type view struct {
	*reports.Report
	Style     template.CSS
	StyleHash template.HTMLAttr
	Bars      []bar
	Groups    []group
	Total     int
	Types     []entryType
	Glossary  []term
	Reading   []term
	ToDo      []doing
	// Scope says what the report sees, and CountedText what of a long period was counted by day.
	Scope, CountedText string
}

func newView(r *reports.Report) *view {
	digest := sha256.Sum256([]byte(style))
	return &view{
		Report: r,
		Style:  template.CSS(style), //nolint:gosec // embedded at build time
		StyleHash: template.HTMLAttr(fmt.Sprintf(`content="default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'"`,
			base64.StdEncoding.EncodeToString(digest[:]))),
		Bars:     bars(r.Counts),
		Groups:   groupsOf(r.Controls, r.Parts),
		Total:    len(r.Controls),
		Types:    entryTypes(r.Entries),
		Glossary: glossary(), Reading: howToRead(), ToDo: toDo(documentOf(r).sections), Scope: scopeOf(), CountedText: countedText(r),
	}
}

// bar is one verdict's part of the bar on the cover.
type bar struct {
	Verdict       control.Verdict
	Count         int
	X, Width, Mid int
}

// barWidth is the width of the whole bar, in the units of its SVG.
const barWidth = 1000

func bars(counts map[string]int) []bar {
	total := 0
	for _, v := range control.Verdicts() {
		total += counts[string(v)]
	}
	var out []bar
	x, seen := 0, 0
	for _, v := range control.Verdicts() {
		n := counts[string(v)]
		seen += n
		b := bar{Verdict: v, Count: n, X: x}
		if total > 0 {
			b.Width = barWidth*seen/total - x
		}
		b.Mid = x + b.Width/2
		x += b.Width
		out = append(out, b)
	}
	return out
}
