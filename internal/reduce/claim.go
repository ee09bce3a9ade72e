package reduce

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/series"
)

const (
	// lookbackMillis is how long a series without samples still lives, where no stale marker ends it: Prometheus' lookback.
	lookbackMillis = 5 * 60 * 1000
	// aheadMillis is how far ahead of our clock a sample counts by its own time. Further ahead a clock is wrong, and would
	// make all others seem late for as long as it is.
	aheadMillis = 60 * 1000
)

// Output.Owner is who writes an output: a key's half without the lowest bit, which says that its life has ended. The name
// stays, so that a push that is sent again is known as its own. Output.Before is from whom it has taken over, unless that
// life had ended.
const (
	nobody = 0
	ended  = 1
)

func self(k labels.Key) uint64 { return k.Lo &^ ended }

// outcome is what a series meets at the output that it writes.
type outcome uint8

const (
	alone      outcome = iota // nobody else writes it now
	superseded                // its stale marker comes after another has taken its place
	overlap                   // two live series write it
)

// lives says whether series have lives that may overlap. Entries of streams are merged without harm.
func (p *Push) lives() bool { return p.policy.settings.Signal == ingest.Metrics }

// latest is the latest time that a sample is believed to have.
func (p *Push) latest() int64 { return p.now.Add(aheadMillis * time.Millisecond).UnixMilli() }

// meeting is a claim that leaves something to do: what series i has met at the output that owner writes, or that it has grown.
// In the worst case all claims do.
type meeting struct {
	owner          uint64
	i              int32
	how            outcome
	grown, byRules bool
}

// claim writes the outputs of all routed series, and sees to it that no two live series write one.
func (p *Push) claim() {
	p.claimers, p.claims, p.meetings = p.claimers[:0], p.claims[:0], p.meetings[:0]
	for i := range p.marks {
		m := &p.marks[i]
		switch {
		case m.state != routed:
		case !m.claimed || m.claimedOut != m.out:
			p.claimers, p.claims = append(p.claimers, int32(i)), append(p.claims, m.out)
		case m.superseded:
			// In an earlier round: its samples must not be taken for those of another life.
			p.supersede(&p.ss[i])
		}
	}
	if len(p.claims) == 0 {
		return
	}
	p.newest = p.latest()
	p.engine.table.Claim(p.claims, p.minute, p.visitOutput)
	// Not in the order of the push, of which the first that was refused is told.
	slices.SortFunc(p.meetings, func(a, b meeting) int { return cmp.Compare(a.i, b.i) })
	for _, met := range p.meetings {
		if met.grown && met.how != overlap {
			p.grow(int(met.i))
		}
		switch met.how {
		case superseded:
			p.supersede(&p.ss[met.i])
		case overlap:
			p.collide(int(met.i), met.owner, met.byRules)
		}
	}
}

// atOutput is told of the output that claimer c is to write.
func (p *Push) atOutput(c int, o *series.Output) {
	i := int(p.claimers[c])
	s, m := &p.ss[i], &p.marks[i]
	if !p.lives() {
		m.claimed, m.claimedOut = true, m.out // it is touched, which is all
		return
	}
	met := meeting{i: int32(i), grown: o.Weight > 0 && o.Weight < weight(s), owner: o.Owner &^ ended}
	o.Shared = o.Shared || s.Change != nil
	met.byRules = o.Shared
	met.how = write(o, s, m.prev, p.newest)
	if met.how == overlap && o.Before == self(s.Key) && goesOn(m.prev, s.First) && (p.policy.settings.RejectCollisions || !met.byRules) {
		// What looked like a hand-over was none: who wrote first keeps the series, and the other is refused from now on.
		o.Owner, o.Before, o.First, o.Last = self(s.Key), nobody, min(s.First, p.newest), min(s.Last, p.newest)
		met.how = alone
	}
	if met.how != overlap {
		m.claimed, m.claimedOut, m.superseded = true, m.out, met.how == superseded
	}
	if met.how != alone || met.grown {
		p.meetings = append(p.meetings, met)
	}
}

func (p *Push) supersede(s *ingest.Series) {
	s.DropStale = true
	p.tally.drop(ingest.ReasonSuperseded, int(s.Stale))
}

// write makes s the writer of o, if it may be: a series begins where the one before has ended. prev is when its own last
// sample was before this push, 0 if it had none.
//
// A sample counts by its own time, not by when it came. Two series are live at once if one has a sample that is not older
// than the first of the other, which came later.
func write(o *series.Output, s *ingest.Series, prev uint32, newest int64) outcome {
	me := self(s.Key)
	mine, over := o.Owner&^ended == me, o.Owner == nobody || o.Owner&ended != 0
	first, last := min(s.First, newest), min(s.Last, newest)
	switch {
	case s.First > s.Last: // no sample
		if s.Stale == 0 || o.Owner == nobody {
			return alone
		}
		if !mine {
			return superseded
		}
	case mine && over && last <= o.Last:
		return alone // a push that is sent again
	case mine && over && first > o.Last:
		o.Owner, o.First, o.Last = me, first, last
	case mine:
		o.Owner, o.First, o.Last = me, min(o.First, first), max(o.Last, last)
	case first > o.Last && (over || first-o.Last > lookbackMillis || !goesOn(prev, s.First)):
		if o.Before = o.Owner; over || first-o.Last > lookbackMillis {
			o.Before = nobody
		}
		o.Owner, o.First, o.Last = me, first, last
	case last < o.First: // sent before the present writer began
		if s.Stale > 0 {
			return superseded
		}
		return alone
	default:
		return overlap
	}
	if s.Stale > 0 {
		o.Owner = me | ended // whoever comes next begins
	}
	return alone
}

// empty makes o one that nobody has written.
func empty(o *series.Output) {
	o.Owner, o.Before, o.First, o.Last = nobody, nobody, math.MaxInt64, math.MinInt64
}

// goesOn says whether a series whose last sample was at prev, modulo 2^32, has gone on living until first. One that has not
// begins anew.
func goesOn(prev uint32, first int64) bool {
	return prev != 0 && int32(uint32(first)-prev) <= lookbackMillis
}

// collide keeps series i from corrupting the one that owner writes.
func (p *Push) collide(i int, owner uint64, byRules bool) {
	if byRules && !p.policy.settings.RejectCollisions && !p.lastRound && p.engine.collisions.note(p, i, owner, suspending) {
		if !p.again {
			p.again = true
			p.decisions.renew(p.generation) // a policy that is in force no more is not renewed with the others
		}
		return
	}
	p.reject(i, owner)
}
