package egress

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	promconfig "github.com/prometheus/common/config"
	"go.uber.org/goleak"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is for what must happen, but not when.
const patience = 20 * time.Second

// upstreamAt returns the upstream loki of environment prod at url.
func upstreamAt(t *testing.T, url string, change ...func(*Options)) *Upstream {
	t.Helper()
	o := Options{Environment: "prod", Name: "loki", URL: url, Timeout: 8 * time.Second, UserAgent: "telemetry-gateway/1"}
	for _, c := range change {
		c(&o)
	}
	u, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

// withHTTP sets the HTTP client keys.
func withHTTP(cfg promconfig.HTTPClientConfig) func(*Options) {
	return func(o *Options) { o.HTTP = cfg }
}

// trusting is a client configuration that trusts srv.
func trusting(srv *httptest.Server) promconfig.HTTPClientConfig {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	return promconfig.HTTPClientConfig{TLSConfig: promconfig.TLSConfig{CA: string(ca)}}
}

// serve runs h on a local port until the test ends.
func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv
}

// listen gives every connection to handle and returns its URL. Connections are closed when the test ends, if not before.
func listen(t *testing.T, handle func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards conns
	var conns []net.Conn
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				handle(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return "http://" + l.Addr().String()
}

// send posts body with all the time in the world.
func send(t *testing.T, u *Upstream, body string) (*Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return u.Send(ctx, &Request{ContentType: "application/x-protobuf", Body: []byte(body)})
}

// wantFault fails the test unless err is a fault of kind k.
func wantFault(t *testing.T, err error, k fault.Kind) *fault.Error {
	t.Helper()
	var e *fault.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want a fault", err)
	}
	if e.Kind != k {
		t.Fatalf("%s (%v), want %s", e.Reason(), e, fault.New(k, "").Reason())
	}
	return e
}

// lent is a body in a buffer that serves other pushes once its last holder lets go: it is overwritten then, so that a
// transport which still reads it is caught by the race detector or by what it sends.
type lent struct {
	data    []byte
	refs    atomic.Int32
	held    atomic.Int32
	settled chan struct{}
	t       *testing.T
}

// fill doubles as it goes: byte by byte takes seconds under the race detector.
func fill(b []byte, c byte) {
	if len(b) == 0 {
		return
	}
	b[0] = c
	for n := 1; n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}

func lend(t *testing.T, n int) *lent {
	l := &lent{data: make([]byte, n), settled: make(chan struct{}), t: t}
	fill(l.data, 'a')
	l.refs.Store(1)
	return l
}

func (l *lent) Hold() {
	if l.refs.Add(1) <= 1 {
		l.t.Error("held after the last release")
	}
	l.held.Add(1)
}

func (l *lent) Release() {
	switch n := l.refs.Add(-1); {
	case n < 0:
		l.t.Error("released twice")
	case n == 0:
		fill(l.data, 'X')
		close(l.settled)
	}
}

// push sends l as the road does: it holds the buffer itself, and lets go after the answer.
func (l *lent) push(ctx context.Context, u *Upstream) (*Response, error) {
	res, err := u.Send(ctx, &Request{ContentType: "application/x-protobuf", Body: l.data, Hold: l.Hold, Release: l.Release})
	l.Release()
	return res, err
}

// wantSettled fails the test unless everybody has let go of l soon.
func (l *lent) wantSettled() {
	l.t.Helper()
	select {
	case <-l.settled:
	case <-time.After(patience):
		l.t.Fatalf("%d holders are left", l.refs.Load())
	}
}

// drained reads the request to its end.
func drained(r *http.Request) []byte {
	b, _ := io.ReadAll(r.Body)
	return b
}
