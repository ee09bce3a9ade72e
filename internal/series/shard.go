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
// A search begins at the key's home group and ends at the first group with an empty slot. A fifth of all slots is always
// empty. Slots stand in pages that never move: a shard grows by a few more, and no entry is ever held twice. ctrl is an
// array of its own, a word beside the other: it is a thirty-third of all, and stays in the processor's caches.
type shard struct {
	mu    sync.Mutex // guards what follows
	ctrl  []uint64
	pages []*page
	live  int    // slots in use
	left  int    // empty slots that may be filled before a rehash
	seen  Minute // no entry was touched later
	swept Minute // when all that was idle was last removed
	fresh Entry  // what Update's visit is given for a key that is not there

	_ [32]byte // fills 128 bytes: two cache lines, which processors fetch together
}

// page is 16 KiB of slots.
type page [pageSlots]slot

type slot struct {
	key labels.Key
	Entry
}

const (
	groupSlots = 8
	pageGroups = 64
	pageSlots  = pageGroups * groupSlots
	// mostInPage is how many slots of a page may be in use or deleted, on average: four of five. aimInPage is how many are in
	// use after a rehash: seven of ten. So a shard grows by a seventh, and each entry is moved seven times as it fills.
	mostInPage = pageSlots * 4 / 5
	aimInPage  = pageSlots * 7 / 10

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

// slot is slot i of the shard.
func (s *shard) slot(i int) *slot {
	n := uint(i) // whose divisions are shifts
	return &s.pages[n/pageSlots][n%pageSlots]
}

// mark is the byte of ctrl for slot i.
func (s *shard) mark(i int) byte { return byte(s.ctrl[i/groupSlots] >> (i % groupSlots * 8)) }

func (s *shard) setMark(i int, mark byte) {
	ctrl, shift := &s.ctrl[i/groupSlots], i%groupSlots*8
	*ctrl = *ctrl&^(0xff<<shift) | uint64(mark)<<shift
}

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
	if len(s.ctrl) == 0 {
		return -1
	}
	ctrl, tag := s.ctrl, tagOf(k)
	for g := home(k.Lo, len(ctrl)); ; {
		for m := match(ctrl[g], tag); m != 0; m &= m - 1 {
			if i := slotOf(g, m); s.slot(i).key == k {
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
		s.rehash(max(s.pagesWanted(), len(s.pages)))
	}
	i := s.vacant(k, len(s.ctrl))
	if s.mark(i) == empty {
		s.left--
	}
	s.setMark(i, byte(tagOf(k)))
	*s.slot(i) = slot{k, *e}
	s.live++
}

// vacant is the slot for k, which is not there: one that is not full, in the first of so many groups that has one.
func (s *shard) vacant(k labels.Key, groups int) int {
	for g := home(k.Lo, groups); ; {
		if m := ^s.ctrl[g] & eachTop; m != 0 {
			return slotOf(g, m)
		}
		if g++; g == groups {
			g = 0
		}
	}
}

// remove takes slot i out. No search goes on past a group with an empty slot, so one slot more may be empty there;
// elsewhere it is marked, so that searches still pass it.
func (s *shard) remove(i int) {
	mark := byte(deleted)
	if hasEmpty(s.ctrl[i/groupSlots]) {
		mark = empty
		s.left++
	}
	s.setMark(i, mark)
	s.live--
}

// pagesWanted is how many pages what is live should have. One more than it fills: there is room in them.
func (s *shard) pagesWanted() int { return s.live/aimInPage + 1 }

// rehash makes it n pages, and moves all entries to where they are looked for then, without deleted slots. It needs no other
// memory: full slots are marked as deleted, each of what is in those then takes the first slot it can have that is not full
// again, and where that has one that still waits the two change places.
func (s *shard) rehash(n int) {
	for len(s.pages) < n {
		s.pages = append(s.pages, new(page))
	}
	groups := n * pageGroups
	ctrl := make([]uint64, len(s.pages)*pageGroups)
	for g, w := range s.ctrl {
		ctrl[g] = w >> 7 & eachByte
	}
	s.ctrl = ctrl
	// From the end: there the room is when a shard grows, and homes keep the order of keys.
	for g := len(ctrl) - 1; g >= 0; g-- {
		for m := waiting(ctrl[g]); m != 0; m = waiting(ctrl[g]) {
			s.settle(slotOf(g, m), groups)
		}
	}
	clear(s.pages[n:])
	s.pages, s.ctrl, s.left = s.pages[:n], ctrl[:groups], n*mostInPage-s.live
}

// waiting has the lowest bit set of each byte of ctrl that is deleted.
func waiting(ctrl uint64) uint64 { return ctrl &^ (ctrl >> 7) & eachByte }

// settle puts what waits in slot i where it belongs. Then something else may wait there.
func (s *shard) settle(i, groups int) {
	from := s.slot(i)
	k := from.key
	at := s.vacant(k, groups)
	if at/groupSlots == i/groupSlots {
		s.setMark(i, byte(tagOf(k)))
		return
	}
	to, was := s.slot(at), s.mark(at)
	*to, *from = *from, *to
	s.setMark(at, byte(tagOf(k)))
	s.setMark(i, was)
}

// sweep removes what is idle, and shrinks the shard if little is left.
func (s *shard) sweep(t *Table, now Minute) {
	minute, all, before := touched(now), now-s.seen > IdleMinutes, s.live
	for g := range s.ctrl {
		for m := s.ctrl[g] & eachTop; m != 0; m &= m - 1 {
			i := slotOf(g, m)
			if e := &s.slot(i).Entry; all || e.idle(minute) {
				s.remove(i)
				t.forget(e)
			}
		}
	}
	t.giveBack(before - s.live)
	s.seen, s.swept = now, now
	switch wanted := s.pagesWanted(); {
	case s.live == 0:
		s.pages, s.ctrl, s.left = nil, nil, 0
	case 2*wanted <= len(s.pages):
		s.rehash(wanted)
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
	return int(unsafe.Sizeof(*s)) + 8*(cap(s.pages)+cap(s.ctrl)) + len(s.pages)*int(unsafe.Sizeof(page{}))
}
