package jaeger_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/jaegertracing/jaeger-idl/model/v1"
	"github.com/jaegertracing/jaeger-idl/proto-gen/api_v2"
	jaegerthrift "github.com/jaegertracing/jaeger-idl/thrift-gen/jaeger"
	translator "github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/jaeger"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/jaeger"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// collectorHTTP and collectorGRPC are what the Collector's jaeger receiver does with a body.
func collectorHTTP(raw []byte) (ptrace.Traces, error) {
	b := jaegerthrift.NewBatch()
	in := thrift.NewTBinaryProtocolConf(&thrift.TMemoryBuffer{Buffer: bytes.NewBuffer(raw)}, &thrift.TConfiguration{MaxMessageSize: int32(len(raw))})
	if err := b.Read(context.Background(), in); err != nil {
		return ptrace.Traces{}, err
	}
	return translator.ThriftToTraces(b)
}

func collectorGRPC(raw []byte) (ptrace.Traces, error) {
	var req api_v2.PostSpansRequest
	if err := req.Unmarshal(raw); err != nil {
		return ptrace.Traces{}, err
	}
	return translator.ProtoToTraces([]*model.Batch{&req.Batch})
}

func TestLikeTheCollector(t *testing.T) {
	f := func(p *ingest.Protocol, body []byte, ref func([]byte) (ptrace.Traces, error)) {
		t.Helper()
		want, err := ref(body)
		if err != nil {
			t.Fatal(err)
		}
		got, r, _, err := leave(t, p, body)
		if err != nil || len(r.Refused) > 0 {
			t.Fatalf("%s: %v, %v", p.Name, r.Refused, err)
		}
		same(t, p.Name, lines(got), lines(want))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		f(jaeger.HTTP, asThrift(t, thriftBatch(r, i%40)), collectorHTTP)
		f(jaeger.GRPC, asProto(t, batch(r, i%40)), collectorGRPC)
	}
}

// TestThriftSpans holds what is documented to what leaves.
func TestThriftSpans(t *testing.T) {
	str, yes, long, double := "s", true, int64(7), 2.5
	b := &jaegerthrift.Batch{
		Process: &jaegerthrift.Process{ServiceName: "cart", Tags: []*jaegerthrift.Tag{{Key: "hostname", VType: jaegerthrift.TagType_STRING, VStr: &str}}},
		Spans: []*jaegerthrift.Span{
			{TraceIdLow: 1, SpanId: 2, OperationName: "root", Flags: 3, StartTime: 1000, Duration: 500, Tags: []*jaegerthrift.Tag{
				{Key: "b", VType: jaegerthrift.TagType_BOOL, VBool: &yes}, {Key: "l", VType: jaegerthrift.TagType_LONG, VLong: &long},
				{Key: "d", VType: jaegerthrift.TagType_DOUBLE, VDouble: &double}, {Key: "x", VType: jaegerthrift.TagType_BINARY, VBinary: []byte("hi")},
				{Key: "error", VType: jaegerthrift.TagType_BOOL, VBool: &yes}}},
			{TraceIdLow: 1, TraceIdHigh: -1, SpanId: 3, ParentSpanId: 2, OperationName: "child", References: []*jaegerthrift.SpanRef{
				{RefType: jaegerthrift.SpanRefType_CHILD_OF, TraceIdLow: 1, TraceIdHigh: -1, SpanId: 2},
				{RefType: jaegerthrift.SpanRefType_FOLLOWS_FROM, TraceIdLow: 9, SpanId: 8}}},
			{}, // blank: the translator leaves it out
		},
	}
	td, r, _, err := leave(t, jaeger.HTTP, asThrift(t, b))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "thrift", lines(td), []string{
		`[{"host.name":"s","service.name":"cart"},"","","00000000000000000000000000000001","0000000000000002","","",1,"root","Unspecified",1000000,1500000,{"b":true,"d":2.5,"l":7,"x":"aGk="},"Error","",null,null]`,
		`[{"host.name":"s","service.name":"cart"},"","","ffffffffffffffff0000000000000001","0000000000000003","0000000000000002","",0,"child","Unspecified",0,0,{},"Unset","",null,[["00000000000000000000000000000009","0000000000000008",{"opentracing.ref_type":"follows_from"}]]]`,
	})
	if len(r.Refused) != 1 || r.Refused[0].Reason != "invalid_id" || r.Refused[0].Items != 1 {
		t.Errorf("refused: %+v", r.Refused)
	}
}

