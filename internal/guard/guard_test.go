package guard

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// series makes the labels of a series: its metric, then names and values.
func series(metric string, pairs ...string) []labels.Label {
	m := map[string]string{}
	if metric != "" {
		m["__name__"] = metric
	}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return labels.Sorted(m)
}

func sender(client string) Sender {
	return Sender{Environment: "prod", Client: client, Signal: "metrics"}
}

const (
	environmentKey = "environments.prod.metrics.limits"
	clientKey      = "environments.prod.clients.app.limits"
)

func TestReasons(t *testing.T) {
	f := func(environment, client Limits, known [][]labels.Label, last []labels.Label, want Refusal, refused bool) {
		t.Helper()
		environment.Key, client.Key = environmentKey, clientKey
		g := New(Options{Started: start})
		p := g.Policy(sender("app"), environment, client, false, []string{"cluster"})
		for _, k := range known {
			if _, r, refused := p.Admit(start, k, 1); refused || r.Observed {
				t.Fatalf("%v is refused: %+v", k, r)
			}
		}
		_, got, is := p.Admit(start, last, 1)
		if got != want || is != refused {
			t.Errorf("got %+v %v, want %+v %v", got, is, want, refused)
		}
	}
	two := [][]labels.Label{series("m", "a", "1"), series("m", "a", "2")}
	three := series("m", "a", "3")
	f(Limits{}, Limits{}, two, three, Refusal{}, false)
	f(Limits{ActiveSeries: 3}, Limits{ActiveSeries: 3}, two, three, Refusal{}, false)
	f(Limits{ActiveSeries: 2}, Limits{}, two, three,
		Refusal{Reason: "active_series", Key: environmentKey + ".active_series", Limit: 2, Count: 3, Metric: "m"}, true)
	f(Limits{ActiveSeries: 2}, Limits{ActiveSeries: 2}, two, three,
		Refusal{Reason: "active_series", Key: clientKey + ".active_series", Limit: 2, Count: 3, Metric: "m"}, true)
	f(Limits{ActiveSeriesPerMetric: 2}, Limits{}, two, three,
		Refusal{Reason: "active_series_per_metric", Key: environmentKey + ".active_series_per_metric", Limit: 2, Count: 3, Metric: "m"}, true)
	f(Limits{ActiveSeriesPerMetric: 2}, Limits{ActiveSeriesPerMetric: 2}, two, series("other", "a", "3"), Refusal{}, false)
	f(Limits{}, Limits{ActiveSeriesPerMetric: 2, ActiveSeries: 2}, two, three,
		Refusal{Reason: "active_series_per_metric", Key: clientKey + ".active_series_per_metric", Limit: 2, Count: 3, Metric: "m"}, true)
	f(Limits{ValuesPerLabel: 2, ActiveSeries: 2}, Limits{}, two, three,
		Refusal{Reason: "values_per_label", Key: environmentKey + ".values_per_label", Limit: 2, Count: 3, Metric: "m", Label: "a"}, true)
	// A new series of known values is none too many, and neither is one of another metric.
	f(Limits{ValuesPerLabel: 2}, Limits{ValuesPerLabel: 2}, two, series("m", "a", "2", "b", "1"), Refusal{}, false)
	f(Limits{ValuesPerLabel: 2}, Limits{ValuesPerLabel: 2}, two, series("n", "a", "3"), Refusal{}, false)
	// What refuses is told before what only observes.
	f(Limits{ActiveSeries: 2}, Limits{ActiveSeriesPerMetric: 2, Observe: true}, two, three,
		Refusal{Reason: "active_series", Key: environmentKey + ".active_series", Limit: 2, Count: 3, Metric: "m"}, true)
	f(Limits{ActiveSeries: 2, Observe: true}, Limits{ActiveSeries: 3}, two, three,
		Refusal{Reason: "active_series", Key: environmentKey + ".active_series", Limit: 2, Count: 3, Metric: "m", Observed: true}, false)
	// Labels that no limit on values holds for: the stamp is cluster.
	for _, name := range []string{"le", "quantile", "cluster"} {
		f(Limits{ValuesPerLabel: 2}, Limits{ValuesPerLabel: 2},
			[][]labels.Label{series("m", name, "1"), series("m", name, "2")}, series("m", name, "3"), Refusal{}, false)
	}
	f(Limits{ValuesPerLabel: 1}, Limits{}, [][]labels.Label{series("m1"), series("m2")}, series("m3"), Refusal{}, false)
}

