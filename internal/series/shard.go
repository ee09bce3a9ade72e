package series

import (
	"math/bits"
	"sync"
	"unsafe"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// shard is an open-addressed table of entries. Its slots stand in groups of eight, and one word of ctrl has a byte for
// each slot of a group: empty, deleted, or full with seven bits of the key in it. One comparison of eight bytes at a time
// finds the slots worth a look, as in Abseil's Swiss tables (https://abseil.io/about/design/swisstables).
//
// A search begins at the key's home group and ends at the first group with an empty slot. A quarter of all slots is
// always empty; the number of groups is any number, so that growing by a quarter suffices.
type shard struct {
	mu    sync.Mutex // guards what follows
	ctrl  []uint64
	slots []slot
	live  int    // slots in use
	left  int    // empty slots that may be filled before resize
	seen  Minute // no entry was touched later
	swept Minute // when all that was idle was last removed
	fresh Entry  // what Update's visit is given for a key that is not there

	_ [32]byte // fills 128 bytes: two cache lines, which processors fetch together
}

type slot struct {
	key labels.Key
	Entry
}

const (
	groupSlots = 8
	groupFill  = 6 // slots of a group that may be in use, on average

	empty   = 0
	deleted = 1
	full    = 0x80

	eachByte = 0x0101010101010101
	eachTop  = 0x8080808080808080

	// sweepWithin is after how many minutes a shard is swept by whoever comes next, so that stamps, which count in a cycle,
	// are never ambiguous: what survived a sweep was at most IdleMinutes old then, and the sweep that comes too late finds
	// all idle or somebody here IdleMinutes before.
	sweepWithin = cycle - 2*IdleMinutes
)

// tagOf is the ctrl byte of a full slot, eight times. Homes go by the top of Lo, tags by its other end.
func tagOf(k labels.Key) uint64 { return (full | k.Lo&0x7f) * eachByte }

// match has the top bit set of each byte of ctrl that equals tag's, and maybe of other full slots above such a one.
func match(ctrl, tag uint64) uint64 {
	x := ctrl ^ tag
	return (x - eachByte) &^ x & eachTop
}

// hasEmpty says whether a byte of ctrl is empty.
func hasEmpty(ctrl uint64) bool { return (ctrl-eachByte)&^ctrl&eachTop != 0 }

// slotOf is the slot of group g whose top bit is the lowest in m.
func slotOf(g int, m uint64) int { return g*groupSlots + bits.TrailingZeros64(m)>>3 }

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

// find returns the slot of k, -1 if there is none.
func (s *shard) find(k labels.Key) int {
	ctrl, tag := s.ctrl, tagOf(k)
	for g := home(k.Lo, len(ctrl)); ; {
		for m := match(ctrl[g], tag); m != 0; m &= m - 1 {
			if i := slotOf(g, m); s.slots[i].key == k {
				return i
			}
		}
		if hasEmpty(ctrl[g]) {
			return -1
		}
		if g++; g == len(ctrl) {
			g = 0
		}
	}
}

// insert stores e under k, which is not there.
func (s *shard) insert(k labels.Key, e *Entry) {
	if s.left == 0 {
		s.resize()
	}
	s.place(slot{k, *e})
	s.live++
}

func (s *shard) place(sl slot) {
	g := home(sl.key.Lo, len(s.ctrl))
	for s.ctrl[g]&eachTop == eachTop {
		if g++; g == len(s.ctrl) {
			g = 0
		}
	}
	m := ^s.ctrl[g] & eachTop
	i, shift := slotOf(g, m), bits.TrailingZeros64(m)&^7
	if s.ctrl[g]>>shift&0xff == empty {
		s.left--
	}
	s.ctrl[g] = s.ctrl[g]&^(0xff<<shift) | tagOf(sl.key)&(0xff<<shift)
	s.slots[i] = sl
}

// remove takes slot i out. No search goes on past a group with an empty slot, so one slot more may be empty there;
// elsewhere it is marked, so that searches still pass it.
func (s *shard) remove(i int) {
	g, shift := i/groupSlots, i%groupSlots*8
	mark := uint64(deleted)
	if hasEmpty(s.ctrl[g]) {
		mark = empty
		s.left++
	}
	s.ctrl[g] = s.ctrl[g]&^(0xff<<shift) | mark<<shift
	s.live--
}

// resize moves all entries to arrays that they fill to three fifths: larger ones, smaller ones, or ones of the same size
// without deleted slots.
func (s *shard) resize() {
	ctrl, slots := s.ctrl, s.slots
	groups := s.live*5/(3*groupSlots) + 1
	s.ctrl, s.slots, s.left = make([]uint64, groups), make([]slot, groups*groupSlots), groups*groupFill
	for g, w := range ctrl {
		for m := w & eachTop; m != 0; m &= m - 1 {
			s.place(slots[slotOf(g, m)])
		}
	}
}

// sweep removes what is idle, and shrinks the shard if little is left.
func (s *shard) sweep(t *Table, now Minute) {
	minute, all, before := touched(now), now-s.seen > IdleMinutes, s.live
	for g := range s.ctrl {
		for m := s.ctrl[g] & eachTop; m != 0; m &= m - 1 {
			i := slotOf(g, m)
			if e := &s.slots[i].Entry; all || e.idle(minute) {
				s.remove(i)
				t.forget(e)
			}
		}
	}
	t.giveBack(before - s.live)
	s.seen, s.swept = now, now
	if s.live < len(s.slots)*3/10 && len(s.ctrl) > 1 {
		s.resize()
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
	return int(unsafe.Sizeof(*s)) + 8*cap(s.ctrl) + cap(s.slots)*int(unsafe.Sizeof(slot{}))
}
