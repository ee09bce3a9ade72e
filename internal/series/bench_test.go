package series

import (
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

// BenchmarkProbe is pushes of 2000 known series. Each comes again after all others have come, which is how senders send
// and the worst for a processor's caches.
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

// BenchmarkMiss is a new series: a Probe that does not find it, with 2000 others, and an Update that stores it, with its
// share of growing the shards up to a million.
func BenchmarkMiss(b *testing.B) {
	const n = 1_000_000
	none := func(int, *Entry) {}
	keys := make([]labels.Key, pushSeries)
	var t *Table
	b.ReportAllocs()
	for i, at := 0, n; i < b.N; i++ {
		if at == n {
			b.StopTimer()
			t, at = New(Options{MaxEntries: n}), 0
			runtime.GC()
			b.StartTimer()
		}
		for j := range keys {
			keys[j] = keyOf(uint64(at + j))
		}
		t.Probe(keys, 0, none)
		for _, k := range keys {
			t.Update(k, 0, counted)
		}
		at += pushSeries
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*pushSeries), "ns/series")
}

// BenchmarkClaim is the outputs of pushes of 2000 series that rules change, in an order that no cache knows; floor is no more
// than to load and store a word of each.
func BenchmarkClaim(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		t := New(Options{MaxEntries: n})
		index := make([]uint32, n)
		for i := range index {
			index[i], _ = t.Route(keyOf(uint64(i)), 0, func(*Output, bool) {})
		}
		rand.Shuffle(n, func(i, j int) { index[i], index[j] = index[j], index[i] })
		f := func(name string, claim func(index []uint32, now Minute)) {
			b.Run(fmt.Sprint(n, "/", name), func(b *testing.B) {
				b.ReportAllocs()
				at, now := 0, Minute(1)
				for b.Loop() {
					if claim(index[at:at+pushSeries], now); at+2*pushSeries > n {
						at, now = -pushSeries, now+1
					}
					at += pushSeries
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*pushSeries), "ns/output")
			})
		}
		seen := func(_ int, o *Output) { o.Last++ }
		f("claim", func(index []uint32, now Minute) { t.Claim(index, now, seen) })
		words := make([][8]uint64, n) // as large as outputs
		for i := range words {
			words[i][0] = 1 // the system gives memory when it is first written to
		}
		f("floor", func(index []uint32, _ Minute) {
			for _, i := range index {
				words[(uint64(i)*0x9e3779b97f4a7c15>>32)%uint64(n)][0]++
			}
		})
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

// BenchmarkGrow is how long a shard of a million entries' table is locked while it grows.
func BenchmarkGrow(b *testing.B) {
	t := filled(b, 1_000_000)
	for b.Loop() {
		t.entries[0].rehash(len(t.entries[0].pages))
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