func TestWeightIsTakenWholeOrNot(t *testing.T) {
	g := New(Options{Started: start})
	p := g.Policy(sender("app"), Limits{ActiveSeries: 10}, Limits{}, false, nil)
	ref, _, refused := p.Admit(start, series("m", "a", "1"), 8)
	if refused {
		t.Fatal("8 of 10 are refused")
	}
	if _, r, refused := p.Admit(start, series("m", "a", "2"), 3); !refused || r.Count != 11 {
		t.Fatalf("3 more: refused %v, count %d", refused, r.Count)
	}
	if _, _, refused := p.Admit(start, series("m", "a", "3"), 2); refused {
		t.Fatal("2 more are refused: the 3 before took places")
	}
	g.Release(ref, 8)
	if _, _, refused := p.Admit(start, series("m", "a", "2"), 8); refused {
		t.Fatal("8 given back cannot be taken again")
	}
}

func TestExempt(t *testing.T) {
	g := New(Options{Started: start})
	one := Limits{ActiveSeries: 1, ValuesPerLabel: 1, LabelsPerSeries: 1, LineBytes: 1}
	watcher := g.Policy(sender("watcher"), one, one, true, nil)
	for i := range 5 {
		if _, r, refused := watcher.Admit(start, series("m", "a", fmt.Sprint(i)), 1); refused || r.Observed {
			t.Fatalf("series %d of an exempt client: %+v", i, r)
		}
	}
	_, shape := watcher.Shape(series("m", "a", "b"))
	if _, line := watcher.TooLong(100); shape || line || watcher.LongestLine() != 0 {
		t.Error("an exempt client has limits of shape")
	}
	app := g.Policy(sender("app"), one, Limits{}, false, nil)
	if _, r, refused := app.Admit(start, series("n"), 1); !refused || r.Count != 6 {
		t.Errorf("the series of the exempt client are not counted: %v %+v", refused, r)
	}
}

func TestObserve(t *testing.T) {
	g := New(Options{Started: start})
	p := g.Policy(sender("app"), Limits{Key: environmentKey, ActiveSeries: 2, ValuesPerLabel: 3, Observe: true}, Limits{}, false, nil)
	observed := 0
	for i := range 10 {
		ref, r, refused := p.Admit(start, series("m", "a", fmt.Sprint(i)), 1)
		if refused || ref == 0 {
			t.Fatal("observing refuses")
		}
		if r.Observed {
			observed++
		}
	}
	if observed != 8 {
		t.Errorf("%d were observed, want 8", observed)
	}
	r := g.Report(start, ReportOptions{})
	if n := r.Spaces[0].Active; n != 10 {
		t.Errorf("%d are active, want 10", n)
	}
	refused := map[string]uint64{}
	for _, f := range r.Spaces[0].Refusals {
		if !f.Observed {
			t.Errorf("%+v is not marked as observed", f)
		}
		refused[f.Reason] += f.Refused
	}
	if refused["active_series"] != 1 || refused["values_per_label"] != 7 {
		t.Errorf("observed: %v, want 1 and 7 (the narrower reason comes first)", refused)
	}
}

