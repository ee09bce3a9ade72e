package loki

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

const metricName = "__name__"

// metricLabel is metricName as labels hold it. Nobody writes to it.
var metricLabel = []byte(metricName)

// maxLabels bounds the labels of one stream where they are read at all. Upstream takes 15, unless it was told otherwise.
const maxLabels = 1 << 10

// pair is a label, unquoted. Both point into the push or into labelSet.buf.
type pair struct{ name, value []byte }

// labelSet is the labels of one stream, used again for the next. What it takes is booked before it is taken.
type labelSet struct {
	pairs []pair
	// buf holds what had to be unescaped. When it grows, pairs go on pointing into the old one, which nobody writes to.
	buf    []byte
	lender ingest.Lender
}

// syntaxError says where a label string is wrong, without showing what stands there.
type syntaxError struct {
	what string
	at   int
}

func (e *syntaxError) Error() string { return fmt.Sprintf("labels: %s at byte %d", e.what, e.at) }

func (s *labelSet) reset() {
	s.pairs, s.buf = s.pairs[:0], s.buf[:0]
}

// add adds a label that ends at byte at.
func (s *labelSet) add(name, value []byte, at int) (err error) {
	if len(s.pairs) == maxLabels {
		return &syntaxError{fmt.Sprintf("over %d labels", maxLabels), at}
	}
	if s.pairs, err = ingest.Grow(s.pairs, 1, s.lender); err == nil {
		s.pairs = append(s.pairs, pair{name, value})
	}
	return err
}

// parse reads a label string as Loki does, which uses the PromQL series syntax: name{a="b", "c"='d', e=`f`,} with
// white space and comments anywhere between. Labels with an empty value are absent. They end up sorted by name.
//
// It differs from Prometheus' ParseMetric where Loki refuses the stream in a later step anyway: a name that occurs twice,
// and the empty name. An error that is no *syntaxError is not about the labels: there was no room.
func (s *labelSet) parse(text []byte) (err error) {
	s.reset()
	if bytes.IndexByte(text, '\\') >= 0 {
		// Once is enough: an escape sequence is longer than what it stands for.
		if s.buf, err = ingest.Grow(s.buf, len(text), s.lender); err != nil {
			return err
		}
	}
	p := blank(text, 0)
	if p < len(text) && (letter(text[p]) || text[p] == ':') {
		end := p
		for end < len(text) && (letter(text[end]) || digit(text[end]) || text[end] == ':') {
			end++
		}
		if reserved(text[p:end]) {
			return &syntaxError{"a PromQL keyword where a metric name may be", p}
		}
		if err = s.add(metricLabel, text[p:end], end); err != nil {
			return err
		}
		p = blank(text, end)
	}
	if p == len(text) {
		return s.finish()
	}
	if text[p] != '{' {
		return &syntaxError{"{ expected", p}
	}
	for p = blank(text, p+1); ; p = blank(text, p+1) {
		if p < len(text) && text[p] == '}' {
			break
		}
		if p, err = s.item(text, p); err != nil {
			return err
		}
		if p == len(text) || text[p] != ',' && text[p] != '}' {
			return &syntaxError{", or } expected", p}
		}
		if text[p] == '}' {
			break
		}
	}
	if p = blank(text, p+1); p != len(text) {
		return &syntaxError{"nothing more expected", p}
	}
	return s.finish()
}

// item reads name="value", or "metric name" alone, and the blank after it.
func (s *labelSet) item(text []byte, p int) (next int, err error) {
	var name []byte
	quoted := false
	switch {
	case p < len(text) && letter(text[p]):
		end := p
		for end < len(text) && (letter(text[end]) || digit(text[end])) {
			end++
		}
		name, p = text[p:end], end
	case p < len(text) && quote(text[p]):
		quoted = true
		if name, p, err = s.unquote(text, p); err != nil {
			return 0, err
		}
	default:
		return 0, &syntaxError{"label name or } expected", p}
	}
	p = blank(text, p)
	if p == len(text) || text[p] != '=' {
		if !quoted {
			return 0, &syntaxError{"= expected", p}
		}
		return p, s.add(metricLabel, name, p)
	}
	p = blank(text, p+1)
	if p == len(text) || !quote(text[p]) {
		return 0, &syntaxError{"quoted value expected", p}
	}
	value, p, err := s.unquote(text, p)
	if err != nil {
		return 0, err
	}
	return blank(text, p), s.add(name, value, p)
}

