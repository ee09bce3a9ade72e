package integration

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configcompression"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/exporter/otlpexporter"
	"go.opentelemetry.io/collector/exporter/otlphttpexporter"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/testdata"
)

// collector is the Collector's own exporter. Its calls return when the push was answered, retries included.
type collector struct {
	exporter.Traces
	metrics exporter.Metrics
	logs    exporter.Logs
}

func newCollector(t testing.TB, g *gateway, transport string, compression configcompression.Type) collector {
	t.Helper()
	retry := configretry.NewDefaultBackOffConfig()
	retry.InitialInterval, retry.MaxInterval, retry.RandomizationFactor = 50*time.Millisecond, 200*time.Millisecond, 0
	noQueue := configoptional.None[exporterhelper.QueueBatchConfig]()
	headers := configopaque.MapList{{Name: "Authorization", Value: "Bearer " + clientToken}}
	for name, value := range leakHeaders {
		headers = append(headers, configopaque.Pair{Name: name, Value: configopaque.String(value)})
	}

	var factory exporter.Factory
	var cfg component.Config
	if transport == "grpc" {
		factory = otlpexporter.NewFactory()
		c := factory.CreateDefaultConfig().(*otlpexporter.Config)
		c.ClientConfig.Endpoint, c.ClientConfig.TLS.Insecure = g.grpc, true
		c.ClientConfig.Compression, c.ClientConfig.Headers = compression, headers
		c.RetryConfig, c.QueueConfig = retry, noQueue
		c.TimeoutConfig.Timeout = 20 * time.Second // its 5 s are short for 6 MiB of gzip on a busy machine
		cfg = c
	} else {
		factory = otlphttpexporter.NewFactory()
		c := factory.CreateDefaultConfig().(*otlphttpexporter.Config)
		c.ClientConfig.Endpoint = "http://" + g.http
		c.ClientConfig.Compression, c.ClientConfig.Headers = compression, headers
		c.RetryConfig, c.QueueConfig = retry, noQueue
		cfg = c
	}
	ctx, set, host := context.Background(), exportertest.NewNopSettings(factory.Type()), componenttest.NewNopHost()
	tr, err := factory.CreateTraces(ctx, set, cfg)
	if err != nil {
		t.Fatal(err)
	}
	me, err := factory.CreateMetrics(ctx, set, cfg)
	if err != nil {
		t.Fatal(err)
	}
	lo, err := factory.CreateLogs(ctx, set, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []component.Component{tr, me, lo} {
		if err := c.Start(ctx, host); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Shutdown(ctx) })
	}
	return collector{tr, me, lo}
}

// send pushes n batches of each signal and returns them as the receiver should have them.
func (c collector) send(t testing.TB, n int) otlpBatches {
	t.Helper()
	ctx := background(t)
	var traces []ptrace.Traces
	var metrics []pmetric.Metrics
	var logs []plog.Logs
	for i := range n {
		td, md, ld := generateTraces(3+i), testdata.GenerateMetricsAllTypes(), testdata.GenerateLogs(5+i)
		md.ResourceMetrics().At(0).Resource().Attributes().PutInt("batch", int64(i))
		if err := c.ConsumeTraces(ctx, td); err != nil {
			t.Fatalf("traces: %v", err)
		}
		if err := c.metrics.ConsumeMetrics(ctx, md); err != nil {
			t.Fatalf("metrics: %v", err)
		}
		if err := c.logs.ConsumeLogs(ctx, ld); err != nil {
			t.Fatalf("logs: %v", err)
		}
		traces, metrics, logs = append(traces, td), append(metrics, md), append(logs, ld)
	}
	return otlpBatches{
		"traces":  encodeAll(t, traces, (&ptrace.ProtoMarshaler{}).MarshalTraces),
		"metrics": encodeAll(t, metrics, (&pmetric.ProtoMarshaler{}).MarshalMetrics),
		"logs":    encodeAll(t, logs, (&plog.ProtoMarshaler{}).MarshalLogs),
	}
}

func TestOTLPCollector(t *testing.T) {
	g, up, rc := newOTLPGateway(t, "", "")
	f := func(transport string, compression configcompression.Type) {
		t.Helper()
		t.Run(transport+" "+string(compression), func(t *testing.T) {
			rc.reset()
			want := newCollector(t, g, transport, compression).send(t, 3)
			want.checkEqual(t, rc.batches(t))
		})
	}
	f("http", "none")
	f("http", "gzip")
	f("http", "zstd")
	f("grpc", "none")
	f("grpc", "gzip")
	f("grpc", "zstd")
	if n := len(up.answered()); n != 6*9 {
		t.Errorf("upstream saw %d pushes, want %d", n, 6*9)
	}
	g.checkNoSecrets()
}

