package limits

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// sender pushes n items every so many seconds on average, and what is refused again when it was told to.
type sender struct {
	m         *Meter
	n         int
	every     float64
	next      float64 // when it pushes
	due       float64 // when the push was to be sent first
	impatient bool    // pushes on as if it had not been told
	asked     float64
	admitted  float64
	refused   int
}

// run lets senders push for so many seconds and calls after each push.
func run(seconds float64, senders []*sender, after func(now float64)) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for {
		s := senders[0]
		for _, o := range senders {
			if o.next < s.next {
				s = o
			}
		}
		now := s.next
		if now > seconds {
			return
		}
		_, e := push(s.m, at(now), 0, s.n)
		if e != nil {
			s.refused++
		} else {
			s.admitted += float64(s.n)
		}
		if s.asked = max(s.asked, now/s.every*float64(s.n)); e != nil && !s.impatient {
			s.next = now + e.After.Seconds()
		} else {
			s.due += s.every * (0.9 + 0.2*rnd.Float64())
			s.next = max(now, s.due)
		}
		after(now)
	}
}

// TestFairness: one client floods, the others send what their part allows. They get it, whatever the sizes of pushes; if
// their pushes are not larger than what a share can hold, at once.
func TestFairness(t *testing.T) {
	f := func(flood, size int, clients int) {
		t.Helper()
		const rate, burst = 1000, 10
		// Long enough for many pushes of each, however large: Retry-After has jitter, and with few of them luck decides.
		seconds := float64(max(200, 30*max(flood, size)*clients/rate))
		ms := NewMeters()
		meter := func(i int) *Meter {
			return open(ms, "prod", fmt.Sprint(i), "metrics", samples(rate, burst), Rates{})
		}
		greedy := &sender{m: meter(0), n: flood, every: float64(flood) / rate / 3, impatient: true}
		senders := []*sender{greedy}
		for i := 1; i < clients; i++ {
			// A little less than its part, in which the jitter of its schedule finds place.
			senders = append(senders, &sender{m: meter(i), n: size, every: 1.15 * float64(size) * float64(clients) / rate})
		}
		early := make([]int, clients)
		run(seconds, senders, func(now float64) {
			total := 0.0
			for i, s := range senders {
				if total += s.admitted; now < 60 { // shares start empty
					early[i] = s.refused
				}
			}
			if most := rate*now + rate*burst + float64(max(flood, size)); total > most*(1+1e-9) {
				t.Fatalf("after %g s %g items are admitted, over %g", now, total, most)
			}
		})
		total, wanted := greedy.admitted, 0.0
		for i, s := range senders[1:] {
			total, wanted = total+s.admitted, wanted+s.asked
			if n := s.refused - early[i+1]; n > 0 && size <= rate*burst/2/clients {
				t.Errorf("%d clients, pushes of %d beside a flood of %d: refused %d times, although within its part", clients, size, flood, n)
			}
			// Who comes back to an unpaid debt comes back again: with pushes that no share can hold, luck plays a part.
			least := 0.9
			if size > rate*burst/2/clients {
				least = 0.5
			}
			if s.admitted < least*s.asked-2*float64(size) {
				t.Errorf("%d clients, pushes of %d beside a flood of %d: %g of %g items admitted, although within its part", clients, size, flood, s.admitted, s.asked)
			}
		}
		if got := total - greedy.admitted; got < 0.8*wanted {
			t.Errorf("%d clients, pushes of %d beside a flood of %d: %g of %g items admitted, although within their part", clients, size, flood, got, wanted)
		}
		if total < rate*seconds*0.95 {
			t.Errorf("%d clients, pushes of %d beside a flood of %d: %g items admitted in %g s of %d a second: the flood does not get what the others leave", clients, size, flood, total, seconds, rate)
		}
	}
	f(100, 100, 2)
	f(100, 2000, 2)
	f(2, 5000, 2)
	f(20_000, 100, 2)
	f(20_000, 20_000, 2)
	f(2000, 10, 2)
	f(500, 500, 5)
	f(100, 2000, 20)
	f(3000, 100, 20)
	f(20, 20, 100)
}

