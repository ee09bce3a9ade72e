package integration

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/jaegertracing/jaeger-idl/thrift-gen/zipkincore"
	zipkingo "github.com/openzipkin/zipkin-go"
	"github.com/openzipkin/zipkin-go/model"
	"github.com/openzipkin/zipkin-go/proto/zipkin_proto3"
	"github.com/openzipkin/zipkin-go/reporter"
	httpreporter "github.com/openzipkin/zipkin-go/reporter/http"
	otelzipkin "go.opentelemetry.io/otel/exporters/zipkin"
)

// zipkinSenders push spans to a gateway, or what stands before it, at url.
var zipkinSenders = []struct {
	name string
	send func(t testing.TB, url string)
}{
	{"zipkin-go, JSON", func(t testing.TB, url string) { sendZipkinGo(t, url, reporter.JSONSerializer{}) }},
	{"zipkin-go, protobuf", func(t testing.TB, url string) { sendZipkinGo(t, url, zipkin_proto3.SpanSerializer{}) }},
	{"the SDK's Zipkin exporter", sendOTelZipkin},
	{"v2 JSON in gzip", func(t testing.TB, url string) {
		sendZipkinBytes(t, url+"/api/v2/spans", "application/json", "gzip", gzipped(t, []byte(zipkinV2JSON)))
	}},
	{"v2 JSON without a type", func(t testing.TB, url string) {
		sendZipkinBytes(t, url+"/api/v2/spans", "", "", []byte(zipkinV2JSON))
	}},
	{"v1 JSON", func(t testing.TB, url string) {
		sendZipkinBytes(t, url+"/api/v1/spans", "application/json", "", []byte(zipkinV1JSON))
	}},
	{"v1 Thrift in gzip", func(t testing.TB, url string) {
		sendZipkinBytes(t, url+"/api/v1/spans", "application/x-thrift", "gzip", gzipped(t, zipkinV1Thrift(t)))
	}},
}

// What arrives is what the Collector's zipkin receiver makes of the same bytes.
func TestZipkin(t *testing.T) {
	ref := newReference(t)
	for _, x := range allTraceExits(t) {
		for _, s := range zipkinSenders {
			tap := newTap(t, x.http)
			s.send(t, tap.url)
			for _, p := range tap.all() {
				if p.status != http.StatusAccepted || p.answer != "" {
					t.Errorf("%s, %s: answered %d %q, want 202 and nothing", x.name, s.name, p.status, p.answer)
				}
			}
			checkSpans(t, x.name+", "+s.name, ref.of(ref.zipkin, tap.all()), x.take())
		}
		x.books("app", "traces")
		x.checkNoSecrets()
	}
}

// sendZipkinGo traces two services that share spans, and returns when all was reported.
func sendZipkinGo(t testing.TB, url string, serializer reporter.SpanSerializer) {
	t.Helper()
	var complaints logBuffer
	rep := httpreporter.NewReporter(url+"/api/v2/spans", httpreporter.Serializer(serializer), httpreporter.BatchSize(4),
		httpreporter.Logger(log.New(&complaints, "", 0)), httpreporter.RequestCallback(withToken))
	front := zipkinTracer(t, rep, "frontend", true)
	back := zipkinTracer(t, rep, "backend", false)

	root := front.StartSpan("get /", zipkingo.Kind(model.Server))
	root.Tag("http.method", "GET")
	root.Tag("http.status_code", "500")
	zipkingo.TagError.Set(root, "out of stock")
	root.Annotate(time.Now(), "cache miss")
	for i := range 3 {
		call := front.StartSpan(fmt.Sprintf("call %d", i), zipkingo.Kind(model.Client), zipkingo.Parent(root.Context()),
			zipkingo.RemoteEndpoint(&model.Endpoint{ServiceName: "backend", IPv4: net.IPv4(10, 0, 0, 7), Port: 9000}))
		// The server's half has the ids of the client's.
		served := back.StartSpan("serve", zipkingo.Kind(model.Server), zipkingo.Parent(call.Context()))
		served.SetRemoteEndpoint(&model.Endpoint{IPv6: net.ParseIP("2001:db8::1"), Port: 41000})
		served.Finish()
		call.Finish()
	}
	front.StartSpan("local work", zipkingo.Parent(root.Context())).Finish()
	front.StartSpan("publish", zipkingo.Kind(model.Producer), zipkingo.Parent(root.Context())).Finish()
	back.StartSpan("consume", zipkingo.Kind(model.Consumer)).Finish() // a trace of its own, with 64 bits
	back.StartSpan("debugged", zipkingo.Parent(model.SpanContext{Debug: true, TraceID: model.TraceID{Low: 7}, ID: 8})).Finish()
	root.Finish()
	if err := rep.Close(); err != nil {
		t.Error(err)
	}
	if s := complaints.String(); s != "" {
		t.Errorf("the reporter complains: %s", s)
	}
}

