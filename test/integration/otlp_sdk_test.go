package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	api "go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// sdk is the OpenTelemetry Go SDK's three exporters over one transport.
type sdk struct {
	traces  sdktrace.SpanExporter
	metrics metric.Exporter
	logs    sdklog.Exporter
}

const (
	sdkRetryFirst = 50 * time.Millisecond
	sdkRetryTotal = 20 * time.Second
)

func newSDK(t testing.TB, transport, addr string) sdk {
	t.Helper()
	headers := maps.Clone(leakHeaders)
	headers["Authorization"] = "Bearer " + clientToken
	ctx := background(t)
	var s sdk
	var errs [3]error
	switch transport {
	case "http":
		s.traces, errs[0] = otlptracehttp.New(ctx, otlptracehttp.WithEndpoint(addr), otlptracehttp.WithInsecure(),
			otlptracehttp.WithHeaders(headers), otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
			otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: sdkRetryFirst, MaxInterval: time.Second, MaxElapsedTime: sdkRetryTotal}))
		s.metrics, errs[1] = otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpoint(addr), otlpmetrichttp.WithInsecure(),
			otlpmetrichttp.WithHeaders(headers),
			otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{Enabled: true, InitialInterval: sdkRetryFirst, MaxInterval: time.Second, MaxElapsedTime: sdkRetryTotal}))
		s.logs, errs[2] = otlploghttp.New(ctx, otlploghttp.WithEndpoint(addr), otlploghttp.WithInsecure(),
			otlploghttp.WithHeaders(headers), otlploghttp.WithCompression(otlploghttp.GzipCompression),
			otlploghttp.WithRetry(otlploghttp.RetryConfig{Enabled: true, InitialInterval: sdkRetryFirst, MaxInterval: time.Second, MaxElapsedTime: sdkRetryTotal}))
	case "grpc":
		s.traces, errs[0] = otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(addr), otlptracegrpc.WithInsecure(),
			otlptracegrpc.WithHeaders(headers), otlptracegrpc.WithCompressor("gzip"),
			otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: true, InitialInterval: sdkRetryFirst, MaxInterval: time.Second, MaxElapsedTime: sdkRetryTotal}))
		s.metrics, errs[1] = otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpoint(addr), otlpmetricgrpc.WithInsecure(),
			otlpmetricgrpc.WithHeaders(headers),
			otlpmetricgrpc.WithRetry(otlpmetricgrpc.RetryConfig{Enabled: true, InitialInterval: sdkRetryFirst, MaxInterval: time.Second, MaxElapsedTime: sdkRetryTotal}))
		s.logs, errs[2] = otlploggrpc.New(ctx, otlploggrpc.WithEndpoint(addr), otlploggrpc.WithInsecure(),
			otlploggrpc.WithHeaders(headers),
			otlploggrpc.WithRetry(otlploggrpc.RetryConfig{Enabled: true, InitialInterval: sdkRetryFirst, MaxInterval: time.Second, MaxElapsedTime: sdkRetryTotal}))
	}
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		_ = s.traces.Shutdown(ctx)
		_ = s.metrics.Shutdown(ctx)
		_ = s.logs.Shutdown(ctx)
	})
	return s
}

// sdkData is one export of each signal, made once so that it can be sent twice.
type sdkData struct {
	spans   []sdktrace.ReadOnlySpan
	metrics metricdata.ResourceMetrics
	records []sdklog.Record
}

