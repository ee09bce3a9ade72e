package reduce

import (
	"time"
	"unsafe"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/relabel"
	"github.com/telemetry-gateway/telemetry-gateway/internal/series"
)

// Push is one push on its way through the engine. One goroutine owns it, from Policy.Begin to Close.
type Push struct {
	// Reducer is what the door is given.
	Reducer ingest.Reducer
	// Most is how many bytes of labels the push may show, those of a resource counted for each of its points. 0: any number.
	Most int

	engine *Engine
	policy *Policy
	view   View
	now    time.Time
	minute series.Minute

	decisions  *decisions
	generation *generation
	rules      *relabel.Rules

	// What Judge works on. show fills a set with the labels of a series.
	ss    []ingest.Series
	show  func(i int, set *labels.Set)
	marks []mark
	keys  []labels.Key
	// rounds is how many times the push has been judged. again: a metric has just been suspended, and it is judged once more,
	// so that none of it leaves reduced.
	rounds           int
	again, lastRound bool
	tally            tally

	room    []ingest.Series
	set     labels.Set
	scratch relabel.Scratch
	// resourceScratch holds the change of a resource while its items are asked about.
	resourceScratch relabel.Scratch
	final           []labels.Label
	ours            []labels.Label
	text            []byte
	shadows         []int32 // suspended series, of which it is to be found out what they would write
	shadowKeys      []labels.Key
	met             uint32 // the suspension of which it is known already that it is still needed
	hasher          labels.Hasher
	shown           int     // bytes of labels, without stamps
	stamped         int     // bytes of the stamps
	claimers        []int32 // routed series whose outputs are to be written, and those
	claims          []uint32
	meetings        []meeting
	newest          int64                         // latest, for all claims of a round
	alike           bool                          // Reducer.Repeats of the last item
	visit           func(i int, e *series.Entry)  // hit, bound once
	visitOutput     func(c int, o *series.Output) // atOutput, bound once
}

// mark is what the engine has found out about one series of the push. What is about the time before the push, and what it has
// claimed, holds for all rounds.
type mark struct {
	out   uint32 // the output it writes, if routed
	watch uint32 // the output it would write, if watched
	prev  uint32 // when its last sample was before this push; 0: it had none, or its life had ended
	// claimedOut is the output that it has written, if claimed; superseded is what came of that.
	claimedOut          uint32
	claimed, superseded bool
	state               state
	known               bool // it was a live series when the push came, under whatever rules
	epoch               bool // ten minutes have begun since it was seen
	watched             bool // its metric is suspended, and it is known what it would write
}

type state uint8

const (
	unknown state = iota
	settled       // it leaves as it came and is a series of its own, or it does not leave
	routed        // writes an output that others may write too
	foreign       // another series has its key (only where keys are cut, in tests)
)

// seriesBytes is what one series of a push takes here at most: itself, its mark and key; its claim and what that met; and
// where its metric is suspended what it would write.
const seriesBytes = int(unsafe.Sizeof(ingest.Series{}) + unsafe.Sizeof(mark{}) + unsafe.Sizeof(labels.Key{}) +
	2*unsafe.Sizeof(int32(0)) + unsafe.Sizeof(meeting{}) +
	unsafe.Sizeof(int32(0)) + unsafe.Sizeof(labels.Key{}))

const (
	// maxPooled is how many series the scratch of a push may hold to be kept for the next, and maxPooledText how many bytes.
	maxPooled     = 1 << 15
	maxPooledText = 64 << 10
	// maxRounds is how often a push is judged at most. One suspension makes a second round, in which all of its metric leaves
	// as it came. Another that only shows then is rare, and a third rarer; what still meets in the last round is refused.
	maxRounds = 4
)

func newPush(e *Engine) *Push {
	p := &Push{engine: e}
	p.visit, p.visitOutput = p.hit, p.atOutput
	p.Reducer.Judge, p.Reducer.Room = p.judge, p.lend
	return p
}

