package zipkin_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/zipkin/zipkinv1"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/zipkin/zipkinv2"
	"github.com/openzipkin/zipkin-go/model"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/zipkin"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// stricter are the ways in which the doors refuse a push that the Collector takes, on purpose.
var stricter = []string{
	"of the other version of the API", "bytes of memory, over", "nested over 64", "is not an object", "not a list",
	"bytes after the end of the list", wire.ErrThriftType.Error(), wire.ErrThriftNesting.Error(), "binary annotations, over 1024",
	wire.ErrTag.Error(), wire.ErrNesting.Error(), errField,
}

const errField = "a field of another type than Zipkin's" // protobuf-go takes those for unknown

// looser is how the Collector writes addresses that are none, which are left out here, and what it marks v1 spans with
// that it gives the time of day.
var looser = regexp.MustCompile(`address":"(\?|<nil>)|absentField`)

// cut says whether td has an event that the Collector would cut the name of.
func cut(td ptrace.Traces) bool {
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				for _, e := range s.Events().All() {
					if strings.Contains(e.Name(), "|") {
						return true
					}
				}
			}
		}
	}
	return false
}

// fuzz holds p to this: whatever comes, it does not die, its books balance (leave sees to it), and a push that the
// Collector takes is taken whole and becomes the same.
func fuzz(f *testing.F, p *ingest.Protocol, c ingest.Content, ref ptrace.Unmarshaler) {
	f.Fuzz(func(t *testing.T, raw []byte) {
		td, r, b, err := leave(t, p, raw, c)
		if p == zipkin.V1 && bytes.Contains(raw, []byte("null")) {
			return // the Collector's reader dies on some
		}
		want, refErr := ref.UnmarshalTraces(raw)
		switch {
		case refErr != nil || want.SpanCount() == 0:
		case err != nil:
			if !slices.ContainsFunc(stricter, func(s string) bool { return strings.Contains(err.Error(), s) }) {
				t.Fatalf("the Collector takes what is refused here: %v", err)
			}
		case want.SpanCount() > b.Items():
			t.Fatalf("%d spans of %d", b.Items(), want.SpanCount())
		case len(r.Refused) == 0:
			if all := lines(want); !cut(td) && !looser.MatchString(strings.Join(all, "")) {
				same(t, "fuzzed", lines(td), all)
			}
		}
	})
}

func seed(f *testing.F, name string) {
	f.Helper()
	body, err := os.ReadFile("testdata/" + name)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
}

func FuzzV2JSON(f *testing.F) {
	seed(f, "brave.json")
	f.Add(asJSON(f, spans(rand.New(rand.NewPCG(7, 8)), 5)))
	f.Add([]byte(`[{"traceId":"1","id":"1","annotations":[{"timestamp":1,"value":"a|{}|0"},{"timestamp":1,"value":"|"}],"tags":{"otlp.link.0":"||||","a":1}}]`))
	f.Add([]byte(`[{"traceId":"1","id":"1","binaryAnnotations":[]}]`))
	f.Add([]byte(`[null]`))
	fuzz(f, zipkin.V2, asList, zipkinv2.NewJSONTracesUnmarshaler(false))
}

func FuzzV1JSON(f *testing.F) {
	seed(f, "finagle.v1.json")
	f.Add([]byte("[" + v1JSON + "]"))
	f.Add([]byte(`[{"traceId":"1","id":"1","annotations":[null],"binaryAnnotations":[null,{"key":"a","value":1}]}]`))
	f.Add([]byte(`[null]`))
	fuzz(f, zipkin.V1, asList, zipkinv1.NewJSONTracesUnmarshaler(false))
}

func FuzzProto(f *testing.F) {
	body := asProto(f, spans(rand.New(rand.NewPCG(9, 10)), 5))
	f.Add(body)
	f.Add(body[:len(body)*2/3])
	f.Add(bytes.Repeat([]byte("\x0a\x00"), 10))
	fuzz(f, zipkin.V2, ingest.Content{}, zipkinv2.NewProtobufTracesUnmarshaler(false, false))
}

func FuzzThrift(f *testing.F) {
	body := asThrift(f, thriftSpans(rand.New(rand.NewPCG(11, 12)), 5))
	f.Add(body)
	f.Add(body[:len(body)*2/3])
	f.Add([]byte("\x0c\x7f\xff\xff\xff\x00"))
	f.Add([]byte("\x0c\x00\x00\x00\x01\x0c\x00\x01\x0f\x00\x02\x0c\x00\x00\x00\x01\x00\x00\x00"))
	fuzz(f, zipkin.V1, ingest.Content{}, zipkinv1.NewThriftTracesUnmarshaler())
}

func bench(b *testing.B, p *ingest.Protocol, c ingest.Content, body []byte) {
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	e := ingest.Edit{Form: p.Forms[0]}
	var dst []byte
	for b.Loop() {
		batch, err := p.Decode(body, c)
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

// typical is what a reporter sends at once.
func typical() []*model.SpanModel { return spans(rand.New(rand.NewPCG(13, 14)), 100) }

func BenchmarkV2JSON(b *testing.B)  { bench(b, zipkin.V2, asList, asJSON(b, typical())) }
func BenchmarkV2Proto(b *testing.B) { bench(b, zipkin.V2, ingest.Content{}, asProto(b, typical())) }
func BenchmarkV1Thrift(b *testing.B) {
	bench(b, zipkin.V1, ingest.Content{}, asThrift(b, thriftSpans(rand.New(rand.NewPCG(15, 16)), 100)))
}

// BenchmarkCollectorV2JSON is what the Collector's reader and translator take for the same push, to compare.
func BenchmarkCollectorV2JSON(b *testing.B) {
	body, ref := asJSON(b, typical()), zipkinv2.NewJSONTracesUnmarshaler(false)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		td, err := ref.UnmarshalTraces(body)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := new(ptrace.ProtoMarshaler).MarshalTraces(td); err != nil {
			b.Fatal(err)
		}
	}
}