func newSDKData(t testing.TB) *sdkData {
	t.Helper()
	d := &sdkData{}
	ctx := background(t)
	res := resource.NewSchemaless(attribute.String("service.name", "checkout"), attribute.StringSlice("tags", []string{"a", "ü"}))

	tp := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithSyncer(keepSpans{d}))
	tracer := tp.Tracer("integration", trace.WithInstrumentationVersion("1.2.3"))
	parentCtx, parent := tracer.Start(ctx, "parent", trace.WithSpanKind(trace.SpanKindServer))
	for i := range 20 {
		_, span := tracer.Start(parentCtx, fmt.Sprintf("child %d", i), trace.WithAttributes(
			attribute.Int("i", i), attribute.Float64("f", 0.1), attribute.Bool("b", true), attribute.Int64Slice("is", []int64{1, -2})),
			trace.WithLinks(trace.LinkFromContext(parentCtx, attribute.String("why", "test"))))
		span.AddEvent("event", trace.WithAttributes(attribute.String("k", "v")))
		span.SetStatus(codes.Error, "failed on purpose")
		span.End()
	}
	parent.End()

	reader := metric.NewManualReader()
	mp := metric.NewMeterProvider(metric.WithResource(res), metric.WithReader(reader), metric.WithView(metric.NewView(
		metric.Instrument{Name: "exponential"},
		metric.Stream{Aggregation: metric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}})))
	meter := mp.Meter("integration")
	counter, err1 := meter.Int64Counter("requests")
	explicit, err2 := meter.Float64Histogram("latency")
	exponential, err3 := meter.Float64Histogram("exponential")
	gauge, err4 := meter.Float64Gauge("temperature")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	spanCtx := trace.ContextWithSpanContext(ctx, parent.SpanContext()) // so that exemplars are kept
	for i := range 50 {
		set := api.WithAttributes(attribute.Int("shard", i%3))
		counter.Add(spanCtx, int64(i), set)
		explicit.Record(spanCtx, float64(i)*7.5, set)
		exponential.Record(spanCtx, float64(i)*0.3, set)
		gauge.Record(spanCtx, -float64(i), set)
	}
	if err := reader.Collect(ctx, &d.metrics); err != nil {
		t.Fatal(err)
	}

	lp := sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(sdklog.NewSimpleProcessor(keepRecords{d})))
	logger := lp.Logger("integration")
	for i := range 30 {
		var r log.Record
		r.SetTimestamp(time.Now())
		r.SetSeverity(log.SeverityWarn)
		r.SetSeverityText("WARN")
		r.SetEventName("thing.happened")
		r.SetBody(attribute.MapValue(attribute.String("line", fmt.Sprintf("line %d, ü", i)), attribute.ByteSlice("raw", []byte{0, 255}), attribute.Int("n", i)))
		r.AddAttributes(attribute.Float64("f", 1.5), attribute.Slice("list", attribute.BoolValue(true), attribute.StringValue("x")))
		logger.Emit(spanCtx, r)
	}
	return d
}

// send exports each signal once.
func (s sdk) send(t testing.TB, d *sdkData) {
	t.Helper()
	if err := s.traces.ExportSpans(background(t), d.spans); err != nil {
		t.Errorf("traces: %v", err)
	}
	if err := s.metrics.Export(background(t), &d.metrics); err != nil {
		t.Errorf("metrics: %v", err)
	}
	if err := s.logs.Export(background(t), d.records); err != nil {
		t.Errorf("logs: %v", err)
	}
}

// What arrives through the gateway is what the same exporter delivers straight to the same receiver.
func TestOTLPSDK(t *testing.T) {
	d := newSDKData(t)
	straight := newOTLPReceiver(t)
	newSDK(t, "http", straight.addr).send(t, d)
	want := straight.batches(t)
	for signal, pushes := range want {
		if len(pushes) != 1 {
			t.Fatalf("%s: %d pushes without the gateway, want 1", signal, len(pushes))
		}
	}

	g, _, rc := newOTLPGateway(t, "", "")
	newSDK(t, "http", g.http).send(t, d)
	want.checkEqual(t, rc.batches(t))

	rc.reset()
	newSDK(t, "grpc", g.grpc).send(t, d)
	want.checkEqual(t, rc.batches(t))
	g.checkNoSecrets()
}

// keepSpans and keepRecords are exporters that keep what they are given.
type keepSpans struct{ d *sdkData }

func (k keepSpans) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	k.d.spans = append(k.d.spans, spans...)
	return nil
}
func (keepSpans) Shutdown(context.Context) error { return nil }

type keepRecords struct{ d *sdkData }

func (k keepRecords) Export(_ context.Context, records []sdklog.Record) error {
	for _, r := range records {
		k.d.records = append(k.d.records, r.Clone())
	}
	return nil
}
func (keepRecords) Shutdown(context.Context) error   { return nil }
func (keepRecords) ForceFlush(context.Context) error { return nil }