// What some leave unused, the others get, and neither is left out; a client that is alone has everything.
func TestNothingIsWasted(t *testing.T) {
	f := func(busy, idle int) {
		t.Helper()
		const rate, seconds = 1000, 300
		ms := NewMeters()
		var senders []*sender
		for i := range busy + idle {
			s := &sender{m: open(ms, "prod", fmt.Sprint(i), "metrics", samples(rate, 10), Rates{}), n: 50, every: 0.02, impatient: true}
			if i >= busy {
				s.n, s.every = 1, 20
			}
			senders = append(senders, s)
		}
		run(seconds, senders, func(float64) {})
		total := 0.0
		for _, s := range senders {
			total += s.admitted
		}
		if total < rate*seconds {
			t.Errorf("%d busy and %d idle clients: %g items in %d s of %d a second", busy, idle, total, seconds, rate)
		}
		for _, s := range senders[:busy] {
			if part := s.admitted / total; part < 0.8/float64(busy) {
				t.Errorf("%d busy and %d idle clients: one has %.3f of all", busy, idle, part)
			}
		}
	}
	f(1, 0)
	f(1, 10)
	f(2, 0)
	f(3, 20)
}

// A client that was quiet for a minute has no share any more, and one that comes has one at once.
func TestActiveForAMinute(t *testing.T) {
	ms := NewMeters()
	a, b := open(ms, "prod", "a", "metrics", samples(100, 10), Rates{}), open(ms, "prod", "b", "metrics", samples(100, 10), Rates{})
	mustSend(t, a, 0, 0, 0)
	mustSend(t, b, 0, 0, 0)
	mustSend(t, a, 60, 750, 0)
	mustSend(t, a, 60, 1, 1) // 250 are kept for b
	mustSend(t, b, 60, 250, 0)
	mustSend(t, b, 60, 1, 1)
	mustSend(t, a, 119, 750, 0)
	mustSend(t, a, 119, 1, 1)
	mustSend(t, a, 121.5, 500, 0) // b is gone, and what was kept for it is free
	mustSend(t, a, 121.5, 1, 1)
	// Its first push finds nothing; from then on half of the rate is its own.
	mustSend(t, b, 121.5, 100, 2)
	mustSend(t, a, 123.5, 100, 0)
	mustSend(t, a, 123.5, 1, 1)
	mustSend(t, b, 123.5, 100, 0)
}

