package httpapi

import (
	"encoding/base64"

	"conclave/app/api"
	"conclave/hsm/secret"
)

// Bodies of the data plane come in one simple form, as clients write them: known members once each,
// strings of printable ASCII without escapes, small whole numbers. A scanner reads that form several times
// faster than the general parser. It never refuses anything: whatever is not simple, be it right or wrong,
// is left to the general parser, which alone decides and words what is wrong. A fuzz target holds the two
// together: what the scanner reads, the parser reads alike.

func (x *exchange) readDataKey(in *api.DataKeyRequest) error {
	if scanDataKey(x.body, in) {
		return nil
	}
	*in = api.DataKeyRequest{}
	return x.decode(in)
}

func (x *exchange) readEncrypt(in *api.EncryptRequest) error {
	if scanEncrypt(x.body, in) {
		return nil
	}
	secret.Wipe(in.Plaintext)
	*in = api.EncryptRequest{}
	return x.decode(in)
}

func (x *exchange) readDecrypt(in *api.DecryptRequest) error {
	if scanDecrypt(x.body, in) {
		return nil
	}
	*in = api.DecryptRequest{}
	return x.decode(in)
}

// once marks a member as seen; false when it was seen before.
func once(seen *uint8, bit uint8) bool {
	fresh := *seen&bit == 0
	*seen |= bit
	return fresh
}

func scanDataKey(b []byte, in *api.DataKeyRequest) bool {
	s, seen := scanner{b: b}, uint8(0)
	for more := s.open(); more; more = s.next() {
		ok := false
		switch string(s.name) {
		case "bytes":
			ok = once(&seen, 1) && s.number(&in.Bytes)
		case "context":
			ok = once(&seen, 2) && s.pairs(&in.Context)
		case "plaintext":
			ok = once(&seen, 4) && s.flag(&in.Plaintext)
		case "reason":
			ok = once(&seen, 8) && s.text(&in.Reason)
		}
		if !ok {
			return false
		}
	}
	return s.ended()
}

func scanEncrypt(b []byte, in *api.EncryptRequest) bool {
	s, seen := scanner{b: b}, uint8(0)
	for more := s.open(); more; more = s.next() {
		ok := false
		switch string(s.name) {
		case "plaintext":
			ok = once(&seen, 1) && s.bytes(&in.Plaintext)
		case "context":
			ok = once(&seen, 2) && s.pairs(&in.Context)
		case "reason":
			ok = once(&seen, 4) && s.text(&in.Reason)
		}
		if !ok {
			return false
		}
	}
	return s.ended()
}

func scanDecrypt(b []byte, in *api.DecryptRequest) bool {
	s, seen := scanner{b: b}, uint8(0)
	for more := s.open(); more; more = s.next() {
		ok := false
		switch string(s.name) {
		case "ciphertext":
			ok = once(&seen, 1) && s.bytes(&in.Ciphertext)
		case "context":
			ok = once(&seen, 2) && s.pairs(&in.Context)
		case "accept_risk":
			ok = once(&seen, 4) && s.flag(&in.AcceptRisk)
		case "reason":
			ok = once(&seen, 8) && s.text(&in.Reason)
		}
		if !ok {
			return false
		}
	}
	return s.ended()
}

// scanner walks one flat JSON object of the simple form. Any method that returns false ends the walk.
type scanner struct {
	b    []byte
	at   int
	name []byte // of the member whose value comes next
	done bool   // the object was closed
}

func (s *scanner) space() {
	for s.at < len(s.b) {
		switch s.b[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// take skips space and then this one byte.
func (s *scanner) take(c byte) bool {
	s.space()
	if s.at < len(s.b) && s.b[s.at] == c {
		s.at++
		return true
	}
	return false
}

// open enters the object, and says whether it has a first member, now named.
func (s *scanner) open() bool {
	if !s.take('{') {
		return false
	}
	if s.take('}') {
		s.done = true
		return false
	}
	return s.member()
}

// next goes to the next member; false at the end of the object, or of what is simple.
func (s *scanner) next() bool {
	if s.take('}') {
		s.done = true
		return false
	}
	return s.take(',') && s.member()
}

func (s *scanner) member() bool { return s.plain(&s.name) && s.take(':') }

// ended says whether the object was closed and nothing follows it.
func (s *scanner) ended() bool {
	s.space()
	return s.done && s.at == len(s.b)
}

// plain reads a string of printable ASCII without escapes. It shares the body's memory.
func (s *scanner) plain(into *[]byte) bool {
	if !s.take('"') {
		return false
	}
	start := s.at
	for ; s.at < len(s.b); s.at++ {
		switch c := s.b[s.at]; {
		case c == '"':
			*into = s.b[start:s.at]
			s.at++
			return true
		case c == '\\' || c < ' ' || c > '~':
			return false
		}
	}
	return false
}

// text is plain with memory of its own.
func (s *scanner) text(into *string) bool {
	var b []byte
	if !s.plain(&b) {
		return false
	}
	*into = string(b)
	return true
}

// number reads a whole number of at most nine digits, without sign, fraction or exponent.
func (s *scanner) number(into *int) bool {
	s.space()
	const most = 9
	start, n := s.at, 0
	for s.at < len(s.b) && s.b[s.at] >= '0' && s.b[s.at] <= '9' && s.at-start <= most {
		n = n*10 + int(s.b[s.at]-'0')
		s.at++
	}
	digits := s.at - start
	if digits == 0 || digits > most || (digits > 1 && s.b[start] == '0') {
		return false
	}
	*into = n
	return true // whatever continues the number is neither comma nor brace: next refuses it
}

func (s *scanner) flag(into *bool) bool {
	s.space()
	rest := s.b[s.at:]
	switch {
	case len(rest) >= 4 && string(rest[:4]) == "true":
		*into, s.at = true, s.at+4
	case len(rest) >= 5 && string(rest[:5]) == "false":
		*into, s.at = false, s.at+5
	default:
		return false
	}
	return true
}

func (s *scanner) bytes(into *[]byte) bool {
	var text []byte
	if !s.plain(&text) {
		return false
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(out, text)
	*into = out[:n]
	return err == nil
}

// pairs reads an object of strings.
func (s *scanner) pairs(into *map[string]string) bool {
	if !s.take('{') {
		return false
	}
	m := make(map[string]string)
	*into = m
	if s.take('}') {
		return true
	}
	for {
		var name, value []byte
		if !s.plain(&name) || !s.take(':') || !s.plain(&value) {
			return false
		}
		if _, twice := m[string(name)]; twice {
			return false
		}
		m[string(name)] = string(value)
		if s.take('}') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}