// Begin begins a push that came at now and shows its labels in view v. Its memory is booked on charge.
func (p *Policy) Begin(now time.Time, v View, charge ingest.Charge) *Push {
	push := p.engine.pushes.Get().(*Push)
	push.policy, push.view, push.now, push.minute = p, v, now, p.engine.minute(now)
	push.decisions, push.rules = p.decisions[v], p.rules[v]
	r := &push.Reducer
	r.Stamps, r.Charge, r.Keys = p.settings.Stamps, charge, nil
	r.Item, r.Resource, r.TooLong, r.LongestLine, r.Metadata = nil, nil, nil, 0, nil
	r.Repeats, r.Reads = nil, nil
	if p.counts(v) {
		push.hasher = *p.hashers[v]
		r.Keys = &push.hasher
	} else if p.rules[v].Len() > 0 || p.shapes() {
		r.Item = push.item
		if reads, known := p.rules[v].Reads(); known && !p.shapes() {
			r.Repeats, r.Reads = push.repeats, reads
		}
	}
	if p.resource.Len() > 0 && v == Attributes {
		r.Resource = push.resource
	}
	if p.settings.Signal == ingest.Logs {
		r.LongestLine, r.TooLong = p.guard.LongestLine(), push.tooLong
		r.Metadata = p.settings.StructuredMetadata
	}
	push.tally.reset(len(p.settings.Rules), len(p.settings.ResourceRules))
	push.Most, push.shown, push.stamped = 0, 0, size(r.Stamps)
	return push
}

// Spent says whether the push has shown more than it may: then no verdict counts and it cannot leave. A few bytes can make
// many: a symbol that all series refer to, an attribute of a resource with a million points. Each of those is hashed, and rules run
// on it.
func (p *Push) Spent() bool { return p.Most > 0 && p.shown > p.Most }

// shows counts what a set shows.
func (p *Push) shows(set *labels.Set) { p.shown += max(0, size(set.All)-p.stamped) }

func size(ls []labels.Label) (n int) {
	for i := range ls {
		n += len(ls[i].Name) + len(ls[i].Value)
	}
	return n
}

// counts says whether what is shown in view v are series: all of metrics, and streams.
func (p *Policy) counts(v View) bool {
	return p.settings.Signal == ingest.Metrics || p.settings.Signal == ingest.Logs && v == Plain
}

// shapes says whether labels have limits.
func (p *Policy) shapes() bool {
	e, c := &p.settings.EnvironmentLimits, &p.settings.ClientLimits
	return e.LabelsPerSeries+e.LabelNameBytes+e.LabelValueBytes+c.LabelsPerSeries+c.LabelNameBytes+c.LabelValueBytes > 0
}

// Close gives everything back. What the Reducer said is not to be used after it.
func (p *Push) Close() {
	if cap(p.room) > maxPooled {
		p.room, p.marks, p.keys = nil, nil, nil
	}
	if cap(p.claims) > maxPooled {
		p.claimers, p.claims, p.meetings = nil, nil, nil
	}
	if cap(p.shadows) > maxPooled {
		p.shadows, p.shadowKeys = nil, nil
	}
	if cap(p.text) > maxPooledText {
		p.text = nil
	}
	p.policy, p.decisions, p.generation, p.rules, p.ss, p.show = nil, nil, nil, nil, nil, nil
	p.Reducer.Charge, p.Reducer.Keys, p.Reducer.Stamps = nil, nil, nil
	p.hasher = labels.Hasher{} // it holds a page of the memo, which may have been forgotten
	p.set.Reset()
	p.engine.pushes.Put(p)
}

// lend is Reducer.Room.
func (p *Push) lend(ss []ingest.Series, n int) ([]ingest.Series, *fault.Error) {
	if err := p.Reducer.Charge(n * seriesBytes); err != nil {
		return nil, err
	}
	all := len(ss) + n
	if cap(p.room) < all {
		p.room = make([]ingest.Series, all)
		copy(p.room, ss)
		return p.room, nil
	}
	p.room = p.room[:all]
	clear(p.room[len(ss):])
	return p.room, nil
}

