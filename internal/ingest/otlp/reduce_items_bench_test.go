package otlp_test

import (
	"math"
	"runtime"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// without is a Reducer that takes the attribute of that name from items, and no other time than the doors' own.
func without(name string, stamps []labels.Label) *ingest.Reducer {
	change := &labels.Change{Keep: make([]uint64, 4)}
	item := func(set *labels.Set) (*labels.Change, ingest.Verdict) {
		i := set.Find(name)
		if i < 0 {
			return nil, ingest.Pass
		}
		for w := range change.Keep {
			change.Keep[w] = ^uint64(0)
		}
		change.Keep[i/64] &^= 1 << (i % 64)
		return change, ingest.Pass
	}
	return &ingest.Reducer{Item: item, Repeats: func() bool { return true }, Stamps: stamps}
}

// TestReduceAllocations: what it takes to ask does not depend on how many items there are, nor does what it takes to change them.
func TestReduceAllocations(t *testing.T) {
	for _, signal := range []string{"traces", "logs"} {
		for _, items := range []int{10, 2000} {
			raw, _ := typical(signal, items)
			f := func(what, name string, most float64) {
				t.Helper()
				r := without(name, stamps)
				n := testing.AllocsPerRun(5, func() {
					b, err := references[signal].http.Decode(raw, ingest.Content{})
					if err == nil {
						err = b.Reduce(r)
					}
					if err != nil {
						t.Fatal(err)
					}
				})
				if n > most {
					t.Errorf("%s, %d items: %s allocates %v times, want at most %v", signal, items, what, n, most)
				}
			}
			f("asking", "nothing", 38)
			f("changing", "k8s.attribute.name_1", 42)
		}
	}
}

// TestReduceBytes: a push builds in what those before it have left, in no more bytes than its structs take.
func TestReduceBytes(t *testing.T) {
	const most = 8 << 10
	f := func(signal string, r *ingest.Reducer, raw []byte) {
		t.Helper()
		var pool ingest.Pool
		least := uint64(math.MaxUint64)
		for range 10 { // the collector may have emptied the pool
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			reducePooled(t, &pool, signal, raw, r)
			runtime.ReadMemStats(&after)
			least = min(least, after.TotalAlloc-before.TotalAlloc)
		}
		if least > most {
			t.Errorf("%s: %d bytes allocated for a push of %d, want at most %d", signal, least, len(raw), most)
		}
	}
	for _, signal := range []string{"traces", "logs"} {
		raw, _ := typical(signal, 2000)
		f(signal, without("k8s.attribute.name_1", stamps), raw)
	}
	f("metrics", knownPoints(stamps, 1000, nil), varied(t, 1000))
	f("metrics", knownPoints(stamps, 1000, oneAttributeDropped()), varied(t, 1000))
}

// reducePooled has raw reduced as the road does it.
func reducePooled(tb testing.TB, pool *ingest.Pool, signal string, raw []byte, r *ingest.Reducer) {
	c := ingest.Content{Stock: pool.Stock()}
	b, err := references[signal].http.Decode(raw, c)
	if err == nil && r != nil {
		err = b.Reduce(r)
	}
	if err != nil {
		tb.Fatal(err)
	}
	pool.Restock(c.Stock)
}

func BenchmarkReduceItems(b *testing.B) {
	for _, signal := range []string{"traces", "logs"} {
		const items = 1000
		raw, _ := typical(signal, items)
		run := func(what string, reduce bool, name string) {
			b.Run(signal+"/"+what, func(b *testing.B) {
				r := without(name, stamps)
				if !reduce {
					r = nil
				}
				var pool ingest.Pool
				b.SetBytes(int64(len(raw)))
				b.ReportAllocs()
				for b.Loop() {
					reducePooled(b, &pool, signal, raw, r)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*items), "ns/item")
			})
		}
		run("decode", false, "")
		run("decode and ask", true, "nothing")
		run("decode and drop an attribute", true, "k8s.attribute.name_1")
	}
}