// unquote reads the string whose opening quote is text[p] and returns where it ends.
func (s *labelSet) unquote(text []byte, p int) (value []byte, next int, err error) {
	q := text[p]
	start := p + 1
	mark := -1 // where in buf the value is, once it had an escape
	for i := start; i < len(text); {
		switch c := text[i]; {
		case c == q:
			if mark < 0 {
				return text[start:i], i + 1, nil
			}
			s.buf = append(s.buf, text[start:i]...)
			return s.buf[mark:], i + 1, nil
		case c == '\n' && q != '`':
			return nil, 0, &syntaxError{"line break inside a quoted string", i}
		case c == '\\' && q != '`':
			if mark < 0 {
				mark = len(s.buf)
			}
			// \U0010ffff is the longest. A string that short is converted without an allocation.
			esc := string(text[i:min(i+10, len(text))])
			r, multibyte, tail, bad := strconv.UnquoteChar(esc, q)
			if bad != nil {
				return nil, 0, &syntaxError{"bad escape sequence", i}
			}
			s.buf = append(s.buf, text[start:i]...)
			if multibyte {
				s.buf = utf8.AppendRune(s.buf, r)
			} else {
				s.buf = append(s.buf, byte(r))
			}
			i += len(esc) - len(tail)
			start = i
		case c < utf8.RuneSelf:
			i++
		default:
			// Prometheus' lexer takes U+FFFD, written out, for invalid UTF-8.
			r, size := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError {
				return nil, 0, &syntaxError{"invalid UTF-8", i}
			}
			i += size
		}
	}
	return nil, 0, &syntaxError{"quoted string does not end", p}
}

func (s *labelSet) finish() error {
	s.pairs = slices.DeleteFunc(s.pairs, func(p pair) bool { return len(p.value) == 0 })
	s.sort()
	for i, p := range s.pairs {
		if len(p.name) == 0 {
			return &syntaxError{"a label without a name", 0}
		}
		if i > 0 && bytes.Equal(p.name, s.pairs[i-1].name) {
			return &syntaxError{"a label name that occurs twice", 0}
		}
	}
	return nil
}

// lastWins is finish for JSON, where of equal keys the last counts, as in Loki's map.
func (s *labelSet) lastWins() {
	s.sort()
	n := 0
	for i, p := range s.pairs {
		if i+1 < len(s.pairs) && bytes.Equal(p.name, s.pairs[i+1].name) || len(p.value) == 0 {
			continue
		}
		s.pairs[n] = p
		n++
	}
	s.pairs = s.pairs[:n]
}

func (s *labelSet) sort() {
	slices.SortStableFunc(s.pairs, func(a, b pair) int { return bytes.Compare(a.name, b.name) })
}

// append writes the set as Loki and Prometheus print it: {a="b", c="d"}, sorted, quoted as strconv.Quote does it.
// Stamps replace labels of the same name.
func (s *labelSet) append(dst []byte, stamps []labels.Label) []byte {
	dst = append(dst, '{')
	start := len(dst)
	for _, p := range s.pairs {
		for len(stamps) > 0 && stamps[0].Name < string(p.name) {
			dst = appendLabel(dst, start, stamps[0].Name, stamps[0].Value)
			stamps = stamps[1:]
		}
		if len(stamps) > 0 && stamps[0].Name == string(p.name) {
			continue // it is written in its turn
		}
		dst = appendLabel(dst, start, p.name, p.value)
	}
	for _, st := range stamps {
		dst = appendLabel(dst, start, st.Name, st.Value)
	}
	return append(dst, '}')
}

