package series

import (
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/measure"
)

// meter counts the CPU time that this process has used between start and stop: on a busy machine it says more than the clock.
type meter struct {
	items      int
	took, from time.Duration
}

func (m *meter) start()         { m.from = measure.OwnCPU() }
func (m *meter) stop(items int) { m.took, m.items = m.took+measure.OwnCPU()-m.from, m.items+items }

func (m *meter) report(b *testing.B) {
	b.ReportMetric(float64(m.took)/float64(m.items), "cpu-ns/series")
}

// pushes calls f with where each next push begins, of a table of n series that come again and again.
func pushes(b *testing.B, n int, f func(at int, now Minute)) {
	b.ReportAllocs()
	m, at, now, rounds := new(meter), 0, Minute(0), 0
	for range n / pushSeries { // what all have come once for
		f(at, now)
		at = (at + pushSeries) % n
	}
	m.start()
	for b.Loop() {
		f(at, now)
		if at += pushSeries; at == n {
			at, now = 0, now+1
		}
		rounds++
	}
	m.stop(rounds * pushSeries)
	m.report(b)
}

// BenchmarkStages is what pushes of 2000 known series of a million cost here, in the order in which they came first, and beside it
// the least that could be done:
//
//   - probe finds the entries and touches them. Its floor compares keys with memory that stands in the order of the push.
//   - claim finds the outputs and writes them. Its floor writes to memory that stands in the order of the push.
func BenchmarkStages(b *testing.B) {
	const n = 1_000_000
	t, out := filled(b, n), New(Options{MaxEntries: n})
	keys, index := make([]labels.Key, n), make([]uint32, n)
	slots, lines := make([]struct {
		key labels.Key
		Entry
	}, n), make([][8]uint64, n)
	for i := range n {
		keys[i] = keyOf(uint64(i))
		index[i], _ = out.Route(keys[i], 0, func(*Output, bool) {})
		slots[i].key, lines[i][0] = keys[i], 1
	}
	seen := 0
	run := func(name string, bytes int, f func(at int, now Minute)) {
		b.Run(name, func(b *testing.B) {
			pushes(b, n, f)
			b.ReportMetric(float64(bytes)/n, "B/series")
		})
	}
	run("probe/ours", t.Bytes(), func(at int, now Minute) {
		t.Probe(keys[at:at+pushSeries], now, func(int, *Entry) { seen++ })
	})
	run("probe/floor", 32*n, func(at int, _ Minute) {
		for i, k := range keys[at : at+pushSeries] {
			if slots[at+i].key == k {
				seen++
			}
		}
	})
	run("claim/ours", out.Bytes(), func(at int, now Minute) {
		out.Claim(index[at:at+pushSeries], now, func(_ int, o *Output) { o.Last++ })
	})
	run("claim/floor", 64*n, func(at int, _ Minute) {
		for i := range lines[at : at+pushSeries] {
			lines[at+i][3]++
		}
	})
	if seen == 0 {
		b.Error("nothing was found")
	}
}
