package labels

import (
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

func BenchmarkRecall(b *testing.B) {
	const n = 1 << 17
	h := NewHasher(NewSeed(), Key{}, nil).Use(NewMemo(1 << 20))
	tags := make([]Key, n)
	for i := range tags {
		tags[i] = h.Tag([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
	}
	var out [Ahead]Recalled
	missed := 0
	for range 3 { // what has found no place comes again
		missed = 0
		for i := 0; i < n; i += Ahead {
			some := tags[i : i+Ahead]
			h.Recall(some, out[:])
			for j, r := range out {
				if r.Labels < 0 {
					h.Learn(some[j], Key{uint64(i), 1}, 13)
					missed++
				}
			}
		}
	}
	i := 0
	for b.Loop() {
		h.Recall(tags[i:i+Ahead], out[:])
		if i += Ahead; i == n {
			i = 0
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*Ahead), "ns/tag")
	b.ReportMetric(100*float64(missed)/n, "%missed")
}
