package otlp

import (
	"encoding/binary"
	"math"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// waiting are points whose attributes wait to be looked up all at once, since memory is slow to answer but answers many at a time.
type waiting struct {
	n     int
	at    [labels.Ahead]int32
	attrs [labels.Ahead][]byte
	tags  [labels.Ahead]labels.Key
	known [labels.Ahead]labels.Recalled
}

// read checks the points and fills their Series, but for what their resources add to keys: rules may still change those.
//
// The attributes of most points have come before, with other points or in other pushes. labels.Memo remembers what they add to
// a key by the bytes that they are. It knows only what was well formed, so these need not be walked.
func (p *points) read(r *ingest.Reducer) (err error) {
	if err = reserve(&p.at, p.lender, p.items); err != nil {
		return err
	}
	series, full := r.Room(nil, p.items)
	if full != nil {
		return full
	}
	p.series = series
	p.keys.Begin()
	p.bare, _ = p.keys.End()
	stamps := &p.layout.stamps
	stamps.All = r.Stamps
	for _, s := range r.Stamps {
		stamps.Keys = append(stamps.Keys, p.keys.Sum(labels.Own, []byte(s.Name), []byte(s.Value)))
	}
	var w waiting
	for i := range p.scopes {
		s := &p.scopes[i]
		sum := p.bare.Plus(p.sumOfScope(s))
		for i := s.from; i < s.to; i++ {
			if err = p.readMetric(i, sum, &w); err != nil {
				return err
			}
		}
	}
	return p.lookUp(&w)
}

// readMetric reads the points of metric number, of whose keys sum is a part.
func (p *points) readMetric(number int, sum labels.Key, w *waiting) (err error) {
	m := &p.metrics[number]
	if len(m.name) > 0 {
		sum = sum.Plus(p.keys.Sum(labels.Own, metricLabel, m.name))
	}
	var f wire.Field
	for rest := m.data; len(rest) > 0; {
		offset := len(m.data) - len(rest)
		if rest = field(rest, &f); f.Num != 1 {
			continue
		}
		i := len(p.at)
		p.at = append(p.at, pointAt{offset: offset, metric: int32(number)})
		p.series[i].Key = sum
		if err = p.readPoint(f.Data, m.kind, i, w); err != nil {
			return err
		}
	}
	return nil
}

// readPoint checks the point msg, which is point i, and fills its Series. Its attributes wait in w.
func (p *points) readPoint(msg []byte, k kind, i int, w *waiting) (err error) {
	m, flags := &messages[k], flagsOf(k)
	var nanos uint64
	stale, weight := false, beside[k]
	var attrs []byte // all that have been met, as long as they stand behind each other
	n, apart := 0, false
	at := &p.walker.field
	for rest := msg; len(rest) > 0; {
		// Times and values, which are most of the fields: none of 1 to 6 that is a Fixed64 says anything else.
		if tag := rest[0]; tag&7 == byte(wire.Fixed64) && tag-8 < 6<<3 && m.sub[tag>>3] == scalar && len(rest) > 8 {
			if tag>>3 == 3 {
				nanos = binary.LittleEndian.Uint64(rest[1:])
			}
			rest = rest[9:]
			continue
		}
		if attrs == nil {
			var size int
			if n, size = wire.Run(rest, byte(m.attrs)<<3|byte(wire.Bytes)); n > 0 {
				attrs, rest = rest[:size:size], rest[size:]
				continue
			}
		}
		if rest, err = p.walker.next(rest); err != nil {
			return err
		}
		num, isBytes := at.Num, at.Type == wire.Bytes
		switch {
		case num == 3 && at.Type == wire.Fixed64:
			nanos = at.Int
		case num == flags && at.Type == wire.Varint:
			stale = at.Int&noRecordedValue != 0
		case k == histogramPoint && num == 7: // explicit_bounds, packed or one by one
			weight++
			if isBytes {
				weight += len(at.Data)/8 - 1
			}
		case k == summaryPoint && num == 6:
			weight++
		}
		if num >= int32(len(m.sub)) || m.sub[num] == scalar {
			continue
		}
		if !isBytes {
			return errNotSub
		}
		apart = apart || num == m.attrs
		if _, err = p.walker.walk(at.Data, m.sub[num], 0); err != nil {
			return err
		}
	}
	s := &p.series[i]
	s.Items, s.Weight = 1, int32(weight)
	s.First = int64(nanos / 1e6)
	s.Last = s.First
	if stale {
		s.Stale, s.First, s.Last = 1, math.MaxInt64, math.MinInt64
	}
	switch {
	case apart:
		_, _, err = p.addAttributes(s, msg, m.attrs)
	case n > 0:
		p.most = max(p.most, n)
		w.at[w.n], w.attrs[w.n], w.tags[w.n] = int32(i), attrs, p.keys.Tag(attrs)
		if w.n++; w.n == len(w.at) {
			err = p.lookUp(w)
		}
	}
	return err
}

// lookUp adds to the keys of the points that wait what their attributes add.
func (p *points) lookUp(w *waiting) error {
	n := w.n
	w.n = 0
	p.keys.Recall(w.tags[:n], w.known[:n])
	for i := range n {
		known, s := &w.known[i], &p.series[w.at[i]]
		if known.Labels < 0 {
			*known = w.earlier(i)
		}
		if known.Labels >= 0 {
			s.Key = s.Key.Plus(known.Key)
			p.longest = max(p.longest, known.Labels)
			continue
		}
		msg := w.attrs[i]
		key, need, err := p.addAttributes(s, msg, int32(msg[0]>>3))
		if err != nil {
			return err
		}
		if s.Overwritten == (labels.Key{}) {
			// What their texts take is remembered in place of how many there are, which counting their fields says.
			p.keys.Learn(w.tags[i], key, need)
			known.Key, known.Labels = key, need
		}
	}
	return nil
}

// earlier is what has become known of the attributes of i while others waited with them.
func (w *waiting) earlier(i int) labels.Recalled {
	for j := range i {
		if w.tags[j] == w.tags[i] && w.known[j].Labels >= 0 && w.tags[i] != (labels.Key{}) {
			return w.known[j]
		}
	}
	return labels.Recalled{Labels: -1}
}

// addAttributes checks the attributes of msg, its fields num, and adds what they add to the key of s, which it returns. need is
// how many bytes their texts take at most.
func (p *points) addAttributes(s *ingest.Series, msg []byte, num int32) (key labels.Key, need int, err error) {
	l := &p.layout
	l.begin()
	var f wire.Field
	for rest := msg; len(rest) > 0; {
		from := rest
		if rest = field(rest, &f); f.Num != num {
			continue
		}
		fresh, err := l.add(f.Data, 0, 0, p.lender)
		if err == nil && fresh && (len(from) < 9 || plain(from) != len(from)-len(rest)) {
			_, err = p.walker.walk(f.Data, keyValue, 0)
		}
		if err != nil {
			return key, 0, err
		}
	}
	if err = l.end(p.lender); err != nil {
		return key, 0, err
	}
	key, s.Overwritten, need = p.key()
	s.Key = s.Key.Plus(key)
	p.most, p.longest = max(p.most, l.n), max(p.longest, need)
	return key, need, nil
}

// key is what the attributes in layout add to the key of their point.
func (p *points) key() (key, overwritten labels.Key, need int) {
	list := p.layout.list[:p.layout.n]
	var sum labels.Key
	stamped := false
	for i := range list {
		a := &list[i]
		if a.kind != isString {
			need += textBytes(&a.attribute)
		}
		if a.stamp >= 0 {
			stamped = true
		} else if !a.empty() {
			sum = sum.Plus(p.sumOfOwn(a))
		}
	}
	if !stamped {
		return sum, overwritten, need
	}
	p.keys.BeginWith(sum)
	for i := range list {
		if a := &list[i]; a.stamp >= 0 && a.kind == isString {
			p.keys.Add(a.name, a.data)
		} else if a.stamp >= 0 && !a.empty() {
			p.keys.AddTyped(a.name, a.encoded)
		}
	}
	key, overwritten = p.keys.End()
	return key.Minus(p.bare), overwritten, need
}

// noRecordedValue is the flag of a point that says only that its series ended.
const noRecordedValue = 1

// beside is how many series upstream makes of a point besides one for each bound (there is a bucket more than bounds, a sum and
// a count) or each quantile.
var beside = [...]int{numberPoint: 1, histogramPoint: 3, expHistogramPoint: 1, summaryPoint: 2}

func flagsOf(k kind) int32 {
	if k == histogramPoint || k == expHistogramPoint {
		return 10
	}
	return 8
}
