package render

import (
	"fmt"
	"slices"
	"strings"

	"conclave/reports/control"
)

// table draws a table: cells are wrapped, the head is repeated on each page, what matters comes first.
func (s *sheet) table(t *control.Table) {
	s.gap(3)
	if s.GetY() > s.high-footRoom-25 {
		s.AddPage()
	}
	s.para("B", textSize, inkColour, fmt.Sprintf("%s (%d)", t.Title, t.Total))
	// Where nothing was judged, what was found of each row is not worth a column.
	judged := slices.ContainsFunc(t.Rows, func(r control.Row) bool { return r.State != control.Info })
	var names []string
	var numeric []bool
	if judged {
		names, numeric = append(names, "found"), append(numeric, false)
	}
	for _, c := range t.Columns {
		names, numeric = append(names, c.Name), append(numeric, c.Type == control.Integer)
	}
	names, numeric = append(names, "ledger"), append(numeric, false)
	shown := t.Rows[:min(len(t.Rows), pdfRows)]
	lines := make([][]string, len(shown))
	for i, r := range shown {
		var line []string
		if judged {
			line = append(line, string(r.State))
		}
		for j, text := range r.Cells {
			line = append(line, s.clean(cell(t.Columns[j], text)))
		}
		lines[i] = append(line, s.clean(sequences(r.Ledger)))
	}
	widths := s.widths(names, lines)
	s.head(names, widths, numeric)
	for i, line := range lines {
		s.row(line, widths, numeric, shown[i], func() { s.head(names, widths, numeric) })
	}
	if more := t.Total - len(shown); more > 0 {
		s.para("", 8, softColour, fmt.Sprintf("%d more rows were looked at and counted. The spreadsheet and the JSON report list up to five hundred of each kind.", more))
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

// widths shares the page's width among columns by what stands in them.
func (s *sheet) widths(names []string, lines [][]string) []float64 {
	const least, most = 11.0, 62.0
	s.SetFont("sans", "", tableSize)
	out, total := make([]float64, len(names)), 0.0
	for i, name := range names {
		wide := s.GetStringWidth(longestWord(name)) + 3
		for _, line := range lines {
			wide = max(wide, min(s.GetStringWidth(line[i])+3, most))
		}
		out[i] = max(least, min(wide, most))
		total += out[i]
	}
	for i := range out {
		out[i] *= s.wide / total
	}
	return out
}

func longestWord(text string) string {
	longest := ""
	for _, w := range strings.Fields(text) {
		if len(w) > len(longest) {
			longest = w
		}
	}
	return longest
}

func (s *sheet) head(names []string, widths []float64, numeric []bool) {
	s.SetFont("sans", "B", tableSize)
	s.ink(softColour)
	s.SetDrawColor(200, 206, 214)
	s.cells(names, widths, numeric, "B")
}

// cells writes one line of cells and returns how high it was.
func (s *sheet) cells(texts []string, widths []float64, numeric []bool, border string) {
	const lineHigh = 3.3
	wrapped, most := make([][]string, len(texts)), 1
	for i, text := range texts {
		wrapped[i] = s.SplitText(text, widths[i]-1.5)
		most = max(most, len(wrapped[i]))
	}
	x, y := pageMargin, s.GetY()
	for i, lines := range wrapped {
		align := "L"
		if numeric[i] {
			align = "R"
		}
		for j, text := range lines {
			s.SetXY(x, y+0.6+float64(j)*lineHigh)
			s.CellFormat(widths[i]-1, lineHigh, text, "", 0, align, false, 0, "")
		}
		x += widths[i]
	}
	bottom := y + float64(most)*lineHigh + 1.2
	if border != "" {
		s.Line(pageMargin, bottom, pageMargin+s.wide, bottom)
	}
	s.SetXY(pageMargin, bottom)
}

func (s *sheet) row(line []string, widths []float64, numeric []bool, r control.Row, again func()) {
	s.SetFont("sans", "", tableSize)
	most := 1
	for i, text := range line {
		most = max(most, len(s.SplitText(text, widths[i]-1.5)))
	}
	need := float64(most)*3.3 + 1.2
	if r.Why != "" {
		need += 4
	}
	if s.GetY()+need > s.high-footRoom-1 && need < s.high-2*pageMargin-footRoom {
		s.AddPage()
		again()
		s.SetFont("sans", "", tableSize)
	}
	s.SetDrawColor(225, 229, 234)
	s.ink(stateColour(r.State))
	if r.State != control.Violating {
		s.ink(inkColour)
	}
	border := "B"
	if r.Why != "" {
		border = ""
	}
	s.cells(line, widths, numeric, border)
	if r.Why == "" {
		return
	}
	s.SetX(pageMargin + widths[0])
	s.SetFont("sans", "B", tableSize)
	s.ink(stateColour(r.State))
	s.MultiCell(s.wide-widths[0], 3.4, s.clean(r.Why), "", "L", false)
	s.Line(pageMargin, s.GetY(), pageMargin+s.wide, s.GetY())
}
