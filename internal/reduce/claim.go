package reduce

import (
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/series"
)

// lookbackMillis is how long a series without samples still lives, where no stale marker ends it: Prometheus' lookback.
const lookbackMillis = 5 * 60 * 1000

// shadow is what lies between the key of a suspended series and that of the entry which says what it would write.
var shadow = labels.Key{Hi: 0x9e3779b97f4a7c15, Lo: 0xbf58476d1ce4e5b9}

// outcome is what a series meets at the output that it writes.
type outcome uint8

const (
	alone      outcome = iota // nobody else writes it now
	superseded                // its stale marker comes after another has taken its place
	overlap                   // two live series write it
)

// lives says whether series have lives that may overlap. Entries of streams are merged without harm.
func (p *Push) lives() bool { return p.policy.settings.Signal == ingest.Metrics }

// claim writes the output of series i, and sees to it that no two live series do.
func (p *Push) claim(i int) {
	s, m := &p.ss[i], &p.marks[i]
	var how outcome
	var owner uint64
	var suspension uint32
	byRules := s.Change != nil
	p.engine.table.At(m.out, p.minute, func(o *series.Output) {
		if !p.lives() {
			return // it is touched, which is all
		}
		owner, suspension = o.Owner, o.Ref
		o.Shared = o.Shared || byRules
		byRules = o.Shared
		how = write(o, s, m.prev)
	})
	switch {
	case how == alone:
	case m.state == shadowed:
		if how == overlap {
			p.engine.collisions.seen(suspension, p.now)
		}
	case how == superseded:
		s.DropStale = true
		p.tally.drop(ingest.ReasonSuperseded, int(s.Stale))
	default:
		p.collide(i, owner, byRules)
	}
}

// write makes s the writer of o, if it may be: a series begins where the one before has ended. prev is when its own last
// sample was before this push, 0 if it had none.
//
// A sample counts by its own time, not by when it came. Two series are live at once if one has a sample that is not older
// than the first of the other, which came later.
func write(o *series.Output, s *ingest.Series, prev uint32) outcome {
	me := s.Key.Lo
	switch {
	case s.First > s.Last: // no sample
		switch {
		case s.Stale == 0 || o.Owner == 0:
			return alone
		case o.Owner != me:
			return superseded
		}
		o.Owner = 0 // its end: whoever comes next begins
		return alone
	case o.Owner == me:
		o.First, o.Last = min(o.First, s.First), max(o.Last, s.Last)
	case s.First > o.Last && (o.Owner == 0 || s.First-o.Last > lookbackMillis || !goesOn(prev, s.First)):
		o.Owner, o.First, o.Last = me, s.First, s.Last
	case s.Last < o.First:
		return alone // late: sent before the present writer began
	default:
		return overlap
	}
	if s.Stale > 0 {
		o.Owner = 0
	}
	return alone
}

// goesOn says whether a series whose last sample was at prev, modulo 2^32, has gone on living until first. One that has not
// begins anew.
func goesOn(prev uint32, first int64) bool {
	return prev != 0 && int32(uint32(first)-prev) <= lookbackMillis
}

// collide keeps series i from corrupting the one that owner writes.
func (p *Push) collide(i int, owner uint64, byRules bool) {
	if byRules && !p.policy.settings.RejectCollisions && p.engine.collisions.begin(p, i, owner) {
		p.again = true
		return
	}
	p.reject(i, owner)
}

// suspended says whether rules are held back for the metric in final.
func (p *Push) suspended() bool {
	return p.lives() && p.engine.collisions.holds(p.policy.settings.Environment, family(nameIn(p.final)))
}

// suspend lets series i leave as it came, since its metric is suspended, and watches what it would have written: key.
func (p *Push) suspend(i int, key labels.Key, generation uint32) {
	s, m := &p.ss[i], &p.marks[i]
	id := p.engine.collisions.witness(p, i)
	p.final = append(p.final[:0], p.set.All...)
	s.Change = nil
	ok := p.engine.table.Update(s.Key, p.minute, func(e *series.Entry, _ bool) bool {
		m.state = settled
		if !p.place(s, m, e) {
			return false
		}
		e.Set(series.Suspended, e.Value(), generation)
		lived(e, s)
		return true
	})
	if !ok {
		p.full(s)
		return
	}
	if s.Verdict != ingest.Pass {
		return
	}
	if out, ok := p.watch(s, key, id); ok {
		m.state, m.out = shadowed, out
	}
}

// watch notes that s would write the output of key, which is no live series meanwhile. It reports false where the table is full.
func (p *Push) watch(s *ingest.Series, key labels.Key, id uint32) (out uint32, ok bool) {
	table := p.engine.table
	out, ok = table.Route(key, p.minute, func(o *series.Output, found bool) {
		if o.Weight > 0 {
			p.engine.guard.Release(o.Ref, o.Weight)
		}
		if !found {
			o.First, o.Last = s.First, s.First-1
		}
		o.Ref, o.Weight, o.Shared = id, 0, true
	})
	if !ok {
		return none, false
	}
	ok = table.Update(s.Key.Plus(shadow), p.minute, func(e *series.Entry, _ bool) bool {
		e.Set(series.Routed, identity, never)
		e.Ref = out
		return true
	})
	return out, ok
}

// findShadows finds the outputs that suspended series would write.
func (p *Push) findShadows() {
	if len(p.shadows) == 0 {
		return
	}
	keys := p.keys[:0] // they have done their work
	for _, i := range p.shadows {
		keys = append(keys, p.ss[i].Key.Plus(shadow))
	}
	p.engine.table.Probe(keys, p.minute, func(j int, e *series.Entry) {
		if e.Kind() == series.Routed {
			p.marks[p.shadows[j]].out = e.Ref
		}
	})
	for i := range p.ss {
		p.keys = p.keys[:len(p.ss)]
		p.keys[i] = p.ss[i].Key // for another round
	}
}
