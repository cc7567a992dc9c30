package paper

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/boombuler/barcode/qr"

	"conclave/ceremony/card"
	"conclave/hsm/secret"
)

// Share names a share for its card and its envelope. Nothing in it is secret.
type Share struct {
	Instance    string // name
	InstanceID  string
	Development bool
	Set         string
	Opens       string // "keystore main"
	Epoch       uint32
	Index       int
	Threshold   int
	Total       int
	Holder      string // id
	HolderName  string
	Fingerprint string // card.Fingerprint of the commitment
	Form        string // id of the physical form; "" where it has none yet
	PrintedAt   time.Time
}

// maxLines is how many lines of a share fit on a card in letters that can be read. A secret of 32 bytes takes 5 or 10.
const maxLines = 20

// Card draws the card of a share: what is to be typed, and the same as a QR code. protected says that a passphrase
// opens it. ErrSize: the share is too long. The library keeps what it draws in memory that cannot be wiped: whoever
// calls ends soon after.
func Card(w io.Writer, size string, s Share, protected bool, text *secret.Bytes) error {
	return text.Use(func(b []byte) error {
		lines := bytes.Split(b, []byte("\n"))
		if len(lines) > maxLines {
			return fmt.Errorf("%w: the share takes %d lines, a card has %d", ErrSize, len(lines), maxLines)
		}
		return draw(func() error { return drawCard(w, size, s, protected, lines) })
	})
}

func drawCard(w io.Writer, size string, s Share, protected bool, lines [][]byte) error {
	p, err := newPage(size, "Share card", s.PrintedAt)
	if err != nil {
		return err
	}
	y := p.head("CONCLAVE  ·  SHARE CARD", "SECRET", true, s.Development)
	y = p.naming(y, s)
	y = p.protection(y, protected)
	if y, err = p.share(y, p.high-y-under, lines); err != nil {
		return err
	}
	p.fold(y + 4)
	p.instructions(y+12, s, protected)
	p.bag()
	return p.write(w)
}

// naming says whose share of what it is.
func (p *page) naming(y float64, s Share) float64 {
	p.fit(margin, y, p.wide, sans, "B", 20, fmt.Sprintf("Share %d of set %s", s.Index, s.Set))
	y += 10
	p.fit(margin, y, p.wide, sans, "", 11, fmt.Sprintf("Epoch %d.  Any %d of %d shares open %s.", s.Epoch, s.Threshold, s.Total, s.Opens))
	y += 8
	half := p.wide / 2
	name := s.Instance
	if Unprintable(name) {
		name = s.InstanceID[:min(16, len(s.InstanceID))]
	}
	p.label(margin, y, half, "Holder", person(s.Holder, s.HolderName))
	p.label(margin+half, y, half, "Instance", name)
	y += 9.5
	p.label(margin, y, half, "Printed", s.PrintedAt.UTC().Format("2006-01-02 15:04 UTC"))
	p.label(margin+half, y, half, "Form in the custody register", dash(s.Form))
	y += 9.5
	p.at(margin, y, sans, "", 7, faint, "CHECK TAG: the register's commitment to this share")
	p.at(margin, y+3.4, mono, "B", 10, ink, s.Fingerprint)
	p.at(margin+half, y, sans, "", 7, faint, "INSTANCE ID")
	p.fit(margin+half, y+3.4, half-2, mono, "", 10, s.InstanceID[:min(32, len(s.InstanceID))])
	return y + 11
}

func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func (p *page) protection(y float64, protected bool) float64 {
	says := "No passphrase: whoever reads this card has the share. Only the bag protects it."
	if protected {
		says = "Opens with a passphrase of its own, which never lies with the card."
	}
	p.SetFillColor(235, 235, 235)
	p.Rect(margin, y, p.wide, 7, "F")
	p.fit(margin+3, y+1.6, p.wide-6, sans, "B", 9.5, says)
	return y + 10
}

// Measures of the share itself.
const (
	widestQR = 54.0
	numbers  = 8.0
	under    = 108.0 // what stands below it takes so much
)

