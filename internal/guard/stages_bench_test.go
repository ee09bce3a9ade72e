package guard

import (
	"fmt"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/measure"
)

// books is a guard with all limits on, in which nothing is refused, and series of ten labels.
type books struct {
	g       *Guard
	p       *Policy
	all     [][]labels.Label
	refs    []uint32
	metrics map[string]int // for the floors
	sum     uint64
}

const (
	stagesSeries  = 20_000
	stagesMetrics = 500
)

func newBooks(all [][]labels.Label) *books {
	g := New(Options{Started: start})
	p := g.Policy(sender("app"), Limits{ActiveSeries: 1 << 40, ActiveSeriesPerMetric: 1 << 40, ValuesPerLabel: 1 << 20}, Limits{}, false, nil)
	return &books{g: g, p: p, all: all, refs: make([]uint32, len(all)), metrics: map[string]int{}}
}

// hold lets one series of each metric stay, so that the metric does.
func (s *books) hold() {
	for i := range stagesMetrics {
		s.p.Admit(start, s.all[i], 1)
	}
}

func (s *books) admit(b *testing.B) {
	for i, ls := range s.all {
		ref, r, refused := s.p.Admit(start, ls, 1)
		if refused {
			b.Fatalf("%+v", r)
		}
		s.refs[i] = ref
	}
}

func (s *books) release() {
	for _, ref := range s.refs {
		s.g.Release(ref, 1)
	}
}

// read is the least that has to be done with a series whose values are counted: hash them, and find its metric by its name.
func (s *books) read() {
	for _, ls := range s.all {
		for _, l := range ls {
			s.sum += xxhash.Sum64String(l.Value)
		}
		s.metrics[nameOf(ls)]++
	}
}

// BenchmarkStages says what the guard takes for a series, beside the least, which is to hash its values and to find its metric:
//
//   - admit/known and admit/new are Admit of a series that nobody has: of a metric with values that are known, and into a guard
//     that knows nothing at all. In between there is any mixture.
//   - refresh is Refresh, once in ten minutes for a live series.
func BenchmarkStages(b *testing.B) {
	all := make([][]labels.Label, stagesSeries)
	for i := range all {
		all[i] = series(fmt.Sprint("metric_", i%stagesMetrics), "cluster", "eu-1", "namespace", "shop", "job", "api",
			"instance", fmt.Sprint("10.0.0.", i/stagesMetrics), "pod", fmt.Sprint("api-", i/stagesMetrics), "method", "GET",
			"code", fmt.Sprint(i%5), "path", fmt.Sprint("/", i%40), "le", fmt.Sprint(i%12))
	}
	// run counts what work takes, and not what prepare and undo do around it.
	run := func(name string, prepare func() *books, work, undo func(*books)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			rounds, took := 0, time.Duration(0)
			for b.Loop() {
				b.StopTimer()
				s := prepare()
				b.StartTimer()
				began := measure.OwnCPU()
				work(s)
				took += measure.OwnCPU() - began
				b.StopTimer()
				undo(s)
				b.StartTimer()
				rounds++
			}
			b.ReportMetric(float64(took)/float64(rounds*stagesSeries), "cpu-ns/series")
		})
	}
	none := func(*books) {}
	held := newBooks(all)
	held.hold()
	known := func() *books { return held }
	full := newBooks(all)
	full.admit(b)
	live := func() *books { return full }
	now := start
	run("admit/known/ours", known, func(s *books) { s.admit(b) }, (*books).release)
	run("admit/known/floor", known, (*books).read, none)
	run("admit/new/ours", func() *books { return newBooks(all) }, func(s *books) { s.admit(b) }, none)
	run("admit/new/floor", func() *books { return newBooks(all) }, (*books).read, none)
	run("refresh/ours", live, func(s *books) {
		now = now.Add(10 * time.Minute)
		for i, ls := range s.all {
			s.g.Refresh(now, s.refs[i], ls)
		}
	}, none)
	run("refresh/floor", live, (*books).read, none)
}
