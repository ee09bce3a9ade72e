// Package reducetest is a Reducer for the tests of doors: it relabels with Prometheus' own library, series by series and
// without any cache, and holds the keys that a door makes against the labels that it shows. Only tests use it.
package reducetest

import (
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	prom "github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// Reducer is an ingest.Reducer and what it was asked.
type Reducer struct {
	*ingest.Reducer
	// Refuse, where set, says which label sets are refused, after the rules.
	Refuse func(ls []labels.Label) bool
	// Stale, where set, says whose stale markers are dropped.
	Stale func(ls []labels.Label) bool
	// Move are names of labels that become structured metadata, as logs.structured_metadata.
	Move []string
	// Seen are all series that Judge was given, with what it said.
	Seen []ingest.Series
	// Dropped and Refused are how many items that was.
	Dropped, Refused int

	// Asked is how often Item was asked, and again what Repeats says of the last time.
	Asked int
	again bool

	t      testing.TB
	labels map[labels.Key]string
	keys   map[string]labels.Key
}

// Rules parses a YAML list of relabelling rules.
func Rules(t testing.TB, text string) []*relabel.Config {
	t.Helper()
	var rules []*relabel.Config
	if err := yaml.Unmarshal([]byte(text), &rules); err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		r.NameValidationScheme = model.UTF8Validation
		if err := r.Validate(r.NameValidationScheme); err != nil {
			t.Fatal(err)
		}
	}
	return rules
}

// Lend returns ss with n zeroed Series behind it, in place where there is room. To append what was just made would be shorter,
// but under the race detector that is made indeed, and tests that count what a door allocates would count it.
func Lend(ss []ingest.Series, n int) []ingest.Series {
	all := len(ss) + n
	if all > cap(ss) {
		return append(make([]ingest.Series, 0, all), ss...)[:all]
	}
	clear(ss[len(ss):all])
	return ss[:all]
}

// New returns a Reducer with rules for series and items, and with others for resources. Either may be nil.
func New(t testing.TB, stamps []labels.Label, rules, resource []*relabel.Config) *Reducer {
	seed := labels.NewSeed()
	r := &Reducer{t: t, labels: map[labels.Key]string{}, keys: map[string]labels.Key{}}
	r.Reducer = &ingest.Reducer{
		Stamps: stamps,
		Keys:   labels.NewHasher(seed, labels.Key{}, stamps),
		Judge:  func(ss []ingest.Series, view func(int, *labels.Set)) { r.judge(ss, view, rules) },
		Room:   func(ss []ingest.Series, n int) ([]ingest.Series, *fault.Error) { return Lend(ss, n), nil },
	}
	if rules != nil {
		r.Item = func(set *labels.Set) (*labels.Change, ingest.Verdict) {
			r.Asked++
			change, verdict := r.apply(set, rules, 1)
			r.again = verdict == ingest.Pass && (change == nil || len(change.Add) == 0)
			return change, verdict
		}
		r.Repeats = func() bool { return r.again }
		for _, rule := range rules {
			if rule.Action == relabel.LabelMap || strings.Contains(rule.TargetLabel, "$") {
				r.Repeats = nil // values of labels count that no rule names
			}
			for _, name := range rule.SourceLabels {
				r.Reads = append(r.Reads, string(name))
			}
			r.Reads = append(r.Reads, rule.TargetLabel)
		}
	}
	if resource != nil {
		r.Resource = func(set *labels.Set, items int) (*labels.Change, ingest.Verdict) {
			return r.apply(set, resource, items)
		}
	}
	return r
}

func (r *Reducer) judge(ss []ingest.Series, view func(int, *labels.Set), rules []*relabel.Config) {
	r.t.Helper()
	var set labels.Set
	for i := range ss {
		s := &ss[i]
		set.Reset()
		view(i, &set)
		r.checkSet(&set)
		r.checkKey(s, &set)
		s.Change, s.Verdict = r.apply(&set, rules, int(s.Items))
		left := s.Change.Append(nil, set.All)
		if s.Verdict == ingest.Pass && len(r.Move) > 0 {
			s.Change = r.move(left, s.Change, &set)
		}
		if s.Verdict == ingest.Pass && r.Refuse != nil && r.Refuse(left) {
			s.Verdict = ingest.Refuse
			r.Refused += int(s.Items)
		}
		s.DropStale = r.Stale != nil && r.Stale(left)
	}
	r.Seen = append(r.Seen, ss...)
}

