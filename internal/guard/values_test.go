package guard

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

func TestValuesAreForgotten(t *testing.T) {
	f := func(refreshAfter, admitAfter time.Duration, refused bool) {
		t.Helper()
		g := New(Options{Started: start})
		p := g.Policy(sender("app"), Limits{ValuesPerLabel: 2}, Limits{}, false, nil)
		ref, _, _ := p.Admit(start, series("m", "a", "1"), 1)
		p.Admit(start, series("m", "a", "2"), 1)
		if refreshAfter > 0 {
			g.Refresh(start.Add(refreshAfter), ref, series("m", "a", "1"))
			g.Refresh(start.Add(refreshAfter), ref, series("m", "a", "2"))
		}
		if _, r, got := p.Admit(start.Add(admitAfter), series("m", "a", "3"), 1); got != refused {
			t.Errorf("refreshed after %s, a third value after %s: refused %v: %+v", refreshAfter, admitAfter, got, r)
		}
		// One that is known stays known for as long.
		if _, _, got := p.Admit(start.Add(admitAfter), series("m", "a", "1", "b", "x"), 1); got && refused {
			t.Errorf("refreshed after %s: a known value after %s is refused", refreshAfter, admitAfter)
		}
	}
	f(0, time.Minute, true)
	f(0, 29*time.Minute, true)
	f(0, 30*time.Minute, false)
	f(0, 300*time.Minute, false) // minutes are kept modulo 256
	f(10*time.Minute, 39*time.Minute, true)
	f(10*time.Minute, 40*time.Minute, false)
	f(29*time.Minute, 58*time.Minute, true)
	f(29*time.Minute, 59*time.Minute, false)
	f(29*time.Minute, 29*time.Minute+256*time.Minute, false)
}

// TestValueSetModel holds a set against a map over hours.
func TestValueSetModel(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		const limit = 40
		minute := uint32(1000)
		v := valueSet{swept: minute}
		seen := map[uint64]uint32{}
		for range 5000 {
			if rnd.IntN(30) == 0 {
				minute += uint32(rnd.IntN(6))
			}
			if rnd.IntN(2000) == 0 {
				minute += uint32(rnd.IntN(600))
			}
			for k, at := range seen {
				if minute-at >= valueMinutes {
					delete(seen, k)
				}
			}
			key := rnd.Uint64N(200) * 0x9e3779b97f4a7c15 // 0 is a value too
			_, known := seen[key]
			want := len(seen) + 1
			if known {
				want = 0
			}
			if got := v.with(key, minute, int64(len(seen)), 1<<40); got != want {
				t.Fatalf("seed %d: %d values with %d, want %d", seed, got, key, want)
			}
			v.add(key, minute, limit)
			if known || len(seen) < limit {
				seen[key] = minute
			}
		}
	}
}

// TestValueSetMemory holds what a set takes to its bound while it fills, and has it know all that was added.
func TestValueSetMemory(t *testing.T) {
	const n, most = 200_000, 10
	v, rnd := valueSet{}, rand.New(rand.NewPCG(1, 3))
	hashes := make([]uint64, n)
	for i := range hashes {
		hashes[i] = rnd.Uint64()
		v.add(hashes[i], 0, n)
		if bytes := 4*len(v.low) + 2*len(v.high); i > 100 && bytes > most*v.n+100 {
			t.Fatalf("%d values take %d bytes, want %d each at most", v.n, bytes, most)
		}
	}
	for i, h := range hashes {
		if got := v.with(h, 0, n, n); got != 0 {
			t.Fatalf("value %d is not known: %d", i, got)
		}
	}
	if v.n < n-1 {
		t.Errorf("%d values, want %d", v.n, n)
	}
}

func TestLimitsOnValuesComeWithAReload(t *testing.T) {
	g := New(Options{Started: start})
	p := g.Policy(sender("app"), Limits{}, Limits{}, false, nil)
	var refs []uint32
	for i := range 10 {
		ref, _, _ := p.Admit(start, series("m", "a", fmt.Sprint(i)), 1)
		refs = append(refs, ref)
	}
	p = g.Policy(sender("app"), Limits{ValuesPerLabel: 5}, Limits{}, false, nil)
	p.TakeEffect()
	for i, ref := range refs[:5] {
		g.Refresh(start.Add(time.Minute), ref, series("m", "a", fmt.Sprint(i)))
	}
	if _, _, refused := p.Admit(start.Add(time.Minute), series("m", "a", "10"), 1); !refused {
		t.Error("a sixth value is admitted")
	}
	if _, _, refused := p.Admit(start.Add(time.Minute), series("m", "a", "4", "b", "1"), 1); refused {
		t.Error("a value of a live series is refused")
	}
	if n := activeOf(g, "app"); n != 11 {
		t.Errorf("%d are active, want 11: a reload forgets nothing", n)
	}
}

// A policy that never takes effect, since the rest of its configuration is refused, changes nothing.
func TestPolicyThatTakesNoEffect(t *testing.T) {
	g := New(Options{Started: start})
	p := g.Policy(sender("app"), Limits{ValuesPerLabel: 2, ActiveSeries: 9}, Limits{}, false, nil)
	p.TakeEffect()
	ref, _, _ := p.Admit(start, series("m", "a", "0"), 1)
	p.Admit(start, series("m", "a", "1"), 1)
	g.Policy(sender("app"), Limits{}, Limits{}, false, nil)
	for at := start; at.Before(start.Add(time.Hour)); at = at.Add(10 * time.Minute) {
		g.Refresh(at, ref, series("m", "a", "0"))
	}
	later := start.Add(time.Hour)
	if _, _, refused := p.Admit(later, series("m", "a", "2"), 1); refused {
		t.Error("a second value is refused: one of the two has not been seen for an hour")
	}
	if _, _, refused := p.Admit(later, series("m", "a", "3"), 1); !refused {
		t.Error("a third value is admitted: that of a live series was forgotten")
	}
	if n := g.Report(later, ReportOptions{}).Spaces[0].Limit; n != 9 {
		t.Errorf("the limit is reported as %d, want 9", n)
	}
}

// An exempt client knows no limits, and a report shows those of the others.
func TestLimitBesideExempt(t *testing.T) {
	g := New(Options{Started: start})
	g.Policy(sender("app"), Limits{ActiveSeries: 9}, Limits{}, false, nil).TakeEffect()
	g.Policy(sender("monitor"), Limits{}, Limits{}, true, nil).TakeEffect()
	if n := g.Report(start, ReportOptions{}).Spaces[0].Limit; n != 9 {
		t.Errorf("the limit is reported as %d, want 9", n)
	}
}

func activeOf(g *Guard, client string) (n int) {
	g.Each(func(s Sender, active int) {
		if s.Client == client {
			n += active
		}
	})
	return n
}
