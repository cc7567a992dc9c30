package render

import (
	"strings"
)

// section draws one control, beginning on a page of its own, or one part of something else: those follow one another, where
// there is room for the beginning.
func (s *sheet) section(x *section) {
	s.running = ""
	s.begin(x.id != "", 50)
	first := s.PageNo()
	s.close = s.known.close[x.anchor()]
	s.anchor(x.anchor(), strings.TrimSpace(x.id+" "+x.title))
	s.running = strings.TrimSpace(x.id + " " + x.title)
	if x.id != "" {
		s.SetFont("mono", "", 11)
		s.ink(softColour)
		s.CellFormat(s.wide, 5.5, s.clean(x.id), "", 1, "L", false, 0, "")
	}
	s.para("B", 15, inkColour, x.title)
	if x.verdict != "" {
		s.gap(1.5)
		s.verdict(x)
	}
	s.gap(1.5)
	s.para("", textSize, inkColour, x.demands)
	s.why(x)
	s.question(x)
	for i := range x.tables {
		s.table(&x.tables[i])
	}
	if x.empty != "" && len(x.tables) == 0 {
		s.para("", textSize, softColour, x.empty)
	}
	s.notes(x)
	// Little on the last page of several: set closer, it may need one page less.
	if x.id != "" && (s.close || s.PageNo() > first && s.GetY() < pageTop+closeRoom) {
		s.here.close[x.anchor()] = true
	}
	s.close = false
	s.running = ""
}

// closeRoom is how much of its last page a control takes at most where it is worth setting it closer, mm.
const closeRoom = 60.0

// begin makes room for what comes next: a page of its own, or below what is there where this much of the page is left.
func (s *sheet) begin(apart bool, mm float64) {
	if apart || s.apart || s.GetY()+8+mm > s.high-footRoom {
		s.AddPage()
	} else {
		s.gap(8)
	}
	s.apart = apart
}

// verdict is the program's verdict as a badge, and beside it the conclusion in the words of the framework's assessors.
func (s *sheet) verdict(x *section) {
	s.SetFont("sans", "B", 10)
	text := string(x.verdict)
	w := s.GetStringWidth(text) + 7
	y := s.GetY()
	s.fill(colourOf(x.verdict))
	s.RoundedRect(pageMargin, y, w, 6.4, 1.6, "1234", "F")
	s.SetTextColor(255, 255, 255)
	s.SetXY(pageMargin, y)
	s.CellFormat(w, 6.4, text, "", 0, "C", false, 0, "")
	s.ink(inkColour)
	s.SetFont("sans", "", 10)
	s.CellFormat(s.wide-w, 6.4, s.clean("   assessor's word: "+concluded(*x)), "", 1, "L", false, 0, "")
}

// why is the reason for the verdict.
func (s *sheet) why(x *section) {
	if x.summary == "" {
		return
	}
	s.gap(1.5)
	y := s.GetY()
	s.SetLeftMargin(pageMargin + 4)
	s.SetX(pageMargin + 4)
	s.SetFont("sans", "B", textSize)
	s.ink(inkColour)
	s.MultiCell(s.wide-4, 4.8, s.clean(x.summary), "", "L", false)
	s.SetLeftMargin(pageMargin)
	if s.GetY() > y {
		s.fill(colourOf(x.verdict))
		s.Rect(pageMargin, y, 1.2, s.GetY()-y, "F")
	}
	s.SetX(pageMargin)
}

// question is what a person is asked, how to answer on record, and room to answer on paper.
func (s *sheet) question(x *section) {
	if x.question == "" {
		return
	}
	s.gap(2.5)
	s.keep(30)
	s.SetCellMargin(1.5)
	defer s.SetCellMargin(0)
	s.SetFillColor(229, 239, 250)
	s.SetFont("sans", "B", textSize)
	s.SetTextColor(11, 85, 159)
	s.CellFormat(s.wide, 5.4, "A person has to answer", "", 1, "L", true, 0, "")
	s.SetFont("sans", "", textSize)
	s.ink(inkColour)
	s.MultiCell(s.wide, 4.8, s.clean(x.question), "", "L", true)
	s.SetFont("sans", "", 7.5)
	s.ink(softColour)
	if x.answer != "" {
		s.MultiCell(s.wide, 4.4, s.clean("On record: "+x.answer+"   ("+outcomes+")"), "", "L", true)
	}
	high := 9.0
	if s.close {
		high = 7
	}
	s.CellFormat(s.wide, high, "Answer and where it is filed:", "", 1, "L", true, 0, "")
	s.CellFormat(s.wide*0.6, 5, "Name:", "", 0, "L", true, 0, "")
	s.CellFormat(s.wide*0.4, 5, "Date and signature:", "", 1, "L", true, 0, "")
}

