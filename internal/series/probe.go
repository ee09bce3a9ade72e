package series

import "github.com/telemetry-gateway/telemetry-gateway/internal/labels"

// grouping is the numbers of what one call is about, in the order of their shards.
type grouping struct {
	shards []uint32 // of each
	order  []uint32 // numbers
	ends   []uint32 // where in order each shard ends
}

// ahead is how many places are looked up before the first of them is used.
const ahead = 32

// Probe calls visit with every one of keys that is there and its number, and then touches it. The order of visits is not
// that of keys. visit runs under a lock: it may call Route, At and Lookup, nothing else of the table.
func (t *Table) Probe(keys []labels.Key, now Minute, visit func(i int, e *Entry)) {
	t.advance(now)
	g := t.scratch.Get().(*grouping)
	shards := g.begin(len(keys))
	for i := range keys {
		shards[i] = uint32(t.shardOf(keys[i]))
	}
	for n, order := range g.each {
		t.entries[n].probe(t, keys, order, visit)
	}
	t.scratch.Put(g)
}

// begin returns room for the shards of n numbers.
func (g *grouping) begin(n int) (shards []uint32) {
	if cap(g.order) < n {
		both := make([]uint32, 2*n)
		g.shards, g.order = both[:n:n], both[n:]
	}
	g.shards, g.order = g.shards[:n], g.order[:n]
	return g.shards
}

// each calls f with each shard that has numbers, and with those: equal shards keep their order. It is a counting sort.
func (g *grouping) each(f func(shard int, order []uint32) bool) {
	clear(g.ends)
	for _, n := range g.shards {
		g.ends[n]++
	}
	begin := uint32(0)
	for n, count := range g.ends {
		g.ends[n] = begin // and becomes the end as the shard is filled
		begin += count
	}
	for i, n := range g.shards {
		g.order[g.ends[n]] = uint32(i)
		g.ends[n]++
	}
	begin = 0
	for n, end := range g.ends {
		if begin < end && !f(n, g.order[begin:end]) {
			return
		}
		begin = end
	}
}

// probe visits those of keys that order names, all of this shard. It looks where a number of them should be before it
// visits any, in loops that are short and have no branch that often goes either way: so the processor waits for the memory
// of many at once.
func (s *shard) probe(t *Table, keys []labels.Key, order []uint32, visit func(i int, e *Entry)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	minute := s.begin(t)
	if len(s.ctrl) == 0 {
		return
	}
	var (
		slots [ahead]*slot  // the first slot with the key's tag
		wrong [ahead]uint64 // 0: that slot is the key's, as it nearly always is
	)
	for len(order) > 0 {
		some := order[:min(len(order), ahead)]
		order = order[len(some):]
		for j, i := range some {
			k := t.cut(keys[i])
			g := home(k.Lo, len(s.ctrl))
			m := match(s.ctrl[g], tagOf(k))
			for m == 0 && !hasEmpty(s.ctrl[g]) { // for one of ten, and of words that are near
				if g++; g == len(s.ctrl) {
					g = 0
				}
				m = match(s.ctrl[g], tagOf(k))
			}
			slots[j], wrong[j] = s.slot(slotOf(g, m|1<<63)), ^(m|-m)>>63 // without a match: the last slot, and 1
		}
		for j, i := range some {
			k, at := t.cut(keys[i]), &slots[j].key
			wrong[j] |= (at.Hi ^ k.Hi) | (at.Lo ^ k.Lo)
		}
		for j, i := range some {
			at := slots[j]
			if wrong[j] != 0 {
				n := s.find(t.cut(keys[i]))
				if n < 0 {
					continue
				}
				at = s.slot(n)
			}
			if e := &at.Entry; !e.idle(minute) {
				visit(int(i), e)
				e.touch(minute)
			}
		}
	}
}

// Update calls visit with the entry of key, or a zero one if it is not there. If visit keeps it, it is stored and touched,
// else it is deleted, and Released is not told: the caller has settled that. visit is not called, and ok is false, if key
// is not there and the table is full. visit runs under a lock, as Probe's.
func (t *Table) Update(key labels.Key, now Minute, visit func(e *Entry, found bool) (keep bool)) (ok bool) {
	t.advance(now)
	key = t.cut(key)
	s := &t.entries[t.shardOf(key)]
	s.mu.Lock()
	defer s.mu.Unlock()
	minute := s.begin(t)
	i := s.find(key)
	if i >= 0 && s.slot(i).idle(minute) {
		s.remove(i)
		t.giveBack(1)
		t.forget(&s.slot(i).Entry)
		i = -1
	}
	if i >= 0 {
		e := &s.slot(i).Entry
		if visit(e, true) {
			e.touch(minute)
			return true
		}
		s.remove(i)
		t.giveBack(1)
		return true
	}
	if !t.reserve() {
		return false
	}
	s.fresh = Entry{}
	if !visit(&s.fresh, false) {
		t.giveBack(1)
		return true
	}
	s.fresh.touch(minute)
	s.insert(key, &s.fresh)
	return true
}
