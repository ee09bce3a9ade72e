package relabel_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	promlabels "github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/model/relabel"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/relabel"
)

// reference is what the library makes of set, by which rule it drops it, and how many protected labels come back.
func reference(rules []*prom.Config, o relabel.Options, set []labels.Label) (left []labels.Label, droppedBy, restored int) {
	base := make([]promlabels.Label, len(set))
	for i, l := range set {
		base[i] = promlabels.Label{Name: l.Name, Value: l.Value}
	}
	b := promlabels.NewBuilder(promlabels.New(base...))
	for i, c := range rules {
		if !prom.ProcessBuilder(b, c) {
			return nil, i, 0
		}
		freeze(b, o.ReadOnly, set)
	}
	// Not Labels: the Builder's own range has what was deleted twice and set again.
	values := map[string]string{}
	b.Labels().Range(func(l promlabels.Label) {
		if !strings.HasPrefix(l.Name, "__tmp") {
			values[l.Name] = l.Value
		}
	})
	for _, l := range set {
		if values[l.Name] == "" && slices.Contains(o.Protected, l.Name) {
			values[l.Name] = l.Value
			restored++
		}
	}
	return labels.Sorted(values), -1, restored
}

// freeze undoes what a rule did to labels whose names begin with one of readOnly.
func freeze(b *promlabels.Builder, readOnly []string, set []labels.Label) {
	if len(readOnly) == 0 {
		return
	}
	was := map[string]string{}
	for _, l := range set {
		was[l.Name] = l.Value
	}
	for _, prefix := range readOnly {
		b.Range(func(l promlabels.Label) {
			if strings.HasPrefix(l.Name, prefix) && was[l.Name] != l.Value {
				b.Set(l.Name, was[l.Name])
			}
		})
		for n, v := range was {
			if strings.HasPrefix(n, prefix) && b.Get(n) == "" {
				b.Set(n, v)
			}
		}
	}
}

// moved takes what moves out of left, which is sorted.
func moved(left []labels.Label, names []string) (stay, gone []labels.Label) {
	stay = slices.Clone(left)
	for _, name := range names {
		i := slices.IndexFunc(stay, func(l labels.Label) bool { return l.Name == name })
		if i >= 0 && len(stay) > 1 {
			gone = append(gone, stay[i])
			stay = slices.Delete(stay, i, i+1)
		}
	}
	slices.SortFunc(gone, func(a, b labels.Label) int { return strings.Compare(a.Name, b.Name) })
	return stay, gone
}

// checkApply holds Apply and Explain against the library.
func checkApply(t *testing.T, r *relabel.Rules, s *relabel.Scratch, rules []*prom.Config, o relabel.Options, set *labels.Set) {
	t.Helper()
	before := slices.Clone(set.All)
	left, droppedBy, restored := reference(rules, o, set.All)
	left, gone := moved(left, o.Move)
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf(format, args...)
		t.Fatalf("set %q, options %q\n%v", set.All, o, r.Explain(set))
	}

	got := r.Apply(s, set)
	e := r.Explain(set)
	if !slices.Equal(set.All, before) {
		fail("the set was changed; it was %q", before)
	}
	if got.DroppedBy != droppedBy || e.Dropped != (droppedBy >= 0) {
		fail("dropped by %d, explained as %v, want %d", got.DroppedBy, e.Dropped, droppedBy)
	}
	if droppedBy >= 0 {
		if got.Change != nil || got.NoLabels || len(e.Labels) != 0 || !e.Rules[droppedBy].Dropped {
			fail("something is left of a set that was dropped: %+v, %+v", got, e.Labels)
		}
		return
	}
	after := got.Change.Append(nil, set.All)
	if !slices.Equal(after, left) {
		fail("got  %q\nwant %q", after, left)
	}
	if (got.Change == nil) != (slices.Equal(left, set.All) && len(gone) == 0) {
		fail("Change is %+v where %q became %q", got.Change, set.All, left)
	}
	if c := got.Change; c != nil {
		if !slices.Equal(c.Move, gone) {
			fail("moved %q, want %q", c.Move, gone)
		}
		if len(c.Keep) != (len(set.All)+63)/64 || len(set.All)%64 != 0 && c.Keep[len(c.Keep)-1]>>(len(set.All)%64) != 0 {
			fail("%d labels are kept by %b", len(set.All), c.Keep)
		}
	}
	if got.Restored != restored || len(e.Restored) != restored {
		fail("%d labels were restored, explained as %q, want %d", got.Restored, e.Restored, restored)
	}
	if want := len(set.All) > 0 && len(left) == 0; got.NoLabels != want || e.NoLabels != want {
		fail("NoLabels is %v, explained as %v, want %v", got.NoLabels, e.NoLabels, want)
	}
	if !slices.EqualFunc(e.Labels, left, same) || !slices.EqualFunc(e.Moved, gone, same) {
		fail("explained as %q, moved %q", e.Labels, e.Moved)
	}
}

