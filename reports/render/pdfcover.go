package render

import (
	"fmt"

	"conclave/reports/control"
)

// cover says what the document is, what came out, and where it comes from.
func (s *sheet) cover() {
	d := s.doc
	s.AddPage()
	s.SetY(24)
	s.para("", 10, softColour, d.over)
	s.gap(1)
	s.para("B", 23, inkColour, d.title)
	s.gap(1)
	s.para("", 13, softColour, d.lede)
	s.gap(5)
	s.bars()
	y := s.GetY()
	s.factsAt(y)
	after := s.GetY()
	s.parts(y)
	s.SetY(max(after, s.GetY()) + 5)
	for _, text := range d.intro {
		s.para("", textSize, inkColour, text)
		s.gap(1.5)
	}
	if d.sign != "" {
		s.para("", textSize, inkColour, "To sign the review of this list:")
		s.mono(8.5, d.sign)
		s.gap(1.5)
	}
	s.para("", 8.5, softColour, "This document by itself proves nothing: anybody can write one. The evidence bundle of the same checkpoint carries every ledger entry that is cited here "+
		"(#number), with its proof, and a signature over all of it. Whoever has the trust file checks it without the service: conclave verify evidence.zip --trust trust.json")
}

// factsAt writes the facts: beside the chart of parts where there is one, else over the whole width.
func (s *sheet) factsAt(y float64) {
	const label = 34.0
	x := pageMargin
	if len(s.doc.groups) > 1 {
		x += s.wide * 0.5
	}
	s.SetY(y)
	for _, f := range s.doc.facts {
		if f[1] == "" {
			continue
		}
		s.SetX(x)
		s.SetFont("sans", "", 8.5)
		s.ink(softColour)
		s.CellFormat(label, 4.9, s.clean(f[0]), "", 0, "L", false, 0, "")
		s.ink(inkColour)
		if isDigest(f[1]) { // in a font in which it stands on one line
			s.SetFont("mono", "", 7)
		}
		s.MultiCell(pageMargin+s.wide-x-label, 4.9, s.clean(f[1]), "", "L", false)
	}
}

// bars draws how many controls have which verdict.
func (s *sheet) bars() {
	if len(s.doc.counts) == 0 {
		return
	}
	x, y, high := pageMargin, s.GetY(), 10.0
	for _, b := range s.doc.counts {
		if b.Count == 0 {
			continue
		}
		w := s.wide * float64(b.Width) / barWidth
		s.block(x, y, w, high, b, 10)
		x += w
	}
	s.SetXY(pageMargin, y+high+2.5)
	for _, b := range s.doc.counts {
		s.fill(colourOf(b.Verdict))
		s.Rect(s.GetX(), s.GetY()+1.2, 3, 3, "F")
		s.SetX(s.GetX() + 4)
		s.SetFont("sans", "B", textSize)
		s.ink(colourOf(b.Verdict))
		text := fmt.Sprintf("%d %s", b.Count, b.Verdict)
		s.CellFormat(s.GetStringWidth(text)+8, 5.6, text, "", 0, "L", false, 0, "")
	}
	s.SetXY(pageMargin, y+high+12)
}

// block is one verdict's part of a bar, with its number where there is room for it.
func (s *sheet) block(x, y, w, high float64, b bar, points float64) {
	s.fill(colourOf(b.Verdict))
	s.Rect(x, y, w, high, "F")
	s.SetFont("sans", "B", points)
	s.SetTextColor(255, 255, 255)
	s.SetXY(x, y)
	if text := fmt.Sprint(b.Count); s.GetStringWidth(text) < w {
		s.CellFormat(w, high, text, "", 0, "C", false, 0, "")
	}
}

// parts draws the verdicts of each part of the framework.
func (s *sheet) parts(y float64) {
	if len(s.doc.groups) < 2 {
		return
	}
	const name, high, every = 58.0, 4.6, 5.8
	room := s.wide*0.5 - name - 8
	s.SetXY(pageMargin, y)
	s.SetFont("sans", "B", 8.5)
	s.ink(inkColour)
	s.CellFormat(name+room, 4.9, "Controls by part of the framework", "", 0, "L", false, 0, "")
	y += 6.5
	for _, g := range s.doc.groups {
		s.SetXY(pageMargin, y)
		s.SetFont("sans", "", 8)
		s.ink(inkColour)
		s.CellFormat(name, high, s.fit(s.clean(g.Name), name-2), "", 0, "L", false, 0, "")
		for _, b := range g.Bars {
			if b.Count > 0 {
				s.block(pageMargin+name+room*float64(b.X-chartFrom)/chartWidth, y, room*float64(b.Width)/chartWidth, high, b, 7.5)
			}
		}
		y += every
	}
	s.SetXY(pageMargin, y)
}

