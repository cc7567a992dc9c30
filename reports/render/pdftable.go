package render

import (
	"fmt"
	"slices"
	"strings"

	"conclave/custodian/amount"
	"conclave/reports/control"
)

// Measures of a table's lines, mm.
const (
	lineHigh  = 3.4 // of a table's text
	closeHigh = 3.0
	cellGap   = 3.0 // between columns
	mostWord  = 46.0
	mostWide  = 95.0
)

// columns are the columns of a table as it is drawn.
type columns struct {
	names   []string
	widths  []float64
	numeric []bool
	total   float64
}

// points and leading are the size of a table's text, and the height of a line of it.
func (s *sheet) points() float64 {
	if s.close {
		return closeSize
	}
	return tableSize
}

func (s *sheet) leading() float64 {
	if s.close {
		return closeHigh
	}
	return lineHigh
}

// table draws a table: cells are wrapped between words, the head is repeated on each page, what matters comes first.
func (s *sheet) table(t *control.Table) {
	if s.close {
		s.gap(1.8)
	} else {
		s.gap(3)
	}
	s.keep(25)
	s.para("B", textSize, inkColour, fmt.Sprintf("%s (%d)", t.Title, t.Total))
	if t.Total == 0 {
		s.para("", 8.5, softColour, "None.")
		return
	}
	// Where nothing was judged, what was found of each row is not worth a column; nor are proofs where no row has one.
	judged := slices.ContainsFunc(t.Rows, func(r control.Row) bool { return r.State != control.Info })
	proven := slices.ContainsFunc(t.Rows, func(r control.Row) bool { return len(r.Ledger) > 0 })
	c := &columns{}
	add := func(name string, numeric bool) {
		c.names, c.numeric = append(c.names, s.clean(name)), append(c.numeric, numeric)
	}
	if judged {
		add("found", false)
	}
	for _, col := range t.Columns {
		add(heading(col), col.Type == control.Integer)
	}
	if proven {
		add("ledger", false)
	}
	shown := t.Rows[:min(len(t.Rows), s.doc.paperRows)]
	lines := make([][]string, len(shown))
	for i, r := range shown {
		var line []string
		if judged {
			line = append(line, string(r.State))
		}
		for j, text := range r.Cells {
			line = append(line, s.clean(cell(t.Columns[j], text)))
		}
		if proven {
			line = append(line, s.clean(sequences(r.Ledger)))
		}
		lines[i] = line
	}
	s.widths(c, lines)
	s.head(c)
	for i, line := range lines {
		s.row(c, line, shown[i])
	}
	if more := t.Total - len(shown); more > 0 {
		s.para("", 8, softColour, fmt.Sprintf("%s counted. The spreadsheet and the JSON list as many as are kept.", amount.Of(more, "more row")+" "+amount.Verb(more, "was", "were")))
	}
}

func sequences(all []uint64) string {
	cut := short(all)
	parts := make([]string, len(cut.Shown))
	for i, n := range cut.Shown {
		parts[i] = fmt.Sprintf("#%d", n)
	}
	text := strings.Join(parts, " ")
	if cut.More > 0 {
		text += fmt.Sprintf(" and %d more", cut.More)
	}
	if text == "" {
		return "—"
	}
	return text
}

