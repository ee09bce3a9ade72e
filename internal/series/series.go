// Package series holds the one table of live series: what is known of a series between its pushes, in 16 bytes, found by
// its key alone. It knows no label, rule, limit or clock, and it never drops a live entry to make room: it says that it is
// full. internal/reduce calls it.
//
// What grows with the number of series holds no pointer but one to each page of a few KiB, so that the garbage collector has next
// to nothing to walk.
//
// # Locks
//
// Entries and outputs have shards, and locks, of their own. What visits an entry may call Route, At and Lookup: the lock
// of an output is taken while that of an entry is held, never the other way round. What visits an output may call nothing
// of the table.
//
// # Time
//
// Time is the latest minute that any caller has named; it never goes back. It is read under the lock of a shard, so that
// nothing in the shard was touched later, and an output never earlier than the entry in whose visit it was touched.
package series

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// Minute is minutes since the process began: the caller's clock.
type Minute uint32

// IdleMinutes is how long an entry lives untouched: as long as Grafana Cloud calls a series active. An older one is not
// there for any caller, whether or not Sweep has come by.
const IdleMinutes = 20

// Options are what a Table is made with.
type Options struct {
	// MaxEntries is how many entries and outputs there may be together.
	MaxEntries int
	// Released is told of every Counted or Suspended entry (its Ref and Value) and of every Output with a Weight (its Ref
	// and Weight) that is forgotten, once. It runs under a lock of the table and must not call the table. May be nil.
	Released func(ref, weight uint32)
	// Shards is raised to a power of two. 0: four for each CPU that Go may use, 16 at least and 256 at most. The fewer there are,
	// the longer are the runs in which a push finds its series.
	Shards int
	// KeyBits is how many bits of a key count: few make collisions, for tests. 0: all 128.
	KeyBits int
}

// Table is the table of live series. Any number of goroutines may call it.
type Table struct {
	max      int64
	released func(ref, weight uint32)
	mask     labels.Key // the bits of a key that count
	bits     uint       // log2 of the number of shards
	most     int        // in one shard
	entries  []shard
	outputs  []outputs
	scratch  sync.Pool // of *grouping

	_    [64]byte // what follows changes; what is above is read by every call
	used atomic.Int64
	time atomic.Uint32

	mu      sync.Mutex // guards what follows; taken before any other lock
	next    int        // the shard that Sweep takes next
	horizon Minute     // see Sweep
}

// New returns an empty Table.
func New(o Options) *Table {
	n := o.Shards
	if n <= 0 {
		n = min(max(4*runtime.GOMAXPROCS(0), 16), 256)
	}
	t := &Table{max: int64(o.MaxEntries), released: o.Released, bits: uint(bits.Len(uint(n - 1))), mask: keyMask(o.KeyBits)}
	if t.released == nil {
		t.released = func(uint32, uint32) {}
	}
	t.most = min(maxPlaces, 1<<(32-t.bits)) // an index of an output has 32 bits with those of its shard
	t.entries, t.outputs = make([]shard, 1<<t.bits), make([]outputs, 1<<t.bits)
	t.scratch.New = func() any { return &grouping{ends: make([]uint32, len(t.entries))} }
	return t
}

// keyMask keeps n bits of a key: half of them where shards are chosen, half where the place in a shard is.
func keyMask(n int) labels.Key {
	if n <= 0 || n > 128 {
		n = 128
	}
	return labels.Key{Hi: ^uint64(0) << (64 - (n+1)/2), Lo: ^uint64(0) << (64 - n/2)}
}

// cut returns the bits of k that count.
func (t *Table) cut(k labels.Key) labels.Key {
	return labels.Key{Hi: k.Hi & t.mask.Hi, Lo: k.Lo & t.mask.Lo}
}

// shardOf returns the number of the shard that k belongs to. Shards go by the one half of a key, places in them by the other.
func (t *Table) shardOf(k labels.Key) int { return int((k.Hi & t.mask.Hi) >> (64 - t.bits)) }

// advance moves time to now, if that is later.
func (t *Table) advance(now Minute) {
	for c := t.time.Load(); uint32(now) > c && !t.time.CompareAndSwap(c, uint32(now)); {
		c = t.time.Load()
	}
}

// now is the time. To be asked under the lock of the shard where it is used.
func (t *Table) now() Minute { return Minute(t.time.Load()) }

// reserve takes room for one entry or output. It compares and swaps: to add first and take back after would refuse others
// for room that nobody holds.
func (t *Table) reserve() bool {
	for {
		n := t.used.Load()
		if n >= t.max {
			return false
		}
		if t.used.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (t *Table) giveBack(n int) { t.used.Add(-int64(n)) }

// forget says what e counted.
func (t *Table) forget(e *Entry) {
	if k := e.Kind(); k == Counted || k == Suspended {
		t.released(e.Ref, e.Value())
	}
}

// Sweep forgets what is idle in the next shard. A round of as many calls as there are Shards covers everything.
//
// An entry holds the index of its output, which must not become another's meanwhile. So outputs are judged not by the
// time but by the horizon, when the shard of entries that has waited longest was swept: an entry touched as long ago as
// such an output, or longer, is gone by then. And they are given a minute more than entries, for the caller that has let
// go of the entry and is about to use the index.
func (t *Table) Sweep(now Minute) {
	t.advance(now)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries[t.next].sweepNow(t)
	t.next = (t.next + 1) % len(t.entries)
	oldest := t.now()
	for i := range t.entries {
		oldest = min(oldest, t.entries[i].sweptAt())
	}
	if oldest <= t.horizon {
		return
	}
	t.horizon = oldest
	for i := range t.outputs {
		t.outputs[i].sweep(t, oldest)
	}
}

// Shards is how many calls of Sweep cover everything.
func (t *Table) Shards() int { return len(t.entries) }

// Len is how many entries and outputs there are, with those that are idle but not swept yet.
func (t *Table) Len() int { return int(t.used.Load()) }

// Bytes is how much memory the table holds.
func (t *Table) Bytes() int {
	n := int(unsafe.Sizeof(*t))
	for i := range t.entries {
		n += t.entries[i].bytes() + t.outputs[i].bytes()
	}
	return n
}