// Stamps are a point attribute for metrics and a resource attribute for the others; they win over what was sent.
func TestOTLPStamps(t *testing.T) {
	g, _, rc := newOTLPGateway(t, "", `    metrics: {labels: {environment: prod, label_1: stamped}}
    logs: {labels: {environment: prod}}
    traces: {labels: {environment: prod}}
`)
	td, md, ld := generateTraces(3), testdata.GenerateMetricsAllTypes(), testdata.GenerateLogs(5)
	otlpStamp{"environment": "dev"}.apply(td, md, ld) // so that each stamp also replaces
	f := func(transport string) {
		t.Helper()
		t.Run(transport, func(t *testing.T) {
			rc.reset()
			c, ctx := newCollector(t, g, transport, "gzip"), background(t)
			if err := errors.Join(c.ConsumeTraces(ctx, td), c.metrics.ConsumeMetrics(ctx, md), c.logs.ConsumeLogs(ctx, ld)); err != nil {
				t.Fatal(err)
			}
			// Where among the attributes a stamp stands says nothing.
			want := newBatch(t, td, md, ld, otlpStamp{"environment": "prod"}, otlpStamp{"label_1": "stamped"})
			if len(rc.traces.AllTraces()) != 1 || len(rc.metrics.AllMetrics()) != 1 || len(rc.logs.AllLogs()) != 1 {
				t.Fatal("not one push of each signal arrived")
			}
			got := newBatch(t, rc.traces.AllTraces()[0], rc.metrics.AllMetrics()[0], rc.logs.AllLogs()[0], nil, nil)
			want.checkEqual(t, got)
		})
	}
	f("http")
	f("grpc")
}

// newBatch encodes copies of one push of each signal, stamped, with the attributes that stamps may touch in order.
func newBatch(t testing.TB, td ptrace.Traces, md pmetric.Metrics, ld plog.Logs, all, points otlpStamp) otlpBatches {
	t.Helper()
	traces, metrics, logs := ptrace.NewTraces(), pmetric.NewMetrics(), plog.NewLogs()
	td.CopyTo(traces)
	md.CopyTo(metrics)
	ld.CopyTo(logs)
	all.apply(traces, metrics, logs)
	points.apply(ptrace.NewTraces(), metrics, plog.NewLogs())
	eachAttributes(traces, metrics, logs, sortAttributes)
	return otlpBatches{
		"traces":  encodeAll(t, []ptrace.Traces{traces}, (&ptrace.ProtoMarshaler{}).MarshalTraces),
		"metrics": encodeAll(t, []pmetric.Metrics{metrics}, (&pmetric.ProtoMarshaler{}).MarshalMetrics),
		"logs":    encodeAll(t, []plog.Logs{logs}, (&plog.ProtoMarshaler{}).MarshalLogs),
	}
}

// otlpStamp is what the gateway should have put on a batch.
type otlpStamp map[string]string

func (s otlpStamp) apply(td ptrace.Traces, md pmetric.Metrics, ld plog.Logs) {
	for name, value := range s {
		eachAttributes(td, md, ld, func(attrs pcommon.Map) { attrs.PutStr(name, value) })
	}
}

// eachAttributes visits every attribute set that stamps touch.
func eachAttributes(td ptrace.Traces, md pmetric.Metrics, ld plog.Logs, f func(pcommon.Map)) {
	for _, rs := range td.ResourceSpans().All() {
		f(rs.Resource().Attributes())
	}
	for _, rl := range ld.ResourceLogs().All() {
		f(rl.Resource().Attributes())
	}
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				eachPoint(m, f)
			}
		}
	}
}

