package series

import (
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// get returns what the table holds of k, by the way that pushes go; it touches.
func get(t *Table, k labels.Key, now Minute) (e Entry, found bool) {
	t.Probe([]labels.Key{k}, now, func(_ int, got *Entry) { e, found = *got, true })
	return e, found
}

func mustPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got, _ := recover().(string); !strings.Contains(got, want) {
			t.Errorf("panic %q, want %q in it", got, want)
		}
	}()
	f()
}

func TestEntry(t *testing.T) {
	var e Entry
	f := func(kind Kind, value, generation, wantGeneration uint32) {
		t.Helper()
		before := e.stamp & 0xff
		e.Set(kind, value, generation)
		if e.Kind() != kind || e.Value() != value || e.Generation() != wantGeneration || e.stamp&0xff != before {
			t.Errorf("set %d %d %d: got %d %d %d, minute %d", kind, value, generation, e.Kind(), e.Value(), e.Generation(), e.stamp&0xff)
		}
	}
	f(Counted, 0, 0, 0)
	f(Dropped, 1<<29-1, 1<<24-1, 1<<24-1)
	e.touch(touched(239))
	f(Routed, 5, 1<<24+3, 3)
	f(Dropped, 0, 0, 0)
	mustPanic(t, "BUG: kind 1 with value 536870912", func() { e.Set(Counted, 1<<29, 0) })
	mustPanic(t, "BUG: kind 8", func() { e.Set(8, 0, 0) })
}

func TestSizes(t *testing.T) {
	f := func(what string, got, want uintptr) {
		t.Helper()
		if got != want {
			t.Errorf("%s has %d bytes, want %d", what, got, want)
		}
	}
	f("Entry", unsafe.Sizeof(Entry{}), 16)
	f("page of entries", unsafe.Sizeof(page[Entry]{}), 8<<10)
	f("page of outputs", unsafe.Sizeof(page[Output]{}), 16<<10)
	f("shard", unsafe.Sizeof(shard{}), 128)
	f("outputs", unsafe.Sizeof(outputs{}), 128)
}

func TestNewEpoch(t *testing.T) {
	f := func(last, now Minute, want bool) {
		t.Helper()
		var e Entry
		e.touch(touched(last))
		if got := e.NewEpoch(now); got != want {
			t.Errorf("touched at %d, now %d: %v, want %v", last, now, got, want)
		}
	}
	f(0, 0, false)
	f(0, 9, false)
	f(9, 10, true)
	f(10, 19, false)
	f(229, 230, true)
	f(239, 240, true)
	f(240, 249, false)
	f(475, 479, false)
	f(479, 480, true)
	if !new(Entry).NewEpoch(0) {
		t.Error("what was never touched is not in a new epoch")
	}
}

func TestIdleIsGoneBeforeSweep(t *testing.T) {
	for _, begin := range []Minute{0, 225, 239, 1000} {
		var refs []uint32
		tab := New(Options{MaxEntries: 10, Released: func(ref, _ uint32) { refs = append(refs, ref) }})
		k := keyOf(1)
		put := func(now Minute, ref uint32) (found bool) {
			tab.Update(k, now, func(e *Entry, there bool) bool {
				found = there
				e.Ref = ref
				return counted(e, there)
			})
			return found
		}
		put(begin, 1)
		if e, found := get(tab, k, begin+20); !found || e.Ref != 1 {
			t.Fatalf("from %d: not there after 20 minutes: %+v", begin, e)
		}
		if _, found := get(tab, k, begin+41); found {
			t.Fatalf("from %d: there after 21 minutes", begin)
		}
		if put(begin+41, 2) {
			t.Fatalf("from %d: found by Update after 21 minutes", begin)
		}
		if len(refs) != 1 || refs[0] != 1 || tab.Len() != 1 {
			t.Fatalf("from %d: released %v, Len %d: want ref 1 alone, and 1", begin, refs, tab.Len())
		}
	}
}

