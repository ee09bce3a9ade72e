package guard

import (
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// Would returns what limits say of labels, and where they are a series, of a new series with them. It counts nothing and
// remembers nothing. own are the labels of final that limits on their number and length are about.
func (p *Policy) Would(now time.Time, final, own []labels.Label, series bool) (all []Refusal) {
	for scope := range p.scopes {
		if r, found := p.shape(scope, own); found && !p.exempt {
			all = append(all, r)
			break
		}
	}
	if !series || !p.judges {
		return all
	}
	a := arrival{tick: at(now), name: nameOf(final), final: final, weight: 1}
	hashes := p.g.hash(nil, final)
	p.space.mu.Lock()
	defer p.space.mu.Unlock()
	p.find(&a)
	if r, _ := p.judge(&a, hashes); r.Reason != "" {
		r.Metric = a.name
		all = append(all, r)
	}
	return all
}
