package main

import (
	"os"
	"runtime/debug"
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
	f(16<<20, 100)
	f(32<<20, 50)
	f(64<<20, 25)
	f(1<<40, 15)
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
