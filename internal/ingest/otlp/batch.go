package otlp

import (
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
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
	// envelopes and holders are the messages that stamping rewrites: those around what is stamped, and what is stamped.
	envelopes, holders int
}

func (s *signal) decode(raw []byte, c ingest.Content) (ingest.Batch, error) {
	b := &batch{signal: s, proto: raw}
	var err error
	if c.JSON {
		if err = checkJSON(raw); err == nil {
			b.proto, err = s.fromJSON(raw)
		}
		b.made = true
	}
	if err == nil {
		var w walker
		b.items, err = w.walk(b.proto, s.request, 0)
		b.envelopes, b.holders = w.envelopes, w.holders
	}
	if err != nil {
		return nil, ingest.Malformed("otlp "+string(s.signal), err)
	}
	return b, nil
}

// Items is how many spans, data points or log records there are.
func (b *batch) Items() int { return b.items }

// stamps says whether e puts a stamp on anything. An empty push has nothing to put it on.
func (b *batch) stamps(e ingest.Edit) bool { return len(e.Stamps) > 0 && b.holders > 0 }

// Bound is what Encode appends at most.
func (b *batch) Bound(e ingest.Edit) int {
	switch {
	case b.stamps(e):
		size := stampsLen(e.Stamps)
		// What is stamped grows by the stamps and by its own length, and may have to be made. What is around it grows
		// by its length alone: from one byte to five, for no push is larger than those can say.
		holder := size + wire.UvarintLen(uint64(size+127)) + 1
		return len(b.proto) + b.holders*holder + b.envelopes*4
	case b.made:
		return len(b.proto)
	}
	return 0
}

// Encode appends the push with its stamps.
func (b *batch) Encode(dst []byte, e ingest.Edit) (ingest.Result, error) {
	r := ingest.Result{Form: e.Form, Sent: ingest.Count{Items: b.items}}
	var err error
	switch {
	case b.stamps(e):
		r.Body, err = newStamper(e.Stamps).walk(dst, b.proto, b.signal.request)
	case b.made:
		r.Body = append(dst, b.proto...)
	default:
		r.Unchanged = true
	}
	return r, err
}
