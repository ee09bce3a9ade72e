package relabel

import (
	"crypto/md5"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/prometheus/common/model"
	prom "github.com/prometheus/prometheus/model/relabel"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

const (
	// maxTable is how many words of a rule get their answers beforehand, from the regexp machine.
	maxTable = 256
	// namesToFind is up to how many names are found sooner one by one than by asking about each that is there.
	namesToFind = 3
)

// rule is one rule, compiled. It never changes, its memo aside.
type rule struct {
	cfg  prom.Config
	text string
	// run applies the rule; false: the set is dropped.
	run func(s *Scratch) bool

	readOnly []string
	sources  []string
	bare     string // what the sources' values make where there is no source

	// Answers come from the first of these that is there.
	pattern *pattern          // of Regex; nil if only the machine knows it, or where its groups are
	table   map[string]answer // all that matches
	memo    *memo
	onBare  answer // memo's for bare

	target, value template // replace: TargetLabel and Replacement; labelmap: target is Replacement
}

// compile compiles c, which is valid. Names that begin with one of readOnly are not written.
func compile(c *prom.Config, readOnly []string) *rule {
	r := &rule{cfg: *c, text: ruleText(c), readOnly: readOnly}
	r.cfg.SourceLabels = slices.Clone(c.SourceLabels)
	if r.cfg.NameValidationScheme == model.UnsetValidation {
		r.cfg.NameValidationScheme = model.UTF8Validation
	}
	for _, name := range r.cfg.SourceLabels {
		r.sources = append(r.sources, string(name))
	}
	r.bare = strings.Repeat(c.Separator, max(len(r.sources)-1, 0))

	r.run = r.action()
	switch c.Action {
	case prom.HashMod, prom.Lowercase, prom.Uppercase:
		if r.isReadOnly(c.TargetLabel) {
			r.run = pass
		}
	case prom.Keep, prom.Drop, prom.LabelKeep, prom.LabelDrop:
		r.answerWith(func(text string) answer { return answer{matched: r.cfg.Regex.MatchString(text)} })
		if c.Action == prom.LabelDrop {
			r.dropByName()
		}
	case prom.LabelMap:
		r.target = newTemplate(c.Replacement, c.Regex.SubexpNames())
		r.answerWith(r.mapName)
	case prom.Replace:
		r.target = newTemplate(c.TargetLabel, c.Regex.SubexpNames())
		r.value = newTemplate(c.Replacement, c.Regex.SubexpNames())
		r.answerWith(r.substitute)
		r.simplify()
	}
	return r
}

// action is what the rule does.
func (r *rule) action() func(*Scratch) bool {
	switch r.cfg.Action {
	case prom.Keep:
		return func(s *Scratch) bool { return r.matches(r.joined(s)) }
	case prom.Drop:
		return func(s *Scratch) bool { return !r.matches(r.joined(s)) }
	case prom.KeepEqual:
		return func(s *Scratch) bool { return s.get(r.cfg.TargetLabel) == r.joined(s) }
	case prom.DropEqual:
		return func(s *Scratch) bool { return s.get(r.cfg.TargetLabel) != r.joined(s) }
	case prom.Replace:
		return r.replace
	case prom.HashMod:
		return r.hashMod
	case prom.Lowercase:
		return func(s *Scratch) bool { s.put(r.cfg.TargetLabel, s.lower(r.joined(s))); return true }
	case prom.Uppercase:
		return func(s *Scratch) bool { s.put(r.cfg.TargetLabel, s.upper(r.joined(s))); return true }
	case prom.LabelMap:
		return r.labelMap
	case prom.LabelDrop:
		return func(s *Scratch) bool {
			s.filter(func(name string) bool { return !r.matches(name) || r.isReadOnly(name) })
			return true
		}
	case prom.LabelKeep:
		return func(s *Scratch) bool {
			s.filter(func(name string) bool { return r.matches(name) || r.isReadOnly(name) })
			return true
		}
	}
	panic("BUG: unknown action " + string(r.cfg.Action))
}

// pass is the action of a rule that changes nothing.
func pass(*Scratch) bool { return true }

// answerWith prepares answers, which ask gives where nothing faster does.
func (r *rule) answerWith(ask func(text string) answer) {
	// The regexp's own text has the anchors, and whatever else an unbalanced parenthesis made of them.
	p, ok := newPattern(r.cfg.Regex.Regexp.String())
	if ok && r.target.known(&p) && r.value.known(&p) {
		r.pattern = &p
		return
	}
	if ok && len(p.globs) == 0 && !p.all {
		if list := p.words.list(); len(list) <= maxTable {
			r.table = make(map[string]answer, len(list))
			for _, word := range list {
				r.table[word] = ask(word)
			}
			return
		}
	}
	r.memo, r.onBare = newMemo(ask), ask(r.bare)
}

// simplify finds a cheaper way to do what a replace rule does.
func (r *rule) simplify() {
	name, ok := r.target.fixed()
	if ok && !r.writes(name) {
		r.run = pass
		return
	}
	if value, fixed := r.value.fixed(); ok && fixed && r.pattern != nil && r.pattern.all {
		r.run = func(s *Scratch) bool { s.put(name, value); return true }
	}
}

// dropByName lets a labeldrop rule that means a few names look for those, in place of asking about every name that there is.
func (r *rule) dropByName() {
	if r.pattern == nil || r.pattern.all || len(r.pattern.globs) > 0 || len(r.pattern.words.few) > namesToFind || r.pattern.words.many != nil {
		return
	}
	names := slices.DeleteFunc(r.pattern.words.list(), r.isReadOnly)
	r.run = func(s *Scratch) bool {
		for _, name := range names {
			s.del(name)
		}
		return true
	}
}

// joined returns the values of the source labels.
func (r *rule) joined(s *Scratch) string {
	if len(r.sources) == 1 {
		return s.get(r.sources[0])
	}
	start, some := len(s.text), false
	for i, name := range r.sources {
		if i > 0 {
			s.text = append(s.text, r.cfg.Separator...)
		}
		value := s.get(name)
		some = some || value != ""
		s.text = append(s.text, value...)
	}
	if !some {
		s.text = s.text[:start]
		return r.bare
	}
	return s.since(start)
}

// matches says whether Regex matches text.
func (r *rule) matches(text string) bool {
	if r.pattern != nil {
		return r.pattern.match(text)
	}
	return r.answer(text).matched
}

// answer is for rules that have no pattern. Its strings are not of the push.
func (r *rule) answer(text string) answer {
	switch {
	case r.table != nil:
		return r.table[text]
	case text == r.bare:
		return r.onBare
	}
	return r.memo.answer(text)
}

func (r *rule) isReadOnly(name string) bool {
	for _, prefix := range r.readOnly {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// writes says whether a replace rule may write name.
func (r *rule) writes(name string) bool {
	return r.cfg.NameValidationScheme.IsValidLabelName(name) && !r.isReadOnly(name)
}

func (r *rule) replace(s *Scratch) bool {
	val := r.joined(s)
	if r.pattern == nil {
		if a := r.answer(val); a.target != "" {
			s.put(a.target, a.value)
		}
		return true
	}
	if !r.pattern.match(val) {
		return true
	}
	name, fixed := r.target.fixed() // simplify has looked at it
	if !fixed {
		if name = r.target.expand(s, r.pattern, val); !r.writes(name) {
			return true
		}
	}
	s.put(name, r.value.expand(s, r.pattern, val))
	return true
}

// substitute is what a replace rule's regexp says. An empty target is none: no name is empty.
func (r *rule) substitute(val string) answer {
	re := r.cfg.Regex
	at := re.FindStringSubmatchIndex(val)
	if at == nil {
		return answer{}
	}
	target := string(re.ExpandString(nil, r.cfg.TargetLabel, val, at))
	if !r.writes(target) {
		return answer{matched: true}
	}
	return answer{true, target, string(re.ExpandString(nil, r.cfg.Replacement, val, at))}
}

func (r *rule) labelMap(s *Scratch) bool {
	// What is written is not seen by this rule, so all of it is found before any is written.
	s.mapped = s.mapped[:0]
	for i, l := range s.set {
		if !s.isGone(i) {
			r.mapLabel(s, l)
		}
	}
	for i := range s.came {
		r.mapLabel(s, s.came[i].Label)
	}
	for _, l := range s.mapped {
		s.put(l.Name, l.Value)
	}
	return true
}

func (r *rule) mapLabel(s *Scratch, l labels.Label) {
	var name string
	if r.pattern != nil {
		if !r.pattern.match(l.Name) {
			return
		}
		name = r.target.expand(s, r.pattern, l.Name)
	} else {
		a := r.answer(l.Name)
		if !a.matched {
			return
		}
		name = a.target
	}
	if !r.isReadOnly(name) {
		s.mapped = append(s.mapped, labels.Label{Name: name, Value: l.Value})
	}
}

// mapName is what a labelmap rule's regexp says.
func (r *rule) mapName(name string) answer {
	if !r.cfg.Regex.MatchString(name) {
		return answer{}
	}
	return answer{matched: true, target: r.cfg.Regex.ReplaceAllString(name, r.cfg.Replacement)}
}

func (r *rule) hashMod(s *Scratch) bool {
	val := r.joined(s)
	sum := md5.Sum(unsafe.Slice(unsafe.StringData(val), len(val)))
	start := len(s.text)
	// Prometheus uses the last eight bytes only.
	s.text = strconv.AppendUint(s.text, binary.BigEndian.Uint64(sum[8:])%r.cfg.Modulus, 10)
	s.put(r.cfg.TargetLabel, s.since(start))
	return true
}

// lower is strings.ToLower without an allocation for ASCII.
func (s *Scratch) lower(val string) string { return s.recase(val, 'A', 'Z', strings.ToLower) }

func (s *Scratch) upper(val string) string { return s.recase(val, 'a', 'z', strings.ToUpper) }

// recase changes the case of the letters from first to last, with full if there are others than ASCII.
func (s *Scratch) recase(val string, first, last byte, full func(string) string) string {
	some := false
	for i := range len(val) {
		if val[i] >= utf8.RuneSelf {
			return full(val)
		}
		some = some || val[i] >= first && val[i] <= last
	}
	if !some {
		return val
	}
	start := len(s.text)
	s.text = append(s.text, val...)
	for b := s.text[start:]; len(b) > 0; b = b[1:] {
		if b[0] >= first && b[0] <= last {
			b[0] ^= 'a' - 'A'
		}
	}
	return s.since(start)
}