// notes say by which rule it was judged, and how the rule is known. Where only their end would come to stand on a page of
// its own they are set closer.
func (s *sheet) notes(x *section) {
	settings := [][2]float64{{8, 3.9}, {7, 3.3}}
	if s.close {
		s.gap(1.5)
		settings = [][2]float64{{7, 3.1}, {6.4, 2.8}}
	} else {
		s.gap(4)
	}
	size, high := settings[0][0], settings[0][1]
	room := s.high - footRoom - s.GetY()
	if s.notesHigh(x, size, high) > room && s.notesHigh(x, settings[1][0], settings[1][1]) <= room {
		size, high = settings[1][0], settings[1][1]
	}
	for _, n := range x.notes {
		lines := s.noteLines(n, size)
		if lines == 0 {
			continue
		}
		s.keep(float64(lines) * high)
		s.SetFont("sans", "B", size)
		s.ink(softColour)
		s.CellFormat(noteLabel, high, s.clean(n[0]), "", 0, "L", false, 0, "")
		s.SetFont("sans", "", size)
		s.MultiCell(s.wide-noteLabel, high, s.clean(n[1]), "", "L", false)
		s.gap(noteGap)
	}
}

// Measures of notes, mm.
const (
	noteLabel = 34.0
	noteGap   = 0.6
)

// noteLines is how many lines a note takes; 0 where it says nothing.
func (s *sheet) noteLines(n [2]string, size float64) int {
	if n[1] == "" || n[1] == "." {
		return 0
	}
	s.SetFont("sans", "", size)
	return len(s.SplitText(s.clean(n[1]), s.wide-noteLabel-2))
}

// notesHigh is how much of a page the notes take.
func (s *sheet) notesHigh(x *section, size, high float64) float64 {
	sum := 0.0
	for _, n := range x.notes {
		if lines := s.noteLines(n, size); lines > 0 {
			sum += float64(lines)*high + noteGap
		}
	}
	return sum
}

// reading says what the words of the report mean.
func (s *sheet) reading() {
	if len(s.doc.counts) == 0 {
		return
	}
	s.begin(false, 90)
	s.anchor("reading", "How to read this report")
	s.running = "How to read this report"
	s.para("B", 15, inkColour, "How to read this report")
	s.gap(2)
	s.pairs(howToRead())
	s.running = ""
}

func (s *sheet) words() {
	if len(s.doc.glossary) == 0 {
		return
	}
	s.begin(false, 50)
	s.anchor("words", "Words")
	s.running = "Words"
	s.para("B", 15, inkColour, "Words")
	s.gap(2)
	s.pairs(s.doc.glossary)
	s.running = ""
}

// pairs writes words and what they mean, beside each other.
func (s *sheet) pairs(all []term) {
	const label = 52.0
	for _, t := range all {
		s.SetFont("sans", "", textSize)
		lines := s.SplitText(s.clean(t.Meaning), s.wide-label-2)
		s.keep(float64(len(lines))*4.8 + 1)
		s.SetFont("sans", "B", textSize)
		s.ink(inkColour)
		s.CellFormat(label, 4.8, s.clean(t.Word), "", 0, "L", false, 0, "")
		s.SetFont("sans", "", textSize)
		s.MultiCell(s.wide-label, 4.8, s.clean(t.Meaning), "", "L", false)
		s.gap(1.2)
	}
}

// mono writes a command.
func (s *sheet) mono(points float64, text string) {
	s.SetFont("mono", "", points)
	s.fill(washColour)
	s.ink(inkColour)
	s.MultiCell(s.wide, points*0.55, s.clean(text), "", "L", true)
}
