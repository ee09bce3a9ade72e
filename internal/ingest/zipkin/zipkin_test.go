package zipkin_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jaegertracing/jaeger-idl/thrift-gen/zipkincore"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/zipkin/zipkinv1"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/zipkin/zipkinv2"
	"github.com/openzipkin/zipkin-go/model"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/zipkin"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

var asList = ingest.Content{JSON: true}

// TestLikeTheCollector holds every form to what the Collector's zipkin receiver makes of the same bytes.
func TestLikeTheCollector(t *testing.T) {
	f := func(what string, p *ingest.Protocol, c ingest.Content, body []byte, ref ptrace.Unmarshaler) {
		t.Helper()
		want, err := ref.UnmarshalTraces(body)
		if err != nil {
			t.Fatal(err)
		}
		got, r, _, err := leave(t, p, body, c)
		if err != nil || len(r.Refused) > 0 {
			t.Fatalf("%s: %v, %v", what, r.Refused, err)
		}
		same(t, what, lines(got), lines(want))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		list := spans(r, r.IntN(40))
		if i == 0 {
			list = []*model.SpanModel{}
		}
		f("v2 json", zipkin.V2, asList, asJSON(t, list), zipkinv2.NewJSONTracesUnmarshaler(false))
		for _, s := range list {
			if s.TraceID.High == 0 {
				s.TraceID.High = 1 // zipkin-go reads no other
			}
		}
		f("v2 protobuf", zipkin.V2, ingest.Content{}, asProto(t, list), zipkinv2.NewProtobufTracesUnmarshaler(false, false))
		f("v1 thrift", zipkin.V1, ingest.Content{}, asThrift(t, thriftSpans(r, r.IntN(40))), zipkinv1.NewThriftTracesUnmarshaler())
	}
	f("v1 json", zipkin.V1, asList, []byte(`[`+v1JSON+`,`+strings.ReplaceAll(v1JSON, "cart", "db")+`]`), zipkinv1.NewJSONTracesUnmarshaler(false))
}

const v1JSON = `{"traceId":"48485a3953bb6124","name":"get","id":"bd7a977555f6b982","parentId":"48485a3953bb6124","timestamp":1458702548467000,"duration":386000,
"annotations":[{"timestamp":1458702548467001,"value":"sr","endpoint":{"serviceName":"cart","ipv4":"127.0.0.1","port":9411}},{"timestamp":1458702548467002,"value":"note"}],
"binaryAnnotations":[{"key":"http.status_code","value":"503","endpoint":{"serviceName":"cart","ipv6":"2001:db8::1"}},{"key":"lc","value":"x"},{"key":"sa","value":"true"}]}`

