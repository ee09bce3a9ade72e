package reduce

import (
	"fmt"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

const pushSeries = 2000

// load is a push that can be judged again and again, as of later times.
type load struct {
	ss   []ingest.Series
	sets []labels.Set
}

// newLoad makes n series; those of the engines of p have 8 labels each.
func newLoad(p *Policy, n int, name func(i int) string) *load {
	l := &load{ss: make([]ingest.Series, n), sets: make([]labels.Set, n)}
	push := p.Begin(began, Plain, func(int) *fault.Error { return nil })
	defer push.Close()
	h := push.Reducer.Keys
	for i := range l.ss {
		set := &l.sets[i]
		for _, one := range append(parse(name(i)), parse("cluster=eu-1,namespace=shop,job=checkout,instance=10.0.0.1:9100,method=GET")...) {
			set.Add(one, h.Sum(labels.Own, []byte(one.Name), []byte(one.Value)))
		}
		set.Sort()
		h.Begin()
		for _, one := range set.All {
			h.Add([]byte(one.Name), []byte(one.Value))
		}
		l.ss[i].Key, l.ss[i].Overwritten = h.End()
		l.ss[i].Items, l.ss[i].Weight = 1, 1
	}
	return l
}

func (l *load) at(now time.Time) {
	for i := range l.ss {
		l.ss[i].First, l.ss[i].Last = now.UnixMilli(), now.UnixMilli()
	}
}

func (l *load) show(i int, set *labels.Set) {
	set.All, set.Keys = append(set.All, l.sets[i].All...), append(set.Keys, l.sets[i].Keys...)
}

// judged is how pushes of known series are judged.
var judged = []struct {
	name, rules string
	series      func(i int) string
	want        ingest.Verdict
}{
	{"pass", "[]", podEach, ingest.Pass},
	{"rewritten", dropPod, podAndPath, ingest.Pass},
	{"dropped", `[{action: drop, source_labels: [__name__], regex: m}]`, podEach, ingest.Drop},
	{"suspended", dropPod, podEach, ingest.Pass},
}

func podEach(i int) string    { return fmt.Sprintf("m,pod=p-%d", i) }
func podAndPath(i int) string { return fmt.Sprintf("m,pod=p,path=/%d", i) }

func TestNoAllocations(t *testing.T) {
	for _, c := range judged {
		r := newRig(t, Options{})
		p := r.metrics(c.rules)
		l := newLoad(p, pushSeries, c.series)
		push := p.Begin(r.now, Plain, func(int) *fault.Error { return nil })
		l.at(r.now)
		push.Reducer.Judge(l.ss, l.show)
		asked := 0
		view := func(i int, set *labels.Set) { asked++; l.show(i, set) }
		n := testing.AllocsPerRun(10, func() {
			r.now = r.now.Add(time.Second)
			push.now = r.now
			l.at(r.now)
			push.Reducer.Judge(l.ss, view)
		})
		if n > poolLosses || asked != 0 {
			t.Errorf("%s: %v allocations a push of known series, and %d of them were shown, want none", c.name, n, asked)
		}
		if v := l.ss[7].Verdict; v != c.want || (l.ss[7].Change != nil) != (c.name == "rewritten") {
			t.Errorf("%s: verdict %v, change %v", c.name, v, l.ss[7].Change)
		}
		push.Close()
	}
}

func BenchmarkJudgeKnown(b *testing.B) {
	for _, c := range judged {
		b.Run(c.name, func(b *testing.B) {
			r := newRig(b, Options{})
			p := r.metrics(c.rules)
			l := newLoad(p, pushSeries, c.series)
			now := began
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Millisecond)
				l.at(now)
				push := p.Begin(now, Plain, func(int) *fault.Error { return nil })
				push.Reducer.Judge(l.ss, l.show)
				push.Close()
			}
			perSeries(b)
		})
	}
}

func BenchmarkJudgeNew(b *testing.B) {
	for _, c := range judged[:3] {
		b.Run(c.name, func(b *testing.B) {
			r := newRig(b, Options{})
			p := r.metrics(c.rules)
			l := newLoad(p, pushSeries, c.series)
			push := p.Begin(began, Plain, func(int) *fault.Error { return nil })
			l.at(began)
			var other labels.Key
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				if n, _ := r.Entries(); n > 1<<19 {
					r.Engine = newRig(b, Options{}).Engine
					p = r.metrics(c.rules)
					push = p.Begin(began, Plain, func(int) *fault.Error { return nil })
				}
				other = other.Plus(shadow) // the same labels under other keys
				for i := range l.ss {
					l.ss[i].Key = l.ss[i].Key.Plus(other)
				}
				b.StartTimer()
				push.Reducer.Judge(l.ss, l.show)
			}
			perSeries(b)
		})
	}
}

func perSeries(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/pushSeries, "ns/series")
}
