package generate

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// resourcesOfPush is how many resources an OTLP push has.
const resourcesOfPush = 10

// began is when the things in prepared pushes happened, in nanoseconds.
const began = 1_790_000_000_300_000_000

// resource writes 12 attributes of the n-th service.
func resource(m pcommon.Map, n int) {
	app := []string{"checkout", "payments", "catalog", "inventory", "frontend"}[n%5]
	pod := fmt.Sprintf("%s-7d9f8b6c5-%05x", app, uint32(n)*2654435761>>12)
	for _, l := range [...]Label{
		{"service.name", app}, {"service.namespace", "shop"}, {"service.version", "1.42.7"}, {"service.instance.id", pod},
		{"k8s.cluster.name", "prod-eu-west-1"}, {"k8s.namespace.name", "shop"}, {"k8s.pod.name", pod},
		{"k8s.node.name", fmt.Sprintf("ip-10-1-0-%d.eu-west-1", n)}, {"k8s.deployment.name", app},
		{"telemetry.sdk.language", "go"}, {"telemetry.sdk.name", "opentelemetry"}, {"telemetry.sdk.version", "1.47.0"},
	} {
		m.PutStr(l.Name, l.Value)
	}
}

// attributes writes the 10 attributes of a request.
func attributes(m pcommon.Map, r *rand.Rand) {
	m.PutStr("http.request.method", "GET")
	m.PutStr("http.route", [...]string{"/api/v1/cart", "/api/v1/cart/items", "/api/v1/orders", "/api/v1/users/{id}"}[r.IntN(4)])
	m.PutInt("http.response.status_code", int64(200+r.IntN(3)*100))
	m.PutStr("url.scheme", "https")
	m.PutStr("url.path", fmt.Sprintf("/api/v1/users/%06d", r.IntN(1e6)))
	m.PutStr("server.address", "shop.example.com")
	m.PutStr("client.address", fmt.Sprintf("10.1.%d.%d", r.IntN(250), r.IntN(250)))
	m.PutStr("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/130.0")
	m.PutStr("enduser.id", fmt.Sprintf("u-%06d", r.IntN(1e6)))
	m.PutBool("cache.hit", r.IntN(2) == 0)
}

// drawSpans draws a push of spans. Times are whole microseconds, since Zipkin and Jaeger know no others.
func drawSpans(s Spec, n int) ptrace.Traces {
	r := dice(s.Seed, uint64(n))
	td := ptrace.NewTraces()
	var spans ptrace.SpanSlice
	for i := range s.Items {
		if i%max(1, s.Items/resourcesOfPush) == 0 {
			rs := td.ResourceSpans().AppendEmpty()
			resource(rs.Resource().Attributes(), td.ResourceSpans().Len()-1)
			ss := rs.ScopeSpans().AppendEmpty()
			ss.Scope().SetName("go.opentelemetry.io/contrib/instrumentation/net/http")
			ss.Scope().SetVersion("0.62.0")
			spans = ss.Spans()
		}
		span := spans.AppendEmpty()
		var trace [16]byte
		binary.BigEndian.PutUint64(trace[:], r.Uint64()|1)
		binary.BigEndian.PutUint64(trace[8:], r.Uint64()|1)
		var id, parent [8]byte
		binary.BigEndian.PutUint64(id[:], r.Uint64()|1)
		binary.BigEndian.PutUint64(parent[:], r.Uint64()|1)
		span.SetTraceID(trace)
		span.SetSpanID(id)
		span.SetParentSpanID(parent)
		span.SetName([...]string{"GET /api/v1/cart", "GET /api/v1/orders", "SELECT shop.orders", "cache.get"}[r.IntN(4)])
		span.SetKind([...]ptrace.SpanKind{ptrace.SpanKindServer, ptrace.SpanKindClient}[r.IntN(2)])
		start := int64(began) + int64(n)*1e9 + int64(i)*1e6 + r.Int64N(1000)*1000
		span.SetStartTimestamp(pcommon.Timestamp(start))
		span.SetEndTimestamp(pcommon.Timestamp(start + r.Int64N(1e6)*1000))
		attributes(span.Attributes(), r)
	}
	return td
}

func spans(s Spec, n int) (made, error) {
	td := drawSpans(s, n)
	body, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil || s.Change.Delete == "" {
		return made{body, body, s.Items}, err
	}
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				span.Attributes().Remove(s.Change.Delete)
			}
		}
	}
	arrives, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	return made{body, arrives, s.Items}, err
}

func spansJSON(s Spec, n int) (made, error) {
	req := ptraceotlp.NewExportRequestFromTraces(drawSpans(s, n))
	arrives, err := req.MarshalProto()
	if err != nil {
		return made{}, err
	}
	body, err := req.MarshalJSON()
	return made{body, arrives, s.Items}, err
}

