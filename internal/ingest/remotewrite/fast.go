package remotewrite

import (
	"encoding/binary"
	"math"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// ahead are series of a push that wait to be looked up all at once, since memory is slow to answer but answers many at a time.
type ahead struct {
	n      int
	series [labels.Ahead]awaiting
	tags   [labels.Ahead]labels.Key
	known  [labels.Ahead]labels.Recalled
}

// awaiting is a v1 series of which the first end bytes are its labels: since one sample follows, if single, or by their own tags
// and lengths.
type awaiting struct {
	series          []byte
	end             int
	sample          point
	single, leading bool
}

// add adds a series, and says whether there is no room for more.
func (a *ahead) add(series []byte, keys *labels.Hasher) (full bool) {
	w := &a.series[a.n]
	w.series, w.leading = series, false
	if w.end, w.sample, w.single = lastSample(series); !w.single {
		w.end, w.leading = leadingLabels(series)
	}
	a.tags[a.n] = keys.Tag(series[:w.end])
	a.n++
	return a.n == len(a.series)
}

// recall fills known.
func (a *ahead) recall(r *ingest.Reducer) {
	if a.n > 0 {
		r.Keys.Recall(a.tags[:a.n], a.known[:a.n])
	}
}

// point is what a Series has to say of one sample.
type point struct {
	at    int64
	stale bool
}

// fill makes s the Series of nothing but this sample.
func (p point) fill(s *ingest.Series) {
	s.Weight, s.Items = 1, 1
	s.First, s.Last = p.at, p.at
	if p.stale {
		s.First, s.Last, s.Stale = math.MaxInt64, math.MinInt64, 1
	}
}

// lastSample reads the sample at the end of a series of either version, which there is field 2: value and time as every sender
// writes them, with a time of six bytes (from 1971 to 2109), or the time alone where the value is 0. at is where its field
// begins, if the bytes before it are whole fields.
func lastSample(series []byte) (at int, p point, ok bool) {
	n := len(series)
	if n < 9 || series[n-7] != sampleTime<<3 {
		return 0, p, false
	}
	t := binary.LittleEndian.Uint64(series[n-8:]) >> 16
	if t&0x808080808080 != 0x008080808080 {
		return 0, p, false
	}
	p.at = int64(t&0x7f | t>>1&(0x7f<<7) | t>>2&(0x7f<<14) | t>>3&(0x7f<<21) | t>>4&(0x7f<<28) | t>>5&(0x7f<<35))
	if n >= 18 && series[n-18] == v1Samples<<3|2 && series[n-17] == 16 && series[n-16] == sampleValue<<3|1 {
		p.stale = binary.LittleEndian.Uint64(series[n-15:]) == staleMarker
		return n - 18, p, true
	}
	return n - 9, p, series[n-9] == v1Samples<<3|2 && series[n-8] == 7
}

// leadingLabels is how many bytes at the start of a v1 series are labels, by their tags and lengths. alone: there are no others.
func leadingLabels(series []byte) (end int, alone bool) {
	var f wire.Field
	rest := series
	for len(rest) > 1 && rest[0] == v1Labels<<3|2 {
		n, l := wire.Uvarint(rest[1:])
		if l <= 0 || n > uint64(len(rest)-1-l) {
			return 0, false
		}
		rest = rest[1+l+int(n):]
	}
	end = len(series) - len(rest)
	for len(rest) > 0 {
		var err error
		if rest, err = wire.Next(rest, &f); err != nil || f.Num == v1Labels {
			return end, false
		}
	}
	return end, true
}

// countFields is how many fields of msg have this number, as far as msg is well formed.
func countFields(msg []byte, num int32) (n int) {
	var f wire.Field
	var err error
	for len(msg) > 0 {
		if msg, err = wire.Next(msg, &f); err != nil {
			return n
		}
		if f.Num == num {
			n++
		}
	}
	return n
}