func TestWarmup(t *testing.T) {
	f := func(limit int, after time.Duration, want int) {
		t.Helper()
		for name, l := range map[string]Limits{
			"active_series":            {ActiveSeries: limit},
			"active_series_per_metric": {ActiveSeriesPerMetric: limit},
			"values_per_label":         {ValuesPerLabel: limit},
		} {
			g := New(Options{Started: start, Warmup: 5 * time.Minute})
			p := g.Policy(sender("app"), l, Limits{}, false, nil)
			got := 0
			for i := range 2 * want {
				if _, _, refused := p.Admit(start.Add(after), series("m", "a", fmt.Sprint(i)), 1); !refused {
					got++
				}
			}
			if got != want {
				t.Errorf("%s=%d after %s admits %d, want %d", name, limit, after, got, want)
			}
			r := g.Report(start.Add(after), ReportOptions{})
			if warm := r.WarmupUntil != nil; warm != (want > limit) || int(r.Spaces[0].WarmupSeries) != want-limit {
				t.Errorf("the report says warm-up %v with %d series", warm, r.Spaces[0].WarmupSeries)
			}
		}
	}
	f(100, 0, 120)
	f(101, 5*time.Minute-1, 122)
	f(1, time.Minute, 2)
	f(100, 5*time.Minute, 100)
}

// TestExactAtTheLimit: whatever 64 goroutines do at once, as many are admitted as the limit says.
func TestExactAtTheLimit(t *testing.T) {
	f := func(environment, client Limits, want int) {
		t.Helper()
		g := New(Options{Started: start})
		p := g.Policy(sender("app"), environment, client, false, nil)
		var admitted atomic.Int64
		var wg sync.WaitGroup
		for w := range 64 {
			wg.Go(func() {
				var held []uint32
				for i := range 100 {
					ref, _, refused := p.Admit(start, series("m", "a", fmt.Sprint(w, "-", i)), 1)
					if !refused {
						held = append(held, ref)
					}
					// Some go and come again: whoever is refused is refused because of places that stay taken.
					if len(held) > 0 && i%3 == 0 {
						again := held[len(held)-1]
						g.Release(again, 1)
						held = held[:len(held)-1]
					}
				}
				admitted.Add(int64(len(held)))
			})
		}
		wg.Wait()
		got := 0
		g.Each(func(_ Sender, active int) { got += active })
		if got != int(admitted.Load()) || got > want {
			t.Errorf("%d are active, %d were admitted, the limit is %d", got, admitted.Load(), want)
		}
		for i := 0; ; i++ {
			if _, _, refused := p.Admit(start, series("m", "a", fmt.Sprint("last", i)), 1); refused {
				got += i
				break
			}
		}
		if got != want {
			t.Errorf("%d fit, want %d", got, want)
		}
	}
	f(Limits{ActiveSeries: 1000}, Limits{}, 1000)
	f(Limits{ActiveSeries: 1001}, Limits{ActiveSeriesPerMetric: 1000}, 1000)
	f(Limits{}, Limits{ActiveSeries: 999}, 999)
}

