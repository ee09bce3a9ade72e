package integration

import (
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"go.opentelemetry.io/collector/config/configcompression"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configtls"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// newTempoGateway has traces leave by gRPC.
func newTempoGateway(t testing.TB, extra, rest string, options ...func(*configgrpc.ServerConfig)) (*gateway, *grpcUpstream) {
	t.Helper()
	up := newGRPCUpstream(t, options...)
	return startTraceGateway(t, up.yaml("tempo", extra), rest), up
}

// What each of Tempo's codes becomes at every door. after is what Retry-After has to be: -1 none, 0 any.
func TestTempoCodes(t *testing.T) {
	g, up := newTempoGateway(t, "timeout: 2s,", "")
	asked := func(code codes.Code, after time.Duration) error {
		s, err := status.New(code, "RATE_LIMITED: ingestion rate limit").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
		if err != nil {
			t.Fatal(err)
		}
		return s.Err()
	}
	f := func(name string, fault error, httpStatus, after int, code codes.Code) {
		t.Helper()
		up.setFault(func(int) error { return fault })
		for door, push := range traceDoors {
			a := push(t, g, generateTraces(3))
			if a.grpc && a.code != code || !a.grpc && a.status != httpStatus {
				t.Errorf("%s at %s: answered %s, want %d or %s", name, door, a, httpStatus, code)
			}
			if after < 0 && a.after != 0 || after > 0 && a.after != after || after == 0 && a.after < 1 {
				t.Errorf("%s at %s: asked to wait %d s, want %d (-1: not asked, 0: asked)", name, door, a.after, after)
			}
		}
	}
	f("throttled", asked(codes.ResourceExhausted, 7*time.Second), http.StatusTooManyRequests, 7, codes.ResourceExhausted)
	f("throttled for part of a second", asked(codes.ResourceExhausted, 1200*time.Millisecond), http.StatusTooManyRequests, 2, codes.ResourceExhausted)
	f("throttled for an hour", asked(codes.ResourceExhausted, time.Hour), http.StatusTooManyRequests, 120, codes.ResourceExhausted)
	f("unavailable for a time", asked(codes.Unavailable, 9*time.Second), http.StatusServiceUnavailable, 9, codes.Unavailable)
	f("too large", status.Error(codes.ResourceExhausted, "TRACE_TOO_LARGE"), http.StatusRequestEntityTooLarge, -1, codes.ResourceExhausted)
	f("unavailable", status.Error(codes.Unavailable, "no ingester"), http.StatusServiceUnavailable, 0, codes.Unavailable)
	f("internal", status.Error(codes.Internal, "defect"), http.StatusServiceUnavailable, 0, codes.Unavailable)
	f("refuses us", status.Error(codes.Unauthenticated, "invalid token"), http.StatusServiceUnavailable, 0, codes.Unavailable)
	f("forbids us", status.Error(codes.PermissionDenied, "scope"), http.StatusServiceUnavailable, 0, codes.Unavailable)
	f("unknown method", status.Error(codes.Unimplemented, "unknown service"), http.StatusServiceUnavailable, 0, codes.Unavailable)
	f("bad data", status.Error(codes.InvalidArgument, "invalid"), http.StatusBadRequest, -1, codes.InvalidArgument)
	received, forwarded, dropped, failed := g.books("app", "traces")
	if forwarded != 0 || dropped != 0 || received != failed || received == 0 {
		t.Errorf("received %g, forwarded %g, dropped %g, failed %g; want all failed", received, forwarded, dropped, failed)
	}
	g.checkNoSecrets()
}

func TestTempoGoneAndSlow(t *testing.T) {
	t.Parallel()
	g := startTraceGateway(t, `      tempo: {url: "http://`+freeAddr(t)+`", transport: grpc}`+"\n", "")
	for door, push := range traceDoors {
		if a := push(t, g, generateTraces(1)); a.grpc && a.code != codes.Unavailable || !a.grpc && a.status != http.StatusBadGateway || a.after < 1 {
			t.Errorf("nobody there, %s: answered %s after %d, want 502 or Unavailable, and asked to wait", door, a, a.after)
		}
	}
	slow, up := newTempoGateway(t, "timeout: 500ms,", "")
	up.setFault(func(int) error { time.Sleep(1500 * time.Millisecond); return nil })
	for door, push := range traceDoors {
		if a := push(t, slow, generateTraces(1)); a.grpc && a.code != codes.Unavailable || !a.grpc && a.status != http.StatusGatewayTimeout || a.after < 1 {
			t.Errorf("too slow, %s: answered %s after %d, want 504 or Unavailable, and asked to wait", door, a, a.after)
		}
	}
}

// The password is replaced on disk while a push waits for its answer: that one finishes as it began, the next takes the
// new password, and both go over the same connection.
func TestTempoRotation(t *testing.T) {
	t.Parallel()
	const rotated = "upstream-password-rotated-71ab"
	g, up := newTempoGateway(t, "timeout: 20s,", "")
	send := func() error { return newSDK(t, "grpc", g.grpc).traces.ExportSpans(background(t), newSDKData(t).spans) }

	release, began := make(chan struct{}), make(chan struct{})
	up.setFault(func(n int) error {
		if n == 1 {
			close(began)
			<-release
		}
		return nil
	})
	done := make(chan error, 1)
	go func() { done <- send() }()
	<-began
	up.setPasswords(rotated)
	g.writeSecret("upstream", rotated)
	taken := func() bool {
		return exportTraces(t, g, generateTraces(1)).status == http.StatusOK
	}
	eventually(t, 10*time.Second, "the new password is used", taken)
	select {
	case err := <-done:
		t.Fatalf("the push in flight ended before its answer: %v", err)
	default:
	}
	close(release)
	if err := <-done; err != nil {
		t.Errorf("the push in flight: %v", err)
	}
	if calls, connections := up.seen(); connections != 1 || calls < 2 {
		t.Errorf("%d calls over %d connections, want more than one over one", calls, connections)
	}
	g.checkNoSecrets(rotated)
}

// Traces go to Tempo, all else to the OTLP endpoint.
func TestTempoBesideOTLP(t *testing.T) {
	up, rc := newGRPCUpstream(t), newOTLPReceiver(t)
	g := startTraceGateway(t, up.yaml("tempo", "")+newUpstream(t, rc.proxy()).yaml("otlp", "", ""), "")
	want := newCollector(t, g, "grpc", "gzip").send(t, 2)
	got := rc.batches(t)
	got["traces"] = up.batches(t)["traces"]
	want.checkEqual(t, got)
	if n := rc.traces.SpanCount() + up.metrics.DataPointCount() + up.logs.LogRecordCount(); n != 0 {
		t.Errorf("%d items went to the wrong place", n)
	}
}

// All three signals over gRPC, and as they came: the bytes of a push that came compressed are not touched.
func TestOTLPOverGRPC(t *testing.T) {
	up := newGRPCUpstream(t)
	g := startTraceGateway(t, up.yaml("otlp", ""), "")
	for _, transport := range []string{"http", "grpc"} {
		for _, compression := range []string{"none", "gzip", "zstd"} {
			up.reset()
			newCollector(t, g, transport, configcompression.Type(compression)).send(t, 2).checkEqual(t, up.batches(t))
		}
	}
	if _, connections := up.seen(); connections != 1 {
		t.Errorf("the pushes came over %d connections, want 1", connections)
	}
}

// With TLS, as Grafana Cloud's Tempo is reached: by a certificate of an authority that is known, and not otherwise.
func TestTempoTLS(t *testing.T) {
	ca := newAuthority(t, "Tempo's authority")
	template := certTemplate(t, "tempo")
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	cert, key := ca.sign(t, template)
	up := newGRPCUpstream(t, func(c *configgrpc.ServerConfig) {
		c.TLS = configoptional.Some(configtls.ServerConfig{Config: configtls.Config{
			CertPem: configopaque.String(cert), KeyPem: configopaque.String(key),
		}})
	})
	for _, known := range []bool{true, false} {
		extra := ""
		if known {
			extra = "tls_config: {ca_file: tls/ca.crt},"
		}
		g := newGateway(t, "", prod("    upstreams:\n"+up.yaml("tempo", extra)))
		writeFile(t, g.path("tls", "ca.crt"), string(ca.pem))
		g.start()
		a := exportTraces(t, g, generateTraces(3))
		if known && a.status != http.StatusOK || !known && a.status != http.StatusBadGateway {
			t.Errorf("authority known: %v: answered %s", known, a)
		}
	}
	if n := up.traces.SpanCount(); n != 3 {
		t.Errorf("%d spans arrived, want 3", n)
	}
}

// answer is what a door said.
type answer struct {
	grpc    bool
	code    codes.Code
	status  int
	after   int // seconds; 0: not asked to wait
	text    string
	refused int64 // OTLP's partial success
}

func (a answer) String() string {
	if a.grpc {
		return a.code.String() + " " + strconv.Quote(a.text)
	}
	return strconv.Itoa(a.status) + " " + strconv.Quote(a.text)
}

// traceDoors push the spans of td in the words of each protocol.
var traceDoors = map[string]func(t testing.TB, g *gateway, td ptrace.Traces) answer{
	"OTLP/HTTP": exportTraces,
	"OTLP/gRPC": exportTracesGRPC,
	"Zipkin":    func(t testing.TB, g *gateway, td ptrace.Traces) answer { return pushZipkin(t, g, zipkinOf(t, td)) },
	"Jaeger/HTTP": func(t testing.TB, g *gateway, td ptrace.Traces) answer {
		return pushJaeger(t, g, jaegerThriftOf(t, td))
	},
	"Jaeger/gRPC": func(t testing.TB, g *gateway, td ptrace.Traces) answer {
		return grpcAnswer(postSpans(t, g.grpc, jaegerBatchOf(t, td)))
	},
}

func pushBytes(t testing.TB, url, contentType string, body []byte) answer {
	t.Helper()
	resp, text := post(t, url, body, map[string]string{"Content-Type": contentType, "Authorization": "Bearer " + clientToken})
	a := answer{status: resp.StatusCode, text: text}
	if s := resp.Header.Get("Retry-After"); s != "" {
		var err error
		if a.after, err = strconv.Atoi(s); err != nil {
			t.Errorf("Retry-After %q: %v", s, err)
		}
	}
	return a
}

func exportTraces(t testing.TB, g *gateway, td ptrace.Traces) answer {
	t.Helper()
	body, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	a := pushBytes(t, "http://"+g.http+"/v1/traces", "application/x-protobuf", body)
	if resp := ptraceotlp.NewExportResponse(); a.status == http.StatusOK {
		if err := resp.UnmarshalProto([]byte(a.text)); err != nil {
			t.Errorf("the answer does not decode: %v", err)
		}
		a.text, a.refused = resp.PartialSuccess().ErrorMessage(), resp.PartialSuccess().RejectedSpans()
	}
	return a
}

func exportTracesGRPC(t testing.TB, g *gateway, td ptrace.Traces) answer {
	t.Helper()
	conn := dialGRPC(t, g.grpc)
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(background(t), "authorization", "Bearer "+clientToken)
	resp, err := ptraceotlp.NewGRPCClient(conn).Export(ctx, ptraceotlp.NewExportRequestFromTraces(td))
	a := grpcAnswer(err)
	if err == nil {
		a.text, a.refused = resp.PartialSuccess().ErrorMessage(), resp.PartialSuccess().RejectedSpans()
	}
	return a
}

func grpcAnswer(err error) answer {
	s, _ := status.FromError(err)
	a := answer{grpc: true, code: s.Code(), text: s.Message()}
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			a.after = int(info.RetryDelay.AsDuration().Seconds())
		}
	}
	return a
}
