package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
)

func TestGCPercent(t *testing.T) {
	f := func(live uint64, want int) {
		t.Helper()
		if got := gcPercent(live); got != want {
			t.Errorf("%d bytes live: GOGC %d, want %d", live, got, want)
		}
	}
	f(0, 100)
	f(10<<20, 100)
	f(14<<20, 100)
	f(20<<20, 70)
	f(40<<20, 30)
	f(80<<20, 10)
	f(160<<20, 10)
	f(1<<40, 9) // a tenth, rounded down
}

// TestBoundGarbage: the percentage follows what lives from one collection to the next, both ways, until it is told to stop.
func TestBoundGarbage(t *testing.T) {
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(debug.SetGCPercent(mostPercent))
	stop := boundGarbage()
	percent := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	f := func(what string, want func(int) bool) {
		t.Helper()
		in := 0
		for range 1000 { // the watch may look a moment after a collection
			runtime.GC()
			metrics.Read(percent)
			if in = int(percent[0].Value.Uint64()); want(in) {
				return
			}
		}
		t.Errorf("%s: GOGC %d", what, in)
	}
	large := make([]byte, 64<<20)
	f("64 MiB live", func(in int) bool { return in <= 25 && in >= 9 })
	runtime.KeepAlive(large)
	large = nil
	f("nothing lives", func(in int) bool { return in > 25 })
	stop()
	debug.SetGCPercent(77)
	large = make([]byte, 64<<20)
	for range 10 {
		runtime.GC()
	}
	metrics.Read(percent)
	if in := percent[0].Value.Uint64(); in != 77 {
		t.Errorf("stopped: GOGC %d, want 77", in)
	}
	runtime.KeepAlive(large)
}

// TestProcessorsFollowTheContainer: the runtime takes the container's CPU limit for GOMAXPROCS unless a build or a setting asks
// for what Go did before 1.25, as an older version in go.mod would.
func TestProcessorsFollowTheContainer(t *testing.T) {
	settings := os.Getenv("GODEBUG")
	info, ok := debug.ReadBuildInfo()
	if !ok {
		t.Fatal("this binary does not say how it was built")
	}
	for _, s := range info.Settings {
		if s.Key == "DefaultGODEBUG" {
			settings += "," + s.Value
		}
	}
	for _, off := range []string{"containermaxprocs=0", "updatemaxprocs=0"} {
		if strings.Contains(settings, off) {
			t.Errorf("%s is set: %s", off, settings)
		}
	}
}
