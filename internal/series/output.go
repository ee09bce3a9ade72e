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

// outputs is one shard of outputs: pages in which each keeps its place, and an index of them by key, probed one by one.
type outputs struct {
	mu     sync.Mutex // guards what follows
	pages  []*outputPage
	index  []uint32 // 1 + place, 0: none; a quarter at least is none
	places int      // that were ever taken, since the last were given up
	live   int      // places in use
	free   uint32   // 1 + the lowest free place, 0: none

	_ [48]byte // fills 128 bytes
}

// outputPage is 16 KiB. Pages never move, so that outputs are never copied, and each is in one cache line.
type outputPage [256]Output

func (s *outputs) at(i int) *Output {
	n := uint(i)
	return &s.pages[n/uint(len(outputPage{}))][n%uint(len(outputPage{}))]
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
		if s.places >= 1<<(32-t.bits)-1 || !t.reserve() {
			return 0, false
		}
		i = s.add(key, stamp)
	}
	o := s.at(i)
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
	s := &t.outputs[t.outputShard(index)]
	s.mu.Lock()
	defer s.mu.Unlock()
	i := int(index >> t.bits)
	if i >= s.places || s.at(i).stamp == 0 {
		lost(index)
	}
	o := s.at(i)
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
			if place >= s.places {
				lost(indices[i])
			}
			outs[j] = s.at(place)
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
	i, found := s.find(key)
	if !found || s.at(i).idle(t.now()+1) {
		return false
	}
	visit(s.at(i))
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
		if i = int(s.index[at] - 1); s.at(i).Key == key {
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
		s.free = s.at(i).Ref
	} else {
		i = s.places
		if s.places++; i == len(s.pages)*len(outputPage{}) {
			s.pages = append(s.pages, new(outputPage))
		}
	}
	*s.at(i) = Output{Key: key, stamp: stamp}
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
	for i := range s.places {
		if s.at(i).stamp != 0 {
			s.enter(i)
		}
	}
}

func (s *outputs) enter(i int) {
	at := home(s.at(i).Key.Lo, len(s.index))
	for s.index[at] != 0 {
		if at++; at == len(s.index) {
			at = 0
		}
	}
	s.index[at] = uint32(i) + 1
}

// sweep forgets what is idle at horizon. What stays keeps its place, so only free places at the end can go;
// the lowest are taken first, so that the end becomes free in time.
func (s *outputs) sweep(t *Table, horizon Minute) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, end := s.live, 0
	for i := range s.places {
		switch o := s.at(i); {
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
	s.places = end
	pages := (end + len(outputPage{}) - 1) / len(outputPage{})
	clear(s.pages[pages:])
	s.pages = s.pages[:pages]
	s.free = 0
	for i := end - 1; i >= 0; i-- {
		if o := s.at(i); o.stamp == 0 {
			o.Ref, s.free = s.free, uint32(i)+1
		}
	}
	s.reindex()
}

func (s *outputs) bytes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(unsafe.Sizeof(*s)) + 8*cap(s.pages) + len(s.pages)*int(unsafe.Sizeof(outputPage{})) + 4*cap(s.index)
}
