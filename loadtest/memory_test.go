package main

import (
	"strings"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/drive"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/report"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/sink"
)

func TestMemoryIsJudged(t *testing.T) {
	f := func(s scenario, peak uint64, want string) {
		t.Helper()
		b := &bench{scenario: s, loads: []*drive.Load{{Conns: 2}}, target: &gatewayProcess{memory: memoryBounds{Inflight: 64 << 20, Base: 96 << 20}}}
		r := &report.Result{RSSPeak: peak}
		b.judgeMemory(r, 8<<20)
		if bound := uint64(168<<20) + uint64(2+s.idle+s.slow)*connectionBytes; r.RSSBound != bound {
			t.Errorf("the bound is %d, want %d", r.RSSBound, bound)
		}
		if notes := strings.Join(r.Notes, "\n"); want == "" && notes != "" || !strings.Contains(notes, want) {
			t.Errorf("RSS peak %d: %q, want %q", peak, notes, want)
		}
	}
	over := scenario{fault: sink.Fault{Delay: time.Second}}
	f(over, 168<<20, "memory bound kept: RSS peak 168.0 MiB")
	f(over, 169<<20, "memory bound BROKEN: RSS peak 169.0 MiB")
	f(scenario{idle: 98, slow: 100}, 172<<20, "kept")
	f(scenario{idle: 98, slow: 100}, 173<<20, "BROKEN")
	f(scenario{}, 1<<30, "")
}