// share draws the lines, and beside them the QR code, no higher than that.
func (p *page) share(y, most float64, lines [][]byte) (float64, error) {
	row := min(7.2, (most-4)/float64(len(lines)))
	points, side := row*1.8, min(widestQR, most-8)
	high := max(float64(len(lines))*row+4, side+8)
	p.SetDrawColor(ink, ink, ink)
	p.Rect(margin, y, p.wide, high, "D")
	for i, line := range lines {
		top := y + 2 + float64(i)*row
		p.at(margin+2, top+1.3, sans, "", 8, faint, fmt.Sprintf("%2d", i+1))
		p.line(margin+numbers, top, points, line)
	}
	return y + high, p.code(margin+p.wide-side-4, y+4, side, string(bytes.Join(lines, []byte{card.LineBreak})))
}

// code draws a QR code (ISO/IEC 18004) that can be read with a quarter of it lost, from rectangles, so that it is sharp
// in any size.
func (p *page) code(x, y, side float64, text string) error {
	code, err := qr.Encode(text, qr.Q, qr.AlphaNumeric)
	if err != nil {
		return fmt.Errorf("drawing QR code: %w", err)
	}
	cells := code.Bounds().Dx()
	dark := func(column, row int) bool {
		if column == cells {
			return false
		}
		grey, _, _, _ := code.At(column, row).RGBA()
		return grey == 0
	}
	cell := side / float64(cells)
	p.SetFillColor(0, 0, 0)
	for row := range cells {
		for from := 0; from < cells; from++ { // what is dark side by side is one rectangle: no seams
			to := from
			for dark(to, row) {
				to++
			}
			if to > from {
				p.Rect(x+float64(from)*cell, y+float64(row)*cell, float64(to-from)*cell, cell*1.02, "F")
				from = to
			}
		}
	}
	return nil
}

// line writes the groups of one line, and its two check characters apart from them.
func (p *page) line(x, y, points float64, line []byte) {
	symbols, checks := line[:len(line)-card.CheckSymbols], line[len(line)-card.CheckSymbols:]
	var groups []string
	for len(symbols) > 0 {
		n := min(card.GroupSymbols, len(symbols))
		groups = append(groups, string(symbols[:n]))
		symbols = symbols[n:]
	}
	text := strings.Join(groups, " ")
	p.at(x, y, mono, "B", points, 0, text)
	p.SetFont(mono, "B", points)
	p.at(x+p.GetStringWidth(text+"  "), y, mono, "", points, ink, string(checks))
}

func (p *page) fold(y float64) {
	p.SetDrawColor(faint, faint, faint)
	p.SetDashPattern([]float64{2, 2}, 0)
	p.Line(0, y, p.wide+2*margin, y)
	p.SetDashPattern(nil, 0)
	p.at(margin, y+1, sans, "", 7, faint, "Fold here, print inside, before it goes into the bag.")
}

func (p *page) instructions(y float64, s Share, protected bool) {
	list := []string{
		"Look whether it reads before it is put away: conclave share check-card. It compares with the register and sends nothing. The two grey characters that end a line check that line; a slip is named by its line. 0 and O, 1 and I and L count as one.",
		fmt.Sprintf("Put it, folded, into an opaque tamper-evident bag with a witness, write the bag's serial below, and record it: conclave custody register, then conclave custody seal. The envelope of the bag: conclave share envelope --set %s.", s.Set),
		"To use it: open the bag with a witness (conclave custody open), then conclave ceremony bring CEREMONY --card, or conclave share drill --card. Then into a new bag with a new serial.",
		"Never copy it, never photograph it, never keep two shares of one set. Lost, or seen by others: conclave share report-lost, at once.",
		"When the set goes over to a new epoch, destroy it with a witness: conclave share attest.",
	}
	if protected {
		list[3] += " The passphrase is kept in another place, by the same person, and is lost with it: without it the card opens nothing."
	}
	p.paragraphs(margin, y, p.wide, 8.5, list)
}

// bag is what is written by hand.
func (p *page) bag() {
	y := p.high - 46
	p.rule(margin, y-3, p.wide)
	third := p.wide / 3
	for i, name := range []string{"Bag serial", "Site", "Container", "Sealed at (UTC)", "Holder, signature", "Witness, signature"} {
		p.blank(margin+float64(i%3)*third, y+float64(i/3)*17, third-5, name)
	}
}
