package paper

import (
	"fmt"
	"io"
	"strings"
)

// Place is where a form is, by the custody register. What is empty is left to be written by hand.
type Place struct {
	Site      string
	Container string
	Serial    string
	Backup    string // id of who is the holder's named backup
}

// Row is one line of the custody log.
type Row struct{ At, Action, Who, Witness, Purpose, Before, After, Seal string }

// maxRows is how many lines of the log an envelope shows; the rest of the page is for what is to come.
const maxRows = 9

// Envelope draws what is put on the bag, or printed on it. It holds no secret: what is here says to whom the bag
// belongs and what to do with it.
func Envelope(w io.Writer, size string, s Share, at Place, log []Row) error {
	return draw(func() error {
		p, err := newPage(size, "Share envelope", s.PrintedAt)
		if err != nil {
			return err
		}
		y := p.head("CONCLAVE  ·  ENVELOPE OF A SHARE", "nothing secret is printed here", false, s.Development)
		y = p.naming(y, s)
		y = p.place(y, at)
		p.log(p.warning(y, s, at), log)
		return p.write(w)
	})
}

func (p *page) place(y float64, at Place) float64 {
	quarter := p.wide / 4
	for i, f := range []struct{ name, value string }{{"Bag serial", at.Serial}, {"Site", at.Site}, {"Container", at.Container}, {"Named backup", at.Backup}} {
		x := margin + float64(i)*quarter
		if f.value == "" || Unprintable(f.value) {
			p.blank(x, y, quarter-4, f.name)
			continue
		}
		p.at(x, y, sans, "", 7, faint, strings.ToUpper(f.name))
		p.fit(x, y+4, quarter-4, mono, "B", 13, f.value)
		p.rule(x, y+11.5, quarter-4)
	}
	return y + 18
}

func (p *page) warning(y float64, s Share, at Place) float64 {
	p.SetFillColor(235, 235, 235)
	p.Rect(margin, y, p.wide, 34, "F")
	opens := s.Holder
	if at.Backup != "" {
		opens += " or " + at.Backup
	}
	p.paragraphs(margin+3, y+3, p.wide-6, 9, []string{
		fmt.Sprintf("Only %s opens this bag, with a witness, for a ceremony under way. Nobody carries two bags of set %s.", opens, s.Set),
		"Bag damaged, open, or another serial than the register's (conclave custody list): do not use what is in it. Record it at once: conclave custody check, with the serial and the seal as found.",
		"Found outside its container: hand it unopened to a security officer.",
		"Each time somebody touches it, two people sign below and in the register (conclave custody).",
	})
	return y + 38
}

// log is the table that people fill in; what the register knows already is printed.
func (p *page) log(y float64, rows []Row) {
	columns := []struct {
		name  string
		share float64
		of    func(Row) string
	}{
		{"When (UTC)", 13, func(r Row) string { return r.At }}, {"What", 10, func(r Row) string { return r.Action }},
		{"Who, signature", 17, func(r Row) string { return r.Who }}, {"Witness, signature", 17, func(r Row) string { return r.Witness }},
		{"Purpose, ceremony", 19, func(r Row) string { return r.Purpose }}, {"Bag before", 9, func(r Row) string { return r.Before }},
		{"Bag after", 9, func(r Row) string { return r.After }}, {"Seal", 6, func(r Row) string { return r.Seal }},
	}
	const head, row = 6.0, 9.5
	p.at(margin, y, sans, "B", 11, ink, "Custody log")
	y += 7
	rows = rows[max(0, len(rows)-maxRows):]
	count := int((p.high - margin - y - head) / row)
	p.SetDrawColor(faint, faint, faint)
	x := margin
	for _, c := range columns {
		wide := p.wide * c.share / 100
		p.SetFillColor(235, 235, 235)
		p.Rect(x, y, wide, head, "FD")
		p.at(x+0.5, y+1.6, sans, "", 6.5, ink, c.name)
		for i := range count {
			top := y + head + float64(i)*row
			p.Rect(x, top, wide, row, "D")
			if i < len(rows) {
				if text := c.of(rows[i]); text != "" && !Unprintable(text) {
					p.fit(x+0.5, top+3, wide-3, sans, "", 7, text)
				}
			}
		}
		x += wide
	}
}
