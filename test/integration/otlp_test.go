package integration

import (
	"context"
	"net/http/httputil"
	"net/url"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
)

// otlpReceiver is the Collector's own OTLP/HTTP receiver with sinks behind it.
type otlpReceiver struct {
	addr    string
	traces  consumertest.TracesSink
	metrics consumertest.MetricsSink
	logs    consumertest.LogsSink
}

func newOTLPReceiver(t testing.TB) *otlpReceiver {
	t.Helper()
	rc := &otlpReceiver{addr: freeAddr(t)}
	cfg := otlpreceiver.NewFactory().CreateDefaultConfig().(*otlpreceiver.Config)
	cfg.Protocols.HTTP.GetOrInsertDefault().ServerConfig.NetAddr.Endpoint = rc.addr
	cfg.Protocols.GRPC = configoptional.None[configgrpc.ServerConfig]()
	rc.start(t, cfg, componenttest.NewNopHost())
	return rc
}

// start serves cfg until the test ends.
func (rc *otlpReceiver) start(t testing.TB, cfg *otlpreceiver.Config, host component.Host) {
	t.Helper()
	factory := otlpreceiver.NewFactory()
	set := receivertest.NewNopSettings(factory.Type())
	ctx := context.Background()

	// The three share one server, because they share one config.
	tr, err := factory.CreateTraces(ctx, set, cfg, &rc.traces)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := factory.CreateMetrics(ctx, set, cfg, &rc.metrics); err != nil {
		t.Fatal(err)
	}
	if _, err := factory.CreateLogs(ctx, set, cfg, &rc.logs); err != nil {
		t.Fatal(err)
	}
	if err := tr.Start(ctx, host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
}

func (rc *otlpReceiver) reset() {
	rc.traces.Reset()
	rc.metrics.Reset()
	rc.logs.Reset()
}

// proxy is the receiver as an http.Handler, to be put behind an upstream.
func (rc *otlpReceiver) proxy() *httputil.ReverseProxy {
	to := &url.URL{Scheme: "http", Host: rc.addr}
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
}

// newOTLPGateway is a gateway in front of the Collector's receiver. rest holds further keys of the environment.
func newOTLPGateway(t testing.TB, extra, rest string) (*gateway, *upstream, *otlpReceiver) {
	t.Helper()
	rc := newOTLPReceiver(t)
	up := newUpstream(t, rc.proxy())
	g := startGateway(t, "    upstreams:\n"+up.yaml("otlp", "", extra)+rest)
	return g, up, rc
}

// batches is what a receiver took: the protobuf of each push, sorted, because pushes may overtake each other.
func (rc *otlpReceiver) batches(t testing.TB) otlpBatches {
	t.Helper()
	return otlpBatches{
		"traces":  encodeAll(t, rc.traces.AllTraces(), (&ptrace.ProtoMarshaler{}).MarshalTraces),
		"metrics": encodeAll(t, rc.metrics.AllMetrics(), (&pmetric.ProtoMarshaler{}).MarshalMetrics),
		"logs":    encodeAll(t, rc.logs.AllLogs(), (&plog.ProtoMarshaler{}).MarshalLogs),
	}
}

// otlpBatches holds encoded pushes by signal.
type otlpBatches map[string][]string

func encodeAll[T any](t testing.TB, batches []T, marshal func(T) ([]byte, error)) []string {
	t.Helper()
	out := make([]string, 0, len(batches))
	for _, b := range batches {
		buf, err := marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(buf))
	}
	slices.Sort(out)
	return out
}

// checkEqual compares push for push. On a difference it shows both as JSON.
func (want otlpBatches) checkEqual(t testing.TB, got otlpBatches) {
	t.Helper()
	for signal, w := range want {
		g := got[signal]
		if len(g) != len(w) {
			t.Errorf("%s: %d pushes arrived, want %d", signal, len(g), len(w))
			continue
		}
		for i := range w {
			if g[i] != w[i] {
				t.Errorf("%s: push %d differs\n got %s\nwant %s", signal, i, otlpText(signal, g[i]), otlpText(signal, w[i]))
				break
			}
		}
	}
}

func otlpText(signal, wire string) string {
	var out []byte
	var err error
	switch signal {
	case "traces":
		var td ptrace.Traces
		if td, err = (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces([]byte(wire)); err == nil {
			out, err = (&ptrace.JSONMarshaler{}).MarshalTraces(td)
		}
	case "metrics":
		var md pmetric.Metrics
		if md, err = (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics([]byte(wire)); err == nil {
			out, err = (&pmetric.JSONMarshaler{}).MarshalMetrics(md)
		}
	default:
		var ld plog.Logs
		if ld, err = (&plog.ProtoUnmarshaler{}).UnmarshalLogs([]byte(wire)); err == nil {
			out, err = (&plog.JSONMarshaler{}).MarshalLogs(ld)
		}
	}
	if err != nil {
		return err.Error()
	}
	if len(out) > 2000 {
		return string(out[:2000]) + "..."
	}
	return string(out)
}

func background(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
