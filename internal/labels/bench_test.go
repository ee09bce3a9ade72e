package labels

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

func BenchmarkTag(b *testing.B) {
	h := NewHasher(NewSeed(), Key{}, nil).Use(NewMemo(1 << 20))
	raw := make([]byte, 320)
	b.SetBytes(int64(len(raw)))
	i := 0
	for b.Loop() {
		raw[i&255]++
		i++
		h.Tag(raw)
	}
}

// BenchmarkMemo recalls the series of pushes of 2000, that come as they came first or in an order of their own.
func BenchmarkMemo(b *testing.B) {
	const push = 2000
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		template := NewHasher(NewSeed(), Key{}, nil).Use(NewMemo(1 << 20))
		tags := make([]Key, n)
		for i := range tags {
			tags[i] = template.Tag(binary.LittleEndian.AppendUint64(nil, uint64(i)))
		}
		var out [Ahead]Recalled
		recallAll := func(tags []Key, learn bool) (missed int) {
			h := *template
			for i := 0; i < len(tags); i += Ahead {
				some := tags[i:min(i+Ahead, len(tags))]
				h.Recall(some, out[:])
				for j := range some {
					if out[j].Labels < 0 {
						missed++
						if learn {
							h.Learn(some[j], Key{some[j].Hi, 1}, 13)
						}
					}
				}
			}
			return missed
		}
		for range 3 { // what has found no place comes again
			for i := 0; i < n; i += push {
				recallAll(tags[i:i+push], true)
			}
		}
		run := func(b *testing.B) {
			i, missed := 0, 0
			for b.Loop() {
				missed += recallAll(tags[i:i+push], false)
				if i += push; i == n {
					i = 0
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*push), "ns/tag")
			b.ReportMetric(100*float64(missed)/float64(b.N*push), "%missed")
			b.ReportMetric(float64(template.memo.Bytes())/float64(n), "B/entry")
		}
		b.Run(fmt.Sprint("order/", n), run)
		rand.Shuffle(n, func(i, j int) { tags[i], tags[j] = tags[j], tags[i] })
		b.Run(fmt.Sprint("random/", n), run)
	}
}
