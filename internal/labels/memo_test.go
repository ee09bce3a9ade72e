package labels

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// recall asks about one tag.
func recall(h *Hasher, tag Key) (Key, int) {
	var out [1]Recalled
	h.Recall([]Key{tag}, out[:])
	return out[0].Key, out[0].Labels
}

// remembering is a Hasher of a new Memo, to be copied for each push.
func remembering(entries int) *Hasher {
	return NewHasher(NewSeed(), Key{}, nil).Use(NewMemo(entries))
}

// series makes the tag, key and number of labels of the nth series.
func series(h *Hasher, n int) (tag, key Key, labels int) {
	b := binary.LittleEndian.AppendUint64(nil, uint64(n))
	return h.Tag(b), h.Sum(Own, nil, b), n % 1000
}

// pass recalls some series in one push of h, learns those that are not known, and says how many were.
func pass(t testing.TB, h *Hasher, some []int) (known int) {
	t.Helper()
	push := *h
	for batch := range slices.Chunk(some, Ahead) {
		known += passBatch(t, &push, batch)
	}
	return known
}

func passBatch(t testing.TB, push *Hasher, some []int) (known int) {
	t.Helper()
	var out [Ahead]Recalled
	var tags [Ahead]Key
	for i, n := range some {
		tags[i], _, _ = series(push, n)
	}
	push.Recall(tags[:len(some)], out[:])
	for i, n := range some {
		tag, key, labels := series(push, n)
		if out[i].Labels < 0 {
			push.Learn(tag, key, labels)
		} else if known++; out[i] != (Recalled{key, labels}) {
			t.Errorf("recalled %x for series %d, want %x with %d labels", out[i], n, key, labels)
		}
	}
	return known
}

func upTo(n int) []int {
	some := make([]int, n)
	for i := range some {
		some[i] = i
	}
	return some
}

func TestMemo(t *testing.T) {
	seed := NewSeed()
	m := NewMemo(1 << 10)
	space := seed.Text(Space, "prod", "metrics")
	plain := NewHasher(seed, space, nil).Use(m)
	if _, n := recall(plain, plain.Tag([]byte("up"))); n >= 0 {
		t.Error("known before it was learned")
	}
	key := Key{1 << 63, 7}
	plain.Learn(plain.Tag([]byte("up")), key, 13)
	if k, n := recall(plain, plain.Tag([]byte("up"))); k != key || n != 13 {
		t.Errorf("recalled %x with %d labels", k, n)
	}
	plain.Learn(plain.Tag(nil), Key{}, 0)
	if k, n := recall(plain, plain.Tag(nil)); k != (Key{}) || n != 0 {
		t.Errorf("recalled %x with %d labels", k, n)
	}
	plain.Learn(plain.Tag([]byte("many")), key, 1<<countBits)
	if _, n := recall(plain, plain.Tag([]byte("many"))); n >= 0 {
		t.Errorf("learned more labels than can be written down: %d", n)
	}
	for what, h := range map[string]*Hasher{
		"another space":  NewHasher(seed, seed.Text(Space, "dev", "metrics"), nil).Use(m),
		"a stamp":        NewHasher(seed, space, []Label{{"a", "b"}}).Use(m),
		"another memo":   NewHasher(seed, space, nil).Use(NewMemo(1 << 10)),
		"no memo at all": NewHasher(seed, space, nil),
	} {
		if _, n := recall(h, h.Tag([]byte("up"))); n >= 0 {
			t.Errorf("%s knows it too", what)
		}
	}
	for range m.Shards() {
		m.Forget()
	}
	if _, n := recall(plain, plain.Tag([]byte("up"))); n >= 0 {
		t.Error("it was not forgotten")
	}
}

