package ingest

import (
	"errors"
	"sync"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// books are the account of one push. The failAt-th taking fails; 0: none does.
type books struct {
	mu     sync.Mutex
	used   int
	peak   int
	takes  int
	failAt int
}

func (b *books) charge(n int) *fault.Error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > 0 {
		if b.takes++; b.takes == b.failAt {
			return fault.New(fault.Overloaded, "no room for %d bytes", n)
		}
	}
	b.used += n
	b.peak = max(b.peak, b.used)
	return nil
}

// wantHeld fails the test unless the account holds exactly what the buffers take.
func (b *books) wantHeld(t *testing.T, what string, held ...*Buffer) {
	t.Helper()
	want := 0
	for _, h := range held {
		if h != nil {
			want += cap(h.B)
		}
	}
	if b.used != want {
		t.Errorf("%s: the account holds %d bytes, want %d", what, b.used, want)
	}
}

// wantKind fails the test unless err is a fault of kind k.
func wantKind(t *testing.T, what string, err error, k fault.Kind) *fault.Error {
	t.Helper()
	var e *fault.Error
	if !errors.As(err, &e) {
		t.Fatalf("%s: error %v, want a fault", what, err)
	}
	if e.Kind != k {
		t.Fatalf("%s: %s (%s), want %s", what, e.Reason(), e, fault.New(k, "").Reason())
	}
	return e
}

// failEachTaking runs work with an account in which the first taking fails, then the second, until none does. work must
// give back what it got on success. Each failure is Overloaded and leaves nothing in the account.
func failEachTaking(t *testing.T, what string, work func(Charge) error) {
	t.Helper()
	for n := 1; ; n++ {
		b := &books{failAt: n}
		err := work(b.charge)
		if b.used != 0 {
			t.Fatalf("%s: taking %d failed, %d bytes are left in the account", what, n, b.used)
		}
		if b.takes < n {
			if err != nil {
				t.Fatalf("%s: %v with room for all", what, err)
			}
			if n == 1 {
				t.Fatalf("%s: nothing was ever charged", what)
			}
			return
		}
		wantKind(t, what, err, fault.Overloaded)
	}
}
