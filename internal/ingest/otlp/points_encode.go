package otlp

import (
	"slices"
	"strings"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// boundPoints is Bound for a push that a Reducer changes.
func (b *batch) boundPoints(e ingest.Edit) int { return b.points.bound(b, e.Stamps) }

// encodePoints is Encode for a push that a Reducer changes.
func (b *batch) encodePoints(dst []byte, e ingest.Edit) (ingest.Result, error) {
	w := pointWriter{p: b.points, stamps: newStamper(e.Stamps)}
	return ingest.Result{Body: w.request(dst, b.proto), Form: e.Form, Sent: ingest.Count{Items: b.points.left}}, nil
}

// pointWriter writes a push of data points again as a Reducer left it. Messages in which nothing changes it copies as they came,
// in runs as long as possible. From those that it does write what upstream does not read is left out: data of a metric
// before the one that counts, and scopes under their old name beside new ones. No rule has seen those.
type pointWriter struct {
	p      *points
	stamps *stamper
}

func (w *pointWriter) stamping() bool { return len(w.stamps.stamps) > 0 }

// stamped appends field num with msg, of kind k, which gets stamps and nothing else.
func (w *pointWriter) stamped(dst []byte, num int32, msg []byte, k kind) []byte {
	dst, at := wire.OpenMessage(dst, num, len(msg)+w.stamps.size)
	return wire.CloseMessage(sound(w.stamps.walk(dst, msg, k)), at)
}

func (w *pointWriter) request(dst, msg []byte) []byte {
	next := 0
	var f wire.Field
	run := msg
	for rest := msg; len(rest) > 0; {
		before := len(rest)
		if rest = field(rest, &f); f.Num != 1 {
			continue
		}
		r := &w.p.resources[next]
		next++
		if !r.changed && !w.stamping() {
			continue
		}
		dst = append(dst, run[:len(run)-before]...)
		run = rest
		if r.changed {
			dst = w.resource(dst, r)
		} else {
			dst = w.stamped(dst, 1, f.Data, resourceMetrics)
		}
	}
	return append(dst, run...)
}

// resource appends r; nothing if it was dropped or loses all it holds.
func (w *pointWriter) resource(dst []byte, r *pointResource) []byte {
	if r.dropped {
		return dst
	}
	start := len(dst)
	dst, at := wire.OpenMessage(dst, 1, len(r.msg))
	pending := r.rewritten
	if pending && r.fields == 0 {
		dst, pending = wire.AppendBytes(dst, 1, r.attrs), false
	}
	next, left, lost := r.from, 0, 0
	var f wire.Field
	run := r.msg
	for rest := r.msg; len(rest) > 0; {
		before := len(rest)
		rest = field(rest, &f)
		var s *pointScope
		if f.Num == r.num && next < r.to && same(f.Data, w.p.scopes[next].msg) {
			s = &w.p.scopes[next]
			next++
		}
		switch {
		case f.Num == 1 && r.rewritten:
		case f.Num == oldScope && r.num != oldScope:
		case s != nil && (s.changed || w.stamping()):
		default:
			if f.Num == r.num {
				left++
			}
			continue
		}
		dst = append(dst, run[:len(run)-before]...)
		run = rest
		switch {
		case f.Num == 1 && pending:
			dst, pending = wire.AppendBytes(dst, 1, r.attrs), false
		case s != nil && s.changed:
			was := len(dst)
			if dst = w.scope(dst, s, f.Num); len(dst) > was {
				left++
			} else {
				lost++
			}
		case s != nil:
			dst = w.stamped(dst, f.Num, f.Data, scopeMetrics)
			left++
		}
	}
	if lost > 0 && left == 0 {
		return dst[:start]
	}
	return wire.CloseMessage(append(dst, run...), at)
}

// scope appends s as field num; nothing if it loses all its metrics.
func (w *pointWriter) scope(dst []byte, s *pointScope, num int32) []byte {
	start := len(dst)
	dst, at := wire.OpenMessage(dst, num, len(s.msg))
	next, left, lost := s.from, 0, 0
	var f wire.Field
	run := s.msg
	for rest := s.msg; len(rest) > 0; {
		before := len(rest)
		if rest = field(rest, &f); f.Num != 2 {
			continue
		}
		if next == s.to || !same(f.Data, w.p.metrics[next].msg) {
			left++ // it came without points
			continue
		}
		m := &w.p.metrics[next]
		next++
		if m.left == 0 {
			lost++
		} else {
			left++
		}
		if !m.changed && !w.stamping() {
			continue
		}
		dst = append(dst, run[:len(run)-before]...)
		run = rest
		switch {
		case !m.changed:
			dst = w.stamped(dst, 2, f.Data, metric)
		case m.first < m.last:
			dst = w.parts(dst, m)
		case m.left > 0:
			dst = w.metric(dst, m)
		}
	}
	if lost > 0 && left == 0 {
		return dst[:start]
	}
	return wire.CloseMessage(append(dst, run...), at)
}

// metric appends m with the points that are left of it.
func (w *pointWriter) metric(dst []byte, m *pointMetric) []byte {
	dst, at := wire.OpenMessage(dst, 2, len(m.msg))
	var f wire.Field
	run := m.msg
	for rest := m.msg; len(rest) > 0; {
		before := len(rest)
		if rest = field(rest, &f); pointsOf(f.Num) == scalar {
			continue
		}
		dst = append(dst, run[:len(run)-before]...)
		run = rest
		if same(f.Data, m.data) {
			dst = w.data(dst, m, f.Num)
		}
	}
	return wire.CloseMessage(append(dst, run...), at)
}

// data appends the data of m as field num.
func (w *pointWriter) data(dst []byte, m *pointMetric, num int32) []byte {
	w.p.layout.use(w.p, int(w.p.at[m.from].metric))
	dst, at := wire.OpenMessage(dst, num, len(m.data))
	i := m.from
	var f wire.Field
	run := m.data
	for rest := m.data; len(rest) > 0; {
		before := len(rest)
		if rest = field(rest, &f); f.Num != 1 {
			continue
		}
		i++
		if w.stays(i - 1) {
			continue
		}
		dst = append(dst, run[:len(run)-before]...)
		run = rest
		if w.p.leaves(i - 1) {
			dst = w.point(dst, f.Data, i-1, m)
		}
	}
	return wire.CloseMessage(append(dst, run...), at)
}

// stays says whether point i leaves as it came.
func (w *pointWriter) stays(i int) bool {
	return !w.stamping() && w.p.leaves(i) && w.p.series[i].Change == nil
}

// parts appends a metric for each of m's parts.
func (w *pointWriter) parts(dst []byte, m *pointMetric) []byte {
	w.p.layout.use(w.p, int(w.p.at[m.from].metric))
	ofMetric, num, ofData := w.p.around(m)
	size := len(m.data) / (m.last - m.first)
	for _, part := range w.p.parts[m.first:m.last] {
		var outer, inner wire.Mark
		dst, outer = wire.OpenMessage(dst, 2, len(part.name)+len(ofMetric)+size)
		dst = wire.AppendString(dst, 1, part.name)
		dst = append(dst, ofMetric...)
		dst, inner = wire.OpenMessage(dst, num, size)
		for i := part.head; ; i = w.p.at[i].next {
			dst = w.point(dst, w.p.point(int(i)), int(i), m)
			if i == part.tail {
				break
			}
		}
		dst = wire.CloseMessage(append(dst, ofData...), inner)
		dst = wire.CloseMessage(dst, outer)
	}
	return dst
}

// point appends point i of m, msg, as it leaves.
func (w *pointWriter) point(dst, msg []byte, i int, m *pointMetric) []byte {
	attrs := messages[m.kind].attrs
	change := w.p.series[i].Change
	switch {
	case change != nil:
		return w.changed(dst, msg, attrs, change)
	case w.stamping():
		dst, at := wire.OpenMessage(dst, 1, len(msg)+w.stamps.size)
		clear(w.stamps.seen)
		return wire.CloseMessage(sound(w.stamps.attributes(dst, msg, attrs, true)), at)
	}
	return wire.AppendBytes(dst, 1, msg)
}

// changed appends the point msg, whose attributes are its fields num, with c made of its labels: what stays stands where it
// stood, what comes is appended. An attribute that is called like a label which rules can only read is none of their business;
// neither is one without a value, unless they write or drop one of that name.
func (w *pointWriter) changed(dst, msg []byte, num int32, c *labels.Change) []byte {
	p, l := w.p, &w.p.layout
	p.text.reset()
	sound(nil, l.read(msg, num, ingest.Lender{}))
	sound(nil, l.resolve(&p.text))
	clear(w.stamps.seen)
	dst, at := wire.OpenMessage(dst, 1, len(msg))
	done := 0 // how much of msg is in dst
	for i := range l.list[:l.n] {
		a := &l.list[i]
		if w.keeps(a, c) {
			continue
		}
		dst = append(dst, msg[done:a.start]...)
		done = a.end
		if s := a.stamp; s >= 0 && !w.stamps.seen[s] {
			w.stamps.seen[s] = true
			dst = w.stamp(dst, num, s, c)
		}
	}
	dst = append(dst, msg[done:]...)
	for s, seen := range w.stamps.seen {
		if !seen {
			dst = w.stamp(dst, num, s, c)
		}
	}
	for _, a := range c.Add {
		if !ofPoint.reserved(a.Name) {
			dst = appendStamp(dst, num, a)
		}
	}
	return wire.CloseMessage(dst, at)
}

// keeps says whether a stays as it stands.
func (w *pointWriter) keeps(a *pointAttr, c *labels.Change) bool {
	name := textOf(a.name)
	switch {
	case a.stamp >= 0:
		return false
	case ofPoint.reserved(name):
		return true
	case a.doubled:
		return false
	case a.rank >= 0:
		return c.Keeps(a.rank)
	}
	if rank := w.p.layout.rankOf(name); rank >= 0 && !c.Keeps(rank) {
		return false
	}
	_, written := slices.BinarySearchFunc(c.Add, name, func(l labels.Label, name string) int { return strings.Compare(l.Name, name) })
	return !written
}

// stamp appends stamp s, if rules leave it.
func (w *pointWriter) stamp(dst []byte, num int32, s int, c *labels.Change) []byte {
	if rank := w.p.layout.ranks[s]; rank >= 0 && !c.Keeps(rank) && !ofPoint.reserved(w.stamps.stamps[s].Name) {
		return dst
	}
	return appendStamp(dst, num, w.stamps.stamps[s])
}
