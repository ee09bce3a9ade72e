package series

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// model is a Table as plain maps, and drives one through steps that bytes choose. It does not know when the table sweeps: what
// is idle may be there still or not, but no caller may see it, and what it counted is released once.
type model struct {
	tb      testing.TB
	t       *Table
	steps   []byte
	now     Minute
	runs    [][]labels.Key // what came together: see newRun
	serials uint64
	serial  uint32
	entries map[labels.Key]*modelEntry
	outputs map[labels.Key]*modelOutput
	owed    map[uint32]debt // by Ref: what is counted and neither released nor settled
}

type modelEntry struct {
	Entry        // without its minute
	touch Minute // when
	out   labels.Key
}

type modelOutput struct {
	Output
	index uint32
	touch Minute
}

// debt is what Released is to be told when key is idle.
type debt struct {
	key    labels.Key
	weight uint32
	output bool
}

func newModel(tb testing.TB, o Options, steps []byte) *model {
	m := &model{tb: tb, steps: steps, entries: map[labels.Key]*modelEntry{}, outputs: map[labels.Key]*modelOutput{}, owed: map[uint32]debt{}}
	o.Released = m.released
	m.t = New(o)
	return m
}

// roll is the next byte of the schedule, as a number below n.
func (m *model) roll(n int) int {
	if len(m.steps) == 0 {
		return 0
	}
	b := int(m.steps[0])
	m.steps = m.steps[1:]
	return b % n
}

// late is a time as a slow caller has it: not later than now.
func (m *model) late() Minute {
	if m.now > 30 && m.roll(8) == 0 {
		return m.now - Minute(m.roll(30))
	}
	return m.now
}

func (m *model) key() labels.Key    { return m.t.cut(keyOf(uint64(m.roll(100)))) }
func (m *model) outKey() labels.Key { return m.t.cut(keyOf(uint64(1000 + m.roll(30)))) }

func (m *model) entryLives(k labels.Key) bool {
	e := m.entries[k]
	return e != nil && m.now-e.touch <= IdleMinutes
}

func (m *model) outputLives(k labels.Key) bool {
	o := m.outputs[k]
	return o != nil && m.now-o.touch <= IdleMinutes+1
}

// owes says whether what ref counts for k is neither released nor settled.
func (m *model) owes(ref uint32, k labels.Key, output bool) bool {
	d, ok := m.owed[ref]
	return ok && d.key == k && d.output == output
}

func (m *model) released(ref, weight uint32) {
	d, ok := m.owed[ref]
	switch {
	case !ok:
		m.tb.Fatalf("minute %d: released ref %d weight %d, which is not owed", m.now, ref, weight)
	case d.weight != weight:
		m.tb.Fatalf("minute %d: released ref %d weight %d, want weight %d", m.now, ref, weight, d.weight)
	case d.output && m.outputLives(d.key), !d.output && m.entryLives(d.key):
		m.tb.Fatalf("minute %d: released ref %d, which lives", m.now, ref)
	}
	delete(m.owed, ref)
}

// run takes all steps and then lets everything be forgotten.
func (m *model) run() {
	for len(m.steps) > 0 {
		switch m.roll(16) {
		case 0, 1, 2, 3:
			m.update()
		case 4, 5:
			m.probe()
		case 6:
			m.route(m.outKey(), m.late())
		case 7:
			m.at()
		case 12:
			m.claim()
		case 13:
			m.newRun()
		case 14, 15:
			m.probeRuns()
		case 8:
			m.lookup()
		case 9:
			m.t.Sweep(m.late())
		case 10:
			m.round()
		case 11:
			m.now += Minute([]int{0, 1, 1, 2, 3, 5, 10, 15, 20, 21, 22, 25, 100, 199, 200, 220, 239, 240, 241, 260, 480, 5000}[m.roll(22)])
			m.t.advance(m.now)
		}
		m.check()
	}
	m.now += IdleMinutes + 2
	m.round()
	m.check()
	if len(m.owed) != 0 || m.t.Len() != 0 {
		m.tb.Fatalf("after all: %d owed and %d in the table, want none", len(m.owed), m.t.Len())
	}
}

