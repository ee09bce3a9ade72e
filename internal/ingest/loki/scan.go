package loki

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// maxNesting bounds arrays and objects inside of each other.
const maxNesting = 64

// scanner reads JSON (RFC 8259) from the front to the end, once. It is our own because this is the data path: what
// encoding/json and its like build for a push of 5000 lines is 5000 strings, thrown away a moment later.
type scanner struct {
	in  []byte
	pos int
}

// fail returns an error about pos. It does not show what stands there, which may be a line.
func (s *scanner) fail(what string) error {
	return fmt.Errorf("JSON: %s at byte %d", what, s.pos)
}

// peek returns the byte at pos, 0 at the end. A 0 in the input is never expected, so it needs no telling apart.
func (s *scanner) peek() byte {
	if s.pos < len(s.in) {
		return s.in[s.pos]
	}
	return 0
}

func (s *scanner) space() {
	for s.pos < len(s.in) {
		switch s.in[s.pos] {
		case ' ', '\n', '\t', '\r':
			s.pos++
		default:
			return
		}
	}
}

// open reads the bracket c that begins what.
func (s *scanner) open(c byte, what string) error {
	s.space()
	if s.peek() != c {
		return s.fail(what + " expected")
	}
	s.pos++
	return nil
}

// each reads the array or object what, which begins with opening, and calls item at each of its elements or members.
func (s *scanner) each(opening byte, what string, item func() error) error {
	if err := s.open(opening, what); err != nil {
		return err
	}
	closing := opening + 2 // so it is in ASCII for both kinds of bracket
	for first := true; ; first = false {
		if more, err := s.more(first, closing); err != nil || !more {
			return err
		}
		if err := item(); err != nil {
			return err
		}
	}
}

// more goes to the next element of an array or object, or past its closing bracket.
func (s *scanner) more(first bool, closing byte) (bool, error) {
	s.space()
	switch c := s.peek(); {
	case c == closing:
		s.pos++
		return false, nil
	case first:
		return true, nil
	case c == ',':
		s.pos++
		s.space()
		return true, nil
	}
	return false, s.fail("a comma or " + string(rune(closing)) + " expected")
}

// literal reads word if it stands at pos.
func (s *scanner) literal(word string) bool {
	end := s.pos + len(word)
	if end > len(s.in) || string(s.in[s.pos:end]) != word {
		return false
	}
	s.pos = end
	return true
}

// skip reads any value over. depth is how many arrays and objects it is inside of.
func (s *scanner) skip(depth int) error {
	switch c := s.peek(); {
	case c == '"':
		return s.skipString()
	case c == '{' || c == '[':
		if depth == maxNesting {
			return s.fail(fmt.Sprintf("nested over %d deep", maxNesting))
		}
		return s.each(c, "", func() error {
			if c == '{' {
				if err := s.skipName(); err != nil {
					return err
				}
			}
			return s.skip(depth + 1)
		})
	case c == '-' || digit(c):
		return s.skipNumber()
	case s.literal("true") || s.literal("false") || s.literal("null"):
		return nil
	}
	return s.fail("a value expected")
}

func (s *scanner) skipName() error {
	if s.peek() != '"' {
		return s.fail("a member's name expected")
	}
	if err := s.skipString(); err != nil {
		return err
	}
	return s.colon()
}

// colon reads what stands between the name of a member and its value.
func (s *scanner) colon() error {
	if s.space(); s.peek() != ':' {
		return s.fail(": expected")
	}
	s.pos++
	s.space()
	return nil
}

func (s *scanner) skipNumber() error {
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++
	} else if !s.digits() {
		return s.fail("a digit expected")
	}
	if s.peek() == '.' {
		if s.pos++; !s.digits() {
			return s.fail("a digit expected")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return s.fail("a digit expected")
		}
	}
	return nil
}

// digits reads digits over and reports whether there was one.
func (s *scanner) digits() bool {
	start := s.pos
	for digit(s.peek()) {
		s.pos++
	}
	return s.pos > start
}

func (s *scanner) skipString() error {
	for s.pos++; ; {
		s.pos = run(s.in, s.pos)
		switch s.peek() {
		case '"':
			s.pos++
			return nil
		case '\\':
			if _, err := s.escape(); err != nil {
				return err
			}
		default:
			return s.badString()
		}
	}
}

