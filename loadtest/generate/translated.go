package generate

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"

	"github.com/apache/thrift/lib/go/thrift"
	jaegerthrift "github.com/jaegertracing/jaeger-idl/thrift-gen/jaeger"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// zipkin is a push of spans as Zipkin v2 JSON. It arrives as OTLP.
func zipkin(s Spec, n int) (made, error) {
	type span struct {
		TraceID   string            `json:"traceId"`
		ID        string            `json:"id"`
		ParentID  string            `json:"parentId"`
		Name      string            `json:"name"`
		Kind      string            `json:"kind"`
		Timestamp uint64            `json:"timestamp"`
		Duration  uint64            `json:"duration"`
		Endpoint  map[string]string `json:"localEndpoint"`
		Tags      map[string]string `json:"tags"`
	}
	var list []span
	td := drawSpans(s, n)
	each(td, func(service string, o ptrace.Span) {
		trace, id, parent := o.TraceID(), o.SpanID(), o.ParentSpanID()
		z := span{
			TraceID: hex.EncodeToString(trace[:]), ID: hex.EncodeToString(id[:]), ParentID: hex.EncodeToString(parent[:]),
			Name: o.Name(), Kind: "SERVER", Endpoint: map[string]string{"serviceName": service}, Tags: map[string]string{},
			Timestamp: uint64(o.StartTimestamp() / 1000), Duration: uint64(o.EndTimestamp()-o.StartTimestamp()) / 1000,
		}
		for k, v := range o.Attributes().All() {
			z.Tags[k] = v.AsString()
		}
		list = append(list, z)
	})
	return translated(td, s.Items, func() ([]byte, error) { return json.Marshal(list) })
}

// jaeger is a push of spans of one process in Thrift's binary protocol. It arrives as OTLP.
func jaeger(s Spec, n int) (made, error) {
	batch := &jaegerthrift.Batch{Process: &jaegerthrift.Process{ServiceName: "checkout"}}
	td := drawSpans(s, n)
	each(td, func(_ string, o ptrace.Span) {
		trace, id, parent := o.TraceID(), o.SpanID(), o.ParentSpanID()
		span := &jaegerthrift.Span{
			TraceIdHigh: int64(binary.BigEndian.Uint64(trace[:])), TraceIdLow: int64(binary.BigEndian.Uint64(trace[8:])),
			SpanId: int64(binary.BigEndian.Uint64(id[:])), ParentSpanId: int64(binary.BigEndian.Uint64(parent[:])),
			OperationName: o.Name(), StartTime: int64(o.StartTimestamp() / 1000),
			Duration: int64(o.EndTimestamp()-o.StartTimestamp()) / 1000,
		}
		for k, v := range o.Attributes().All() {
			text := v.AsString()
			span.Tags = append(span.Tags, &jaegerthrift.Tag{Key: k, VType: jaegerthrift.TagType_STRING, VStr: &text})
		}
		batch.Spans = append(batch.Spans, span)
	})
	return translated(td, s.Items, func() ([]byte, error) {
		out := thrift.NewTSerializer()
		out.Protocol = thrift.NewTBinaryProtocolConf(out.Transport, nil)
		return out.Write(context.Background(), batch)
	})
}

// each calls do for each span and the name of its service.
func each(td ptrace.Traces, do func(service string, o ptrace.Span)) {
	for _, rs := range td.ResourceSpans().All() {
		name, _ := rs.Resource().Attributes().Get("service.name")
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				do(name.AsString(), span)
			}
		}
	}
}

func translated(td ptrace.Traces, items int, marshal func() ([]byte, error)) (made, error) {
	arrives, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		return made{}, err
	}
	body, err := marshal()
	return made{body, arrives, items}, err
}
