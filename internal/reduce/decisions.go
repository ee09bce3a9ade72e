package reduce

import (
	"encoding/binary"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/series"
)

const (
	// maxDecisionBytes is what the changes of all generations take at most; one takes no more than half. Rules that give
	// every series a value of its own make a change for each; those of series that are gone are never taken out one by one.
	maxDecisionBytes = 128 << 20
	// refillMinutes is for how long a generation that is full goes on as it is, before another begins: if what is live does
	// not fit, most of it is decided from memory all the same.
	refillMinutes = 10
)

// maxValue is the largest number that an entry of the table holds (29 bits).
const maxValue = 1<<29 - 1

// decisions are what was decided about series under one content of rules and limits of labels. Policies with the same content
// share them, and so does the next configuration: a decision survives until the rules change.
type decisions struct {
	engine      *Engine
	environment string
	gone        bool // no configuration in force has it; the engine's mu guards this
	// current is swapped whole when what was decided is no longer true, or takes too much room.
	current atomic.Pointer[generation]
}

// generation is decisions that hold together. An entry of the table that names another generation is decided anew.
type generation struct {
	number uint32
	engine *Engine

	mu     sync.Mutex // guards what follows, and who appends to changes
	byText map[string]uint32
	bytes  int
	over   bool // it is nobody's any more, and remembers nothing new
	// filled is 1 + the minute when there was no more room.
	filled series.Minute

	// changes by number; 0 is the change that changes nothing. A reader needs no lock: what it sees never changes.
	changes atomic.Pointer[[]*labels.Change]
}

// decisionsOf returns the decisions of content, which says the rules and all else that they depend on.
func (e *Engine) decisionsOf(environment, content string) *decisions {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := e.stores[content]
	if d == nil {
		d = &decisions{engine: e, environment: environment}
		d.current.Store(e.newGeneration())
		e.stores[content] = d
	}
	return d
}

// keep forgets all decisions but those of the contents given: a reload's last step.
func (e *Engine) keep(contents map[string]bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for content, d := range e.stores {
		if !contents[content] {
			d.gone = true
			d.current.Load().end()
			delete(e.stores, content)
		}
	}
}

// newGeneration returns an empty one. mu is held. Numbers have 24 bits; before one comes again, 16 million reloads later, all
// entries that had it are gone.
func (e *Engine) newGeneration() *generation {
	if e.generations++; e.generations == 1<<24 {
		e.generations = 1
	}
	g := &generation{number: e.generations, engine: e, byText: make(map[string]uint32)}
	g.changes.Store(&[]*labels.Change{nil})
	return g
}

// renew makes everything be decided anew, unless somebody else has done so since old was current.
func (d *decisions) renew(old *generation) {
	d.engine.mu.Lock()
	defer d.engine.mu.Unlock()
	if d.current.Load() == old {
		d.swap()
	}
}

// swap begins a new generation. The engine's mu is held.
func (d *decisions) swap() {
	next := d.engine.newGeneration()
	if d.gone {
		next.end() // nobody would give back what it takes
	}
	d.current.Swap(next).end()
}

// renewAll makes everything in environment be decided anew.
func (e *Engine) renewAll(environment string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, d := range e.stores {
		if d.environment == environment {
			d.swap()
		}
	}
}

// end gives back the room that g has taken. Pushes that began with it finish with it.
func (g *generation) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.engine.decisionBytes.Add(-int64(g.bytes))
	g.bytes, g.over = 0, true
}

// stale says whether g has been full for so long that it is mostly about series which are gone. To be asked when intern fails.
func (g *generation) stale(now series.Minute) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.filled == 0 {
		g.filled = now + 1
	}
	return int32(now+1-g.filled) >= refillMinutes
}

// intern returns the number of a change equal to c, and that change, which may be kept. ok is false where there is no more room
// in this generation: then the change is good, but has no number.
func (g *generation) intern(c *labels.Change, text []byte) (kept *labels.Change, number uint32, scratch []byte, ok bool) {
	if c == nil {
		return nil, identity, text, true
	}
	text = appendChange(text[:0], c)
	g.mu.Lock()
	defer g.mu.Unlock()
	all := *g.changes.Load()
	if n, found := g.byText[string(text)]; found {
		return all[n], n, text, true
	}
	kept = clone(c)
	// Twice the text: as the map's key and as the labels; and what is around them.
	cost := 2*len(text) + 200
	if g.over || len(all) >= held || !g.take(cost) {
		return kept, 0, text, false
	}
	n := uint32(len(all))
	grown := append(all, kept) // another variable than all, which this one alone would take to the heap
	g.byText[string(text)] = n
	g.changes.Store(&grown)
	return kept, n, text, true
}

// take takes room for n bytes. mu is held.
func (g *generation) take(n int) bool {
	e := g.engine
	if int64(g.bytes+n) > e.maxDecisions/2 {
		return false
	}
	if e.decisionBytes.Add(int64(n)) > e.maxDecisions {
		e.decisionBytes.Add(-int64(n))
		return false
	}
	g.bytes += n
	return true
}

// change returns change number n.
func (g *generation) change(n uint32) *labels.Change { return (*g.changes.Load())[n] }

// appendChange appends c in a form that is equal for equal changes only.
func appendChange(dst []byte, c *labels.Change) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(c.Keep)))
	for _, word := range c.Keep {
		dst = binary.LittleEndian.AppendUint64(dst, word)
	}
	for _, ls := range [][]labels.Label{c.Add, c.Move} {
		dst = binary.AppendUvarint(dst, uint64(len(ls)))
		for _, l := range ls {
			dst = append(binary.AppendUvarint(dst, uint64(len(l.Name))), l.Name...)
			dst = append(binary.AppendUvarint(dst, uint64(len(l.Value))), l.Value...)
		}
	}
	return dst
}

// clone returns c with nothing in it that belongs to a push.
func clone(c *labels.Change) *labels.Change {
	return &labels.Change{Keep: append([]uint64(nil), c.Keep...), Add: cloneLabels(c.Add), Move: cloneLabels(c.Move)}
}

func cloneLabels(ls []labels.Label) []labels.Label {
	if len(ls) == 0 {
		return nil
	}
	out := make([]labels.Label, len(ls))
	for i, l := range ls {
		out[i] = labels.Label{Name: strings.Clone(l.Name), Value: strings.Clone(l.Value)}
	}
	return out
}
