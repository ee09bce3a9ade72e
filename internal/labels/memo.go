package labels

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

// Memo remembers the keys of series by the bytes in which they came, so that a series which comes again as it came before
// need not be walked. It forgets whenever it likes: what it does not know is made anew. It is bounded. Any number of
// goroutines may use it, and none that asks waits for another.
//
// Senders send their series in the same order each time. So entries stand in pages in the order in which they were learned,
// and whoever asks looks first at what follows the entry that he found last: in memory that the processor has fetched already.
// Only where that fails is an index asked, of which each answer is a few cache lines that nobody has touched for long.
//
// An entry is written once, by the one who was given its place, and then never changes. Its first word is written last: whoever
// finds that sees all of it. A page is forgotten whole.
//
// Is what is found ever another's? The index is asked about 10 tag bits that are in none of the 79 that an entry has: of tags
// that were never learned, any of a million entries is taken for one in 2^69 times. Were there 10 million such a second, that
// would be once in two million years; and nobody can bring it about, since tags are hashes that nobody foresees.
type Memo struct {
	// pages by number, nil where none is. There is no page 0. Those with equal numbers modulo memoShards are forgotten together.
	pages []atomic.Pointer[memoPage]
	open  atomic.Pointer[memoPage] // the one that is being filled
	spare atomic.Int64             // how many numbers are free

	mu   sync.Mutex // guards what follows, and changes of open; held for a moment
	free []uint32   // numbers without a page; the last comes next

	index [memoShards]memoShard
	// most is how many slots a shard may have.
	most int

	forgetting sync.Mutex // guards turn
	turn       uint32     // which pages Forget takes next
}

const (
	// memoShards is in how many steps the index grows and all is forgotten: no push waits for more than a part of it.
	memoShards = 16
	shardBits  = 4
	// Ahead is how many tags may be asked about at once.
	Ahead = 32
	// countBits are those bits of a tag in whose place an entry has the number of labels.
	countBits = 16
	// maxEntries is how many can be told apart by place.
	maxEntries = (1<<(placeBits-atBits) - 1) * pageEntries
)

// NewMemo returns a Memo of so many entries at most, or a page of them, of 34 bytes each. It does not remember more than
// four million.
func NewMemo(entries int) *Memo {
	entries = min(max(entries, 1), maxEntries)
	n := (entries + pageEntries - 1) / pageEntries
	m := &Memo{
		pages: make([]atomic.Pointer[memoPage], n+1),
		free:  make([]uint32, n),
		// No shard has its share exactly, and some slots are of pages that are gone.
		most: n*pageEntries/memoShards*4/3 + 64,
	}
	for i := range m.free {
		m.free[i] = uint32(n - i)
	}
	m.spare.Store(int64(n))
	for i := range m.index {
		// Each begins a little larger than the last, and so they do not grow all at once.
		m.index[i].table.Store(newMemoTable(40+i, m.most))
	}
	return m
}

// Recalled is what was learned of a series.
type Recalled struct {
	Key Key
	// Labels is how many there are; negative: nothing is known.
	Labels int
}

// recall fills out with what is stored for tags, of which there are no more than Ahead. c is where the push is.
func (m *Memo) recall(c *memoCursor, tags []Key, out []Recalled) {
	for len(tags) > 0 {
		n := m.follow(c, tags, out)
		if n == 0 {
			// What was learned later is among what was learned at first, and both go on.
			c.at, c.other = c.other, c.at
			n = m.follow(c, tags, out)
		}
		if n == 0 {
			if c.lost++; c.lost > patience {
				m.recallEach(c, tags, out)
				return
			}
			c.jump(m.find(tags[0], &out[0]))
			n = 1
		}
		tags, out = tags[n:], out[n:]
	}
}

// recallEach is recall for tags in no order that is known. The memory of many is waited for at once: first that of the index,
// in a loop so short that the processor goes on to the next while it waits, and then that of what the index says.
func (m *Memo) recallEach(c *memoCursor, tags []Key, out []Recalled) {
	var tables [memoShards]*memoTable
	for i := range tables {
		tables[i] = m.index[i].table.Load()
	}
	for _, tag := range tags {
		t := tables[tag.Hi>>(64-shardBits)]
		t.slots[t.home(tag.Hi)].Load()
	}
	var places [Ahead]uint32
	for i, tag := range tags {
		place := tables[tag.Hi>>(64-shardBits)].first(tag)
		if p := m.page(place); p != nil {
			p.entries[place&atMask].check.Load()
		}
		places[i] = place
	}
	for i, tag := range tags {
		place := places[i]
		switch {
		case place == 0:
			out[i] = Recalled{Labels: -1}
		case m.read(place, tag, &out[i]):
		default:
			place = m.find(tag, &out[i])
		}
		if place == c.at {
			c.lost = 0
		}
		c.jump(place)
	}
}

// learn stores key and the number of labels for tag, if there is room.
func (m *Memo) learn(c *memoCursor, tag, key Key, labels int) {
	s := &m.index[tag.Hi>>(64-shardBits)]
	t := s.table.Load()
	if t.used.Load() >= t.most() {
		if t = m.rebuild(s, t); t.used.Load() >= t.most() {
			return
		}
	}
	var known Recalled
	if m.find(tag, &known) != 0 {
		return // another push has learned it
	}
	p, at := m.reserve(c)
	if p == nil {
		return
	}
	p.write(at, tag, key, labels)
	t.put(tag, p.place(at))
}

// Forget forgets a part, so that what no longer comes does not stay: who calls it once a minute has nothing in it that is
// older than Memo.Shards minutes. What still comes is made anew at that price, and gets the places that have become free: so it
// is forgotten again when as many minutes have gone by, and each minute has its share of the work.
func (m *Memo) Forget() {
	m.forgetting.Lock()
	defer m.forgetting.Unlock()
	m.turn++
	var gone []uint32
	m.mu.Lock()
	for n := len(m.pages) - 1; n > 0; n-- {
		if p := m.pages[n].Load(); p != nil && uint32(n)%memoShards == m.turn%memoShards {
			m.pages[n].Store(nil)
			m.open.CompareAndSwap(p, nil)
			gone = append(gone, uint32(n))
		}
	}
	m.mu.Unlock()
	if len(gone) == 0 {
		return
	}
	for i := range m.index {
		m.sweep(&m.index[i])
	}
	// Only now may there be others of these numbers: the index has nothing that leads there.
	m.mu.Lock()
	m.free = append(m.free, gone...)
	m.spare.Add(int64(len(gone)))
	m.mu.Unlock()
}

// Shards is how many calls of Forget empty a Memo.
func (m *Memo) Shards() int { return memoShards }

// Bytes is how much memory m holds.
func (m *Memo) Bytes() int {
	n := int(unsafe.Sizeof(*m)) + len(m.pages)*int(unsafe.Sizeof(m.pages[0])) + (len(m.pages)-1)*4
	n += (len(m.pages) - 1 - int(m.spare.Load())) * pageBytes
	for i := range m.index {
		n += len(m.index[i].table.Load().slots) * 4
	}
	return n
}