// widths gives each column what its text needs, where that is more than the page has at least its longest word, and the
// rest shared among those that want more. Times are not broken.
func (s *sheet) widths(c *columns, lines [][]string) {
	least, wish := make([]float64, len(c.names)), make([]float64, len(c.names))
	leastSum, wishSum := 0.0, 0.0
	for i, name := range c.names {
		s.SetFont("sans", "B", s.points())
		least[i] = s.longestWord(name)
		wish[i] = max(least[i], min(s.GetStringWidth(name), 24))
		s.SetFont("sans", "", s.points())
		for _, line := range lines {
			least[i] = max(least[i], min(s.longestWord(line[i]), mostWord))
			wish[i] = max(wish[i], min(s.GetStringWidth(line[i]), mostWide))
		}
		if strings.HasSuffix(name, "(UTC)") {
			least[i] = wish[i]
		}
		least[i], wish[i] = least[i]+cellGap, max(wish[i], least[i])+cellGap+0.5
		leastSum, wishSum = leastSum+least[i], wishSum+wish[i]
	}
	c.widths, c.total = wish, min(wishSum, s.wide)
	if wishSum <= s.wide {
		return
	}
	share := 0.0
	if wishSum > leastSum {
		share = max(0, s.wide-leastSum) / (wishSum - leastSum)
	}
	scale := min(1, s.wide/leastSum)
	for i := range c.widths {
		c.widths[i] = (least[i] + (wish[i]-least[i])*share) * scale
	}
}

// longestWord is how wide the widest word of a text is.
func (s *sheet) longestWord(text string) float64 {
	wide := 0.0
	for _, w := range strings.Fields(text) {
		wide = max(wide, s.GetStringWidth(w))
	}
	return wide
}

func (s *sheet) head(c *columns) {
	s.SetFont("sans", "B", s.points())
	s.ink(softColour)
	s.SetDrawColor(200, 206, 214)
	s.cells(c, c.names, true)
}

// cells writes one line of cells.
func (s *sheet) cells(c *columns, texts []string, ruled bool) {
	wrapped, most := make([][]string, len(texts)), 1
	for i, text := range texts {
		wrapped[i] = s.SplitText(text, c.widths[i]-cellGap+0.6)
		most = max(most, len(wrapped[i]))
	}
	x, y := pageMargin, s.GetY()
	for i, lines := range wrapped {
		align := "L"
		if c.numeric[i] {
			align = "R"
		}
		for j, text := range lines {
			s.SetXY(x, y+0.6+float64(j)*s.leading())
			s.CellFormat(c.widths[i]-cellGap+1, s.leading(), text, "", 0, align, false, 0, "")
		}
		x += c.widths[i]
	}
	bottom := y + float64(most)*s.leading() + 1.2
	if ruled {
		s.Line(pageMargin, bottom, pageMargin+c.total, bottom)
	}
	s.SetXY(pageMargin, bottom)
}

// row writes one row, and under it what is wrong with it or to be known of it.
func (s *sheet) row(c *columns, line []string, r control.Row) {
	s.SetFont("sans", "", s.points())
	most := 1
	for i, text := range line {
		most = max(most, len(s.SplitText(text, c.widths[i]-cellGap+0.6)))
	}
	why := prose(r.Why)
	indent := pageMargin + c.widths[0]
	whyWide := max(c.total, 120) - c.widths[0]
	s.SetFont("sans", "B", s.points())
	whyLines := 0
	if why != "" {
		whyLines = len(s.SplitText(s.clean(why), whyWide-2))
	}
	need := float64(most+whyLines)*s.leading() + 1.2
	if s.GetY()+need > s.high-footRoom-1 && need < s.high-pageTop-footRoom-20 {
		s.AddPage()
		s.head(c)
	}
	if r.State == control.Violating {
		s.SetFillColor(253, 235, 224)
		s.Rect(pageMargin, s.GetY(), c.total, need, "F")
	}
	s.SetFont("sans", "", s.points())
	s.SetDrawColor(225, 229, 234)
	s.ink(inkColour)
	if r.State == control.Violating {
		s.ink(stateColour(r.State))
	}
	s.cells(c, line, why == "")
	if why == "" {
		return
	}
	s.SetX(indent)
	s.SetFont("sans", "B", s.points())
	s.ink(stateColour(r.State))
	s.MultiCell(whyWide, s.leading(), s.clean(why), "", "L", false)
	s.Line(pageMargin, s.GetY(), pageMargin+c.total, s.GetY())
	s.SetX(pageMargin)
}
