package integration

import (
	"net/http"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/grafana/loki/pkg/push"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// What leads from a metric or a log line to its trace arrives as it was sent.

const linkedTrace = "5982fe77008310cc80f1da5e10147517"

func TestLinksOfRemoteWrite(t *testing.T) {
	at := time.Now().UnixMilli()
	want := newArrivals()
	series := labels.FromStrings("__name__", "latency_bucket", "environment", "prod", "le", "1")
	want.add(series, 0, at, 7, nil, nil)
	want.addExemplar(series, exemplar.Exemplar{Value: 0.5, Ts: at, Labels: labels.FromStrings("span_id", "67fae42571535f60", "trace_id", linkedTrace)})

	f := func(contentType, version string, body []byte, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		g, _, rc := newMetricsGateway(t, "", v1, v2)
		resp, text := post(t, "http://"+g.http+"/api/v1/push", snappy.Encode(nil, body), map[string]string{
			"Authorization": "Bearer " + clientToken, "Content-Type": contentType, "Content-Encoding": "snappy",
			"X-Prometheus-Remote-Write-Version": version,
		})
		if resp.StatusCode != http.StatusNoContent {
			t.Errorf("%s: answered %d %s", contentType, resp.StatusCode, text)
		}
		if n := resp.Header.Get(exemplarsWritten); contentType == contentV2 && n != "1" {
			t.Errorf("%s: %s exemplars written, want 1", contentType, n)
		}
		want.checkEqual(t, contentType, rc.got)
	}
	body, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels:    []prompb.Label{{Name: "__name__", Value: "latency_bucket"}, {Name: "le", Value: "1"}},
		Samples:   []prompb.Sample{{Value: 7, Timestamp: at}},
		Exemplars: []prompb.Exemplar{{Labels: []prompb.Label{{Name: "span_id", Value: "67fae42571535f60"}, {Name: "trace_id", Value: linkedTrace}}, Value: 0.5, Timestamp: at}},
	}}}).Marshal()
	f(contentV1, "0.1.0", body, err)
	body, err = (&writev2.Request{
		Symbols: []string{"", "__name__", "latency_bucket", "le", "1", "trace_id", linkedTrace, "span_id", "67fae42571535f60"},
		Timeseries: []writev2.TimeSeries{{
			LabelsRefs: []uint32{1, 2, 3, 4},
			Samples:    []writev2.Sample{{Value: 7, Timestamp: at}},
			Exemplars:  []writev2.Exemplar{{LabelsRefs: []uint32{7, 8, 5, 6}, Value: 0.5, Timestamp: at}},
		}},
	}).Marshal()
	f(contentV2, "2.0.0", body, err)
}

func TestLinksOfOTLP(t *testing.T) {
	up := newGRPCUpstream(t)
	g := startTraceGateway(t, up.yaml("otlp", ""), "    metrics: {labels: {environment: prod}}\n")
	md := pmetric.NewMetrics()
	m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("latency")
	p := m.SetEmptyHistogram().DataPoints().AppendEmpty()
	e := p.Exemplars().AppendEmpty()
	e.SetTraceID(pcommon.TraceID{0: 1, 15: 2})
	e.SetSpanID(pcommon.SpanID{0: 3, 7: 4})
	e.SetDoubleValue(0.5)
	e.FilteredAttributes().PutStr("user", "7")
	for _, transport := range []string{"http", "grpc"} {
		up.reset()
		if err := newCollector(t, g, transport, "gzip").metrics.ConsumeMetrics(background(t), md); err != nil {
			t.Fatal(err)
		}
		got := up.metrics.AllMetrics()[0].ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Histogram().DataPoints().At(0)
		if v, _ := got.Attributes().Get("environment"); v.Str() != "prod" {
			t.Error("the point arrived without its stamp")
		}
		if n := got.Exemplars().Len(); n != 1 {
			t.Fatalf("%d exemplars arrived, want 1", n)
		}
		x := got.Exemplars().At(0)
		user, _ := x.FilteredAttributes().Get("user")
		if x.TraceID() != e.TraceID() || x.SpanID() != e.SpanID() || x.DoubleValue() != 0.5 || user.Str() != "7" {
			t.Errorf("the exemplar arrived as trace %s, span %s, %g", x.TraceID(), x.SpanID(), x.DoubleValue())
		}
	}
}

func TestLinksOfLoki(t *testing.T) {
	g, rc := newLokiGateway(t, "    logs: {labels: {env: prod}}\n")
	entry := push.Entry{Timestamp: time.Unix(1700000000, 1), Line: "failed", StructuredMetadata: push.LabelsAdapter{
		{Name: "span_id", Value: "67fae42571535f60"}, {Name: "trace_id", Value: linkedTrace},
	}}
	streams := []push.Stream{{Labels: `{app="checkout"}`, Entries: []push.Entry{entry}}}
	want := []string{renderLine(`{app="checkout", env="prod"}`, entry.Timestamp, entry.Line, entry.StructuredMetadata)}
	pushLoki(t, g, "protobuf", "application/x-protobuf", "", lokiProtobuf(t, streams))
	checkLines(t, "protobuf", want, rc.take())
	pushLoki(t, g, "JSON", "application/json", "", lokiJSON(t, streams))
	checkLines(t, "JSON", want, rc.take())
}