func zipkinTracer(t testing.TB, rep reporter.Reporter, service string, wide bool) *zipkingo.Tracer {
	t.Helper()
	tracer, err := zipkingo.NewTracer(rep, zipkingo.WithTraceID128Bit(wide), zipkingo.WithTags(map[string]string{"zone": "eu-1"}),
		zipkingo.WithLocalEndpoint(&model.Endpoint{ServiceName: service, IPv4: net.IPv4(10, 0, 0, 1), Port: 8080}))
	if err != nil {
		t.Fatal(err)
	}
	return tracer
}

// withToken puts the client's credential on a request, and what no upstream may see.
func withToken(r *http.Request) {
	for name, value := range leakHeaders {
		r.Header.Set(name, value)
	}
	r.Header.Set("Authorization", "Bearer "+clientToken)
}

func sendOTelZipkin(t testing.TB, url string) {
	t.Helper()
	exporter, err := otelzipkin.New(url+"/api/v2/spans", otelzipkin.WithHeaders(map[string]string{"Authorization": "Bearer " + clientToken}))
	if err != nil {
		t.Fatal(err)
	}
	if err := exporter.ExportSpans(background(t), newSDKData(t).spans); err != nil {
		t.Errorf("the exporter says: %v", err)
	}
	if err := exporter.Shutdown(background(t)); err != nil {
		t.Error(err)
	}
}

func sendZipkinBytes(t testing.TB, url, contentType, encoding string, body []byte) {
	t.Helper()
	headers := map[string]string{"Authorization": "Bearer " + clientToken}
	if contentType != "" {
		headers["Content-Type"] = contentType
	}
	if encoding != "" {
		headers["Content-Encoding"] = encoding
	}
	post(t, url, body, headers)
}

const zipkinV2JSON = `[
	{"traceId":"5982fe77008310cc80f1da5e10147517","parentId":"90394f6bcffb5d13","id":"67fae42571535f60","kind":"SERVER",
	 "name":"/m/n/2.6.1","timestamp":1516781775726000,"duration":26000,"localEndpoint":{"serviceName":"api","ipv4":"10.0.0.1","port":80},
	 "remoteEndpoint":{"serviceName":"apip","port":5000},"annotations":[{"timestamp":1516781775727000,"value":"ü, \"quoted\""}],
	 "tags":{"data.http_response_code":"201","otel.status_code":"OK","otel.library.name":"tracer","otel.library.version":"1.2"}},
	{"traceId":"80f1da5e10147517","id":"67fae42571535f61","name":"narrow","timestamp":1516781775726000,"duration":1,"debug":true,
	 "localEndpoint":{"serviceName":"worker"},"tags":{"error":""}},
	{"traceId":"80f1da5e10147517","id":"67fae42571535f62","name":"of nobody","timestamp":1516781775726000}]`

