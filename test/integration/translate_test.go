package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/jaegertracing/jaeger-idl/model/v1"
	jaegerthrift "github.com/jaegertracing/jaeger-idl/thrift-gen/jaeger"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// The same spans in the words of each protocol: ids, name, service, and whether it failed. Written by hand, so that ids
// can be bad, which no client's API allows.

func zipkinOf(t testing.TB, td ptrace.Traces) []byte {
	t.Helper()
	type endpoint struct {
		ServiceName string `json:"serviceName"`
	}
	type span struct {
		TraceID       string            `json:"traceId"`
		ID            string            `json:"id"`
		Name          string            `json:"name"`
		Timestamp     int64             `json:"timestamp"`
		Duration      int64             `json:"duration"`
		LocalEndpoint *endpoint         `json:"localEndpoint,omitempty"`
		Tags          map[string]string `json:"tags,omitempty"`
	}
	list := []span{}
	eachSpan([]ptrace.Traces{td}, func(resource pcommon.Map, s ptrace.Span) {
		trace, id := s.TraceID(), s.SpanID()
		z := span{TraceID: hex.EncodeToString(trace[:]), ID: hex.EncodeToString(id[:]), Name: s.Name(), Timestamp: 1700000000000000, Duration: 1000}
		if name := serviceOf(resource); name != "" {
			z.LocalEndpoint = &endpoint{name}
		}
		if s.Status().Code() == ptrace.StatusCodeError {
			z.Tags = map[string]string{"error": "failed"}
		}
		list = append(list, z)
	})
	body, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// jaegerBatchOf takes td to be of one service, as batches of Jaeger's are.
func jaegerBatchOf(t testing.TB, td ptrace.Traces) model.Batch {
	t.Helper()
	batch := model.Batch{Process: &model.Process{}}
	eachSpan([]ptrace.Traces{td}, func(resource pcommon.Map, s ptrace.Span) {
		batch.Process.ServiceName = serviceOf(resource)
		high, low, id := idsOf(s)
		j := &model.Span{TraceID: model.NewTraceID(high, low), SpanID: model.NewSpanID(id), OperationName: s.Name()}
		if s.Status().Code() == ptrace.StatusCodeError {
			j.Tags = []model.KeyValue{model.Bool("error", true)}
		}
		batch.Spans = append(batch.Spans, j)
	})
	return batch
}

func jaegerThriftOf(t testing.TB, td ptrace.Traces) []byte {
	t.Helper()
	batch := &jaegerthrift.Batch{Process: &jaegerthrift.Process{}}
	eachSpan([]ptrace.Traces{td}, func(resource pcommon.Map, s ptrace.Span) {
		batch.Process.ServiceName = serviceOf(resource)
		high, low, id := idsOf(s)
		j := &jaegerthrift.Span{TraceIdHigh: int64(high), TraceIdLow: int64(low), SpanId: int64(id), OperationName: s.Name()}
		if s.Status().Code() == ptrace.StatusCodeError {
			yes := true
			j.Tags = []*jaegerthrift.Tag{{Key: "error", VType: jaegerthrift.TagType_BOOL, VBool: &yes}}
		}
		batch.Spans = append(batch.Spans, j)
	})
	buf := thrift.NewTMemoryBuffer()
	if err := batch.Write(context.Background(), thrift.NewTBinaryProtocolConf(buf, nil)); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(buf.Bytes())
}

func serviceOf(resource pcommon.Map) string {
	v, ok := resource.Get("service.name")
	if !ok {
		return ""
	}
	return v.Str()
}

func idsOf(s ptrace.Span) (high, low, id uint64) {
	trace, span := s.TraceID(), s.SpanID()
	return binary.BigEndian.Uint64(trace[:8]), binary.BigEndian.Uint64(trace[8:]), binary.BigEndian.Uint64(span[:])
}

func pushZipkin(t testing.TB, g *gateway, body []byte) answer {
	t.Helper()
	return pushBytes(t, "http://"+g.http+"/api/v2/spans", "application/json", body)
}

func pushJaeger(t testing.TB, g *gateway, body []byte) answer {
	t.Helper()
	return pushBytes(t, "http://"+g.http+"/api/traces", "application/x-thrift", body)
}

// tracesOf makes one span a trace id, of service.
func tracesOf(service string, ids ...pcommon.TraceID) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	if service != "" {
		rs.Resource().Attributes().PutStr("service.name", service)
	}
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	for _, id := range ids {
		s := spans.AppendEmpty()
		s.SetTraceID(id)
		s.SetSpanID(pcommon.SpanID(id[:8]))
		s.SetName("work")
	}
	return td
}
