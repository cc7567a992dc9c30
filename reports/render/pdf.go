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

// PDF writes a report as PDF, landscape A4: a cover, what needs attention, contents, and a page a control. It shows at most
// reportRows rows of a table; the JSON report and the spreadsheet have all that the report keeps.
func PDF(w io.Writer, r *reports.Report) error {
	visible, err := makeVisible(r)
	if err != nil {
		return err
	}
	return writePDF(w, documentOf(visible))
}

// Rows of one table on paper: of a report some, of a register, which is a list, all that can be read on paper.
const (
	reportRows   = 60
	registerRows = 5_000
)

// Measures of the page, mm and points.
const (
	pageMargin = 15.0
	pageTop    = 18.0
	footRoom   = 14.0
	tableSize  = 7.4
	closeSize  = 6.8 // of a table in a control that is set closer
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
	// running is the section that a new page goes on with.
	running string
	// apart: what stands on this page has it for itself.
	apart bool
	// close: the control is set closer.
	close       bool
	known, here *found
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
	lineColour = colour{217, 222, 229}
	washColour = colour{245, 247, 249}
)

// writePDF draws. The library names fonts by their SHA-1, which serves no security; under fips140=only, where that ends
// the process, it is let do so here and nowhere else.
func writePDF(w io.Writer, d *document) error {
	glyph, err := glyphs()
	if err != nil {
		return err
	}
	fips140.WithoutEnforcement(func() { err = draw(w, d, glyph) })
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

// draw draws until it is known on which page everything comes to stand, for the contents: twice, and once more where a
// control is to be set closer because little of it came to stand on its last page.
func draw(w io.Writer, d *document, glyph func(rune) int) error {
	first, err := drawOnce(io.Discard, d, forPaper(glyph), &found{})
	if err != nil {
		return err
	}
	if len(first.close) > 0 {
		if first, err = drawOnce(io.Discard, d, forPaper(glyph), first); err != nil {
			return err
		}
	}
	_, err = drawOnce(w, d, forPaper(glyph), first)
	return err
}

// found is where everything stands.
type found struct {
	pages map[string]int // by anchor
	count int
	// close are the anchors of the controls that are set closer.
	close map[string]bool
}

func drawOnce(w io.Writer, d *document, clean func(string) string, known *found) (*found, error) {
	pdf := fpdf.New("L", "mm", "A4", "")
	// The library writes into the font that it is given: each document gets its own.
	pdf.AddUTF8FontFromBytes("sans", "", bytes.Clone(goregular.TTF))
	pdf.AddUTF8FontFromBytes("sans", "B", bytes.Clone(gobold.TTF))
	pdf.AddUTF8FontFromBytes("mono", "", bytes.Clone(gomono.TTF))
	made, err := time.Parse(rfc3339, d.made)
	if err != nil {
		return nil, fmt.Errorf("reading when it was made: %w", err)
	}
	pdf.SetCreationDate(made)
	pdf.SetModificationDate(made)
	pdf.SetCatalogSort(true)
	pdf.SetProducer("conclave", false)
	pdf.SetTitle(clean(d.title+", "+d.lede), true)
	pdf.SetLang("en")
	pdf.SetMargins(pageMargin, pageTop, pageMargin)
	pdf.SetCellMargin(0) // widths are those of the text
	pdf.SetAutoPageBreak(true, footRoom)
	width, height := pdf.GetPageSize()
	s := &sheet{Fpdf: pdf, doc: d, clean: clean, wide: width - 2*pageMargin, high: height, links: map[string]int{}, known: known, here: &found{pages: map[string]int{}, close: map[string]bool{}}}
	pdf.SetHeaderFunc(s.top)
	pdf.SetFooterFunc(s.foot)
	s.cover()
	s.attention()
	s.contents()
	s.reading()
	for i := range d.sections {
		s.section(&d.sections[i])
	}
	s.words()
	s.here.count = pdf.PageNo()
	if err := pdf.Output(w); err != nil {
		return nil, fmt.Errorf("writing PDF: %w", err)
	}
	return s.here, nil
}

// anchor begins something that the contents name.
func (s *sheet) anchor(name, title string) {
	s.SetLink(s.link(name), -1, -1)
	s.here.pages[name] = s.PageNo()
	s.Bookmark(s.clean(title), 0, -1)
}

// link leads to what has an anchor.
func (s *sheet) link(name string) int {
	if _, ok := s.links[name]; !ok {
		s.links[name] = s.AddLink()
	}
	return s.links[name]
}

// pageOf is the page of an anchor in words: nothing while it is not known.
func (s *sheet) pageOf(name string) string {
	if n := s.known.pages[name]; n > 0 {
		return fmt.Sprint(n)
	}
	return ""
}

func (s *sheet) ink(c colour)  { s.SetTextColor(c.r, c.g, c.b) }
func (s *sheet) fill(c colour) { s.SetFillColor(c.r, c.g, c.b) }
func (s *sheet) line(c colour) { s.SetDrawColor(c.r, c.g, c.b) }

func (s *sheet) foot() {
	s.SetY(-10)
	s.SetFont("sans", "", 7)
	s.ink(softColour)
	s.CellFormat(s.wide-30, 4, s.clean(s.doc.footer), "", 0, "L", false, 0, "")
	s.CellFormat(30, 4, fmt.Sprintf("page %d of %d", s.PageNo(), s.known.count), "", 0, "R", false, 0, "")
}

// top is the head of each page: what it is a page of, and what goes on from the page before.
func (s *sheet) top() {
	if s.doc.development {
		s.SetXY(pageMargin, 5)
		s.SetFont("sans", "B", 8)
		s.SetTextColor(90, 67, 0)
		s.SetDrawColor(90, 67, 0)
		s.CellFormat(s.wide, 5.5, "DEVELOPMENT INSTANCE: demo people, lowered floor. Nothing here is evidence about a real system.", "1", 0, "C", false, 0, "")
	}
	if s.PageNo() > 1 {
		s.SetXY(pageMargin, 11.5)
		s.SetFont("sans", "", 7)
		s.ink(softColour)
		goes := ""
		if s.running != "" {
			goes = s.running + " (continued)"
		}
		s.CellFormat(s.wide/2, 4, s.fit(s.clean(goes), s.wide/2-2), "", 0, "L", false, 0, "")
		s.CellFormat(s.wide/2, 4, s.fit(s.clean(s.doc.running), s.wide/2-2), "", 0, "R", false, 0, "")
	}
	s.SetXY(pageMargin, pageTop)
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