// TestNeverMoreThanTheRate drives one pool with anything that can happen. From any moment to any later one, no more is
// admitted than the rate, the burst and the largest push allow; the same of each client's own bucket.
func TestNeverMoreThanTheRate(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		rate := []float64{0.5, 10, 1000, 1e6}[rnd.IntN(4)]
		burst := []float64{0.1, 1, 10, 60}[rnd.IntN(4)]
		largest := max(1, int(rate*burst*[]float64{0.01, 0.3, 1, 3}[rnd.IntN(4)]))
		capacity := max(1, rate*burst)
		ms := NewMeters()
		meters := make([]*Meter, 1+rnd.IntN(12))
		for i := range meters {
			meters[i] = open(ms, "prod", fmt.Sprint(i), "logs", samples(rate, burst), own(samples(rate/2, burst)))
		}
		// ahead is how much more than the rate was admitted since the moment at which it was least: the worst of all windows.
		ahead := make([]float64, len(meters)+1)
		now, total := 0.0, 0.0
		type taken struct {
			Lease
			by, n int
		}
		var leases []taken
		for range 4000 {
			step := rnd.ExpFloat64() * float64(largest) / rate / 2
			if rnd.IntN(200) == 0 {
				step += 70 // some clients are forgotten
			}
			now += step
			i := rnd.IntN(1 + rnd.IntN(len(meters))) // some send more than others
			n := 1 + rnd.IntN(largest)
			for k := range ahead {
				r := rate
				if k < len(meters) {
					r /= 2
				}
				ahead[k] = max(0, ahead[k]-r*step)
			}
			// A reload with the same limits, and requests that find nothing to take, change nothing.
			if rnd.IntN(50) == 0 {
				open(ms, "prod", fmt.Sprint(i), "logs", samples(rate, burst), own(samples(rate/2, burst)))
			}
			l, e := push(meters[i], at(now), 0, n)
			if e != nil {
				continue
			}
			total += float64(n)
			ahead[i] += float64(n)
			ahead[len(meters)] += float64(n)
			own := max(1, rate/2*burst)
			if most := own + float64(largest); ahead[i] > most*1.000001 {
				t.Fatalf("seed %d: a client is %g ahead of %g a second, over %g", seed, ahead[i], rate/2, most)
			}
			if most := capacity + float64(largest); ahead[len(meters)] > most*1.000001 {
				t.Fatalf("seed %d: the environment is %g ahead of %g a second, over %g", seed, ahead[len(meters)], rate, most)
			}
			if leases = append(leases, taken{l, i, n}); rnd.IntN(4) == 0 {
				// One comes back, once, and is worth no more than it took.
				back := &leases[rnd.IntN(len(leases))]
				back.Return()
				back.Return()
				for _, k := range []int{back.by, len(meters)} {
					ahead[k] = max(0, ahead[k]-float64(back.n))
				}
				back.n = 0
			}
		}
		if total < rate*now/100 {
			t.Errorf("seed %d: only %g items in %g s of %g a second", seed, total, now, rate)
		}
		check(t, seed, meters[0].pool, meters[0].environment.clock(at(now)), float64(largest))
	}
}

// check looks at what must hold of a pool after anything: shares fit into their half, and what they hold is there, but for
// the debt of one push.
func check(t *testing.T, seed uint64, p *pool, now, largest float64) {
	t.Helper()
	b := p.buckets[items]
	b.advance(now)
	rate, reserve := p.parts(items)
	held := 0.0
	for _, s := range p.shares[items] {
		held += max(0, s.after(now, rate, reserve))
	}
	for i, m := range p.active {
		if m.slot != i {
			t.Errorf("seed %d: slot %d thinks it is %d", seed, i, m.slot)
		}
	}
	if b.level > b.capacity || held > b.capacity/2*(1+1e-9) || b.level-held < -largest-b.capacity*1e-9 {
		t.Errorf("seed %d: %g in a bucket of %g, %g of them in shares", seed, b.level, b.capacity, held)
	}
}

func BenchmarkPush(b *testing.B) {
	r := Rates{Key: "s", RequestsPerSecond: 1e12, BytesPerSecond: 1e12, ItemsPerSecond: 1e12, ItemsKey: "samples_per_second"}
	for _, clients := range []int{1, 10, 1000} {
		for _, short := range []bool{false, true} {
			b.Run(fmt.Sprintf("clients=%d/short=%t", clients, short), func(b *testing.B) {
				ms := NewMeters()
				shared := r
				if short {
					shared.ItemsPerSecond = 1
				}
				meters := make([]*Meter, clients)
				for i := range meters {
					meters[i] = open(ms, "prod", fmt.Sprint(i), "metrics", shared, r)
					meters[i].Request(start)
				}
				b.ReportAllocs()
				i := 0
				now := start
				for b.Loop() {
					now = now.Add(time.Microsecond)
					l, e := meters[i%clients].Request(now)
					if e == nil && !short {
						e = l.Items(now, 100_000, 2000)
					} else if e == nil {
						l.m.take(now, &[kinds]float64{bytes: 100_000, items: 2000}) // without the text
						l.Return()
					}
					if e != nil {
						b.Fatal(e)
					}
					i++
				}
			})
		}
	}
}