func same(a relabel.Label, b labels.Label) bool { return a.Name == b.Name && a.Value == b.Value }

// options are those of a run: the library's own behaviour, or some of what it does not have.
func (g *generator) options(rules []*prom.Config) relabel.Options {
	var o relabel.Options
	some := g.below(8)
	// What the reference undoes stands elsewhere in the order of labels, which only labelmap sees.
	ordered := slices.ContainsFunc(rules, func(c *prom.Config) bool { return c.Action == prom.LabelMap })
	if some&1 != 0 && !ordered {
		o.ReadOnly = []string{"resource.", "scope."}
	}
	if some&2 != 0 {
		o.Protected = []string{"le", "__name__", "cluster", "a"}
	}
	if some&4 != 0 {
		o.Move = []string{"b", "a", "resource.b", "job", "b", "__name__"}
	}
	return o
}

func differential(t *testing.T, b []byte) {
	g := &generator{b}
	rules := g.rules()
	o := g.options(rules)
	r := relabel.Compile(rules, o)
	var s relabel.Scratch
	sets := []*labels.Set{g.set(), g.set(), g.set()}
	// More than once: what the regexp machine said is remembered the second time.
	for range 3 {
		for _, set := range sets {
			checkApply(t, r, &s, rules, o, set)
		}
	}
}

func TestSameAsPrometheus(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5_000 {
		differential(t, randomBytes(r))
	}
}

func FuzzSameAsPrometheus(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		f.Add(randomBytes(r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 300 {
			return
		}
		differential(t, b)
	})
}

// FuzzRegex holds rules with one regular expression against the library, as far as any text goes.
func FuzzRegex(f *testing.F) {
	for _, s := range []string{"(.*)", "a|b|ab.*", "foo(.*)bar", "(?i)foo", ".+_bucket|go_.*", "([^:]+):.*", "a.*b.*c", "(a|b)?.+", "\xff"} {
		f.Add(s, "foobar", "x$1${0}", "t_$1")
	}
	f.Fuzz(func(t *testing.T, regex, text, replacement, target string) {
		if len(regex) > 100 || len(text) > 200 || len(replacement) > 50 {
			return
		}
		re, err := prom.NewRegexp(regex)
		if err != nil {
			return
		}
		var rules []*prom.Config
		for _, action := range []prom.Action{prom.Replace, prom.LabelMap, prom.LabelDrop, prom.Keep} {
			c := prom.DefaultRelabelConfig
			c.Action, c.Regex = action, re
			if action == prom.Replace {
				c.TargetLabel = target
				c.SourceLabels = append(c.SourceLabels, "a")
			}
			if action == prom.Keep {
				c.SourceLabels = append(c.SourceLabels, "a")
			}
			if action == prom.Replace || action == prom.LabelMap {
				c.Replacement = replacement
			}
			if c.Validate(utf8Names) == nil {
				rules = append(rules, &c)
			}
		}
		var set labels.Set
		set.Add(labels.Label{Name: "a", Value: text}, labels.Key{})
		if text != "" {
			set.Add(labels.Label{Name: text, Value: "v"}, labels.Key{})
		}
		set.Sort()
		for i := range rules {
			one := rules[i : i+1]
			checkApply(t, relabel.Compile(one, relabel.Options{}), &relabel.Scratch{}, one, relabel.Options{}, &set)
		}
	})
}
