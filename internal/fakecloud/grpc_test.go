package fakecloud

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// dialGRPC connects a real client, which pushes with the credential of user.
func dialGRPC(t *testing.T, c *Cloud, user, token string, tlsConfig *tls.Config) *grpc.ClientConn {
	t.Helper()
	creds := insecure.NewCredentials()
	if tlsConfig != nil {
		creds = credentials.NewTLS(tlsConfig)
	}
	_, addr, _ := strings.Cut(c.GRPCURL(), "://")
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			pair := base64.StdEncoding.EncodeToString([]byte(user + ":" + token))
			return call(metadata.AppendToOutgoingContext(ctx, "authorization", "Basic "+pair), method, req, reply, cc, opts...)
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// startGRPC is start, with the gRPC server.
func startGRPC(t *testing.T, o Options, g GRPCOptions) *Cloud {
	t.Helper()
	c := start(t, o)
	if err := c.StartGRPC(g); err != nil {
		t.Fatal(err)
	}
	return c
}

func spans(t *testing.T, n int) ptraceotlp.ExportRequest {
	t.Helper()
	req := ptraceotlp.NewExportRequest()
	if err := req.UnmarshalProto(tracesPush(false, n, nil).body); err != nil {
		t.Fatal(err)
	}
	return req
}

func export(t *testing.T, conn *grpc.ClientConn, req ptraceotlp.ExportRequest, opts ...grpc.CallOption) (ptraceotlp.ExportResponse, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return ptraceotlp.NewGRPCClient(conn).Export(ctx, req, opts...)
}

func TestGRPCStores(t *testing.T) {
	cert := httptest.NewTLSServer(nil)
	cert.Close()
	roots := x509.NewCertPool()
	roots.AddCert(cert.Certificate())
	f := func(server, client *tls.Config) {
		t.Helper()
		c := startGRPC(t, Options{Strict: true}, GRPCOptions{TLS: server})
		conn := dialGRPC(t, c, otlpUser, token, client)
		req := spans(t, 3)
		raw, err := req.MarshalProto()
		if err != nil {
			t.Fatal(err)
		}
		for _, opts := range [][]grpc.CallOption{nil, {grpc.UseCompressor(gzip.Name)}} {
			if res, err := export(t, conn, req, opts...); err != nil || res.PartialSuccess().RejectedSpans() != 0 {
				t.Fatalf("%v, %v", res, err)
			}
		}
		ctx := t.Context()
		if _, err := pmetricotlp.NewGRPCClient(conn).Export(ctx, pmetricotlp.NewExportRequest()); err != nil {
			t.Error(err)
		}
		if _, err := plogotlp.NewGRPCClient(conn).Export(ctx, plogotlp.NewExportRequest()); err != nil {
			t.Error(err)
		}
		s := c.Stats(otlpUser, OTLPTraces)
		if s.Requests != 2 || s.Pushes != 2 || s.Items != 6 || s.Codes[200] != 2 || c.Stats(otlpUser, OTLP).Codes[200] != 4 {
			t.Errorf("%+v", s)
		}
		pushes := c.Pushes(otlpUser, OTLPTraces)
		for _, p := range pushes {
			if !bytes.Equal(p.Body, raw) || p.Traces.SpanCount() != 3 || p.Header.Get("Content-Type") != "application/grpc" {
				t.Errorf("%+v", p)
			}
		}
		if pushes[0].WireBytes != len(raw) || pushes[1].WireBytes == len(raw) || pushes[1].WireBytes == 0 {
			t.Errorf("%d and %d bytes on the wire, of %d", pushes[0].WireBytes, pushes[1].WireBytes, len(raw))
		}
		if v := c.Violations(); len(v) > 0 {
			t.Error(v)
		}
		if n := c.GRPCConnections(); n != 1 {
			t.Errorf("%d connections", n)
		}
	}
	f(nil, nil)
	f(&tls.Config{Certificates: cert.TLS.Certificates}, &tls.Config{RootCAs: roots, ServerName: "example.com"})
}

func TestGRPCRefuses(t *testing.T) {
	c := startGRPC(t, Options{}, GRPCOptions{})
	f := func(user, token string, change func(), code codes.Code) {
		t.Helper()
		change()
		_, err := export(t, dialGRPC(t, c, user, token, nil), spans(t, 1))
		if status.Code(err) != code {
			t.Errorf("%v, want %s", err, code)
		}
	}
	nothing := func() {}
	f(otlpUser, "wrong", nothing, codes.Unauthenticated)
	f("", "", nothing, codes.Unauthenticated)
	f(metricsUser, token, nothing, codes.Unauthenticated)
	f(otlpUser, token, func() { c.SetTokens(otlpUser, "other") }, codes.Unauthenticated)
	f(otlpUser, "other", nothing, codes.OK)
	if n := c.Stats("", OTLP).Codes[int(codes.Unauthenticated)]; n != 4 {
		t.Errorf("%d in the books", n)
	}
}

func TestGRPCFaults(t *testing.T) {
	c := startGRPC(t, Options{}, GRPCOptions{})
	conn := dialGRPC(t, c, otlpUser, token, nil)
	// retry is the delay of RetryInfo in the error; negative: there is none.
	f := func(fault Fault, code codes.Code, retry time.Duration, stored int) {
		t.Helper()
		before := c.Stats(otlpUser, OTLPTraces)
		o := c.Fail(OTLPTraces, fault)
		defer o.Clear()
		_, err := export(t, conn, spans(t, 2))
		st := status.Convert(err)
		if st.Code() != code {
			t.Fatalf("%v, want %s", err, code)
		}
		got := time.Duration(-1)
		for _, d := range st.Details() {
			if info, ok := d.(*errdetails.RetryInfo); ok {
				got = info.RetryDelay.AsDuration()
			}
		}
		if got != retry {
			t.Errorf("%s: retry after %s, want %s", code, got, retry)
		}
		if n := c.Stats(otlpUser, OTLPTraces).Items - before.Items; n != stored {
			t.Errorf("%s: %d stored, want %d", code, n, stored)
		}
	}
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		f(Fault{Code: code}, code, -1, 0)
		f(Fault{Code: code, RetryDelay: 1500 * time.Millisecond}, code, 1500*time.Millisecond, 0)
		f(Fault{Code: code, RetryDelay: -1, Stored: true}, code, 0, 2)
	}
	f(TooMany(7), codes.ResourceExhausted, 7*time.Second, 0)
	for httpStatus, code := range map[int]codes.Code{
		400: codes.InvalidArgument, 422: codes.InvalidArgument, 401: codes.Unauthenticated, 403: codes.PermissionDenied, 404: codes.Unimplemented,
		409: codes.AlreadyExists, 413: codes.ResourceExhausted, 500: codes.Internal, 502: codes.Unavailable, 503: codes.Unavailable, 504: codes.DeadlineExceeded, 302: codes.Unknown,
	} {
		f(Fault{Status: httpStatus}, code, -1, 0)
	}
	for _, b := range []Break{ResetBeforeBody, ResetAfterBody, CloseAfterBody} {
		f(Fault{Break: b}, codes.Unavailable, -1, 0)
	}
	f(Fault{Break: ResetAfterBody, Stored: true}, codes.Unavailable, -1, 2)
	// The sender knows of a broken connection before the books do.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := c.wait(ctx, otlpUser, OTLPTraces, 4, "calls without an answer", func(s Stats) int { return s.Codes[0] })
	if n := c.Stats(otlpUser, OTLPTraces).Codes[0]; err != nil || n != 4 {
		t.Errorf("%d calls without an answer, want 4: %v", n, err)
	}

	o := c.Fail(OTLPTraces, Fault{Reject: 1, Message: "too old"})
	res, err := export(t, conn, spans(t, 3))
	o.Clear()
	if err != nil || res.PartialSuccess().RejectedSpans() != 1 || res.PartialSuccess().ErrorMessage() != "too old" {
		t.Errorf("%v, %v", res, err)
	}
}

