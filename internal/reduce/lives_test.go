package reduce

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// life is a pod that lives once: its samples, in seconds, one each quarter of a minute.
type life struct {
	pod         string
	first, last int64
	marker      bool // it ends with a stale marker

	seen       bool // some of its samples have come
	from, till int64
}

// delivery is samples of one life, or its stale marker, that come together.
type delivery struct {
	life  *life
	times []int64
	stale bool
	at    int64 // when they come
}

const scrape = 15

// schedule makes lives of pods, one after the other; each begins when the one before has ended, or before that if they may
// overlap. Some pods come again, which they do when a marker or the lookback has ended their life.
func schedule(r *rand.Rand, overlaps bool) (ds []delivery) {
	ends := map[string]int64{}
	now := int64(60)
	for range 3 + r.IntN(3) {
		l := &life{pod: fmt.Sprint("p", r.IntN(4)), first: now + r.Int64N(20), marker: r.IntN(2) == 0}
		if free, again := ends[l.pod]; again {
			l.first = max(l.first, free)
		}
		l.last = l.first + scrape*(4+r.Int64N(6))
		ends[l.pod] = l.last + 6*60
		if l.marker {
			ends[l.pod] = l.last + 5*scrape
		}
		ds = append(ds, deliveries(r, l)...)
		now = l.last + 1 + r.Int64N(40)
		if overlaps && r.IntN(3) == 0 {
			now = l.first + r.Int64N(l.last-l.first+1)
		}
	}
	slices.SortStableFunc(ds, func(a, b delivery) int { return cmp.Compare(a.at, b.at) })
	return ds
}

// deliveries packs what l sends into pushes, each up to ten seconds late.
func deliveries(r *rand.Rand, l *life) (ds []delivery) {
	at := int64(0)
	for t := l.first; t <= l.last; {
		d := delivery{life: l}
		for n := 1 + r.IntN(3); n > 0 && t <= l.last; n-- {
			d.times = append(d.times, t)
			t += scrape
		}
		at = max(at, d.times[len(d.times)-1]+r.Int64N(10))
		d.at = at
		ds = append(ds, d)
	}
	if l.marker {
		ds = append(ds, delivery{life: l, stale: true, at: max(at, l.last+scrape+r.Int64N(40))})
	}
	return ds
}

// together takes from ds what one push holds: what comes within a few seconds, in any order but that of each pod.
func together(r *rand.Rand, ds []delivery) (push, rest []delivery) {
	n := 1
	for n < len(ds) && ds[n].at-ds[0].at < 5 && r.IntN(4) > 0 {
		n++
	}
	push = slices.Clone(ds[:n])
	for range n {
		i, j := r.IntN(n), r.IntN(n)
		i, j = min(i, j), max(i, j)
		if !slices.ContainsFunc(push[i:j+1], func(d delivery) bool { return d.life.pod == push[i].life.pod && d.life != push[i].life }) &&
			i+1 == j && push[i].life != push[j].life {
			push[i], push[j] = push[j], push[i]
		}
	}
	return push, ds[n:]
}

func (d delivery) sent() sent {
	s := at("m_total,pod="+d.life.pod, d.times...)
	if d.stale {
		s.stale = 1
	}
	return s
}

// come notes that the samples of d are known now.
func (d delivery) come() {
	for _, t := range d.times {
		if l := d.life; !l.seen {
			l.seen, l.from, l.till = true, t, t
		} else {
			l.from, l.till = min(l.from, t), max(l.till, t)
		}
	}
}

// met says whether what is known of lives shows that two were at once: one has a sample that is not older than the other's
// first, the other one that is not older than its first.
func met(lives []*life) bool {
	for i, a := range lives {
		for _, b := range lives[:i] {
			if a.seen && b.seen && a.pod != b.pod && a.from <= b.till && b.from <= a.till {
				return true
			}
		}
	}
	return false
}

