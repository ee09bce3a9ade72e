package labels

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Memo remembers the keys of series by the bytes in which they came, so that a series which comes again as it came before
// need not be walked. It forgets whenever it likes: what it does not know is made anew. It holds no pointer and is bounded.
// Any number of goroutines may use it.
//
// There are no locks on the way. An entry is four words, the first two of which are the tag masked with the last two: of
// words that were written by two goroutines at once, or half before and half after they were read, no tag comes out that
// anybody asks for (one in 2^48 fits by chance, and nobody can bring it about: tags and keys are hashes that nobody foresees).
type Memo struct {
	max    int // groups of a shard
	shards [memoShards]memoShard
	next   atomic.Uint32 // the shard that Forget takes next
}

const (
	// memoShards is in how many steps a Memo grows and forgets: no push waits for more than a part of it.
	memoShards = 16
	shardBits  = 4

	groupEntries = 4
	// most is how many of the entries of a shard may be in use before it grows: three quarters.
	most = groupEntries * 3 / 4
	// Ahead is how many tags may be asked about at once.
	Ahead = 32
	// countBits are those bits of a tag in whose place an entry has the number of labels.
	countBits = 16
)

type memoShard struct {
	table atomic.Pointer[memoTable]
	mu    sync.Mutex // held by who makes a new table. Nobody waits for it.
	_     [48]byte   // each shard in a cache line of its own
}

// memoTable is a hash table without searches: an entry stands in one of two groups, or nowhere.
type memoTable struct {
	used   atomic.Int64
	groups []memoGroup
}

type memoGroup [groupEntries]memoEntry

type memoEntry struct {
	tag, check atomic.Uint64
	hi, lo     atomic.Uint64
}

// NewMemo returns a Memo of so many entries at most, of 32 bytes each.
func NewMemo(maxEntries int) *Memo {
	m := &Memo{max: max(2, maxEntries/(memoShards*groupEntries))}
	for i := range m.shards {
		m.shards[i].table.Store(&memoTable{groups: make([]memoGroup, min(m.max, 16))})
	}
	return m
}

// masked is what stands in the second word of an entry. The first is tag ^ hi.
func masked(check, hi, lo uint64) uint64 { return check ^ lo ^ bits.RotateLeft64(hi, 32) }

// home is where the entry of tag stands, and second where it stands if there was no room.
func (t *memoTable) home(tag Key) *memoGroup {
	h, _ := bits.Mul64(tag.Hi, uint64(len(t.groups)))
	return &t.groups[h]
}

func (t *memoTable) second(tag Key) *memoGroup {
	h, _ := bits.Mul64(tag.Lo<<shardBits, uint64(len(t.groups)))
	return &t.groups[h]
}

// match returns the place in g of what may be the entry of tag, groupEntries if there is none. It has no branch that could go
// either way, so that the processor goes on with what comes after while it waits for memory.
func (g *memoGroup) match(tag Key) int {
	m := uint64(1) << groupEntries
	for i := range g {
		d := g[i].tag.Load() ^ g[i].hi.Load() ^ tag.Hi
		m |= (^(d | -d) >> 63) << i
	}
	return bits.TrailingZeros64(m)
}

// Recalled is what was learned of a series.
type Recalled struct {
	Key Key
	// Labels is how many there are; negative: nothing is known.
	Labels int
}

// get fills out with what is stored for tags, of which there are no more than Ahead.
func (m *Memo) get(tags []Key, out []Recalled) {
	var tables [memoShards]*memoTable
	for i := range tables {
		tables[i] = m.shards[i].table.Load()
	}
	// First all groups are touched, in a loop so short that the processor waits for the memory of many at once.
	var groups [Ahead]*memoGroup
	for i, tag := range tags {
		g := tables[tag.Lo>>(64-shardBits)].home(tag)
		g[0].tag.Load()
		g[groupEntries/2].tag.Load()
		groups[i] = g
	}
	for i, tag := range tags {
		g := groups[i]
		at := g.match(tag)
		if at == groupEntries {
			g = tables[tag.Lo>>(64-shardBits)].second(tag)
			if at = g.match(tag); at == groupEntries {
				out[i] = Recalled{Labels: -1}
				continue
			}
		}
		out[i] = g[at].get(tag)
	}
}

