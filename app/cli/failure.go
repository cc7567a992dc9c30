package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"conclave/app/api"
	"conclave/app/client"
)

// Exit codes.
const (
	ExitFailed = 1 // what was asked for did not happen
	ExitUsage  = 2 // the command was not understood; nothing was sent
)

// usageError is a mistake on the command line or in the configuration.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// ExitCode is the process's exit code for what a command returned. Errors of commands added to the tree may
// bring their own.
func ExitCode(err error) int {
	var u *usageError
	var coded interface{ ExitCode() int }
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coded):
		return coded.ExitCode()
	case errors.As(err, &u) || fromParser(err):
		return ExitUsage
	}
	return ExitFailed
}

// fromParser says that the command line's parser, whose errors have no type, refused it.
func fromParser(err error) bool {
	for _, start := range []string{"unknown command", "required flag", "at least one of the flags", "if any flags in the group"} {
		if strings.HasPrefix(err.Error(), start) {
			return true
		}
	}
	return false
}

// Explain writes why a command failed, and what would help, for a person to read.
func Explain(w io.Writer, err error) {
	fmt.Fprintf(w, "conclave: %s\n", clean(err.Error()))
	var p *client.Problem
	if !errors.As(err, &p) {
		return
	}
	for _, r := range p.Reasons {
		writeReason(w, r)
	}
	if p.Decision != "" {
		fmt.Fprintf(w, "  recorded as decision %s; open it with: conclave why %s\n", clean(p.Decision), clean(p.Decision))
	}
	if p.Retryable {
		fmt.Fprintln(w, "  this may pass: try again later")
	}
	if p.Request != "" {
		fmt.Fprintf(w, "  request %s\n", clean(p.Request))
	}
}

func writeReason(w io.Writer, r api.Reason) {
	fmt.Fprintf(w, "  - %s (%s)\n", clean(r.Message), clean(r.Code))
	if r.Remedy != "" {
		fmt.Fprintf(w, "    remedy: %s\n", clean(r.Remedy))
	}
	if len(r.Controls) > 0 {
		fmt.Fprintf(w, "    demanded by: %s\n", clean(strings.Join(r.Controls, ", ")))
	}
}

// clean makes text from outside harmless on a terminal: no controls that move the cursor, no marks that
// make text read differently from what it says.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}
