package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// otlpRules come before the others: what only OTLP has to show.
var otlpRules = []string{
	`{source_labels: [resource.service.name, scope.name], separator: "/", target_label: service}`,
	`{action: drop, source_labels: [resource.tags, port], separator: "", regex: "\\[\"a\",2\\]8080"}`,
	`{source_labels: [port], regex: "9090", target_label: port, replacement: "default"}`,
	`{action: labelmap, regex: "resource.service.(.*)", replacement: "mapped_${1}"}`,
}

// item is one data point, log record or span with what it stands in, alone.
type item struct {
	signal   string
	metrics  pmetric.Metrics
	logs     plog.Logs
	traces   ptrace.Traces
	resource pcommon.Resource
	scope    pcommon.InstrumentationScope
	attrs    pcommon.Map
	name     string
	rename   func(string)
}

// render is all of an item as text, whatever the order of its attributes.
func (it item) render(t testing.TB) string {
	t.Helper()
	sortAttributes(it.resource.Attributes())
	sortAttributes(it.attrs)
	var out []byte
	var err error
	switch it.signal {
	case "metrics":
		out, err = (&pmetric.JSONMarshaler{}).MarshalMetrics(it.metrics)
	case "logs":
		out, err = (&plog.JSONMarshaler{}).MarshalLogs(it.logs)
	default:
		out, err = (&ptrace.JSONMarshaler{}).MarshalTraces(it.traces)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// metricItems takes md apart. It fails where something stands there empty.
func metricItems(t testing.TB, md pmetric.Metrics) (all []item) {
	t.Helper()
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				n := 0
				eachPoint(m, func(pcommon.Map) { n++ })
				if n == 0 {
					t.Errorf("metric %s has no points", m.Name())
				}
				for i := range n {
					one := pmetric.NewMetrics()
					r := one.ResourceMetrics().AppendEmpty()
					s := r.ScopeMetrics().AppendEmpty()
					single := s.Metrics().AppendEmpty()
					rm.Resource().CopyTo(r.Resource())
					sm.Scope().CopyTo(s.Scope())
					m.CopyTo(single)
					keepPoint(single, i)
					it := item{signal: "metrics", metrics: one, resource: r.Resource(), scope: s.Scope(), name: m.Name(), rename: single.SetName}
					eachPoint(single, func(attrs pcommon.Map) { it.attrs = attrs })
					all = append(all, it)
				}
			}
			if sm.Metrics().Len() == 0 {
				t.Error("a scope has no metrics")
			}
		}
	}
	return all
}

// keepPoint removes all points of m but the i-th.
func keepPoint(m pmetric.Metric, i int) {
	n := -1
	other := func() bool { n++; return n != i }
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		m.Gauge().DataPoints().RemoveIf(func(pmetric.NumberDataPoint) bool { return other() })
	case pmetric.MetricTypeSum:
		m.Sum().DataPoints().RemoveIf(func(pmetric.NumberDataPoint) bool { return other() })
	case pmetric.MetricTypeHistogram:
		m.Histogram().DataPoints().RemoveIf(func(pmetric.HistogramDataPoint) bool { return other() })
	case pmetric.MetricTypeExponentialHistogram:
		m.ExponentialHistogram().DataPoints().RemoveIf(func(pmetric.ExponentialHistogramDataPoint) bool { return other() })
	case pmetric.MetricTypeSummary:
		m.Summary().DataPoints().RemoveIf(func(pmetric.SummaryDataPoint) bool { return other() })
	}
}

func logItems(t testing.TB, ld plog.Logs) (all []item) {
	t.Helper()
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, record := range sl.LogRecords().All() {
				one := plog.NewLogs()
				r := one.ResourceLogs().AppendEmpty()
				s := r.ScopeLogs().AppendEmpty()
				single := s.LogRecords().AppendEmpty()
				rl.Resource().CopyTo(r.Resource())
				sl.Scope().CopyTo(s.Scope())
				record.CopyTo(single)
				all = append(all, item{signal: "logs", logs: one, resource: r.Resource(), scope: s.Scope(), attrs: single.Attributes()})
			}
			if sl.LogRecords().Len() == 0 {
				t.Error("a scope has no records")
			}
		}
	}
	return all
}

func spanItems(t testing.TB, td ptrace.Traces) (all []item) {
	t.Helper()
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				one := ptrace.NewTraces()
				r := one.ResourceSpans().AppendEmpty()
				s := r.ScopeSpans().AppendEmpty()
				single := s.Spans().AppendEmpty()
				rs.Resource().CopyTo(r.Resource())
				ss.Scope().CopyTo(s.Scope())
				span.CopyTo(single)
				all = append(all, item{signal: "traces", traces: one, resource: r.Resource(), scope: s.Scope(), attrs: single.Attributes(), name: span.Name(), rename: single.SetName})
			}
			if ss.Spans().Len() == 0 {
				t.Error("a scope has no spans")
			}
		}
	}
	return all
}

