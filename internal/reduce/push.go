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
	// again: a metric has just been suspended, and the push is judged once more, so that none of it leaves reduced.
	again bool
	tally tally

	room    []ingest.Series
	set     labels.Set
	scratch relabel.Scratch
	// resourceScratch holds the change of a resource while its items are asked about.
	resourceScratch relabel.Scratch
	final           []labels.Label
	ours            []labels.Label
	text            []byte
	shadows         []int32
	visit           func(i int, e *series.Entry) // hit, bound once
}

// mark is what the engine has found out about one series of the push.
type mark struct {
	out   uint32 // the output it writes, if routed or shadowed
	prev  uint32 // when its last sample was before this push; 0: it had none, or its life had ended
	state state
	known bool // it was a live series when the push came, under whatever rules
	epoch bool // ten minutes have begun since it was seen
}

type state uint8

const (
	unknown  state = iota
	settled        // nothing more to find out
	routed         // writes an output that others may write too
	shadowed       // would, were its metric not suspended
	foreign        // another series has its key (only where keys are cut, in tests)
)

// seriesBytes is what one series of a push takes here.
const seriesBytes = int(unsafe.Sizeof(ingest.Series{}) + unsafe.Sizeof(mark{}) + unsafe.Sizeof(labels.Key{}))

// maxPooled is how many series the scratch of a push may hold to be kept for the next.
const maxPooled = 1 << 15

func newPush(e *Engine) *Push {
	p := &Push{engine: e}
	p.visit = p.hit
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
	if p.counts(v) {
		r.Keys = labels.NewHasher(p.engine.seed, p.spaces[v], p.settings.Stamps)
	} else if p.rules[v].Len() > 0 || p.shapes() {
		r.Item = push.item
	}
	if p.resource.Len() > 0 && v == Attributes {
		r.Resource = push.resource
	}
	if p.settings.Signal == ingest.Logs {
		r.LongestLine, r.TooLong = p.guard.LongestLine(), push.tooLong
		r.Metadata = p.settings.StructuredMetadata
	}
	push.tally.reset(len(p.settings.Rules), len(p.settings.ResourceRules))
	return push
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
	p.policy, p.decisions, p.generation, p.rules, p.ss, p.show = nil, nil, nil, nil, nil, nil
	p.Reducer.Charge, p.Reducer.Keys, p.Reducer.Stamps = nil, nil, nil
	p.set.Reset()
	p.engine.pushes.Put(p)
}

// lend is Reducer.Room.
func (p *Push) lend(n int) ([]ingest.Series, *fault.Error) {
	if err := p.Reducer.Charge(n * seriesBytes); err != nil {
		return nil, err
	}
	p.room = resize(p.room, n)
	clear(p.room)
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
	// One suspension makes a second round, in which all of its metric leaves as it came. Another that only shows then is
	// rare, and a third rarer; what is left after that is judged with the next push.
	for round := 0; round == 0 || p.again && round < 3; round++ {
		p.round()
	}
	p.describe()
}

// round judges all series.
func (p *Push) round() {
	p.again, p.generation = false, p.decisions.current.Load()
	p.tally.reset(len(p.policy.settings.Rules), -1)
	clear(p.marks)
	p.shadows = p.shadows[:0]
	for i := range p.ss {
		s := &p.ss[i]
		s.Verdict, s.Change, s.DropStale = ingest.Pass, nil, false
	}
	if p.engine.checker != nil {
		p.engine.checker.check(p)
	}
	p.engine.table.Probe(p.keys[:len(p.ss)], p.minute, p.visit)
	for i := range p.marks {
		switch m := &p.marks[i]; {
		case m.state == unknown:
			p.settle(i)
		case m.state == foreign:
			p.settleAlone(i)
		case m.epoch && p.ss[i].Verdict == ingest.Pass:
			p.refresh(i)
		}
	}
	p.findShadows()
	for i := range p.marks {
		if m := &p.marks[i]; m.state == routed || m.state == shadowed && m.out != none {
			p.claim(i)
		}
	}
}

// hit is told of a series that the table knows.
func (p *Push) hit(i int, e *series.Entry) {
	s, m := &p.ss[i], &p.marks[i]
	kind := e.Kind()
	if m.state == foreign {
		if kind == series.Routed {
			p.engine.table.At(e.Ref, p.minute, func(*series.Output) {}) // the entry lives on by this visit, and so must its output
		}
		return
	}
	m.prev = e.Last
	m.known = kind == series.Counted || kind == series.Suspended || kind == series.Routed
	m.epoch = e.NewEpoch(p.minute)
	if e.Generation() != p.generation.number {
		return // decided under other rules
	}
	lived(e, s)
	m.state = settled
	switch kind {
	case series.Counted:
		m.out = e.Ref // only to refresh what is known of its labels
	case series.Suspended:
		m.state, m.out = shadowed, none
		p.shadows = append(p.shadows, int32(i))
	case series.Routed:
		m.state, m.out = routed, e.Ref
		s.Change = p.generation.change(e.Value())
	case series.Dropped:
		p.hold(s, e.Value())
	}
}

// lived notes in e when s had its last sample, in milliseconds modulo 2^32. A stale marker ends its life.
func lived(e *series.Entry, s *ingest.Series) {
	switch {
	case s.Stale > 0:
		e.Last = 0
	case s.First <= s.Last:
		e.Last = max(1, uint32(s.Last))
	}
}

// look fills the set with the labels of series i.
func (p *Push) look(i int) {
	p.set.Reset()
	p.show(i, &p.set)
}

// refresh tells the guard, once in ten minutes, that the values of series i still live.
func (p *Push) refresh(i int) {
	m := &p.marks[i]
	p.look(i)
	p.final = p.ss[i].Change.Append(p.final[:0], p.set.All)
	switch m.state {
	case settled:
		p.engine.guard.Refresh(p.now, m.out, p.final)
	case routed:
		p.engine.table.At(m.out, p.minute, func(o *series.Output) {
			if o.Weight > 0 {
				p.engine.guard.Refresh(p.now, o.Ref, p.final)
			}
		})
	}
}
