package integration

import (
	"fmt"
	"math/rand/v2"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// odd puts attributes of every kind beside the texts.
func odd(rnd *rand.Rand, id int, attrs pcommon.Map) {
	for k, v := range ruleLabels(rnd, id) {
		attrs.PutStr(k, v)
	}
	attrs.PutInt("port", []int64{8080, 9090, 80}[rnd.IntN(3)])
	attrs.PutBool("app_ready", rnd.IntN(2) == 0)
	attrs.PutDouble("ratio", 0.25)
	list := attrs.PutEmptySlice("app_list")
	list.AppendEmpty().SetStr("ü\"")
	list.AppendEmpty().SetInt(int64(id))
}

func oddResource(i int, attrs pcommon.Map) {
	attrs.PutStr("service.name", fmt.Sprintf("service-%d", i))
	attrs.PutStr("environment", "dev")
	attrs.PutInt("process.pid", int64(1000+i))
	tags := attrs.PutEmptySlice("tags")
	tags.AppendEmpty().SetStr("a")
	tags.AppendEmpty().SetInt(int64(i))
}

// ruleMetrics has points of all five kinds. at tells one push from another.
func ruleMetrics(at int) pmetric.Metrics {
	rnd, md, id := rand.New(rand.NewPCG(7, 8)), pmetric.NewMetrics(), 0
	when := pcommon.Timestamp(1_700_000_000_000_000_000 + at*1e9)
	for i := range 3 {
		rm := md.ResourceMetrics().AppendEmpty()
		oddResource(i, rm.Resource().Attributes())
		for j := range 2 {
			sm := rm.ScopeMetrics().AppendEmpty()
			sm.Scope().SetName(fmt.Sprintf("scope-%d", j))
			sm.Scope().SetVersion("1.2")
			for _, fill := range []func(pmetric.Metric, pcommon.Timestamp){fillSum, fillGauge, fillDebug, fillHistogram, fillExponential, fillSummary} {
				m := sm.Metrics().AppendEmpty()
				fill(m, when)
				m.SetDescription("what " + m.Name() + " is")
				m.SetUnit("By")
				eachPoint(m, func(attrs pcommon.Map) { id++; odd(rnd, id, attrs) })
			}
		}
	}
	return md
}

func fillSum(m pmetric.Metric, when pcommon.Timestamp) {
	m.SetName("http_requests")
	sum := m.SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	for n := range 8 {
		p := sum.DataPoints().AppendEmpty()
		p.SetIntValue(int64(n))
		p.SetTimestamp(when)
		p.Exemplars().AppendEmpty().SetDoubleValue(float64(n) / 3)
	}
}

func fillGauge(m pmetric.Metric, when pcommon.Timestamp) {
	m.SetName("http_size")
	points := m.SetEmptyGauge().DataPoints()
	for n := range 8 {
		p := points.AppendEmpty()
		p.SetDoubleValue(float64(n) / 3)
		p.SetTimestamp(when)
	}
}

func fillDebug(m pmetric.Metric, when pcommon.Timestamp) {
	fillGauge(m, when)
	m.SetName("debug_heap")
}

func fillHistogram(m pmetric.Metric, when pcommon.Timestamp) {
	m.SetName("http_latency")
	points := m.SetEmptyHistogram().DataPoints()
	for n := range 4 {
		p := points.AppendEmpty()
		p.ExplicitBounds().FromRaw([]float64{1, 2})
		p.BucketCounts().FromRaw([]uint64{1, 2, uint64(n)})
		p.SetTimestamp(when)
	}
}

func fillExponential(m pmetric.Metric, when pcommon.Timestamp) {
	m.SetName("http_exponential")
	points := m.SetEmptyExponentialHistogram().DataPoints()
	for n := range 4 {
		p := points.AppendEmpty()
		p.SetScale(int32(n))
		p.Positive().BucketCounts().FromRaw([]uint64{5, 0, 7})
		p.SetTimestamp(when)
	}
}

func fillSummary(m pmetric.Metric, when pcommon.Timestamp) {
	m.SetName("http_summary")
	points := m.SetEmptySummary().DataPoints()
	for range 4 {
		p := points.AppendEmpty()
		p.QuantileValues().AppendEmpty().SetQuantile(0.5)
		p.SetTimestamp(when)
	}
}

func ruleLogs() plog.Logs {
	rnd, ld := rand.New(rand.NewPCG(9, 10)), plog.NewLogs()
	for i := range 3 {
		rl := ld.ResourceLogs().AppendEmpty()
		oddResource(i, rl.Resource().Attributes())
		sl := rl.ScopeLogs().AppendEmpty()
		sl.Scope().SetName("scope")
		for n := range 40 {
			r := sl.LogRecords().AppendEmpty()
			r.Body().SetStr(fmt.Sprintf("line %d", n))
			r.SetTimestamp(pcommon.Timestamp(n))
			odd(rnd, n, r.Attributes())
		}
	}
	return ld
}

func ruleTraces() ptrace.Traces {
	rnd, td := rand.New(rand.NewPCG(11, 12)), ptrace.NewTraces()
	for i := range 3 {
		rs := td.ResourceSpans().AppendEmpty()
		oddResource(i, rs.Resource().Attributes())
		ss := rs.ScopeSpans().AppendEmpty()
		ss.Scope().SetName("scope")
		for n := range 40 {
			s := ss.Spans().AppendEmpty()
			s.SetName([]string{"http_get", "debug_x", "GET /"}[n%3])
			s.SetTraceID(pcommon.TraceID{0: 1, 14: byte(i + 1), 15: byte(n + 1)})
			s.SetSpanID(pcommon.SpanID{7: byte(n + 1)})
			s.Events().AppendEmpty().SetName("event")
			odd(rnd, n, s.Attributes())
		}
	}
	return td
}
