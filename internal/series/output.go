package series

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// Output is a series that leaves in place of those that came: what several inputs may write.
type Output struct {
	// Key is what it was made with. The other fields are the caller's, but that Released is told Ref and Weight if there
	// is a Weight when the output is forgotten.
	Key         labels.Key
	Owner       uint64
	Before      uint64
	First, Last int64
	Ref, Weight uint32
	Shared      bool
	// stamp is 1 + the minute of the last touch. 0: this place is free, and Ref is the next free one as in outputs.free.
	stamp Minute
}

// outputs is one shard of outputs: a slab in which each keeps its place, and an index of it by key, probed one by one.
type outputs struct {
	mu    sync.Mutex // guards what follows
	slab  []Output
	index []uint32 // 1 + place in slab, 0: none; a quarter at least is none
	live  int      // places in use
	free  uint32   // 1 + the lowest free place, 0: none

	_ [56]byte // fills 128 bytes
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
	i, found := s.find(key)
	if !found {
		if len(s.slab) >= 1<<(32-t.bits)-1 || !t.reserve() {
			return 0, false
		}
		i = s.add(key, stamp)
	}
	o := &s.slab[i]
	if found && o.idle(stamp) {
		// It is made anew in its old place, so that an index of it that may still be about means the same key.
		t.settle(o)
		*o, found = Output{Key: key}, false
	}
	o.stamp = stamp
	visit(o, found)
	o.Key, o.stamp = key, stamp // whatever visit set
	return uint32(i)<<t.bits | uint32(n), true
}

// At calls visit with the output that has this index, and then touches it. visit is as Route's.
func (t *Table) At(index uint32, now Minute, visit func(o *Output)) {
	t.advance(now)
	s := &t.outputs[index&uint32(len(t.outputs)-1)]
	s.mu.Lock()
	defer s.mu.Unlock()
	i := int(index >> t.bits)
	if i >= len(s.slab) || s.slab[i].stamp == 0 {
		panic(fmt.Sprintf("BUG: output %d was never given out, or was forgotten", index))
	}
	o := &s.slab[i]
	visit(o)
	o.stamp = t.now() + 1
}

// Lookup calls visit with the output of key if there is one. It neither makes nor touches it. visit is as Route's.
func (t *Table) Lookup(key labels.Key, now Minute, visit func(o *Output)) bool {
	t.advance(now)
	key = t.cut(key)
	s := &t.outputs[t.shardOf(key)]
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found := s.find(key)
	if !found || s.slab[i].idle(t.now()+1) {
		return false
	}
	visit(&s.slab[i])
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

// find returns the place of key's output.
func (s *outputs) find(key labels.Key) (i int, found bool) {
	if len(s.index) == 0 {
		return 0, false
	}
	for at := home(key.Lo, len(s.index)); s.index[at] != 0; {
		if i = int(s.index[at] - 1); s.slab[i].Key == key {
			return i, true
		}
		if at++; at == len(s.index) {
			at = 0
		}
	}
	return 0, false
}

// add takes the lowest free place for key, which has none.
func (s *outputs) add(key labels.Key, stamp Minute) (i int) {
	if i = int(s.free) - 1; i >= 0 {
		s.free = s.slab[i].Ref
	} else {
		i = len(s.slab)
		s.slab = append(s.slab, Output{})
	}
	s.slab[i] = Output{Key: key, stamp: stamp}
	s.live++
	if s.live*4 > len(s.index)*3 {
		s.reindex()
	} else {
		s.enter(i)
	}
	return i
}

// reindex makes an index of all that are live, which fill it to three fifths.
func (s *outputs) reindex() {
	s.index = make([]uint32, s.live*5/3+2)
	for i := range s.slab {
		if s.slab[i].stamp != 0 {
			s.enter(i)
		}
	}
}

func (s *outputs) enter(i int) {
	at := home(s.slab[i].Key.Lo, len(s.index))
	for s.index[at] != 0 {
		if at++; at == len(s.index) {
			at = 0
		}
	}
	s.index[at] = uint32(i) + 1
}

// sweep forgets what is idle at horizon. What stays keeps its place, so only free places at the end of the slab can go;
// the lowest are taken first, so that the end becomes free in time.
func (s *outputs) sweep(t *Table, horizon Minute) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, end := s.live, 0
	for i := range s.slab {
		switch o := &s.slab[i]; {
		case o.stamp == 0:
		case o.idle(horizon + 1):
			t.settle(o)
			o.stamp = 0
			s.live--
		default:
			end = i + 1
		}
	}
	if s.live == before {
		return
	}
	t.giveBack(before - s.live)
	if s.slab = s.slab[:end]; cap(s.slab) > 2*end {
		s.slab = append(make([]Output, 0, end+end/4), s.slab...)
	}
	s.free = 0
	for i := end - 1; i >= 0; i-- {
		if o := &s.slab[i]; o.stamp == 0 {
			o.Ref, s.free = s.free, uint32(i)+1
		}
	}
	s.reindex()
}

func (s *outputs) bytes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(unsafe.Sizeof(*s)) + cap(s.slab)*int(unsafe.Sizeof(Output{})) + 4*cap(s.index)
}
