package jaeger_test

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	jaegerthrift "github.com/jaegertracing/jaeger-idl/thrift-gen/jaeger"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/jaeger"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// stricter are the ways in which the doors refuse a push that the Collector takes, on purpose.
var stricter = []string{
	"bytes of memory, over", "bytes after the end of the batch", "tags, over 1024",
	wire.ErrThriftType.Error(), wire.ErrThriftNesting.Error(), wire.ErrTag.Error(), wire.ErrNesting.Error(), wire.ErrVarint.Error(),
}

// fuzz holds p to this: whatever comes, it does not die, its books balance (leave sees to it), and a push that the
// Collector takes is taken whole and becomes the same.
func fuzz(f *testing.F, p *ingest.Protocol, ref func([]byte) (ptrace.Traces, error)) {
	f.Fuzz(func(t *testing.T, raw []byte) {
		td, r, b, err := leave(t, p, raw)
		want, refErr := ref(raw)
		switch {
		case refErr != nil || want.SpanCount() == 0:
		case err != nil:
			if !slices.ContainsFunc(stricter, func(s string) bool { return strings.Contains(err.Error(), s) }) {
				t.Fatalf("the Collector takes what is refused here: %v", err)
			}
		case want.SpanCount() > b.Items():
			t.Fatalf("%d spans of %d", b.Items(), want.SpanCount())
		case len(r.Refused) == 0:
			same(t, "fuzzed", lines(td), lines(want))
		}
	})
}

func FuzzThrift(f *testing.F) {
	body := asThrift(f, thriftBatch(rand.New(rand.NewPCG(3, 4)), 4))
	f.Add(body)
	f.Add(body[:len(body)*2/3])
	f.Add([]byte("\x0f\x00\x02\x0c\x7f\xff\xff\xff\x00"))
	f.Add(bytes.Repeat([]byte("\x0c\x00\x63"), 70))
	fuzz(f, jaeger.HTTP, collectorHTTP)
}

func FuzzJaegerGRPC(f *testing.F) {
	body := asProto(f, batch(rand.New(rand.NewPCG(5, 6)), 4))
	f.Add(body)
	f.Add(body[:len(body)*2/3])
	f.Add(wire.AppendString(nil, 1, "\x0a\x00\x12\x00\x12\x02\x12\x00"))
	f.Add([]byte("\x0b\x0b\x0c\x0c"))
	fuzz(f, jaeger.GRPC, collectorGRPC)
}

// TestWeight: what decoding takes is what Open says, for spans as clients send them, and of that order for the densest.
// Garbage counts too, so this is on the safe side.
func TestWeight(t *testing.T) {
	f := func(what string, p *ingest.Protocol, body []byte, most float64) {
		t.Helper()
		var start, end runtime.MemStats
		runtime.ReadMemStats(&start)
		if _, err := p.Decode(body, ingest.Content{}); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&end)
		got := float64(end.TotalAlloc-start.TotalAlloc) / float64(len(body))
		t.Logf("%s: %d bytes, %.1f for each", what, len(body), got)
		if most *= 1.2; got > most { // the race detector's allocations count, too
			t.Errorf("%s takes %.1f bytes for each byte, want at most %.0f", what, got, most)
		}
	}
	weight := func(p *ingest.Protocol) float64 {
		c, err := p.Open(http.Header{"Content-Type": {map[string]string{"jaeger_http": "application/x-thrift"}[p.Name]}})
		if err != nil {
			t.Fatal(err)
		}
		return float64(c.Weight)
	}
	r := rand.New(rand.NewPCG(7, 8))
	f("thrift", jaeger.HTTP, asThrift(t, thriftBatch(r, 2000)), weight(jaeger.HTTP))
	f("protobuf", jaeger.GRPC, asProto(t, batch(r, 2000)), weight(jaeger.GRPC))

	span := &jaegerthrift.Span{TraceIdLow: 1, SpanId: 1}
	f("short thrift spans", jaeger.HTTP, asThrift(t, &jaegerthrift.Batch{Process: &jaegerthrift.Process{}, Spans: slices.Repeat([]*jaegerthrift.Span{span}, 50000)}), 30)
	span.Tags = slices.Repeat([]*jaegerthrift.Tag{{Key: "a"}}, 500)
	f("short thrift tags", jaeger.HTTP, asThrift(t, &jaegerthrift.Batch{Process: &jaegerthrift.Process{}, Spans: slices.Repeat([]*jaegerthrift.Span{span}, 100)}), 30)
	one := wire.AppendString(wire.AppendString(wire.AppendString(nil, 1, "12345678"), 2, "12345678"), 3, "abcdefghijklmn")
	f("short proto spans", jaeger.GRPC, wire.AppendBytes(nil, 1, bytes.Repeat(wire.AppendBytes(nil, 1, one), 50000)), 30)
	one = append(one, bytes.Repeat([]byte("\x42\x08\x0a\x03abc\x1a\x01b"), 500)...)
	f("short proto tags", jaeger.GRPC, wire.AppendBytes(nil, 1, bytes.Repeat(wire.AppendBytes(nil, 1, one), 100)), 40)
}

func bench(b *testing.B, p *ingest.Protocol, body []byte) {
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	e := ingest.Edit{Form: p.Forms[0]}
	var dst []byte
	for b.Loop() {
		batch, err := p.Decode(body, ingest.Content{})
		if err != nil {
			b.Fatal(err)
		}
		r, err := batch.Encode(dst[:0], e)
		if err != nil || r.Sent.Items != 100 {
			b.Fatal(r.Sent, err)
		}
		dst = r.Body
	}
}

func BenchmarkThrift(b *testing.B) {
	bench(b, jaeger.HTTP, asThrift(b, thriftBatch(rand.New(rand.NewPCG(9, 10)), 100)))
}

func BenchmarkProto(b *testing.B) {
	bench(b, jaeger.GRPC, asProto(b, batch(rand.New(rand.NewPCG(11, 12)), 100)))
}
