package limits

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// mustTake fails the test unless a takes n bytes.
func mustTake(t *testing.T, a *Account, n int) {
	t.Helper()
	if err := a.Add(n); err != nil {
		t.Fatalf("add %d: %v", n, err)
	}
}

// mustRefuse fails the test unless a refuses n bytes for lack of room and says want.
func mustRefuse(t *testing.T, a *Account, n int, want ...string) {
	t.Helper()
	err := a.Add(n)
	if err == nil {
		t.Fatalf("add %d: taken", n)
	}
	if err.Kind != fault.Overloaded || err.After < time.Second {
		t.Errorf("add %d: kind %s after %s, want overloaded after a second at least", n, err.Reason(), err.After)
	}
	for _, w := range want {
		if !strings.Contains(err.Public, w) {
			t.Errorf("add %d: %q does not say %q", n, err.Public, w)
		}
	}
}

func wantUsed(t *testing.T, f *InFlight, want int64, shares ...*Share) {
	t.Helper()
	if got := f.Used(); got != want {
		t.Errorf("used %d, want %d", got, want)
	}
	for i := 0; i+1 < len(shares); i++ {
		if shares[i].used.Load() != shares[i+1].used.Load() {
			t.Errorf("%s holds %d, %s %d: want the same", shares[i].Name, shares[i].used.Load(), shares[i+1].Name, shares[i+1].used.Load())
		}
	}
}

func TestAllPushesTogether(t *testing.T) {
	f := NewInFlight(100)
	a, b, c := f.Open(nil, nil), f.Open(nil, nil), f.Open(nil, nil)
	mustTake(t, &a, 60)
	mustTake(t, &b, 40)
	wantUsed(t, f, 100)
	mustRefuse(t, &c, 1, "101 bytes", "server.max_inflight_bytes=100")
	wantUsed(t, f, 100)
	mustTake(t, &c, 0)
	mustTake(t, &a, -10)
	mustTake(t, &c, 10)
	mustRefuse(t, &c, 1)
	a.Close()
	b.Close()
	wantUsed(t, f, 10)
	c.Close()
	wantUsed(t, f, 0)
}

func TestNoClientHoldsMoreThanHalf(t *testing.T) {
	f := NewInFlight(100)
	pay, bill := &Share{Name: `client "payments"`}, &Share{Name: `client "billing"`}
	a, b, c := f.Open(pay, nil), f.Open(pay, nil), f.Open(bill, nil)
	mustTake(t, &a, 30)
	mustTake(t, &b, 20)
	mustRefuse(t, &a, 1, `client "payments"`, "51 bytes", "half of server.max_inflight_bytes=50")
	wantUsed(t, f, 50)
	mustTake(t, &c, 50)
	a.Close()
	b.Close()
	c.Close()
	wantUsed(t, f, 0, pay, bill)
}

func TestNoUpstreamHoldsMoreThanHalf(t *testing.T) {
	f := NewInFlight(101)
	one, two, loki := &Share{Name: "one"}, &Share{Name: "two"}, &Share{Name: `upstream "loki"`}
	a, b := f.Open(one, loki), f.Open(two, loki)
	mustTake(t, &a, 25)
	mustTake(t, &b, 25)
	mustRefuse(t, &b, 1, `pushes for upstream "loki"`, "51 bytes", "=50")
	// All or nothing: what the client's share took must be back.
	wantUsed(t, f, 50, one, two)
	a.Close()
	b.Close()
	wantUsed(t, f, 0, one, two, loki)
}

// The last check to fail must undo the ones before it.
func TestAllOrNothing(t *testing.T) {
	f := NewInFlight(100)
	client, upstream := &Share{Name: "c"}, &Share{Name: "u"}
	others, a := f.Open(nil, nil), f.Open(client, upstream)
	mustTake(t, &others, 80)
	mustRefuse(t, &a, 21, "all pushes together")
	wantUsed(t, f, 80, client, upstream, &Share{Name: "nobody"})
	mustTake(t, &a, 20)
	others.Close()
	a.Close()
	wantUsed(t, f, 0, client, upstream, &Share{Name: "nobody"})
}

