package ingest

import (
	"math/bits"
	"unsafe"
)

// Stock is memory for what doors build besides the push as it leaves, kept from one push to the next. A push has one from when it
// is decoded until it is packed; one goroutine owns it. Bytes by the page come from the Pool that bodies come from.
type Stock struct {
	pool    *Pool
	buffers []*Buffer // lent
	shelves []shelf   // one for each type
}

// stockBytes is what a Stock keeps at most while no push has it.
const stockBytes = 1 << 20

// Stock lends a Stock for one push.
func (p *Pool) Stock() *Stock {
	if s, ok := p.stocks.Get().(*Stock); ok {
		return s
	}
	return &Stock{pool: p}
}

// Restock takes s back, which may be nil. What was lent out of it is not to be touched any more.
func (p *Pool) Restock(s *Stock) {
	if s == nil {
		return
	}
	for i, b := range s.buffers {
		b.Release()
		s.buffers[i] = nil
	}
	s.buffers = s.buffers[:0]
	left := stockBytes
	for _, shelf := range s.shelves {
		left = shelf.restock(left)
	}
	p.stocks.Put(s)
}

// Lender is where what a door builds comes from: Charge books it, Stock has it. Without a Stock it is made anew, without a Charge
// nothing is booked.
type Lender struct {
	Charge Charge
	Stock  *Stock
}

// Lend returns an empty slice with room for n, booked with all of its room, for as long as the push has its Stock. The room is
// zero, but that of bytes, which holds anything.
func Lend[T any](n int, l Lender) ([]T, error) {
	size := int(unsafe.Sizeof(*new(T)))
	if l.Stock == nil {
		if err := l.Charge.Take(n * size); err != nil {
			return nil, err
		}
		return make([]T, 0, n), nil
	}
	if _, ok := any([]T(nil)).([]byte); ok && n >= 1<<minClass {
		b, err := l.Stock.buffer(n, l.Charge)
		if err != nil {
			return nil, err
		}
		return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), cap(b))[:0], nil
	}
	p := shelfOf[T](l.Stock)
	at := p.find(n)
	room := roundUp(n)
	if at >= 0 {
		room = cap(p.all[at])
	}
	if err := l.Charge.Take(room * size); err != nil {
		return nil, err
	}
	if at < 0 {
		at = len(p.all)
		p.all = append(p.all, make([]T, 0, room))
	}
	s := p.all[at]
	p.all[at], p.all[p.lent] = p.all[p.lent], s
	p.lent++
	return s, nil
}

// Grow returns s with room for n more elements. What that takes is booked before it is taken, and what s had stays booked
// besides: others may go on pointing into it.
func Grow[T any](s []T, n int, l Lender) ([]T, error) {
	if cap(s)-len(s) >= n {
		return s, nil
	}
	grown, err := Lend[T](max(len(s)+n, 2*cap(s), 16), l)
	if err != nil {
		return s, err
	}
	return append(grown, s...), nil
}

func (s *Stock) buffer(n int, charge Charge) ([]byte, error) {
	if err := charge.Take(capacity(n)); err != nil {
		return nil, err
	}
	b := s.pool.get(n)
	s.buffers = append(s.buffers, b)
	return b.B, nil
}

// shelf is a pieces[T]. restock takes all back and keeps no more than left bytes, of which it returns what is left then.
type shelf interface{ restock(left int) int }

// pieces are slices of one type, empty and zeroed. The first of them are lent.
type pieces[T any] struct {
	all  [][]T
	lent int
}

func shelfOf[T any](s *Stock) *pieces[T] {
	for _, shelf := range s.shelves {
		if p, ok := shelf.(*pieces[T]); ok {
			return p
		}
	}
	p := &pieces[T]{}
	s.shelves = append(s.shelves, p)
	return p
}

// find returns the smallest piece on the shelf with room for n, -1 if there is none. One with more than twice that room is none:
// all of it would be booked.
func (p *pieces[T]) find(n int) int {
	best := -1
	for i := p.lent; i < len(p.all); i++ {
		if c := cap(p.all[i]); c >= n && c <= 2*roundUp(n) && (best < 0 || c < cap(p.all[best])) {
			best = i
		}
	}
	return best
}

// fewPieces are kept of one type, so that looking through them costs nothing.
const fewPieces = 32

func (p *pieces[T]) restock(left int) int {
	kept := 0
	for i, s := range p.all {
		size := cap(s) * int(unsafe.Sizeof(*new(T)))
		if kept == fewPieces || size > left {
			continue
		}
		if i < p.lent {
			clear(s[:cap(s)]) // zero for whoever comes next, and nothing is held by what a push pointed to
		}
		p.all[kept] = s
		kept++
		left -= size
	}
	clear(p.all[kept:])
	p.all, p.lent = p.all[:kept], 0
	return left
}

// roundUp adds up to an eighth, so that a piece also serves a push that is a little larger than the last.
func roundUp(n int) int {
	step := 1 << max(bits.Len(uint(n))-4, 0)
	return (n + step - 1) &^ (step - 1)
}
