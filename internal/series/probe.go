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

// probe visits those of keys that order names, all of this shard: some at once, so that the processor waits for the memory of
// many together.
func (s *shard) probe(t *Table, keys []labels.Key, order []uint32, visit func(i int, e *Entry)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	minute := s.begin(t)
	if s.live == 0 {
		return
	}
	var found [ahead]int32
	for len(order) > 0 {
		some := order[:min(len(order), ahead)]
		order = order[len(some):]
		s.seek(t, keys, some, &found)
		for j, i := range some {
			if found[j] < 0 {
				continue
			}
			if e := &s.at(int(found[j])).value; !e.idle(minute) {
				visit(int(i), e)
				e.touch(minute)
			}
		}
	}
}

const (
	// window is how many places are looked at before the index is asked: the series of pushes that came together for the first
	// time stand between each other's.
	window = 8
	// maxJumps is how many keys in a row are looked for elsewhere, one by one, before there is no order to be seen in them.
	maxJumps = 2
)

// seek finds the places of those of keys that some names, -1 where there is none.
//
// Senders send their series in the same order each time, which is the order of places. So a key is looked for behind the one
// before, in memory that the processor has fetched already, and only if it is not there by the index. If that leads nowhere
// more than once there is no order, and what is missing is looked up together.
func (s *shard) seek(t *Table, keys []labels.Key, some []uint32, found *[ahead]int32) {
	var missing [ahead]uint8
	missed, jumps, next, places := 0, 0, s.next, s.places()
	for j, i := range some {
		if next >= places {
			next = 0 // who has sent all begins again
		}
		k, n := t.cut(keys[i]), next
		if r := s.at(n); r.key == k && r.value.stamp != 0 {
			jumps = 0
		} else if jumps == maxJumps {
			missing[missed] = uint8(j)
			missed++
			continue
		} else if n = s.near(n+1, k); n >= 0 {
			jumps = 0
		} else {
			n = s.find(k)
			jumps++
		}
		if found[j] = int32(n); n >= 0 {
			next = n + 1
		}
	}
	if missed > 0 {
		s.lookUp(t, keys, some, missing[:missed], found)
		if last := found[missing[missed-1]]; last >= 0 {
			next = int(last) + 1
		}
	}
	s.next = next
}

// near returns the place of k if it is one of the window that goes on with place at, else -1.
func (s *shard) near(at int, k labels.Key) int {
	for end := min(at+window-1, s.places()); at < end; at++ {
		if r := s.at(at); r.key == k && r.value.stamp != 0 {
			return at
		}
	}
	return -1
}

// lookUp finds by the index those of some that missing names. Its loops are short, so that the processor waits for the words of
// many at once, and then for their records.
func (s *shard) lookUp(t *Table, keys []labels.Key, some []uint32, missing []uint8, found *[ahead]int32) {
	var (
		homes [ahead]int32
		words [ahead]uint32
	)
	for _, j := range missing {
		h := home(t.cut(keys[some[j]]).Lo, len(s.index))
		homes[j], words[j] = int32(h), s.index[h]
	}
	for _, j := range missing {
		k := t.cut(keys[some[j]])
		i := placeIn(words[j])
		if !alike(words[j], k) {
			i, _ = s.match(k, int(homes[j]))
		}
		found[j] = int32(i)
	}
	for _, j := range missing {
		k := t.cut(keys[some[j]])
		if i := int(found[j]); i >= 0 && s.at(i).key != k {
			found[j] = int32(s.find(k))
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
	if i < 0 {
		return s.create(t, key, minute, visit)
	}
	e := &s.at(i).value
	found := !e.idle(minute)
	if !found {
		// It is made anew in its old place, which is where its sender's others are.
		t.forget(e)
		*e = Entry{}
	}
	if visit(e, found) {
		e.touch(minute)
	} else {
		s.remove(i)
		t.giveBack(1)
	}
	return true
}

// create is Update for a key that is not there.
func (s *shard) create(t *Table, key labels.Key, minute uint32, visit func(e *Entry, found bool) (keep bool)) (ok bool) {
	if s.live >= t.most || !t.reserve() {
		return false
	}
	s.fresh = Entry{}
	if !visit(&s.fresh, false) {
		t.giveBack(1)
		return true
	}
	s.fresh.touch(minute)
	s.at(s.add(key)).value = s.fresh
	return true
}
