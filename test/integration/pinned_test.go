package integration

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// What comes without credentials to a listener that is pinned belongs to whom it is pinned to. With credentials it is
// whose they are, and wrong ones are refused there as everywhere.
func TestPinnedListener(t *testing.T) {
	prodUp, devUp := newGRPCUpstream(t), newGRPCUpstream(t)
	pinHTTP, pinGRPC := freeAddr(t), freeAddr(t)
	g := newGateway(t, "", prod("    upstreams:\n"+prodUp.yaml("tempo", ""))+
		"  dev:\n    clients:\n      legacy: {}\n    upstreams:\n"+devUp.yaml("tempo", ""))
	g.httpMore = fmt.Sprintf(", {address: %q, environment: dev, client: legacy}", pinHTTP)
	g.grpcMore = fmt.Sprintf(", {address: %q, environment: dev, client: legacy}", pinGRPC)
	g.writeConfig()
	g.start()

	f := func(httpAddr, grpcAddr, authorization string, takenBy *grpcUpstream) {
		t.Helper()
		for door, push := range barePushes {
			err := push(t, httpAddr, grpcAddr, authorization, tracesOf("old", pcommon.TraceID{0: 1, 15: 1}))
			if (err == nil) != (takenBy != nil) || err != nil && !strings.Contains(err.Error(), "401") && status.Code(err) != codes.Unauthenticated {
				t.Errorf("%s with %q: %v, want it taken: %v", door, authorization, err, takenBy != nil)
			}
			for _, up := range []*grpcUpstream{prodUp, devUp} {
				if n := up.traces.SpanCount(); (n == 1) != (up == takenBy) {
					t.Errorf("%s with %q: %d spans at %s", door, authorization, n, up.url)
				}
				up.reset()
			}
		}
	}
	f(pinHTTP, pinGRPC, "", devUp)
	f(pinHTTP, pinGRPC, "Bearer "+clientToken, prodUp)
	f(pinHTTP, pinGRPC, "Bearer wrong", nil)
	f(g.http, g.grpc, "", nil)
	f(g.http, g.grpc, "Bearer "+clientToken, prodUp)
	if received, forwarded, _, _ := g.books("legacy", "traces"); received != float64(len(barePushes)) || forwarded != received {
		t.Errorf("legacy: received %g, forwarded %g, want %d", received, forwarded, len(barePushes))
	}
}

// barePushes are the doors, called with nothing but the given credential. Their error names the status.
var barePushes = map[string]func(t testing.TB, httpAddr, grpcAddr, authorization string, td ptrace.Traces) error{
	"Zipkin": func(t testing.TB, addr, _, authorization string, td ptrace.Traces) error {
		return pushBare(t, addr, "/api/v2/spans", "application/json", authorization, zipkinOf(t, td))
	},
	"Jaeger/HTTP": func(t testing.TB, addr, _, authorization string, td ptrace.Traces) error {
		return pushBare(t, addr, "/api/traces", "application/x-thrift", authorization, jaegerThriftOf(t, td))
	},
	"Jaeger/gRPC": func(t testing.TB, _, addr, authorization string, td ptrace.Traces) error {
		return postSpansAs(authorized(t, authorization), t, addr, jaegerBatchOf(t, td))
	},
	"OTLP/gRPC": func(t testing.TB, _, addr, authorization string, td ptrace.Traces) error {
		conn := dialGRPC(t, addr)
		defer conn.Close()
		_, err := ptraceotlp.NewGRPCClient(conn).Export(authorized(t, authorization), ptraceotlp.NewExportRequestFromTraces(td))
		return err
	},
}

func authorized(t testing.TB, authorization string) context.Context {
	ctx := background(t)
	if authorization != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", authorization)
	}
	return ctx
}

func pushBare(t testing.TB, addr, path, contentType, authorization string, body []byte) error {
	t.Helper()
	header := http.Header{"Content-Type": {contentType}}
	if authorization != "" {
		header.Set("Authorization", authorization)
	}
	resp := (&tapped{uri: path, header: header, body: body}).replay(t, addr)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("answered %s", resp.Status)
	}
	return nil
}