func (m *model) update() {
	k, now := m.key(), m.late()
	lived, before := m.entryLives(k), m.t.Len()
	visited, deleted := false, false
	var e *modelEntry
	ok := m.t.Update(k, now, func(got *Entry, found bool) bool {
		visited = true
		if found != lived {
			m.tb.Fatalf("minute %d: update found=%v, want %v", m.now, found, lived)
		}
		if e = m.entries[k]; !found {
			if (*got != Entry{}) {
				m.tb.Fatalf("a new entry is %+v", *got)
			}
			if e != nil && counts(&e.Entry) && m.owes(e.Ref, k, false) {
				m.tb.Fatalf("minute %d: ref %d is replaced, but was not released", m.now, e.Ref)
			}
			e = &modelEntry{}
		}
		m.same(got, e)
		if counts(&e.Entry) {
			delete(m.owed, e.Ref) // settled
		}
		if deleted = m.roll(4) == 0; deleted {
			return false
		}
		m.decide(e, now)
		got.Ref, got.Last = e.Ref, e.Last
		got.Set(e.Kind(), e.Value(), e.Generation())
		return true
	})
	switch {
	case ok != visited:
		m.tb.Fatalf("update: ok=%v, visited=%v", ok, visited)
	case !ok && (lived || before < int(m.t.max)):
		m.tb.Fatalf("minute %d: update: full at %d of %d, known=%v", m.now, before, m.t.max, lived)
	case ok && deleted:
		delete(m.entries, k)
	case ok:
		e.touch = m.now
		if counts(&e.Entry) {
			m.owed[e.Ref] = debt{k, e.Value(), false}
		}
		m.entries[k] = e
	}
}

// counts says whether somebody counts e.
func counts(e *Entry) bool { return e.Kind() == Counted || e.Kind() == Suspended }

// decide makes e something new.
func (m *model) decide(e *modelEntry, now Minute) {
	kind := Kind(1 + m.roll(int(Dropped)))
	m.serial++
	e.Last = m.serial * 7
	value, generation := m.serial<<13&(1<<valueBits-1), m.serial<<9&(1<<24-1)
	e.Ref = m.serial
	if kind == Routed {
		out := m.outKey()
		index, ok := m.route(out, now)
		if !ok {
			kind = Dropped
		}
		e.Ref, e.out = index, out
	}
	e.Set(kind, value, generation)
}

// same checks what a visit is given against what was last set.
func (m *model) same(got *Entry, want *modelEntry) {
	if got.Ref != want.Ref || got.Last != want.Last || got.Kind() != want.Kind() || got.Value() != want.Value() || got.Generation() != want.Generation() {
		m.tb.Fatalf("minute %d: entry %+v, want %+v", m.now, *got, *want)
	}
}

func (m *model) probe() {
	keys := make([]labels.Key, m.roll(40))
	for i := range keys {
		keys[i] = m.key()
	}
	m.probeAll(keys)
}

// newRun has up to three senders come with series that nobody has sent, at once, so that they stand between each other's. It
// begins another where the one before is forgotten, and in its holes.
func (m *model) newRun() {
	runs := make([][]labels.Key, 1+m.roll(3))
	for range 1 + m.roll(200) {
		one := m.roll(len(runs))
		m.serials++
		k := m.t.cut(keyOf(1<<20 + m.serials))
		if !m.entryLives(k) && m.roll(16) > 0 { // some of a run are refused
			m.store(k)
		}
		runs[one] = append(runs[one], k)
	}
	if m.runs = append(m.runs, runs...); len(m.runs) > 8 {
		m.runs = m.runs[len(m.runs)-8:]
	}
}

// store stores k, which is not there, if there is room.
func (m *model) store(k labels.Key) {
	m.t.Update(k, m.now, func(got *Entry, found bool) bool {
		if found {
			m.tb.Fatalf("minute %d: a key that is new is found", m.now)
		}
		m.serial++
		e := &modelEntry{Entry: Entry{Ref: m.serial, Last: m.serial}, touch: m.now}
		e.Set(Counted, m.serial&(1<<valueBits-1), 1)
		m.entries[k], m.owed[e.Ref] = e, debt{k, e.Value(), false}
		got.Ref, got.Last = e.Ref, e.Last
		got.Set(e.Kind(), e.Value(), 1)
		return true
	})
}

// probeRuns is pushes of what came in a run before: in that order, from some place on, some of it left out, or sent twice.
func (m *model) probeRuns() {
	if len(m.runs) == 0 {
		return
	}
	var keys []labels.Key
	for range 1 + m.roll(3) {
		run := m.runs[m.roll(len(m.runs))]
		run = run[m.roll(len(run)+1):]
		skips := m.roll(8) == 0
		for _, k := range run {
			if !skips || m.roll(4) > 0 {
				keys = append(keys, k)
			}
		}
	}
	m.probeAll(keys)
}

