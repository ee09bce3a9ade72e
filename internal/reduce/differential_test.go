package reduce

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	promlabels "github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/model/relabel"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// script makes rules, series and steps of bytes, so that a fuzzer has something to work on.
type script struct{ bytes []byte }

func (g *script) below(n int) int {
	if len(g.bytes) == 0 {
		return 0
	}
	b := int(g.bytes[0])
	g.bytes = g.bytes[1:]
	return b % n
}

func one[T any](g *script, of ...T) T { return of[g.below(len(of))] }

func (g *script) name() string {
	return one(g, "a", "b", "ab", "job", "__name__", "__tmp_x", "resource.a", "scope.name", "le", "cluster", "pod", "env")
}

func (g *script) value() string {
	return one(g, "a", "b", "ab", "aab", "x", "1", "10.0.0.1:9100", "é", "m", "prod")
}

func (g *script) rule(mapping bool) *prom.Config {
	c := prom.DefaultRelabelConfig
	c.Action = one(g, prom.Replace, prom.Replace, prom.Replace, prom.LabelDrop, prom.LabelKeep, prom.Drop, prom.Keep, prom.HashMod,
		prom.Lowercase, prom.Uppercase, prom.KeepEqual, prom.DropEqual, prom.LabelMap, prom.LabelDrop)
	if c.Action == prom.LabelMap && !mapping {
		return nil
	}
	names := c.Action == prom.LabelDrop || c.Action == prom.LabelKeep || c.Action == prom.LabelMap
	if equal := c.Action == prom.KeepEqual || c.Action == prom.DropEqual; !equal {
		c.Regex = prom.MustNewRegexp(one(g, "(.*)", "a.*", "(a|b)(.*)", "pod", ".+", "resource.*", "__name__|le|env", "(?i:AB)", "job|ab", "[^:]+:(.*)"))
	}
	if !names {
		for range g.below(3) {
			c.SourceLabels = append(c.SourceLabels, model.LabelName(g.name()))
		}
		c.TargetLabel = g.name()
	}
	switch c.Action {
	case prom.Replace, prom.LabelMap:
		c.Replacement = one(g, "$1", "a", "", "x_$1", "resource.$1", "${2}y")
	case prom.HashMod:
		c.Modulus = uint64(1 + g.below(3))
	}
	if c.Validate(model.UTF8Validation) != nil {
		return nil
	}
	return &c
}

func (g *script) rules(mapping bool) (list []*prom.Config) {
	for range g.below(5) {
		if c := g.rule(mapping); c != nil {
			list = append(list, c)
		}
	}
	return list
}

func (g *script) series() string {
	values := map[string]string{"__name__": one(g, "m", "n", "h_bucket")}
	for range g.below(6) {
		values[g.name()] = g.value()
	}
	return show(labels.Sorted(values))
}

// reference is what the library makes of a series that p gets, in the words of got.
func reference(s *Settings, v View, text string) string {
	was := map[string]string{}
	for _, l := range append(parse(text), s.Stamps...) {
		was[l.Name] = l.Value
	}
	b := promlabels.NewBuilder(promlabels.FromMap(was))
	for _, c := range s.Rules {
		if !prom.ProcessBuilder(b, c) {
			return "dropped"
		}
		if v == Attributes {
			thaw(b, was)
		}
	}
	now := map[string]string{}
	b.Labels().Range(func(l promlabels.Label) {
		if !strings.HasPrefix(l.Name, "__tmp") {
			now[l.Name] = l.Value
		}
	})
	var protected []string
	switch {
	case s.Signal == ingest.Metrics && !s.AllowProtected:
		protected = protectedNames
	case s.Signal == ingest.Metrics && v == Attributes:
		protected = []string{"__name__"} // on the wire a field that stays
	}
	for _, name := range protected {
		if now[name] == "" && was[name] != "" {
			now[name] = was[name]
		}
	}
	if len(now) == 0 {
		return "dropped"
	}
	moved := map[string]string{}
	for _, name := range s.StructuredMetadata {
		if now[name] != "" && len(now) > 1 {
			moved[name] = now[name]
			delete(now, name)
		}
	}
	left := show(labels.Sorted(now))
	if len(moved) > 0 {
		left += " moved " + show(labels.Sorted(moved))
	}
	return left
}

