package main

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
)

// limitMemory tells of all bounds, and lets the garbage collector work harder before the container's limit is reached: the
// system kills a process that passes it. GOMEMLIMIT, where it is set, decides instead. The number of processors needs
// nothing: the runtime follows the container's.
func limitMemory(cfg *config.Config, log *slog.Logger) {
	m := cfg.Memory()
	if m.Limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(m.Limit / 10 * 9)
	}
	log.Info("memory", "bounds_bytes", m.Sum(), "inflight_bytes", m.Inflight, "series_bytes", m.Series, "base_bytes", m.Base,
		"container_limit_bytes", m.Limit, "processors", runtime.GOMAXPROCS(0))
}

const (
	// garbageBytes is how much garbage may lie beside what lives, where that lets the collector run as rarely as it does by
	// default at least.
	garbageBytes = 16 << 20
	// leastPercent keeps the collector from running all the time where a lot lives. What lives here is tables without
	// pointers, which cost it next to nothing.
	leastPercent = 15
	mostPercent  = 100
)

// boundGarbage keeps the heap from growing to twice what lives, as it does by default: the table of live series would be
// paid for twice. It goes on until ctx ends or the returned func is called. GOGC, where it is set, decides instead.
func boundGarbage(ctx context.Context) (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() {
		in := mostPercent
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		// A million series that come at once are there within a second or two.
		for tick := time.NewTicker(200 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
			metrics.Read(live)
			// Changing it stops the world for a moment: not for little.
			if p := gcPercent(live[0].Value.Uint64()); p < in*9/10 || p > in*11/10 {
				debug.SetGCPercent(p)
				in = p
			}
		}
	})
	return func() { cancel(); wait.Wait() }
}

// gcPercent is GOGC for a heap of which so many bytes live.
func gcPercent(live uint64) int {
	return int(min(max(garbageBytes*100/max(live, 1), leastPercent), mostPercent))
}