func (m *model) probeAll(keys []labels.Key) {
	want := 0
	for _, k := range keys {
		if m.entryLives(k) {
			want++
		}
	}
	now := m.late()
	seen := map[int]bool{}
	m.t.Probe(keys, now, func(i int, got *Entry) {
		k := keys[i]
		if seen[i] || !m.entryLives(k) {
			m.tb.Fatalf("minute %d: key %d is visited: before=%v, lives=%v", m.now, i, seen[i], m.entryLives(k))
		}
		seen[i] = true
		e := m.entries[k]
		m.same(got, e)
		if newEpoch := m.now/10 != e.touch/10; got.NewEpoch(m.now) != newEpoch {
			m.tb.Fatalf("touched at %d: NewEpoch(%d) is not %v", e.touch, m.now, newEpoch)
		}
		if e.Kind() == Routed {
			m.t.At(e.Ref, now, func(o *Output) { m.sameOutput(o, m.outputs[e.out]) })
			m.outputs[e.out].touch = m.now
		}
		e.touch = m.now
	})
	if len(seen) != want {
		m.tb.Fatalf("minute %d: %d of %d keys visited, want %d", m.now, len(seen), len(keys), want)
	}
}

func (m *model) route(k labels.Key, now Minute) (index uint32, ok bool) {
	lived, before, visited := m.outputLives(k), m.t.Len(), false
	old := m.outputs[k]
	index, ok = m.t.Route(k, now, func(got *Output, found bool) {
		visited = true
		if found != lived {
			m.tb.Fatalf("minute %d: route found=%v, want %v", m.now, found, lived)
		}
		o := old
		if !found {
			if old != nil && old.Weight > 0 && m.owes(old.Ref, k, true) {
				m.tb.Fatalf("minute %d: output ref %d is replaced, but was not released", m.now, old.Ref)
			}
			o = &modelOutput{}
		}
		m.sameOutput(got, o)
		delete(m.owed, o.Ref) // settled
		m.serial++
		o.Output = Output{Owner: uint64(m.serial), First: -int64(m.serial), Last: int64(m.serial) * 3, Ref: m.serial, Weight: uint32(m.roll(3)), Shared: m.roll(2) == 1}
		*got = o.Output
		if o.Weight > 0 {
			m.owed[o.Ref] = debt{k, o.Weight, true}
		}
		m.outputs[k] = o
	})
	if ok != visited || !ok && (lived || before < int(m.t.max)) {
		m.tb.Fatalf("minute %d: route: ok=%v, visited=%v, lived=%v, at %d of %d", m.now, ok, visited, lived, before, m.t.max)
	}
	if ok {
		o := m.outputs[k]
		if lived && o.index != index {
			m.tb.Fatalf("the index of a live output went from %d to %d", o.index, index)
		}
		o.index, o.touch = index, m.now
	}
	return index, ok
}

func (m *model) sameOutput(got *Output, want *modelOutput) {
	g := *got
	g.stamp = 0
	if want == nil || g != want.Output {
		m.tb.Fatalf("minute %d: output %+v, want %+v", m.now, g, want)
	}
}

func (m *model) at() {
	if k := m.outKey(); m.outputLives(k) {
		o := m.outputs[k]
		m.t.At(o.index, m.late(), func(got *Output) {
			m.sameOutput(got, o)
			o.Last++
			got.Last = o.Last
		})
		o.touch = m.now
	}
}

// claim is several at once, some of them the same.
func (m *model) claim() {
	var indices []uint32
	var keys []labels.Key
	for range m.roll(80) {
		if k := m.outKey(); m.outputLives(k) {
			keys, indices = append(keys, k), append(indices, m.outputs[k].index)
		}
	}
	now, last := m.late(), map[labels.Key]int{}
	seen := 0
	m.t.Claim(indices, now, func(i int, got *Output) {
		o := m.outputs[keys[i]]
		if before, again := last[keys[i]]; again && before > i {
			m.tb.Fatalf("index %d is visited after its equal %d", i, before)
		}
		m.sameOutput(got, o)
		o.Last++
		got.Last, last[keys[i]] = o.Last, i
		o.touch = m.now
		seen++
	})
	if seen != len(indices) {
		m.tb.Fatalf("%d of %d are visited", seen, len(indices))
	}
}

func (m *model) lookup() {
	k := m.outKey()
	if found := m.t.Lookup(k, m.late(), func(got *Output) { m.sameOutput(got, m.outputs[k]) }); found != m.outputLives(k) {
		m.tb.Fatalf("minute %d: lookup found=%v, want %v", m.now, found, !found)
	}
}

// round sweeps all shards: after that nothing idle is left.
func (m *model) round() {
	for range m.t.Shards() {
		m.t.Sweep(m.now)
	}
	n := 0
	for k := range m.entries {
		if m.entryLives(k) {
			n++
		} else {
			delete(m.entries, k)
		}
	}
	for k := range m.outputs {
		if m.outputLives(k) {
			n++
		} else {
			delete(m.outputs, k)
		}
	}
	if m.t.Len() != n {
		m.tb.Fatalf("minute %d: %d in the table after a round of Sweep, want %d", m.now, m.t.Len(), n)
	}
}

