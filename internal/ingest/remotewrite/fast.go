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
	w.series, w.single, w.leading = series, true, false
	if w.end = len(series) - fullSample; w.end >= 0 && isFullSample(series[w.end:]) {
		w.sample.readFull(series[w.end:])
	} else if w.end = len(series) - zeroSample; w.end >= 0 && isZeroSample(series[w.end:]) {
		w.sample.readZero(series[w.end:])
	} else {
		w.single = false
		w.end, w.leading = leadingLabels(series)
	}
	a.tags[a.n] = keys.Tag(series[:w.end])
	a.n++
	return a.n == len(a.series)
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

// addTo adds the sample to s.
func (p point) addTo(s *ingest.Series) {
	s.Items++
	if p.stale {
		s.Stale++
		return
	}
	s.First, s.Last = min(s.First, p.at), max(s.Last, p.at)
}

// Samples are field 2 of a series in either version. These are the two forms in which every sender writes them: value and time,
// with a time of six bytes (from 1971 to 2109), or the time alone where the value is 0.
const (
	fullSample = 18
	zeroSample = 9
)

// firstSample reads the sample that series begins with, and says how many bytes its field takes.
func firstSample(series []byte) (p point, n int, ok bool) {
	if len(series) >= fullSample && isFullSample(series) {
		p.readFull(series)
		return p, fullSample, true
	}
	if len(series) >= zeroSample && isZeroSample(series) {
		p.readZero(series)
		return p, zeroSample, true
	}
	return p, 0, false
}

// isFullSample says whether b begins with a sample of that form, of which it has the bytes.
func isFullSample(b []byte) bool {
	const head = v1Samples<<3 | 2 | (fullSample-2)<<8 | (sampleValue<<3|1)<<16
	return binary.LittleEndian.Uint32(b)<<8 == head<<8 && isTime(binary.LittleEndian.Uint64(b[10:]))
}

// isZeroSample is the same for the other form.
func isZeroSample(b []byte) bool {
	return b[0] == v1Samples<<3|2 && isTime(binary.LittleEndian.Uint64(b[1:])) && b[1] == zeroSample-2
}

// isTime says whether the seven high bytes of b are the tag of a time and a varint of six bytes.
func isTime(b uint64) bool { return b&0x80808080_8080_ff00 == 0x00808080_8080_0000|sampleTime<<3<<8 }

func (p *point) readFull(b []byte) {
	p.stale = binary.LittleEndian.Uint64(b[3:]) == staleMarker
	p.at = sixBytes(binary.LittleEndian.Uint64(b[10:]) >> 16)
}

func (p *point) readZero(b []byte) {
	p.stale = false
	p.at = sixBytes(binary.LittleEndian.Uint64(b[1:]) >> 16)
}

// sixBytes is the varint in the low six bytes of t.
func sixBytes(t uint64) int64 {
	return int64(t&0x7f | t>>1&(0x7f<<7) | t>>2&(0x7f<<14) | t>>3&(0x7f<<21) | t>>4&(0x7f<<28) | t>>5&(0x7f<<35))
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
		if fields, size := wire.Run(msg, byte(num<<3|2)); fields > 0 {
			n += fields
			msg = msg[size:]
			continue
		}
		if msg, err = wire.Next(msg, &f); err != nil {
			return n
		}
		if f.Num == num {
			n++
		}
	}
	return n
}
