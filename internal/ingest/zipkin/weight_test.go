package zipkin_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/jaegertracing/jaeger-idl/thrift-gen/zipkincore"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/zipkin"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// grows returns how many bytes are allocated in all to decode body, for each byte of it. Garbage counts too, so this is
// on the safe side.
func grows(t *testing.T, p *ingest.Protocol, c ingest.Content, body []byte) float64 {
	t.Helper()
	var start, end runtime.MemStats
	runtime.ReadMemStats(&start)
	if _, err := p.Decode(body, c); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&end)
	return float64(end.TotalAlloc-start.TotalAlloc) / float64(len(body))
}

// TestWeight: what decoding takes is what Open says, for spans as reporters send them, and of that order for the densest.
func TestWeight(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	f := func(what string, p *ingest.Protocol, c ingest.Content, body []byte, most float64) {
		t.Helper()
		got := grows(t, p, c, body)
		t.Logf("%s: %d bytes, %.1f for each", what, len(body), got)
		if most *= 1.2; got > most { // the race detector's allocations count, too
			t.Errorf("%s takes %.1f bytes for each byte, want at most %.0f", what, got, most)
		}
	}
	list, binary := asList, ingest.Content{}
	f("v2 json", zipkin.V2, list, asJSON(t, spans(r, 2000)), weight(t, zipkin.V2, "application/json"))
	f("v2 protobuf", zipkin.V2, binary, asProto(t, spans(r, 2000)), weight(t, zipkin.V2, "application/x-protobuf"))
	f("v1 json", zipkin.V1, list, []byte("["+strings.Repeat(v1JSON+",", 2000)+v1JSON+"]"), weight(t, zipkin.V1, "application/json"))
	f("v1 thrift", zipkin.V1, binary, asThrift(t, thriftSpans(r, 2000)), weight(t, zipkin.V1, "application/x-thrift"))

	// The densest that the density limits let pass; most of it is garbage.
	all := func(before, element, after string, n, times int) []byte {
		one := before + strings.Repeat(element+",", n-1) + element + after
		return []byte("[" + strings.Repeat(one+",", times-1) + one + "]")
	}
	f("short spans", zipkin.V2, list, all(`{"traceId":"a","id":"a","name":"abcdefghijkl"`, ``, `}`, 1, 50000), 30)
	f("short annotations", zipkin.V2, list, all(`{"traceId":"a","id":"a","annotations":[`, `{"timestamp":1}`, `]}`, 500, 100), 30)
	var tags []string
	for i := range 1000 {
		tags = append(tags, fmt.Sprintf(`"%03d":"ab"`, i))
	}
	f("short tags", zipkin.V2, list, all(`{"traceId":"a","id":"a","tags":{`, strings.Join(tags, ","), `}}`, 1, 100), 45)
	f("short v1 spans", zipkin.V1, list, all(`{"traceId":"a","id":"a","name":"abcdefghijkl"`, ``, `}`, 1, 50000), 50)
	f("short v1 tags", zipkin.V1, list, all(`{"traceId":"a","id":"a","binaryAnnotations":[`, `{"key":"az","value":"b"}`, `]}`, 500, 100), 30)
	one := wire.AppendString(wire.AppendString(wire.AppendString(nil, 1, "12345678"), 3, "12345678"), 5, "abcdefghijkl")
	f("short proto spans", zipkin.V2, binary, bytes.Repeat(wire.AppendBytes(nil, 1, one), 50000), 30)
	f("short proto tags", zipkin.V2, binary, bytes.Repeat(wire.AppendBytes(nil, 1, append(one, bytes.Repeat([]byte("\x52\x0a\x12\x08abcdefgh"), 500)...)), 100), 30)
	span := &zipkincore.Span{TraceID: 1, ID: 1, Name: "a"}
	f("short thrift spans", zipkin.V1, binary, asThrift(t, slices.Repeat([]*zipkincore.Span{span}, 50000)), 50)
	span.BinaryAnnotations = slices.Repeat([]*zipkincore.BinaryAnnotation{{Key: "a"}}, 500)
	f("short thrift tags", zipkin.V1, binary, asThrift(t, slices.Repeat([]*zipkincore.Span{span}, 100)), 30)
}

// weight is what Open says of a type.
func weight(t *testing.T, p *ingest.Protocol, contentType string) float64 {
	t.Helper()
	c, err := p.Open(http.Header{"Content-Type": {contentType}})
	if err != nil {
		t.Fatal(err)
	}
	return float64(c.Weight)
}
