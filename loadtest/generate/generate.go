// Package generate makes pushes of every protocol that look like those of real senders: the series of a Kubernetes cluster,
// JSON log lines, spans of web services. The same Spec makes the same pushes, byte for byte. Everything dear is done before
// the first push: compressed remote_write and Loki pushes get their times and values written into the compressed bytes (see
// template), all others are made once and sent in turn. It opens no connection; the runner and tests call it.
package generate

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/digest"
)

// Kind is what is pushed, and in which form.
type Kind string

// The kinds.
const (
	RemoteWriteV1 Kind = "remote_write_v1"
	RemoteWriteV2 Kind = "remote_write_v2"
	Loki          Kind = "loki"
	LokiJSON      Kind = "loki_json"
	Traces        Kind = "traces"
	Metrics       Kind = "metrics"
	Logs          Kind = "logs"
	TracesJSON    Kind = "traces_json"
	Zipkin        Kind = "zipkin"
	Jaeger        Kind = "jaeger"
)

// Spec says what to make. The zero value of a field is what a real sender of that kind does.
type Spec struct {
	Kind Kind
	Seed uint64
	// Items is how many are in a push. 0: 2000 samples, 5000 lines, 500 spans, 1000 points or records.
	Items int
	// Series is how many series, or items of other kinds, there are before they come again. Series come again with a new
	// time and value, lines with a new time, all else as it was. 0: 100,000 series, 100,000 lines, 32 pushes of all else.
	Series int
	// Codec compresses what may come with or without: identity, gzip, zstd. Empty: identity.
	Codec string
	// Every n-th millisecond is checked. See digest.Walk.
	Every uint64
	// Churn is the share of series that new ones replace in an hour of the senders' time, in which each series has a sample
	// every 15 s: one round of all series is 15 s, however fast rounds are sent.
	Churn float64
	// Change is what the program under test is told to change, and so what is expected to arrive.
	Change Change
}

// Change is what rules do, written down once more: what a run expects must not come from the code that it tests.
type Change struct {
	// Labels changes the labels of a series; false: the series is dropped. Nil: nothing.
	Labels func([]Label) ([]Label, bool)
	// Move is the stream label that moves to structured metadata, and Delete the span attribute that goes.
	Move, Delete string
}

// Label is a label of a series or stream.
type Label struct{ Name, Value string }

// Push is one push, ready to be sent. Its Body may be used again for the next.
type Push struct {
	Path, ContentType, Encoding string
	// Method is the gRPC method that takes this push; empty: none does.
	Method string
	Body   []byte
	// Items are sent; Sum is what of them is to arrive.
	Items int
	Sum   digest.Sum
}

// Work makes the pushes of one Spec. Push may be called by many at once.
type Work struct {
	// IdentityOnly: the push arrives in another protocol, so that its sums agree in Items and Identity alone.
	IdentityOnly bool
	// Parts is how many pushes there are before everything comes again.
	Parts int
	// Raw is a decompressed push, and Walk what reads it: for measuring what the parts cost.
	Raw  []byte
	Walk digest.Walk

	push func(n uint64, at time.Time, p *Push)
}

// New prepares pushes. It may take seconds for a million series.
func New(s Spec) (*Work, error) {
	switch s.Kind {
	case RemoteWriteV1, RemoteWriteV2:
		return newSeries(s)
	case Loki:
		return newLines(s)
	case LokiJSON, Traces, TracesJSON, Metrics, Logs, Zipkin, Jaeger:
		return newPrepared(s)
	}
	return nil, fmt.Errorf("no such kind of push: %q", s.Kind)
}

// Push makes the n-th push, whose items happen at a time, and reuses the body of p.
func (w *Work) Push(n uint64, at time.Time, p *Push) { w.push(n, at, p) }

// dice are those of one thing among many of one Spec.
func dice(seed, thing uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, thing^0x5851f42d4c957f2d))
}

// or returns n, or what is normal where n is 0.
func or(n, normal int) int {
	if n == 0 {
		return normal
	}
	return n
}
