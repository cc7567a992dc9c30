package calendar_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conclave/ceremony/calendar"
)

func event() calendar.Event {
	start := time.Date(2026, 11, 24, 10, 30, 0, 0, time.FixedZone("", 2*3600))
	return calendar.Event{UID: "c-1@0011", Sequence: 2, Stamp: start.Add(-time.Hour), Start: start, End: start.Add(time.Hour),
		Summary: "Destroy key orders", Location: "Room 4, north", Description: "Bring your share.\nCome early; sign in."}
}

func TestEncode(t *testing.T) {
	require.Equal(t, strings.Join([]string{
		"BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Conclave//Ceremonies//EN", "CALSCALE:GREGORIAN", "METHOD:PUBLISH",
		"BEGIN:VEVENT", "UID:c-1@0011", "SEQUENCE:2", "DTSTAMP:20261124T073000Z", "DTSTART:20261124T083000Z", "DTEND:20261124T093000Z",
		"SUMMARY:Destroy key orders", `LOCATION:Room 4\, north`, `DESCRIPTION:Bring your share.\nCome early\; sign in.`,
		"STATUS:CONFIRMED", "TRANSP:OPAQUE", "END:VEVENT", "END:VCALENDAR", ""}, "\r\n"), string(event().Encode()))
	cancelled := event()
	cancelled.Cancelled, cancelled.Location = true, ""
	require.Contains(t, string(cancelled.Encode()), "\r\nSTATUS:CANCELLED\r\n")
	require.NotContains(t, string(cancelled.Encode()), "LOCATION")
}

// unfold reads content lines back (RFC 5545, section 3.1).
func unfold(t require.TestingT, object []byte) []string {
	require.True(t, utf8.Valid(object))
	for _, line := range strings.Split(strings.TrimSuffix(string(object), "\r\n"), "\r\n") {
		require.LessOrEqual(t, len(line), 75, line)
		require.NotContains(t, line, "\r")
		require.NotContains(t, line, "\n")
	}
	return strings.Split(strings.TrimSuffix(strings.ReplaceAll(string(object), "\r\n ", ""), "\r\n"), "\r\n")
}

func unescape(s string) string {
	return strings.NewReplacer(`\\`, `\`, `\;`, ";", `\,`, ",", `\n`, "\n").Replace(s)
}

// TestNothingIsInjected: whatever text comes in, the lines stay the same in number and name, and the text is read back.
func TestNothingIsInjected(t *testing.T) {
	names := func(lines []string) (out []string) {
		for _, l := range lines {
			name, _, _ := strings.Cut(l, ":")
			out = append(out, name)
		}
		return out
	}
	want := names(unfold(t, event().Encode()))
	rapid.Check(t, func(t *rapid.T) {
		e := event()
		hostile := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"x\r\nATTACH:http://evil", "x\nEND:VEVENT\r\n", "é\u2028BEGIN:VALARM\u0085x",
			strings.Repeat("ü", 200), "\xff\xfe", "a\\nb\\;"}))
		e.Summary, e.Description, e.Location, e.UID = hostile.Draw(t, "summary"), "d"+hostile.Draw(t, "description"), "l"+hostile.Draw(t, "location"), hostile.Draw(t, "uid")
		lines := unfold(t, e.Encode())
		require.Equal(t, want, names(lines))
		if strings.IndexFunc(e.Location, func(r rune) bool { return r < ' ' || r >= 0x7f }) < 0 {
			require.Equal(t, e.Location, unescape(strings.TrimPrefix(lines[12], "LOCATION:")))
		}
	})
}