func TestFull(t *testing.T) {
	tab := New(Options{MaxEntries: 3})
	f := func(n uint64, kind string, want bool) {
		t.Helper()
		ok := false
		if kind == "output" {
			_, ok = tab.Route(keyOf(n), 0, func(*Output, bool) {})
		} else {
			ok = tab.Update(keyOf(n), 0, counted)
		}
		if ok != want {
			t.Errorf("%s %d: ok=%v with %d of 3", kind, n, ok, tab.Len())
		}
	}
	f(1, "entry", true)
	f(1, "output", true)
	f(2, "entry", true)
	f(3, "entry", false)
	f(3, "output", false)
	f(1, "output", true) // what is known is never refused
	f(2, "entry", true)
	tab.Update(keyOf(2), 0, func(*Entry, bool) bool { return false })
	f(3, "output", true)
	f(2, "entry", false)
}

func TestOutputsKeepTheirIndex(t *testing.T) {
	tab := New(Options{MaxEntries: 100_000})
	const n = 20_000
	var index [n]uint32
	own := func(i int, now Minute) {
		var ok bool
		index[i], ok = tab.Route(keyOf(uint64(i)), now, func(o *Output, _ bool) { o.Owner = uint64(i) })
		if !ok {
			t.Fatalf("no room for %d", i)
		}
	}
	for i := range n {
		own(i, 0)
	}
	// Every seventh lives on; the places of the others are taken by new ones.
	for now := Minute(10); now <= 60; now += 10 {
		for i := 0; i < n; i += 7 {
			tab.At(index[i], now, func(o *Output) {
				if o.Owner != uint64(i) {
					t.Fatalf("minute %d: output %d is %d's", now, i, o.Owner)
				}
			})
		}
		for range tab.Shards() {
			tab.Sweep(now)
		}
		for i := range 5000 {
			tab.Route(keyOf(uint64(n+int(now)*1000+i)), now, func(o *Output, found bool) { o.Owner = 1 << 40 })
		}
	}
	if err := sound(tab, 0, n/7+1+3*5000); err != nil { // of minutes 40, 50 and 60
		t.Error(err)
	}
	mustPanic(t, "BUG: output 4294967295 was never given out", func() { tab.At(1<<32-1, 60, func(*Output) {}) })
	gone := slices.IndexFunc(index[:], func(i uint32) bool {
		s := &tab.outputs[tab.outputShard(i)]
		return int(i>>tab.bits) < s.places() && s.at(int(i>>tab.bits)).value.stamp == 0
	})
	for _, i := range []uint32{1<<32 - 1, index[gone]} {
		mustPanic(t, "was never given out", func() { tab.Claim([]uint32{index[0], index[7], i}, 60, func(int, *Output) {}) })
	}
}

// TestIndexOutlivesEntry has an index used at the last moment at which its entry may be found.
func TestIndexOutlivesEntry(t *testing.T) {
	tab := New(Options{MaxEntries: 10, Shards: 4})
	k, out := keyOf(1), keyOf(2)
	tab.Update(k, 100, func(e *Entry, _ bool) bool {
		e.Ref, _ = tab.Route(out, 100, func(o *Output, _ bool) { o.Owner = 7 })
		e.Set(Routed, 0, 0)
		return true
	})
	e, found := get(tab, k, 120)
	if !found {
		t.Fatal("gone after 20 minutes")
	}
	for range 2 * tab.Shards() { // the clock moves on before the index is used
		tab.Sweep(121)
	}
	tab.At(e.Ref, 121, func(o *Output) {
		if o.Owner != 7 {
			t.Errorf("the output of %d, want that of 7", o.Owner)
		}
	})
}