// checkKey: equal labels have equal keys, whatever their order, and others have others.
func (r *Reducer) checkKey(s *ingest.Series, set *labels.Set) {
	r.t.Helper()
	key, text := s.Key.Minus(s.Overwritten), Text(set.All)
	if was, ok := r.keys[text]; ok && was != key {
		r.t.Errorf("the labels %s have two keys, %x and %x", text, was, key)
	}
	if was, ok := r.labels[key]; ok && was != text {
		r.t.Errorf("%s and %s have one key, %x", was, text, key)
	}
	r.keys[text], r.labels[key] = key, text
}

func (r *Reducer) checkSet(set *labels.Set) {
	r.t.Helper()
	if len(set.Keys) != len(set.All) {
		r.t.Errorf("the set has %d labels and %d keys", len(set.All), len(set.Keys))
	}
	for i, l := range set.All {
		if l.Value == "" || i > 0 && set.All[i-1].Name >= l.Name {
			r.t.Errorf("the set is not sorted, or has empty or doubled labels: %v", set.All)
		}
	}
}

// apply is Prometheus' own relabelling, and the difference that it makes.
func (r *Reducer) apply(set *labels.Set, rules []*relabel.Config, items int) (*labels.Change, ingest.Verdict) {
	r.checkSet(set)
	b := prom.NewBuilder(prom.EmptyLabels())
	for _, l := range set.All {
		b.Set(strings.Clone(l.Name), strings.Clone(l.Value))
	}
	if !relabel.ProcessBuilder(b, rules...) {
		r.Dropped += items
		return nil, ingest.Drop
	}
	var final []labels.Label
	b.Labels().Range(func(l prom.Label) { final = append(final, labels.Label{Name: l.Name, Value: l.Value}) })
	return Diff(set, final), ingest.Pass
}

// Diff is the Change that makes final, which is sorted, of set; nil if they are the same.
func Diff(set *labels.Set, final []labels.Label) *labels.Change {
	c := &labels.Change{Keep: make([]uint64, (len(set.All)+63)/64)}
	kept := 0
	for _, l := range final {
		if i := set.Find(l.Name); i >= 0 && set.All[i].Value == l.Value {
			c.Keep[i>>6] |= 1 << (i & 63)
			kept++
			continue
		}
		c.Add = append(c.Add, l)
	}
	if kept == len(set.All) && len(c.Add) == 0 {
		return nil
	}
	return c
}

// move takes what r.Move names out of left, but for the last label.
func (r *Reducer) move(left []labels.Label, was *labels.Change, set *labels.Set) *labels.Change {
	var stay, moved []labels.Label
	gone := map[string]bool{}
	n := len(left)
	for _, name := range r.Move {
		for _, l := range left {
			if l.Name == name && !gone[name] && n > 1 {
				gone[name] = true
				n--
			}
		}
	}
	for _, l := range left {
		l = labels.Label{Name: strings.Clone(l.Name), Value: strings.Clone(l.Value)}
		if gone[l.Name] {
			moved = append(moved, l)
		} else {
			stay = append(stay, l)
		}
	}
	if len(moved) == 0 {
		return was
	}
	c := Diff(set, stay)
	if c == nil { // what moved is what a rule had added
		c = &labels.Change{Keep: make([]uint64, (len(set.All)+63)/64)}
		for i := range set.All {
			c.Keep[i>>6] |= 1 << (i & 63)
		}
	}
	c.Move = moved
	return c
}

// Text is ls as one line.
func Text(ls []labels.Label) string {
	var b strings.Builder
	for _, l := range ls {
		b.WriteString(l.Name + "\x00" + l.Value + "\x01")
	}
	return b.String()
}