// TestAllAtOnce: everything that may be called at once is, and in the end nothing is left.
func TestAllAtOnce(t *testing.T) {
	g := New(Options{Started: start, MaxMetrics: 40, ExampleValues: true})
	limits := Limits{Key: environmentKey, ActiveSeries: 3000, ActiveSeriesPerMetric: 300, ValuesPerLabel: 40, LineBytes: 5}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 3))
			s := Sender{Environment: []string{"prod", "dev"}[w%2], Client: fmt.Sprint("c", w%3), Signal: "metrics"}
			p := g.Policy(s, limits, limits, false, nil)
			type held struct {
				ref    uint32
				labels []labels.Label
			}
			var all []held
			for i := range 1500 {
				now := start.Add(time.Duration(i) * time.Second)
				ls := series(fmt.Sprint("m", rnd.IntN(60)), "a", fmt.Sprint(rnd.IntN(60)), "w", fmt.Sprint(w))
				ref, r, refused := p.Admit(now, ls, 2)
				if !refused {
					all = append(all, held{ref, ls})
				}
				if refused && i%50 == 0 && p.Describe(r, nil) == "" {
					t.Error("nothing is said")
				}
				switch k := rnd.IntN(max(len(all), 1)); {
				case len(all) == 0:
				case i%3 == 0:
					g.Release(all[k].ref, 2)
					all = slices.Delete(all, k, k+1)
				default:
					g.Refresh(now, all[k].ref, all[k].labels)
				}
				switch i % 500 {
				case 100:
					g.Report(now, ReportOptions{})
				case 200:
					p = g.Policy(s, limits, limits, false, []string{"w"})
					p.TakeEffect()
				case 300:
					p.TooLong(6)
					p.Would(now, ls, ls, true)
				}
			}
			for _, h := range all {
				g.Release(h.ref, 2)
			}
		})
	}
	wg.Wait()
	g.Each(func(s Sender, active int) {
		if active != 0 {
			t.Errorf("%v has %d series left", s, active)
		}
	})
	for _, s := range g.Report(start.Add(2*time.Hour), ReportOptions{}).Spaces {
		if s.Active != 0 || s.Metrics != 0 {
			t.Errorf("%s: %d series and %d metrics are left", s.Environment, s.Active, s.Metrics)
		}
	}
	if g.names.Load() != 0 || g.sets.Load() != 0 || len(g.pairs.free) != int(g.pairs.next) {
		t.Errorf("%d names, %d sets, %d of %d pairs are left", g.names.Load(), g.sets.Load(), int(g.pairs.next)-len(g.pairs.free), g.pairs.next)
	}
}

func TestWould(t *testing.T) {
	g := New(Options{Started: start})
	p := g.Policy(sender("app"), Limits{Key: environmentKey, ActiveSeries: 1, LabelsPerSeries: 1}, Limits{}, false, nil)
	ls := series("m", "a", "b")
	for range 2 {
		if all := p.Would(start, ls, ls, true); len(all) != 1 || all[0].Reason != "labels_per_series" {
			t.Errorf("with no series yet: %+v", all)
		}
	}
	p.Admit(start, ls, 1)
	want := Refusal{Reason: "active_series", Key: environmentKey + ".active_series", Limit: 1, Count: 2, Metric: "m"}
	if all := p.Would(start, ls, ls, true); len(all) != 2 || all[1] != want {
		t.Errorf("with one: %+v", all)
	}
	if n := activeOf(g, "app"); n != 1 || len(g.Report(start, ReportOptions{}).Spaces[0].Refusals) != 0 {
		t.Error("asking counts")
	}
	if n := testing.AllocsPerRun(200, func() { p.Admit(start, ls, 1) }); n != 0 {
		t.Errorf("%v allocations for a series that is refused", n)
	}
}

func TestAllocations(t *testing.T) {
	g := New(Options{Started: start})
	p := g.Policy(sender("app"), Limits{ActiveSeries: 1000, ActiveSeriesPerMetric: 1000, ValuesPerLabel: 1000}, Limits{ValuesPerLabel: 10}, false, []string{"s"})
	ls := series("m", "a", "b", "c", "d", "e", "f", "s", "t")
	p.Admit(start, ls, 1)
	if n := testing.AllocsPerRun(20, func() {
		ref, _, _ := p.Admit(start, ls, 1)
		g.Refresh(start, ref, ls)
		g.Release(p.Adopt(start, ls, 1), 1)
		g.Release(ref, 1)
	}); n != 0 {
		t.Errorf("%v allocations for a metric that is known", n)
	}
}

func TestAdoptIsNeverRefused(t *testing.T) {
	g := New(Options{Started: start})
	p := g.Policy(sender("app"), Limits{ActiveSeries: 1}, Limits{}, false, nil)
	a := p.Adopt(start, series("m", "a", "1"), 1)
	b := p.Adopt(start, series("m", "a", "2"), 1)
	if a == 0 || a != b {
		t.Fatalf("refs %d and %d of one metric of one client", a, b)
	}
	if _, r, refused := p.Admit(start, series("m", "a", "3"), 1); !refused || r.Count != 3 {
		t.Errorf("what was adopted is not counted: %+v", r)
	}
}

