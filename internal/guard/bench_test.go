package guard

import (
	"fmt"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// benchSeries are n series of ten labels over 500 metrics.
func benchSeries(n int) [][]labels.Label {
	all := make([][]labels.Label, n)
	for i := range all {
		all[i] = series(fmt.Sprint("metric_", i%500), "cluster", "eu-1", "namespace", "shop", "job", "api", "instance", fmt.Sprint("10.0.0.", i/500),
			"pod", fmt.Sprint("api-", i/500), "method", "GET", "code", fmt.Sprint(i%5), "path", fmt.Sprint("/", i%40), "le", fmt.Sprint(i%12))
	}
	return all
}

func BenchmarkGuard(b *testing.B) {
	for name, l := range map[string]Limits{
		"counts":  {},
		"series":  {ActiveSeries: 1 << 40, ActiveSeriesPerMetric: 1 << 40},
		"values":  {ActiveSeries: 1 << 40, ActiveSeriesPerMetric: 1 << 40, ValuesPerLabel: 5000},
		"refused": {ActiveSeries: 1},
	} {
		all := benchSeries(50_000)
		g := New(Options{Started: start, ExampleValues: true})
		p := g.Policy(sender("app"), l, Limits{}, false, []string{"cluster"})
		for _, ls := range all { // what is admitted once has its metrics and sets
			p.Admit(start, ls, 1)
		}
		refs := make([]uint32, len(all))
		b.Run("admit/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				refs[i%len(all)], _, _ = p.Admit(start, all[i%len(all)], 1)
			}
		})
		if name == "refused" {
			continue
		}
		b.Run("refresh/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				g.Refresh(start.Add(time.Minute), refs[i%len(all)], all[i%len(all)])
			}
		})
		b.Run("adopt and release/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				g.Release(p.Adopt(start, all[i%len(all)], 1), 1)
			}
		})
	}
}

func BenchmarkDescribe(b *testing.B) {
	g := New(Options{Started: start})
	p := g.Policy(sender("app"), Limits{ActiveSeriesPerMetric: 20_000}, Limits{}, false, nil)
	var r Refusal
	for i := range 40_000 {
		_, r, _ = p.Admit(start, series("m", "user_id", fmt.Sprint(i), "session", fmt.Sprint(i), "pod", fmt.Sprint(i%500)), 1)
	}
	b.ReportAllocs()
	for b.Loop() {
		p.space.metrics["m"].track.culprit = culprit{}
		p.Describe(r, nil)
	}
}

func BenchmarkReport(b *testing.B) {
	g := New(Options{Started: start})
	p := g.Policy(sender("app"), Limits{}, Limits{}, false, nil)
	for _, ls := range benchSeries(100_000) {
		p.Admit(start, ls, 1)
	}
	for b.Loop() {
		g.Report(start, ReportOptions{})
	}
}
