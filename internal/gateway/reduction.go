package gateway

import (
	"strings"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/reduce"
)

// askRequest takes one request from the buckets of the push, before its body is read.
func (p *push) askRequest() (err error) {
	if p.policy.rates == nil {
		return nil
	}
	lease, refused := p.policy.rates.Request(p.start)
	if refused != nil {
		return refused
	}
	p.lease, p.leased = lease, true
	return nil
}

// askItems takes what the push turned out to hold.
func (p *push) askItems(batch ingest.Batch) error {
	p.entry.received, p.entry.decodedBytes = batch.Items(), len(p.raw())
	if !p.leased {
		return nil
	}
	if err := p.lease.Items(p.start, len(p.raw()), p.entry.received); err != nil {
		p.entry.drop(ingest.ReasonRateLimit, p.entry.received)
		return err
	}
	return nil
}

// giveBack returns what the push took from its buckets, since upstream did not take it.
func (p *push) giveBack() {
	if p.leased {
		p.lease.Return()
		p.leased = false
	}
}

// beginReduction makes what rules and guard are asked by; nil: neither is.
func (p *push) beginReduction() *ingest.Reducer {
	p.endReduction()
	if p.policy.reduce == nil {
		return nil
	}
	p.reduction = p.policy.reduce.Begin(p.start, p.view(), p.built)
	p.reduction.Most = mostShown * p.bounds().DecodedBytes
	return &p.reduction.Reducer
}

// ours says whether a push was refused by us for what its sender did. What it took from its buckets stays taken: garbage may
// not come without end because it is refused.
func ours(e *fault.Error) bool {
	switch e.Kind {
	case fault.Malformed, fault.TooLarge, fault.RateLimited, fault.Unsupported:
		return e.Upstream == 0
	}
	return false
}

// reduce asks rules and guard about everything in the push.
func (p *push) reduce(batch ingest.Batch) error {
	if p.reduction == nil {
		return nil
	}
	err := batch.Reduce(&p.reduction.Reducer)
	if err == nil && p.reduction.Spent() {
		return fault.New(fault.TooLarge, "the labels of the push, written out for each of its items, take over %d bytes, %d times server.max_decoded_bytes=%d; "+
			"send fewer items at once, or shorter values in what they share", p.reduction.Most, mostShown, p.bounds().DecodedBytes)
	}
	return err
}

// mostShown is how many times server.max_decoded_bytes the labels of a push may take once symbols and resources are written
// out for each item that rules or guard look at.
const mostShown = 4

// view is how the door of the push shows labels.
func (p *push) view() reduce.View {
	for _, exit := range p.protocol.Exits {
		if exit == "otlp" {
			return reduce.Attributes
		}
	}
	return reduce.Plain
}

// reduced notes what was held back, once the push is packed.
func (p *push) reduced() {
	if p.reduction == nil {
		return
	}
	p.held = p.reduction.Outcome()
	p.endReduction()
}

func (p *push) endReduction() {
	if p.reduction != nil {
		p.reduction.Close()
		p.reduction = nil
	}
}

// told are the refusals that the sender is to hear of. A sender that would retry a 400, or page somebody for it, can be
// spared those by the guard: they are counted, logged and reported all the same.
func (p *push) told() []ingest.Refusal {
	if !p.policy.quiet {
		return p.refusals
	}
	var out []ingest.Refusal
	for _, r := range p.refusals {
		if !guarded(r.Reason) {
			out = append(out, r)
		}
	}
	return out
}

// guarded says whether a reason is the guard's or a limit's.
func guarded(reason string) bool {
	switch reason {
	case ingest.ReasonActiveSeries, ingest.ReasonActiveSeriesPerMetric, ingest.ReasonValuesPerLabel, ingest.ReasonLabelsPerSeries,
		ingest.ReasonLabelNameBytes, ingest.ReasonLabelValueBytes, ingest.ReasonLineBytes, ingest.ReasonCollision:
		return true
	}
	return false
}

// pushBack turns upstream's 429 into 503, for senders that drop on 429, unless it is about series or streams: those come no
// faster for waiting.
func (p *push) pushBack(err error) error {
	if !p.policy.backpressure {
		return err
	}
	e := fault.From(err)
	if e.Kind != fault.RateLimited || e.Upstream == 0 || namesSeries(e.Public) {
		return err
	}
	return e.Backpressure()
}

// namesSeries says whether a text of upstream's speaks of how many series or streams there may be.
func namesSeries(text string) bool {
	text = strings.ToLower(text)
	for _, word := range []string{"series", "stream limit", "streams limit"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}
