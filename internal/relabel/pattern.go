package relabel

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// maxWords is how many words a regular expression may stand for and still be looked up instead of run.
	maxWords = 10_000
	// maxGlobs is how many globs are tried one after the other; more of them are the regexp machine's.
	maxGlobs = 16
)

// pattern is a regular expression in a form that needs no regexp machine: "anything", words, and globs.
//
// It looks at bytes where the machine looks at runes. That is the same: the texts here are valid UTF-8 without U+FFFD (which
// would match invalid bytes), and the first byte of such a text is where a rune begins, whatever stands before it.
type pattern struct {
	all   bool
	words words
	globs []glob
	// groups says where groups begin and end, the whole being group 0.
	groups []span
}

// span is the place of a group, if it is known without the machine.
type span struct {
	known    bool
	from, to edge
}

// edge is a distance from the beginning of what matched or, if back, from its end.
type edge struct {
	bytes int
	back  bool
}

func (e edge) in(s string) int {
	if e.back {
		return len(s) - e.bytes
	}
	return e.bytes
}

// newPattern returns the pattern that expr, anchored, is; false if there is none.
func newPattern(expr string) (pattern, bool) {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil || re.Op != syntax.OpConcat {
		return pattern{}, false
	}
	sub, open := re.Sub, len(re.Sub)
	for len(sub) > 0 && sub[0].Op == syntax.OpBeginText {
		sub = sub[1:]
	}
	closed := len(sub)
	for len(sub) > 0 && sub[len(sub)-1].Op == syntax.OpEndText {
		sub = sub[:len(sub)-1]
	}
	if closed == open || len(sub) == closed || len(sub) == 0 {
		return pattern{}, false
	}
	body := sub[0]
	if len(sub) > 1 {
		body = &syntax.Regexp{Op: syntax.OpConcat, Sub: sub}
	}
	p := pattern{groups: make([]span, re.MaxCap()+1)}
	seqs, ok := expand(body)
	if !ok || !p.take(seqs) {
		return pattern{}, false
	}
	p.place(body)
	return p, true
}

// match says whether the whole of s matches.
func (p *pattern) match(s string) bool {
	if p.all || p.words.has(s) {
		return true
	}
	for i := range p.globs {
		if p.globs[i].match(s) {
			return true
		}
	}
	return false
}

// group returns group n of s, which matches.
func (p *pattern) group(n int, s string) string {
	return s[p.groups[n].from.in(s):p.groups[n].to.in(s)]
}

// take sorts seqs into words and globs.
func (p *pattern) take(seqs []sequence) bool {
	var list []string
	for _, seq := range seqs {
		g, word, ok := newGlob(seq)
		switch {
		case !ok:
			return false
		case word:
			list = append(list, g.prefix)
		case g.matchesAll():
			p.all = true
		default:
			p.globs = append(p.globs, g)
		}
	}
	p.words = newWords(list)
	return len(p.globs) <= maxGlobs
}

// words is a set of texts.
type words struct {
	lengths uint64 // bit n: there is one of n%64 bytes
	few     []string
	many    map[string]struct{}
}

func newWords(list []string) words {
	slices.Sort(list)
	list = slices.Compact(list)
	var w words
	for _, s := range list {
		w.lengths |= 1 << (len(s) % 64)
	}
	if len(list) <= 8 {
		w.few = list
		return w
	}
	w.many = make(map[string]struct{}, len(list))
	for _, s := range list {
		w.many[s] = struct{}{}
	}
	return w
}

func (w *words) has(s string) bool {
	if w.lengths>>(len(s)%64)&1 == 0 {
		return false
	}
	if w.many != nil {
		_, ok := w.many[s]
		return ok
	}
	for _, word := range w.few {
		if word == s {
			return true
		}
	}
	return false
}

// list returns the words, sorted.
func (w *words) list() []string {
	list := slices.Clone(w.few)
	for s := range w.many {
		list = append(list, s)
	}
	slices.Sort(list)
	return list
}

// glob is texts with anything between them.
type glob struct {
	prefix string
	// runes follow: any one rune each, and the text after it. Names have dots, and few write them as \.
	runes []string
	exact bool // nothing else follows

	middle []gap
	min    int // how many runes there are at least before suffix: 0 or 1
	suffix string
}

// gap is anything of at least min (0 or 1) runes, and the text after it.
type gap struct {
	min  int
	text string
}

func (g *glob) matchesAll() bool {
	return g.prefix == "" && len(g.runes) == 0 && !g.exact && len(g.middle) == 0 && g.min == 0 && g.suffix == ""
}

func (g *glob) match(s string) bool {
	if !strings.HasPrefix(s, g.prefix) {
		return false
	}
	s = s[len(g.prefix):]
	for _, text := range g.runes {
		_, size := utf8.DecodeRuneInString(s)
		if size == 0 || !strings.HasPrefix(s[size:], text) {
			return false
		}
		s = s[size+len(text):]
	}
	if g.exact {
		return s == ""
	}
	s, ok := strings.CutSuffix(s, g.suffix)
	if !ok {
		return false
	}
	// The leftmost place of each text leaves the most room for the others.
	for _, m := range g.middle {
		if len(s) < m.min {
			return false
		}
		i := strings.Index(s[m.min:], m.text)
		if i < 0 {
			return false
		}
		s = s[m.min+i+len(m.text):]
	}
	return len(s) >= g.min
}

