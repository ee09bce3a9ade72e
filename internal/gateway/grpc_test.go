package gateway

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpcencoding "google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// zstdCodec is what the Collector's exporters bring along to grpc-go, which knows gzip alone.
type zstdCodec struct{}

func (zstdCodec) Name() string                                 { return "zstd" }
func (zstdCodec) Compress(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }
func (zstdCodec) Decompress(r io.Reader) (io.Reader, error)    { return zstd.NewReader(r) }
func spansOf(n int) ptraceotlp.ExportRequest                   { return ptraceotlp.NewExportRequestFromTraces(traces(n)) }
func (g *gatewayTest) spanClient() ptraceotlp.GRPCClient       { return ptraceotlp.NewGRPCClient(g.dial()) }
func (g *gatewayTest) failed(code string) float64 {
	return g.metric("gateway_items_failed_total", "code", code)
}
func (g *gatewayTest) newest(user, endpoint string) *fakecloud.Push {
	g.t.Helper()
	pushes := g.cloud.Pushes(user, endpoint)
	if len(pushes) == 0 {
		g.t.Fatalf("nothing arrived at %s as %s", endpoint, user)
	}
	return pushes[len(pushes)-1]
}

// spanOfBytes is one span whose name alone has n bytes.
func spanOfBytes(n int) ptraceotlp.ExportRequest {
	td := traces(1)
	td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).SetName(strings.Repeat("n", n))
	return ptraceotlp.NewExportRequestFromTraces(td)
}

func retryInfo(err error) *errdetails.RetryInfo {
	for _, d := range status.Convert(err).Details() {
		if i, ok := d.(*errdetails.RetryInfo); ok {
			return i
		}
	}
	return nil
}

func TestGRPCCompression(t *testing.T) {
	grpcencoding.RegisterCompressor(zstdCodec{})
	g := start(t, defaultServer+defaultEnvironment)
	client := g.spanClient()
	f := func(compressor, leavesAs string) {
		t.Helper()
		var options []grpc.CallOption
		if compressor != "" {
			options = append(options, grpc.UseCompressor(compressor))
		}
		before := g.cloud.Stats(otlpUser, fakecloud.OTLPTraces).Items
		answer, err := client.Export(authorized(t), spansOf(7), options...)
		if err != nil {
			t.Fatalf("%s: %v", compressor, err)
		}
		if p := answer.PartialSuccess(); p.RejectedSpans() != 0 || p.ErrorMessage() != "" {
			t.Errorf("%s: partial success %v %q, want none", compressor, p.RejectedSpans(), p.ErrorMessage())
		}
		if n := g.cloud.Stats(otlpUser, fakecloud.OTLPTraces).Items - before; n != 7 {
			t.Errorf("%s: %d spans arrived, want 7", compressor, n)
		}
		if got := g.newest(otlpUser, fakecloud.OTLPTraces).Header.Get("Content-Encoding"); got != leavesAs {
			t.Errorf("%s: left as %q, want %q", compressor, got, leavesAs)
		}
	}
	f("", "")
	f("identity", "")
	f(gzip.Name, "gzip")
	f("zstd", "gzip") // Grafana Cloud takes gzip or nothing
	if _, err := client.Export(authorized(t), spansOf(1), grpc.CallContentSubtype("proto")); err != nil {
		t.Errorf("application/grpc+proto: %v", err)
	}
	if v := g.cloud.Violations(); len(v) > 0 {
		t.Errorf("upstream got what breaks its rules: %v", v)
	}
}

func TestGRPCSizes(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	client := g.spanClient()
	if _, err := client.Export(authorized(t), spanOfBytes(6<<20)); err != nil {
		t.Errorf("6 MiB, more than grpc-go's own default: %v", err)
	}
	_, err := client.Export(authorized(t), spanOfBytes(17<<20))
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "server.max_body_bytes=16777216") {
		t.Errorf("17 MiB: %v, want RESOURCE_EXHAUSTED that names the bound", err)
	}
	if i := retryInfo(err); i != nil {
		t.Errorf("17 MiB: RetryInfo %v makes the sender try for ever", i)
	}
	if n := g.cloud.Stats(otlpUser, "").Requests; n != 1 {
		t.Errorf("upstream saw %d requests, want 1", n)
	}
}

// The answer must reach a caller whose deadline is shorter than upstream's timeout: then it knows that a retry helps,
// and the gateway knows that nobody was told.
func TestGRPCAnswersBeforeTheCallerGivesUp(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	client := g.spanClient()
	if _, err := client.Export(authorized(t), spansOf(1)); err != nil {
		t.Fatal(err)
	}
	o := g.cloud.Fail(fakecloud.OTLPTraces, fakecloud.Fault{Hang: true})
	defer o.Clear()
	ctx, cancel := context.WithTimeout(authorized(t), time.Second)
	defer cancel()
	_, err := client.Export(ctx, spansOf(4))
	if ctx.Err() != nil || status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "did not answer in time") {
		t.Errorf("%v, want UNAVAILABLE from the gateway before the caller's own deadline", err)
	}
	if n := g.failed("timeout"); n != 4 {
		t.Errorf("%v spans failed by timeout, want 4", n)
	}
}