func TestGRPCHangs(t *testing.T) {
	c := startGRPC(t, Options{}, GRPCOptions{})
	conn := dialGRPC(t, c, otlpUser, token, nil)
	f := func(let func(*Outage, context.CancelFunc), code codes.Code) {
		t.Helper()
		before := c.Stats(otlpUser, OTLP).Requests
		o := c.Fail(OTLP, Fault{Hang: true})
		defer o.Clear()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		done := make(chan error, 1)
		go func() {
			_, err := ptraceotlp.NewGRPCClient(conn).Export(ctx, spans(t, 1))
			done <- err
		}()
		if err := c.WaitRequests(ctx, otlpUser, OTLP, before+1); err != nil {
			t.Fatal(err)
		}
		let(o, cancel)
		if err := <-done; status.Code(err) != code {
			t.Errorf("%v, want %s", err, code)
		}
	}
	f(func(o *Outage, _ context.CancelFunc) { o.Clear() }, codes.OK)
	f(func(_ *Outage, cancel context.CancelFunc) { cancel() }, codes.Canceled)
	f(func(*Outage, context.CancelFunc) { c.BreakGRPC() }, codes.Unavailable)
	f(func(*Outage, context.CancelFunc) { c.Close() }, codes.Unavailable)
}

// A restart costs no call and no push, and the port stays.
func TestGRPCRestart(t *testing.T) {
	c := startGRPC(t, Options{Keep: -1}, GRPCOptions{MaxStreams: 20})
	conn := dialGRPC(t, c, otlpUser, token, nil)
	const workers, each = 8, 60
	errs := make(chan error, workers*each)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				if _, err := export(t, conn, spans(t, 1)); err != nil {
					errs <- err
				}
			}
		})
	}
	for i := range 5 {
		if err := c.WaitItems(t.Context(), otlpUser, OTLP, (i+1)*workers*each/8); err != nil {
			t.Fatal(err)
		}
		c.RestartGRPC()
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	if s := c.Stats(otlpUser, OTLP); s.Items != workers*each || s.Codes[http.StatusOK] != workers*each {
		t.Errorf("%+v", s)
	}
	if n := c.GRPCConnections(); n < 6 {
		t.Errorf("%d connections after 5 restarts", n)
	}
}
