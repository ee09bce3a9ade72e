package series

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// keyOf is the n-th key of a test: spread as hashes are.
func keyOf(n uint64) labels.Key {
	return labels.Key{Hi: scatter(n), Lo: scatter(n ^ 1<<63)}
}

// scatter is the finalizer of SplitMix64.
func scatter(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func counted(e *Entry, _ bool) bool {
	e.Set(Counted, 1, 1)
	return true
}

// filled is a table of n Counted entries, keyOf(0) to keyOf(n-1).
func filled(tb testing.TB, n int) *Table {
	t := New(Options{MaxEntries: n})
	for i := range n {
		if !t.Update(keyOf(uint64(i)), 0, counted) {
			tb.Fatalf("full at %d of %d", i, n)
		}
	}
	return t
}

const pushSeries = 2000

// BenchmarkProbe is pushes of 2000 known series, 40 different ones or all that there are: as senders do, each comes
// again after all others.
func BenchmarkProbe(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000, 10_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			t := filled(b, n)
			keys := make([]labels.Key, n)
			for i := range keys {
				keys[i] = keyOf(uint64(i))
			}
			rand.Shuffle(n, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
			seen, at, now := 0, 0, Minute(0)
			visit := func(i int, e *Entry) { seen++ }
			b.ReportAllocs()
			for b.Loop() {
				if at+pushSeries > n {
					at = 0
					now++
				}
				t.Probe(keys[at:at+pushSeries], now, visit)
				at += pushSeries
			}
			b.StopTimer()
			if seen != b.N*pushSeries {
				b.Fatalf("%d visits, want %d", seen, b.N*pushSeries)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*pushSeries), "ns/series")
			b.ReportMetric(float64(t.Bytes())/float64(n), "B/series")
		})
	}
}

var _ = binary.LittleEndian
var _ = runtime.GC
