package otlp_test

import (
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// without is an Item that takes the attribute of that name away, and no other time than the doors' own.
func without(name string) func(set *labels.Set) (*labels.Change, ingest.Verdict) {
	change := &labels.Change{Keep: make([]uint64, 4)}
	return func(set *labels.Set) (*labels.Change, ingest.Verdict) {
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
}

// TestReduceAllocations: what it takes to ask does not depend on how many items there are, nor does what it takes to change them.
func TestReduceAllocations(t *testing.T) {
	for _, signal := range []string{"traces", "logs"} {
		for _, items := range []int{10, 2000} {
			raw, _ := typical(signal, items)
			f := func(what, name string, most float64) {
				t.Helper()
				r := &ingest.Reducer{Item: without(name), Stamps: stamps}
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
			f("asking", "nothing", 32)
			f("changing", "k8s.attribute.name_1", 36)
		}
	}
}

func BenchmarkReduceItems(b *testing.B) {
	for _, signal := range []string{"traces", "logs"} {
		const items = 1000
		raw, _ := typical(signal, items)
		run := func(what string, reduce bool, name string) {
			b.Run(signal+"/"+what, func(b *testing.B) {
				r := &ingest.Reducer{Item: without(name), Stamps: stamps}
				b.SetBytes(int64(len(raw)))
				b.ReportAllocs()
				for b.Loop() {
					batch, err := references[signal].http.Decode(raw, ingest.Content{})
					if err == nil && reduce {
						err = batch.Reduce(r)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*items), "ns/item")
			})
		}
		run("decode", false, "")
		run("decode and ask", true, "nothing")
		run("decode and drop an attribute", true, "k8s.attribute.name_1")
	}
}
