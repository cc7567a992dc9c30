package card

// GF(32) with x^5 + x^2 + 1, of which 2 is a generator: its 31 powers are all elements but 0.
const (
	fieldPoly  = 0x25
	fieldOrder = 31
)

// times multiplies by the generator.
func times(a byte) byte {
	a <<= 1
	if a&0x20 != 0 {
		a ^= fieldPoly
	}
	return a
}

// power multiplies a by the generator n times; n may be negative.
func power(a byte, n int) byte {
	for range (n%fieldOrder + fieldOrder) % fieldOrder {
		a = times(a)
	}
	return a
}

// log is the n for which power(1, n) is a; a is not 0.
func log(a byte) int {
	n := 0
	for b := byte(1); b != a; b = times(b) {
		n++
	}
	return n
}

// The word of a line is: two symbols of its number, its symbols, its two checks; c_i the symbol in place i. It is good
// where the sum of all c_i is 0 and the sum of all g^i c_i is 0.

// sums are the two sums over a line's number and symbols.
func sums(line int, symbols []byte) (s0, s1 byte) {
	word := append(make([]byte, 0, 2+len(symbols)), byte(line>>5)&31, byte(line)&31)
	for _, c := range symbols {
		word = append(word, byte(symbol(c)))
	}
	for i, c := range word {
		s0 ^= c
		s1 ^= power(c, i)
		word[i] = 0
	}
	return s0, s1
}

// checks returns the two check symbols a, b of a line: a + b = s0, g^p a + g^(p+1) b = s1, where p is the place of a.
func checks(line int, symbols []byte) []byte {
	s0, s1 := sums(line, symbols)
	p := 2 + len(symbols)
	// (1 + g) a = g^-p s1 + g s0
	right := power(s1, -p) ^ times(s0)
	a := byte(0)
	if right != 0 {
		a = power(1, log(right)-log(1^2))
	}
	return []byte{alphabet[a], alphabet[a^s0]}
}

// verify reports whether a line with its checks is good, and else, where one symbol alone explains it, its place from
// 1; 0 for none.
func verify(line int, symbols []byte) (place int, ok bool) {
	s0, s1 := sums(line, symbols)
	switch {
	case s0 == 0 && s1 == 0:
		return 0, true
	case s0 == 0 || s1 == 0: // two or more are wrong
		return 0, false
	}
	at := (log(s1) - log(s0) + fieldOrder) % fieldOrder
	if at < 2 || at >= 2+len(symbols) {
		return 0, false
	}
	return at - 1, false
}

// symbol is the value of a character, -1 for none. Characters that people take for each other count as one
// (Crockford).
func symbol(c byte) int {
	c = canonical(c)
	for i := range len(alphabet) {
		if alphabet[i] == c {
			return i
		}
	}
	return -1
}

func canonical(c byte) byte {
	if c >= 'a' && c <= 'z' {
		c -= 'a' - 'A'
	}
	switch c {
	case 'O':
		return '0'
	case 'I', 'L':
		return '1'
	}
	return c
}
