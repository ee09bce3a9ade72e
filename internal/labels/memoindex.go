package labels

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// placeBits are the bits of a slot in which a place stands. Above stand as many bits of the tag as there is room for.
const (
	placeBits = 22
	placeMask = 1<<placeBits - 1
)

// What a slot has in it that leads nowhere.
const (
	empty = 0
	gone  = 1 // there was something: what came after it may still be behind it
)

// memoShard finds the entries of a sixteenth of all tags.
type memoShard struct {
	table atomic.Pointer[memoTable]
	mu    sync.Mutex // held by who makes a new table or sweeps one. Nobody waits for it on the way.
	_     [48]byte   // each shard in a cache line of its own
}

// memoTable is a hash table of places with linear probing. An entry that it does not lead to is made anew.
type memoTable struct {
	used  atomic.Int64 // slots that are not empty
	slots []atomic.Uint32
}

// newMemoTable returns a table for so many entries and half as many again, but of no more slots than most.
func newMemoTable(entries, most int) *memoTable {
	return &memoTable{slots: make([]atomic.Uint32, min(max(entries*8/5, 64), most))}
}

// most is how many slots may be in use: the others end every search.
func (t *memoTable) most() int64 { return int64(len(t.slots) * 5 / 6) }

// home is where the search for an entry begins. hi is the high word of its tag, or its check.
func (t *memoTable) home(hi uint64) int {
	h, _ := bits.Mul64(hi<<shardBits, uint64(len(t.slots)))
	return int(h)
}

func slotOf(tag Key, place uint32) uint32 {
	return uint32(tag.Lo>>(64-32+placeBits))<<placeBits | place
}

// first returns the first place that may be tag's, 0 if there is none.
func (t *memoTable) first(tag Key) uint32 {
	want := slotOf(tag, 0)
	for i := t.home(tag.Hi); ; {
		s := t.slots[i].Load()
		if s == empty {
			return 0
		}
		if place := s ^ want; place <= placeMask {
			return place
		}
		if i++; i == len(t.slots) {
			i = 0
		}
	}
}

// find fills out with what is known of tag, and returns its place; 0 if nothing is.
func (m *Memo) find(tag Key, out *Recalled) uint32 {
	t := m.index[tag.Hi>>(64-shardBits)].table.Load()
	want := slotOf(tag, 0)
	for i := t.home(tag.Hi); ; {
		s := t.slots[i].Load()
		if s == empty {
			*out = Recalled{Labels: -1}
			return 0
		}
		if place := s ^ want; place <= placeMask && m.read(place, tag, out) {
			return place
		}
		if i++; i == len(t.slots) {
			i = 0
		}
	}
}

// put has t lead to the place of tag's entry, if there is room.
func (t *memoTable) put(tag Key, place uint32) {
	if t.used.Add(1) > t.most() {
		t.used.Add(-1)
		return
	}
	for i := t.home(tag.Hi); ; {
		switch s := t.slots[i].Load(); {
		case s == empty && t.slots[i].CompareAndSwap(empty, slotOf(tag, place)):
			return
		case s == gone && t.slots[i].CompareAndSwap(gone, slotOf(tag, place)):
			t.used.Add(-1)
			return
		case s == empty || s == gone:
			continue // somebody else was faster
		}
		if i++; i == len(t.slots) {
			i = 0
		}
	}
}

// rebuild returns a table for what t leads to, and for more; or t, while somebody else makes one.
func (m *Memo) rebuild(s *memoShard, t *memoTable) *memoTable {
	if !s.mu.TryLock() {
		return t
	}
	defer s.mu.Unlock()
	if now := s.table.Load(); now != t {
		return now
	}
	live := 0
	for i := range t.slots {
		if m.page(t.slots[i].Load()&placeMask) != nil {
			live++
		}
	}
	return m.replace(s, t, live)
}

// replace has s find by a table for as many entries as there are in t, by which it finds now. s.mu is held.
func (m *Memo) replace(s *memoShard, t *memoTable, live int) *memoTable {
	to := newMemoTable(live, m.most)
	room := to.most()
	for rest := t.slots; len(rest) > 0; rest = rest[min(len(rest), Ahead):] {
		// As in recallEach: the memory of many is waited for at once.
		var slots [Ahead]uint32
		var checks [Ahead]uint64
		for i := range min(len(rest), Ahead) {
			slots[i] = rest[i].Load()
			if p := m.page(slots[i] & placeMask); p != nil {
				checks[i] = p.entries[slots[i]&atMask].check.Load()
			}
		}
		for i, check := range checks {
			if check != 0 && room > 0 {
				to.insert(check, slots[i])
				room--
			}
		}
	}
	to.used.Store(to.most() - room)
	s.table.Store(to)
	return to
}

// insert is put for a table that nobody else has yet, and which has room.
func (t *memoTable) insert(check uint64, slot uint32) {
	i := t.home(check)
	for t.slots[i].Load() != empty {
		if i++; i == len(t.slots) {
			i = 0
		}
	}
	t.slots[i].Store(slot)
}

// sweep has s lead to pages only that are there.
func (m *Memo) sweep(s *memoShard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.table.Load()
	live := 0
	for i := range t.slots {
		slot := t.slots[i].Load()
		if slot == empty || slot == gone {
			continue
		}
		if m.page(slot&placeMask) != nil {
			live++
			continue
		}
		t.slots[i].CompareAndSwap(slot, gone)
	}
	if live < len(t.slots)/4 {
		m.replace(s, t, live)
	}
}
