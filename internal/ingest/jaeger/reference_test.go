package jaeger_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/jaegertracing/jaeger-idl/model/v1"
	"github.com/jaegertracing/jaeger-idl/proto-gen/api_v2"
	jaegerthrift "github.com/jaegertracing/jaeger-idl/thrift-gen/jaeger"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// leave decodes raw and returns the push as it leaves.
func leave(t testing.TB, p *ingest.Protocol, raw []byte) (td ptrace.Traces, r ingest.Result, b ingest.Batch, err error) {
	t.Helper()
	came := slices.Clone(raw)
	if b, err = p.Decode(raw, ingest.Content{}); err != nil {
		return td, r, nil, err
	}
	e := ingest.Edit{Form: p.Forms[0]}
	n := b.Bound(e)
	if n == 0 {
		t.Fatal("a translated push is to leave as it came")
	}
	r, err = b.Encode(make([]byte, 0, n), e)
	if err != nil || r.Unchanged || len(r.Body) > n {
		t.Fatalf("%d bytes of at most %d, unchanged: %t, %v", len(r.Body), n, r.Unchanged, err)
	}
	if string(came) != string(raw) {
		t.Fatal("the body was written to")
	}
	if td, err = new(ptrace.ProtoUnmarshaler).UnmarshalTraces(r.Body); err != nil {
		t.Fatalf("no OTLP leaves: %v", err)
	}
	refused := 0
	for _, f := range r.Refused {
		refused += f.Items
	}
	if td.SpanCount() != r.Sent.Items || b.Items() != r.Sent.Items+refused {
		t.Fatalf("%d spans leave, %d sent, %d refused, %d in all", td.SpanCount(), r.Sent.Items, refused, b.Items())
	}
	return td, r, b, nil
}

// lines are the spans of td as text, one a line with all that is around it, sorted.
func lines(td ptrace.Traces) []string {
	var all []string
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				var events, links []any
				for _, e := range s.Events().All() {
					events = append(events, []any{e.Timestamp(), e.Name(), e.Attributes().AsRaw()})
				}
				for _, l := range s.Links().All() {
					links = append(links, []any{l.TraceID().String(), l.SpanID().String(), l.Attributes().AsRaw()})
				}
				line, err := json.Marshal([]any{
					rs.Resource().Attributes().AsRaw(), ss.Scope().Name(), ss.Scope().Version(),
					s.TraceID().String(), s.SpanID().String(), s.ParentSpanID().String(), s.TraceState().AsRaw(), s.Flags(),
					s.Name(), s.Kind().String(), s.StartTimestamp(), s.EndTimestamp(), s.Attributes().AsRaw(),
					s.Status().Code().String(), s.Status().Message(), events, links,
				})
				if err != nil {
					panic(err)
				}
				all = append(all, string(line))
			}
		}
	}
	slices.Sort(all)
	return all
}

func same(t testing.TB, what string, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	t.Errorf("%s: %d spans, want %d", what, len(got), len(want))
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("%s:\n got %s\nwant %s", what, got[i], want[i])
		}
	}
}