func livesOf(ds []delivery) (ls []*life) {
	for _, d := range ds {
		if !slices.Contains(ls, d.life) {
			ls = append(ls, d.life)
		}
	}
	return ls
}

// superseded says whether another's life has begun since that of d has ended.
func (d delivery) superseded(lives []*life) bool {
	return d.stale && slices.ContainsFunc(lives, func(l *life) bool {
		return l.seen && l.pod != d.life.pod && l.from > d.life.till
	})
}

// TestLivesAgainstOracle: until it can be seen that two pods live at once all leaves reduced, and from that push on nothing. A
// marker of a pod whose place another has taken stays here.
func TestLivesAgainstOracle(t *testing.T) {
	suspended, handed, markers := 0, 0, 0
	for seed := range uint64(1500) {
		r := rand.New(rand.NewPCG(seed, 1))
		overlaps := seed%2 == 0
		ds := schedule(r, overlaps)
		lives := livesOf(ds)
		g := newRig(t, Options{})
		p := g.metrics(dropPod)
		held := false
		for rest := ds; len(rest) > 0 && !t.Failed(); {
			var push []delivery
			push, rest = together(r, rest)
			var all []sent
			for _, d := range push {
				all = append(all, d.sent())
				d.come()
			}
			held = held || met(lives)
			g.now = began.Add(time.Duration(push[len(push)-1].at) * time.Second)
			for i, left := range g.push(p, all...).left {
				want := "m_total"
				switch {
				case held:
					want = "m_total,pod=" + push[i].life.pod
				case push[i].superseded(lives) && !later(push[i+1:], push[i].life):
					want += " no marker"
					markers++
				case push[i].stale && strings.HasSuffix(left, "no marker"):
					want = left // whether what comes in one push is before or after it, nobody can say
				}
				if left != want {
					t.Errorf("seed %d: at %d seconds %v of %s left as %q, want %q", seed, push[i].at, push[i].times, push[i].life.pod, left, want)
				}
			}
		}
		if n := len(g.Collisions()); (n == 1) != held || held && !overlaps {
			t.Errorf("seed %d: %d collisions, and lives that overlap: %v", seed, n, held)
		}
		if held {
			suspended++
		} else {
			handed++
		}
		if t.Failed() {
			return
		}
	}
	if suspended < 300 || handed < 700 || markers < 100 {
		t.Errorf("%d schedules met, %d did not, %d markers came late: the test tests too little", suspended, handed, markers)
	}
}

// later says whether what took the place of l is in this push only, behind its marker.
func later(behind []delivery, l *life) bool {
	return slices.ContainsFunc(behind, func(d delivery) bool { return d.life != l && d.life.from >= slices.Min(append(d.times, d.life.from)) })
}

// TestRejectAgainstOracle: what leaves is one life after the other. One that was refused may go on when the other has ended;
// one that only seemed to take over is refused from the moment in which the first goes on.
func TestRejectAgainstOracle(t *testing.T) {
	refused, passed := 0, 0
	for seed := range uint64(700) {
		r := rand.New(rand.NewPCG(seed, 2))
		ds := schedule(r, true)
		var parts []*life // of lives, which left
		now := map[*life]*life{}
		g := newRig(t, Options{})
		p := g.metrics(dropPod, reject)
		for rest := ds; len(rest) > 0; {
			var push []delivery
			push, rest = together(r, rest)
			var all []sent
			for _, d := range push {
				all = append(all, d.sent())
			}
			g.now = began.Add(time.Duration(push[len(push)-1].at) * time.Second)
			for i, left := range g.push(p, all...).left {
				if left == "refused" {
					refused++
					delete(now, push[i].life)
					continue
				}
				if now[push[i].life] == nil {
					now[push[i].life] = &life{pod: push[i].life.pod}
					parts = append(parts, now[push[i].life])
				}
				mine := now[push[i].life]
				parts = slices.DeleteFunc(parts, func(o *life) bool {
					seemed := o != mine && mine.seen && o.from > mine.till && len(push[i].times) > 0 && slices.Max(push[i].times) >= o.from
					if seemed {
						maps.DeleteFunc(now, func(_, part *life) bool { return part == o })
					}
					return seemed
				})
				delivery{life: mine, times: push[i].times}.come()
				passed++
			}
			if met(parts) {
				t.Fatalf("seed %d: at %d seconds samples of two lives left as one series", seed, push[0].at)
			}
		}
	}
	if refused < 500 || passed < 5000 {
		t.Errorf("%d refused and %d passed: the test tests too little", refused, passed)
	}
}