func appendLabel[T string | []byte](dst []byte, start int, name, value T) []byte {
	if len(dst) > start {
		dst = append(dst, ", "...)
	}
	if identifier(name) {
		dst = append(dst, name...)
	} else {
		dst = appendQuoted(dst, name)
	}
	return appendQuoted(append(dst, '='), value)
}

// textLen is how many bytes append writes without stamps.
func (s *labelSet) textLen() int {
	n := len("{}") + max(0, len(s.pairs)-1)*len(", ")
	for _, p := range s.pairs {
		if identifier(p.name) {
			n += len(p.name)
		} else {
			n += quotedLen(p.name)
		}
		n += len("=") + quotedLen(p.value)
	}
	return n
}

// appendQuoted quotes v as strconv.Quote does, but for U+FFFD: Loki's parser takes that only as an escape.
func appendQuoted[T string | []byte](dst []byte, v T) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(v); {
		if bare(v[i]) {
			i++
			continue
		}
		dst = append(dst, v[start:i]...)
		var size int
		dst, size = appendRune(dst, v[i:])
		i += size
		start = i
	}
	return append(append(dst, v[start:]...), '"')
}

// quotedLen is how many bytes appendQuoted writes.
func quotedLen[T string | []byte](v T) int {
	n := len(`""`)
	for i := 0; i < len(v); {
		if bare(v[i]) {
			n++
			i++
			continue
		}
		var room [len(`\U0010ffff`) + 2]byte
		quoted, size := appendRune(room[:0], v[i:])
		n += len(quoted)
		i += size
	}
	return n
}

// bare says whether c stands for itself between quotes.
func bare(c byte) bool { return c >= ' ' && c < 0x7f && c != '"' && c != '\\' }

// appendRune appends the first rune of v as it stands between quotes, and says how many bytes of v that is.
func appendRune[T string | []byte](dst []byte, v T) (out []byte, size int) {
	one := string(v[:min(utf8.UTFMax, len(v))]) // so short that it is not allocated
	r, size := utf8.DecodeRuneInString(one)
	if r == utf8.RuneError && size > 1 {
		return append(dst, `\ufffd`...), size
	}
	mark := len(dst)
	dst = strconv.AppendQuote(dst, one[:size])
	return append(dst[:mark], dst[mark+1:len(dst)-1]...), size // without its quotes
}

// growth is the most that append adds to a label string that parse took.
func growth(text []byte) int {
	// {} and __name__="" around a metric name; there is only one, since names must differ.
	n := len(`{__name__="", }`)
	for _, c := range text {
		switch {
		case c < ' ' || c >= 0x7f:
			n += 3 // \x7f
		case c == '"' || c == '\\' || c == ',':
			n++ // an escape, or a space
		}
	}
	return n
}

func appendLen(dst []byte, n int) []byte { return binary.AppendUvarint(dst, uint64(n)) }

// blank returns the first position from p on that is neither white space nor comment.
func blank(text []byte, p int) int {
	for p < len(text) {
		switch text[p] {
		case ' ', '\t', '\n', '\r':
			p++
		case '#':
			for p < len(text) && text[p] != '\n' && text[p] != '\r' {
				p++
			}
		default:
			return p
		}
	}
	return p
}

func letter(c byte) bool { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }
func digit(c byte) bool  { return '0' <= c && c <= '9' }
func quote(c byte) bool  { return c == '"' || c == '\'' || c == '`' }

func identifier[T string | []byte](name T) bool {
	for i := range len(name) {
		if !letter(name[i]) && (i == 0 || !digit(name[i])) {
			return false
		}
	}
	return len(name) > 0
}

// keywords are those that PromQL's grammar does not take as a metric name outside of braces; sum, by, offset and the
// others may be one.
var keywords = [...]string{"atan2", "bool", "group_left", "group_right", "ignoring", "inf", "nan", "on"}

func reserved(word []byte) bool {
	if len(word) > len("group_right") {
		return false
	}
	short := string(word)
	for _, k := range keywords {
		if strings.EqualFold(short, k) {
			return true
		}
	}
	return false
}
