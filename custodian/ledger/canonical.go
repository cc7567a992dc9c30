package ledger

import (
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"unicode/utf8"
)

// AppendCanonical appends the entry's canonical form to dst: JSON by RFC 8785, the bytes that are
// hashed into the tree, stored, exported and shown. docs/ledger-format.md lists the members. It is
// written by hand because every data-plane call pays for it: members stand in RFC 8785 order, and
// nothing but dst grows. The entry must have passed [Validate]; text that is not UTF-8 would come out
// with replacement characters, so that the output is JSON in every case.
func AppendCanonical(dst []byte, e *Entry) []byte {
	dst = append(dst, `{"actor":{`...)
	start := len(dst)
	dst = appendText(dst, start, `"cred":`, e.Actor.Credential)
	dst = appendText(dst, start, `"from":`, e.Actor.Origin)
	dst = appendText(dst, start, `"id":`, e.Actor.ID)
	dst = appendText(dst, start, `"kind":`, string(e.Actor.Kind))
	dst = appendText(dst, start, `"req":`, e.Actor.RequestID)
	dst = append(dst, `},"at":`...)
	dst = strconv.AppendInt(dst, e.At.UnixMicro(), 10)
	dst = appendText(dst, 0, `"ceremony":`, e.Ceremony)
	dst = appendText(dst, 0, `"ctx":`, e.Context)
	if len(e.Detail) > 0 {
		dst = append(dst, `,"detail":`...)
		dst = append(dst, e.Detail...)
	}
	dst = append(dst, `,"epoch":`...)
	dst = strconv.AppendUint(dst, e.Epoch, 10)
	if e.Link != nil {
		dst = append(dst, `,"link":{"n":`...)
		dst = strconv.AppendUint(dst, e.Link.Number, 10)
		dst = append(dst, `,"prev":`...)
		dst = strconv.AppendUint(dst, e.Link.Prev, 10)
		dst = append(dst, '}')
	}
	dst = appendText(dst, 0, `"node":`, e.Node)
	dst = append(dst, `,"outcome":`...)
	dst = appendString(dst, string(e.Outcome))
	dst = appendText(dst, 0, `"policy":`, e.Policy)
	dst = appendText(dst, 0, `"reason":`, e.Reason)
	dst = appendRows(dst, e.Rows)
	dst = append(dst, `,"salt":"`...)
	dst = base64.RawURLEncoding.AppendEncode(dst, e.Salt[:])
	dst = append(dst, `","seq":`...)
	dst = strconv.AppendUint(dst, e.Seq, 10)
	dst = appendTarget(dst, &e.Target)
	dst = append(dst, `,"type":`...)
	dst = appendString(dst, e.Type)
	return append(dst, '}')
}

func appendTarget(dst []byte, t *Target) []byte {
	if *t == (Target{}) {
		return dst
	}
	dst = append(dst, `,"target":{`...)
	start := len(dst)
	dst = appendText(dst, start, `"id":`, t.ID)
	dst = appendText(dst, start, `"type":`, t.Type)
	if t.Version != 0 {
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(dst, `"v":`...)
		dst = strconv.AppendUint(dst, uint64(t.Version), 10)
	}
	return append(dst, '}')
}

func appendRows(dst []byte, rows []RowChange) []byte {
	if len(rows) == 0 {
		return dst
	}
	dst = append(dst, `,"rows":[`...)
	for i := range rows {
		r := &rows[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '{')
		start := len(dst)
		if r.Hash != ([32]byte{}) {
			dst = append(dst, `"hash":"`...)
			dst = hex.AppendEncode(dst, r.Hash[:])
			dst = append(dst, '"')
		}
		dst = appendText(dst, start, `"id":`, r.ID)
		dst = appendText(dst, start, `"kind":`, r.Kind)
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(dst, `"rev":`...)
		dst = strconv.AppendUint(dst, r.Revision, 10)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// appendText appends one string member, or nothing when s is empty. start is the length of dst right
// after the object's opening brace: it tells whether a comma is due.
func appendText(dst []byte, start int, name, s string) []byte {
	if s == "" {
		return dst
	}
	if len(dst) > start {
		dst = append(dst, ',')
	}
	dst = append(dst, name...)
	return appendString(dst, s)
}

// appendString appends s as RFC 8785 section 3.2.2.2 wants strings: the two-character escapes where
// they exist, \u00xx in lower case for other control characters, everything else as it is.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, s[done:i]...)
				dst = append(dst, "\uFFFD"...)
				done = i + 1
			}
			i += n
			continue
		}
		dst = append(dst, s[done:i]...)
		dst = appendEscape(dst, c)
		i++
		done = i
	}
	dst = append(dst, s[done:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, c byte) []byte {
	const digits = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\t':
		return append(dst, '\\', 't')
	case '\n':
		return append(dst, '\\', 'n')
	case '\f':
		return append(dst, '\\', 'f')
	case '\r':
		return append(dst, '\\', 'r')
	default:
		return append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
	}
}
