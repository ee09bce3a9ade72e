package fakecloud

import (
	"fmt"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

func (p *Push) checkOTLP() (breaches []string) {
	add := func(format string, args ...any) { breaches = append(breaches, fmt.Sprintf(format, args...)) }
	attrs := func(what string, m pcommon.Map) {
		seen := map[string]bool{}
		for k := range m.All() {
			if k == "" || seen[k] {
				add("%s: attribute %q empty or twice", what, k)
				return
			}
			seen[k] = true
		}
	}
	switch p.Endpoint {
	case OTLPTraces:
		for _, rs := range p.Traces.ResourceSpans().All() {
			attrs("resource", rs.Resource().Attributes())
			for _, ss := range rs.ScopeSpans().All() {
				for _, s := range ss.Spans().All() {
					attrs("span "+s.Name(), s.Attributes())
					checkSpan(s, add)
				}
			}
		}
	case OTLPMetrics:
		for _, rm := range p.Metrics.ResourceMetrics().All() {
			attrs("resource", rm.Resource().Attributes())
			for _, sm := range rm.ScopeMetrics().All() {
				for _, m := range sm.Metrics().All() {
					checkMetric(m, add, attrs)
				}
			}
		}
	case OTLPLogs:
		for _, rl := range p.Records.ResourceLogs().All() {
			attrs("resource", rl.Resource().Attributes())
			for _, sl := range rl.ScopeLogs().All() {
				for _, l := range sl.LogRecords().All() {
					attrs("log record", l.Attributes())
					checkRecord(l, add)
				}
			}
		}
	}
	return breaches
}

// checkSpan is as strict as Tempo, which refuses a whole push for one bad id, and wants times, too.
func checkSpan(s ptrace.Span, add func(string, ...any)) {
	trace, span := s.TraceID(), s.SpanID()
	switch {
	case isZero(trace[:]):
		add("span %s: no trace id", s.Name())
	case isZero(span[:]):
		add("span %s: no span id", s.Name())
	case s.StartTimestamp() == 0 || s.EndTimestamp() == 0:
		add("span %s: no start or end", s.Name())
	case s.EndTimestamp() < s.StartTimestamp():
		add("span %s: ends before it starts", s.Name())
	}
}

func checkMetric(m pmetric.Metric, add func(string, ...any), attrs func(string, pcommon.Map)) {
	if m.Name() == "" {
		add("metric without name")
	}
	point := func(ts pcommon.Timestamp, a pcommon.Map) {
		if ts == 0 {
			add("metric %s: point without timestamp", m.Name())
		}
		attrs("metric "+m.Name(), a)
	}
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		for _, d := range m.Gauge().DataPoints().All() {
			point(d.Timestamp(), d.Attributes())
		}
	case pmetric.MetricTypeSum:
		for _, d := range m.Sum().DataPoints().All() {
			point(d.Timestamp(), d.Attributes())
		}
		temporal(m, m.Sum().AggregationTemporality(), add)
	case pmetric.MetricTypeHistogram:
		for _, d := range m.Histogram().DataPoints().All() {
			point(d.Timestamp(), d.Attributes())
			if b := d.BucketCounts().Len(); b != 0 && b != d.ExplicitBounds().Len()+1 {
				add("metric %s: %d buckets for %d bounds", m.Name(), b, d.ExplicitBounds().Len())
			}
		}
		temporal(m, m.Histogram().AggregationTemporality(), add)
	case pmetric.MetricTypeExponentialHistogram:
		for _, d := range m.ExponentialHistogram().DataPoints().All() {
			point(d.Timestamp(), d.Attributes())
		}
		temporal(m, m.ExponentialHistogram().AggregationTemporality(), add)
	case pmetric.MetricTypeSummary:
		for _, d := range m.Summary().DataPoints().All() {
			point(d.Timestamp(), d.Attributes())
		}
	default:
		add("metric %s: no data", m.Name())
	}
}

func temporal(m pmetric.Metric, t pmetric.AggregationTemporality, add func(string, ...any)) {
	if t == pmetric.AggregationTemporalityUnspecified {
		add("metric %s: no aggregation temporality", m.Name())
	}
}

func checkRecord(l plog.LogRecord, add func(string, ...any)) {
	if l.Timestamp() == 0 && l.ObservedTimestamp() == 0 {
		add("log record without time")
	}
}