// sortAttributes keeps doubled keys, so that they show.
func sortAttributes(attrs pcommon.Map) {
	type pair struct {
		key   string
		value pcommon.Value
	}
	var pairs []pair
	for k, v := range attrs.All() {
		c := pcommon.NewValueEmpty()
		v.CopyTo(c)
		pairs = append(pairs, pair{k, c})
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	sorted := pcommon.NewMap()
	for i, p := range pairs {
		key := p.key
		if i > 0 && pairs[i-1].key == key {
			key += " (again)"
		}
		p.value.CopyTo(sorted.PutEmpty(key))
	}
	sorted.CopyTo(attrs)
}

func eachPoint(m pmetric.Metric, f func(attrs pcommon.Map)) {
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		for _, p := range m.Gauge().DataPoints().All() {
			f(p.Attributes())
		}
	case pmetric.MetricTypeSum:
		for _, p := range m.Sum().DataPoints().All() {
			f(p.Attributes())
		}
	case pmetric.MetricTypeHistogram:
		for _, p := range m.Histogram().DataPoints().All() {
			f(p.Attributes())
		}
	case pmetric.MetricTypeExponentialHistogram:
		for _, p := range m.ExponentialHistogram().DataPoints().All() {
			f(p.Attributes())
		}
	case pmetric.MetricTypeSummary:
		for _, p := range m.Summary().DataPoints().All() {
			f(p.Attributes())
		}
	}
}

// 6 MiB is over gRPC's default of 4 MiB and under the gateway's own limits.
func TestOTLPLargePush(t *testing.T) {
	g, _, rc := newOTLPGateway(t, "", "")
	line := make([]byte, 1<<20)
	for i, rnd := 0, rand.New(rand.NewSource(1)); i < len(line); i++ {
		line[i] = byte(' ' + rnd.Intn(94))
	}
	ld := testdata.GenerateLogs(6)
	for _, r := range ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().All() {
		r.Body().SetStr(string(line))
	}
	f := func(transport string, compression configcompression.Type) {
		t.Helper()
		t.Run(transport+" "+string(compression), func(t *testing.T) {
			rc.reset()
			if err := newCollector(t, g, transport, compression).logs.ConsumeLogs(background(t), ld); err != nil {
				t.Fatal(err)
			}
			want := otlpBatches{"logs": encodeAll(t, []plog.Logs{ld}, (&plog.ProtoMarshaler{}).MarshalLogs)}
			want.checkEqual(t, rc.batches(t))
		})
	}
	f("grpc", "none")
	f("grpc", "gzip")
	f("http", "none")
}

// JSON leaves as protobuf and is answered in JSON.
func TestOTLPJSON(t *testing.T) {
	g, up, rc := newOTLPGateway(t, "", "")
	td, md, ld := generateTraces(7), testdata.GenerateMetricsAllTypes(), testdata.GenerateLogs(9)
	f := func(path string, body []byte, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		resp, answer := post(t, "http://"+g.http+path, body, map[string]string{
			"Content-Type": "application/json", "Authorization": "Bearer " + clientToken,
		})
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" || answer != "{}" {
			t.Errorf("%s: answered %d %q %q, want 200 {} as application/json", path, resp.StatusCode, resp.Header.Get("Content-Type"), answer)
		}
	}
	body, err := (&ptrace.JSONMarshaler{}).MarshalTraces(td)
	f("/v1/traces", body, err)
	body, err = (&pmetric.JSONMarshaler{}).MarshalMetrics(md)
	f("/otlp/v1/metrics", body, err)
	body, err = (&plog.JSONMarshaler{}).MarshalLogs(ld)
	f("/v1/logs", body, err)

	otlpBatches{
		"traces":  encodeAll(t, []ptrace.Traces{td}, (&ptrace.ProtoMarshaler{}).MarshalTraces),
		"metrics": encodeAll(t, []pmetric.Metrics{md}, (&pmetric.ProtoMarshaler{}).MarshalMetrics),
		"logs":    encodeAll(t, []plog.Logs{ld}, (&plog.ProtoMarshaler{}).MarshalLogs),
	}.checkEqual(t, rc.batches(t))
	if got := up.contentTypes(); len(got) != 1 || got[0] != "application/x-protobuf" {
		t.Errorf("upstream saw the content types %q", got)
	}
}

func post(t testing.TB, url string, body []byte, headers map[string]string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(background(t), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range leakHeaders {
		req.Header.Set(name, value)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(answer)
}

// generateTraces is the Collector's test data with ids, which half of its spans lack and without which they are refused.
func generateTraces(n int) ptrace.Traces {
	td := testdata.GenerateTraces(n)
	i := byte(0)
	eachSpan([]ptrace.Traces{td}, func(_ pcommon.Map, s ptrace.Span) {
		i++
		s.SetTraceID(pcommon.TraceID{15: i})
		s.SetSpanID(pcommon.SpanID{7: i})
	})
	return td
}
