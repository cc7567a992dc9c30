package render

import (
	"bytes"
	"crypto/fips140"
	"fmt"
	"io"
	"time"

	"codeberg.org/go-pdf/fpdf"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/sfnt"

	"conclave/reports"
	"conclave/reports/control"
)

// PDF writes a report as PDF, landscape A4, a page a control. It shows at most pdfRows rows of a table; the JSON report
// and the spreadsheet have all that the report keeps.
func PDF(w io.Writer, r *reports.Report) error {
	visible, err := makeVisible(r)
	if err != nil {
		return err
	}
	return writePDF(w, documentOf(visible))
}

// pdfRows bounds the rows of one table on paper.
const pdfRows = 60

// Measures of the page, mm and points.
const (
	pageMargin = 15.0
	footRoom   = 14.0
	tableSize  = 7.0
	textSize   = 9.5
)

// sheet is a PDF under way.
type sheet struct {
	*fpdf.Fpdf
	doc   *document
	clean func(string) string
	wide  float64 // between the margins
	high  float64
	links map[string]int
}

type colour struct{ r, g, b int }

// The page's colours are those of the HTML page.
func colourOf(v control.Verdict) colour {
	switch v {
	case control.Satisfied:
		return colour{0, 103, 79}
	case control.Violated:
		return colour{166, 54, 3}
	case control.NeedsHuman:
		return colour{11, 85, 159}
	case control.NoEvidence:
		return colour{75, 85, 99}
	}
	return colour{107, 114, 128}
}

func stateColour(s control.State) colour {
	switch s {
	case control.Violating:
		return colourOf(control.Violated)
	case control.Attention:
		return colourOf(control.NeedsHuman)
	case control.OK:
		return colourOf(control.Satisfied)
	}
	return colour{84, 96, 110}
}

var (
	inkColour  = colour{27, 36, 48}
	softColour = colour{84, 96, 110}
)

// writePDF draws. The library names fonts by their SHA-1, which serves no security; under fips140=only, where that ends
// the process, it is let do so here and nowhere else.
func writePDF(w io.Writer, d *document) error {
	glyph, err := glyphs()
	if err != nil {
		return err
	}
	fips140.WithoutEnforcement(func() { err = draw(w, d, forPaper(glyph)) })
	return err
}

// glyphs says which glyph of the font shows a character; 0 for none.
func glyphs() (func(rune) int, error) {
	font, err := sfnt.Parse(goregular.TTF)
	if err != nil {
		return nil, fmt.Errorf("reading font: %w", err)
	}
	var buffer sfnt.Buffer
	return func(r rune) int {
		i, err := font.GlyphIndex(&buffer, r)
		if err != nil {
			return 0
		}
		return int(i)
	}, nil
}

func draw(w io.Writer, d *document, clean func(string) string) error {
	pdf := fpdf.New("L", "mm", "A4", "")
	// The library writes into the font that it is given: each document gets its own.
	pdf.AddUTF8FontFromBytes("sans", "", bytes.Clone(goregular.TTF))
	pdf.AddUTF8FontFromBytes("sans", "B", bytes.Clone(gobold.TTF))
	pdf.AddUTF8FontFromBytes("mono", "", bytes.Clone(gomono.TTF))
	made, err := time.Parse(rfc3339, d.made)
	if err != nil {
		return fmt.Errorf("reading when it was made: %w", err)
	}
	pdf.SetCreationDate(made)
	pdf.SetModificationDate(made)
	pdf.SetCatalogSort(true)
	pdf.SetProducer("conclave", false)
	pdf.SetTitle(clean(d.title+", "+d.lede), true)
	pdf.SetMargins(pageMargin, pageMargin, pageMargin)
	pdf.SetAutoPageBreak(true, footRoom)
	width, height := pdf.GetPageSize()
	s := &sheet{Fpdf: pdf, doc: d, clean: clean, wide: width - 2*pageMargin, high: height, links: map[string]int{}}
	pdf.SetFooterFunc(s.foot)
	pdf.AliasNbPages("")
	s.cover()
	s.glance()
	for i := range d.sections {
		s.section(&d.sections[i])
	}
	s.words()
	if err := pdf.Output(w); err != nil {
		return fmt.Errorf("writing PDF: %w", err)
	}
	return nil
}