// Tags that differ in one bit of what an entry has of them are different, and those of zeros are like others.
func TestMemoComparesTags(t *testing.T) {
	h := remembering(100)
	tags := []Key{{}, {0, 1 << 31}, {0, 1 << countBits}, {1 << 63, 0}, {2, 0}, {^uint64(0), ^uint64(0)}}
	first, _, _ := series(h, 0)
	h.Learn(first, Key{}, 0)
	for i, tag := range tags {
		push := *h
		if _, n := recall(&push, first); n < 0 {
			t.Fatal("what was learned first is not known")
		}
		// What comes now is looked for where nothing stands yet, too.
		if k, n := recall(&push, tag); n >= 0 {
			t.Errorf("%x is known before it was learned: %x", tag, k)
		}
		push.Learn(tag, Key{1, uint64(i)}, i)
	}
	for i, tag := range tags {
		push := *h
		if k, n := recall(&push, tag); k != (Key{1, uint64(i)}) || n != i {
			t.Errorf("recalled %x with %d labels for %x", k, n, tag)
		}
	}
}

// Every byte counts, and every length.
func TestTags(t *testing.T) {
	h := remembering(0)
	seen := map[Key]bool{}
	add := func(b []byte) {
		tag := h.Tag(b)
		if seen[tag] || tag != h.Tag(b) {
			t.Errorf("the tag of %x is another's", b)
		}
		seen[tag] = true
	}
	for n := range 150 {
		b := make([]byte, n)
		add(b)
		for i := range b {
			b[i] = 1
			add(b)
			b[i] = 0
		}
	}
}

// A Memo is bounded. It knows all while they fit, and as many as fit of more, even if they come round and round; and nearly
// that while it forgets a sixteenth a minute, in whole pages.
func TestMemoHolds(t *testing.T) {
	f := func(bound, n int, least float64) {
		t.Helper()
		h := remembering(bound)
		all := upTo(n)
		for minute := range 20 {
			want := least
			if minute > 4 {
				h.memo.Forget()
				want -= 0.13 * least
			}
			if got := float64(pass(t, h, all)) / float64(n); minute > 0 && got < want {
				t.Errorf("minute %d: of %d entries in a memo of %d it knows %g, want %g", minute, n, bound, got, want)
			}
			if most := 34*(bound+pageEntries) + 10<<10; h.memo.Bytes() > most {
				t.Errorf("%d bytes for %d entries, want %d at most", h.memo.Bytes(), bound, most)
			}
		}
	}
	f(1<<13, 1<<12, 1)
	f(1<<13, 1<<13, 1)
	f(1<<13, 9000, 0.91)
	f(1<<12, 3<<12, 0.33)
	f(0, 100, 0)
}

// What comes in the order in which it was learned is found without the index.
func TestMemoFollows(t *testing.T) {
	f := func(what string, h *Hasher, at int, some []int) {
		t.Helper()
		push := *h
		if known := passBatch(t, &push, some[at:at+2]); known != 2 {
			t.Fatalf("%s: the first are not known", what)
		}
		for i := range h.memo.index {
			h.memo.index[i].table.Store(newMemoTable(0, 100))
		}
		known := 2
		for batch := range slices.Chunk(some[at+2:], Ahead) {
			known += passBatch(t, &push, batch)
		}
		if known != len(some)-at {
			t.Errorf("%s: %d of %d were found", what, known, len(some)-at)
		}
	}
	h := remembering(1 << 14)
	pass(t, h, upTo(5000))
	f("one push", h, 100, upTo(5000))

	h = remembering(1 << 14)
	some := upTo(5000)
	pass(t, h, slices.DeleteFunc(slices.Clone(some), func(n int) bool { return n%7 == 1 }))
	pass(t, h, some)
	f("with new ones in between", h, 0, some)

	h = remembering(1 << 14)
	pass(t, h, upTo(5000))
	f("every third", h, 0, slices.DeleteFunc(upTo(5000), func(n int) bool { return n%3 > 0 }))
}

