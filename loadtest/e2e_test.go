package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/internal/gateway"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/digest"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/drive"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/generate"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/sink"
)

// startSink serves a sink until the test ends.
func startSink(t *testing.T) (*sink.Sink, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := new(sink.Sink)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l, nil) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, "http://" + l.Addr().String()
}

// startGateway serves a gateway in front of a sink until the test ends.
func startGateway(t *testing.T, sinkURL string, extra gatewayConfig) gateway.Addresses {
	t.Helper()
	dir := t.TempDir()
	extra.sink = sinkURL
	path, err := extra.write(dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path)
	if err != nil {
		text, _ := os.ReadFile(filepath.Join(dir, "gateway.yaml"))
		t.Fatalf("%v\n%s", err, text)
	}
	g, err := gateway.New(cfg, gateway.Options{Log: slog.New(slog.DiscardHandler), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan gateway.Addresses, 1), make(chan error, 1)
	go func() { done <- g.Run(ctx, func(a gateway.Addresses) { ready <- a }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return <-ready
}

// TestEveryDoor sends every kind of push through a real gateway and compares what arrived with what was sent.
func TestEveryDoor(t *testing.T) {
	s, sinkURL := startSink(t)
	addr := startGateway(t, sinkURL, gatewayConfig{})
	f := func(spec generate.Spec, transport drive.Transport, signal string) {
		t.Helper()
		spec.Seed, spec.Series = 3, 4*max(spec.Items, 100)
		work, err := generate.New(spec)
		if err != nil {
			t.Fatal(err)
		}
		load := drive.Load{URL: "http://" + addr.HTTP[0], Transport: transport, Work: work, Clients: clientsOf(1, 1), Conns: 3}
		if transport == drive.GRPC {
			load.URL = "http://" + addr.GRPC[0]
		}
		s.Reset()
		out := load.Run(t.Context(), 12, nil)
		st := s.State()
		if out.Pushes != 12 || out.Items != 12*uint64(spec.Items) || out.Err() != nil {
			t.Fatalf("%s over %s: %d pushes of %d items accepted, answers %v, %v", spec.Kind, transport, out.Pushes, out.Items, out.Answers, out.Err())
		}
		if v := verify(out, st, work.IdentityOnly); v.Verdict != verdictExact {
			t.Errorf("%s over %s: %+v; arrived %+v, sent %+v, %s", spec.Kind, transport, v, st.Sums, out.Accepted, st.Error)
		}
		if _, ok := st.Sums["e0/"+signal]; !ok {
			t.Errorf("%s: arrived as %v", spec.Kind, st.Sums)
		}
	}
	f(generate.Spec{Kind: generate.RemoteWriteV1, Items: 200}, drive.HTTP1, "metrics")
	f(generate.Spec{Kind: generate.RemoteWriteV1, Items: 1}, drive.HTTP1, "metrics")
	f(generate.Spec{Kind: generate.RemoteWriteV1, Items: 200}, drive.HTTP2, "metrics")
	f(generate.Spec{Kind: generate.RemoteWriteV2, Items: 200}, drive.HTTP1, "metrics")
	f(generate.Spec{Kind: generate.Loki, Items: 200}, drive.HTTP1, "logs")
	f(generate.Spec{Kind: generate.LokiJSON, Items: 200}, drive.HTTP1, "logs")
	f(generate.Spec{Kind: generate.LokiJSON, Items: 200, Codec: "gzip"}, drive.HTTP1, "logs")
	for _, codec := range []string{"identity", "gzip", "zstd"} {
		for _, transport := range []drive.Transport{drive.HTTP1, drive.GRPC} {
			f(generate.Spec{Kind: generate.Traces, Items: 50, Codec: codec}, transport, "traces")
			f(generate.Spec{Kind: generate.Metrics, Items: 120, Codec: codec}, transport, "metrics")
			f(generate.Spec{Kind: generate.Logs, Items: 50, Codec: codec}, transport, "logs")
		}
	}
	f(generate.Spec{Kind: generate.TracesJSON, Items: 50}, drive.HTTP1, "traces")
	f(generate.Spec{Kind: generate.Zipkin, Items: 50}, drive.HTTP1, "traces")
	f(generate.Spec{Kind: generate.Jaeger, Items: 50}, drive.HTTP1, "traces")
}

// TestReduction sends what the rules of the scenarios change and compares with what each rule is expected to leave.
func TestReduction(t *testing.T) {
	f := func(spec generate.Spec, extra gatewayConfig) {
		t.Helper()
		s, sinkURL := startSink(t)
		addr := startGateway(t, sinkURL, extra)
		spec.Series = 4 * spec.Items
		work, err := generate.New(spec)
		if err != nil {
			t.Fatal(err)
		}
		load := drive.Load{URL: "http://" + addr.HTTP[0], Work: work, Clients: clientsOf(1, 1), Conns: 3}
		out := load.Run(t.Context(), 12, nil)
		if v := verify(out, s.State(), false); v.Verdict != verdictExact || out.Pushes != 12 {
			t.Errorf("%s: %+v, answers %v, %v", spec.Kind, v, out.Answers, out.Err())
		}
	}
	f(generate.Spec{Kind: generate.RemoteWriteV1, Items: 200, Change: reducedSeries}, gatewayConfig{metrics: reduceRules + guardLimits})
	f(generate.Spec{Kind: generate.RemoteWriteV2, Items: 200, Change: reducedSeries}, gatewayConfig{metrics: reduceRules + guardLimits})
	f(generate.Spec{Kind: generate.Loki, Items: 200, Change: movedLabel}, gatewayConfig{logs: moveRule})
	f(generate.Spec{Kind: generate.Traces, Items: 50, Codec: "gzip", Change: deletedAttribute}, gatewayConfig{traces: deleteRule})
}

func TestTenantsAreKeptApart(t *testing.T) {
	s, sinkURL := startSink(t)
	addr := startGateway(t, sinkURL, gatewayConfig{environments: 3, clients: 2})
	work, err := generate.New(generate.Spec{Kind: generate.RemoteWriteV1, Items: 10, Series: 100})
	if err != nil {
		t.Fatal(err)
	}
	load := drive.Load{URL: "http://" + addr.HTTP[0], Work: work, Clients: clientsOf(3, 2), Conns: 4}
	out := load.Run(t.Context(), 60, nil)
	if v := verify(out, s.State(), false); v.Verdict != verdictExact || len(s.State().Sums) != 3 {
		t.Errorf("%+v: %v, %v", v, s.State().Sums, out.Err())
	}
}

// TestVerify makes sure that what is wrong is seen.
func TestVerify(t *testing.T) {
	one, two := digest.Sum{Items: 1, Checked: 1, Content: 5, Identity: 7}, digest.Sum{Items: 2, Checked: 2, Content: 11, Identity: 13}
	f := func(accepted, unknown, arrived digest.Sum, want string) {
		t.Helper()
		out := &drive.Outcome{Accepted: map[string]digest.Sum{"e0": accepted}, Unknown: unknown}
		st := sink.State{Sums: map[string]digest.Sum{"e0/metrics": arrived}}
		if v := verify(out, st, false); !strings.HasPrefix(v.Verdict, want) {
			t.Errorf("%+v accepted, %+v unknown, %+v arrived: %q, want %q", accepted, unknown, arrived, v.Verdict, want)
		}
	}
	none := digest.Sum{}
	f(one, none, one, verdictExact)
	f(two, none, one, "lost 1")
	f(one, none, two, "1 too many")
	f(one, none, digest.Sum{Items: 1, Checked: 1, Content: 6, Identity: 7}, "changed")
	f(one, one, two, verdictBounds)
	f(one, one, one, verdictExact)
	f(two, one, one, "lost 1")
}