func TestProtoSpans(t *testing.T) {
	cart := &model.Process{ServiceName: "cart"}
	good := func(id uint64) *model.Span {
		return &model.Span{TraceID: model.TraceID{Low: 1}, SpanID: model.SpanID(id), StartTime: time.Unix(1, 0).UTC(), Duration: time.Second}
	}
	own := good(3)
	own.Process = &model.Process{ServiceName: "db"}
	own.Tags = []model.KeyValue{model.Bool("b", true), model.Int64("l", 7), model.Float64("d", 2.5), model.Binary("x", []byte("hi")), model.String("span.kind", "client"), model.String("w3c.tracestate", "ot=th:8"), model.String("otel.scope.name", "lib")}
	own.References = []model.SpanRef{{TraceID: model.TraceID{Low: 1}, SpanID: 2}, {TraceID: model.TraceID{Low: 9}, SpanID: 8, RefType: model.FollowsFrom}}
	own.Logs = []model.Log{{Timestamp: time.Unix(2, 0).UTC(), Fields: []model.KeyValue{model.String("event", "retry"), model.Int64("n", 1)}}}
	raw := asProto(t, model.Batch{Process: cart, Spans: []*model.Span{good(2), own}})

	span := func(trace, id string) []byte {
		return wire.AppendBytes(nil, 1, wire.AppendBytes(nil, 1, slices.Concat(wire.AppendString(nil, 1, trace), wire.AppendString(nil, 2, id))))
	}
	raw = slices.Concat(raw,
		span("12345678", "12345678"), span("1234567", "12345678"), span("1234567812345678", "1234"),
		wire.AppendBytes(nil, 1, []byte("\x0a\x00")),         // blank
		wire.AppendBytes(nil, 1, []byte("\x0a\x02\x18\x01")), // a name that is a number
		wire.AppendBytes(nil, 1, wire.AppendBytes(nil, 1, bytes.Repeat([]byte("\x42\x06\x0a\x04abcd"), 1025))))
	td, r, _, err := leave(t, jaeger.GRPC, raw)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "proto", lines(td), []string{
		`[{"service.name":"cart"},"","","00000000000000000000000000000001","0000000000000002","","",0,"","Unspecified",1000000000,2000000000,{},"Unset","",null,null]`,
		`[{"service.name":"cart"},"","","00000000000000003132333435363738","3132333435363738","","",0,"","Unspecified",11651379494838206464,11651379494838206464,{},"Unset","",null,null]`,
		`[{"service.name":"db"},"lib","","00000000000000000000000000000001","0000000000000003","0000000000000002","ot=th:8",0,"","Client",1000000000,2000000000,{"b":true,"d":2.5,"l":7,"x":"aGk="},"Unset","",[[2000000000,"retry",{"n":1}]],[["00000000000000000000000000000009","0000000000000008",{"opentracing.ref_type":"follows_from"}]]]`,
	})
	want := []ingest.Refusal{
		{Reason: "invalid_id", Items: 3, Text: "span 4 of the batch: trace_id is not 8 or 16 bytes"},
		{Reason: "invalid_item", Items: 2, Text: "span 7 of the batch: a field that is not as Jaeger's protobuf has it"},
	}
	if !slices.Equal(r.Refused, want) {
		t.Errorf("refused: %+v", r.Refused)
	}
}

