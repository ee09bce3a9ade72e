package series

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// Output is a series that leaves in place of those that came: what several inputs may write. Its fields are the caller's,
// but that Released is told Ref and Weight if there is a Weight when the output is forgotten.
type Output struct {
	Owner       uint64
	Before      uint64
	First, Last int64
	Ref, Weight uint32
	Shared      bool
	// stamp is 1 + the minute of the last touch. 0: there is none in this place.
	stamp Minute
}

// outputs is one shard of outputs. Each keeps its place, and with its key is in one cache line.
type outputs struct {
	mu sync.Mutex // guards what follows
	store[Output]

	_ [32]byte // fills 128 bytes: two cache lines, which processors fetch together
}

// Route calls visit with the output of key, which it makes if there is none, and then touches it. Index is where At finds
// it for as long as it is touched every IdleMinutes. ok is false, and visit not called, if there is none and the table is
// full. visit runs under a lock and may call nothing of the table.
func (t *Table) Route(key labels.Key, now Minute, visit func(o *Output, found bool)) (index uint32, ok bool) {
	t.advance(now)
	key = t.cut(key)
	n := t.shardOf(key)
	s := &t.outputs[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	stamp := t.now() + 1
	i := s.find(key)
	found := i >= 0
	if !found {
		if s.live >= t.most || !t.reserve() {
			return 0, false
		}
		i = s.add(key)
	}
	o := &s.at(i).value
	if found && o.idle(stamp) {
		// It is made anew in its old place, so that an index of it that may still be about means the same key.
		t.settle(o)
		*o, found = Output{}, false
	}
	o.stamp = stamp
	visit(o, found)
	o.stamp = stamp // whatever visit set
	return uint32(i)<<t.bits | uint32(n), true
}

// At calls visit with the output that has this index, and then touches it. visit is as Route's.
func (t *Table) At(index uint32, now Minute, visit func(o *Output)) {
	t.advance(now)
	s := &t.outputs[t.outputShard(index)]
	s.mu.Lock()
	defer s.mu.Unlock()
	i := int(index >> t.bits)
	if i >= s.places() || s.at(i).value.stamp == 0 {
		lost(index)
	}
	o := &s.at(i).value
	visit(o)
	o.stamp = t.now() + 1
}

// Claim is At for many: visit is told which of indices it is called for. Equal indices come in their order.
func (t *Table) Claim(indices []uint32, now Minute, visit func(i int, o *Output)) {
	t.advance(now)
	g := t.scratch.Get().(*grouping)
	shards := g.begin(len(indices))
	for i, index := range indices {
		shards[i] = uint32(t.outputShard(index))
	}
	for n, order := range g.each {
		t.outputs[n].claim(t, indices, order, visit)
	}
	t.scratch.Put(g)
}

// claim visits those of indices that order names, all of this shard. As shard.probe, it has the processor wait for the memory
// of many at once.
func (s *outputs) claim(t *Table, indices, order []uint32, visit func(i int, o *Output)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stamp := t.now() + 1
	var outs [ahead]*Output
	for len(order) > 0 {
		some := order[:min(len(order), ahead)]
		order = order[len(some):]
		gone := Minute(0) // not 0: there is one that is
		for j, i := range some {
			place := int(indices[i] >> t.bits)
			if place >= s.places() {
				lost(indices[i])
			}
			outs[j] = &s.at(place).value
			gone |= (outs[j].stamp - 1) &^ outs[j].stamp >> 31
		}
		for j, i := range some {
			o := outs[j]
			if gone != 0 && o.stamp == 0 {
				lost(indices[i])
			}
			visit(int(i), o)
			if o.stamp != stamp {
				o.stamp = stamp
			}
		}
	}
}

func (t *Table) outputShard(index uint32) int { return int(index & uint32(len(t.outputs)-1)) }

func lost(index uint32) {
	panic(fmt.Sprintf("BUG: output %d was never given out, or was forgotten", index))
}

// Lookup calls visit with the output of key if there is one. It neither makes nor touches it. visit is as Route's.
func (t *Table) Lookup(key labels.Key, now Minute, visit func(o *Output)) bool {
	t.advance(now)
	key = t.cut(key)
	s := &t.outputs[t.shardOf(key)]
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(key)
	if i < 0 || s.at(i).value.idle(t.now()+1) {
		return false
	}
	visit(&s.at(i).value)
	return true
}

// idle says whether o is forgotten at the time that stamp means.
func (o *Output) idle(stamp Minute) bool { return stamp > o.stamp && stamp-o.stamp > IdleMinutes+1 }

// settle says what o counted.
func (t *Table) settle(o *Output) {
	if o.Weight > 0 {
		t.released(o.Ref, o.Weight)
	}
}

// sweep forgets what is idle at horizon. What stays keeps its place, so only pages at the end can go; the first places are
// taken first, so that the end becomes free in time.
func (s *outputs) sweep(t *Table, horizon Minute) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.live
	for i, r := range s.all {
		if o := &r.value; o.idle(horizon + 1) {
			t.settle(o)
			s.clear(i)
		}
	}
	if s.live < before {
		t.giveBack(before - s.live)
		s.store.settle()
	}
}

func (s *outputs) bytes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(unsafe.Sizeof(*s)) + s.store.bytes()
}