// TestPushes: pushes as they are sent become what testdata says.
func TestPushes(t *testing.T) {
	f := func(name string, p *ingest.Protocol) {
		t.Helper()
		body, err := os.ReadFile("testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile("testdata/" + name + ".want")
		if err != nil {
			t.Fatal(err)
		}
		td, r, _, err := leave(t, p, body, asList)
		if err != nil {
			t.Fatal(err)
		}
		got := lines(td)
		for _, f := range r.Refused {
			got = append(got, fmt.Sprint(f.Items, " ", f.Reason, ": ", f.Text))
		}
		same(t, name, got, strings.Split(strings.TrimSpace(string(want)), "\n"))
	}
	f("brave", zipkin.V2)
	f("finagle.v1", zipkin.V1)
}

// TestSpan looks at what becomes of one span: got of it, or the reason for which it is refused.
func TestSpan(t *testing.T) {
	f := func(p *ingest.Protocol, span, want string, got func(ptrace.Span, ptrace.ResourceSpans) any) {
		t.Helper()
		td, r, _, err := leave(t, p, []byte("[\n"+span+" ]"), asList)
		if err != nil {
			t.Errorf("%s: %v", span, err)
			return
		}
		text := ""
		switch {
		case len(r.Refused) == 1 && td.SpanCount() == 0:
			text = r.Refused[0].Reason + ": " + r.Refused[0].Text
		case td.SpanCount() == 1:
			rs := td.ResourceSpans().At(0)
			text = fmt.Sprint(got(rs.ScopeSpans().At(0).Spans().At(0), rs))
		}
		if text != want {
			t.Errorf("%s: %s, want %s", span, text, want)
		}
	}
	ids := func(s ptrace.Span, _ ptrace.ResourceSpans) any {
		return s.TraceID().String() + " " + s.SpanID().String() + " " + s.ParentSpanID().String()
	}
	f(zipkin.V2, `{"traceId":"463ac35c9f6413ad","id":"a2fb4a1d1a96d312","parentId":"1"}`, "0000000000000000463ac35c9f6413ad a2fb4a1d1a96d312 0000000000000001", ids)
	f(zipkin.V2, `{"traceId":"1463ac35c9f6413ad","id":"A"}`, "0000000000000001463ac35c9f6413ad 000000000000000a ", ids)
	f(zipkin.V2, `{"traceId":"0","id":"1","parentId":null}`, `invalid_id: span "" of service "": trace_id must be 16 bytes, not all zero`, ids) // OTLP judges those
	f(zipkin.V2, `{"traceId":"463ac35c9f6413ad463ac35c9f6413ad0","id":"1"}`, "invalid_id: span 1 of the list: traceId is not 1 to 32 hex digits", ids)
	f(zipkin.V2, `{"traceId":"+1","id":"1"}`, "invalid_id: span 1 of the list: traceId is not 1 to 32 hex digits", ids)
	f(zipkin.V2, `{"id":"1"}`, "invalid_id: span 1 of the list: traceId is not 1 to 32 hex digits", ids)
	f(zipkin.V2, `{"traceId":"1"}`, "invalid_id: span 1 of the list: id is not 1 to 16 hex digits", ids)
	f(zipkin.V2, `{"traceId":"1","id":"1","parentId":"xyz"}`, "invalid_id: span 1 of the list: parentId is not 1 to 16 hex digits", ids)
	f(zipkin.V2, `{"traceId":1234,"id":"1"}`, "invalid_item: span 1 of the list: field traceId cannot be JSON's number", ids)
	f(zipkin.V2, `{"traceId":"1","id":"1","timestamp":-1}`, "invalid_item: span 1 of the list: timestamp or duration is not a number of microseconds", ids)
	f(zipkin.V2, `{"traceId":"1","id":"1","duration":1e300}`, "invalid_item: span 1 of the list: timestamp or duration is not a number of microseconds", ids)
	f(zipkin.V2, `{"traceId":"1","id":"1","annotations":[{"value":"x"}]}`, "invalid_item: span 1 of the list: an annotation has no timestamp in microseconds", ids)
	f(zipkin.V2, `{"traceId":"1","id":"1","annotations":[null]}`, "invalid_item: span 1 of the list: an annotation has no timestamp in microseconds", ids)
	f(zipkin.V2, `{"traceId":"1","id":"1","tags":{"otlp.link.0":"x|y|z|{}|0"}}`, "invalid_item: span 1 of the list: tags otlp.link.* are not as OpenTelemetry writes them", ids)
	f(zipkin.V2, `{"traceId":"1","id":"1","tags":{"otlp.link.0":"||a=`+strings.Repeat("b", 9000)+`|{}|0"}}`, "invalid_item: span 1 of the list: tags otlp.link.* are not as OpenTelemetry writes them", ids)
	many := make(map[string]string)
	for i := range 1025 {
		many[fmt.Sprint("tag ", i)] = "with a value"
	}
	f(zipkin.V2, `{"traceId":"1","id":"1","tags":`+string(asJSON(t, many))+`}`, "invalid_item: span 1 of the list: over 1024 tags", ids)

	tags := func(s ptrace.Span, _ ptrace.ResourceSpans) any { return s.Attributes().AsRaw() }
	f(zipkin.V2, `{"traceId":"1","id":"1","timestamp":"7","tags":{"a":1.50,"b":true,"c":null,"d":"\u00e9"}}`, "map[a:1.50 b:true c: d:é]", tags)
	f(zipkin.V2, `{"traceId":"1","id":"1","tags":{"a":"b"}}`, "map[a:b otel.zipkin.absentField.startTime:true]", tags)
	f(zipkin.V2, `{"traceId":"1","id":"1","timestamp":1,"localEndpoint":{"ipv4":"none","port":80},"remoteEndpoint":{"ipv6":"::1","port":"70000"}}`, "map[net.host.port:80 network.peer.address:::1]", tags)

	status := func(s ptrace.Span, _ ptrace.ResourceSpans) any {
		return s.Status().Code().String() + " " + s.Status().Message() + " " + s.Kind().String()
	}
	f(zipkin.V2, `{"traceId":"1","id":"1","kind":"SERVER","tags":{"error":""}}`, "Error  Server", status)
	f(zipkin.V2, `{"traceId":"1","id":"1","kind":"PRODUCER","tags":{"otel.status_code":"ERROR","otel.status_description":"d"}}`, "Unset d Producer", status)
	f(zipkin.V2, `{"traceId":"1","id":"1","kind":"other","tags":{"span.kind":"internal"}}`, "Unset  Internal", status)

	events := func(s ptrace.Span, _ ptrace.ResourceSpans) any {
		var all []string
		for _, e := range s.Events().All() {
			all = append(all, fmt.Sprintf("%d %s%v", e.Timestamp(), e.Name(), e.Attributes().AsRaw()))
		}
		return strings.Join(all, "; ")
	}
	f(zipkin.V2, `{"traceId":"1","id":"1","annotations":[{"timestamp":1,"value":"a|b"},{"timestamp":2,"value":"a|{\"c\":1}|0"},{"timestamp":3,"value":"|||"},{"timestamp":4,"value":"a|{\"c\":1e999}|0"}]}`,
		"1000 a|b[]; 2000 a[c:1]; 3000 |||[]; 4000 a|{\"c\":1e999}|0[]", func(s ptrace.Span, rs ptrace.ResourceSpans) any {
			return strings.ReplaceAll(events(s, rs).(string), "map", "")
		})

	f(zipkin.V1, `{"traceId":"1","id":"2","timestamp":5}`, "00000000000000000000000000000001 0000000000000002 ", ids)
	f(zipkin.V1, `{"traceId":"1","id":"2","parentId":"0","timestamp":5}`, "00000000000000000000000000000001 0000000000000002 ", ids)
	f(zipkin.V1, `{"traceId":"0","id":"2"}`, "invalid_id: span 1 of the list: traceId is zero or not 1 to 32 hex digits", ids)
	f(zipkin.V1, `{"traceId":"1","id":"x"}`, "invalid_id: span 1 of the list: id is zero or not 1 to 16 hex digits", ids)
	f(zipkin.V1, `{"traceId":"1","id":"2","parentId":"x"}`, "invalid_id: span 1 of the list: parentId is not 1 to 16 hex digits", ids)
	f(zipkin.V1, `{"traceId":"1","id":"2","duration":-1}`, "invalid_item: span 1 of the list: timestamp or duration is not a number of microseconds", ids)
	f(zipkin.V1, `{"traceId":"1","id":"2","annotations":[null]}`, "invalid_item: span 1 of the list: an annotation has no timestamp in microseconds", ids)
	f(zipkin.V1, `{"traceId":"1","id":"2","binaryAnnotations":[null]}`, "invalid_item: span 1 of the list: a binary annotation has no key", ids)
	f(zipkin.V1, `{"traceId":"1","id":"2","binaryAnnotations":[{"key":"a","value":{}}]}`, "invalid_item: span 1 of the list: a field of the wrong type", ids)
	f(zipkin.V1, `{"traceId":"1","id":"2","timestamp":5,"binaryAnnotations":[{"key":"a","value":true},{"key":"b","value":2},{"key":"ca","value":true}]}`, "map[a:true b:2]", tags)
	f(zipkin.V1, `{"traceId":"1","id":"2","timestamp":5,"binaryAnnotations":[{"key":"sa","value":true,"endpoint":{"serviceName":"db","ipv4":"1.2.3.4","port":5}}]}`,
		"map[net.peer.port:5 network.peer.address:1.2.3.4 service.peer.name:db] map[]", func(s ptrace.Span, rs ptrace.ResourceSpans) any {
			return fmt.Sprint(s.Attributes().AsRaw(), rs.Resource().Attributes().AsRaw())
		})
}

// TestProtoSpan: what zipkin-go's reader does not take, and we do.
func TestProtoSpan(t *testing.T) {
	id := []byte("\x01\x02\x03\x04\x05\x06\x07\x08")
	f := func(want string, span []byte) {
		t.Helper()
		td, r, _, err := leave(t, zipkin.V2, wire.AppendBytes(nil, 1, span), ingest.Content{})
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		if len(r.Refused) == 1 {
			text = r.Refused[0].Reason + ": " + r.Refused[0].Text
		} else if td.SpanCount() == 1 {
			text = lines(td)[0]
		}
		if !strings.Contains(text, want) {
			t.Errorf("% x: %s, want %s", span, text, want)
		}
	}
	short := wire.AppendBytes(wire.AppendBytes(nil, 1, id), 3, id)
	f(`"00000000000000000102030405060708","0102030405060708"`, short)
	f("invalid_id: span", nil)
	f("invalid_id: span 1 of the list: trace_id is not 8 or 16 bytes", wire.AppendBytes(nil, 1, id[:7]))
	f("invalid_id: span 1 of the list: id is not 8 bytes", wire.AppendBytes(nil, 3, id[:7]))
	f("invalid_id: span 1 of the list: parent_id is not 8 bytes", wire.AppendBytes(nil, 2, id[:7]))
	f("invalid_item: span 1 of the list: a text is not UTF-8", wire.AppendString(short, 5, "\xff"))
	f(`"last"`, wire.AppendString(wire.AppendString(short, 5, "first"), 5, "last"))
	// Doubled messages merge.
	f(`"net.host.port":80,"network.local.address":"1.2.3.4"`, slices.Concat(short,
		wire.AppendBytes(nil, 8, wire.AppendString(nil, 2, "\x01\x02\x03\x04")), wire.AppendBytes(nil, 8, wire.AppendVarint(nil, 4, 80))))
	f(`"a":"2"`, slices.Concat(short, wire.AppendBytes(nil, 11, []byte("\x0a\x01a\x12\x011")), wire.AppendBytes(nil, 11, []byte("\x0a\x01a\x12\x012"))))
	f(`"Unspecified"`, wire.AppendVarint(short, 4, 77))
}

func TestEmpty(t *testing.T) {
	f := func(p *ingest.Protocol, c ingest.Content, body string) {
		t.Helper()
		_, r, b, err := leave(t, p, []byte(body), c)
		if err != nil || b.Items() != 0 || len(r.Body) != 0 {
			t.Errorf("%q: %v, % x", body, err, r.Body)
		}
	}
	for _, p := range []*ingest.Protocol{zipkin.V1, zipkin.V2} {
		f(p, asList, "")
		f(p, asList, " \n")
		f(p, asList, "[]")
		f(p, asList, " [ ] ")
		f(p, ingest.Content{}, "")
	}
	f(zipkin.V1, ingest.Content{}, "\x0c\x00\x00\x00\x00")
}

func TestMalformed(t *testing.T) {
	f := func(p *ingest.Protocol, c ingest.Content, body, want string) {
		t.Helper()
		_, err := p.Decode([]byte(body), c)
		if err == nil || !strings.Contains(err.Error(), want) || fault.From(err).Kind != fault.Malformed {
			t.Errorf("%.60q: %v, want %s", body, err, want)
		}
	}
	for _, p := range []*ingest.Protocol{zipkin.V1, zipkin.V2} {
		f(p, asList, "{}", "not a list")
		f(p, asList, "null", "not a list")
		f(p, asList, "[", "not well formed")
		f(p, asList, "[]]", "not well formed")
		f(p, asList, "[{}", "not well formed")
		f(p, asList, `["`, "not well formed")
		f(p, asList, `["\`, "not well formed")
		f(p, asList, "[null]", "not an object")
		f(p, asList, "[1]", "not an object")
		f(p, asList, "[{},[]]", "not an object")
		f(p, asList, `["a"]`, "not an object")
		f(p, asList, strings.Repeat("[", 65), "nested over 64")
		f(p, asList, strings.Repeat(`[{"a":`, 1<<20), "nested over 64")
		f(p, asList, "["+strings.Repeat("{},", 1e5)+"{}]", "bytes of memory, over")
		f(p, ingest.Content{}, "no", "")
	}
	f(zipkin.V2, asList, "["+v1JSON+"]", "v1 goes to /api/v1/spans")
	f(zipkin.V2, asList, `[{"traceId":"1","id":"1","annotations":[{"timestamp":1,"value":"cs","endpoint":{}}]}]`, "v1 goes to /api/v1/spans")
	f(zipkin.V1, asList, `[{"traceId":"1","id":"1","tags":{}}]`, "v2 to /api/v2/spans")
	f(zipkin.V1, asList, `[{"traceId":"1","id":"1","localEndpoint":{}}]`, "v2 to /api/v2/spans")
	f(zipkin.V1, asList, `[{"traceId":"1","id":"1","remoteEndpoint":{}}]`, "v2 to /api/v2/spans")

	proto := ingest.Content{}
	f(zipkin.V2, proto, "\x0a\x05abc", "ends inside a field")
	f(zipkin.V2, proto, "\x08\x01", "another type")
	f(zipkin.V2, proto, "\x0a\x02\x08\x01", "another type")
	f(zipkin.V2, proto, "\x0a\x04\x42\x02\x08\x01", "another type")
	f(zipkin.V2, proto, "\x0a\x04\x52\x02\x10\x01", "another type")
	f(zipkin.V2, proto, "\x0a\x04\x5a\x02\x08\x01", "another type")
	f(zipkin.V2, proto, strings.Repeat("\x0a\x00", 1e5), "bytes of memory, over")
	f(zipkin.V2, proto, string(wire.AppendString(nil, 1, strings.Repeat("\x52\x00", 1e5))), "bytes of memory, over")
	f(zipkin.V2, proto, string(wire.AppendString(nil, 1, strings.Repeat("\x5a\x00", 1e5))), "bytes of memory, over")

	f(zipkin.V1, proto, "\x0c\x7f\xff\xff\xff\x00", "ends inside a value")
	f(zipkin.V1, proto, "\x0b\x00\x00\x00\x01\x00\x00\x00\x00", "no use for")
	f(zipkin.V1, proto, "\x0c\x00\x00\x00\x00x", "1 bytes after the end")
	f(zipkin.V1, proto, "\x0c\x00\x00\x00\x01"+strings.Repeat("\x0c\x00\x01", 100), "nested over 64")
	f(zipkin.V1, proto, "\x0c\x00\x01\x00\x00"+strings.Repeat("\x00", 1<<16), "bytes of memory, over")
	f(zipkin.V1, proto, "\x0c\x00\x00\x00\x01\x0f\x00\x06\x0c\x00\x01\x00\x00"+strings.Repeat("\x00", 1<<16+1), "bytes of memory, over")
	f(zipkin.V1, proto, string(asThrift(t, []*zipkincore.Span{{BinaryAnnotations: slices.Repeat([]*zipkincore.BinaryAnnotation{{Key: "k"}}, 1025)}})), "1025 binary annotations, over 1024")
}

func TestOpen(t *testing.T) {
	f := func(p *ingest.Protocol, contentType, encoding string, json bool, codecs ...ingest.Codec) {
		t.Helper()
		h := http.Header{}
		if contentType != "" {
			h.Set("Content-Type", contentType)
		}
		if encoding != "" {
			h.Set("Content-Encoding", encoding)
		}
		c, err := p.Open(h)
		if err != nil || c.JSON != json || c.Weight == 0 || !slices.Equal(c.Codecs, codecs) {
			t.Errorf("%s %s: %+v, %v", contentType, encoding, c, err)
		}
	}
	f(zipkin.V2, "", "", true)
	f(zipkin.V2, "application/json; charset=utf-8", "gzip", true, ingest.Gzip)
	f(zipkin.V2, "Application/X-Protobuf", "identity", false)
	f(zipkin.V1, "", "GZIP", true, ingest.Gzip)
	f(zipkin.V1, "application/x-thrift", "", false)

	bad := func(p *ingest.Protocol, contentType string, encodings ...string) {
		t.Helper()
		_, err := p.Open(http.Header{"Content-Type": {contentType}, "Content-Encoding": encodings})
		if fault.From(err).Kind != fault.Unsupported {
			t.Errorf("%s %v: %v", contentType, encodings, err)
		}
	}
	bad(zipkin.V2, "application/x-thrift")
	bad(zipkin.V2, "text/html")
	bad(zipkin.V1, "application/x-protobuf")
	bad(zipkin.V1, "application/json", "deflate")
	bad(zipkin.V1, "application/json", "gzip", "gzip")
}

func TestAnswers(t *testing.T) {
	f := func(a ingest.Answer, status int, body string) {
		t.Helper()
		r := zipkin.V2.Accept(asList, a)
		if r.Status != status || string(r.Body) != body || (r.ContentType == "") != (body == "") {
			t.Errorf("%+v: %d %q", a, r.Status, r.Body)
		}
	}
	f(ingest.Answer{Status: 200, Rejected: 3, Message: "upstream keeps it to itself"}, 202, "")
	f(ingest.Answer{}, 202, "")
	f(ingest.Answer{Status: 200, Refused: []ingest.Refusal{{Reason: "invalid_id", Items: 2, Text: "span 1\nis bad"}, {Reason: "invalid_item", Items: 1, Text: "x"}}},
		400, "2 items refused (invalid_id): span 1 is bad; 1 items refused (invalid_item): x\n")
	r := zipkin.V1.Refuse(nil, fault.New(fault.RateLimited, "environment dev: too\r\nmuch"))
	if r.Status != 429 || string(r.Body) != "environment dev: too  much\n" || !strings.HasPrefix(r.ContentType, "text/plain") {
		t.Errorf("%+v", r)
	}
}

// TestRefusedAreMany: however many are refused, the sender is told of one for each reason.
func TestRefusedAreMany(t *testing.T) {
	var list []json.RawMessage
	for range 100 {
		list = append(list, []byte(`{"traceId":"x","id":"1"}`), []byte(`{"traceId":"1","id":"1"}`), []byte(`{"name":[]}`))
	}
	_, r, b, err := leave(t, zipkin.V2, asJSON(t, list), asList)
	if err != nil || b.Items() != 300 || r.Sent.Items != 100 || len(r.Refused) != 2 || r.Refused[0].Items != 100 || !strings.HasPrefix(r.Refused[1].Text, "span 3 ") {
		t.Errorf("%d items, %+v, %v", b.Items(), r, err)
	}
}

// What is not said must not be made up, and what says next to nothing must not weigh a lot.
func TestNamelessAndHollow(t *testing.T) {
	b, err := zipkin.V1.Decode([]byte(`[{"traceId":"1","id":"2","name":"n","timestamp":1}]`), asList)
	if err != nil {
		t.Fatal(err)
	}
	res, err := b.Encode(nil, ingest.Edit{Traces: &ingest.TraceRules{Ratio: 1, FillServiceName: "legacy"}})
	if err != nil || res.Unnamed != 1 || !bytes.Contains(res.Body, []byte("legacy")) || bytes.Contains(res.Body, []byte("unknown-service")) {
		t.Errorf("a span without a service: %d unnamed, %v\n%q", res.Unnamed, err, res.Body)
	}
	hollow := `[{"traceId":"1","id":"2","annotations":[` + strings.Repeat("null,", 50000) + `null]}]`
	if _, err := zipkin.V2.Decode([]byte(hollow), asList); err == nil {
		t.Error("a mass of null was taken")
	}
	// An event's attributes are text of a bounded length, or the whole is its name.
	deep := strings.Repeat(`{\"\":`, 50) + "1" + strings.Repeat("}", 50)
	event := `[{"traceId":"1","id":"2","annotations":[{"timestamp":1,"value":"x|{\"a\":[` + strings.Repeat(deep+",", 10000) + deep + `]}|0"}]}]`
	if got := grows(t, zipkin.V2, asList, []byte(event)); got > 40 {
		t.Errorf("a deep event takes %.1f bytes for each byte", got)
	}
}
