package reduce

import (
	"math"

	"github.com/telemetry-gateway/telemetry-gateway/internal/guard"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/relabel"
	"github.com/telemetry-gateway/telemetry-gateway/internal/series"
)

const (
	// none is the index of no output.
	none = math.MaxUint32
	// noLabels is what a Dropped entry says of a series of which rules left nothing.
	noLabels = maxValue
	// identity is the number of the change that changes nothing.
	identity = 0
	// never is the generation of no decision: an entry that names it is decided again each time.
	never = 0
)

// settle decides about series i, which the table does not know, or knows from other rules.
func (p *Push) settle(i int) {
	s := &p.ss[i]
	p.look(i)
	res := p.apply(s)
	if s.Verdict != ingest.Pass {
		if s.Verdict == ingest.Drop {
			p.remember(i, dropValue(res))
		}
		return
	}
	generation := p.generation.number
	if p.misshapen(i) {
		if s.Verdict == ingest.Refuse {
			return
		}
		generation = never // a limit only observes: it is to be counted each time
	}
	key := p.outKey(s, res.Change)
	if p.suspended() {
		if s.Overwritten == (labels.Key{}) {
			p.suspend(i, key, generation)
			return
		}
		// Its stamps make it one with others however its rules are held back.
		p.final = append(p.final[:0], p.set.All...)
		key, res.Change = s.Key.Minus(s.Overwritten), nil
	}
	if key == s.Key {
		p.admit(i, generation)
	} else {
		p.route(i, key, res.Change, generation)
	}
}

// apply runs the rules on the set, and leaves in final what would leave.
func (p *Push) apply(s *ingest.Series) relabel.Result {
	res := p.rules.Apply(&p.scratch, &p.set)
	if res.Restored > 0 {
		p.policy.protected.Add(int64(res.Restored))
	}
	if res.DroppedBy >= 0 || res.NoLabels {
		p.hold(s, dropValue(res))
		return res
	}
	p.final = res.Change.Append(p.final[:0], p.set.All)
	return res
}

func dropValue(res relabel.Result) uint32 {
	if res.DroppedBy >= 0 {
		return uint32(res.DroppedBy)
	}
	return noLabels
}

// settleAlone decides about a series whose key is another's: by the rules alone, and nothing is remembered.
func (p *Push) settleAlone(i int) {
	p.look(i)
	s := &p.ss[i]
	if res := p.apply(s); s.Verdict == ingest.Pass && res.Change != nil {
		s.Change = clone(res.Change)
	}
}

// outKey is the key of what s leaves as.
func (p *Push) outKey(s *ingest.Series, c *labels.Change) labels.Key {
	k := s.Key.Minus(s.Overwritten)
	if c == nil {
		return k
	}
	for i := range p.set.All {
		if !c.Keeps(i) {
			k = k.Minus(p.set.Keys[i])
		}
	}
	for _, l := range c.Add {
		k = k.Plus(p.engine.seed.Text(labels.Own, l.Name, l.Value))
	}
	return k
}

// remember notes that series i is dropped.
func (p *Push) remember(i int, value uint32) {
	p.engine.table.Update(p.ss[i].Key, p.minute, func(e *series.Entry, found bool) bool {
		p.uncount(e)
		e.Set(series.Dropped, value, p.generation.number)
		return true
	})
}

// uncount gives back the place of an entry that is about to be something else.
func (p *Push) uncount(e *series.Entry) {
	if countable(e) {
		p.engine.guard.Release(e.Ref, e.Value())
	}
}

// countable says whether e itself is a live series.
func countable(e *series.Entry) bool {
	return e.Kind() == series.Counted || e.Kind() == series.Suspended
}

// admit decides about series i, which leaves as it came.
func (p *Push) admit(i int, generation uint32) {
	s, m := &p.ss[i], &p.marks[i]
	ok := p.engine.table.Update(s.Key, p.minute, func(e *series.Entry, found bool) bool {
		if p.lives() && p.engine.table.Lookup(s.Key, p.minute, func(*series.Output) {}) {
			// Rules make others the same series as this one, which so has to be watched as they are.
			p.uncount(e)
			m.out, _ = p.engine.table.Route(s.Key, p.minute, func(*series.Output, bool) {})
			e.Set(series.Routed, identity, generation)
			e.Ref = m.out
			m.state = routed
			lived(e, s)
			return true
		}
		m.state = settled
		if !p.place(s, m, e) {
			return false
		}
		e.Set(series.Counted, e.Value(), generation)
		lived(e, s)
		return true
	})
	if !ok {
		p.full(s)
	}
}

// place makes e hold a place among the live series, unless it does already. It reports false if there is none for s.
func (p *Push) place(s *ingest.Series, m *mark, e *series.Entry) bool {
	if countable(e) {
		return true
	}
	ref, ok := p.reserve(s, m.known)
	if !ok {
		return false
	}
	e.Ref = ref
	e.Set(series.Counted, weight(s), never) // the caller knows the rest
	return true
}