// TestIndexWaitsForAllShards has a shard of entries that the sweep has not come to. An entry there may still be looked at
// by a caller that is behind the time, so that the index in it may not be given to another.
func TestIndexWaitsForAllShards(t *testing.T) {
	tab := New(Options{MaxEntries: 10, Shards: 8})
	k := labels.Key{Hi: 1<<64 - 1} // the last shard's
	tab.Update(k, 0, func(e *Entry, _ bool) bool {
		e.Ref, _ = tab.Route(keyOf(1), 0, func(*Output, bool) {})
		e.Set(Routed, 0, 0)
		return true
	})
	for i := range tab.Shards() {
		tab.Sweep(Minute(1 + i/4)) // so that there is news about outputs before the round at 60 is over
	}
	for left := tab.Shards(); left > 0; left-- {
		if err := sound(tab, 1, 1); err != nil {
			t.Fatalf("%d shards are not swept yet: %v", left, err)
		}
		tab.Sweep(60)
	}
	if err := sound(tab, 0, 0); err != nil {
		t.Error(err)
	}
}

func TestTimeDoesNotGoBack(t *testing.T) {
	tab := New(Options{MaxEntries: 10, Shards: 1})
	tab.Update(keyOf(1), 0, counted)
	tab.Update(keyOf(2), 50, counted)
	if _, found := get(tab, keyOf(1), 5); found {
		t.Error("a slow caller finds what is idle")
	}
	tab.Update(keyOf(3), 5, counted)
	if _, found := get(tab, keyOf(3), 70); !found {
		t.Error("what a slow caller stored is idle 20 minutes after")
	}
}

// TestNobodySweeps has a table that is never swept by Sweep: minutes must not be taken for those of another cycle.
func TestNobodySweeps(t *testing.T) {
	released := 0
	tab := New(Options{MaxEntries: 100_000, Shards: 1, Released: func(uint32, uint32) { released++ }})
	for now := Minute(0); now < 3000; now++ {
		tab.Update(keyOf(uint64(now)), now, counted)
		if now > 40 {
			for age := Minute(0); age < now; age += 13 {
				s := &tab.entries[0]
				i := s.find(keyOf(uint64(now - age)))
				if lives := i >= 0 && !s.at(i).value.idle(touched(now)); lives != (age <= 20) {
					t.Fatalf("minute %d: an entry of %d minutes is there: %v", now, age, lives)
				}
			}
		}
	}
	if released < 2700 || tab.Len() > 300 {
		t.Errorf("%d released and %d in the table", released, tab.Len())
	}
}

func TestPanicLeavesTableUsable(t *testing.T) {
	tab := New(Options{MaxEntries: 10, Shards: 1})
	tab.Update(keyOf(1), 0, counted)
	boom := func() { panic("boom") }
	mustPanic(t, "boom", func() { tab.Probe([]labels.Key{keyOf(1)}, 0, func(int, *Entry) { boom() }) })
	mustPanic(t, "boom", func() { tab.Update(keyOf(1), 0, func(*Entry, bool) bool { boom(); return true }) })
	mustPanic(t, "boom", func() { tab.Route(keyOf(2), 0, func(*Output, bool) { boom() }) })
	if _, found := get(tab, keyOf(1), 0); !found || !tab.Lookup(keyOf(2), 0, func(*Output) {}) {
		t.Error("what was there is lost")
	}
	if err := sound(tab, 1, 1); err != nil {
		t.Error(err)
	}
}

// TestPanicInAnIdleEntry has an entry that is idle be made anew and its visitor fail: it is not there after that.
func TestPanicInAnIdleEntry(t *testing.T) {
	tab := New(Options{MaxEntries: 10, Shards: 1})
	tab.Update(keyOf(1), 225, counted)
	tab.Update(keyOf(2), 241, counted) // a minute that is written as a small number
	mustPanic(t, "boom", func() { tab.Update(keyOf(1), 246, func(*Entry, bool) bool { panic("boom") }) })
	if _, found := get(tab, keyOf(1), 246); found {
		t.Error("what nobody has kept is there")
	}
	tab.Sweep(246)
	if err := sound(tab, 1, 0); err != nil {
		t.Error(err)
	}
}

