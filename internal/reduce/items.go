package reduce

import (
	"github.com/telemetry-gateway/telemetry-gateway/internal/guard"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// item is Reducer.Item: a log record or a span, which is no series and is known to nobody.
func (p *Push) item(set *labels.Set) (*labels.Change, ingest.Verdict) {
	p.alike = false
	if p.shows(set); p.Spent() {
		return nil, ingest.Refuse
	}
	res := p.rules.Apply(&p.scratch, set)
	if res.Restored > 0 {
		p.policy.protected.Add(int64(res.Restored))
	}
	if res.DroppedBy >= 0 {
		p.tally.byRule[res.DroppedBy]++
		p.tally.drop(ingest.ReasonRelabelDrop, 1)
		return nil, ingest.Drop
	}
	if !p.policy.shapes() {
		p.alike = res.Restored == 0 && (res.Change == nil || len(res.Change.Add) == 0)
		return res.Change, ingest.Pass
	}
	p.final, p.ours = res.Change.Append(p.final[:0], set.All), p.ours[:0]
	if r, found := p.policy.guard.Shape(own(p.ours, p.final, p.view)); found {
		if !r.Observed {
			p.refuseItem(r)
			return nil, ingest.Refuse
		}
		p.tally.observe(r.Reason, 1)
	}
	return res.Change, ingest.Pass
}

// repeats is Reducer.Repeats, where labels have no limits: those look at all of them. What a rule took in vain is counted each
// time. An item that is not shown is not counted for Spent either, which bounds the work all the same: no rule runs on it, and of
// what it shares with others nothing is looked at again.
func (p *Push) repeats() bool { return p.alike }

// refuseItem refuses one item that is no series. What is said of it is said now: it cannot be looked at later.
func (p *Push) refuseItem(r guard.Refusal) {
	if t := p.tally.refuse(r, 1); t.Text == "" {
		t.Text = p.policy.guard.Describe(r, func(string) []string { return nil })
	}
}

// resource is Reducer.Resource.
func (p *Push) resource(set *labels.Set, items int) (*labels.Change, ingest.Verdict) {
	res := p.policy.resource.Apply(&p.resourceScratch, set)
	if res.DroppedBy < 0 {
		return res.Change, ingest.Pass
	}
	p.tally.byResource[res.DroppedBy] += items
	p.tally.drop(ingest.ReasonRelabelDrop, items)
	return nil, ingest.Drop
}

// tooLong is Reducer.TooLong.
func (p *Push) tooLong(bytes int) bool {
	r, found := p.policy.guard.TooLong(bytes)
	switch {
	case !found:
	case r.Observed:
		p.tally.observe(r.Reason, 1)
	default:
		p.refuseItem(r)
	}
	return found && !r.Observed
}