// some picks one.
func some[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

const epoch = 1760000000000000 // microseconds

var keys = []string{"error", "span.kind", "otel.status_code", "otel.status_description", "http.status_code", "w3c.tracestate", "otel.scope.name", "otel.scope.version", "event", "hostname", "jaeger.version", "a", "b"}
var values = []string{"", "true", "client", "server", "internal", "OK", "error", "500", "404", "x"}

func thriftTags(r *rand.Rand, n int) []*jaegerthrift.Tag {
	var all []*jaegerthrift.Tag
	for range r.IntN(n) {
		str, flag, long, double := some(r, values...), r.IntN(2) == 0, some[int64](r, 0, 200, 404, 503), r.Float64()
		tag := &jaegerthrift.Tag{Key: some(r, keys...), VType: jaegerthrift.TagType(r.IntN(6))}
		switch tag.VType {
		case jaegerthrift.TagType_STRING:
			tag.VStr = &str
		case jaegerthrift.TagType_DOUBLE:
			tag.VDouble = &double
		case jaegerthrift.TagType_BOOL:
			tag.VBool = &flag
		case jaegerthrift.TagType_LONG:
			tag.VLong = &long
		case jaegerthrift.TagType_BINARY:
			tag.VBinary = []byte{1, 2}
		}
		all = append(all, tag)
	}
	return all
}

// thriftBatch is n spans as a client sends them, with everything in them that Thrift has.
func thriftBatch(r *rand.Rand, n int) *jaegerthrift.Batch {
	b := &jaegerthrift.Batch{Process: &jaegerthrift.Process{ServiceName: some(r, "cart", ""), Tags: thriftTags(r, 4)}, Spans: []*jaegerthrift.Span{}}
	for i := range n {
		s := &jaegerthrift.Span{
			TraceIdLow: int64(r.Uint64() | 1), TraceIdHigh: some(r, 0, int64(r.Uint64())), SpanId: int64(r.Uint64() | 1),
			ParentSpanId: some(r, 0, int64(r.Uint64())), OperationName: some(r, "", "get"), Flags: int32(r.IntN(4)),
			StartTime: epoch + int64(i), Duration: int64(r.IntN(1e6)), Tags: thriftTags(r, 8),
		}
		for range r.IntN(3) {
			s.References = append(s.References, &jaegerthrift.SpanRef{
				RefType: jaegerthrift.SpanRefType(r.IntN(2)), TraceIdLow: some(r, s.TraceIdLow, 5), TraceIdHigh: some(r, s.TraceIdHigh, 6), SpanId: some(r, s.ParentSpanId, 7),
			})
		}
		for range r.IntN(3) {
			s.Logs = append(s.Logs, &jaegerthrift.Log{Timestamp: epoch + int64(r.IntN(1e6)), Fields: thriftTags(r, 4)})
		}
		b.Spans = append(b.Spans, s)
	}
	return b
}

func asThrift(t testing.TB, b *jaegerthrift.Batch) []byte {
	t.Helper()
	out := thrift.NewTMemoryBuffer()
	if err := b.Write(context.Background(), thrift.NewTBinaryProtocolConf(out, nil)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func tags(r *rand.Rand, n int) []model.KeyValue {
	var all []model.KeyValue
	for range r.IntN(n) {
		key := some(r, keys...)
		all = append(all, some(r,
			model.String(key, some(r, values...)), model.Bool(key, r.IntN(2) == 0), model.Int64(key, some[int64](r, 0, 200, 404, 503)),
			model.Float64(key, r.Float64()), model.Binary(key, []byte{1, 2}), model.KeyValue{Key: key, VType: 5},
		))
	}
	return all
}

// batch is n spans as an agent sends them, with everything in them that protobuf has.
func batch(r *rand.Rand, n int) model.Batch {
	process := func() *model.Process {
		return &model.Process{ServiceName: some(r, "cart", "db", ""), Tags: []model.KeyValue{model.String("hostname", some(r, "h1", "h2"))}}
	}
	b := model.Batch{Process: some(r, nil, process())}
	for i := range n {
		start := time.UnixMicro(epoch + int64(i)).UTC()
		s := &model.Span{
			TraceID: model.TraceID{High: some(r, 0, r.Uint64()), Low: r.Uint64() | 1}, SpanID: model.SpanID(r.Uint64() | 1), OperationName: some(r, "", "get"),
			Flags: model.Flags(r.IntN(4)), StartTime: start, Duration: time.Duration(r.IntN(1e9)), Tags: tags(r, 8), Process: some(r, nil, process()), ProcessID: "p1",
			Warnings: some(r, nil, []string{"clock skew"}),
		}
		for range r.IntN(3) {
			s.References = append(s.References, model.SpanRef{
				TraceID: some(r, s.TraceID, model.TraceID{Low: 5}), SpanID: model.SpanID(r.Uint64()), RefType: model.SpanRefType(r.IntN(2)),
			})
		}
		for range r.IntN(3) {
			s.Logs = append(s.Logs, model.Log{Timestamp: start.Add(time.Millisecond), Fields: tags(r, 4)})
		}
		b.Spans = append(b.Spans, s)
	}
	return b
}

func asProto(t testing.TB, b model.Batch) []byte {
	t.Helper()
	body, err := (&api_v2.PostSpansRequest{Batch: b}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return body
}