// reserve takes a place for s, which leaves with the labels in final. A known series gets one whatever the limits.
func (p *Push) reserve(s *ingest.Series, known bool) (ref uint32, ok bool) {
	if known {
		return p.policy.guard.Adopt(p.now, p.final, int(weight(s))), true
	}
	ref, r, refused := p.policy.guard.Admit(p.now, p.final, int(weight(s)))
	if refused {
		p.refuse(s, r)
		return 0, false
	}
	if r.Observed {
		p.tally.observe(r.Reason, int(s.Items))
	}
	return ref, true
}

func weight(s *ingest.Series) uint32 { return uint32(min(max(s.Weight, 1), maxValue)) }

// route decides about series i, which leaves as the series of key.
func (p *Push) route(i int, key labels.Key, c *labels.Change, generation uint32) {
	s, m := &p.ss[i], &p.marks[i]
	out, ok := p.output(s, m, key)
	if s.Verdict != ingest.Pass {
		return
	}
	var number uint32
	var interned bool
	if s.Change, number, p.text, interned = p.generation.intern(c, p.text); !interned {
		p.decisions.renew(p.generation)
		generation = never
	}
	if !ok {
		p.full(s)
		return
	}
	m.state, m.out = routed, out
	p.engine.table.Update(s.Key, p.minute, func(e *series.Entry, _ bool) bool {
		p.uncount(e)
		e.Set(series.Routed, number, generation)
		e.Ref = out
		lived(e, s)
		return true
	})
}

// output returns the output of key, which s writes. Where it is new, a place is taken for it; s is refused if there is none.
func (p *Push) output(s *ingest.Series, m *mark, key labels.Key) (index uint32, ok bool) {
	table := p.engine.table
	routed := true
	// Under the lock of key's own slot: of several that come at once one makes the output, and a series that leaves as it
	// came with these very labels is either there already or will see it.
	done := table.Update(key, p.minute, func(e *series.Entry, found bool) bool {
		if found && countable(e) {
			index, routed = table.Route(key, p.minute, func(o *series.Output, _ bool) { p.handOver(o, e, key, s) })
			if routed {
				e.Set(series.Routed, identity, e.Generation())
				e.Ref = index
			}
			return true
		}
		counted := false
		table.Lookup(key, p.minute, func(o *series.Output) { counted = o.Weight > 0 })
		ref := uint32(0)
		if !counted {
			if ref, ok = p.reserve(s, m.known); !ok {
				return found
			}
		}
		index, routed = table.Route(key, p.minute, func(o *series.Output, found bool) {
			if !found {
				o.First, o.Last = math.MaxInt64, math.MinInt64
			}
			if !counted {
				o.Ref, o.Weight = ref, weight(s)
			}
		})
		if !routed && !counted {
			p.engine.guard.Release(ref, weight(s))
		}
		return found
	})
	if !done {
		// No room to look, which a series needs not whose output is there.
		done = table.Lookup(key, p.minute, func(*series.Output) {})
		if done {
			index, routed = table.Route(key, p.minute, func(*series.Output, bool) {})
		}
	}
	return index, done && routed
}

// handOver makes o, which is new, the output of the live series e, whose labels others now come to have too.
func (p *Push) handOver(o *series.Output, e *series.Entry, key labels.Key, s *ingest.Series) {
	if o.Weight > 0 {
		p.uncount(e)
		return
	}
	o.Ref, o.Weight = e.Ref, e.Value()
	o.First, o.Last = math.MaxInt64, math.MinInt64
	if e.Last != 0 {
		// Of its last sample the low half of the time is known. The high half is s's: the two are days apart at most.
		o.Owner = key.Lo
		near := s.First
		if s.First > s.Last {
			near = p.now.UnixMilli()
		}
		o.Last = near + int64(int32(e.Last-uint32(near)))
		o.First = o.Last
	}
}

// full passes s although the table has no room for it, or refuses it where a limit cannot be held otherwise.
func (p *Push) full(s *ingest.Series) {
	if p.policy.bounded {
		p.refuse(s, guard.Refusal{Reason: ingest.ReasonActiveSeries, Key: "server.max_series", Limit: p.engine.maxSeries, Count: p.engine.table.Len()})
		return
	}
	p.engine.uncached.Add(1)
}

// misshapen says whether a limit on labels has something to say about series i, and refuses it unless that limit only observes.
func (p *Push) misshapen(i int) bool {
	p.ours = p.ours[:0]
	r, found := p.policy.guard.Shape(own(p.ours, p.final, p.view))
	if !found {
		return false
	}
	s := &p.ss[i]
	if r.Observed {
		p.tally.observe(r.Reason, int(s.Items))
	} else {
		p.refuse(s, r)
	}
	return true
}
