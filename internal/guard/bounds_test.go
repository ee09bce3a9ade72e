package guard

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestBounded: what senders make up costs a bounded amount of memory, and counts stay right.
func TestBounded(t *testing.T) {
	f := func(what string, maxMetrics int, limits Limits, n int, mostBytes uint64, make func(i int) []labels.Label) {
		t.Helper()
		before := heap()
		g := New(Options{Started: start, MaxMetrics: maxMetrics, ExampleValues: true})
		p := g.Policy(sender("app"), limits, limits, false, nil)
		admitted := 0
		for i := range n {
			ls := make(i)
			now := start.Add(time.Duration(i) * time.Millisecond)
			if _, _, refused := p.Admit(now, ls, 1); !refused {
				admitted++
			}
			p.Shape(ls)
		}
		if got := activeOf(g, "app"); got != admitted {
			t.Errorf("%s: %d are active, %d were admitted", what, got, admitted)
		}
		r := g.Report(start.Add(time.Hour), ReportOptions{})
		if after := heap(); after > before+mostBytes {
			t.Errorf("%s: %d bytes, want at most %d", what, after-before, mostBytes)
		}
		if s := r.Spaces[0]; len(s.Refusals) > refusalsKept+10 || r.MetricNames > r.MaxMetricNames+idleMetrics {
			t.Errorf("%s: %d refusals, %d names", what, len(s.Refusals), r.MetricNames)
		}
		runtime.KeepAlive(g)
	}
	long := strings.Repeat("x", 300)
	few := 2000
	all := Limits{ActiveSeries: 1 << 40, ActiveSeriesPerMetric: 1 << 40, ValuesPerLabel: 50}
	one := func(metric, name, value string) []labels.Label {
		return []labels.Label{{Name: "__name__", Value: metric}, {Name: name, Value: value}}
	}
	// A million names: as many are told apart as one client may have, half of the default.
	f("metrics", 0, Limits{}, 1_000_000, 60<<20, func(i int) []labels.Label { return one(fmt.Sprint("m", i), "a", "b") })
	f("metrics with limits on values", few, all, 50_000, 8<<20, func(i int) []labels.Label {
		return append(one(fmt.Sprint("m", i), "a", fmt.Sprint(i)), labels.Label{Name: "b", Value: fmt.Sprint(i)})
	})
	f("refused metrics", few, Limits{ActiveSeries: 1}, 50_000, 16<<20, func(i int) []labels.Label { return one(fmt.Sprint("m", i), "a", fmt.Sprint(i)) })
	f("long metrics", few, Limits{ActiveSeries: 1000}, 20_000, 4<<20, func(i int) []labels.Label { return one(fmt.Sprint(long, i), "a", "b") })
	f("label names", few, all, 50_000, 4<<20, func(i int) []labels.Label { return one("m", fmt.Sprint("l", i), "a") })
	f("long label names", few, all, 20_000, 4<<20, func(i int) []labels.Label { return one("m", fmt.Sprint(long, i), "a") })
	f("values", few, all, 50_000, 4<<20, func(i int) []labels.Label { return one("m", "a", fmt.Sprint(long, i)) })
	f("shapes", few, Limits{LabelNameBytes: 3, LabelsPerSeries: 3}, 20_000, 4<<20, func(i int) []labels.Label {
		return one(fmt.Sprint("m", i%3000), fmt.Sprint("label", i), "a")
	})
}