func TestKeyBits(t *testing.T) {
	tab := New(Options{MaxEntries: 10_000, KeyBits: 8})
	for i := range 10_000 {
		tab.Update(keyOf(uint64(i)), 0, counted)
		tab.Route(keyOf(uint64(i)), 0, func(*Output, bool) {})
	}
	if err := sound(tab, 256, 256); err != nil {
		t.Error(err)
	}
}

func TestShards(t *testing.T) {
	f := func(shards, want int) {
		t.Helper()
		if got := New(Options{Shards: shards}).Shards(); got != want {
			t.Errorf("%d shards asked for, got %d, want %d", shards, got, want)
		}
	}
	f(1, 1)
	f(2, 2)
	f(3, 4)
	f(64, 64)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	f(0, 16)
	runtime.GOMAXPROCS(9)
	f(0, 64)
	runtime.GOMAXPROCS(100)
	f(0, 256)
}

func TestNoAllocations(t *testing.T) {
	tab := filled(t, 5000)
	keys := make([]labels.Key, 2500)
	for i := range keys {
		keys[i] = keyOf(uint64(2 * i)) // each shard has hits and, below, misses
	}
	tab.max += 2
	index, _ := tab.Route(keyOf(1), 0, func(*Output, bool) {})
	seen := 0
	f := func(what string, run func()) {
		t.Helper()
		// The scratch of Probe is pooled: a collection in between costs it once, and an average hides that.
		if n := testing.AllocsPerRun(200, run); n != 0 {
			t.Errorf("%s allocates %g times", what, n)
		}
	}
	f("Probe", func() { tab.Probe(keys, 1, func(int, *Entry) { seen++ }) })
	f("Update", func() { tab.Update(keys[7], 1, func(e *Entry, _ bool) bool { seen++; return true }) })
	f("Update that stores and deletes", func() {
		tab.Update(keyOf(1<<40), 1, counted)
		tab.Update(keyOf(1<<40), 1, func(*Entry, bool) bool { seen++; return false })
	})
	f("At", func() { tab.At(index, 1, func(*Output) { seen++ }) })
	several := []uint32{index, index, index}
	f("Claim", func() { tab.Claim(several, 1, func(int, *Output) { seen++ }) })
	f("Lookup", func() { tab.Lookup(keyOf(1), 1, func(*Output) { seen++ }) })
	f("Sweep", func() { tab.Sweep(1) })
	if seen == 0 {
		t.Error("nothing was visited")
	}
}

