// Package paper draws what custodians keep on paper: the card of a share, and the envelope that its bag is. It knows
// nothing but what it is given and writes a PDF of one page, with nothing in it but text and lines.
package paper

import (
	"crypto/fips140"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"codeberg.org/go-pdf/fpdf"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/gomonobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/text/unicode/norm"
)

// Sizes of paper.
const (
	A4     = "A4"
	Letter = "Letter"
)

// Sizes returns what can be printed on.
func Sizes() []string { return []string{A4, Letter} }

// ErrSize: there is more to print than a page holds.
var ErrSize = errors.New("does not fit on a page")

// Fonts: the Go fonts cover Latin, Greek and Cyrillic, and tell 0 from O and 1 from l.
const (
	sans = "sans"
	mono = "mono"
)

const (
	margin = 16.0 // mm
	ink    = 30   // grey of text, 0 is black
	faint  = 120
)

// page is a PDF of one page under way; lengths in mm.
type page struct {
	*fpdf.Fpdf
	wide float64 // between the margins
	high float64 // of the paper
}

func newPage(size, title string, at time.Time) (*page, error) {
	if size != A4 && size != Letter {
		return nil, fmt.Errorf("paper size %q: allowed are %s", size, strings.Join(Sizes(), ", "))
	}
	pdf := fpdf.New("P", "mm", size, "")
	pdf.AddUTF8FontFromBytes(sans, "", goregular.TTF)
	pdf.AddUTF8FontFromBytes(sans, "B", gobold.TTF)
	pdf.AddUTF8FontFromBytes(mono, "", gomono.TTF)
	pdf.AddUTF8FontFromBytes(mono, "B", gomonobold.TTF)
	pdf.SetCreationDate(at)
	pdf.SetModificationDate(at)
	pdf.SetProducer("conclave", false)
	pdf.SetTitle(title, true)
	pdf.SetAutoPageBreak(false, 0)
	pdf.SetMargins(margin, margin, margin)
	pdf.SetLineWidth(0.25)
	pdf.AddPage()
	w, h := pdf.GetPageSize()
	return &page{Fpdf: pdf, wide: w - 2*margin, high: h}, nil
}

// draw runs a drawing. The library names fonts by their SHA-1, which serves no security; under fips140=only, where that
// ends the process, it is let do so here and nowhere else.
func draw(drawing func() error) error {
	var err error
	fips140.WithoutEnforcement(func() { err = drawing() })
	return err
}

func (p *page) write(w io.Writer) error {
	if err := p.Output(w); err != nil {
		return fmt.Errorf("writing PDF: %w", err)
	}
	return nil
}

// at writes one line of text with its top left corner there.
func (p *page) at(x, y float64, family, style string, points float64, grey int, text string) {
	p.SetFont(family, style, points)
	p.SetTextColor(grey, grey, grey)
	p.SetXY(x, y)
	p.CellFormat(p.GetStringWidth(text)+2, points*0.45, text, "", 0, "L", false, 0, "")
}

// fit writes a line no wider than that, smaller where it must be.
func (p *page) fit(x, y, wide float64, family, style string, points float64, text string) {
	p.SetFont(family, style, points)
	if have := p.GetStringWidth(text); have > wide {
		points = max(points*wide/have, 4)
	}
	p.at(x, y, family, style, points, ink, text)
}

// label is a small heading above a value.
func (p *page) label(x, y, wide float64, name, value string) {
	p.at(x, y, sans, "", 7, faint, strings.ToUpper(name))
	p.fit(x, y+3.4, wide-2, sans, "B", 10, value)
}

// blank is a small heading above a line to write on.
func (p *page) blank(x, y, wide float64, name string) {
	p.at(x, y, sans, "", 7, faint, strings.ToUpper(name))
	p.rule(x, y+11.5, wide)
}

func (p *page) rule(x, y, wide float64) {
	p.SetDrawColor(faint, faint, faint)
	p.Line(x, y, x+wide, y)
}

// head is the band over a page.
func (p *page) head(kind, mark string, secret, development bool) float64 {
	y := margin - 4
	p.SetFillColor(ink, ink, ink)
	p.Rect(margin, y, p.wide, 9, "F")
	p.at(margin+3, y+2.4, sans, "B", 10, 255, kind)
	p.SetFont(sans, "B", 10)
	w := p.GetStringWidth(mark)
	if secret {
		p.SetFillColor(255, 255, 255)
		p.Rect(margin+p.wide-w-8, y+1.5, w+6, 6, "F")
		p.at(margin+p.wide-w-6, y+2.4, sans, "B", 10, ink, mark)
	} else {
		p.at(margin+p.wide-w-4, y+2.4, sans, "", 10, 255, mark)
	}
	y += 12
	if development {
		p.at(margin, y, sans, "B", 9, ink, "DEVELOPMENT: demonstration data; protects nothing")
		y += 6
	}
	return y
}

// paragraphs writes numbered sentences and returns where they end.
func (p *page) paragraphs(x, y, wide, points float64, list []string) float64 {
	const indent = 6
	for i, text := range list {
		p.at(x, y, sans, "B", points, ink, fmt.Sprintf("%d", i+1))
		p.SetFont(sans, "", points)
		p.SetTextColor(ink, ink, ink)
		p.SetXY(x+indent, y)
		p.MultiCell(wide-indent, points*0.45, text, "", "L", false)
		y = p.GetY() + 1
	}
	return y
}

// Unprintable reports whether a text has signs that the fonts of this package do not have, or that take shaping which
// it does not do. Such a name is left to be written by hand rather than printed wrong.
func Unprintable(text string) bool {
	font, err := sfnt.Parse(goregular.TTF)
	if err != nil {
		return true
	}
	var buffer sfnt.Buffer
	for _, r := range norm.NFC.String(text) {
		glyph, err := font.GlyphIndex(&buffer, r)
		if err != nil || glyph == 0 || unicode.Is(unicode.Mn, r) || !unicode.IsPrint(r) {
			return true
		}
	}
	return false
}

// person is how somebody is named: by name and id, by id alone where the name can not be printed.
func person(id, name string) string {
	if name == "" || Unprintable(name) {
		return id
	}
	return fmt.Sprintf("%s (%s)", norm.NFC.String(name), id)
}
