package main

import (
	"fmt"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/report"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/sink"
)

// memoryBounds are what a gateway says of itself when it starts.
type memoryBounds struct {
	Inflight uint64 `json:"inflight_bytes"`
	// Base is everything but pushes in flight, the table of series, and connections.
	Base uint64 `json:"base_bytes"`
}

// connectionBytes is what an open connection may take besides what its push is charged for. README.md says what that is.
const connectionBytes = 24 << 10

// judgeMemory compares the peak of the resident set with what the configuration promises: all pushes in flight, what the
// table of series has taken, a constant, and so much for each connection. Only a gateway that is overloaded comes near it.
func (b *bench) judgeMemory(r *report.Result, series uint64) {
	open := b.idle + b.slow
	for _, l := range b.loads {
		open += l.Conns
	}
	m, connections := b.target.memory, uint64(open)*connectionBytes
	r.RSSBound = m.Inflight + m.Base + series + connections
	if b.fault == (sink.Fault{}) && b.idle == 0 {
		return
	}
	verdict := "kept"
	if r.RSSPeak > r.RSSBound {
		verdict = "BROKEN"
	}
	const mib = 1 << 20
	r.Notes = append(r.Notes, fmt.Sprintf("memory bound %s: RSS peak %.1f MiB of at most %.1f: max_inflight_bytes %.1f, constant %.1f, table of series %.1f, %d connections %.1f",
		verdict, float64(r.RSSPeak)/mib, float64(r.RSSBound)/mib, float64(m.Inflight)/mib, float64(m.Base)/mib, float64(series)/mib, open, float64(connections)/mib))
}
