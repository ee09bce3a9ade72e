package guard

import (
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// arrival is a series that comes, or comes again, and what is known of its metric.
// Hashes of its labels go beside it: a field would move them to the heap with what the strings here leak to.
type arrival struct {
	tick
	name   string // of its metric
	final  []labels.Label
	weight int64

	ref    uint32
	pair   *pair   // nil: its client has no series of the metric yet
	metric *metric // nil: nobody has
	apart  bool    // it has, or gets, an entry of its own
}

func newArrival(now time.Time, final []labels.Label, weight int) arrival {
	return arrival{tick: at(now), name: nameOf(final), final: final, weight: int64(max(weight, 1))}
}

// Admit asks whether a series that nobody knows may come. It takes weight places in every scope at once, or none. ref
// names what was taken, for Refresh and Release. r says what was refused, or what a limit only observed: then the places
// are taken. The table calls it under the lock of a shard.
func (p *Policy) Admit(now time.Time, final []labels.Label, weight int) (ref uint32, r Refusal, refused bool) {
	var buf [32]uint64
	a := newArrival(now, final, weight)
	hashes := p.g.hash(buf[:0], final)
	sp := p.space

	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.roll(a.tick)
	warm := false
	if p.judges {
		p.find(&a)
		r, warm = p.judge(&a, hashes)
	}
	if r.Reason != "" && !r.Observed {
		p.refuse(&a, hashes, &r)
		return 0, r, true
	}
	p.enter(&a, hashes)
	if warm {
		sp.warm++
	}
	a.pair.fresh.add(a.window, 1)
	a.metric.fresh.add(a.window, 1)
	p.client.fresh.add(a.minute, 1)
	as := fresh
	if r.Observed {
		as = overLimit
		p.book(&a, &r)
	}
	sp.consider(a.metric)
	if a.metric.track != nil {
		a.metric.track.feed(as, p, &a, hashes)
	}
	return a.ref, r, false
}

// Adopt takes weight places for a series that is known and changes its labels: it is never refused.
func (p *Policy) Adopt(now time.Time, final []labels.Label, weight int) (ref uint32) {
	var buf [32]uint64
	a := newArrival(now, final, weight)
	hashes := p.g.hash(buf[:0], final)
	sp := p.space

	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.roll(a.tick)
	p.enter(&a, hashes)
	sp.consider(a.metric)
	if a.metric.track != nil {
		a.metric.track.feed(live, p, &a, hashes)
	}
	return a.ref
}

// Refresh says that a series is still live, once in ten minutes: its values stay known.
func (g *Guard) Refresh(now time.Time, ref uint32, final []labels.Label) {
	if ref == 0 {
		return
	}
	pr := g.pairs.at(ref)
	sp, p := pr.client.space, pr.client.policy.Load()
	var buf [32]uint64
	a := arrival{tick: at(now), final: final, ref: ref, pair: pr, metric: pr.metric}
	hashes := g.hash(buf[:0], final)

	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.roll(a.tick)
	p.keep(&a, hashes)
	if a.metric.track != nil {
		a.metric.track.feed(live, p, &a, hashes)
	}
}

// Release gives back the places of one series.
func (g *Guard) Release(ref, weight uint32) {
	if ref == 0 {
		return
	}
	pr := g.pairs.at(ref)
	sp, w := pr.client.space, int64(max(weight, 1))
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if pr.active < w {
		panic("BUG: a series was released that was not admitted, or with another weight")
	}
	pr.active -= w
	pr.metric.active -= w
	pr.client.active -= w
	sp.active -= w
	if pr.active == 0 {
		sp.leave(ref, pr)
	}
}

// find looks up what is known of the metric. Names that are not told apart have no metric.
func (p *Policy) find(a *arrival) {
	if ref, ok := p.client.metrics[a.name]; ok {
		a.ref, a.pair, a.apart = ref, p.g.pairs.at(ref), true
		a.metric = a.pair.metric
		return
	}
	if a.apart = p.space.apart(p.client, a.name); a.apart {
		a.metric = p.space.metrics[a.name]
	}
}

// enter takes places in all scopes and keeps the values known.
func (p *Policy) enter(a *arrival, hashes []uint64) {
	if a.pair == nil {
		a.ref, a.pair = p.space.pair(p.client, a.name)
		a.metric = a.pair.metric
	}
	a.pair.active += a.weight
	a.metric.active += a.weight
	p.client.active += a.weight
	p.space.active += a.weight
	p.keep(a, hashes)
}

// keep marks the values of a live series as seen, in the scopes that limit values.
func (p *Policy) keep(a *arrival, hashes []uint64) {
	if a.metric.other {
		return
	}
	for scope, sets := range [2]*valueSets{&a.pair.values, &a.metric.values} {
		limit := p.scopes[scope].ValuesPerLabel
		if limit <= 0 {
			continue
		}
		most, at := p.g.inForce(a.now, limit)+1, 0
		for i := range a.final {
			name := a.final[i].Name
			if !p.counts(name) {
				continue
			}
			var ok bool
			if at, ok = sets.from(at, name); !ok {
				if len(*sets) >= labelsPerMetric || p.g.sets.Load() >= setsPerName*p.g.maxMetrics {
					continue
				}
				p.g.sets.Add(1)
				sets.insert(at, name, a.minute)
			}
			(*sets)[at].add(hashes[i], a.minute, most)
		}
	}
}

// judge holds a new series against the limits. A limit that refuses is told before one that observes, a label before a
// metric before all series, the client's before its environment's. warm: without the warm-up it would be refused.
func (p *Policy) judge(a *arrival, hashes []uint64) (r Refusal, warm bool) {
	var values [2]valueSets
	var perName, all [2]int64
	if a.pair != nil {
		values[0], perName[0] = a.pair.values, a.pair.active
	}
	if a.metric != nil {
		values[1], perName[1] = a.metric.values, a.metric.active
	}
	all[0], all[1] = p.client.active, p.space.active

	over := func(scope int, why reason, limit int, count int64) bool {
		l := &p.scopes[scope]
		if limit <= 0 || count <= int64(limit) {
			return false
		}
		inForce := p.g.inForce(a.now, limit)
		if count <= inForce {
			warm = warm || !l.Observe
			return false
		}
		if r.Reason != "" && (l.Observe || !r.Observed) {
			return false
		}
		r = p.refusal(scope, why, limit, int(count))
		if inForce != int64(limit) {
			r.inForce = int(inForce)
		}
		return true
	}
	for scope := range p.scopes {
		if limit := p.scopes[scope].ValuesPerLabel; limit > 0 {
			if label, count := p.newValue(a, hashes, values[scope], limit); over(scope, valuesPerLabel, limit, int64(count)) {
				r.Label = label
			}
		}
	}
	for scope := range p.scopes {
		if a.apart {
			over(scope, perMetric, p.scopes[scope].ActiveSeriesPerMetric, perName[scope]+a.weight)
		}
	}
	for scope := range p.scopes {
		over(scope, activeSeries, p.scopes[scope].ActiveSeries, all[scope]+a.weight)
	}
	return r, warm
}

// newValue returns the label with the most values of those to which the series would bring one more than limit, and how
// many that would be. 0: there is none.
func (p *Policy) newValue(a *arrival, hashes []uint64, sets valueSets, limit int) (label string, most int) {
	stop, at := p.g.inForce(a.now, limit)+1, 0
	for i := range a.final {
		var ok bool
		if at, ok = sets.from(at, a.final[i].Name); !ok || !p.counts(a.final[i].Name) {
			continue
		}
		if n := sets[at].with(hashes[i], a.minute, int64(limit), stop); n > limit && n > most {
			label, most = a.final[i].Name, n
		}
	}
	return label, most
}

// refuse books a series that may not come. Its metric is remembered also if it has no series, unless there are many of those.
func (p *Policy) refuse(a *arrival, hashes []uint64, r *Refusal) {
	sp := p.space
	if a.metric == nil && a.apart && len(sp.idle) < idleMetrics {
		a.metric = sp.metric(a.name)
		a.metric.idle = true
		sp.idle = append(sp.idle, a.metric)
	}
	p.book(a, r)
	if a.metric == nil {
		return
	}
	sp.consider(a.metric)
	if a.metric.track != nil {
		a.metric.track.feed(overLimit, p, a, hashes)
	}
}

// book counts what was refused or observed, and completes r.
func (p *Policy) book(a *arrival, r *Refusal) {
	r.Metric = a.name
	if m := a.metric; m != nil {
		m.refused.add(a.window, 1)
		if r.Label == "" && m.track != nil {
			r.Label = m.track.culprit.label
		}
	}
	p.client.refused.add(a.minute, 1)
	p.space.refusals.add(p.client.name, r, a.tick, 1)
}
