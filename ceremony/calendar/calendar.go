// Package calendar writes one event as an iCalendar object (RFC 5545), for any calendar program. Text from outside
// is escaped, so that it can add no line, property or component of its own.
package calendar

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Event is a meeting.
type Event struct {
	UID         string    // globally unique and the same for every change of it
	Sequence    int       // 0, and one more for every change
	Stamp       time.Time // when this was written
	Start, End  time.Time
	Summary     string
	Description string
	Location    string
	Cancelled   bool
}

// MIME is the media type of an object.
const MIME = "text/calendar; charset=utf-8"

// Encode writes the object. Times are in UTC, to the second.
func (e Event) Encode() []byte {
	var w writer
	status := "CONFIRMED"
	if e.Cancelled {
		status = "CANCELLED"
	}
	w.line("BEGIN", "VCALENDAR")
	w.line("VERSION", "2.0")
	w.line("PRODID", "-//Conclave//Ceremonies//EN")
	w.line("CALSCALE", "GREGORIAN")
	w.line("METHOD", "PUBLISH")
	w.line("BEGIN", "VEVENT")
	w.line("UID", Text(e.UID))
	w.line("SEQUENCE", fmt.Sprint(e.Sequence))
	w.line("DTSTAMP", utc(e.Stamp))
	w.line("DTSTART", utc(e.Start))
	w.line("DTEND", utc(e.End))
	w.line("SUMMARY", Text(e.Summary))
	w.text("LOCATION", e.Location)
	w.text("DESCRIPTION", e.Description)
	w.line("STATUS", status)
	w.line("TRANSP", "OPAQUE")
	w.line("END", "VEVENT")
	w.line("END", "VCALENDAR")
	return []byte(w.String())
}

// utc is form 2 of DATE-TIME (RFC 5545, section 3.3.5).
func utc(t time.Time) string { return t.UTC().Format("20060102T150405Z") }

// Text escapes a TEXT value (RFC 5545, section 3.3.11). Line breaks become "\n"; other control characters, which the
// format has no spelling for, and bytes that are no UTF-8 become spaces.
func Text(s string) string {
	var b strings.Builder
	s = strings.ReplaceAll(s, "\r\n", "\n")
	for _, r := range s {
		switch {
		case r == '\\' || r == ';' || r == ',':
			b.WriteRune('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r < ' ' || r == 0x7f || 0x80 <= r && r <= 0x9f || r == 0x2028 || r == 0x2029 || r == utf8.RuneError:
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// foldAt is the longest line in octets, without its end (RFC 5545, section 3.1).
const foldAt = 75

type writer struct{ strings.Builder }

// text writes a property, and nothing for an empty value.
func (w *writer) text(name, value string) {
	if value != "" {
		w.line(name, Text(value))
	}
}

// line writes one content line, folded between characters.
func (w *writer) line(name, value string) {
	room := foldAt
	for _, r := range name + ":" + value {
		n := utf8.RuneLen(r)
		if n > room {
			w.WriteString("\r\n ")
			room = foldAt - 1
		}
		w.WriteRune(r)
		room -= n
	}
	w.WriteString("\r\n")
}