func (s *sheet) ink(c colour)  { s.SetTextColor(c.r, c.g, c.b) }
func (s *sheet) fill(c colour) { s.SetFillColor(c.r, c.g, c.b) }

func (s *sheet) foot() {
	s.SetY(-10)
	s.SetFont("sans", "", 7)
	s.ink(softColour)
	s.CellFormat(s.wide-30, 4, s.clean(s.doc.footer), "", 0, "L", false, 0, "")
	s.CellFormat(30, 4, fmt.Sprintf("%d / {nb}", s.PageNo()), "", 0, "R", false, 0, "")
	if s.doc.development {
		s.SetXY(pageMargin, 5)
		s.SetFont("sans", "B", 8)
		s.SetTextColor(90, 67, 0)
		s.SetDrawColor(90, 67, 0)
		s.CellFormat(s.wide, 5.5, "DEVELOPMENT INSTANCE: demo people, lowered floor. Nothing here is evidence about a real system.", "1", 0, "C", false, 0, "")
	}
}

// para writes a paragraph over the whole width.
func (s *sheet) para(style string, points float64, c colour, text string) {
	if text == "" {
		return
	}
	s.SetFont("sans", style, points)
	s.ink(c)
	s.MultiCell(s.wide, points*0.5, s.clean(text), "", "L", false)
}

func (s *sheet) gap(mm float64) { s.SetY(s.GetY() + mm) }

func (s *sheet) cover() {
	d := s.doc
	s.AddPage()
	s.SetY(38)
	s.para("", 10, softColour, d.over)
	s.gap(1)
	s.para("B", 25, inkColour, d.title)
	s.gap(1)
	s.para("", 14, softColour, d.lede)
	s.gap(7)
	s.bars()
	for _, f := range d.facts {
		if f[1] == "" {
			continue
		}
		s.SetFont("sans", "", textSize)
		s.ink(softColour)
		s.CellFormat(42, 5.6, s.clean(f[0]), "", 0, "L", false, 0, "")
		s.ink(inkColour)
		s.MultiCell(s.wide-42, 5.6, s.clean(f[1]), "", "L", false)
	}
	s.gap(4)
	for _, text := range d.intro {
		s.para("", textSize, inkColour, text)
		s.gap(1.5)
	}
	s.gap(3)
	s.para("", 8.5, softColour, "This document by itself proves nothing: anybody can write one. The evidence bundle that belongs to it carries every ledger entry that is cited here "+
		"(#number), with its proof, and a signature over all of it: conclave verify evidence.zip --trust trust.json checks it without the service.")
}

// bars draws how many controls have which verdict.
func (s *sheet) bars() {
	if len(s.doc.counts) == 0 {
		return
	}
	x, y, high := pageMargin, s.GetY(), 11.0
	for _, b := range s.doc.counts {
		if b.Count == 0 {
			continue
		}
		w := s.wide * float64(b.Width) / barWidth
		s.fill(colourOf(b.Verdict))
		s.Rect(x, y, w, high, "F")
		s.SetFont("sans", "B", 10)
		s.SetTextColor(255, 255, 255)
		s.SetXY(x, y)
		if s.GetStringWidth(fmt.Sprint(b.Count)) < w {
			s.CellFormat(w, high, fmt.Sprint(b.Count), "", 0, "C", false, 0, "")
		}
		x += w
	}
	s.SetXY(pageMargin, y+high+3)
	for _, b := range s.doc.counts {
		c := colourOf(b.Verdict)
		s.fill(c)
		s.Rect(s.GetX(), s.GetY()+1.2, 3, 3, "F")
		s.SetX(s.GetX() + 4)
		s.SetFont("sans", "B", textSize)
		s.ink(c)
		text := fmt.Sprintf("%d %s", b.Count, b.Verdict)
		s.CellFormat(s.GetStringWidth(text)+8, 5.6, text, "", 0, "L", false, 0, "")
	}
	s.SetXY(pageMargin, y+high+14)
}