func TestEmpty(t *testing.T) {
	f := func(p *ingest.Protocol, body []byte) {
		t.Helper()
		td, _, b, err := leave(t, p, body)
		if err != nil || b.Items() != 0 || td.SpanCount() != 0 {
			t.Errorf("% x: %v", body, err)
		}
	}
	f(jaeger.GRPC, nil)
	f(jaeger.GRPC, []byte("\x0a\x00"))
	f(jaeger.HTTP, asThrift(t, &jaegerthrift.Batch{Process: &jaegerthrift.Process{ServiceName: "s"}, Spans: []*jaegerthrift.Span{}}))
}

func TestMalformed(t *testing.T) {
	f := func(p *ingest.Protocol, body, want string) {
		t.Helper()
		_, err := p.Decode([]byte(body), ingest.Content{})
		if err == nil || !strings.Contains(err.Error(), want) || fault.From(err).Kind != fault.Malformed {
			t.Errorf("%.60q: %v, want %s", body, err, want)
		}
	}
	f(jaeger.HTTP, "", "ends inside")
	f(jaeger.HTTP, "\x00", "Required field Process")
	f(jaeger.HTTP, "\x0f\x00\x02\x0c\x7f\xff\xff\xff\x00", "ends inside")
	f(jaeger.HTTP, "\x0f\x00\x02\x03\x00\x00\x00\x01a\x00", "no use for")
	f(jaeger.HTTP, strings.Repeat("\x0c\x00\x63", 1e6), "nested over 64")
	f(jaeger.HTTP, "\x0f\x00\x63\x0c\x00\x01\x00\x00"+strings.Repeat("\x00", 1<<16+1), "bytes of memory, over")
	empty := string(asThrift(t, &jaegerthrift.Batch{Process: &jaegerthrift.Process{}, Spans: []*jaegerthrift.Span{}}))
	f(jaeger.HTTP, empty+"x", "1 bytes after the end")
	f(jaeger.HTTP, empty[:len(empty)-2], "ends inside")
	tags := slices.Repeat([]*jaegerthrift.Tag{{Key: "k"}}, 1025)
	f(jaeger.HTTP, string(asThrift(t, &jaegerthrift.Batch{Process: &jaegerthrift.Process{Tags: tags}, Spans: []*jaegerthrift.Span{}})), "a process of 1025 tags, over 1024")

	f(jaeger.GRPC, "\x08\x01", "another type")
	f(jaeger.GRPC, "\x0a\x02\x08\x01", "another type")
	f(jaeger.GRPC, "\x0a\x02\x10\x01", "another type")
	f(jaeger.GRPC, "\x0a\x05\x0a\x05abc", "ends inside a field")
	f(jaeger.GRPC, "\x0a\x04\x0a\x02\x52\x05", "ends inside a field")
	f(jaeger.GRPC, "\x0a\x04\x12\x02\x08\x01", "wrong wireType")
	f(jaeger.GRPC, string(wire.AppendString(nil, 1, strings.Repeat("\x0a\x00", 1e5))), "bytes of memory, over")
	in := func(s string) string { return string(wire.AppendString(nil, 1, string(wire.AppendString(nil, 1, s)))) }
	f(jaeger.GRPC, in(strings.Repeat("\x42\x00", 1e5)), "bytes of memory, over")
	f(jaeger.GRPC, in(strings.Repeat("\x4a\x00", 1e5)), "bytes of memory, over")
	f(jaeger.GRPC, in(strings.Repeat("\x22\x00", 1e5)), "bytes of memory, over")
	f(jaeger.GRPC, in(string(wire.AppendString(nil, 9, strings.Repeat("\x12\x00", 1e5)))), "bytes of memory, over")
	process := string(wire.AppendString(nil, 2, strings.Repeat("\x12\x06\x0a\x04abcd", 1025)))
	f(jaeger.GRPC, string(wire.AppendString(nil, 1, process)), "a process of 1025 tags, over 1024")
	half := string(wire.AppendString(nil, 2, strings.Repeat("\x12\x06\x0a\x04abcd", 600)))
	f(jaeger.GRPC, string(wire.AppendString(nil, 1, half+half)), "a process of 1200 tags, over 1024")
}

