package series

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// together runs f in n goroutines and waits for them.
func together(n int, f func(g int)) {
	var wg sync.WaitGroup
	for g := range n {
		wg.Go(func() { f(g) })
	}
	wg.Wait()
}

// TestLimitIsExact has 64 goroutines bring more than there is room for, the same and different ones.
func TestLimitIsExact(t *testing.T) {
	const limit, offered = 5000, 6000
	tab := New(Options{MaxEntries: limit})
	var stored, made atomic.Int64
	together(64, func(g int) {
		for i := range offered {
			k := keyOf(uint64((i + g*97) % offered))
			if g%4 == 0 {
				tab.Route(k, 0, func(_ *Output, found bool) {
					if !found {
						made.Add(1)
					}
				})
				continue
			}
			tab.Update(k, 0, func(e *Entry, found bool) bool {
				if !found {
					stored.Add(1)
				}
				return counted(e, found)
			})
		}
	})
	if n := stored.Load() + made.Load(); n != limit {
		t.Errorf("%d stored and %d made, want %d together", stored.Load(), made.Load(), limit)
	}
	if err := sound(tab, int(stored.Load()), int(made.Load())); err != nil {
		t.Error(err)
	}
}

// TestTogether has 64 goroutines do all that can be done while time goes on and shards are swept. What Released is told
// and what callers settle is all that was counted, and an index that an entry holds is always that of its output.
func TestTogether(t *testing.T) {
	const keys, outs, pushes = 3000, 200, 60
	var now atomic.Uint32
	var balance atomic.Int64
	tab := New(Options{MaxEntries: 2500, Shards: 16, Released: func(_, weight uint32) { balance.Add(-int64(weight)) }})
	settle := func(e *Entry) {
		if e.Kind() == Counted {
			balance.Add(-int64(e.Value()))
		}
	}
	push := func(r *rand.Rand) {
		minute := Minute(now.Load())
		batch := make([]labels.Key, 100)
		first := r.Uint64N(keys)
		for i := range batch {
			batch[i] = keyOf((first + uint64(i)) % keys)
		}
		known := make([]bool, len(batch))
		tab.Probe(batch, minute, func(i int, e *Entry) {
			known[i] = true
			if e.Kind() == Routed {
				tab.At(e.Ref, minute, func(o *Output) {
					if o.Owner != uint64(e.Value()) {
						t.Errorf("an entry of output %d has the index of %d", e.Value(), o.Owner)
					}
				})
			}
		})
		for i, k := range batch {
			if known[i] && r.IntN(20) > 0 {
				continue
			}
			tab.Update(k, minute, func(e *Entry, found bool) bool {
				settle(e)
				weight, out := 1+r.Uint32N(5), r.Uint64N(outs)
				switch r.IntN(4) {
				case 0:
					return false
				case 1:
					index, ok := tab.Route(keyOf(1<<40+out), minute, func(o *Output, found bool) {
						o.Owner = out
						if !found {
							o.Weight = weight
							balance.Add(int64(weight))
						}
					})
					if !ok {
						return false
					}
					e.Ref = index
					e.Set(Routed, uint32(out), 0)
				default:
					e.Set(Counted, weight, 0)
					balance.Add(int64(weight))
				}
				return true
			})
		}
	}
	together(64, func(g int) {
		r := rand.New(rand.NewPCG(uint64(g), 7))
		for range pushes {
			push(r)
			switch r.IntN(4) {
			case 0:
				now.Add(r.Uint32N(3))
			case 1:
				for range 8 {
					tab.Sweep(Minute(now.Load()))
				}
			case 2:
				_, _ = tab.Len(), tab.Bytes()
			}
		}
	})
	if now.Load() < 4*IdleMinutes || balance.Load() < 0 {
		t.Errorf("at minute %d the balance is %d", now.Load(), balance.Load())
	}
	for range tab.Shards() {
		tab.Sweep(Minute(now.Load()) + IdleMinutes + 2)
	}
	if balance.Load() != 0 || tab.Len() != 0 {
		t.Errorf("after all: balance %d and %d in the table, want 0", balance.Load(), tab.Len())
	}
}
