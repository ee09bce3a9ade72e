package otlp

import (
	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// batch is one push of any signal.
type batch struct {
	signal *signal
	// proto is the push as protobuf: as it came, or made of JSON.
	proto []byte
	// made: proto is not what was received.
	made  bool
	items int
	// stock is where what is built comes from.
	stock *ingest.Stock
	// envelopes and holders are the messages that stamping rewrites: those around what is stamped, and what is stamped.
	envelopes, holders int
	// survey is of spans only.
	survey
	// reduced is of spans and log records only.
	reduced
	// prepared are the data points, read for the Reducer that will ask about them; nil: nobody has read them yet.
	prepared *points
	// points is what a Reducer said about data points; nil: nothing that changes the push.
	points *points
}

func (s *signal) decode(raw []byte, c ingest.Content) (ingest.Batch, error) {
	b := &batch{signal: s, proto: raw, made: c.JSON, stock: c.Stock}
	var err error
	if c.JSON {
		var weight int
		if weight, err = checkJSON(raw); err == nil {
			if err := c.Charge.Take(max(0, weight-jsonWeight*len(raw))); err != nil {
				return nil, err // no fault of the push
			}
			b.proto, err = s.fromJSON(raw)
		}
	}
	if err == nil {
		err = b.walk(c)
	}
	if full, ok := err.(*fault.Error); ok {
		return nil, full // no fault of the push either
	}
	if err != nil {
		return nil, ingest.Malformed("otlp "+string(s.signal), err)
	}
	return b, nil
}

// walk checks the push and counts what is in it. It reads data points for who will ask about them.
func (b *batch) walk(c ingest.Content) (err error) {
	var w walker
	switch {
	case b.signal.signal == ingest.Traces:
		b.items, err = w.traces(b.proto, &b.survey)
	case b.signal.signal == ingest.Metrics && c.Reducer != nil && c.Reducer.Judge != nil:
		if b.prepared, err = newPoints(b.proto, c.Reducer, ingest.Lender{Charge: c.Charge, Stock: c.Stock}); err == nil {
			b.items, w = b.prepared.items, b.prepared.walker
		}
	default:
		b.items, err = w.walk(b.proto, b.signal.request, 0)
	}
	b.envelopes, b.holders = w.envelopes, w.holders
	return err
}

// Items is how many spans, data points or log records there are.
func (b *batch) Items() int { return b.items }

// Reduce asks r about what is in the push.
func (b *batch) Reduce(r *ingest.Reducer) error {
	if b.signal.signal == ingest.Metrics {
		return b.reducePoints(r)
	}
	return b.reduceItems(r)
}

// stamps says whether e puts a stamp on anything. An empty push has nothing to put it on.
func (b *batch) stamps(e ingest.Edit) bool { return len(e.Stamps) > 0 && b.holders > 0 }

// checksIDs says whether there are spans whose ids are bad.
func (b *batch) checksIDs() bool { return b.refused.Items > 0 && !b.idsChecked }

// left is e without what Reduce has done already.
func (b *batch) left(e ingest.Edit) ingest.Edit {
	if b.stamped {
		e.Stamps = nil
	}
	return e
}

// rewrites says whether spans have to be looked at one by one for e, or services named.
func (b *batch) rewrites(e ingest.Edit) bool {
	return b.checksIDs() || b.fills(&e) || b.samples(&e)
}

// Bound is what Encode appends at most.
func (b *batch) Bound(e ingest.Edit) int {
	if b.points != nil {
		return b.boundPoints(e)
	}
	e = b.left(e)
	stamps, fills, samples := b.stamps(e), b.fills(&e), b.samples(&e)
	if !stamps && !fills && !samples && !b.checksIDs() {
		switch {
		case b.wrote:
			return max(len(b.proto), 1)
		case b.made:
			return len(b.proto)
		}
		return 0
	}
	// What is around what changes grows by its length alone: from one byte to five, for no push is larger than those
	// can say.
	n := len(b.proto) + b.envelopes*4
	size := stampsLen(e.Stamps)
	if stamps {
		n += b.holders * holderGrowth(size)
	}
	if fills {
		n += b.nameless * holderGrowth(size+stampsLen([]labels.Label{{Name: serviceName, Value: e.Traces.FillServiceName}}))
	}
	if samples {
		n += b.items * maxSpanGrowth
	}
	return n
}

// holderGrowth is what something grows by that gets stamps of that size: by those and by its own length, and it may have
// to be made.
func holderGrowth(size int) int { return size + wire.UvarintLen(uint64(size+127)) + 1 }

// Encode appends the push with all that e says.
func (b *batch) Encode(dst []byte, e ingest.Edit) (ingest.Result, error) {
	if b.points != nil {
		return b.encodePoints(dst, e)
	}
	e = b.left(e)
	r := ingest.Result{
		Form: e.Form, Sent: ingest.Count{Items: b.items - b.lost}, Unnamed: b.unnamed, MetadataBytes: b.metadataBytes,
	}
	if b.refused.Items > 0 {
		r.Refused = []ingest.Refusal{b.refused}
	}
	var err error
	switch {
	case b.rewrites(e):
		err = b.rewrite(dst, e, &r)
	case b.stamps(e):
		r.Body, err = newStamper(e.Stamps).walk(dst, b.proto, b.signal.request)
	case b.made:
		r.Body = append(dst, b.proto...)
	default:
		r.Unchanged = true
	}
	return r, err
}

// rewrite appends what e and the spans' ids leave of the push, and says in r what that is.
func (b *batch) rewrite(dst []byte, e ingest.Edit, r *ingest.Result) (err error) {
	w := newSpanWriter(b, &e)
	r.Body, err = w.request(dst, b.proto)
	r.Sent.Items -= w.refused + w.sampled
	if w.sampled > 0 {
		r.Dropped = []ingest.Refusal{{Reason: ingest.ReasonSampled, Items: w.sampled}}
	}
	return err
}