func TestCloseIsIdempotent(t *testing.T) {
	f := NewInFlight(100)
	s := &Share{Name: "c"}
	a := f.Open(s, nil)
	mustTake(t, &a, 40)
	a.Close()
	a.Close()
	wantUsed(t, f, 0, s, &Share{})
	mustTake(t, &a, 50)
	a.Close()
	wantUsed(t, f, 0, s, &Share{})
	var none Account
	none.Close()
}

// A reload may set the bound below what is held: nothing new comes in, what is held goes back.
func TestSetMaxBelowWhatIsHeld(t *testing.T) {
	f := NewInFlight(100)
	s := &Share{Name: "c"}
	a := f.Open(s, nil)
	mustTake(t, &a, 50)
	f.SetMax(10)
	mustRefuse(t, &a, 1)
	mustTake(t, &a, -20)
	mustRefuse(t, &a, 1)
	mustTake(t, &a, -26)
	mustTake(t, &a, 1)
	mustRefuse(t, &a, 1)
	f.SetMax(1000)
	mustTake(t, &a, 400)
	a.Close()
	wantUsed(t, f, 0, s, &Share{})
}

// 64 pushes of two clients to two upstreams at once: no bound is ever passed, not even for a moment, and nothing is left over.
func TestManyAtOnce(t *testing.T) {
	const limit = 1000
	f := NewInFlight(limit)
	var clients, upstreams [2]*Share
	for i := range clients {
		clients[i], upstreams[i] = &Share{Name: fmt.Sprint("client ", i)}, &Share{Name: fmt.Sprint("upstream ", i)}
	}
	check := func() {
		if got := f.Used(); got > limit || got < 0 {
			t.Errorf("%d bytes in flight, limit %d", got, limit)
		}
		for _, s := range [...]*Share{clients[0], clients[1], upstreams[0], upstreams[1]} {
			if got := s.used.Load(); got > limit/2 || got < 0 {
				t.Errorf("%s holds %d, limit %d", s.Name, got, limit/2)
			}
		}
	}
	var taken, refused atomic.Int64
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(i)))
			for range 500 {
				a := f.Open(clients[i%2], upstreams[i/2%2])
				held := 0
				for range 4 {
					n := rnd.IntN(200)
					if a.Add(n) == nil {
						held += n
						taken.Add(1)
					} else {
						refused.Add(1)
					}
					check()
				}
				if a.held != int64(held) {
					t.Errorf("account holds %d, want %d", a.held, held)
				}
				if err := a.Add(-held / 2); err != nil {
					t.Errorf("give back: %v", err)
				}
				a.Close()
			}
		})
	}
	wg.Wait()
	if taken.Load() == 0 || refused.Load() == 0 {
		t.Errorf("%d taken, %d refused: the test tried nothing", taken.Load(), refused.Load())
	}
	wantUsed(t, f, 0, clients[0], clients[1], upstreams[0], upstreams[1], &Share{Name: "nobody"})
}

// A push that is refused because its client is over its half must not, even for a moment, stand in the way of others.
func TestARefusedPushRefusesNoOther(t *testing.T) {
	f := NewInFlight(1000)
	greedy := &Share{Name: "greedy"}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			a := f.Open(greedy, nil)
			for {
				select {
				case <-stop:
					return
				default:
					mustRefuseQuietly(t, &a, 900)
				}
			}
		})
	}
	other := f.Open(nil, nil)
	for range 20000 {
		if err := other.Add(1000); err != nil {
			t.Errorf("refused with nothing held: %v", err)
			break
		}
		other.Close()
	}
	close(stop)
	wg.Wait()
	wantUsed(t, f, 0)
}

func mustRefuseQuietly(t *testing.T, a *Account, n int) {
	if a.Add(n) == nil {
		t.Error("taken over the half")
		a.Close()
	}
}

func TestNoAllocations(t *testing.T) {
	f := NewInFlight(1000)
	c, u := &Share{Name: "c"}, &Share{Name: "u"}
	if n := testing.AllocsPerRun(100, func() {
		a := f.Open(c, u)
		_ = a.Add(100)
		a.Close()
	}); n != 0 {
		t.Errorf("%v allocations a push", n)
	}
}
