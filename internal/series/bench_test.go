package series

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
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

// BenchmarkProbe is pushes of 2000 known series, each of which comes again after all others have come: in the order in which they
// came first, which is how senders send; in that of pushes of which two came together; and in none, the worst for the
// processor's caches.
func BenchmarkProbe(b *testing.B) {
	arrival := func([]labels.Key) {}
	together := func(keys []labels.Key) {
		for at := 0; at+2*pushSeries <= len(keys); at += 2 * pushSeries {
			both := slices.Clone(keys[at : at+2*pushSeries])
			for i := range pushSeries {
				keys[at+i], keys[at+pushSeries+i] = both[2*i], both[2*i+1]
			}
		}
	}
	random := func(keys []labels.Key) {
		rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	}
	for _, n := range []int{10_000, 100_000, 1_000_000, 10_000_000} {
		t := filled(b, n)
		f := func(order string, sort func(keys []labels.Key)) {
			b.Run(fmt.Sprint(n, "/", order), func(b *testing.B) {
				keys := make([]labels.Key, n)
				for i := range keys {
					keys[i] = keyOf(uint64(i))
				}
				sort(keys)
				seen := 0
				pushes(b, n, func(at int, now Minute) {
					t.Probe(keys[at:at+pushSeries], now, func(int, *Entry) { seen++ })
				})
				if seen%pushSeries != 0 || seen == 0 {
					b.Fatalf("%d visits, want all of pushes of %d", seen, pushSeries)
				}
				b.ReportMetric(float64(t.Bytes())/float64(n), "B/series")
			})
		}
		f("arrival", arrival)
		f("together", together)
		f("random", random)
	}
}

// BenchmarkMiss is a new series: a Probe that does not find it, with 2000 others, and an Update that stores it, with its
// share of growing the shards up to a million.
func BenchmarkMiss(b *testing.B) {
	const n = 1_000_000
	none := func(int, *Entry) {}
	keys := make([]labels.Key, pushSeries)
	var t *Table
	m := new(meter)
	b.ReportAllocs()
	for i, at := 0, n; i < b.N; i++ {
		if at == n {
			t, at = New(Options{MaxEntries: n}), 0
			runtime.GC()
		}
		for j := range keys {
			keys[j] = keyOf(uint64(at + j))
		}
		m.start()
		t.Probe(keys, 0, none)
		for _, k := range keys {
			t.Update(k, 0, counted)
		}
		m.stop(pushSeries)
		at += pushSeries
	}
	m.report(b)
}

// BenchmarkClaim is the outputs of pushes of 2000 series that rules change, in the order in which they came first and in one that no
// cache knows.
func BenchmarkClaim(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		t := New(Options{MaxEntries: n})
		index := make([]uint32, n)
		for i := range index {
			index[i], _ = t.Route(keyOf(uint64(i)), 0, func(*Output, bool) {})
		}
		claim := func(at int, now Minute) {
			t.Claim(index[at:at+pushSeries], now, func(_ int, o *Output) { o.Last++ })
		}
		b.Run(fmt.Sprint(n, "/arrival"), func(b *testing.B) { pushes(b, n, claim) })
		rand.Shuffle(n, func(i, j int) { index[i], index[j] = index[j], index[i] })
		b.Run(fmt.Sprint(n, "/random"), func(b *testing.B) { pushes(b, n, claim) })
	}
}

// BenchmarkAt is what a hit of a Routed entry costs more.
func BenchmarkAt(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			t := New(Options{MaxEntries: n})
			index := make([]uint32, n)
			for i := range index {
				index[i], _ = t.Route(keyOf(uint64(i)), 0, func(*Output, bool) {})
			}
			rand.Shuffle(n, func(i, j int) { index[i], index[j] = index[j], index[i] })
			b.ReportAllocs()
			i, seen := 0, 0
			for b.Loop() {
				t.At(index[i], 1, func(o *Output) { seen++ })
				if i++; i == n {
					i = 0
				}
			}
			b.ReportMetric(float64(t.Bytes())/float64(n), "B/output")
		})
	}
}

// BenchmarkSweep is one call: its share of all shards, and how long one lock is held.
func BenchmarkSweep(b *testing.B) {
	t := filled(b, 1_000_000)
	for b.Loop() {
		t.Sweep(1)
	}
}

// BenchmarkGrow is how long a shard of a million entries' table is locked while its index is made anew.
func BenchmarkGrow(b *testing.B) {
	t := filled(b, 1_000_000)
	for b.Loop() {
		t.entries[0].reindex()
	}
}

// BenchmarkGC is a collection with a full table on the heap. 0 entries are what it costs anyway.
func BenchmarkGC(b *testing.B) {
	for _, n := range []int{0, 1_000_000, 10_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			t := filled(b, n)
			runtime.GC()
			for b.Loop() {
				runtime.GC()
			}
			runtime.KeepAlive(t)
		})
	}
}

// BenchmarkParallel is pushes of all CPUs at once over one table of a million.
func BenchmarkParallel(b *testing.B) {
	const n = 1_000_000
	t := filled(b, n)
	keys := make([]labels.Key, n)
	for i := range keys {
		keys[i] = keyOf(uint64(i))
	}
	rand.Shuffle(n, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		at := rand.IntN(n / pushSeries)
		for pb.Next() {
			at = (at + 1) % (n / pushSeries)
			t.Probe(keys[at*pushSeries:][:pushSeries], 1, func(int, *Entry) {})
		}
	})
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*pushSeries), "ns/series")
}