// Pushes that learn at the same time have runs of places each, and one that learns a little leaves no gaps.
func TestMemoGivesRuns(t *testing.T) {
	h := remembering(1 << 14)
	a, b := *h, *h
	for i := range 3200 {
		passBatch(t, &a, []int{i})
		passBatch(t, &b, []int{i + 10_000})
	}
	jumps, last := 0, uint32(0)
	for i := range 3200 {
		tag, _, _ := series(h, i)
		place := h.memo.find(tag, new(Recalled))
		if place != last+1 {
			jumps++
		}
		last = place
	}
	if jumps > 3200/reserved+3200*2/pageEntries+10 {
		t.Errorf("3200 series that were learned beside 3200 others are in %d pieces", jumps)
	}

	h = remembering(1 << 14)
	for i := range 10 * pageEntries {
		pass(t, h, []int{i})
		tag, key, labels := series(h, i)
		h.Learn(tag, key, labels) // as another push does that has met it at the same time
	}
	if pages := len(h.memo.pages) - 1 - int(h.memo.spare.Load()); pages != 10 {
		t.Errorf("%d pages hold what has room in 10", pages)
	}
}

// Whatever comes is found in whatever order.
func TestMemoFindsInAnyOrder(t *testing.T) {
	const n = 5000
	f := func(what string, learned, asked []int) {
		t.Helper()
		h := remembering(2 * n)
		pass(t, h, learned)
		if known := pass(t, h, asked); known != n {
			t.Errorf("%s: %d of %d are known", what, known, n)
		}
		if known := pass(t, h, learned); known != n {
			t.Errorf("%s: then %d of %d are known", what, known, n)
		}
	}
	order := upTo(n)
	reversed := slices.Clone(order)
	slices.Reverse(reversed)
	random := rand.Perm(n)
	var woven []int
	for i := range n / 2 {
		woven = append(woven, i, n/2+i)
	}
	f("in order", order, order)
	f("reversed", order, reversed)
	f("random", order, random)
	f("in an order that was random", random, random)
	f("woven", order, woven)
	f("apart", woven, order)
}

// A minute's share is forgotten each time, nothing is older than it may be, and the memory is given back.
func TestMemoForgets(t *testing.T) {
	const n = 32 * pageEntries
	h := remembering(2 * n)
	all := upTo(n)
	pass(t, h, all)
	learned := make([]int, n) // when, in minutes
	sum := 0
	const minutes = 24
	for minute := 1; minute <= minutes; minute++ {
		free := h.memo.spare.Load()
		h.memo.Forget()
		was, most := 0, int(h.memo.spare.Load()-free)*pageEntries
		for _, i := range all {
			push := *h
			tag, key, labels := series(h, i)
			if _, n := recall(&push, tag); n >= 0 {
				if minute-learned[i] >= h.memo.Shards() {
					t.Fatalf("minute %d: series %d is known since minute %d", minute, i, learned[i])
				}
				continue
			}
			was++
			push.Learn(tag, key, labels)
			learned[i] = minute
		}
		if was < n/memoShards/2 || was > n/memoShards*2 || was > most {
			t.Errorf("minute %d: %d of %d were forgotten, want about a sixteenth, and no more than %d", minute, was, n, most)
		}
		sum += was
	}
	if most := n * minutes / h.memo.Shards() * 5 / 4; sum > most {
		t.Errorf("%d were forgotten in %d minutes, want %d: each of %d once in %d", sum, minutes, most, n, h.memo.Shards())
	}
	for range h.memo.Shards() {
		h.memo.Forget()
	}
	if h.memo.Bytes() > 16<<10 || h.memo.open.Load() != nil {
		t.Errorf("%d bytes are kept of nothing", h.memo.Bytes())
	}
}

