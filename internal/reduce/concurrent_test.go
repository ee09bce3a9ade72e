package reduce

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestLimitIsExact: 64 goroutines push series that overlap, beyond the limit.
func TestLimitIsExact(t *testing.T) {
	for _, text := range []string{"[]", `[{action: labeldrop, regex: zone}]`} {
		const most, all = 500, 800
		r := newRig(t, Options{})
		p := r.metrics(text, limit(most))
		var admitted [all]atomic.Bool
		var wg sync.WaitGroup
		for g := range 64 {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(g), 5))
				for range 20 {
					var push []sent
					var numbers []int
					for range 25 {
						n := rnd.IntN(all)
						numbers = append(numbers, n)
						push = append(push, sent{labels: fmt.Sprintf("m,pod=%d,zone=z", n), lines: 1, weight: 1})
					}
					for i, left := range rigOf(r).push(p, push...).left {
						if left == "refused" && admitted[numbers[i]].Load() {
							t.Errorf("%s was let in and is refused", push[i].labels)
						}
						if left != "refused" {
							admitted[numbers[i]].Store(true)
						}
					}
				}
			})
		}
		wg.Wait()
		n := 0
		for i := range admitted {
			if admitted[i].Load() {
				n++
			}
		}
		if n != most {
			t.Errorf("rules %s: %d series were let in, want %d", text, n, most)
		}
		r.wantActive(most)
		r.drain()
	}
}

// rigOf is a rig of its own for one goroutine, over the same Engine.
func rigOf(r *rig) *rig { return &rig{Engine: r.Engine, t: r.t, now: r.now, log: r.log} }

// TestReloadsMeanwhile: pushes of all kinds, reloads, sweeps and reports at once.
func TestReloadsMeanwhile(t *testing.T) {
	r := newRig(t, Options{})
	texts := []string{"[]", dropPod, `[{action: labeldrop, regex: zone}]`, `[{source_labels: [pod], target_label: who}]`}
	var current atomic.Pointer[[]*Policy]
	reload := func(n int) {
		ps := rigOf(r).policies(texts[n%len(texts)], []string{"a", "b"}, limit(200+n%50), func(s *Settings) { s.RejectCollisions = n%8 > 5 })
		current.Store(&ps)
	}
	reload(0)
	var minutes atomic.Int64
	var wg, reloads sync.WaitGroup
	stop := make(chan struct{})
	reloads.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			reload(n)
			now := began.Add(time.Duration(minutes.Add(1)) * time.Minute)
			for range r.table.Shards() {
				r.Sweep(now)
			}
			r.Collisions()
			r.active()
		}
	})
	for g := range 64 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 6))
			mine := rigOf(r)
			for range 40 {
				mine.now = began.Add(time.Duration(minutes.Load()) * time.Minute)
				var push []sent
				for range 20 {
					push = append(push, at(fmt.Sprintf("m%d,pod=%d,zone=%d", rnd.IntN(4), rnd.IntN(60), rnd.IntN(2)), int64(mine.now.Sub(began)/time.Second)))
				}
				ps := *current.Load()
				mine.push(ps[rnd.IntN(len(ps))], push...)
			}
		})
	}
	wg.Wait()
	close(stop)
	reloads.Wait()
	r.now = began.Add(time.Duration(minutes.Load()) * time.Minute)
	r.drain()
}
