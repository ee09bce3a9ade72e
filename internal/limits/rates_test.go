package limits

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// start is when every test's clock starts.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// at is so many seconds after start.
func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

func samples(perSecond, burstSeconds float64) Rates {
	return Rates{Key: "environments.prod.metrics.limits", ItemsPerSecond: perSecond, ItemsKey: "samples_per_second", BurstSeconds: burstSeconds}
}

func own(r Rates) Rates {
	r.Key = "environments.prod.clients.a.limits"
	return r
}

// open returns a Meter with its limits in force.
func open(ms *Meters, env, client, signal string, shared, own Rates) *Meter {
	m := ms.Meter(env, client, signal, shared, own)
	ms.Forget(func(string, string) bool { return true })
	return m
}

// push takes a request and then bytes and items, as the road does, and says what it was refused for.
func push(m *Meter, now time.Time, decodedBytes, n int) (Lease, *fault.Error) {
	l, e := m.Request(now)
	if e == nil {
		e = l.Items(now, decodedBytes, n)
	}
	return l, e
}

// mustSend pushes n items and wants them admitted, or refused for about so many seconds.
func mustSend(t *testing.T, m *Meter, seconds float64, n int, refusedFor int) {
	t.Helper()
	_, e := push(m, at(seconds), 0, n)
	switch {
	case refusedFor == 0 && e != nil:
		t.Errorf("at %g s: %d items: %v", seconds, n, e)
	case refusedFor > 0 && e == nil:
		t.Errorf("at %g s: %d items were admitted", seconds, n)
	case refusedFor > 0:
		wantAfter(t, e, refusedFor)
	}
}

// wantAfter wants a Retry-After of so many seconds, or what jitter adds.
func wantAfter(t *testing.T, e *fault.Error, seconds int) {
	t.Helper()
	got := int(e.After / time.Second)
	if e.Kind != fault.RateLimited || got < seconds || got > min(maxAfter, seconds+1+seconds/5) {
		t.Errorf("retry after %d s, want %d or a little more: %v", got, seconds, e)
	}
}

func TestBurstThenRate(t *testing.T) {
	m := open(NewMeters(), "prod", "a", "metrics", samples(100, 10), Rates{})
	mustSend(t, m, 0, 600, 0)
	mustSend(t, m, 0, 400, 0)
	mustSend(t, m, 0, 1, 1)
	mustSend(t, m, 0, 250, 3)
	mustSend(t, m, 2.4, 250, 1)
	mustSend(t, m, 2.5, 250, 0)
	// A refusal costs nothing.
	mustSend(t, m, 3.5, 100, 0)
	// Idle for long: the burst and no more.
	mustSend(t, m, 1000, 1000, 0)
	mustSend(t, m, 1000, 1, 1)
}

func TestDefaultBurst(t *testing.T) {
	m := open(NewMeters(), "prod", "a", "metrics", samples(100, 0), Rates{})
	mustSend(t, m, 0, 1000, 0)
	mustSend(t, m, 0, 1, 1)
}

// One request can always pass, however low the rate.
func TestCapacityIsOneAtLeast(t *testing.T) {
	m := open(NewMeters(), "prod", "a", "logs", Rates{Key: "k", RequestsPerSecond: 0.1, BurstSeconds: 1}, Rates{})
	if _, e := m.Request(at(0)); e != nil {
		t.Fatal(e)
	}
	_, e := m.Request(at(4))
	if e == nil {
		t.Fatal("admitted twice")
	}
	wantAfter(t, e, 6)
	if _, e := m.Request(at(10)); e != nil {
		t.Error(e)
	}
}

