package reduce

import (
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/measure"
)

// BenchmarkStages is what pushes of 2000 known series of 100 thousand cost here, in the order in which they came first. Beside it is
// the least that could be done: to compare each key with memory that stands in the order of the push, and to write the verdict;
// where labels change, also to write to 64 bytes for what leaves.
func BenchmarkStages(b *testing.B) {
	const pushes = 50
	for _, c := range judged {
		r := newRig(b, Options{MaxSeries: 1 << 20})
		p, loads := r.metrics(c.rules), make([]*load, pushes)
		slots, lines := make([][2]labels.Key, pushes*pushSeries), make([][8]uint64, pushes*pushSeries)
		var other labels.Key
		for n := range loads {
			loads[n] = newLoad(p, pushSeries, c.series)
			loads[n].at(began)
			for i := range loads[n].ss {
				s := &loads[n].ss[i]
				s.Key = s.Key.Plus(other) // the same labels under other keys
				slots[n*pushSeries+i][0], lines[n*pushSeries+i][0] = s.Key, 1
			}
			other = other.Plus(shadow).Plus(asCame)
		}
		run := func(name string, f func(n int)) {
			b.Run(c.name+"/"+name, func(b *testing.B) {
				for n := range 2 * pushes {
					f(n % pushes)
				}
				rounds, before := 0, measure.OwnCPU()
				for b.Loop() {
					f(rounds % pushes)
					rounds++
				}
				b.ReportMetric(float64(measure.OwnCPU()-before)/float64(rounds*pushSeries), "cpu-ns/series")
				_, bytes := r.Entries()
				b.ReportMetric(float64(bytes)/(pushes*pushSeries), "B/series")
			})
		}
		run("ours", func(n int) {
			push := p.Begin(began, Plain, func(int) *fault.Error { return nil })
			push.Reducer.Judge(loads[n].ss, loads[n].show)
			push.Close()
		})
		run("floor", func(n int) {
			for i := range loads[n].ss {
				s, at := &loads[n].ss[i], n*pushSeries+i
				if slots[at][0] == s.Key {
					s.Verdict = ingest.Pass
				}
				if c.name == "rewritten" {
					lines[at][3]++
				}
			}
		})
	}
}
