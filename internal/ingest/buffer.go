package ingest

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// Buffers come in powers of two from 4 KiB to 128 MiB, so that what one push gives back fits the next.
const (
	minClass = 12
	maxClass = 27
)

// Pool lends byte buffers. The zero value is ready. One pool serves all pushes of a gateway.
type Pool struct {
	classes [maxClass - minClass + 1]sync.Pool
	stocks  sync.Pool // of *Stock
}

// Buffer is a lent slice. It goes back to its pool when the last of its holders releases it: the push, and the transport
// that may read a request body even after upstream has answered.
type Buffer struct {
	// B is the content. Its capacity is what the push is charged for.
	B    []byte
	pool *Pool
	refs atomic.Int32
}

// get returns an empty Buffer with room for n bytes, held once.
func (p *Pool) get(n int) *Buffer {
	class := max(bits.Len(uint(max(n, 1)-1)), minClass)
	if class > maxClass {
		// No pool for what no default limit allows: the collector takes it back.
		b := &Buffer{B: make([]byte, 0, n)}
		b.refs.Store(1)
		return b
	}
	b, ok := p.classes[class-minClass].Get().(*Buffer)
	if !ok {
		b = &Buffer{B: make([]byte, 0, 1<<class), pool: p}
	}
	b.B = b.B[:0]
	b.refs.Store(1)
	return b
}

// Retain adds a holder. Only who holds b may do so.
func (b *Buffer) Retain() {
	if b.refs.Add(1) <= 1 {
		panic("BUG: buffer retained after its release")
	}
}

// Release takes a holder away. The last one gives the buffer back and must not touch it again.
func (b *Buffer) Release() {
	switch n := b.refs.Add(-1); {
	case n < 0:
		panic("BUG: buffer released twice")
	case n == 0 && b.pool != nil:
		// The class follows from the capacity as lent: B may have been cut, never exchanged.
		if class := bits.Len(uint(cap(b.B)) - 1); cap(b.B) == 1<<class {
			b.pool.classes[class-minClass].Put(b)
		}
	}
}

// Charge books n bytes of memory to a push before they are taken; a negative n gives them back and never fails.
type Charge func(n int) *fault.Error

// Lend returns an empty Buffer with room for n bytes whose capacity has been charged.
func (p *Pool) Lend(n int, charge Charge) (*Buffer, error) {
	if err := charge(capacity(n)); err != nil {
		return nil, err
	}
	return p.get(n), nil
}

// Return releases b for the push that charge belongs to.
func (p *Pool) Return(b *Buffer, charge Charge) {
	if b == nil {
		return
	}
	n := cap(b.B)
	b.Release()
	_ = charge(-n)
}

// capacity is what a Buffer for n bytes really takes.
func capacity(n int) int {
	class := max(bits.Len(uint(max(n, 1)-1)), minClass)
	if class > maxClass {
		return n
	}
	return 1 << class
}

// grow exchanges b for a Buffer with room for n bytes and the same content. On an error b stays lent.
func (p *Pool) grow(b *Buffer, n int, charge Charge) (*Buffer, error) {
	g, err := p.Lend(n, charge)
	if err != nil {
		return b, err
	}
	g.B = append(g.B, b.B...)
	p.Return(b, charge)
	return g, nil
}
