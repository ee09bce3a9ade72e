package ingest

import (
	"testing"
	"unsafe"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// item has a pointer, so that what is kept could hold on to a push.
type item struct {
	text []byte
	n    int
}

// lend is Lend where there is room.
func lend[T any](t *testing.T, n int, l Lender) []T {
	t.Helper()
	s, err := Lend[T](n, l)
	if err != nil {
		t.Fatal(err)
	}
	if len(s) != 0 || cap(s) < n {
		t.Fatalf("%d of %d, want 0 of at least %d", len(s), cap(s), n)
	}
	return s
}

func TestStockBooksWhatItLends(t *testing.T) {
	var p Pool
	f := func(from string, s *Stock) {
		t.Helper()
		for _, n := range []int{0, 1, 15, 16, 17, 1000, 4095, 4096, 5000, 1 << 20} {
			var acc books
			l := Lender{Charge: acc.charge, Stock: s}
			items, bytes := lend[item](t, n, l), lend[byte](t, n, l)
			if want := cap(items)*int(unsafe.Sizeof(item{})) + cap(bytes); acc.used != want {
				t.Errorf("%s, %d: booked %d, want %d", from, n, acc.used, want)
			}
			if cap(items) > 2*(n+n/8+1) {
				t.Errorf("%s, %d: room for %d items", from, n, cap(items))
			}
			p.Restock(s)
		}
	}
	f("no stock", nil)
	f("new", p.Stock())
	used := p.Stock()
	for i := range 2000 {
		lend[item](t, i, Lender{Stock: used})
	}
	p.Restock(used)
	f("used", used)
}

func TestStockRefused(t *testing.T) {
	var p Pool
	s := p.Stock()
	failEachTaking(t, "stock", func(charge Charge) error {
		defer p.Restock(s)
		booked := 0
		l := Lender{Stock: s, Charge: func(n int) *fault.Error {
			err := charge(n)
			if err == nil {
				booked += n
			}
			return err
		}}
		_, err := Lend[byte](10, l)
		for _, n := range []int{100, 1 << 16} {
			if err == nil {
				var bytes []byte
				if bytes, err = Grow([]byte("kept"), n, l); string(bytes) != "kept" {
					t.Errorf("%q after growing, %v", bytes, err)
				}
			}
		}
		_ = charge(-booked)
		return err
	})
}

func TestStockLendsNothingTwice(t *testing.T) {
	var p Pool
	s := p.Stock()
	for round := range 3 {
		seen := map[*item]bool{}
		for n := range 100 {
			items := lend[item](t, n, Lender{Stock: s})
			items = items[:cap(items)]
			for i := range items {
				if items[i].n != 0 || items[i].text != nil {
					t.Fatalf("round %d: item %d of %d says %+v", round, i, len(items), items[i])
				}
				if seen[&items[i]] {
					t.Fatalf("round %d: lent twice", round)
				}
				seen[&items[i]] = true
				items[i] = item{make([]byte, 1), 1}
			}
		}
		p.Restock(s)
	}
}

// TestStockKeeps: a push like the one before allocates nothing, and no more is kept than stockBytes, none of it pointing anywhere.
func TestStockKeeps(t *testing.T) {
	var p Pool
	s := p.Stock()
	push := func(n int) {
		l := Lender{Charge: func(int) *fault.Error { return nil }, Stock: s}
		for range 3 {
			items, _ := Lend[item](n, l)
			items = append(items, item{n: 1})
			_, _ = Grow(items, 2*n, l)
			_, _ = Lend[byte](n, l)
			_, _ = Lend[int32](n, l)
		}
		p.Restock(s)
	}
	push(100)
	if n := testing.AllocsPerRun(10, func() { push(100) }); n != 0 {
		t.Errorf("%v allocations for a push like the one before", n)
	}
	for n := range 5000 {
		push(n)
	}
	push(1 << 18)
	kept := 0
	for _, shelf := range s.shelves {
		switch p := shelf.(type) {
		case *pieces[item]:
			for _, items := range p.all {
				kept += cap(items) * int(unsafe.Sizeof(item{}))
			}
			if len(p.all) > fewPieces {
				t.Errorf("%d pieces are kept", len(p.all))
			}
		case *pieces[byte]:
			for _, bytes := range p.all {
				kept += cap(bytes)
			}
		case *pieces[int32]:
			for _, ints := range p.all {
				kept += 4 * cap(ints)
			}
		}
	}
	if kept > stockBytes || kept == 0 {
		t.Errorf("%d bytes are kept, want some and at most %d", kept, stockBytes)
	}
}
