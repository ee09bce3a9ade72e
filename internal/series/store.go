package series

import (
	"math/bits"
	"unsafe"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// store is the records of one shard in the order in which they came, and an index that finds them by key.
//
// Records stand in pages that never move: a store grows by one, and no record is ever held twice. A place that has become
// free is zero, and is taken again before any that comes after it. So what came in a run stands in a run, also where another
// run has gone.
//
// The index is open addressed and probed one by one. A word of it says 1 + a place, and above that a few bits of the key,
// so that hardly ever a record is looked at that is another's.
type store[V any] struct {
	pages []*page[V]
	used  []uint64 // a bit for each place: it holds a record
	index []uint32 // 0: no record
	live  int      // records
	low   int      // all words of used before this one are full
}

type page[V any] [pageSize]record[V]

type record[V any] struct {
	key   labels.Key
	value V
}

const (
	// pageSize is how many places a page has: 8 KiB of entries, 16 KiB of outputs.
	pageSize  = 256
	placeBits = 24
	// maxPlaces is how many places a word of the index tells apart, in whole pages: a quarter of a billion in 16 shards.
	maxPlaces = 1<<placeBits - pageSize
)

// word is what the index says of place i, whose key is k. Homes go by the top of Lo, this by its other end.
func word(k labels.Key, i int) uint32 { return uint32(k.Lo)<<placeBits | uint32(i+1) }

// placeIn is the place that a word of the index says, -1 if it says none.
func placeIn(word uint32) int { return int(word&(1<<placeBits-1)) - 1 }

// alike says whether a word of the index may be about k.
func alike(w uint32, k labels.Key) bool { return (w^word(k, -1))>>placeBits == 0 }

// home is where the search for a key begins among n words: for equally spread lo, any n will do.
func home(lo uint64, n int) int {
	h, _ := bits.Mul64(lo, uint64(n))
	return int(h)
}

// at is the record of place i.
func (s *store[V]) at(i int) *record[V] { return &s.pages[uint(i)/pageSize][uint(i)%pageSize] }

func (s *store[V]) places() int { return len(s.pages) * pageSize }

// find returns the place of k, -1 if there is none.
func (s *store[V]) find(k labels.Key) (i int) {
	if s.live == 0 {
		return -1
	}
	for at := home(k.Lo, len(s.index)); ; at++ {
		if i, at = s.match(k, at); i < 0 || s.at(i).key == k {
			return i
		}
	}
}

// match returns the first place that the index, read from at on, says of a key with these bits, -1 if there is none, and where
// it says that.
func (s *store[V]) match(k labels.Key, at int) (i, where int) {
	for ; ; at++ {
		if at >= len(s.index) {
			at = 0
		}
		if w := s.index[at]; w == 0 || alike(w, k) {
			return placeIn(w), at
		}
	}
}

// add makes a record of k, which is not there, of no value yet, in the first free place.
func (s *store[V]) add(k labels.Key) (i int) {
	for s.low < len(s.used) && s.used[s.low] == ^uint64(0) {
		s.low++
	}
	if s.low == len(s.used) {
		s.pages = append(s.pages, new(page[V]))
		s.used = append(s.used, make([]uint64, pageSize/64)...)
	}
	i = s.low*64 + bits.TrailingZeros64(^s.used[s.low])
	s.used[s.low] |= 1 << (i % 64)
	s.at(i).key = k
	if s.live++; s.live*20 > len(s.index)*17 {
		s.reindex()
	} else {
		s.enter(i, k)
	}
	return i
}

// reindex makes an index of all records, which fill it to seven tenths. It is made anew at 17 of 20.
func (s *store[V]) reindex() {
	s.index = nil // the collector may have it already
	s.index = make([]uint32, s.live*10/7+2)
	for i, r := range s.all {
		s.enter(i, r.key)
	}
}

// enter makes the index say that k is in place i.
func (s *store[V]) enter(i int, k labels.Key) {
	index := s.index
	at := home(k.Lo, len(index))
	for index[at] != 0 {
		if at++; at == len(index) {
			at = 0
		}
	}
	index[at] = word(k, i)
}

// all calls f with each record and its place, in their order. f may clear the place.
func (s *store[V]) all(f func(i int, r *record[V]) bool) {
	for n, used := range s.used {
		p := s.pages[n*64/pageSize]
		for ; used != 0; used &= used - 1 {
			i := n*64 + bits.TrailingZeros64(used)
			if !f(i, &p[i%pageSize]) {
				return
			}
		}
	}
}

// remove takes out the record of place i.
func (s *store[V]) remove(i int) {
	n := len(s.index)
	w, hole := word(s.at(i).key, i), home(s.at(i).key.Lo, n)
	for s.index[hole] != w {
		if hole++; hole == n {
			hole = 0
		}
	}
	// What stands behind moves into the hole, unless the hole is before its home: no search ends too early then.
	for at := hole; ; {
		if at++; at == n {
			at = 0
		}
		if w = s.index[at]; w == 0 {
			break
		}
		if h := home(s.at(placeIn(w)).key.Lo, n); (at-h+n)%n >= (at-hole+n)%n {
			s.index[hole], hole = w, at
		}
	}
	s.index[hole] = 0
	s.clear(i)
}

// clear makes place i free. Whoever calls it sees to the index: see settle.
func (s *store[V]) clear(i int) {
	*s.at(i) = record[V]{}
	s.used[i/64] &^= 1 << (i % 64)
	s.low = min(s.low, i/64)
	s.live--
}

// settle is called after some places were cleared. It gives up pages at the end that hold nothing, and makes the index true.
func (s *store[V]) settle() {
	n := len(s.used)
	for n > 0 && s.used[n-1] == 0 {
		n--
	}
	s.shrink(pagesFor(n * 64))
}

// compact moves all records to the first places, in their order, and gives up the pages behind.
func (s *store[V]) compact() {
	to := 0
	for i, r := range s.all {
		if i != to {
			*s.at(to), *r = *r, record[V]{}
		}
		to++
	}
	clear(s.used)
	for i := range to {
		s.used[i/64] |= 1 << (i % 64)
	}
	s.low = to / 64
	s.shrink(pagesFor(to))
}

// pagesFor is how many pages have so many places.
func pagesFor(places int) int { return (places + pageSize - 1) / pageSize }

// shrink gives up all but n pages, behind which there is no record, and makes the index true.
func (s *store[V]) shrink(n int) {
	if s.live == 0 {
		*s = store[V]{}
		return
	}
	if n < len(s.pages) {
		s.pages, s.used = append([]*page[V](nil), s.pages[:n]...), append([]uint64(nil), s.used[:n*pageSize/64]...)
	}
	s.reindex()
}

func (s *store[V]) bytes() int {
	return 8*(cap(s.pages)+cap(s.used)) + 4*cap(s.index) + len(s.pages)*int(unsafe.Sizeof(page[V]{}))
}