// attention lists what is wrong, what was not shown, and what waits for a person's answer, each with its page.
func (s *sheet) attention() {
	if len(s.doc.counts) == 0 {
		return
	}
	s.AddPage()
	s.anchor("attention", "What to do")
	s.para("B", 15, inkColour, "What to do")
	s.running = "What to do"
	s.gap(1)
	for _, part := range toDo(s.doc.sections) {
		s.gap(2)
		s.keep(16)
		s.para("B", 11, colourOf(part.Verdict), fmt.Sprintf("%s (%d)", part.Title, len(part.Lines)))
		s.para("", 8.5, softColour, part.What)
		s.gap(1)
		for _, l := range part.Lines {
			s.listed(l.ID, l.Text)
		}
		if len(part.Lines) == 0 {
			s.para("", 8.5, inkColour, "None.")
		}
	}
	s.running = ""
}

// listed is one line that names a control, says something, and where to read on.
func (s *sheet) listed(id, text string) {
	const first, last = 40.0, 16.0
	s.SetFont("mono", "", 8)
	ids := s.SplitText(s.clean(id), first-1)
	s.SetFont("sans", "", 8.5)
	lines := s.SplitText(s.clean(text), s.wide-first-last-3)
	most := max(len(ids), len(lines), 1)
	s.keep(float64(most)*4.3 + 1.4)
	y := s.GetY()
	s.SetFont("mono", "", 8)
	s.ink(inkColour)
	for i, line := range ids {
		s.SetXY(pageMargin, y+float64(i)*4.3)
		s.CellFormat(first, 4.3, line, "", 0, "L", false, s.link(id), "")
	}
	s.SetFont("sans", "", 8.5)
	for i, line := range lines {
		s.SetXY(pageMargin+first, y+float64(i)*4.3)
		s.CellFormat(s.wide-first-last, 4.3, line, "", 0, "L", false, 0, "")
	}
	s.SetXY(pageMargin+s.wide-last, y)
	s.ink(softColour)
	s.CellFormat(last, 4.3, "page "+s.pageOf(id), "", 0, "R", false, s.link(id), "")
	bottom := y + float64(most)*4.3 + 0.7
	s.line(lineColour)
	s.Line(pageMargin, bottom, pageMargin+s.wide, bottom)
	s.SetXY(pageMargin, bottom+0.7)
}

// keep begins a new page where less than this is left of one.
func (s *sheet) keep(mm float64) {
	if s.GetY()+mm > s.high-footRoom {
		s.AddPage()
	}
}

// contented says whether a document is long enough to have contents.
func (s *sheet) contented() bool { return len(s.doc.sections) >= 4 }

// contents lists all controls with their verdict, conclusion and page, and what else there is.
func (s *sheet) contents() {
	if !s.contented() {
		return
	}
	judged := len(s.doc.counts) > 0
	s.AddPage()
	s.anchor("contents", "Contents")
	s.para("B", 15, inkColour, "Contents")
	s.running = "Contents"
	s.gap(2)
	entry := func(name, id, title, conclusion string, v control.Verdict) {
		const first, verdict, words, last, high = 63.0, 28.0, 60.0, 12.0, 4.9
		s.keep(high)
		s.line(lineColour)
		s.SetFont("mono", "", 8)
		s.ink(inkColour)
		room := s.wide - last
		if judged {
			s.CellFormat(first, high, s.fit(s.clean(id), first-1), "B", 0, "L", false, s.link(name), "")
			room -= first + verdict + words
		}
		s.SetFont("sans", "", 8.5)
		s.CellFormat(room, high, s.fit(s.clean(title), room-2), "B", 0, "L", false, s.link(name), "")
		if judged {
			s.SetFont("sans", "B", 8.5)
			s.ink(colourOf(v))
			s.CellFormat(verdict, high, string(v), "B", 0, "L", false, 0, "")
			s.SetFont("sans", "", 8.5)
			s.ink(softColour)
			s.CellFormat(words, high, s.fit(s.clean(conclusion), words-1), "B", 0, "L", false, 0, "")
		}
		s.SetFont("sans", "", 8.5)
		s.ink(inkColour)
		s.CellFormat(last, high, s.pageOf(name), "B", 1, "R", false, s.link(name), "")
	}
	if judged {
		entry("attention", "", "What to do", "", "")
		entry("reading", "", "How to read this report", "", "")
	}
	for i := range s.doc.sections {
		x := &s.doc.sections[i]
		entry(x.anchor(), x.id, x.title, concluded(*x), x.verdict)
	}
	if len(s.doc.glossary) > 0 {
		entry("words", "", "Words", "", "")
	}
	s.running = ""
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
