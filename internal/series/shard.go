package series

import (
	"sync"
	"unsafe"
)

// shard is one shard of entries. Nobody outside knows the place of an entry, so that they may be moved.
type shard struct {
	mu sync.Mutex // guards what follows
	store[Entry]
	next  int    // the place behind what the last Probe found last; see seek
	seen  Minute // no entry was touched later
	swept Minute // when all that was idle was last removed
	fresh Entry  // what Update's visit is given for a key that is not there
}

// sweepWithin is after how many minutes a shard is swept by whoever comes next, so that stamps, which count in a cycle,
// are never ambiguous: what survived a sweep was at most IdleMinutes old then, and the sweep that comes too late finds
// all idle or somebody here IdleMinutes before.
const sweepWithin = cycle - 2*IdleMinutes

// begin is called when Probe or Update has the lock. It makes the minutes of the shard's entries comparable with the time,
// and returns that as touched writes it.
func (s *shard) begin(t *Table) (minute uint32) {
	now := t.now()
	if now-s.swept >= sweepWithin {
		s.sweep(t, now)
	}
	s.seen = now
	return touched(now)
}

// sweep removes what is idle, and closes the holes if half the pages are enough for what is left.
func (s *shard) sweep(t *Table, now Minute) {
	minute, all, before := touched(now), now-s.seen > IdleMinutes, s.live
	for i, r := range s.all {
		if e := &r.value; all || e.idle(minute) {
			t.forget(e)
			s.clear(i)
		}
	}
	s.seen, s.swept = now, now
	if s.live == before {
		return
	}
	t.giveBack(before - s.live)
	if 2*pagesFor(s.live) <= len(s.pages) {
		s.compact()
	} else {
		s.settle()
	}
}

func (s *shard) sweepNow(t *Table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(t, t.now())
}

func (s *shard) sweptAt() Minute {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.swept
}

func (s *shard) bytes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(unsafe.Sizeof(*s)) + s.store.bytes()
}
