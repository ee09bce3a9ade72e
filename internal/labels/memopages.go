package labels

import "sync/atomic"

const (
	// pageEntries is as many as fit with what else a page has into pageBytes, of which the allocator gives no more.
	pageEntries = 511
	pageBytes   = 14336
	// A place is the number of a page, and in the low atBits where in it an entry stands.
	atBits = 9
	atMask = 1<<atBits - 1
	// window is how many entries are looked at for the one that comes next. Pushes that learn at the same time stand in between
	// each other, and a series that comes no more stays where it was.
	window = 4
	// patience is how many series in a row may be looked up one by one. The rest of a batch is then looked up all at once.
	patience = 2
	// reserved is how many places a push takes at once. It takes no more than it has learned already, so that of its places it
	// leaves no more than half unused.
	reserved = 32
)

// memoPage holds entries in order of arrival.
type memoPage struct {
	entries [pageEntries]memoEntry
	// marks are of the entries: bits of the low word of the tag, and in the low countBits how many labels there are.
	marks  [pageEntries]uint32
	number uint32
	next   atomic.Uint32 // the number of the page that was begun when this one was full
	taken  atomic.Uint32 // places that have been given away; more than there are when it is full
}

type memoEntry struct {
	check atomic.Uint64 // the high word of the tag, made odd. 0: nothing stands here, or not yet.
	key   Key
}

func checkOf(tag Key) uint64 { return tag.Hi | 1 }

// markOf is the mark of an entry with no labels.
func markOf(tag Key) uint32 { return uint32(tag.Lo) &^ (1<<countBits - 1) }

func (p *memoPage) place(at uint32) uint32 { return p.number<<atBits | at }

// write fills a place that is the caller's alone.
func (p *memoPage) write(at uint32, tag, key Key, labels int) {
	e := &p.entries[at]
	e.key = key
	p.marks[at] = markOf(tag) | uint32(labels)
	e.check.Store(checkOf(tag))
}

// read fills out with what stands at a place, if that is of tag.
func (p *memoPage) read(at uint32, tag Key, out *Recalled) bool {
	e := &p.entries[at]
	if e.check.Load() != checkOf(tag) {
		return false
	}
	labels := p.marks[at] ^ markOf(tag)
	if labels >= 1<<countBits {
		return false
	}
	*out = Recalled{e.key, int(labels)}
	return true
}

// page returns the page of a place, nil if there is none.
func (m *Memo) page(place uint32) *memoPage {
	n := place >> atBits
	if int(n) >= len(m.pages) {
		return nil
	}
	return m.pages[n].Load()
}

// read fills out with what stands at a place, if that is of tag.
func (m *Memo) read(place uint32, tag Key, out *Recalled) bool {
	p := m.page(place)
	return p != nil && p.read(place&atMask, tag, out)
}

// memoCursor is where a push is in a Memo. What it reads it remembers by place, not by page: what has been forgotten is not
// found.
type memoCursor struct {
	at    uint32 // the place after what was found last. There is nothing at 0.
	other uint32 // the same, where it was before it jumped
	lost  uint32 // how many in a row stood at neither

	filling   *memoPage // in which the places from next to end are the push's. Written to only while it is there.
	next, end uint32
	learned   uint32
}

// jump goes on behind place, if there is one, and leaves other as it is.
func (c *memoCursor) jump(place uint32) {
	if place != 0 {
		c.at = place + 1
	}
}

// follow fills out as long as each of tags stands in the window behind the one before, and says how many do.
func (m *Memo) follow(c *memoCursor, tags []Key, out []Recalled) (n int) {
	at := c.at
	for n < len(tags) {
		p := m.page(at)
		if p == nil {
			return n
		}
		found, next := p.follow(at&atMask, tags[n:], out[n:])
		if n += found; found > 0 {
			c.at, c.lost = p.place(next), 0
		} else if at != c.at {
			return n // nor in the next page
		}
		if next+window <= pageEntries {
			return n
		}
		at = p.next.Load() << atBits
	}
	return n
}

// follow is Memo.follow in one page. end is where it is at the end.
func (p *memoPage) follow(at uint32, tags []Key, out []Recalled) (n int, end uint32) {
	for n < len(tags) && at < pageEntries {
		tag, o := tags[n], &out[n]
		next, last := at, min(at+window, pageEntries)
		for !p.read(next, tag, o) {
			if next++; next == last {
				return n, at
			}
		}
		at = next + 1
		n++
	}
	return n, at
}

// reserve returns a place for the next entry of a push: where in which page. nil: there is none.
func (m *Memo) reserve(c *memoCursor) (*memoPage, uint32) {
	for c.next >= c.end || m.pages[c.filling.number].Load() != c.filling {
		c.next, c.end = 0, 0
		p := m.open.Load()
		if p == nil || p.taken.Load() >= pageEntries {
			if p = m.begin(p); p == nil {
				return nil, 0
			}
		}
		n := min(max(c.learned, 1), reserved)
		if at := p.taken.Add(n) - n; at < pageEntries {
			c.filling, c.next, c.end = p, at, min(at+n, pageEntries)
		}
	}
	c.learned++
	c.next++
	return c.filling, c.next - 1
}

// begin begins a page after full, or returns the one that somebody else has begun. nil: there may be no more, or not now.
func (m *Memo) begin(full *memoPage) *memoPage {
	if m.spare.Load() == 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.open.Load(); p != full {
		return p
	}
	if len(m.free) == 0 {
		return nil
	}
	last := len(m.free) - 1
	p := &memoPage{number: m.free[last]}
	m.free = m.free[:last]
	m.spare.Add(-1)
	m.pages[p.number].Store(p)
	if full != nil {
		full.next.Store(p.number)
	}
	m.open.Store(p)
	return p
}