// check compares all that is in the table with the model, without touching it, and the table with itself.
func (m *model) check() {
	t, there := m.t, 0
	for k, e := range m.entries {
		s := &t.entries[t.shardOf(k)]
		if i := s.find(k); i >= 0 {
			there++
			if got := &s.at(i).value; m.entryLives(k) {
				m.same(got, e)
				if got.stamp&(1<<minuteBits-1) != touched(e.touch) {
					m.tb.Fatalf("minute %d: touched at %d, want %d", m.now, got.stamp&(1<<minuteBits-1), touched(e.touch))
				}
			}
		} else if m.entryLives(k) {
			m.tb.Fatalf("minute %d: a live entry is not there: %+v", m.now, *e)
		}
	}
	outs := 0
	for k, o := range m.outputs {
		s := &t.outputs[t.shardOf(k)]
		if i := s.find(k); i >= 0 {
			outs++
			if m.outputLives(k) {
				m.sameOutput(&s.at(i).value, o)
			}
		} else if m.outputLives(k) {
			m.tb.Fatalf("minute %d: a live output is not there: %+v", m.now, *o)
		}
	}
	if err := sound(t, there, outs); err != nil {
		m.tb.Fatalf("minute %d: %v", m.now, err)
	}
}

// sound says what contradicts itself in t, which is to hold so many entries and outputs.
func sound(t *Table, entries, outs int) error {
	live, liveOuts := 0, 0
	for n := range t.entries {
		s, o := &t.entries[n], &t.outputs[n]
		if err := whole(t, n, &s.store, func(e *Entry) bool { return e.stamp != 0 }); err != nil {
			return fmt.Errorf("entries of shard %d: %w", n, err)
		}
		if err := whole(t, n, &o.store, func(o *Output) bool { return o.stamp != 0 }); err != nil {
			return fmt.Errorf("outputs of shard %d: %w", n, err)
		}
		live, liveOuts = live+s.live, liveOuts+o.live
	}
	if live != entries || liveOuts != outs || t.Len() != live+liveOuts || t.Len() > int(t.max) {
		return fmt.Errorf("%d entries, want %d; %d outputs, want %d; Len %d of %d", live, entries, liveOuts, outs, t.Len(), t.max)
	}
	return nil
}

// whole says what contradicts itself in s, which is of shard n: each record is found in its place by its key, the index is of nothing
// else, and what is free is zero and not passed over.
func whole[V comparable](t *Table, n int, s *store[V], touched func(*V) bool) error {
	live := 0
	for i := range s.places() {
		r, used := s.at(i), s.used[i/64]>>(i%64)&1 == 1
		switch {
		case used && (s.find(r.key) != i || t.shardOf(r.key) != n || !touched(&r.value)):
			return fmt.Errorf("the key of place %d is found in %d and belongs to shard %d; %+v", i, s.find(r.key), t.shardOf(r.key), r.value)
		case !used && *r != (record[V]{}):
			return fmt.Errorf("place %d is free, and holds %+v", i, *r)
		case !used && i/64 < s.low:
			return fmt.Errorf("place %d is free, but is looked for from %d", i, s.low*64)
		case used:
			live++
		}
	}
	indexed := len(s.index) - len(slices.DeleteFunc(slices.Clone(s.index), func(w uint32) bool { return w != 0 }))
	if live != s.live || live != indexed || live*20 > len(s.index)*17 || len(s.used) != s.places()/64 {
		return fmt.Errorf("%d records, live=%d, %d in an index of %d; %d words say what is used of %d places", live, s.live, indexed, len(s.index), len(s.used), s.places())
	}
	return nil
}

func modelOptions(b byte) Options {
	return Options{
		Shards:     []int{1, 2, 8}[b%3],
		MaxEntries: []int{8, 60, 1000}[b/3%3],
		KeyBits:    []int{0, 4, 8, 0}[b/9%4],
	}
}

func TestModel(t *testing.T) {
	for seed := range 36 * 8 {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		steps := make([]byte, 6000)
		for i := range steps {
			steps[i] = byte(r.Uint32())
		}
		newModel(t, modelOptions(byte(seed)), steps).run()
	}
}

func FuzzModel(f *testing.F) {
	f.Add([]byte("\x00\x00\x01\x02\x03\x0b\x09\x09\x0a"))
	f.Fuzz(func(t *testing.T, steps []byte) {
		if len(steps) > 0 && len(steps) < 3000 {
			newModel(t, modelOptions(steps[0]), steps[1:]).run()
		}
	})
}
