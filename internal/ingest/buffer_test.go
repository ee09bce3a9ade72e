package ingest

import (
	"bytes"
	"runtime"
	"sync"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

func TestLendChargesWhatItLends(t *testing.T) {
	var p Pool
	f := func(n, want int) {
		t.Helper()
		var acc books
		b, err := p.Lend(n, acc.charge)
		if err != nil {
			t.Fatal(err)
		}
		if len(b.B) != 0 || cap(b.B) != want {
			t.Errorf("lend %d: %d of %d bytes, want 0 of %d", n, len(b.B), cap(b.B), want)
		}
		acc.wantHeld(t, "lent", b)
		p.Return(b, acc.charge)
		acc.wantHeld(t, "returned")
	}
	f(0, 4<<10)
	f(1, 4<<10)
	f(4<<10, 4<<10)
	f(4<<10+1, 8<<10)
	f(64<<10, 64<<10)
	f(1<<20-1, 1<<20)
	f(1<<27, 1<<27)
	f(1<<27+1, 1<<27+1) // over the largest class: as asked
}

func TestReturnOfNothing(t *testing.T) {
	var p Pool
	var acc books
	p.Return(nil, acc.charge)
	acc.wantHeld(t, "nothing")
}

func TestLendRefused(t *testing.T) {
	var p Pool
	acc := books{failAt: 1}
	b, err := p.Lend(10, acc.charge)
	wantKind(t, "lend", err, fault.Overloaded)
	if b != nil {
		t.Error("a buffer came with the error")
	}
	acc.wantHeld(t, "refused")
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}

func TestReleaseTwicePanics(t *testing.T) {
	// Without a pool, so that nobody else can be lent it in between.
	b := new(Pool).get(1<<maxClass + 1)
	b.Retain()
	b.Release()
	b.Release()
	mustPanic(t, "third release of two holders", b.Release)
	b = new(Pool).get(1<<maxClass + 1)
	b.Release()
	mustPanic(t, "retain after release", b.Retain)
}

// The transport may still read a body whose push has been answered: nobody else may be lent it before.
func TestBufferIsNotLentWhileHeld(t *testing.T) {
	var p Pool
	var acc books
	held, err := p.Lend(100, acc.charge)
	if err != nil {
		t.Fatal(err)
	}
	held.B = append(held.B, "first push"...)
	held.Retain()
	p.Return(held, acc.charge)
	acc.wantHeld(t, "returned while the transport holds it")
	for range 100 {
		b := p.get(100)
		if b == held {
			t.Fatal("lent while held")
		}
		b.B = append(b.B, "other push"...)
		b.Release()
	}
	if string(held.B) != "first push" {
		t.Fatalf("content became %q", held.B)
	}
	held.Release()
}

func TestGrowKeepsContentAndAccount(t *testing.T) {
	var p Pool
	var acc books
	b, err := p.Lend(4096, acc.charge)
	if err != nil {
		t.Fatal(err)
	}
	b.B = append(b.B, bytes.Repeat([]byte("x"), 4096)...)
	g, err := p.grow(b, 5000, acc.charge)
	if err != nil {
		t.Fatal(err)
	}
	if len(g.B) != 4096 || cap(g.B) != 8192 || g.B[4095] != 'x' {
		t.Errorf("%d of %d bytes", len(g.B), cap(g.B))
	}
	acc.wantHeld(t, "grown", g)
	if acc.peak != 4096+8192 {
		t.Errorf("peak %d: old and new are held together while one is copied", acc.peak)
	}
	acc.failAt = acc.takes + 1
	same, err := p.grow(g, 1<<20, acc.charge)
	wantKind(t, "grow", err, fault.Overloaded)
	if same != g || len(same.B) != 4096 {
		t.Error("the buffer was lost with the error")
	}
	acc.wantHeld(t, "not grown", g)
	p.Return(g, acc.charge)
	acc.wantHeld(t, "returned")
}

// What B was cut to does not matter: a buffer comes back empty and whole.
func TestBufferComesBackEmpty(t *testing.T) {
	var p Pool
	for range 100 {
		b := p.get(8192)
		if len(b.B) != 0 || cap(b.B) != 8192 {
			t.Fatalf("lent with %d of %d bytes", len(b.B), cap(b.B))
		}
		b.B = append(b.B, "something"...)[:4]
		b.Release()
	}
}

// TestPoolGivesBack: what a burst has taken goes back to the collector while nobody asks for it, in two rounds of it.
func TestPoolGivesBack(t *testing.T) {
	var p Pool
	inUse := func() int {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	const pushes, size = 64, 1 << 20
	before := inUse()
	var lent []*Buffer
	for range pushes {
		lent = append(lent, p.get(size))
	}
	if burst := inUse() - before; burst < pushes*size {
		t.Errorf("%d bytes are in use, want at least the %d that are lent", burst, pushes*size)
	}
	for _, b := range lent {
		b.Release()
	}
	clear(lent)
	if kept := inUse() - before; kept > 4*size {
		t.Errorf("%d bytes of %d are kept after the burst", kept, pushes*size)
	}
	runtime.KeepAlive(&p)
}

func TestPoolConcurrently(t *testing.T) {
	var p Pool
	var acc books
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			mark := bytes.Repeat([]byte{byte(i)}, 3000)
			for n := range 300 {
				b, err := p.Lend(1<<(10+n%8), acc.charge)
				if err != nil {
					t.Error(err)
					return
				}
				b.B = append(b.B[:0], mark[:min(cap(b.B), len(mark))]...)
				b.Retain()
				var inner sync.WaitGroup
				inner.Go(b.Release)
				if !bytes.Equal(b.B, mark[:len(b.B)]) {
					t.Error("another push wrote into a held buffer")
				}
				p.Return(b, acc.charge)
				inner.Wait()
			}
		})
	}
	wg.Wait()
	acc.wantHeld(t, "all returned")
}
