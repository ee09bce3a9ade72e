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
	// garbageBytes is how much garbage may lie beside what lives, together with a tenth of that: a small process, in which
	// the doors that must build what they read make most of it, has more room for it than one with a large table.
	garbageBytes = 16 << 20
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

// gcPercent is GOGC for a heap of which so many bytes live. A tenth of that is the least, so that the collector does not run
// all the time where a lot lives: tables without pointers, which cost it next to nothing.
func gcPercent(live uint64) int {
	tenth := live / 10
	garbage := max(tenth, garbageBytes-min(tenth, garbageBytes))
	return int(min(garbage*100/max(live, 1), mostPercent))
}