func TestPushesThatAreSentAgain(t *testing.T) {
	r := newRig(t, Options{})
	p := r.metrics(dropPod)
	last := at("m,pod=a", 15, 30)
	last.stale = 1
	r.want(p, []sent{at("m,pod=a", 0)}, "m")
	for range 3 { // upstream did not take it
		r.want(p, []sent{last}, "m")
	}
	r.want(p, []sent{at("m,pod=b", 45)}, "m")
	// Once more, when another has taken over: the samples are b's past, the marker would end it.
	r.want(p, []sent{last}, "m no marker")
	r.want(p, []sent{at("m,pod=b", 60)}, "m")
	// The same in the push in which another metric is suspended, which so is judged twice.
	end := at("m,pod=b", 75)
	end.stale = 1
	r.want(p, []sent{end, at("n,pod=a", 75), at("n,pod=b", 75)}, "m", "n,pod=a", "n,pod=b")
	r.want(p, []sent{at("m,pod=c", 90), at("o,pod=a", 90), at("o,pod=b", 90)}, "m", "o,pod=a", "o,pod=b")
	if c := r.Collisions(); len(c) != 2 {
		t.Errorf("collisions %+v, want those of n and o", c)
	}
}

func TestClockThatIsWrong(t *testing.T) {
	r := newRig(t, Options{})
	p := r.metrics(dropPod)
	// A sample from next year does not make all others late: those that meet are found.
	r.want(p, []sent{at("m,pod=far", 365*24*3600)}, "m")
	r.wait(75 * time.Second)
	r.want(p, []sent{at("m,pod=a", 75), at("m,pod=b", 75)}, "m,pod=a", "m,pod=b")
}

// TestPolicyInForceNoMore: a push that began before a reload finishes under its own rules, and still corrupts nothing.
func TestPolicyInForceNoMore(t *testing.T) {
	r := newRig(t, Options{})
	old := r.metrics(dropPod)
	r.want(old, []sent{at("m,pod=a", 0)}, "m")
	r.metrics(`[{action: labeldrop, regex: zone}]`)
	r.want(old, []sent{at("m,pod=b", 7)}, "m")
	r.want(old, []sent{at("m,pod=a", 15), at("m,pod=b", 22)}, "m,pod=a", "m,pod=b")
	r.drain()
}

// TestRejectNamesBoth: the first writer is shown when it comes again, in a push of its own and by another client.
func TestRejectNamesBoth(t *testing.T) {
	r := newRig(t, Options{})
	ps := r.policies(dropPod, []string{"one", "two"}, reject)
	r.want(ps[0], []sent{at("m,pod=a", 0)}, "m")
	r.want(ps[1], []sent{at("m,pod=b", 0)}, "refused")
	if c := r.Collisions(); len(c) != 1 || len(c[0].Series) != 1 || c[0].Rule != -1 {
		t.Errorf("collisions %+v, want one with one series", c)
	}
	r.want(ps[0], []sent{at("m,pod=a", 15)}, "m")
	if c := r.Collisions(); len(c) != 1 || len(c[0].Series) != 2 || c[0].Rule != 0 || len(c[0].Clients) != 2 {
		t.Errorf("collisions %+v, want both series and both clients", c)
	}
	if log := r.log.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "pod=\\\"a") {
		t.Errorf("log %q, want one line with both", log)
	}
}