// resize returns s with n elements, whatever they hold.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// judge is Reducer.Judge.
func (p *Push) judge(ss []ingest.Series, view func(i int, set *labels.Set)) {
	p.ss, p.show = ss, view
	p.keys, p.marks = resize(p.keys, len(ss)), resize(p.marks, len(ss))
	for i := range ss {
		p.keys[i] = ss[i].Key
	}
	clear(p.marks)
	p.again, p.met = true, 0
	for p.rounds = 0; p.again && p.rounds < maxRounds; p.rounds++ {
		p.round()
	}
	if p.Spent() {
		return
	}
	p.engine.collisions.complete(p)
	p.describe()
}

// round judges all series.
func (p *Push) round() {
	p.again, p.lastRound, p.generation = false, p.rounds == maxRounds-1, p.decisions.current.Load()
	p.tally.reset(len(p.policy.settings.Rules), -1)
	p.shadows = p.shadows[:0]
	for i := range p.ss {
		s, m := &p.ss[i], &p.marks[i]
		s.Verdict, s.Change, s.DropStale = ingest.Pass, nil, false
		m.state, m.epoch, m.watched = unknown, false, false
	}
	if p.engine.checker != nil {
		p.engine.checker.check(p)
	}
	p.engine.table.Probe(p.keys, p.minute, p.visit)
	for i := range p.marks {
		if p.Spent() {
			p.again = false
			return
		}
		m := &p.marks[i]
		switch m.state {
		case unknown:
			p.settle(i)
		case foreign:
			p.settleAlone(i)
		}
		if m.epoch && p.ss[i].Verdict == ingest.Pass {
			p.refresh(i)
		}
	}
	p.findShadows()
	p.claim()
	for i := range p.marks {
		if p.marks[i].watched {
			p.meet(i)
		}
	}
}

// hit is told of a series that the table knows.
func (p *Push) hit(i int, e *series.Entry) {
	s, m := &p.ss[i], &p.marks[i]
	if m.state == foreign {
		p.keepOutput(e)
		return
	}
	if p.rounds == 0 {
		m.prev, m.known = e.Last, live(e)
	}
	m.epoch = e.NewEpoch(p.minute)
	if e.Generation() != p.generation.number {
		p.keepOutput(e)
		return // decided under other rules
	}
	if countable(e) && e.Value() < weight(s) {
		return // a histogram has got more buckets: it takes more places
	}
	lived(e, s)
	m.state = settled
	switch e.Kind() {
	case series.Suspended:
		p.shadows = append(p.shadows, int32(i))
	case series.Routed:
		m.state, m.out = routed, e.Ref
		if n := e.Value(); n == held {
			p.shadows = append(p.shadows, int32(i))
		} else {
			s.Change = p.generation.change(n)
		}
	case series.Dropped:
		p.hold(s, e.Value())
	}
}

// live says whether the series of e leaves.
func live(e *series.Entry) bool { return countable(e) || e.Kind() == series.Routed }

// lived notes in e when s had its last sample, in milliseconds modulo 2^32. A stale marker ends its life.
func lived(e *series.Entry, s *ingest.Series) {
	if s.Stale > 0 {
		e.Last = 0
		return
	}
	if s.First > s.Last {
		return
	}
	// Pushes may overtake each other.
	if last := max(1, uint32(s.Last)); e.Last == 0 || int32(last-e.Last) > 0 {
		e.Last = last
	}
}

// look fills the set with the labels of series i.
func (p *Push) look(i int) {
	p.set.Reset()
	p.show(i, &p.set)
	if p.rounds == 0 {
		p.shows(&p.set)
	}
}

// refresh tells the guard, once in ten minutes, that the values of series i still live. It holds on to the table meanwhile: by
// another push the series could give back its place.
func (p *Push) refresh(i int) {
	s, m := &p.ss[i], &p.marks[i]
	p.look(i)
	p.final = s.Change.Append(p.final[:0], p.set.All)
	switch m.state {
	case settled:
		p.engine.table.Update(s.Key, p.minute, func(e *series.Entry, found bool) bool {
			p.keepOutput(e)
			if countable(e) {
				p.engine.guard.Refresh(p.now, e.Ref, p.final)
			}
			return found
		})
	case routed:
		p.engine.table.At(m.out, p.minute, func(o *series.Output) {
			if o.Weight > 0 {
				p.engine.guard.Refresh(p.now, o.Ref, p.final)
			}
		})
	}
}
