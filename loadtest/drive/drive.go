// Package drive sends pushes and measures how they are answered: over HTTP/1.1, HTTP/2 or gRPC, as fast as answers come or at
// a rate. It knows what the pushes that were accepted hold, so that what arrived can be compared. It never retries: a sender
// that retries hides what it measures. The runner and tests call it.
package drive

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/digest"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/generate"
)

// Transport is how pushes travel.
type Transport string

// The transports. HTTP2 and GRPC work with and without TLS.
const (
	HTTP1 Transport = "http"
	HTTP2 Transport = "http2"
	GRPC  Transport = "grpc"
)

// Client is one sender.
type Client struct {
	// Token is its bearer token; empty: it has none.
	Token string
	// User is whose sums its pushes end up in. See sink.State.
	User string
}

// Load is one stream of pushes.
type Load struct {
	// URL is scheme and address. A Work knows its path, but where a program listens on another one: Path, not of gRPC.
	URL, Path string
	Transport Transport
	TLS       *tls.Config
	Work      *generate.Work
	// Clients take turns. At least one.
	Clients []Client
	// Conns is how many connections there are, each with one push at a time.
	Conns int
	// Rate is how many pushes begin in a second, 0: each connection sends as soon as it has its answer. With a rate, time is
	// counted from when a push should have begun, so that a slow answer is seen by all that had to wait for it.
	Rate float64
	// Timeout of one push. 0: 30 s.
	Timeout time.Duration
	// From is the number of the first push.
	From uint64
}

// Outcome is what became of the pushes of a Load.
type Outcome struct {
	// Elapsed is how long it took until the last push was accepted.
	Elapsed time.Duration
	// Pushes, Items and Bytes were accepted; Next is the number of the push after the last.
	Pushes, Items, Bytes, Next uint64
	// Accepted is what is to have arrived, by user; Unknown what may have: pushes without an answer, or with one that leaves
	// it open (502, 504).
	Accepted map[string]digest.Sum
	Unknown  digest.Sum
	// Answers counts pushes by status. 0: there was none.
	Answers map[int]uint64
	// Latency of accepted pushes, from when they were to begin, and Service from when they did; Refusal of all others, likewise.
	Latency, Service, Refusal Histogram
	// Errors has one example of each status but 2xx.
	Errors map[int]error
}

// Merge adds what other saw. Both are of the same time.
func (o *Outcome) Merge(other *Outcome) {
	o.Elapsed = max(o.Elapsed, other.Elapsed)
	o.Pushes += other.Pushes
	o.Items += other.Items
	o.Bytes += other.Bytes
	o.Next = max(o.Next, other.Next)
	if o.Accepted == nil {
		o.Accepted, o.Answers, o.Errors = map[string]digest.Sum{}, map[int]uint64{}, map[int]error{}
	}
	for user, sum := range other.Accepted {
		sum.Add(o.Accepted[user])
		o.Accepted[user] = sum
	}
	for status, n := range other.Answers {
		o.Answers[status] += n
	}
	o.Unknown.Add(other.Unknown)
	o.Latency.Merge(&other.Latency)
	o.Service.Merge(&other.Service)
	o.Refusal.Merge(&other.Refusal)
	for status, err := range other.Errors {
		o.Errors[status] = err
	}
}

// Run sends pushes until ctx ends or, if limit is not 0, limit pushes were sent; it returns when the last is answered. items,
// if not nil, counts accepted items while it runs.
func (l *Load) Run(ctx context.Context, limit uint64, items *atomic.Uint64) *Outcome {
	if items == nil {
		items = new(atomic.Uint64)
	}
	var next atomic.Uint64
	next.Store(l.From)
	start := time.Now()
	outcomes := make([]Outcome, l.Conns)
	var wg sync.WaitGroup
	for i := range l.Conns {
		wg.Go(func() {
			w := &worker{load: l, start: start, client: l.httpClient(), out: &outcomes[i], items: items}
			defer w.client.CloseIdleConnections()
			w.run(ctx, &next, limit)
		})
	}
	wg.Wait()
	total := new(Outcome)
	for i := range outcomes {
		total.Merge(&outcomes[i])
	}
	total.Next = next.Load()
	return total
}

// httpClient is one connection.
func (l *Load) httpClient() *http.Client {
	t := &http.Transport{
		TLSClientConfig: l.TLS.Clone(), DisableCompression: true, MaxIdleConnsPerHost: 1, WriteBufferSize: 64 << 10,
		Protocols: new(http.Protocols),
	}
	t.Protocols.SetHTTP1(l.Transport == HTTP1 || l.Transport == "")
	t.Protocols.SetHTTP2(!t.Protocols.HTTP1() && l.TLS != nil)
	t.Protocols.SetUnencryptedHTTP2(!t.Protocols.HTTP1() && l.TLS == nil)
	timeout := l.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	return &http.Client{Transport: t, Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Err is all of Errors.
func (o *Outcome) Err() error { return errors.Join(slices.Collect(maps.Values(o.Errors))...) }