func TestShape(t *testing.T) {
	f := func(environment, client Limits, ls []labels.Label, want Refusal, found bool) {
		t.Helper()
		environment.Key, client.Key = environmentKey, clientKey
		p := New(Options{Started: start, Now: func() time.Time { return start }}).Policy(sender("app"), environment, client, false, nil)
		if got, is := p.Shape(ls); got != want || is != found {
			t.Errorf("got %+v %v, want %+v %v", got, is, want, found)
		}
	}
	ls := series("metric", "abc", "12345")
	f(Limits{LabelsPerSeries: 2, LabelNameBytes: 8, LabelValueBytes: 6}, Limits{}, ls, Refusal{}, false)
	f(Limits{LabelsPerSeries: 1}, Limits{}, ls,
		Refusal{Reason: "labels_per_series", Key: environmentKey + ".labels_per_series", Limit: 1, Count: 2, Metric: "metric"}, true)
	f(Limits{}, Limits{LabelNameBytes: 7}, ls,
		Refusal{Reason: "label_name_bytes", Key: clientKey + ".label_name_bytes", Limit: 7, Count: 8, Metric: "metric", Label: "__name__"}, true)
	f(Limits{LabelValueBytes: 5}, Limits{}, ls,
		Refusal{Reason: "label_value_bytes", Key: environmentKey + ".label_value_bytes", Limit: 5, Count: 6, Metric: "metric", Label: "__name__"}, true)
	f(Limits{LabelValueBytes: 5, Observe: true}, Limits{}, ls,
		Refusal{Reason: "label_value_bytes", Key: environmentKey + ".label_value_bytes", Limit: 5, Count: 6, Metric: "metric", Label: "__name__", Observed: true}, true)
	f(Limits{LabelsPerSeries: 1}, Limits{LabelsPerSeries: 1, Observe: true}, ls,
		Refusal{Reason: "labels_per_series", Key: environmentKey + ".labels_per_series", Limit: 1, Count: 2, Metric: "metric"}, true)

	p := New(Options{Started: start}).Policy(sender("app"), Limits{LabelsPerSeries: 9, LabelNameBytes: 9, LabelValueBytes: 9}, Limits{}, false, nil)
	if n := testing.AllocsPerRun(100, func() { p.Shape(ls) }); n != 0 {
		t.Errorf("%v allocations for a fine shape", n)
	}
}

func TestLines(t *testing.T) {
	f := func(environment, client Limits, longest, bytes int, refused bool) {
		t.Helper()
		p := New(Options{Started: start}).Policy(Sender{"prod", "app", "logs"}, environment, client, false, nil)
		if got := p.LongestLine(); got != longest {
			t.Errorf("the longest line is %d, want %d", got, longest)
		}
		if r, found := p.TooLong(bytes); found && !r.Observed != refused || !found && refused {
			t.Errorf("a line of %d: %+v", bytes, r)
		}
		if n := len(p.g.Report(start, ReportOptions{}).Spaces[0].Refusals); (n == 1) != (longest > 0 && bytes > longest) {
			t.Errorf("a line of %d, and %d recent refusals", bytes, n)
		}
	}
	f(Limits{}, Limits{}, 0, 1e9, false)
	f(Limits{LineBytes: 10}, Limits{}, 10, 10, false)
	f(Limits{LineBytes: 10}, Limits{}, 10, 11, true)
	f(Limits{LineBytes: 10}, Limits{LineBytes: 5}, 5, 6, true)
	f(Limits{LineBytes: 5}, Limits{LineBytes: 10}, 5, 6, true)
	f(Limits{LineBytes: 10}, Limits{LineBytes: 5, Observe: true}, 5, 6, false)
	f(Limits{LineBytes: 10}, Limits{LineBytes: 5, Observe: true}, 5, 11, true)
}