func heap() int {
	var m runtime.MemStats
	for range 3 { // a pool that was used, and the table it is part of, outlives two
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestMemory holds entries to their bound at any size, and to less on average: an index is as full as it happens to be.
func TestMemory(t *testing.T) {
	const n, most, average = 1_000_000, 39.5, 38.0
	before := heap()
	tab, sum, sizes := New(Options{MaxEntries: n}), 0.0, 0
	for i := range n {
		tab.Update(keyOf(uint64(i)), 0, counted)
		if at := i + 1; at >= n/2 && at%(n/50) == 0 {
			each := float64(tab.Bytes()) / float64(at)
			if sum, sizes = sum+each, sizes+1; each > most {
				t.Errorf("%d entries take %.1f bytes each, want %v at most", at, each, most)
			}
		}
	}
	t.Logf("%.2f bytes each on average", sum/float64(sizes))
	if sum > average*float64(sizes) {
		t.Errorf("%.2f bytes each on average, want %v at most", sum/float64(sizes), average)
	}
	if used := heap() - before; tab.Bytes() > used+1<<20 || tab.Bytes() < used-1<<20 {
		t.Errorf("%d bytes on the heap, which Bytes has as %d", used, tab.Bytes())
	}
}

// TestOutputMemory holds outputs to their bound at any size: what rules change takes an entry and an output.
func TestOutputMemory(t *testing.T) {
	const n, most, pages = 300_000, 72, 2 << 20 // each shard has a page that is not full, and an index that has just grown
	tab := New(Options{MaxEntries: n})
	for i := range n {
		tab.Route(keyOf(uint64(i)), 0, func(*Output, bool) {})
		if i%1000 == 0 && tab.Bytes() > most*i+pages {
			t.Fatalf("%d outputs take %d bytes, want %d at most", i, tab.Bytes(), most*i+pages)
		}
	}
	t.Logf("%d outputs: %.1f bytes each", n, float64(tab.Bytes())/n)
}

// TestHolesAreClosed has one of three entries live on among those that are gone: what is left moves together, and is found there.
func TestHolesAreClosed(t *testing.T) {
	const n = 60_000
	tab := filled(t, n)
	full := tab.Bytes()
	var keys []labels.Key
	for i := 0; i < n; i += 3 {
		keys = append(keys, keyOf(uint64(i)))
	}
	tab.Probe(keys, 15, func(int, *Entry) {})
	for range tab.Shards() {
		tab.Sweep(30)
	}
	if err := sound(tab, len(keys), 0); err != nil {
		t.Error(err)
	}
	if got := tab.Bytes(); got > full*11/20 {
		t.Errorf("a third of the entries takes %d bytes, all took %d", got, full)
	}
	seen := 0
	tab.Probe(keys, 30, func(int, *Entry) { seen++ })
	if seen != len(keys) {
		t.Errorf("%d of %d are found where they have moved to", seen, len(keys))
	}
}

// TestHolesAreFilled has a run of entries come where another has gone: it stands there in its order, and takes no memory.
func TestHolesAreFilled(t *testing.T) {
	const n, run = 20_000, 6_000
	tab := New(Options{MaxEntries: n, Shards: 1})
	store := func(from, to int, now Minute) {
		for i := from; i < to; i++ {
			tab.Update(keyOf(uint64(i)), now, counted)
		}
	}
	store(0, n-run, 0)
	store(0, 4_000, 15) // between them run is idle
	store(4_000+run, n-run, 15)
	before := tab.Bytes()
	tab.Sweep(30)
	store(n, n+run, 30)
	s := &tab.entries[0]
	first := s.find(keyOf(n))
	for i := range run {
		if at := s.find(keyOf(uint64(n + i))); at != first+i {
			t.Fatalf("number %d of the run stands in place %d, want %d", i, at, first+i)
		}
	}
	if after := tab.Bytes(); first != 4_000 || after > before+8<<10 {
		t.Errorf("the run begins in place %d, want 4000; %d bytes, before it %d", first, after, before)
	}
}

// TestShardIsFull has a shard refuse what its index cannot name.
func TestShardIsFull(t *testing.T) {
	tab := New(Options{MaxEntries: 100, Shards: 1})
	tab.most = 2
	for i, want := range []bool{true, true, false} {
		k := keyOf(uint64(i))
		entry := tab.Update(k, 0, counted)
		if _, output := tab.Route(k, 0, func(*Output, bool) {}); entry != want || output != want {
			t.Errorf("number %d: entry=%v, output=%v, want %v", i, entry, output, want)
		}
	}
	if tab.Len() != 4 {
		t.Errorf("%d in the table, want 4", tab.Len())
	}
	f := func(shards, want int) {
		t.Helper()
		if got := New(Options{Shards: shards}).most; got != want {
			t.Errorf("%d shards have %d places each, want %d", shards, got, want)
		}
	}
	f(64, maxPlaces)
	f(256, maxPlaces)
	f(1024, 1<<22)
}

func TestMemoryComesBack(t *testing.T) {
	tab := filled(t, 200_000)
	tab.max *= 2
	for i := range 100_000 {
		tab.Route(keyOf(uint64(i)), 0, func(*Output, bool) {})
	}
	tab.Update(keyOf(0), 15, counted)
	tab.Route(keyOf(0), 15, func(*Output, bool) {})
	for range tab.Shards() {
		tab.Sweep(30)
	}
	if err := sound(tab, 1, 1); err != nil {
		t.Error(err)
	}
	if got := tab.Bytes(); got > 200_000 {
		t.Errorf("%d bytes for one entry and one output", got)
	}
}
