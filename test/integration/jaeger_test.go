package integration

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/jaegertracing/jaeger-idl/model/v1"
	"github.com/jaegertracing/jaeger-idl/proto-gen/api_v2"
	"github.com/opentracing/opentracing-go"
	"github.com/opentracing/opentracing-go/ext"
	jaeger "github.com/uber/jaeger-client-go"
	"github.com/uber/jaeger-client-go/transport"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
)

// What arrives is what the Collector's jaeger receiver makes of the same bytes.
func TestJaegerThrift(t *testing.T) {
	ref := newReference(t)
	for _, x := range allTraceExits(t) {
		tap := newTap(t, x.http)
		sendJaegerClient(t, tap.url+"/api/traces?format=jaeger.thrift", transport.HTTPBasicAuth("jaeger", jaegerPass))
		for _, p := range tap.all() {
			if p.status != http.StatusAccepted || p.answer != "" {
				t.Errorf("%s: answered %d %q, want 202 and nothing", x.name, p.status, p.answer)
			}
		}
		checkSpans(t, x.name, ref.of(ref.thrift, tap.all()), x.take())
		if received, _, _, _ := x.books("jaeger", "traces"); received == 0 {
			t.Errorf("%s: the client jaeger has sent nothing", x.name)
		}
		x.checkNoSecrets(jaegerPass)
	}
}

func TestJaegerGRPC(t *testing.T) {
	ref := newReference(t)
	for _, x := range allTraceExits(t) {
		for _, batch := range jaegerBatches() {
			for _, options := range [][]grpc.CallOption{nil, {grpc.UseCompressor(gzip.Name)}} {
				postSpans(t, ref.jaegerPB, batch)
				if err := postSpans(t, x.grpc, batch, options...); err != nil {
					t.Errorf("%s: %v", x.name, err)
				}
				checkSpans(t, x.name, ref.take(), x.take())
			}
		}
		x.books("app", "traces")
		x.checkNoSecrets()
	}
}

// sendJaegerClient traces with Jaeger's own client and returns when all was reported.
func sendJaegerClient(t testing.TB, url string, options ...transport.HTTPOption) {
	t.Helper()
	options = append(options, transport.HTTPBatchSize(5))
	for _, wide := range []bool{true, false} {
		complaints := &complaints{}
		tracer, closer := jaeger.NewTracer(fmt.Sprintf("jaeger wide=%v", wide), jaeger.NewConstSampler(true),
			jaeger.NewRemoteReporter(transport.NewHTTPTransport(url, options...), jaeger.ReporterOptions.Logger(complaints)),
			jaeger.TracerOptions.Gen128Bit(wide), jaeger.TracerOptions.Tag("zone", "eu-1"))
		traceWithJaeger(tracer)
		if err := closer.Close(); err != nil {
			t.Error(err)
		}
		if s := complaints.String(); s != "" {
			t.Errorf("the reporter complains: %s", s)
		}
	}
}

func traceWithJaeger(tracer opentracing.Tracer) {
	root := tracer.StartSpan("get /", ext.SpanKindRPCServer, opentracing.Tag{Key: "peer.port", Value: uint16(80)})
	root.SetTag("big", int64(1)<<60).SetTag("ratio", 0.1).SetTag("ok", true).SetTag("bytes", []byte{0, 255}).SetTag("text", "ü")
	root.SetBaggageItem("user", "7") // its log has a field of its own
	root.LogKV("event", "cache miss", "key", "cart", "n", 3)
	for i := range 4 {
		child := tracer.StartSpan(fmt.Sprintf("call %d", i), ext.SpanKindRPCClient, opentracing.ChildOf(root.Context()))
		ext.Error.Set(child, i%2 == 0)
		child.SetTag("http.status_code", 500+i)
		child.Finish()
	}
	after := tracer.StartSpan("after", opentracing.ChildOf(root.Context()), opentracing.FollowsFrom(root.Context()))
	ext.SamplingPriority.Set(after, 1) // the debug flag
	after.Finish()
	tracer.StartSpan("publish", ext.SpanKindProducer, opentracing.FollowsFrom(root.Context())).Finish()
	root.Finish()
}

// complaints is a logger of jaeger's that keeps errors.
type complaints struct{ logBuffer }

func (c *complaints) Error(msg string)    { fmt.Fprintln(c, msg) }
func (*complaints) Infof(string, ...any)  {}
func (*complaints) Debugf(string, ...any) {}

// jaegerBatches are what an agent sends: spans of one process, and spans that each have their own.
func jaegerBatches() []model.Batch {
	at := time.Unix(1700000000, 123456789).UTC()
	wide, narrow := model.NewTraceID(0x5982fe77008310cc, 0x80f1da5e10147517), model.NewTraceID(0, 0x80f1da5e10147517)
	tags := []model.KeyValue{
		model.String("span.kind", "server"), model.Bool("error", true), model.Int64("http.status_code", 503),
		model.Float64("ratio", 0.1), model.Binary("raw", []byte{0, 255}), model.String("otel.scope.name", "tracer"), model.String("w3c.tracestate", "a=b"),
	}
	spans := func(p *model.Process) []*model.Span {
		return []*model.Span{
			{TraceID: wide, SpanID: model.NewSpanID(1), OperationName: "get", StartTime: at, Duration: time.Second, Tags: tags, Process: p,
				Flags: model.Flags(3), Warnings: []string{"clock skew"},
				Logs: []model.Log{{Timestamp: at, Fields: []model.KeyValue{model.String("event", "miss"), model.Int64("n", 3)}}}},
			{TraceID: narrow, SpanID: model.NewSpanID(2), OperationName: "child", StartTime: at, Duration: time.Nanosecond, Process: p,
				References: []model.SpanRef{model.NewChildOfRef(narrow, model.NewSpanID(9)), model.NewFollowsFromRef(wide, model.NewSpanID(1))}},
		}
	}
	agent := model.NewProcess("agent", []model.KeyValue{model.String("hostname", "node-1"), model.String("jaeger.version", "Go-2.30.0")})
	other := model.NewProcess("other", nil)
	return []model.Batch{{Process: agent, Spans: spans(nil)}, {Process: agent, Spans: append(spans(other), spans(nil)...)}}
}

// postSpans calls the collector service at addr as an agent does.
func postSpans(t testing.TB, addr string, batch model.Batch, options ...grpc.CallOption) error {
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(background(t), "authorization", "Bearer "+clientToken)
	for name, value := range leakHeaders {
		ctx = metadata.AppendToOutgoingContext(ctx, name, value)
	}
	return postSpansAs(ctx, t, addr, batch, options...)
}

func postSpansAs(ctx context.Context, t testing.TB, addr string, batch model.Batch, options ...grpc.CallOption) error {
	t.Helper()
	conn := dialGRPC(t, addr)
	defer conn.Close()
	_, err := api_v2.NewCollectorServiceClient(conn).PostSpans(ctx, &api_v2.PostSpansRequest{Batch: batch}, options...)
	return err
}

func dialGRPC(t testing.TB, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