func TestGRPCCallerGoesAway(t *testing.T) {
	g := start(t, strings.ReplaceAll(defaultServer+defaultEnvironment, "timeout: 2s", "timeout: 20s"))
	client := g.spanClient()
	o := g.cloud.Fail(fakecloud.OTLPTraces, fakecloud.Fault{Hang: true})
	defer o.Clear()
	ctx, cancel := context.WithCancel(authorized(t))
	done := make(chan error, 1)
	go func() {
		_, err := client.Export(ctx, spansOf(4))
		done <- err
	}()
	if err := g.cloud.WaitRequests(deadline(t), otlpUser, fakecloud.OTLPTraces, 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the push to hang", func() bool { return o.Hits() == 1 })
	cancel()
	if err := <-done; status.Code(err) != codes.Canceled {
		t.Errorf("the caller got %v", err)
	}
	eventually(t, "the spans to be booked as canceled", func() bool { return g.failed("canceled") == 4 })
	// It ends without an answer, or with 400 where it was cut off before upstream had read the body.
	eventually(t, "the call to upstream to end", func() bool {
		codes := g.cloud.Stats(otlpUser, "").Codes
		return codes[0]+codes[400] == 1
	})
	if n := g.metric("gateway_pushes_total", "code", "canceled", "protocol", "otlp_grpc"); n != 1 {
		t.Errorf("%v pushes are counted as canceled, want 1", n)
	}
}

func TestGRPCHealth(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	client := healthpb.NewHealthClient(g.dial())
	f := func(want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		res, err := client.Check(deadline(t), &healthpb.HealthCheckRequest{Service: ""})
		if err != nil || res.Status != want {
			t.Errorf("health: %v %v, want %v", res, err, want)
		}
	}
	f(healthpb.HealthCheckResponse_SERVING)
	g.phase.Store(unready)
	f(healthpb.HealthCheckResponse_NOT_SERVING)
	g.phase.Store(serving)
	f(healthpb.HealthCheckResponse_SERVING)
}

// More calls than one connection may have open wait for their turn and are all answered.
func TestGRPCManyStreams(t *testing.T) {
	g := start(t, strings.ReplaceAll(defaultServer+defaultEnvironment, "timeout: 2s", "timeout: 20s"))
	client := g.spanClient()
	o := g.cloud.Fail(fakecloud.OTLPTraces, fakecloud.Fault{Hang: true})
	defer o.Clear()
	const calls = maxStreams + 100
	errs := make(chan error, calls)
	for range calls {
		go func() {
			_, err := client.Export(authorized(t), spansOf(1))
			errs <- err
		}()
	}
	eventually(t, "all streams of the connection to be in use", func() bool { return o.Hits() == maxStreams })
	o.Clear()
	for range calls {
		if err := <-errs; err != nil {
			t.Errorf("one of %d concurrent calls: %v", calls, err)
		}
	}
	if n := g.cloud.Stats(otlpUser, "").Items; n != calls {
		t.Errorf("%d spans arrived, want %d", n, calls)
	}
}

// A connection that is old gets GOAWAY; its client opens another and no call fails for it.
func TestGRPCConnectionAge(t *testing.T) {
	g := start(t, defaultServer+"  max_connection_age: 200ms\n"+defaultEnvironment)
	var dialed atomic.Int32
	conn, err := grpc.NewClient("passthrough:///"+g.addr.GRPC[0], grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			dialed.Add(1)
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := ptraceotlp.NewGRPCClient(conn)
	var sent atomic.Int32
	var senders sync.WaitGroup
	end := time.Now().Add(1500 * time.Millisecond)
	for range 4 {
		senders.Go(func() {
			for time.Now().Before(end) {
				if _, err := client.Export(authorized(t), spansOf(1)); err != nil {
					t.Errorf("a call failed: %v", err)
					return
				}
				sent.Add(1)
			}
		})
	}
	senders.Wait()
	if n := dialed.Load(); n < 3 {
		t.Errorf("%d connections in 1.5 s, though each may live 0.2 s", n)
	}
	if n := g.cloud.Stats(otlpUser, "").Items; n != int(sent.Load()) {
		t.Errorf("%d spans arrived, %d were acknowledged", n, sent.Load())
	}
}

func TestGRPCStatusText(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	const text = "größer als 100% – ☃ %41 a+b=c/d?e"
	g.cloud.Fail(fakecloud.OTLPTraces, fakecloud.Fault{Status: 400, Body: text})
	_, err := g.spanClient().Export(authorized(t), spansOf(1))
	if !strings.HasSuffix(status.Convert(err).Message(), text) {
		t.Errorf("message %q, want %q at its end", status.Convert(err).Message(), text)
	}
}
