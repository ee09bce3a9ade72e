package main

import "testing"

func TestGCPercent(t *testing.T) {
	f := func(live uint64, want int) {
		t.Helper()
		if got := gcPercent(live); got != want {
			t.Errorf("%d bytes live: GOGC %d, want %d", live, got, want)
		}
	}
	f(0, 100)
	f(10<<20, 100)
	f(24<<20, 100)
	f(48<<20, 50)
	f(96<<20, 25)
	f(1<<40, 15)
}
