package series

import "github.com/telemetry-gateway/telemetry-gateway/internal/labels"

// grouping is the keys of one call of Probe, in the order of their shards.
type grouping struct {
	order []uint32 // numbers of keys
	ends  []uint32 // where in order each shard ends
}

// Probe calls visit with every one of keys that is there and its number, and then touches it. The order of visits is not
// that of keys. visit runs under a lock: it may call Route, At and Lookup, nothing else of the table.
func (t *Table) Probe(keys []labels.Key, now Minute, visit func(i int, e *Entry)) {
	t.advance(now)
	g := t.scratch.Get().(*grouping)
	g.group(t, keys)
	begin := uint32(0)
	for n, end := range g.ends {
		if begin < end {
			t.entries[n].probe(t, keys, g.order[begin:end], visit)
		}
		begin = end
	}
	t.scratch.Put(g)
}

// group is a counting sort of keys by shard.
func (g *grouping) group(t *Table, keys []labels.Key) {
	if cap(g.order) < len(keys) {
		g.order = make([]uint32, len(keys))
	}
	g.order = g.order[:len(keys)]
	clear(g.ends)
	for i := range keys {
		g.ends[t.shardOf(keys[i])]++
	}
	begin := uint32(0)
	for n, count := range g.ends {
		g.ends[n] = begin // and becomes the end as the shard is filled
		begin += count
	}
	for i := range keys {
		end := &g.ends[t.shardOf(keys[i])]
		g.order[*end] = uint32(i)
		*end++
	}
}

// probe visits those of keys that order names, all of this shard. It looks where a number of them should be before it
// visits any, in loops that are short and have no branch that could go either way: so the processor waits for the memory
// of many at once.
func (s *shard) probe(t *Table, keys []labels.Key, order []uint32, visit func(i int, e *Entry)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	minute := s.begin(t)
	var (
		slots [32]int    // the first slot of the key's home group with its tag
		wrong [32]uint64 // 0: that slot is the key's, as it is for nine of ten
	)
	for len(order) > 0 {
		some := order[:min(len(order), len(slots))]
		order = order[len(some):]
		for j, i := range some {
			k := t.cut(keys[i])
			g := home(k.Lo, len(s.ctrl))
			m := match(s.ctrl[g], tagOf(k))
			slots[j], wrong[j] = slotOf(g, m|1<<63), ^(m|-m)>>63 // without a match: the last slot, and 1
		}
		for j, i := range some {
			k, at := t.cut(keys[i]), &s.slots[slots[j]].key
			wrong[j] |= (at.Hi ^ k.Hi) | (at.Lo ^ k.Lo)
		}
		for j, i := range some {
			at := slots[j]
			if wrong[j] != 0 {
				if at = s.find(t.cut(keys[i])); at < 0 {
					continue
				}
			}
			if e := &s.slots[at].Entry; !e.idle(minute) {
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
	if i >= 0 && s.slots[i].idle(minute) {
		s.remove(i)
		t.giveBack(1)
		t.forget(&s.slots[i].Entry)
		i = -1
	}
	if i >= 0 {
		e := &s.slots[i].Entry
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
