package drive

import (
	"math/bits"
	"time"
)

// subBuckets is how finely a doubling is divided: a quantile is at most 1.6 % too high.
const subBuckets = 64

// Histogram counts durations. Its zero value is empty.
type Histogram struct {
	counts [48 * subBuckets]uint64
	n      uint64
	max    time.Duration
}

// Add counts one duration.
func (h *Histogram) Add(d time.Duration) {
	h.counts[bucket(d)]++
	h.n++
	h.max = max(h.max, d)
}

// Merge adds what other has counted.
func (h *Histogram) Merge(other *Histogram) {
	for i, c := range other.counts {
		h.counts[i] += c
	}
	h.n += other.n
	h.max = max(h.max, other.max)
}

// bucket is exact below subBuckets microseconds, and logarithmic above.
func bucket(d time.Duration) int {
	us := uint64(max(0, d/time.Microsecond))
	if us < subBuckets {
		return int(us)
	}
	shift := bits.Len64(us) - 7 // us>>shift is between 64 and 127
	return min((shift+1)*subBuckets+int(us>>shift)-subBuckets, 48*subBuckets-1)
}

// bound is the highest duration of a bucket.
func bound(i int) time.Duration {
	if i < subBuckets {
		return time.Duration(i+1) * time.Microsecond
	}
	shift := i/subBuckets - 1
	return time.Duration(i%subBuckets+subBuckets+1) << shift * time.Microsecond
}

// Count is how many durations were added, and Max the longest.
func (h *Histogram) Count() uint64      { return h.n }
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile is the duration that a share q of all does not exceed.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank, seen := uint64(q*float64(h.n)), uint64(0)
	for i, c := range h.counts {
		if seen += c; c > 0 && seen > min(rank, h.n-1) {
			return min(bound(i), h.max)
		}
	}
	return 0
}

// Points are the quantiles between fastest and slowest for a plot: each next one leaves half as many above it.
func (h *Histogram) Points() (points []Point) {
	for above := 1.0; above*float64(h.n) >= 1 && len(points) < 40; above /= 1.5 {
		points = append(points, Point{1 - above, h.Quantile(1 - above)})
	}
	return points
}

// Point is one quantile.
type Point struct {
	Q float64       `json:"q"`
	D time.Duration `json:"ns"`
}