// points draws a push of metrics in which each third point is a histogram.
func points(s Spec, n int) (made, error) {
	const perMetric = 10
	r := dice(s.Seed, uint64(n))
	md := pmetric.NewMetrics()
	var list pmetric.MetricSlice
	var metric pmetric.Metric
	for i := range s.Items {
		if i%max(perMetric, s.Items/resourcesOfPush) == 0 {
			rm := md.ResourceMetrics().AppendEmpty()
			resource(rm.Resource().Attributes(), n*resourcesOfPush+md.ResourceMetrics().Len()-1)
			sm := rm.ScopeMetrics().AppendEmpty()
			sm.Scope().SetName("go.opentelemetry.io/contrib/instrumentation/net/http")
			list = sm.Metrics()
		}
		if i%perMetric == 0 {
			metric = list.AppendEmpty()
			newMetric(metric, i/perMetric)
		}
		at := pcommon.Timestamp(began + int64(n)*1e9)
		addPoint(metric, i%perMetric, at, r)
	}
	body, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	return made{body, body, s.Items}, err
}

// newMetric makes the n-th metric a histogram, a counter or a gauge.
func newMetric(m pmetric.Metric, n int) {
	switch n % 3 {
	case 0:
		m.SetName(fmt.Sprintf("http.server.request.duration.%d", n))
		m.SetUnit("s")
		m.SetEmptyHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	case 1:
		m.SetName(fmt.Sprintf("http.server.requests.%d", n))
		m.SetUnit("{request}")
		m.SetEmptySum().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		m.Sum().SetIsMonotonic(true)
	case 2:
		m.SetName(fmt.Sprintf("process.memory.usage.%d", n))
		m.SetUnit("By")
		m.SetEmptyGauge()
	}
	m.SetDescription("What this service measures of itself")
}

func addPoint(m pmetric.Metric, n int, at pcommon.Timestamp, r *rand.Rand) {
	put := func(a pcommon.Map) {
		a.PutStr("http.request.method", "GET")
		a.PutStr("http.route", fmt.Sprintf("/api/v1/resource/%d", n))
		a.PutInt("http.response.status_code", int64(200+n%3))
		a.PutStr("server.address", "shop.example.com")
	}
	if m.Type() == pmetric.MetricTypeHistogram {
		p := m.Histogram().DataPoints().AppendEmpty()
		put(p.Attributes())
		p.SetStartTimestamp(at - 3600e9)
		p.SetTimestamp(at)
		count := uint64(0)
		for _, bound := range []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5} {
			p.ExplicitBounds().Append(bound)
			c := uint64(r.IntN(500))
			p.BucketCounts().Append(c)
			count += c
		}
		p.BucketCounts().Append(1)
		p.SetCount(count + 1)
		p.SetSum(r.Float64() * 1000)
		return
	}
	list := pmetric.NumberDataPointSlice{}
	if m.Type() == pmetric.MetricTypeSum {
		list = m.Sum().DataPoints()
	} else {
		list = m.Gauge().DataPoints()
	}
	p := list.AppendEmpty()
	put(p.Attributes())
	p.SetStartTimestamp(at - 3600e9)
	p.SetTimestamp(at)
	p.SetDoubleValue(float64(r.IntN(1e9)))
}

// records draws a push of log records.
func records(s Spec, n int) (made, error) {
	r := dice(s.Seed, uint64(n))
	ld := plog.NewLogs()
	var list plog.LogRecordSlice
	for i := range s.Items {
		if i%max(1, s.Items/resourcesOfPush) == 0 {
			rl := ld.ResourceLogs().AppendEmpty()
			resource(rl.Resource().Attributes(), ld.ResourceLogs().Len()-1)
			list = rl.ScopeLogs().AppendEmpty().LogRecords()
		}
		rec := list.AppendEmpty()
		at := pcommon.Timestamp(began + int64(n)*1e9 + int64(i)*1e5)
		rec.SetTimestamp(at)
		rec.SetObservedTimestamp(at + 1e6)
		rec.SetSeverityNumber(plog.SeverityNumberInfo)
		rec.SetSeverityText("INFO")
		rec.Body().SetStr(line(r))
		rec.Attributes().PutStr("log.file.name", "app.log")
		rec.Attributes().PutStr("log.iostream", "stdout")
		rec.Attributes().PutStr("http.route", "/api/v1/cart")
		rec.Attributes().PutInt("http.response.status_code", int64(200+r.IntN(3)*100))
	}
	body, err := plogotlp.NewExportRequestFromLogs(ld).MarshalProto()
	return made{body, body, s.Items}, err
}