// stamp is what the configuration of these tests puts on an item.
func (it item) stamp() {
	if it.signal == "metrics" {
		it.attrs.PutStr("environment", "prod")
	} else {
		it.resource.Attributes().PutStr("environment", "prod")
	}
}

// relabel gives it what Prometheus' own relabelling makes of it: of its name, its attributes and, to look at, what it
// stands in.
func (it item) relabel(rules []*relabel.Config) (keep bool) {
	view := labels.NewBuilder(labels.EmptyLabels())
	if it.rename != nil {
		view.Set(labels.MetricName, it.name)
	}
	for k, v := range it.attrs.All() {
		view.Set(k, v.AsString())
	}
	for k, v := range it.resource.Attributes().All() {
		view.Set("resource."+k, v.AsString())
	}
	view.Set("scope.name", it.scope.Name()).Set("scope.version", it.scope.Version())
	before := view.Labels()
	if !relabel.ProcessBuilder(view, rules...) {
		return false
	}
	after := view.Labels()
	it.attrs.RemoveIf(func(k string, _ pcommon.Value) bool { return !after.Has(k) })
	after.Range(func(l labels.Label) {
		switch {
		case l.Name == labels.MetricName:
			it.rename(l.Value)
		case strings.HasPrefix(l.Name, "__tmp"), strings.HasPrefix(l.Name, "resource."), strings.HasPrefix(l.Name, "scope."):
		case l.Value != before.Get(l.Name):
			it.attrs.PutStr(l.Name, l.Value)
		}
	})
	return true
}

// expected is what should arrive of items, sorted, and how many the rules hold back.
func expected(t testing.TB, rules []*relabel.Config, items []item) (want []string, dropped int) {
	t.Helper()
	for _, it := range items {
		it.stamp()
		if !it.relabel(rules) {
			dropped++
			continue
		}
		want = append(want, it.render(t))
	}
	if len(want) == 0 || dropped == 0 {
		t.Fatalf("the rules keep %d items and drop %d", len(want), dropped)
	}
	slices.Sort(want)
	return want, dropped
}

func rendered(t testing.TB, items []item) (out []string) {
	t.Helper()
	for _, it := range items {
		out = append(out, it.render(t))
	}
	slices.Sort(out)
	return out
}

// What arrives of OTLP is what Prometheus' own relabelling makes of each point's, record's and span's view.
func TestRulesOTLP(t *testing.T) {
	t.Parallel()
	rc := newOTLPReceiver(t)
	upstreams := "    upstreams:\n" + newUpstream(t, rc.proxy()).yaml("otlp", "", "")
	with := func(rules []string) string {
		section := "{labels: {environment: prod}, " + rulesKey(rules) + "}\n"
		return upstreams + "    metrics: " + section + "    logs: " + section + "    traces: " + section
	}
	first, second := slices.Concat(otlpRules, firstRules), slices.Concat(otlpRules, secondRules)
	g := startGateway(t, with(first))
	dropped, pushes := 0, 0
	phase := func(name, transport string, rules []string) {
		t.Helper()
		rc.reset()
		pushes++
		c, ctx, reference := newCollector(t, g, transport, "gzip"), background(t), parseRules(t, rules)
		md, ld, td := ruleMetrics(pushes), ruleLogs(), ruleTraces()
		check := func(signal string, err error, sent []item, got func() []item) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s, %s: %v", name, signal, err)
			}
			want, n := expected(t, reference, sent)
			dropped += n
			checkLines(t, name+", "+signal, want, rendered(t, got()))
		}
		check("metrics", c.metrics.ConsumeMetrics(ctx, md), metricItems(t, md), func() []item { return metricItems(t, rc.metrics.AllMetrics()[0]) })
		check("logs", c.logs.ConsumeLogs(ctx, ld), logItems(t, ld), func() []item { return logItems(t, rc.logs.AllLogs()[0]) })
		check("traces", c.ConsumeTraces(ctx, td), spanItems(t, td), func() []item { return spanItems(t, rc.traces.AllTraces()[0]) })
	}
	phase("unknown", "http", first)
	phase("known", "http", first)
	phase("known, by gRPC", "grpc", first)
	g.reload(prod(with(second)))
	phase("after a reload", "grpc", second)
	phase("known after it", "http", second)
	g.checkBooks(map[string]float64{"relabel_drop": float64(dropped)})
	if n := g.metric("gateway_rule_items_dropped_total"); int(n) != dropped {
		t.Errorf("gateway_rule_items_dropped_total is %g, want %d", n, dropped)
	}
}