const zipkinV1JSON = `[
	{"traceId":"0ed2e63cbe71f5a8463ac35c9f6413ad","id":"0ed2e63cbe71f5a8","name":"checkavailability","timestamp":1544805927446743,
	 "duration":4740,"annotations":[
	  {"timestamp":1544805927446743,"value":"sr","endpoint":{"ipv4":"172.31.0.4","port":9000,"serviceName":"inventory"}},
	  {"timestamp":1544805927449000,"value":"looked twice","endpoint":{"serviceName":"inventory"}},
	  {"timestamp":1544805927451483,"value":"ss","endpoint":{"ipv4":"172.31.0.4","port":9000,"serviceName":"inventory"}}],
	 "binaryAnnotations":[{"key":"http.status_code","value":"503"},{"key":"error","value":"empty shelf"}]},
	{"traceId":"463ac35c9f6413ad","parentId":"0ed2e63cbe71f5a8","id":"f9ebb6e64880612a","name":"query","timestamp":1544805927453923,
	 "duration":3740,"annotations":[
	  {"timestamp":1544805927453923,"value":"cs","endpoint":{"ipv4":"172.31.0.4","port":0,"serviceName":"checkout"}},
	  {"timestamp":1544805927457717,"value":"cr","endpoint":{"ipv4":"172.31.0.4","port":0,"serviceName":"checkout"}}],
	 "binaryAnnotations":[{"key":"sql","value":"select 1","endpoint":{"serviceName":"checkout"}}]},
	{"traceId":"463ac35c9f6413ad","parentId":"0ed2e63cbe71f5a8","id":"f9ebb6e64880612b","name":"inside","timestamp":1544805927453923,
	 "binaryAnnotations":[{"key":"lc","value":"pricing","endpoint":{"serviceName":"checkout"}}]}]`

// zipkinV1Thrift is a list of spans as Scribe's collectors wrote it.
func zipkinV1Thrift(t testing.TB) []byte {
	t.Helper()
	at, took, high, parent := int64(1544805927446743), int64(4740), int64(0x0ed2e63cbe71f5a8), int64(0x1111)
	host := &zipkincore.Endpoint{Ipv4: 10<<24 | 7, Port: 9000, ServiceName: "checkout"}
	annotation := func(value string, after int64) *zipkincore.Annotation {
		return &zipkincore.Annotation{Timestamp: at + after, Value: value, Host: host}
	}
	binary := func(key string, kind zipkincore.AnnotationType, value ...byte) *zipkincore.BinaryAnnotation {
		return &zipkincore.BinaryAnnotation{Key: key, AnnotationType: kind, Value: value, Host: host}
	}
	spans := []*zipkincore.Span{
		{TraceID: 0x463ac35c9f6413ad, TraceIDHigh: &high, ID: 0x1111, Name: "get", Timestamp: &at, Duration: &took,
			Annotations: []*zipkincore.Annotation{annotation("sr", 0), annotation("hello", 10), annotation("ss", took)},
			BinaryAnnotations: []*zipkincore.BinaryAnnotation{
				binary("http.path", zipkincore.AnnotationType_STRING, []byte("/cart")...),
				binary("cached", zipkincore.AnnotationType_BOOL, 1),
				binary("shard", zipkincore.AnnotationType_I16, 1, 2),
				binary("bytes", zipkincore.AnnotationType_I64, 0, 0, 0, 0, 0, 0, 1, 0),
			}},
		{TraceID: -2, ID: -3, ParentID: &parent, Name: "call", Timestamp: &at, Duration: &took, Debug: true,
			Annotations: []*zipkincore.Annotation{annotation("cs", 0), annotation("cr", took)}},
	}
	buf := thrift.NewTMemoryBuffer()
	p := thrift.NewTBinaryProtocolConf(buf, nil)
	ctx := context.Background()
	if err := p.WriteListBegin(ctx, thrift.STRUCT, len(spans)); err != nil {
		t.Fatal(err)
	}
	for _, s := range spans {
		if err := s.Write(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	return bytes.Clone(buf.Bytes())
}
