package reduce

import (
	"github.com/telemetry-gateway/telemetry-gateway/internal/guard"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/relabel"
	"github.com/telemetry-gateway/telemetry-gateway/internal/series"
)

const (
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
		p.remember(i, dropValue(res))
		return
	}
	generation := p.generation.number
	if p.misshapen(i) {
		if s.Verdict == ingest.Refuse {
			p.forget(i)
			return
		}
		generation = never // a limit only observes: it is to be counted each time
	}
	key := p.outKey(s, res.Change)
	if p.alien(key) {
		p.pass(i, res.Change)
		return
	}
	switch {
	case p.suspended():
		p.suspend(i, key, generation)
	case key == s.Key && res.Change == nil: // what a rule adds and then moves to metadata is not in the key
		p.stay(i, series.Counted, key, identity, generation)
	default:
		var number uint32
		var interned bool
		if s.Change, number, p.text, interned = p.generation.intern(res.Change, p.text); !interned {
			generation = never
			if p.generation.stale(p.minute) {
				p.decisions.renew(p.generation)
			}
		}
		p.route(i, key, key, number, generation)
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
	if res := p.apply(&p.ss[i]); p.ss[i].Verdict == ingest.Pass {
		p.pass(i, res.Change)
	}
}

// pass lets series i leave with c, and remembers nothing.
func (p *Push) pass(i int, c *labels.Change) {
	p.marks[i].state = foreign
	if p.ss[i].Change = nil; c != nil {
		p.ss[i].Change = clone(c)
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

// forget takes out series i, which was known and may not leave any more.
func (p *Push) forget(i int) {
	if !p.marks[i].known {
		return
	}
	p.engine.table.Update(p.ss[i].Key, p.minute, func(e *series.Entry, _ bool) bool {
		p.uncount(e)
		return false
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

// keepOutput is for whoever visits an entry that he does not replace: it lives on by that, and so must its output.
func (p *Push) keepOutput(e *series.Entry) {
	if e.Kind() == series.Routed {
		p.engine.table.At(e.Ref, p.minute, func(*series.Output) {})
	}
}

// stay decides about series i, which leaves as it came, as an entry of this kind. Where others write the output of key, and so
// this very series, it has to be watched as they are, with number.
func (p *Push) stay(i int, kind series.Kind, key labels.Key, number, generation uint32) {
	s, m, table := &p.ss[i], &p.marks[i], p.engine.table
	ok := table.Update(s.Key, p.minute, func(e *series.Entry, _ bool) bool {
		if table.Lookup(key, p.minute, func(*series.Output) {}) && p.join(i, e, key) {
			e.Set(series.Routed, number, generation)
			e.Ref = m.out
			m.state = routed
			lived(e, s)
			return true
		}
		if s.Verdict != ingest.Pass || !p.place(s, m, e) {
			return false
		}
		e.Set(kind, e.Value(), generation)
		m.state = settled
		lived(e, s)
		return true
	})
	if !ok {
		p.full(s, m)
	}
}

// join makes e a writer of the output of key, which is there. The two have one place among the live series.
func (p *Push) join(i int, e *series.Entry, key labels.Key) (ok bool) {
	s, m := &p.ss[i], &p.marks[i]
	ok = true
	out, routed := p.engine.table.Route(key, p.minute, func(o *series.Output, found bool) {
		if !found {
			empty(o) // it has become idle in this moment
		}
		switch {
		case o.Weight > 0:
			p.uncount(e)
		case countable(e):
			o.Ref, o.Weight = e.Ref, e.Value()
		default:
			if o.Ref, ok = p.reserve(s, p.knows(m, e)); ok {
				o.Weight = weight(s)
			}
		}
	})
	m.out = out
	return ok && routed
}

// place makes e hold a place among the live series, unless it does already. It reports false if there is none for s.
func (p *Push) place(s *ingest.Series, m *mark, e *series.Entry) bool {
	if countable(e) && e.Value() >= weight(s) {
		return true
	}
	ref, ok := p.reserve(s, p.knows(m, e))
	if !ok {
		return false
	}
	p.uncount(e) // one that has grown
	e.Ref = ref
	e.Set(series.Counted, weight(s), never) // the caller knows the rest
	return true
}

// grow makes the output of series i hold as many places as that takes by now: a histogram has got more buckets.
func (p *Push) grow(i int) {
	s, m := &p.ss[i], &p.marks[i]
	p.look(i)
	p.final = s.Change.Append(p.final[:0], p.set.All)
	p.engine.table.At(m.out, p.minute, func(o *series.Output) {
		if o.Weight > 0 && o.Weight < weight(s) {
			p.engine.guard.Release(o.Ref, o.Weight)
			o.Ref, o.Weight = p.policy.guard.Adopt(p.now, p.final, int(weight(s))), weight(s)
		}
	})
}

// knows says whether the series of e was live when the push came, or has become so meanwhile by another push.
func (p *Push) knows(m *mark, e *series.Entry) bool {
	return m.known || p.rounds == 0 && live(e)
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

// route decides about series i, which leaves as the series own by writing the output of key, which others may write too.
func (p *Push) route(i int, own, key labels.Key, number, generation uint32) {
	s, m := &p.ss[i], &p.marks[i]
	out, ok := p.output(s, m, own, key)
	if s.Verdict != ingest.Pass {
		return
	}
	if !ok {
		p.full(s, m)
		return
	}
	m.state, m.out = routed, out
	ok = p.engine.table.Update(s.Key, p.minute, func(e *series.Entry, _ bool) bool {
		p.uncount(e)
		e.Set(series.Routed, number, generation)
		e.Ref = out
		lived(e, s)
		return true
	})
	if !ok {
		p.engine.uncached.Add(1) // its output is watched all the same
	}
}

// output returns the output of key, which s writes. Where it is new, a place is taken for it; s is refused if there is none.
// own is the key of the series that leaves: if one comes with these very labels, it writes the output too.
func (p *Push) output(s *ingest.Series, m *mark, own, key labels.Key) (index uint32, ok bool) {
	table, ref, taken := p.engine.table, uint32(0), false
	visit := func(o *series.Output, found bool) {
		if !found {
			empty(o)
		}
		switch {
		case o.Weight > 0 && !taken:
			return
		case o.Weight > 0:
			p.engine.guard.Release(ref, weight(s))
			return
		case !taken: // it has become idle since we looked
			ref = p.policy.guard.Adopt(p.now, p.final, int(weight(s)))
		}
		o.Ref, o.Weight = ref, weight(s)
	}
	// Under the lock of own's slot: of several that come at once one makes the output, and a series that leaves as it came
	// with these very labels is either there already or will see it.
	done := table.Update(own, p.minute, func(e *series.Entry, found bool) bool {
		p.keepOutput(e)
		if countable(e) {
			number := uint32(identity)
			if e.Kind() == series.Suspended {
				number = held
			}
			if index, ok = table.Route(key, p.minute, func(o *series.Output, found bool) { p.handOver(o, found, e, own, s) }); ok {
				e.Set(series.Routed, number, e.Generation())
				e.Ref = index
			}
			return true
		}
		counted := false
		table.Lookup(key, p.minute, func(o *series.Output) { counted = o.Weight > 0 })
		if !counted {
			if ref, taken = p.reserve(s, m.known); !taken {
				return found
			}
		}
		if index, ok = table.Route(key, p.minute, visit); !ok && taken {
			p.engine.guard.Release(ref, weight(s))
		}
		return found
	})
	if !done && table.Lookup(key, p.minute, func(*series.Output) {}) {
		// No room to look, which a series needs not whose output is there.
		index, ok = table.Route(key, p.minute, visit)
	}
	return index, ok
}

// handOver makes o the output of the live series e, whose labels others now come to have too.
func (p *Push) handOver(o *series.Output, found bool, e *series.Entry, own labels.Key, s *ingest.Series) {
	if found && o.Weight > 0 {
		p.uncount(e)
		return
	}
	empty(o)
	o.Ref, o.Weight = e.Ref, e.Value()
	if e.Last != 0 {
		// Of its last sample the low half of the time is known. The high half is s's: the two are days apart at most.
		near := s.First
		if s.First > s.Last {
			near = p.now.UnixMilli()
		}
		o.Owner, o.Last = self(own), near+int64(int32(e.Last-uint32(near)))
		o.First = o.Last
	}
}

// full passes s although the table has no room for it, or refuses it where a limit cannot be held otherwise.
func (p *Push) full(s *ingest.Series, m *mark) {
	if p.policy.bounded && !m.known {
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
