package egress

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	promconfig "github.com/prometheus/common/config"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc/codes"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

const (
	traceExport = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
	tempoUser   = "22348"
)

// tempo runs a pretend Tempo, and returns it with an upstream that has its credential.
func tempo(t *testing.T, o fakecloud.Options, g fakecloud.GRPCOptions, change ...func(*Options)) (*fakecloud.Cloud, *Upstream) {
	t.Helper()
	o.Instances = []fakecloud.Instance{{User: tempoUser, Endpoint: fakecloud.OTLPTraces, Tokens: []string{"one"}}}
	c := fakecloud.New(o)
	if err := c.StartGRPC(g); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	change = append([]func(*Options){withHTTP(withToken("one")), overGRPC}, change...)
	return c, upstreamAt(t, c.GRPCURL(), change...)
}

func overGRPC(o *Options) { o.GRPC, o.Name = true, "tempo" }

func withToken(token string) promconfig.HTTPClientConfig {
	return promconfig.HTTPClientConfig{BasicAuth: &promconfig.BasicAuth{Username: tempoUser, Password: promconfig.Secret(token)}}
}

// spans is a push of n spans, each with an attribute of size incompressible bytes.
func spans(t testing.TB, n, size int) []byte { return named(t, "GET /", n, size) }

// named is a push of spans with that name.
func named(t testing.TB, name string, n, size int) []byte {
	t.Helper()
	td := ptrace.NewTraces()
	ss := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
	dice := rand.NewChaCha8([32]byte{})
	for i := range n {
		s := ss.Spans().AppendEmpty()
		s.SetName(name)
		s.SetTraceID([16]byte{1, byte(i)})
		s.SetSpanID([8]byte{1, byte(i)})
		s.SetStartTimestamp(1000)
		s.SetEndTimestamp(2000)
		if size > 0 {
			noise := make([]byte, size)
			_, _ = dice.Read(noise)
			s.Attributes().PutEmptyBytes("noise").FromRaw(noise)
		}
	}
	b, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func zip(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

// export calls u with all the time in the world.
func export(u *Upstream, body []byte) (*Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return u.Send(ctx, &Request{Path: "/v1/traces", Method: traceExport, Body: body})
}

// waitHits waits until n pushes hang by o. That they have arrived does not say so: they are not yet authenticated then.
func waitHits(t *testing.T, o *fakecloud.Outage, n int) {
	t.Helper()
	for start := time.Now(); o.Hits() < n; time.Sleep(time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatalf("%d pushes hang, want %d", o.Hits(), n)
		}
	}
}

// serverTLS is a certificate for 127.0.0.1, and a client configuration that trusts it.
func serverTLS(t *testing.T) (*tls.Config, promconfig.HTTPClientConfig) {
	t.Helper()
	srv := httptest.NewTLSServer(nil)
	srv.Close()
	return &tls.Config{Certificates: srv.TLS.Certificates}, trusting(srv)
}

func TestGRPCStores(t *testing.T) {
	server, client := serverTLS(t)
	f := func(server *tls.Config, client promconfig.TLSConfig, plain []byte, encoding string) {
		t.Helper()
		c, u := tempo(t, fakecloud.Options{Strict: true}, fakecloud.GRPCOptions{TLS: server}, func(o *Options) { o.HTTP.TLSConfig = client })
		body := plain
		if encoding == "gzip" {
			body = zip(plain)
		}
		l := lend(t, len(body))
		copy(l.data, body)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		res, err := u.Send(ctx, &Request{
			Path: "/v1/traces", Method: traceExport, ContentType: "application/x-protobuf", ContentEncoding: encoding,
			UserAgent: "otel/1", Body: l.data, Hold: l.Hold, Release: l.Release,
		})
		l.Release()
		l.wantSettled()
		if err != nil || res.Status != 200 || len(res.Body) != 0 || res.Header != nil {
			t.Fatalf("%+v, %v", res, err)
		}
		pushes := c.Pushes(tempoUser, fakecloud.OTLPTraces)
		if len(pushes) != 1 || !bytes.Equal(pushes[0].Body, plain) || pushes[0].WireBytes != len(body) {
			t.Fatalf("%d pushes of %d bytes", len(pushes), pushes[0].WireBytes)
		}
		h := pushes[0].Header
		if h.Get("User-Agent") != "otel/1 telemetry-gateway/1" || h.Get("Content-Type") != "application/grpc" || h.Get("Content-Encoding") != "" {
			t.Errorf("header %v", h)
		}
		if v := c.Violations(); len(v) > 0 {
			t.Error(v)
		}
	}
	for _, plain := range [][]byte{spans(t, 1, 0), spans(t, 100, 0), spans(t, 1, 5<<20)} {
		for _, encoding := range []string{"", "gzip"} {
			f(nil, promconfig.TLSConfig{}, plain, encoding)
			f(server, client.TLSConfig, plain, encoding)
		}
	}
}

// No byte is a message, too: a probe sends it.
func TestGRPCEmptyPush(t *testing.T) {
	c, u := tempo(t, fakecloud.Options{}, fakecloud.GRPCOptions{})
	if res, err := export(u, nil); err != nil || res.Status != 200 {
		t.Fatalf("%+v, %v", res, err)
	}
	if n := c.Stats(tempoUser, "").Pushes; n != 1 {
		t.Errorf("%d pushes", n)
	}
}

func TestGRPCPartialSuccess(t *testing.T) {
	c, u := tempo(t, fakecloud.Options{}, fakecloud.GRPCOptions{})
	f := func(encoding, message string) {
		t.Helper()
		body := spans(t, 3, 0)
		if encoding == "gzip" { // grpc-go compresses its answer as the call was
			body = zip(body)
		}
		o := c.Fail("", fakecloud.Fault{Reject: 2, Message: message})
		defer o.Clear()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		res, err := u.Send(ctx, &Request{Method: traceExport, ContentEncoding: encoding, Body: body})
		if err != nil {
			t.Fatal(err)
		}
		got := ptraceotlp.NewExportResponse()
		if err := got.UnmarshalProto(res.Body); err != nil || got.PartialSuccess().RejectedSpans() != 2 || got.PartialSuccess().ErrorMessage() != message {
			t.Errorf("%q: %v", res.Body, err)
		}
	}
	f("", "too old")
	f("gzip", "too old")
	f("", strings.Repeat("old ", 16000))
	f("gzip", strings.Repeat("old ", 16000))

	// What is longer than we read is not half an answer.
	for _, encoding := range []string{"", "gzip"} {
		body := spans(t, 3, 0)
		if encoding == "gzip" {
			body = zip(body)
		}
		o := c.Fail("", fakecloud.Fault{Reject: 2, Message: strings.Repeat("old ", 1<<20+1)})
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_, err := u.Send(ctx, &Request{Method: traceExport, ContentEncoding: encoding, Body: body})
		cancel()
		o.Clear()
		if e := wantFault(t, err, fault.UpstreamFailed); !strings.Contains(e.Public, "over 4194304 bytes") {
			t.Errorf("%q: %q", encoding, e.Public)
		}
	}
}

// TestGRPCAnswers holds every code to the table of answers, with and without RetryInfo.
func TestGRPCAnswers(t *testing.T) {
	c, u := tempo(t, fakecloud.Options{}, fakecloud.GRPCOptions{})
	f := func(code codes.Code, k fault.Kind, upstream, answer int, after time.Duration, told bool) {
		t.Helper()
		for _, delay := range []time.Duration{0, -1, 200 * time.Millisecond, 7100 * time.Millisecond, time.Hour} {
			k, upstream, answer, want := k, upstream, answer, map[time.Duration]time.Duration{
				-1: time.Second, 200 * time.Millisecond: time.Second, 7100 * time.Millisecond: 8 * time.Second, time.Hour: 120 * time.Second,
			}[delay]
			if code == codes.ResourceExhausted && delay != 0 {
				k, upstream, answer = fault.RateLimited, 429, 429
			} else if k == fault.Rejected {
				want = 0
			}
			o := c.Fail("", fakecloud.Fault{Code: code, Body: "own 100% wörds\nglc_secret", RetryDelay: delay})
			res, err := export(u, spans(t, 1, 0))
			o.Clear()
			e := wantFault(t, err, k)
			if res == nil || res.Status != upstream || e.Upstream != upstream || e.HTTPStatus() != answer {
				t.Errorf("%s: %+v, %+v", code, res, e)
			}
			if delay == 0 && (e.After < after*4/5 || e.After > after*6/5) || delay != 0 && e.After != want {
				t.Errorf("%s, RetryInfo %s: retry after %s, want %s", code, delay, e.After, want)
			}
			if !strings.HasPrefix(e.Public, "environment prod: upstream tempo ") || !strings.Contains(e.Public, "(gRPC "+strings.ToUpper(meanings[code].name)+")") {
				t.Errorf("%s: %q", code, e.Public)
			}
			const words = "own 100% wörds <secret>"
			if strings.Contains(e.Public, words) != told || !strings.Contains(e.Error(), words) {
				t.Errorf("%s: the sender reads %q, the log %q", code, e.Public, e.Error())
			}
		}
	}
	const none, failed, ours = 0, 5 * time.Second, 30 * time.Second
	f(codes.Canceled, fault.UpstreamFailed, 503, 503, failed, true)
	f(codes.Unknown, fault.UpstreamFailed, 500, 503, failed, true)
	f(codes.InvalidArgument, fault.Rejected, 400, 400, none, true)
	f(codes.DeadlineExceeded, fault.UpstreamFailed, 504, 503, failed, true)
	f(codes.NotFound, fault.Misconfigured, 404, 503, ours, false)
	f(codes.AlreadyExists, fault.Rejected, 409, 409, none, true)
	f(codes.PermissionDenied, fault.Misconfigured, 403, 503, ours, false)
	f(codes.ResourceExhausted, fault.Rejected, 413, 413, none, true)
	f(codes.FailedPrecondition, fault.Rejected, 400, 400, none, true)
	f(codes.Aborted, fault.UpstreamFailed, 503, 503, failed, true)
	f(codes.OutOfRange, fault.UpstreamFailed, 503, 503, failed, true)
	f(codes.Unimplemented, fault.Misconfigured, 404, 503, ours, false)
	f(codes.Internal, fault.UpstreamFailed, 500, 503, failed, true)
	f(codes.Unavailable, fault.UpstreamFailed, 503, 503, failed, true)
	f(codes.DataLoss, fault.UpstreamFailed, 503, 503, failed, true)
	f(codes.Unauthenticated, fault.Misconfigured, 401, 503, ours, false)
}

func TestGRPCRealLimitsOfAServer(t *testing.T) {
	c, u := tempo(t, fakecloud.Options{MaxBodyBytes: 1 << 20}, fakecloud.GRPCOptions{})
	_, err := export(u, spans(t, 1, 2<<20))
	if e := wantFault(t, err, fault.Rejected); e.HTTPStatus() != 413 || e.After != 0 {
		t.Errorf("too large: %+v", e)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = u.Send(ctx, &Request{Method: "/no.such.Service/Export", Body: []byte("x")})
	wantFault(t, err, fault.Misconfigured)
	_, err = u.Send(ctx, &Request{Method: traceExport, ContentEncoding: "zstd", Body: []byte("x")})
	if e := wantFault(t, err, fault.Misconfigured); e.Upstream != 404 {
		t.Errorf("unknown compression: %+v", e)
	}
	_, err = u.Send(ctx, &Request{Method: traceExport, ContentEncoding: "gzip", Body: []byte("no gzip")})
	wantFault(t, err, fault.UpstreamFailed)
	c.SetTokens(tempoUser)
	_, err = export(u, spans(t, 1, 0))
	if e := wantFault(t, err, fault.Misconfigured); e.Upstream != 401 || strings.Contains(e.Public, "invalid token") {
		t.Errorf("%+v", e)
	}
}

func TestPercentDecode(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := percentDecode(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	f("", "")
	f("plain words", "plain words")
	f("a%20b%0Ac%c3%A9", "a b\ncé")
	f("100%", "100%")
	f("100%2", "100%2")
	f("%zz%41%4", "%zzA%4")
	f("%%41", "%A")
	f("%+1", "%+1")
}

func TestGRPCTimeout(t *testing.T) {
	f := func(d time.Duration, want string) {
		t.Helper()
		if got := grpcTimeout(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
	f(8*time.Second, "8000m")
	f(8*time.Second+1, "8001m")
	f(1, "1m")
	f(0, "1m")
	f(-time.Second, "1m")
	f(time.Hour, "3600000m")
	f(1e6*time.Hour, "99999999m")
}

func TestGRPCRefusesToBuild(t *testing.T) {
	f := func(want string, change func(*Options)) {
		t.Helper()
		o := Options{Environment: "prod", Name: "tempo", URL: "http://127.0.0.1:1", GRPC: true}
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "tempo") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	f("has a path", func(o *Options) { o.URL += "/otlp" })
	f("sent twice", func(o *Options) { o.Headers = map[string]promconfig.Secret{"Idempotency-Key": "1"} })
	f("proxy", func(o *Options) { o.HTTP.ProxyFromEnvironment = true })
	f("proxy", func(o *Options) { o.HTTP.ProxyURL.URL = &url.URL{Scheme: "http", Host: "127.0.0.1:2"} })
	f("http client", func(o *Options) { o.HTTP.TLSConfig.CA = "no certificate" })
	if _, err := New(Options{URL: "https://127.0.0.1:1/", GRPC: true}); err != nil {
		t.Error(err)
	}
}

// A new credential is used by the next call, on the connection that is there; the calls under way end with the old one.
func TestGRPCRotation(t *testing.T) {
	c, u := tempo(t, fakecloud.Options{}, fakecloud.GRPCOptions{})
	if _, err := export(u, spans(t, 1, 0)); err != nil {
		t.Fatal(err)
	}
	hang := c.Fail("", fakecloud.Fault{Hang: true, Times: 5})
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if _, err := export(u, spans(t, 1, 0)); err != nil {
				t.Error(err)
			}
		})
	}
	waitHits(t, hang, 5)
	c.SetTokens(tempoUser, "two")
	_, err := export(u, spans(t, 1, 0))
	wantFault(t, err, fault.Misconfigured)
	use, err := u.Prepare(withToken("two"))
	if err != nil {
		t.Fatal(err)
	}
	use()
	if _, err := export(u, spans(t, 1, 0)); err != nil {
		t.Error(err)
	}
	hang.Clear()
	wg.Wait()
	if s := c.Stats(tempoUser, ""); s.Pushes != 7 || s.Codes[200] != 7 || c.GRPCConnections() != 1 {
		t.Errorf("%+v over %d connections, want 1", s, c.GRPCConnections())
	}
}

// A certificate can only be used on a new connection. The calls under way end on the old one.
func TestGRPCRotationOfCertificates(t *testing.T) {
	server, client := serverTLS(t)
	c, u := tempo(t, fakecloud.Options{}, fakecloud.GRPCOptions{TLS: server}, func(o *Options) { o.HTTP.TLSConfig = client.TLSConfig })
	hang := c.Fail("", fakecloud.Fault{Hang: true, Times: 1})
	done := make(chan error, 1)
	go func() {
		_, err := export(u, spans(t, 1, 0))
		done <- err
	}()
	waitHits(t, hang, 1)
	cfg := withToken("one")
	cfg.TLSConfig = client.TLSConfig
	cfg.TLSConfig.ServerName = "example.com"
	use, err := u.Prepare(cfg)
	if err != nil {
		t.Fatal(err)
	}
	use()
	if _, err := export(u, spans(t, 1, 0)); err != nil {
		t.Error(err)
	}
	hang.Clear()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := c.GRPCConnections(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestGRPCDeadlineAndCancel(t *testing.T) {
	c, u := tempo(t, fakecloud.Options{}, fakecloud.GRPCOptions{})
	c.Fail("", fakecloud.Fault{Hang: true})
	for range 20 { // that of ours is no other than the one that upstream hears of
		l := lend(t, 10000)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		_, err := u.Send(ctx, &Request{Method: traceExport, Body: l.data, Hold: l.Hold, Release: l.Release})
		cancel()
		l.Release()
		l.wantSettled()
		if e := wantFault(t, err, fault.Timeout); e.HTTPStatus() != 504 || e.After <= 0 || !strings.Contains(e.Public, "timeout=8s") {
			t.Errorf("%+v", e)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	before := c.Stats(tempoUser, "").Requests
	go func() {
		_ = c.WaitRequests(ctx, tempoUser, "", before+1)
		cancel()
	}()
	_, err := u.Send(ctx, &Request{Method: traceExport, Body: spans(t, 1, 0)})
	wantFault(t, err, fault.Canceled)
	_, err = u.Send(ctx, &Request{Method: traceExport, Body: spans(t, 1, 0)})
	wantFault(t, err, fault.Canceled)
}

func TestGRPCNobodyThere(t *testing.T) {
	base := fakecloud.Unreachable()
	_, err := export(upstreamAt(t, base, overGRPC), []byte("x"))
	if e := wantFault(t, err, fault.Unreachable); !strings.HasSuffix(e.Public, "connection refused") {
		t.Error(e)
	}
	// Neither speaks HTTP/2.
	h1 := serve(t, func(http.ResponseWriter, *http.Request) {})
	_, err = export(upstreamAt(t, h1.URL, overGRPC), []byte("x"))
	wantFault(t, err, fault.Unreachable)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a push went out over HTTP/1.1") }))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	_, err = export(upstreamAt(t, secure.URL, withHTTP(trusting(secure)), overGRPC), []byte("x"))
	wantFault(t, err, fault.Unreachable)
	_, err = export(upstreamAt(t, secure.URL, overGRPC), []byte("x"))
	if e := wantFault(t, err, fault.Unreachable); !strings.HasSuffix(e.Public, "TLS failed") {
		t.Error(e)
	}
}