func TestOtherMetrics(t *testing.T) {
	g := New(Options{Started: start, MaxMetrics: 10})
	limits := Limits{ActiveSeriesPerMetric: 2, ActiveSeries: 30}
	a := g.Policy(sender("a"), limits, Limits{}, false, nil)
	b := g.Policy(sender("b"), limits, Limits{}, false, nil)
	refs := map[uint32]int{}
	for i := range 20 {
		ref, r, refused := a.Admit(start, series(fmt.Sprint("m", i), "x", "1"), 1)
		if refused {
			t.Fatalf("metric %d is refused: %+v", i, r)
		}
		refs[ref]++
	}
	if len(refs) != 6 {
		t.Errorf("%d entries, want five of the ten and one for the others", len(refs))
	}
	// Half of the names are left for others, whose limits hold.
	for i := range 3 {
		if _, _, refused := b.Admit(start, series("mine", "x", fmt.Sprint(i)), 1); refused != (i == 2) {
			t.Errorf("series %d of b: refused %v", i, refused)
		}
	}
	s := g.Report(start, ReportOptions{}).Spaces[0]
	if s.Clients[0].OtherMetrics != 15 || s.Clients[0].Active != 20 || s.Clients[1].OtherMetrics != 0 {
		t.Errorf("%+v", s.Clients)
	}
	for ref, n := range refs {
		for range n {
			g.Release(ref, 1)
		}
	}
	s = g.Report(start, ReportOptions{}).Spaces[0]
	if s.Active != 2 || s.Metrics != 1 || g.names.Load() != 1 || len(g.pairs.free) != 6 {
		t.Errorf("after all is released: %+v, %d names, %d free", s, g.names.Load(), len(g.pairs.free))
	}
	if _, _, refused := a.Admit(start, series("m19", "x", "1"), 1); refused || g.names.Load() != 2 {
		t.Error("a name that was given back is not told apart again")
	}
}

// TestRefusedMetricsAreForgotten: a metric without a series is remembered while it is refused, and not for ever.
func TestRefusedMetricsAreForgotten(t *testing.T) {
	g := New(Options{Started: start, ExampleValues: true})
	p := g.Policy(sender("app"), Limits{ActiveSeries: 1}, Limits{}, false, nil)
	p.Admit(start, series("first"), 1)
	for i := range 40 {
		p.Admit(start, series("late", "user_id", fmt.Sprint(i)), 1)
	}
	_, r, _ := p.Admit(start, series("late", "user_id", "x"), 1)
	if text := p.Describe(r, nil); !strings.Contains(text, "label user_id grew to about 41 values") {
		t.Error(text)
	}
	if _, r, _ = p.Admit(start, series("late", "user_id", "y"), 1); r.Label != "user_id" {
		t.Errorf("what was found out is not remembered: %+v", r)
	}
	if n := g.Report(start.Add(19*time.Minute), ReportOptions{}).MetricNames; n != 2 {
		t.Errorf("%d names after 19 minutes, want 2", n)
	}
	if n := g.Report(start.Add(20*time.Minute), ReportOptions{}).MetricNames; n != 1 {
		t.Errorf("%d names after 20 minutes, want 1", n)
	}
}

// TestTheMetricsThatMatterAreWatched: a bigger one takes the place of the smallest, and a refused one comes before all.
func TestTheMetricsThatMatterAreWatched(t *testing.T) {
	g := New(Options{Started: start})
	p := g.Policy(sender("app"), Limits{ActiveSeriesPerMetric: 150}, Limits{}, false, nil)
	grow := func(metric string, n int) {
		for i := range n {
			p.Admit(start, series(metric, "a", fmt.Sprint(i)), 1)
		}
	}
	watched := func(metric string) bool { return p.space.metrics[metric].track != nil }
	grow("tiny", trackFrom-1)
	if watched("tiny") {
		t.Error("a tiny metric is watched")
	}
	for i := range trackedMetrics {
		grow(fmt.Sprint("m", i), 40+i%40)
	}
	if !watched("m0") || !watched("m127") {
		t.Error("there is room for all")
	}
	grow("another", 40)
	if watched("another") {
		t.Error("one that is no bigger takes a place")
	}
	grow("another", 100)
	if !watched("another") || watched("m0") && watched("m40") && watched("m80") && watched("m120") {
		t.Error("a bigger one does not take the place of the smallest")
	}
	grow("full", 151)
	if !watched("full") || len(p.space.tracked) != trackedMetrics {
		t.Errorf("a refused one is watched: %v, %d are", watched("full"), len(p.space.tracked))
	}
}
