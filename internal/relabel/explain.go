package relabel

import (
	"fmt"
	"strconv"
	"strings"

	prom "github.com/prometheus/prometheus/model/relabel"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// Explanation is what the rules did to a set, one after the other.
type Explanation struct {
	Before []Label `json:"before"`
	Rules  []Step  `json:"rules"`
	// Temporary are the labels that went after the rules because their names begin with __tmp, Restored those that came back
	// because they are protected, and Moved those that became structured metadata.
	Temporary []Label `json:"temporary,omitempty"`
	Restored  []Label `json:"restored,omitempty"`
	Moved     []Label `json:"moved,omitempty"`
	// Dropped: a rule dropped the set, the last that was reached. NoLabels: there were labels, and none is left.
	Dropped  bool `json:"dropped"`
	NoLabels bool `json:"no_labels"`
	// Labels are what is left, sorted; none if the set was dropped.
	Labels []Label `json:"labels"`
}

// Step is one rule.
type Step struct {
	Index int    `json:"index"`
	Rule  string `json:"rule"` // as YAML, in one line
	// Reached: no rule before it dropped the set.
	Reached bool `json:"reached"`
	// Matched: what the rule looks for was there: the regex matched, for labelmap, labeldrop and labelkeep some name; the
	// values were equal. Rules that look for nothing always match.
	Matched bool         `json:"matched"`
	Dropped bool         `json:"dropped"`
	Changes []Difference `json:"changes,omitempty"`
}

// Label is a label of an Explanation.
type Label struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Difference is what happened to a label. An empty value: there was none, or is none.
type Difference struct {
	Name   string `json:"name"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// Explain runs the rules over set as Apply does, and says what each did.
func (r *Rules) Explain(set *labels.Set) Explanation {
	var s Scratch
	s.begin(set.All)
	now := s.all(nil)
	e := Explanation{Before: append([]Label{}, copied(now)...), Rules: make([]Step, len(r.rules)), Labels: []Label{}}
	for i, rule := range r.rules {
		step := &e.Rules[i]
		*step = Step{Index: i, Rule: rule.text, Reached: !e.Dropped}
		if e.Dropped {
			continue
		}
		step.Matched = rule.sees(&s)
		e.Dropped = !rule.run(&s)
		step.Dropped = e.Dropped
		was := now
		now = s.all(nil)
		step.Changes = differences(was, now)
	}
	if e.Dropped {
		return e
	}
	s.dropTemporary()
	was, now := now, s.all(nil)
	e.Temporary = copied(without(was, now))
	s.restore(r.protected)
	was, now = now, s.all(nil)
	e.Restored = copied(without(now, was))
	e.NoLabels = len(s.set) > 0 && s.len() == 0
	s.move(r.move)
	e.Moved = copied(s.moved)
	e.Labels = append(e.Labels, copied(s.all(nil))...)
	return e
}

// sees says whether what the rule looks for is there.
func (r *rule) sees(s *Scratch) bool {
	switch r.cfg.Action {
	case prom.Keep, prom.Drop, prom.Replace:
		return r.cfg.Regex.MatchString(r.joined(s))
	case prom.KeepEqual, prom.DropEqual:
		return s.get(r.cfg.TargetLabel) == r.joined(s)
	case prom.LabelMap, prom.LabelDrop, prom.LabelKeep:
		for _, l := range s.all(nil) {
			if r.cfg.Regex.MatchString(l.Name) {
				return true
			}
		}
		return false
	}
	return true
}

// copied returns ls with strings of their own: an Explanation outlives the push.
func copied(ls []labels.Label) []Label {
	var out []Label
	for _, l := range ls {
		out = append(out, Label{strings.Clone(l.Name), strings.Clone(l.Value)})
	}
	return out
}

// without returns the labels of a whose names b has not. Both are sorted.
func without(a, b []labels.Label) []labels.Label {
	var out []labels.Label
	for _, l := range a {
		for len(b) > 0 && b[0].Name < l.Name {
			b = b[1:]
		}
		if len(b) == 0 || b[0].Name != l.Name {
			out = append(out, l)
		}
	}
	return out
}

// differences returns what is not the same in was and now, which are sorted.
func differences(was, now []labels.Label) []Difference {
	var out []Difference
	add := func(name, before, after string) {
		if before != after {
			out = append(out, Difference{strings.Clone(name), strings.Clone(before), strings.Clone(after)})
		}
	}
	for len(was) > 0 || len(now) > 0 {
		switch {
		case len(now) == 0 || len(was) > 0 && was[0].Name < now[0].Name:
			add(was[0].Name, was[0].Value, "")
			was = was[1:]
		case len(was) == 0 || now[0].Name < was[0].Name:
			add(now[0].Name, "", now[0].Value)
			now = now[1:]
		default:
			add(now[0].Name, was[0].Value, now[0].Value)
			was, now = was[1:], now[1:]
		}
	}
	return out
}

// String is the explanation as a person reads it: a paragraph for each rule, and what came of it all.
func (e Explanation) String() string {
	var b strings.Builder
	width := e.width()
	line := func(sign, name, rest string) { fmt.Fprintf(&b, "  %s %-*s  %s\n", sign, width, shown(name), rest) }
	list := func(title, sign string, ls []Label) {
		if len(ls) == 0 {
			return
		}
		b.WriteString(title + "\n")
		for _, l := range ls {
			line(sign, l.Name, strconv.Quote(l.Value))
		}
		b.WriteByte('\n')
	}
	list("before", " ", e.Before)
	for _, s := range e.Rules {
		fmt.Fprintf(&b, "rule %d  %s\n", s.Index, s.Rule)
		for _, d := range s.Changes {
			switch {
			case d.Before == "":
				line("+", d.Name, strconv.Quote(d.After))
			case d.After == "":
				line("-", d.Name, strconv.Quote(d.Before))
			default:
				line("~", d.Name, strconv.Quote(d.Before)+" -> "+strconv.Quote(d.After))
			}
		}
		if text := s.outcome(); text != "" {
			b.WriteString("  " + text + "\n")
		}
		b.WriteByte('\n')
	}
	list("removed after the rules: temporary", "-", e.Temporary)
	list("restored after the rules: protected", "+", e.Restored)
	list("moved to structured metadata", ">", e.Moved)
	switch {
	case e.Dropped:
		for _, s := range e.Rules {
			if s.Dropped {
				fmt.Fprintf(&b, "dropped by rule %d\n", s.Index)
			}
		}
	case len(e.Labels) == 0:
		b.WriteString("no label is left\n")
	default:
		list("after", " ", e.Labels)
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// outcome says what the changes of the step do not.
func (s Step) outcome() string {
	switch {
	case !s.Reached:
		return "not reached"
	case s.Dropped && s.Matched:
		return "matched: drops the whole set"
	case s.Dropped:
		return "did not match: drops the whole set"
	case len(s.Changes) > 0:
		return ""
	case s.Matched:
		return "matched, changed nothing"
	}
	return "did not match"
}

// width is that of the longest name, within reason.
func (e Explanation) width() int {
	width := 0
	wide := func(name string) { width = max(width, len([]rune(shown(name)))) }
	for _, ls := range [][]Label{e.Before, e.Temporary, e.Restored, e.Moved, e.Labels} {
		for _, l := range ls {
			wide(l.Name)
		}
	}
	for _, s := range e.Rules {
		for _, d := range s.Changes {
			wide(d.Name)
		}
	}
	return min(width, 40)
}

// shown is name, quoted if it would not be seen for what it is.
func shown(name string) string {
	quoted := strconv.Quote(name)
	if quoted != `"`+name+`"` || name == "" || strings.ContainsAny(name, " =") {
		return quoted
	}
	return name
}