// get returns what e says, if it is tag's.
func (e *memoEntry) get(tag Key) Recalled {
	key := Key{e.hi.Load(), e.lo.Load()}
	n := masked(e.check.Load(), key.Hi, key.Lo) ^ tag.Lo
	if e.tag.Load()^key.Hi != tag.Hi || n >= 1<<countBits {
		return Recalled{Labels: -1}
	}
	return Recalled{key, int(n)}
}

// put stores key and the number of labels for tag, in place of something else if there is no room.
func (m *Memo) put(tag, key Key, labels int) {
	s := &m.shards[tag.Lo>>(64-shardBits)]
	t := s.table.Load()
	if int(t.used.Load()) >= len(t.groups)*most && len(t.groups) < m.max {
		t = s.grow(t, m.max)
	}
	e := t.free(tag)
	if e == nil {
		e = &t.home(tag)[tag.Lo>>countBits%groupEntries]
	} else {
		t.used.Add(1)
	}
	e.set(tag.Hi^key.Hi, masked(tag.Lo|uint64(labels), key.Hi, key.Lo), key.Hi, key.Lo)
}

func (e *memoEntry) set(tag, check, hi, lo uint64) {
	e.tag.Store(tag)
	e.check.Store(check)
	e.hi.Store(hi)
	e.lo.Store(lo)
}

// free returns an entry where tag may stand and nothing does, nil if there is none.
func (t *memoTable) free(tag Key) *memoEntry {
	if e := t.home(tag).free(); e != nil {
		return e
	}
	return t.second(tag).free()
}

func (g *memoGroup) free() *memoEntry {
	for i := range g {
		if g[i].tag.Load()|g[i].hi.Load() == 0 {
			return &g[i]
		}
	}
	return nil
}

// grow returns a table half as large again as t, with what t holds; or t while somebody else makes one.
func (s *memoShard) grow(t *memoTable, limit int) *memoTable {
	if !s.mu.TryLock() {
		return t
	}
	defer s.mu.Unlock()
	if now := s.table.Load(); now != t {
		return now
	}
	bigger := &memoTable{groups: make([]memoGroup, min(limit, len(t.groups)*3/2+1))}
	for i := range t.groups {
		for j := range t.groups[i] {
			e := &t.groups[i][j]
			tag, check, hi, lo := e.tag.Load(), e.check.Load(), e.hi.Load(), e.lo.Load()
			if tag|hi == 0 {
				continue
			}
			if to := bigger.free(Key{tag ^ hi, masked(check, hi, lo)}); to != nil {
				to.set(tag, check, hi, lo)
				bigger.used.Add(1)
			}
		}
	}
	s.table.Store(bigger)
	return bigger
}

// Forget empties the next shard, so that what no longer comes does not stay: who calls it once a minute has nothing in it
// that is older than Memo.Shards minutes. What still comes is made anew at that price.
func (m *Memo) Forget() {
	s := &m.shards[(m.next.Add(1)-1)%memoShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	// Half of what it held, in entries: should as many come again, it grows twice.
	n := int(s.table.Load().used.Load()) / 2 / groupEntries
	s.table.Store(&memoTable{groups: make([]memoGroup, min(m.max, n+16))})
}

// Shards is how many calls of Forget empty a Memo.
func (m *Memo) Shards() int { return memoShards }

// Bytes is how much memory m holds.
func (m *Memo) Bytes() int {
	n := int(unsafe.Sizeof(*m))
	for i := range m.shards {
		n += len(m.shards[i].table.Load().groups) * int(unsafe.Sizeof(memoGroup{}))
	}
	return n
}