// thaw gives labels that cannot be changed their values back.
func thaw(b *promlabels.Builder, was map[string]string) {
	frozen := func(name string) bool {
		return slices.ContainsFunc(readOnly, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
	}
	var all []string
	b.Range(func(l promlabels.Label) { all = append(all, l.Name) })
	for _, name := range all {
		if frozen(name) {
			b.Set(name, was[name])
		}
	}
	for name, value := range was {
		if frozen(name) {
			b.Set(name, value)
		}
	}
}

// play runs a script against an engine: pushes, reloads and idle time. mismatch is told what left otherwise than the library
// says. None of the series has samples, so that none collides with another.
func play(t testing.TB, b []byte, o Options, mismatch func(text, got, want string)) (compared int) {
	g := &script{b}
	r := newRig(t, o)
	v, signal := Plain, ingest.Metrics
	var metadata []string
	switch g.below(3) {
	case 1:
		v = Attributes
	case 2:
		signal, metadata = ingest.Logs, []string{"pod", "b", "__name__"}
	}
	var sets [][]*prom.Config
	for range 3 {
		sets = append(sets, g.rules(v == Plain))
	}
	var pool []string
	for range 4 + g.below(40) {
		pool = append(pool, g.series())
	}
	s := Settings{Environment: "prod", Client: "app", Signal: signal, StructuredMetadata: metadata, Rules: sets[0]}
	if g.below(2) == 1 {
		s.Stamps = []labels.Label{{Name: "env", Value: "prod"}}
	}
	p := r.Policy(s)
	for range 12 {
		switch g.below(8) {
		case 0, 1:
			s.Rules = sets[g.below(len(sets))]
			s.AllowProtected = g.below(4) == 1
			p = r.Policy(s)
			r.Adopt([]*Policy{p})
		case 2:
			r.wait(25 * time.Minute)
		case 3:
			r.wait(time.Duration(1+g.below(20)) * time.Minute)
		}
		var all []sent
		for range 1 + g.below(20) {
			all = append(all, sent{labels: one(g, pool...), lines: 1, weight: 1})
		}
		for i, left := range r.pushIn(p, v, all...).left {
			compared++
			if want := reference(&s, v, all[i].labels); left != want {
				mismatch(all[i].labels, left, want)
			}
		}
	}
	if o.KeyBits == 0 {
		r.drain()
	}
	return compared
}

func scriptBytes(r *rand.Rand) []byte {
	b := make([]byte, 200+r.IntN(600))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func playAll(t *testing.T, o Options, n int, seed uint64) (compared, wrong int) {
	r := rand.New(rand.NewPCG(seed, 7))
	for range n {
		compared += play(t, scriptBytes(r), o, func(text, got, want string) {
			if wrong++; o.KeyBits == 0 || o.CheckLabels {
				t.Errorf("%s left as %q, want %q", text, got, want)
			}
		})
		if t.Failed() {
			break
		}
	}
	return compared, wrong
}

func TestSameAsPrometheus(t *testing.T) {
	if n, _ := playAll(t, Options{}, 250, 1); n < 15_000 {
		t.Errorf("%d series compared: the test tests too little", n)
	}
}

// TestKeysThatCollide: nothing relies on two series having different keys but what has compared their labels; and without
// that comparison the oracle sees what goes wrong, so it would see it above too.
func TestKeysThatCollide(t *testing.T) {
	if n, _ := playAll(t, Options{KeyBits: 8, CheckLabels: true}, 150, 2); n < 8_000 {
		t.Errorf("%d series compared: the test tests too little", n)
	}
	if n, wrong := playAll(t, Options{KeyBits: 8}, 60, 2); wrong < 20 {
		t.Errorf("of %d series whose keys have 8 bits %d were decided as others were, want more", n, wrong)
	}
}

func FuzzSameAsPrometheus(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 7))
	for range 20 {
		f.Add(scriptBytes(r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1500 {
			return
		}
		play(t, b, Options{}, func(text, got, want string) { t.Errorf("%s left as %q, want %q", text, got, want) })
		play(t, b, Options{KeyBits: 8, CheckLabels: true}, func(text, got, want string) {
			t.Errorf("with keys of 8 bits %s left as %q, want %q", text, got, want)
		})
	})
}
