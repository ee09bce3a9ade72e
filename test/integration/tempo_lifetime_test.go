package integration

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/pdata/pcommon"
)

// What a gRPC upstream does with connections costs no push.

// pushMany pushes one trace after another from several senders for a while, and returns how many; all must be taken.
func pushMany(t *testing.T, g *gateway, senders int, d time.Duration) int {
	t.Helper()
	end := time.Now().Add(d)
	var wg sync.WaitGroup
	var pushed atomic.Int64
	for range senders {
		wg.Go(func() {
			for time.Now().Before(end) {
				id := pcommon.TraceID{0: 1, 15: byte(pushed.Add(1))}
				if a := exportTraces(t, g, tracesOf("checkout", id)); a.status != http.StatusOK {
					t.Errorf("answered %s", a)
					return
				}
			}
		})
	}
	wg.Wait()
	return int(pushed.Load())
}

// Upstream ends connections by age, as behind every balancer.
func TestTempoConnectionAge(t *testing.T) {
	t.Parallel()
	g, up := newTempoGateway(t, "", "", func(c *configgrpc.ServerConfig) {
		c.Keepalive = configoptional.Some(configgrpc.KeepaliveServerConfig{
			ServerParameters: configoptional.Some(configgrpc.KeepaliveServerParameters{
				MaxConnectionAge: 200 * time.Millisecond, MaxConnectionAgeGrace: 5 * time.Second,
			}),
		})
	})
	n := pushMany(t, g, 8, 3*time.Second)
	calls, connections := up.seen()
	if got := up.traces.SpanCount(); got != n || calls != n || connections < 5 {
		t.Errorf("%d pushes: %d spans arrived in %d calls over %d connections, want each once over 5 or more", n, got, calls, connections)
	}
}

// Upstream takes few calls at a time on a connection.
func TestTempoStreamLimit(t *testing.T) {
	t.Parallel()
	g, up := newTempoGateway(t, "", "", func(c *configgrpc.ServerConfig) { c.MaxConcurrentStreams = 2 })
	up.setFault(func(int) error { time.Sleep(20 * time.Millisecond); return nil })
	n := pushMany(t, g, 16, time.Second)
	if got := up.traces.SpanCount(); got != n || n < 16 {
		t.Errorf("%d spans of %d pushes arrived", got, n)
	}
}

// A message over upstream's own limit will not get smaller: the answer is final, and says who spoke.
func TestTempoTooLarge(t *testing.T) {
	g, up := newTempoGateway(t, "", "", func(c *configgrpc.ServerConfig) { c.MaxRecvMsgSizeMiB = 1 })
	td := tracesOf("checkout", traceIDs(1)...)
	td.ResourceSpans().At(0).Resource().Attributes().PutStr("large", strings.Repeat("x", 2<<20))
	f := func(door string, want string) {
		t.Helper()
		a := traceDoors[door](t, g, td)
		if !strings.HasPrefix(a.String(), want) || a.after != 0 || !strings.Contains(a.text, "tempo") {
			t.Errorf("%s: answered %.300s, to wait %d s; want %s and not to wait", door, a, a.after, want)
		}
	}
	f("OTLP/HTTP", "413")
	f("OTLP/gRPC", "ResourceExhausted")
	if n := up.traces.SpanCount(); n != 0 {
		t.Errorf("%d spans arrived", n)
	}
}

// A connection that is cut in the middle of a call: senders that come back are told to, for the others the gateway does.
func TestTempoConnectionCut(t *testing.T) {
	up := newGRPCUpstream(t)
	cut := &cutter{to: up.addr}
	addr := cut.serve(t)
	g := startTraceGateway(t, fmt.Sprintf("      tempo: {url: \"http://%s\", transport: grpc, basic_auth: {username: %q, password_file: secrets/upstream}}\n",
		addr, upstreamUser), "")
	f := func(door string, want string, spans int) {
		t.Helper()
		cut.next.Store(true)
		up.reset()
		if a := traceDoors[door](t, g, tracesOf("checkout", traceIDs(3)...)); !strings.HasPrefix(a.String(), want) {
			t.Errorf("%s: answered %s, want %s", door, a, want)
		}
		if n := up.traces.SpanCount(); n != spans {
			t.Errorf("%s: %d spans arrived, want %d", door, n, spans)
		}
		if cut.next.Swap(false) {
			t.Errorf("%s: nothing was cut", door)
		}
	}
	f("OTLP/HTTP", "502", 0)
	f("OTLP/gRPC", "Unavailable", 0)
	f("Zipkin", "202", 3)
	f("Jaeger/HTTP", "202", 3)
	f("OTLP/HTTP", "502", 0)
}

// cutter passes bytes on to an upstream, and when told to ends the connection on which the next ones come.
type cutter struct {
	to   string
	next atomic.Bool
}

func (c *cutter) serve(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.pass(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

func (c *cutter) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer server.Close()
	go func() { // ends with the connections
		_, _ = io.Copy(client, server)
		client.Close()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		// Where the message of a call is, which names the service, and not in the frames before it.
		if bytes.Contains(buf[:n], []byte("checkout")) && c.next.CompareAndSwap(true, false) {
			return
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}
