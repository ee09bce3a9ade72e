package zipkin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/jaegertracing/jaeger-idl/thrift-gen/zipkincore"
	zipkinthrift "github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/zipkin/zipkinthriftconverter"
	"github.com/openzipkin/zipkin-go/model"
	"github.com/openzipkin/zipkin-go/proto/zipkin_proto3"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// leave decodes raw and returns the push as it leaves.
func leave(t testing.TB, p *ingest.Protocol, raw []byte, c ingest.Content) (td ptrace.Traces, r ingest.Result, b ingest.Batch, err error) {
	t.Helper()
	came := slices.Clone(raw)
	if b, err = p.Decode(raw, c); err != nil {
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

// lines are the spans of td as text, one a line with all that is around it, sorted. The name that the Collector makes up
// for services without one is left out: here they stay without.
func lines(td ptrace.Traces) []string {
	var all []string
	for _, rs := range td.ResourceSpans().All() {
		resource := rs.Resource().Attributes().AsRaw()
		if resource["service.name"] == "unknown-service" {
			delete(resource, "service.name")
		}
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				var events, links []any
				for _, e := range s.Events().All() {
					events = append(events, []any{e.Timestamp(), e.Name(), e.Attributes().AsRaw(), e.DroppedAttributesCount()})
				}
				for _, l := range s.Links().All() {
					links = append(links, []any{l.TraceID().String(), l.SpanID().String(), l.TraceState().AsRaw(), l.Attributes().AsRaw(), l.DroppedAttributesCount()})
				}
				line, err := json.Marshal([]any{
					resource, ss.Scope().Name(), ss.Scope().Version(),
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

var epoch = time.UnixMicro(1760000000000000)

// spans are n spans as reporters send them, with everything in them that Zipkin has. Resource attributes are those of
// the service: the translator takes them from one span of each.
func spans(r *rand.Rand, n int) []*model.SpanModel {
	all := []*model.SpanModel{}
	for i := range n {
		s := &model.SpanModel{
			SpanContext: model.SpanContext{
				TraceID: model.TraceID{High: some(r, 0, r.Uint64()), Low: r.Uint64() | 1},
				ID:      model.ID(r.Uint64() | 1),
				Debug:   r.IntN(5) == 0,
			},
			Name:      some(r, "", "get", "post /cart"),
			Kind:      some(r, model.Undetermined, model.Client, model.Server, model.Producer, model.Consumer),
			Timestamp: epoch.Add(time.Duration(i) * time.Millisecond),
			Duration:  time.Duration(r.IntN(1e6)) * time.Microsecond,
			Shared:    r.IntN(4) == 0,
			Tags:      map[string]string{"i": fmt.Sprint(i), "http.method": "GET"},
		}
		if r.IntN(3) > 0 {
			parent := some(r, s.ID, model.ID(r.Uint64()))
			s.ParentID = &parent
		}
		if r.IntN(6) > 0 {
			s.LocalEndpoint = &model.Endpoint{ServiceName: some(r, "cart", "checkout", "db"), IPv4: some(r, nil, net.IPv4(10, 0, 0, 1)), Port: uint16(r.IntN(9000))}
		}
		if r.IntN(2) == 0 {
			s.RemoteEndpoint = &model.Endpoint{ServiceName: some(r, "", "mysql"), IPv6: some(r, nil, net.ParseIP("2001:db8::1")), Port: 3306}
		}
		for range r.IntN(4) {
			s.Annotations = append(s.Annotations, model.Annotation{Timestamp: epoch.Add(time.Duration(r.IntN(1e6)) * time.Microsecond), Value: some(r, "ws", "wr", `e|{"a":1,"b":"c|d"}|0`)})
		}
		for range r.IntN(4) {
			k := some(r, "error", "otel.status_code", "otel.status_description", "span.kind", "w3c.tracestate", "otel.scope.name", "otel.library.version", "http.status_code")
			s.Tags[k] = some(r, "", "true", "false", "internal", "STATUS_CODE_OK", "Error", "500", "a=b")
		}
		if r.IntN(5) == 0 {
			s.Tags["otlp.link.0"] = `0102030405060708090a0b0c0d0e0f10|0102030405060708||{"k":"v|w","n":2.5}|1`
		}
		all = append(all, s)
	}
	return all
}

func asJSON(t testing.TB, v any) []byte {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func asProto(t testing.TB, list []*model.SpanModel) []byte {
	t.Helper()
	body, err := zipkin_proto3.SpanSerializer{}.Serialize(list)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// thriftSpans are n v1 spans.
func thriftSpans(r *rand.Rand, n int) []*zipkincore.Span {
	var all []*zipkincore.Span
	for i := range n {
		start, duration, high, parent := epoch.UnixMicro()+int64(i), int64(r.IntN(1e6)), int64(r.Uint64()), int64(r.Uint64())
		s := &zipkincore.Span{TraceID: int64(r.Uint64() | 1), ID: int64(r.Uint64() | 1), Name: "get", Debug: r.IntN(3) == 0}
		s.TraceIDHigh, s.ParentID = some(r, nil, &high), some(r, nil, &parent)
		s.Timestamp, s.Duration = some(r, nil, &start), some(r, nil, &duration)
		host := &zipkincore.Endpoint{ServiceName: some(r, "cart", "db"), Ipv4: some[int32](r, 0, 0x0a000001), Port: int16(r.IntN(9000)), Ipv6: some(r, nil, []byte(net.ParseIP("2001:db8::1")))}
		for range r.IntN(4) {
			s.Annotations = append(s.Annotations, &zipkincore.Annotation{Timestamp: start + int64(r.IntN(1000)), Value: some(r, "cs", "cr", "sr", "ss", "ms", "mr", "retry"), Host: some(r, nil, host)})
		}
		for range r.IntN(6) {
			s.BinaryAnnotations = append(s.BinaryAnnotations, &zipkincore.BinaryAnnotation{
				Key:            some(r, "lc", "error", "http.status_code", "sa", "a", "b"),
				Value:          some(r, nil, []byte("text"), []byte{1}, []byte{0, 200}, []byte{0, 0, 0, 7}, []byte{0, 0, 0, 0, 0, 0, 1, 0}),
				AnnotationType: zipkincore.AnnotationType(r.IntN(8)),
				Host:           some(r, nil, host),
			})
		}
		all = append(all, s)
	}
	return all
}

func asThrift(t testing.TB, list []*zipkincore.Span) []byte {
	t.Helper()
	body, err := zipkinthrift.SerializeThrift(context.Background(), list)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