// What is larger than the capacity passes when the bucket is full, and the others wait until it is paid.
func TestDebt(t *testing.T) {
	m := open(NewMeters(), "prod", "a", "metrics", samples(100, 1), Rates{})
	mustSend(t, m, 0, 1, 0)
	mustSend(t, m, 0, 1100, 1)
	mustSend(t, m, 0.01, 1100, 0) // leaves 1000 to pay
	mustSend(t, m, 0.01, 1, 11)
	mustSend(t, m, 10, 5, 1)
	mustSend(t, m, 10.1, 5, 0)
	// Not until there is more than the bucket holds, but until it is full.
	mustSend(t, m, 10.1, 5000, 1)
	mustSend(t, m, 11.1, 500_000, 0)
	// 4999 s: nobody is told to wait for longer than a minute, and not all for the same.
	for range 20 {
		_, e := push(m, at(12), 0, 1)
		if e == nil || e.After < 48*time.Second || e.After > time.Minute {
			t.Fatalf("retry after %v", e)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	f := func(seconds float64, least, most int) {
		t.Helper()
		seen := map[time.Duration]bool{}
		for range 200 {
			d := retryAfter(seconds)
			if d < time.Duration(least)*time.Second || d > time.Duration(most)*time.Second {
				t.Fatalf("%g s become %v, want %d to %d", seconds, d, least, most)
			}
			seen[d] = true
		}
		if len(seen) < 2 {
			t.Errorf("%g s: all come back together", seconds)
		}
	}
	f(1e-5, 1, 2)
	f(1, 1, 2)
	f(1.1, 2, 3)
	f(20, 20, 25)
	f(58, 58, 60)
	f(60, 49, 60)
	f(1e9, 49, 60)
	// What it says is enough.
	m := open(NewMeters(), "prod", "a", "metrics", samples(7, 3), Rates{})
	now := 0.0
	for range 100 {
		if _, e := push(m, at(now), 0, 13); e != nil {
			now += e.After.Seconds()
			mustSend(t, m, now, 13, 0)
		}
	}
	if now < 100 {
		t.Errorf("1300 items of 7 a second took %g s", now)
	}
}

// TestText: environment, client, cause, key, limit, what is left and what was asked for.
func TestText(t *testing.T) {
	f := func(e *fault.Error, want string) {
		t.Helper()
		if e == nil {
			t.Fatal("admitted")
		}
		text, _, _ := strings.Cut(e.Public, "; try again in ")
		if text != want || text == e.Public {
			t.Errorf("got  %s\nwant %s", e.Public, want)
		}
		if e.Err != nil || e.Upstream != 0 {
			t.Errorf("%+v", e)
		}
	}
	ms := NewMeters()
	m := open(ms, "prod", "a", "metrics", samples(100, 10), Rates{})
	mustSend(t, m, 0, 500, 0)
	_, e := push(m, at(0), 0, 700)
	f(e, "environment prod: client a is over a rate limit: this push wants 700 samples, and environments.prod.metrics.limits.samples_per_second=100 has 500 of 1000 left; 120 a second were asked for lately")

	b := open(ms, "prod", "b", "metrics", samples(100, 10), Rates{})
	mustSend(t, b, 0, 0, 0)
	mustSend(t, m, 10, 700, 0)
	_, e = push(m, at(10), 0, 100)
	f(e, "environment prod: client a is over a rate limit: this push wants 100 samples, and environments.prod.metrics.limits.samples_per_second=100, which 2 active clients share, has 50 of 1000 left for it; 124 a second were asked for lately")

	r := own(Rates{RequestsPerSecond: 0.5, BytesPerSecond: 1 << 20, BurstSeconds: 2, KeyOf: func(limit string) string { return "environments.prod.client_limits." + limit }})
	m = open(ms, "prod", "c", "logs", Rates{}, r)
	if _, e = push(m, at(0), 5<<20, 10); e != nil {
		t.Fatal(e)
	}
	_, e = m.Request(at(0))
	f(e, "environment prod: client c is over a rate limit: this push wants 1 request, and environments.prod.client_limits.requests_per_second=0.5 has 0 of 1 left; 0.2 a second were asked for lately")
	_, e = push(m, at(2), 5<<20, 10)
	f(e, "environment prod: client c is over a rate limit: this push wants 5242880 decoded bytes, and environments.prod.client_limits.bytes_per_second=1048576 has 0 of 2097152 left; 953539 a second were asked for lately")
}

func TestBackpressure(t *testing.T) {
	f := func(shared, own bool, status int, of string) {
		t.Helper()
		s, o := samples(100, 1), samples(100, 1)
		s.Backpressure, o.Backpressure, o.Key = shared, own, "own"
		if of == "own" {
			s.ItemsPerSecond = 1000
		} else {
			o.ItemsPerSecond = 1000
		}
		m := open(NewMeters(), "prod", "a", "metrics", s, o)
		mustSend(t, m, 0, 100, 0)
		_, e := push(m, at(0), 0, 100)
		if e == nil || e.Kind != fault.RateLimited || e.HTTPStatus() != status || e.After <= 0 {
			t.Errorf("%+v, want %d", e, status)
		}
	}
	f(false, false, http.StatusTooManyRequests, "shared")
	f(true, false, http.StatusServiceUnavailable, "shared")
	f(false, true, http.StatusTooManyRequests, "shared")
	f(false, true, http.StatusServiceUnavailable, "own")
	f(true, false, http.StatusTooManyRequests, "own")
}

// A push takes of all its buckets or of none, whichever of them is short.
func TestAllOrNone(t *testing.T) {
	f := func(shared, own Rates) {
		t.Helper()
		shared.Key, own.Key = "s", "o"
		ms := NewMeters()
		m := open(ms, "prod", "a", "metrics", shared, own)
		if _, e := push(m, at(0), 1, 1); e != nil { // a full bucket would let anything pass
			t.Fatal(e)
		}
		before := ms.Levels(at(0))
		l, e := m.Request(at(0))
		if e == nil {
			before = ms.Levels(at(0))
			e = l.Items(at(0), 500, 500)
		}
		if e == nil {
			t.Fatal("admitted")
		}
		for i, after := range ms.Levels(at(0)) {
			if after.Used != before[i].Used {
				t.Errorf("%s of %q: %g used, was %g", after.Key, after.Client, after.Used, before[i].Used)
			}
		}
	}
	plenty := Rates{RequestsPerSecond: 1000, BytesPerSecond: 1000, ItemsPerSecond: 1000, ItemsKey: "samples_per_second"}
	for k := range kinds {
		short := plenty
		*[kinds]*float64{&short.RequestsPerSecond, &short.BytesPerSecond, &short.ItemsPerSecond}[k] = []float64{0.1, 50, 50}[k]
		f(short, plenty)
		f(plenty, short)
	}
}

func TestReturn(t *testing.T) {
	ms := NewMeters()
	r := Rates{Key: "s", RequestsPerSecond: 1, BytesPerSecond: 100, ItemsPerSecond: 10, ItemsKey: "lines_per_second"}
	a, b := open(ms, "prod", "a", "logs", r, r), open(ms, "prod", "b", "logs", r, r)
	used := func() (all []float64) {
		for _, l := range ms.Levels(at(0)) {
			all = append(all, l.Used)
		}
		return all
	}
	mustSame := func(want []float64) {
		t.Helper()
		got := used()
		for i := range want {
			if got[i] < want[i]-1e-9 || got[i] > want[i]+1e-9 {
				t.Fatalf("used %v, want %v", got, want)
			}
		}
	}
	if _, e := push(b, at(0), 10, 1); e != nil {
		t.Fatal(e)
	}
	before := used()
	l, e := push(a, at(0), 50, 5)
	if e != nil {
		t.Fatal(e)
	}
	l.Return()
	mustSame(before)
	l.Return() // once only
	mustSame(before)

	// Debt is paid back as well.
	l, e = push(a, at(0), 10, 1)
	if e != nil {
		t.Fatal(e)
	}
	l.Return()
	mustSame(before)
	// What came back too late is no more than the bucket holds.
	l, e = push(a, at(0), 50, 5)
	if e != nil {
		t.Fatal(e)
	}
	if _, e := push(b, at(1000), 1, 1); e != nil {
		t.Fatal(e)
	}
	l.Return()
	for _, l := range ms.Levels(at(1001)) {
		if l.Used < 0 {
			t.Errorf("%+v", l)
		}
	}
	var none Lease
	none.Return()
	if e := none.Items(at(0), 1<<30, 1<<30); e != nil {
		t.Error(e)
	}
}

func TestNoLimits(t *testing.T) {
	ms := NewMeters()
	var none *Meter
	for _, m := range []*Meter{none, open(ms, "prod", "a", "logs", Rates{}, Rates{})} {
		l, e := push(m, at(0), 1<<40, 1<<40)
		if e != nil {
			t.Error(e)
		}
		l.Return()
	}
	if l := ms.Levels(at(0)); len(l) != 0 {
		t.Errorf("%+v", l)
	}
}

// Requests and bytes are one bucket over all signals of a client; items are not, and the environment's are not either.
func TestSignals(t *testing.T) {
	ms := NewMeters()
	r := Rates{Key: "o", RequestsPerSecond: 2, BytesPerSecond: 100, BurstSeconds: 1}
	metrics, logs := r, r
	metrics.ItemsPerSecond, metrics.ItemsKey = 10, "samples_per_second"
	logs.ItemsPerSecond, logs.ItemsKey = 10, "lines_per_second"
	m, l := open(ms, "prod", "a", "metrics", Rates{}, metrics), open(ms, "prod", "a", "logs", Rates{}, logs)
	if _, e := push(m, at(0), 50, 10); e != nil {
		t.Fatal(e)
	}
	if _, e := push(l, at(0), 50, 10); e != nil {
		t.Fatal(e)
	}
	if _, e := l.Request(at(0)); e == nil || !strings.Contains(e.Public, "o.requests_per_second=2") {
		t.Errorf("third request: %v", e)
	}
	lease, e := m.Request(at(0.5))
	if e != nil {
		t.Fatal(e)
	}
	if e := lease.Items(at(0.5), 60, 0); e == nil || !strings.Contains(e.Public, "o.bytes_per_second=100") {
		t.Errorf("bytes of both signals: %v", e)
	}
	if e := lease.Items(at(0.5), 0, 6); e == nil || !strings.Contains(e.Public, "o.samples_per_second=10") {
		t.Errorf("samples: %v", e)
	}
}

// Pushes reach the lock out of order: an earlier time neither gains nor loses anything.
func TestClockGoesBack(t *testing.T) {
	m := open(NewMeters(), "prod", "a", "metrics", samples(100, 1), Rates{})
	mustSend(t, m, 10, 100, 0)
	mustSend(t, m, 5, 1, 1)
	mustSend(t, m, 10.5, 50, 0)
	mustSend(t, m, 10.4, 1, 1)
	mustSend(t, m, 10.5, 1, 1)
}

// 64 goroutines of 8 clients at one moment: exactly what the buckets hold is admitted, and exactly that comes back.
func TestManyPushesAtOnce(t *testing.T) {
	ms := NewMeters()
	var meters [8]*Meter
	r := Rates{Key: "s", RequestsPerSecond: 1e6, BytesPerSecond: 1e6, ItemsPerSecond: 1000, ItemsKey: "samples_per_second"}
	for i := range meters {
		meters[i] = open(ms, "prod", string(rune('a'+i)), "metrics", r, r)
		if _, e := meters[i].Request(at(0)); e != nil {
			t.Fatal(e)
		}
	}
	ms.Levels(at(0))
	var admitted, refused atomic.Int64
	leases := make([][]Lease, 64)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			m := meters[i%len(meters)]
			for range 100 {
				switch l, e := push(m, at(0), 5, 7); {
				case e == nil:
					admitted.Add(7)
					leases[i] = append(leases[i], l)
				default:
					refused.Add(1)
				}
			}
			open(ms, "prod", m.client, "metrics", r, r)
			ms.Levels(at(0))
		})
	}
	wg.Wait()
	// All shares start empty, so that all is anybody's: to the last seven.
	if n := admitted.Load(); n > 10000 || n <= 10000-7 || refused.Load() == 0 {
		t.Errorf("%d items of 10000 admitted, %d pushes refused", n, refused.Load())
	}
	for i := range leases {
		wg.Go(func() {
			for j := range leases[i] {
				leases[i][j].Return()
			}
		})
	}
	wg.Wait()
	for _, l := range ms.Levels(at(0)) {
		if l.Limit != "requests_per_second" && (l.Used < -1e-9 || l.Used > 1e-9) {
			t.Errorf("%+v", l)
		}
	}
}

func TestRatesDoNotAllocate(t *testing.T) {
	ms := NewMeters()
	r := Rates{Key: "s", RequestsPerSecond: 1e9, BytesPerSecond: 1e9, ItemsPerSecond: 1e9, ItemsKey: "samples_per_second"}
	a, b := open(ms, "prod", "a", "metrics", r, r), open(ms, "prod", "b", "metrics", r, r)
	now := start
	if n := testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Millisecond)
		for _, m := range []*Meter{a, b} {
			l, e := push(m, now, 1000, 1000)
			if e != nil {
				t.Fatal(e)
			}
			l.Return()
		}
	}); n != 0 {
		t.Errorf("%v allocations a push", n)
	}
}
