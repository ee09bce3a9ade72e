// Package fakecloud is a pretend Grafana Cloud: Mimir's, Loki's and the OTLP gateway's push endpoints behind basic auth
// on one HTTP server, and Tempo's on a gRPC server. It records what it stores, checks it as the strictest receiver would, and fails on demand. It
// answers nothing but pushes, keeps nothing on disk and never leaves 127.0.0.1. Tests, the demo and the load test use it.
package fakecloud

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// The push endpoints. Wherever an endpoint is asked for, a beginning of its path means all that begin so: OTLP is
// three endpoints, and "" is all.
const (
	Prometheus  = "/api/prom/push"
	Loki        = "/loki/api/v1/push"
	OTLP        = "/otlp/v1/"
	OTLPTraces  = "/otlp/v1/traces"
	OTLPMetrics = "/otlp/v1/metrics"
	OTLPLogs    = "/otlp/v1/logs"
)

// Instance is a user of Grafana Cloud: one signal of one stack.
type Instance struct {
	// User is the basic-auth user, a number in Grafana Cloud.
	User string
	// Name is for people: prod-metrics.
	Name string
	// Endpoint is where this user may push: Prometheus, Loki, OTLP.
	Endpoint string
	// Tokens are the passwords that are valid now. See Cloud.SetTokens.
	Tokens []string
}

// V2Mode is what the cloud makes of a remote_write v2 push.
type V2Mode uint8

// The modes. All but V2Accept are ways in which receivers that know only v1 behave.
const (
	// V2Accept stores it and answers with Written headers.
	V2Accept V2Mode = iota
	// V2Refuse415 answers 415, as the specification wants it of a receiver that knows only v1.
	V2Refuse415
	// V2Refuse400 answers 400, as Mimir does to a `proto` that it does not know.
	V2Refuse400
	// V2TakenForV1 answers 200 without Written headers and stores nothing: a v2 body is an empty message in v1's schema.
	V2TakenForV1
)

// Options of a Cloud. The zero value is a cloud without users, where everything is 401.
type Options struct {
	Instances []Instance
	// V2 is how remote_write v2 is treated at first; see Cloud.SetV2.
	V2 V2Mode
	// Strict refuses with 400 what breaks a rule (see Cloud.Violations). Otherwise it is stored and the breach recorded.
	Strict bool
	// OnPush is called for each push after it was stored and before it is answered, from many goroutines at once.
	OnPush func(*Push)
	// Latency is how long an answer takes, asked for each push. Nil: no time.
	Latency func() time.Duration
	// Keep is how many of the newest stored pushes Cloud.Pushes holds. 0: 1000; negative: none.
	Keep int
	// MaxBodyBytes bounds a body as sent and, again, decompressed. 0: 64 MiB.
	MaxBodyBytes int64
	// Seed of the dice for Fault.Probability.
	Seed uint64
}

// Cloud is a running pretence. Its methods may be called from any goroutine at any time.
type Cloud struct {
	opts   Options
	faults faults
	books  books
	server *http.Server
	served chan struct{} // closed when the server's goroutine has ended
	url    string
	grpc   *grpcSide // nil before StartGRPC

	mu     sync.Mutex // guards what follows
	users  map[string]Instance
	v2     V2Mode
	closed bool
	active sync.WaitGroup // handlers at work; grows only while !closed
	done   chan struct{}  // closed by Close, so that nothing hangs on
}

// New returns a cloud that is not listening yet. It is an http.Handler, so that it can also be served by a test's own
// server, with TLS for instance; who does that calls Close, too.
func New(o Options) *Cloud {
	if o.Keep == 0 {
		o.Keep = 1000
	}
	if o.MaxBodyBytes == 0 {
		o.MaxBodyBytes = 64 << 20
	}
	c := &Cloud{opts: o, v2: o.V2, users: map[string]Instance{}, done: make(chan struct{})}
	c.faults.init(o.Seed)
	c.books.init(o.Keep)
	for _, in := range o.Instances {
		c.users[in.User] = in
	}
	return c
}

// Start serves the cloud on a free port of 127.0.0.1 until Close.
func (c *Cloud) Start() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the pretend cloud: %w", err)
	}
	c.url = "http://" + l.Addr().String()
	c.server = &http.Server{Handler: c, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(discard{}, "", 0)}
	c.served = make(chan struct{})
	go func() {
		defer close(c.served)
		_ = c.server.Serve(l) // always ErrServerClosed: Close ended it
	}()
	return nil
}

// URL is the base of all endpoints, http://127.0.0.1:port, after Start.
func (c *Cloud) URL() string { return c.url }

// Close lets everything that hangs go, stops the server and waits until no push is being handled.
func (c *Cloud) Close() {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.done)
	}
	c.mu.Unlock()
	if c.server != nil {
		_ = c.server.Close()
		<-c.served
	}
	if c.grpc != nil {
		c.grpc.close()
	}
	c.active.Wait()
}

// SetTokens replaces a user's valid tokens: none locks it out, two are a rotation under way.
func (c *Cloud) SetTokens(user string, tokens ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	in, ok := c.users[user]
	if !ok {
		panic("BUG: fakecloud: no instance with user " + user)
	}
	in.Tokens = tokens
	c.users[user] = in
}

// SetV2 changes how remote_write v2 is treated from now on.
func (c *Cloud) SetV2(m V2Mode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.v2 = m
}

// Unreachable returns the URL of a port on which nobody listens.
func Unreachable() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic("fakecloud: " + err.Error())
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// begin counts a handler in, unless the cloud is closed.
func (c *Cloud) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.active.Add(1)
	return true
}

// discard swallows the server's log: broken connections are what faults are for.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
