package remotewrite

import (
	"encoding/binary"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// staleMarker is the NaN by which Prometheus says that a series has ended, as a sample's value or a histogram's sum.
const staleMarker = 0x7ff0000000000002

// layout is where a version keeps what the series hold. Labels are field 1 in both.
type layout struct {
	samples, histograms, exemplars int32
	sample, histogram              shape
}

var (
	layoutV1 = layout{v1Samples, v1Histograms, v1Exemplars, sampleV1, histogramV1}
	layoutV2 = layout{v2Samples, v2Histograms, v2Exemplars, sampleV2, histogramV2}
)

// point reads the time of a sample or histogram and whether it is a stale marker. ok: f is one.
func (l *layout) point(f *wire.Field) (at int64, stale, ok bool) {
	value, time := int32(sampleValue), int32(sampleTime)
	switch f.Num {
	case l.samples:
		if plainSample(f.Data) {
			at, _ := wire.Uvarint(f.Data[10:])
			return int64(at), binary.LittleEndian.Uint64(f.Data[1:]) == staleMarker, true
		}
	case l.histograms:
		value, time = histogramSum, histogramTime
	default:
		return 0, false, false
	}
	var g wire.Field
	bits := uint64(0)
	for msg := f.Data; len(msg) > 0; {
		msg = next(msg, &g)
		switch g.Num {
		case value:
			bits = g.Int
		case time:
			at = int64(g.Int)
		}
	}
	return at, bits == staleMarker, true
}

// measure adds what field f of a series says to s.
func (l *layout) measure(s *ingest.Series, f *wire.Field) {
	at, stale, ok := l.point(f)
	switch {
	case !ok:
		return
	case stale:
		s.Stale++
	default:
		s.First, s.Last = min(s.First, at), max(s.Last, at)
	}
	s.Items++
}

// count says what is in a series.
func (l *layout) count(series []byte) (c ingest.Count) {
	var f wire.Field
	for len(series) > 0 {
		series = next(series, &f)
		switch f.Num {
		case l.samples:
			c.Samples++
		case l.histograms:
			c.Histograms++
		case l.exemplars:
			c.Exemplars++
		}
	}
	c.Items = c.Samples + c.Histograms
	return c
}

// countStale says how many stale markers are in a series, and adds their unknown fields to unknowns.
func (l *layout) countStale(series []byte, unknowns *int) (c ingest.Count) {
	var f wire.Field
	for len(series) > 0 {
		series = next(series, &f)
		if _, stale, _ := l.point(&f); !stale {
			continue
		}
		s := l.sample
		if f.Num == l.samples {
			c.Samples++
		} else {
			c.Histograms++
			s = l.histogram
		}
		if check(f.Data, s, unknowns) != nil {
			panic("BUG: a push that was decoded is not well formed")
		}
	}
	c.Items = c.Samples + c.Histograms
	return c
}

// minus returns c without d.
func minus(c, d ingest.Count) ingest.Count {
	return c.Add(ingest.Count{Items: -d.Items, Samples: -d.Samples, Histograms: -d.Histograms, Exemplars: -d.Exemplars})
}

// reduction is what a Reducer said of the series of a push. The zero value: nothing, and all of them leave.
type reduction struct {
	all []ingest.Series // of those that were judged, in their order
	// any: some series does not leave as it would without a Reducer.
	any bool
	// mostAdds is how many labels come to one series at most.
	mostAdds int
	starts   []uint32 // where in the push each series begins; built when a series is first shown

	// What an encoder met: all that did not leave, what of that was dropped on purpose, and how many unknown fields it had.
	gone, held ingest.Count
	unknowns   int
}

// scratches makes room in scratch for the labels of any series, and in final for what changes make of them.
func (d *reduction) scratches(books *booking, scratch, final []label, most int) (_, _ []label, ok bool) {
	if scratch, ok = room(books, scratch, most); ok && d.any {
		final, ok = room(books, final, most+d.mostAdds)
	}
	return scratch, final, ok
}

// judge has r judge ss.
func (d *reduction) judge(r *ingest.Reducer, ss []ingest.Series, view func(i int, set *labels.Set)) {
	d.all = ss
	r.Judge(ss, view)
	for i := range ss {
		s := &ss[i]
		if s.Verdict.Out() && s.Change == nil && (!s.DropStale || s.Stale == 0) {
			continue
		}
		d.any = true
		if s.Verdict.Out() && s.Change != nil {
			d.mostAdds = max(d.mostAdds, len(s.Change.Add))
		}
	}
}

// indexEntry is what the index takes for a series. It is booked before anything is judged: what is shown has to be true, for
// it is remembered, and there is no way to say in the middle that there is no room.
const indexEntry = 4

// at returns series i of raw. advance finds the next series of a push.
func (d *reduction) at(i int, raw []byte, advance func(msg []byte, f *wire.Field) []byte) []byte {
	if d.starts == nil {
		d.index(raw, advance)
	}
	var f wire.Field
	next(raw[d.starts[i]:], &f)
	return f.Data
}

// index notes where in raw each series begins.
func (d *reduction) index(raw []byte, advance func(msg []byte, f *wire.Field) []byte) {
	d.starts = make([]uint32, 0, len(d.all))
	var f wire.Field
	for msg := raw; len(d.starts) < len(d.all); {
		msg = advance(msg, &f)
		d.starts = append(d.starts, uint32(len(raw)-len(msg)-len(f.Raw)))
	}
}

// fate is what becomes of a series that leaves.
type fate struct {
	change *labels.Change
	// unstale: without its stale markers. sorted: its labels came as Series.Sorted says.
	unstale, sorted bool
}

// plain says whether nothing but stamps comes to the series.
func (f fate) plain() bool { return f.change == nil && !f.unstale }

// fate of series i, unless it is dropped or refused.
func (d *reduction) fate(i int) (f fate, out bool) {
	if i >= len(d.all) {
		return fate{}, true // nobody was asked
	}
	s := &d.all[i]
	return fate{s.Change, s.DropStale && s.Stale > 0, s.Sorted}, s.Verdict.Out()
}

// leaves is fate for an encoder, which is told of a series that is left without anything too, and wants to know what is gone.
func (d *reduction) leaves(i int, series []byte, l *layout) (f fate, out bool) {
	if f, out = d.fate(i); out && !f.unstale {
		return f, true
	}
	s := &d.all[i]
	c := l.count(series)
	if out && (s.Stale < s.Items || c.Exemplars > 0) {
		c = l.countStale(series, &d.unknowns)
	} else {
		out = false
	}
	d.gone = d.gone.Add(c)
	if s.Verdict != ingest.Refuse {
		d.held = d.held.Add(c)
	}
	return f, out
}

// begin forgets what an encoder met before.
func (d *reduction) begin() { d.gone, d.held, d.unknowns = ingest.Count{}, ingest.Count{}, 0 }

// added calls f for the labels that come to each series, once where neighbours share a Change: n is how many do.
func (d *reduction) added(f func(add []labels.Label, n int)) {
	if d.mostAdds == 0 {
		return
	}
	var c *labels.Change
	n := 0
	for i := range d.all {
		s := &d.all[i]
		if !s.Verdict.Out() || s.Change == nil || len(s.Change.Add) == 0 {
			continue
		}
		if s.Change != c && n > 0 {
			f(c.Add, n)
			n = 0
		}
		c = s.Change
		n++
	}
	if n > 0 {
		f(c.Add, n)
	}
}

// addedSymbols are the strings of the labels that come, each once, and how many labels those are.
func (d *reduction) addedSymbols(books *booking) (t *symbols, n int) {
	if d.mostAdds == 0 {
		return nil, 0
	}
	t = newSymbols(books, 0)
	var known recent
	d.added(func(add []labels.Label, times int) {
		for i := range add {
			l := &add[i]
			if r := known.of(l); r.label != l {
				r.label = l
				t.ref(bytesOf(l.Name))
				t.ref(bytesOf(l.Value))
			}
		}
		n += len(add) * times
	})
	return t, n
}
