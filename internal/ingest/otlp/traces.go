package otlp

import (
	"encoding/binary"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// maxSpanGrowth is what a span grows by at most: a tracestate with th, `ot=th:` and 14 digits, its tag and length; the
// span's own length, which may take a byte more; and that of the ScopeSpans around it, which may take four.
const maxSpanGrowth = 1 + 1 + len("ot=th:") + randomDigits + 1 + 4

// samples says whether e may drop spans of b or write to them.
func (b *batch) samples(e *ingest.Edit) bool {
	r := e.Traces
	if r == nil || b.items == 0 {
		return false
	}
	if len(r.Services) == 0 {
		return threshold(r.Ratio) > 0
	}
	found := false
	err := each(b.proto, 1, func(rs []byte) error {
		if found {
			return nil
		}
		var g group
		err := g.read(rs)
		found = threshold(ratioOf(&g, e)) > 0
		return err
	})
	return found || err != nil
}

// fills says whether e gives a service of b a name.
func (b *batch) fills(e *ingest.Edit) bool {
	if e.Traces == nil || e.Traces.FillServiceName == "" || b.nameless == 0 {
		return false
	}
	_, stamped := stampOf(e.Stamps, serviceName)
	return !stamped
}

// spanWriter writes a push of spans again: without those that are refused or sampled away, with thresholds, names and
// stamps. What it does not change it copies as it came, in runs as long as possible.
type spanWriter struct {
	edit *ingest.Edit
	// stamps are what every resource gets, filling what one without a name gets: a name, too.
	stamps, filling stamper
	fills           bool
	checkIDs        bool
	sampler         sampler
	th              []byte // the threshold as text
	refused         int
	sampled         int
	thText          [randomDigits]byte
	scratch         [maxStateRead + maxSpanGrowth]byte
}

func newSpanWriter(b *batch, e *ingest.Edit) *spanWriter {
	w := &spanWriter{edit: e, checkIDs: b.checksIDs(), fills: b.fills(e)}
	w.stamps = *newStamper(e.Stamps)
	if w.fills {
		w.filling = *newStamper(fillingOf(e))
	}
	if e.Traces != nil {
		w.sampler.keepErrors = e.Traces.KeepErrors
	}
	return w
}

// fillingOf returns e's stamps and a service name.
func fillingOf(e *ingest.Edit) []labels.Label {
	all := make([]labels.Label, 0, len(e.Stamps)+1)
	return append(append(all, e.Stamps...), labels.Label{Name: serviceName, Value: e.Traces.FillServiceName})
}

// request appends the push msg.
func (w *spanWriter) request(dst, msg []byte) ([]byte, error) {
	var f wire.Field
	run := msg
	for rest := msg; len(rest) > 0; {
		before := len(rest)
		var err error
		if rest, err = wire.Next(rest, &f); err != nil {
			return nil, err
		}
		if f.Num != 1 {
			continue
		}
		var g group
		if err := g.read(f.Data); err != nil {
			return nil, err
		}
		stamps := w.use(&g)
		if len(stamps.stamps) == 0 && !w.looks() {
			continue
		}
		dst = append(dst, run[:len(run)-before]...)
		run = rest
		if dst, err = w.group(dst, f.Data, &g, stamps); err != nil {
			return nil, err
		}
	}
	return append(dst, run...), nil
}

// use makes w ready for g and returns what its resource gets.
func (w *spanWriter) use(g *group) *stamper {
	if w.edit.Traces != nil {
		w.sampler.threshold = threshold(ratioOf(g, w.edit))
		w.th = appendHex(w.thText[:0], w.sampler.threshold)
	}
	if w.fills && unnamed(g.service) {
		return &w.filling
	}
	return &w.stamps
}

// looks says whether spans have to be looked at.
func (w *spanWriter) looks() bool { return w.checkIDs || w.sampler.threshold > 0 }

// group appends the ResourceSpans msg, which g describes; nothing if it loses all it holds.
func (w *spanWriter) group(dst, msg []byte, g *group, stamps *stamper) ([]byte, error) {
	start := len(dst)
	dst, at := wire.OpenMessage(dst, 1, len(msg)+stamps.size)
	clear(stamps.seen)
	resources, left, lost := g.resources, 0, 0
	if resources == 0 && len(stamps.stamps) > 0 {
		var at wire.Mark
		dst, at = wire.OpenMessage(dst, 1, stamps.size)
		dst = wire.CloseMessage(stamps.missing(dst, messages[resource].attrs), at)
	}
	var f wire.Field
	run := msg
	for rest := msg; len(rest) > 0; {
		before := len(rest)
		var err error
		if rest, err = wire.Next(rest, &f); err != nil {
			return nil, err
		}
		isResource := f.Num == 1 && len(stamps.stamps) > 0
		isScope := f.Num == g.scopes && w.looks()
		if !isResource && !isScope {
			continue
		}
		dst = append(dst, run[:len(run)-before]...)
		run = rest
		if isResource {
			resources--
			var at wire.Mark
			dst, at = wire.OpenMessage(dst, 1, len(f.Data)+stamps.size)
			if dst, err = stamps.attributes(dst, f.Data, messages[resource].attrs, resources == 0); err != nil {
				return nil, err
			}
			dst = wire.CloseMessage(dst, at)
			continue
		}
		was := len(dst)
		if dst, err = w.scope(dst, f.Data, f.Num); err != nil {
			return nil, err
		}
		if len(dst) > was {
			left++
		} else {
			lost++
		}
	}
	if lost > 0 && left == 0 {
		return dst[:start], nil
	}
	return wire.CloseMessage(append(dst, run...), at), nil
}

// scope appends the ScopeSpans msg as field num; nothing if it loses all its spans.
func (w *spanWriter) scope(dst, msg []byte, num int32) ([]byte, error) {
	start := len(dst)
	dst, at := wire.OpenMessage(dst, num, len(msg))
	var left, lost int
	var f wire.Field
	var v view
	run := msg
	for rest := msg; len(rest) > 0; {
		before := len(rest)
		var err error
		if rest, err = wire.Next(rest, &f); err != nil {
			return nil, err
		}
		if f.Num != 2 {
			continue
		}
		v = view{}
		if err = v.read(f.Data, w.checkIDs); err != nil {
			return nil, err
		}
		state, how := w.judge(&v)
		if how == drop {
			lost++
		} else {
			left++
		}
		if how == keep {
			continue
		}
		dst = append(dst, run[:len(run)-before]...)
		run = rest
		if how != drop {
			dst = appendSpan(dst, f.Data, &v, state)
		}
	}
	if lost > 0 && left == 0 {
		return dst[:start], nil
	}
	return wire.CloseMessage(append(dst, run...), at), nil
}

// judge says what becomes of a span, and its tracestate if that changes.
func (w *spanWriter) judge(v *view) (state []byte, how verdict) {
	if w.checkIDs && v.ids != goodIDs {
		w.refused++
		return nil, drop
	}
	if w.sampler.threshold == 0 {
		return nil, keep
	}
	how = w.sampler.judge(v)
	switch how {
	case drop:
		w.sampled++
	case raise:
		var fits bool
		if state, fits = w.sampler.state.appendWith(w.scratch[:0], w.th); fits {
			return state, raise
		}
		if len(w.sampler.state.th) == 0 {
			return nil, keep
		}
		fallthrough
	case erase:
		state, _ = w.sampler.state.appendWith(w.scratch[:0], nil)
	}
	return state, how
}

// appendSpan appends span as field 2, with another tracestate.
func appendSpan(dst, span []byte, v *view, state []byte) []byte {
	n := 0
	// An empty field is written only where an earlier one would come to light without it.
	if len(state) > 0 || v.states > 1 {
		n = wire.BytesLen(3, len(state))
	}
	start, end := v.start, v.end
	if v.states == 0 {
		start, end = len(span), len(span)
	}
	dst = wire.AppendTag(dst, 2, wire.Bytes)
	dst = binary.AppendUvarint(dst, uint64(len(span)-(end-start)+n))
	dst = append(dst, span[:start]...)
	if n > 0 {
		dst = wire.AppendBytes(dst, 3, state)
	}
	return append(dst, span[end:]...)
}