// glance lists all controls with their verdict, conclusion and page.
func (s *sheet) glance() {
	if len(s.doc.counts) == 0 {
		return
	}
	s.AddPage()
	s.para("B", 15, inkColour, "At a glance")
	s.gap(2)
	s.SetDrawColor(217, 222, 229)
	for _, x := range s.doc.sections {
		if x.id == "" {
			continue
		}
		link := s.AddLink()
		s.links[x.id] = link
		s.SetFont("mono", "", 8)
		s.ink(inkColour)
		s.CellFormat(46, 5, s.fit(s.clean(x.id), 45), "B", 0, "L", false, link, "")
		s.SetFont("sans", "", 8.5)
		s.CellFormat(s.wide-46-36-80, 5, s.fit(s.clean(x.title), s.wide-46-36-82), "B", 0, "L", false, link, "")
		s.SetFont("sans", "B", 8.5)
		s.ink(colourOf(x.verdict))
		s.CellFormat(36, 5, string(x.verdict), "B", 0, "L", false, 0, "")
		s.SetFont("sans", "", 8.5)
		s.ink(softColour)
		s.CellFormat(80, 5, s.fit(s.clean(concluded(x)), 79), "B", 1, "L", false, 0, "")
	}
}

// concluded is a section's conclusion, and whether it rests on people's word.
func concluded(x section) string {
	if x.attested {
		return x.conclusion + " (on people's word)"
	}
	return x.conclusion
}

// fit cuts a text to a width with the font that is set.
func (s *sheet) fit(text string, wide float64) string {
	if s.GetStringWidth(text) <= wide {
		return text
	}
	runes := []rune(text)
	for len(runes) > 1 && s.GetStringWidth(string(runes)+"…") > wide {
		runes = runes[:len(runes)-1]
	}
	return string(runes) + "…"
}

func (s *sheet) section(x *section) {
	s.AddPage()
	if link, ok := s.links[x.id]; ok {
		s.SetLink(link, 0, -1)
	}
	s.Bookmark(s.clean(x.id+" "+x.title), 0, -1)
	if x.id != "" {
		s.SetFont("mono", "", 11)
		s.ink(softColour)
		s.CellFormat(s.wide, 5.5, s.clean(x.id), "", 1, "L", false, 0, "")
	}
	s.para("B", 15, inkColour, x.title)
	if x.verdict != "" {
		s.gap(1)
		s.para("B", 10.5, colourOf(x.verdict), fmt.Sprintf("%s  ·  %s", x.verdict, concluded(*x)))
	}
	s.gap(1.5)
	s.para("", textSize, inkColour, x.demands)
	s.gap(1)
	s.para("B", textSize, inkColour, x.summary)
	if x.question != "" {
		s.gap(2)
		s.SetFillColor(229, 239, 250)
		s.SetFont("sans", "", textSize)
		s.ink(inkColour)
		s.MultiCell(s.wide, 5, s.clean("A person answers: "+x.question), "", "L", true)
	}
	for i := range x.tables {
		s.table(&x.tables[i])
	}
	s.gap(3)
	for _, n := range x.notes {
		if n[1] != "" && n[1] != "." {
			s.para("", 8, softColour, n[0]+": "+n[1])
		}
	}
}

func (s *sheet) words() {
	if len(s.doc.glossary) == 0 {
		return
	}
	s.AddPage()
	s.para("B", 15, inkColour, "Words")
	s.gap(2)
	for _, t := range s.doc.glossary {
		s.para("B", textSize, inkColour, t.Word)
		s.para("", textSize, inkColour, t.Meaning)
		s.gap(1)
	}
}