// appendString appends the content of the string at pos.
func (s *scanner) appendString(dst []byte) ([]byte, error) {
	for s.pos++; ; {
		dst, s.pos = appendRun(dst, s.in, s.pos)
		switch s.peek() {
		case '"':
			s.pos++
			return dst, nil
		case '\\':
			r, err := s.escape()
			if err != nil {
				return dst, err
			}
			dst = utf8.AppendRune(dst, r)
		default:
			return dst, s.badString()
		}
	}
}

// escapes are the escape sequences of one letter.
var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (s *scanner) badString() error {
	if s.pos < len(s.in) {
		return s.fail("a control character in a string")
	}
	return s.fail("a string that does not end")
}

// escape reads the escape sequence at pos.
func (s *scanner) escape() (rune, error) {
	if s.pos+1 == len(s.in) {
		return 0, s.fail("a string that does not end")
	}
	c := s.in[s.pos+1]
	if c == 'u' {
		r, ok := hex4(s.in, s.pos+2)
		if !ok {
			return 0, s.fail(`four hex digits after \u expected`)
		}
		s.pos += 6
		if !utf16.IsSurrogate(r) {
			return r, nil
		}
		if s.pos+1 < len(s.in) && s.in[s.pos] == '\\' && s.in[s.pos+1] == 'u' {
			if low, ok := hex4(s.in, s.pos+2); ok {
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					s.pos += 6
					return pair, nil
				}
			}
		}
		return utf8.RuneError, nil
	}
	if escapes[c] == 0 {
		return 0, s.fail("an unknown escape sequence")
	}
	s.pos += 2
	return rune(escapes[c]), nil
}

func hex4(in []byte, at int) (rune, bool) {
	if at+4 > len(in) {
		return 0, false
	}
	var r rune
	for _, c := range in[at : at+4] {
		switch lower := c | 0x20; {
		case digit(c):
			r = r<<4 | rune(c-'0')
		case 'a' <= lower && lower <= 'f':
			r = r<<4 | rune(lower-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// appendUnescaped appends text, JSON that was read over, with its escape sequences resolved wherever they stand.
func appendUnescaped(dst, text []byte) []byte {
	s := scanner{in: text}
	for s.pos < len(text) {
		if text[s.pos] == '\\' {
			if r, err := s.escape(); err == nil {
				dst = utf8.AppendRune(dst, r)
				continue
			}
		}
		dst = append(dst, text[s.pos])
		s.pos++
	}
	return dst
}

// run returns the first position from i on that is not plain content of a string: a quote, a backslash or a control
// character; len(in) if there is none. Eight bytes at a time: most of a push is lines, and most of a line is plain.
func run(in []byte, i int) int {
	for ; i+8 <= len(in); i += 8 {
		if m := special(binary.LittleEndian.Uint64(in[i:])); m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for i < len(in) && in[i] >= 0x20 && in[i] != '"' && in[i] != '\\' {
		i++
	}
	return i
}

// appendRun is run, and appends what it passes. It passes escape sequences of one letter too: a log line that is JSON
// itself has a \" every ten bytes. It writes whole words, past the end of dst where dst has room, because what is between
// two of those is often too short for a copy of its own.
func appendRun(dst, in []byte, i int) (out []byte, end int) {
	n := len(dst)
	room := dst[:cap(dst)]
	for i+9 <= len(in) && n+8 <= len(room) {
		w := binary.LittleEndian.Uint64(in[i:])
		binary.LittleEndian.PutUint64(room[n:], w)
		m := special(w)
		if m == 0 {
			i, n = i+8, n+8
			continue
		}
		plain := bits.TrailingZeros64(m) / 8
		i, n = i+plain, n+plain
		c := escapes[in[i+1]]
		if in[i] != '\\' || c == 0 {
			return room[:n], i
		}
		room[n] = c
		i, n = i+2, n+1
	}
	end = run(in, i)
	return append(room[:n], in[i:end]...), end
}

// special has the high bit of the first byte of w that is a quote, a backslash or a control character; bits above it
// may be wrong, by a borrow.
func special(w uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	quote, slash := w^ones*'"', w^ones*'\\'
	return ((w-ones*0x20)&^w | (quote-ones)&^quote | (slash-ones)&^slash) & highs
}