// A push that is in a page when that is forgotten neither reads nor writes what has come in its place.
func TestMemoForgetsUnderAPush(t *testing.T) {
	h := remembering(1) // so that there is but one page
	old := *h
	for i := range 40 {
		passBatch(t, &old, []int{i})
	}
	if old.cursor.next >= old.cursor.end || old.cursor.filling == nil {
		t.Fatal("the push has no places of its own")
	}
	for range h.memo.Shards() {
		h.memo.Forget()
	}
	if known := passBatch(t, &old, []int{0, 1, 39}); known != 0 {
		t.Errorf("%d are still known", known)
	}
	for range h.memo.Shards() {
		h.memo.Forget()
	}
	pass(t, h, upTo(1000)[900:])
	for i := range 40 {
		passBatch(t, &old, []int{i})
	}
	if known := pass(t, h, upTo(1000)[900:]); known != 100 {
		t.Errorf("%d of 100 are known that were learned in the new page", known)
	}
	if known := pass(t, h, upTo(40)); known != 40 {
		t.Errorf("%d of 40 are known that were learned by the old push", known)
	}
}

// Every place of the largest Memo that there may be has room in a slot.
func TestMemoPlaces(t *testing.T) {
	m := NewMemo(1 << 30)
	p := memoPage{number: uint32(len(m.pages) - 1)}
	tag, place := Key{^uint64(0), ^uint64(0)}, p.place(pageEntries-1)
	if slot := slotOf(tag, place); slot&placeMask != place || place < 4<<20-1<<14 {
		t.Errorf("the slot of place %x is %x", place, slot)
	}
}

func TestMemoBytes(t *testing.T) {
	for _, n := range []int{30_000, 80_000} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		h := remembering(1 << 17)
		for i := 0; i < n; i += 2000 {
			push := *h
			for j := i; j < i+2000; j++ {
				tag, key, labels := series(&push, j)
				push.Learn(tag, key, labels)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		said, held := float64(h.memo.Bytes()), float64(after.HeapAlloc)-float64(before.HeapAlloc)
		if said < 0.97*held || said > 1.03*held {
			t.Errorf("%d entries take %.0f bytes, and %.0f are said", n, held, said)
		}
		if said > 37*float64(n) {
			t.Errorf("%.0f bytes for %d entries", said, n)
		}
	}
}

func TestMemoAllocatesNothing(t *testing.T) {
	h := remembering(1 << 14)
	some := upTo(2000)
	pass(t, h, some)
	tags := make([]Key, Ahead)
	for i := range tags {
		tags[i], _, _ = series(h, i*61) // by the index
	}
	var out [Ahead]Recalled
	push := *h
	if n := testing.AllocsPerRun(100, func() {
		push.Recall(tags, out[:])
		push.Learn(tags[0], out[0].Key, 1)
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

// Whoever reads while others write and forget gets what was learned of what he asks for, or nothing.
func TestMemoTogether(t *testing.T) {
	const pushes, each = 40, 1500
	h := remembering(4 * pageEntries) // not enough for all
	var all sync.WaitGroup
	var known atomic.Int64
	for g := range 4 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(g)))
			for range pushes {
				some := upTo(each)
				switch random.IntN(4) {
				case 0:
					random.Shuffle(each, func(i, j int) { some[i], some[j] = some[j], some[i] })
				case 1:
					for i := range some {
						some[i] += g * each
					}
				}
				known.Add(int64(pass(t, h, some)))
				if random.IntN(4) == 0 {
					h.memo.Forget()
				}
			}
		})
	}
	var scrape sync.WaitGroup
	var done atomic.Bool
	most := 0
	scrape.Go(func() {
		for !done.Load() {
			most = max(most, h.memo.Bytes())
		}
	})
	all.Wait()
	done.Store(true)
	scrape.Wait()
	if bound := 4*pageBytes + 20<<10; most > bound {
		t.Errorf("%d bytes for 4 pages, want %d at most", most, bound)
	}
	if known.Load() < pushes*each {
		t.Errorf("of %d that were asked for %d were known", 4*pushes*each, known.Load())
	}
}