// newGlob makes a glob of seq, or a word, which is its prefix.
func newGlob(seq sequence) (g glob, word, ok bool) {
	var gaps []gap
	for _, p := range seq {
		last := len(gaps) - 1
		switch {
		case p.kind == kindText && last >= 0:
			gaps[last].text += p.text
		case p.kind == kindText && len(g.runes) > 0:
			g.runes[len(g.runes)-1] += p.text
		case p.kind == kindText:
			g.prefix += p.text
		case p.kind == kindRune && last < 0:
			g.runes = append(g.runes, "")
		case p.kind == kindRune:
			return glob{}, false, false // where runes begin behind a gap is not known
		case last >= 0 && gaps[last].text == "":
			gaps[last].min += p.min
		default:
			gaps = append(gaps, gap{min: p.min})
		}
	}
	for _, gap := range gaps {
		if gap.min > 1 {
			return glob{}, false, false // two runes are not two bytes
		}
	}
	if len(gaps) == 0 {
		g.exact = true
		return g, len(g.runes) == 0, true
	}
	last := gaps[len(gaps)-1]
	g.middle, g.min, g.suffix = gaps[:len(gaps)-1], last.min, last.text
	return g, false, true
}

// sequence is one of the ways through a regular expression.
type sequence []part

// part is a text, any one rune, or anything of at least min runes.
type part struct {
	kind kind
	text string
	min  int
}

type kind uint8

const (
	kindText kind = iota
	kindRune
	kindAny
)

// expand returns all ways through re, false if there are too many or it is none of words, globs and alternatives.
func expand(re *syntax.Regexp) ([]sequence, bool) {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return []sequence{nil}, true
	case syntax.OpLiteral:
		s, ok := literal(re)
		return []sequence{{{text: s}}}, ok
	case syntax.OpAnyChar:
		return []sequence{{{kind: kindRune}}}, true
	case syntax.OpCharClass:
		return class(re.Rune)
	case syntax.OpStar, syntax.OpPlus:
		min := 0
		if re.Op == syntax.OpPlus {
			min = 1
		}
		return []sequence{{{kind: kindAny, min: min}}}, re.Sub[0].Op == syntax.OpAnyChar
	case syntax.OpCapture:
		return expand(re.Sub[0])
	case syntax.OpQuest:
		seqs, ok := expand(re.Sub[0])
		return append(seqs, nil), ok
	case syntax.OpAlternate:
		var seqs []sequence
		for _, sub := range re.Sub {
			more, ok := expand(sub)
			if !ok || len(seqs)+len(more) > maxWords {
				return nil, false
			}
			seqs = append(seqs, more...)
		}
		return seqs, true
	case syntax.OpConcat:
		return product(re.Sub)
	}
	return nil, false
}

// product returns all ways through subs, one after the other.
func product(subs []*syntax.Regexp) ([]sequence, bool) {
	seqs := []sequence{nil}
	for _, sub := range subs {
		more, ok := expand(sub)
		if !ok || len(seqs)*len(more) > maxWords {
			return nil, false
		}
		longer := make([]sequence, 0, len(seqs)*len(more))
		for _, a := range seqs {
			for _, b := range more {
				longer = append(longer, slices.Concat(a, b))
			}
		}
		seqs = longer
	}
	return seqs, true
}

// class returns a way for each rune of a small class.
func class(ranges []rune) ([]sequence, bool) {
	var seqs []sequence
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i+1]-ranges[i] >= 64 {
			return nil, false
		}
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			if !plain(r) || len(seqs) == 64 {
				return nil, false
			}
			seqs = append(seqs, sequence{{text: string(r)}})
		}
	}
	return seqs, len(seqs) > 0
}

// literal returns the text that re is.
func literal(re *syntax.Regexp) (string, bool) {
	for _, r := range re.Rune {
		if !plain(r) {
			return "", false
		}
	}
	return string(re.Rune), re.Flags&syntax.FoldCase == 0
}

func plain(r rune) bool { return r != utf8.RuneError && utf8.ValidRune(r) }

// place notes where groups are: those around the whole and, if no more than one part of re varies in length, all others.
func (p *pattern) place(re *syntax.Regexp) {
	whole := span{known: true, to: edge{back: true}}
	p.groups[0] = whole
	for re.Op == syntax.OpCapture {
		p.groups[re.Cap] = whole
		re = re.Sub[0]
	}
	w := walk{at: map[int][2]edge{}}
	if !w.over(re) {
		return
	}
	for group, edges := range w.at {
		for i := range edges {
			if edges[i].back {
				edges[i].bytes = w.pos.bytes - edges[i].bytes
			}
		}
		p.groups[group] = span{known: true, from: edges[0], to: edges[1]}
	}
}

// walk is a walk over an expression of texts and at most one "anything".
type walk struct {
	pos edge // back: behind the "anything", and as far from it as bytes says
	at  map[int][2]edge
}

func (w *walk) over(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpEmptyMatch:
	case syntax.OpLiteral:
		w.pos.bytes += len(string(re.Rune))
	case syntax.OpStar, syntax.OpPlus:
		if w.pos.back {
			return false
		}
		w.pos = edge{back: true}
	case syntax.OpCapture:
		from := w.pos
		if !w.over(re.Sub[0]) {
			return false
		}
		w.at[re.Cap] = [2]edge{from, w.pos}
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if !w.over(sub) {
				return false
			}
		}
	default:
		return false
	}
	return true
}
