package main

import (
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"

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
	garbageBytes = 10 << 20
	// leastPercent keeps the collector from running all the time where a lot lives. What lives here is tables without
	// pointers, which cost it next to nothing.
	leastPercent = 10
	mostPercent  = 100
)

// boundGarbage keeps the heap from growing to twice what lives, as it does by default: the table of live series would be
// paid for twice. It looks after each collection, since only a collection finds out what lives, and takes nothing while there
// is none. It goes on until the returned func is called. GOGC, where it is set, decides instead.
func boundGarbage() (stop func()) {
	stopped := new(atomic.Bool)
	if os.Getenv("GOGC") == "" {
		w := &garbageWatch{stopped: stopped, live: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}, in: mostPercent}
		w.again()
	}
	return func() { stopped.Store(true) }
}

// garbageWatch is what one collection hands on to the next.
type garbageWatch struct {
	stopped *atomic.Bool
	live    []metrics.Sample
	in      int // the percentage in force
}

// again has the watch look once the next collection has found what is made here, which nobody holds.
func (w *garbageWatch) again() { runtime.AddCleanup(new([64]byte), (*garbageWatch).look, w) }

func (w *garbageWatch) look() {
	if w.stopped.Load() {
		return
	}
	metrics.Read(w.live)
	// Changing it stops the world for a moment: not for little.
	if p := gcPercent(w.live[0].Value.Uint64()); p < w.in*9/10 || p > w.in*11/10 {
		debug.SetGCPercent(p)
		w.in = p
	}
	w.again()
}

// gcPercent is GOGC for a heap of which so many bytes live.
func gcPercent(live uint64) int {
	return int(min(max(garbageBytes*100/max(live, 1), leastPercent), mostPercent))
}