// TestManyTags: what would take the translator for ever is refused alone.
func TestManyTags(t *testing.T) {
	tags := slices.Repeat([]*jaegerthrift.Tag{{Key: "k"}}, 1025)
	b := &jaegerthrift.Batch{Process: &jaegerthrift.Process{}, Spans: []*jaegerthrift.Span{
		{TraceIdLow: 1, SpanId: 1, Tags: tags[:1024]}, {TraceIdLow: 1, SpanId: 2, Tags: tags},
		{TraceIdLow: 1, SpanId: 3, Logs: []*jaegerthrift.Log{{Fields: tags}}},
	}}
	td, r, _, err := leave(t, jaeger.HTTP, asThrift(t, b))
	want := []ingest.Refusal{{Reason: "invalid_item", Items: 2, Text: "span 2 of the batch: over 1024 tags"}}
	if err != nil || td.SpanCount() != 1 || !slices.Equal(r.Refused, want) {
		t.Errorf("%d spans, %+v, %v", td.SpanCount(), r.Refused, err)
	}
}

func TestOpen(t *testing.T) {
	f := func(p *ingest.Protocol, header http.Header, codecs ...ingest.Codec) {
		t.Helper()
		c, err := p.Open(header)
		if err != nil || c.JSON || c.Weight == 0 || !slices.Equal(c.Codecs, codecs) {
			t.Errorf("%v: %+v, %v", header, c, err)
		}
	}
	f(jaeger.HTTP, http.Header{"Content-Type": {"application/x-thrift"}})
	f(jaeger.HTTP, http.Header{"Content-Type": {"application/vnd.apache.thrift.binary; charset=x"}, "Content-Encoding": {"gzip"}}, ingest.Gzip)
	f(jaeger.GRPC, http.Header{})
	f(jaeger.GRPC, http.Header{"Content-Type": {"application/grpc+proto"}, "Grpc-Encoding": {"gzip"}}, ingest.Gzip)

	bad := func(p *ingest.Protocol, header http.Header) {
		t.Helper()
		if _, err := p.Open(header); fault.From(err).Kind != fault.Unsupported {
			t.Errorf("%v: %v", header, err)
		}
	}
	bad(jaeger.HTTP, http.Header{})
	bad(jaeger.HTTP, http.Header{"Content-Type": {"application/json"}})
	bad(jaeger.HTTP, http.Header{"Content-Type": {"application/x-thrift"}, "Content-Encoding": {"zstd"}})
	bad(jaeger.GRPC, http.Header{"Content-Type": {"application/grpc+json"}})
	bad(jaeger.GRPC, http.Header{"Grpc-Encoding": {"snappy"}})
}

func TestAnswers(t *testing.T) {
	f := func(p *ingest.Protocol, a ingest.Answer, status int, contentType, body string) {
		t.Helper()
		r := p.Accept(ingest.Content{}, a)
		if r.Status != status || r.ContentType != contentType || string(r.Body) != body {
			t.Errorf("%+v: %+v %s", a, r, r.Body)
		}
	}
	none := ingest.Answer{Status: 200, Rejected: 3, Message: "upstream keeps it to itself"}
	some := ingest.Answer{Status: 200, Refused: []ingest.Refusal{{Reason: "invalid_id", Items: 2, Text: "span 1\nis bad"}}}
	f(jaeger.HTTP, none, 202, "", "")
	f(jaeger.HTTP, some, 400, "text/plain; charset=utf-8", "2 items refused (invalid_id): span 1 is bad\n")
	f(jaeger.GRPC, none, 200, "", "")
	f(jaeger.GRPC, some, 400, "", "2 items refused (invalid_id): span 1 is bad")
	if r := jaeger.HTTP.Refuse(nil, fault.New(fault.Overloaded, "environment dev: full")); r.Status != 503 || string(r.Body) != "environment dev: full\n" {
		t.Errorf("%+v", r)
	}
}
