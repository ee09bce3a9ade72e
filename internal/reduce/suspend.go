package reduce

import (
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/series"
)

// held is the number of the change of a series which leaves as it came because its metric is suspended, where others write
// what it writes. No other change has it.
const held = maxValue

var (
	// shadow is what lies between the key of a suspended series and that of the entry which says what it would write.
	shadow = labels.Key{Hi: 0x9e3779b97f4a7c15, Lo: 0xbf58476d1ce4e5b9}
	// asCame is what lies between the key of a series and that of the output that suspended series write when they leave as
	// that one. Its own key is what they would write.
	asCame = labels.Key{Hi: 0xd6e8feb86659fd93, Lo: 0xca9b0ba1f7d5c1e7}
)

// suspended says whether rules are held back for the metric in final.
func (p *Push) suspended() bool {
	return p.lives() && p.engine.collisions.holds(p.policy.settings.Environment, family(nameIn(p.final)))
}

// suspend lets series i leave as it came, since its metric is suspended, and watches what it would have written: key.
func (p *Push) suspend(i int, key labels.Key, generation uint32) {
	s, m := &p.ss[i], &p.marks[i]
	id := p.engine.collisions.idOf(p.policy.settings.Environment, family(nameIn(p.final)))
	p.final = append(p.final[:0], p.set.All...)
	s.Change = nil
	own := s.Key.Minus(s.Overwritten)
	out := own
	if p.suspended() { // what has been written under this key until now was not as it came
		out = own.Plus(asCame)
	}
	if p.alien(own) || p.alien(out) {
		m.state = foreign
		return
	}
	if own == s.Key {
		p.stay(i, series.Suspended, out, held, generation)
	} else {
		// Its stamps make it one with others however its rules are held back.
		p.route(i, own, out, held, generation)
	}
	if m.state == settled || m.state == routed {
		p.watch(i, key, id)
	}
}

// watch notes that series i would write the output of key, which is no live series while the suspension id goes on.
func (p *Push) watch(i int, key labels.Key, id uint32) {
	s, m, table := &p.ss[i], &p.marks[i], p.engine.table
	if id == 0 || p.alien(s.Key.Plus(shadow)) {
		return
	}
	var out, ref, place uint32
	var ok bool
	table.Update(key, p.minute, func(e *series.Entry, found bool) bool {
		p.keepOutput(e)
		out, ok = table.Route(key, p.minute, func(o *series.Output, found bool) {
			if !found {
				empty(o)
			}
			if p.engine.collisions.stands(id) { // else it was lifted a moment ago, and somebody may write it again
				ref, place = o.Ref, o.Weight
				o.Ref, o.Weight, o.Shared = id, 0, true
			}
		})
		switch {
		case place == 0:
		case e.Kind() == series.Routed && e.Ref == out:
			// The series with these very labels goes on, and has the place for itself.
			e.Set(series.Counted, place, never)
			e.Ref = ref
		default:
			p.engine.guard.Release(ref, place)
		}
		return found
	})
	if !ok {
		return
	}
	table.Update(s.Key.Plus(shadow), p.minute, func(e *series.Entry, _ bool) bool {
		e.Set(series.Routed, identity, never)
		e.Ref = out
		return true
	})
	m.watch, m.watched = out, true
}

// findShadows finds the outputs that suspended series would write.
func (p *Push) findShadows() {
	if len(p.shadows) == 0 {
		return
	}
	p.shadowKeys = p.shadowKeys[:0]
	for _, i := range p.shadows {
		p.shadowKeys = append(p.shadowKeys, p.ss[i].Key.Plus(shadow))
	}
	p.engine.table.Probe(p.shadowKeys, p.minute, func(j int, e *series.Entry) {
		p.keepOutput(e)
		if e.Kind() == series.Routed && !p.alien(p.shadowKeys[j]) {
			m := &p.marks[p.shadows[j]]
			m.watch, m.watched = e.Ref, true
		}
	})
}

// meet writes what series i would write, to see whether it would still meet another there.
func (p *Push) meet(i int) {
	s, m, newest := &p.ss[i], &p.marks[i], p.latest()
	how, id := alone, uint32(0)
	p.engine.table.At(m.watch, p.minute, func(o *series.Output) {
		if o.Weight == 0 { // else the suspension is over
			how, id = write(o, s, m.prev, newest), o.Ref
		}
	})
	if how == overlap && id != p.met {
		p.met = id
		p.engine.collisions.seen(id, p.now)
	}
}
