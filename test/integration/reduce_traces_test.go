package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// resourceRules read and change OTLP resource attributes, under their own names.
var resourceRules = []string{
	`{action: drop, source_labels: [service.name], regex: "service-1"}`,
	`{source_labels: [service.name, environment], separator: "/", target_label: service.full}`,
	`{action: labeldrop, regex: "process\\..*"}`,
	`{action: uppercase, source_labels: [service.name], target_label: service.name}`,
}

// relabelResource gives the resource of it what Prometheus' own relabelling makes of its attributes.
func (it item) relabelResource(rules []*relabel.Config) (keep bool) {
	view := labels.NewBuilder(labels.EmptyLabels())
	attrs := it.resource.Attributes()
	for k, v := range attrs.All() {
		view.Set(k, v.AsString())
	}
	before := view.Labels()
	if !relabel.ProcessBuilder(view, rules...) {
		return false
	}
	after := view.Labels()
	attrs.RemoveIf(func(k string, _ pcommon.Value) bool { return !after.Has(k) })
	after.Range(func(l labels.Label) {
		if l.Value != before.Get(l.Name) {
			attrs.PutStr(l.Name, l.Value)
		}
	})
	return true
}

// Resources are dropped whole or changed, and rules for items see them as they then are; of the three signals alike.
func TestRulesResources(t *testing.T) {
	t.Parallel()
	section := "{labels: {environment: prod}, resource_" + rulesKey(resourceRules) + ", " + rulesKey(otlpRules) + "}\n"
	g, _, rc := newOTLPGateway(t, "", "    metrics: "+section+"    logs: "+section+"    traces: "+section)
	onResources, onItems := parseRules(t, resourceRules), parseRules(t, otlpRules)
	dropped, byResource := 0, 0
	check := func(signal string, sent, got []item) {
		t.Helper()
		var want []string
		for _, it := range sent {
			it.stamp()
			if !it.relabelResource(onResources) {
				dropped++
				byResource++
				continue
			}
			if !it.relabel(onItems) {
				dropped++
				continue
			}
			want = append(want, it.render(t))
		}
		slices.Sort(want)
		checkLines(t, signal, want, rendered(t, got))
	}
	for _, transport := range []string{"http", "grpc"} {
		rc.reset()
		c, ctx := newCollector(t, g, transport, "gzip"), background(t)
		md, ld, td := ruleMetrics(1), ruleLogs(), ruleTraces()
		for _, err := range []error{c.metrics.ConsumeMetrics(ctx, md), c.logs.ConsumeLogs(ctx, ld), c.ConsumeTraces(ctx, td)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		check(transport+", metrics", metricItems(t, md), metricItems(t, rc.metrics.AllMetrics()[0]))
		check(transport+", logs", logItems(t, ld), logItems(t, rc.logs.AllLogs()[0]))
		check(transport+", traces", spanItems(t, td), spanItems(t, rc.traces.AllTraces()[0]))
	}
	g.checkBooks(map[string]float64{"relabel_drop": float64(dropped)})
	if n := g.metric("gateway_rule_items_dropped_total", `rule="resource_0"`); int(n) != byResource || byResource == 0 || byResource == dropped {
		t.Errorf("the resource rule is booked with %g items, want %d of %d", n, byResource, dropped)
	}
}

// Rules and sampling together: what a rule drops is booked as that, what is left is sampled by trace.
func TestRulesAndSampling(t *testing.T) {
	t.Parallel()
	const n, ratio = 1000, 0.25
	g, _, rc := newOTLPGateway(t, "", `    traces:
      labels: {environment: prod}
      sample_ratio: 0.25
      keep_errors: true
      resource_relabel_configs: [{action: drop, source_labels: [service.name], regex: "loadgen"}]
      relabel_configs:
        - {action: drop, source_labels: [__name__, http.route], separator: " ", regex: "GET /(healthz|metrics)"}
        - {action: replace, source_labels: [__name__], regex: "GET /users/[0-9]+", target_label: __name__, replacement: "GET /users/:id"}
        - {action: labeldrop, regex: "user\\..*"}
`)
	td := ptrace.NewTraces()
	var want []string
	books := map[string]float64{"relabel_drop": 0, "sampled": 0}
	for i, id := range traceIDs(n) {
		one := tracesOf([]string{"checkout", "loadgen"}[i%10/9], id)
		rs := one.ResourceSpans().At(0)
		span := rs.ScopeSpans().At(0).Spans().At(0)
		span.SetName([]string{"GET", fmt.Sprintf("GET /users/%d", i)}[i%2])
		span.Attributes().PutStr("http.route", []string{"/healthz", "/users", "/metrics"}[i%3])
		span.Attributes().PutStr("user.id", fmt.Sprint(i))
		span.Attributes().PutInt("user.age", int64(i))
		if i%7 == 0 {
			span.Status().SetCode(ptrace.StatusCodeError)
		}
		rs.CopyTo(td.ResourceSpans().AppendEmpty())

		switch kept := shouldKeep(t, ratio, id); {
		case i%10 == 9, i%2 == 0 && i%3 != 1:
			books["relabel_drop"]++
		case !kept && i%7 != 0:
			books["sampled"]++
		default:
			rs.Resource().Attributes().PutStr("environment", "prod")
			span.Attributes().RemoveIf(func(k string, _ pcommon.Value) bool { return strings.HasPrefix(k, "user.") })
			if i%2 == 1 {
				span.SetName("GET /users/:id")
			}
			if kept {
				span.TraceState().FromRaw("ot=th:c")
			}
			want = append(want, spanItems(t, one)[0].render(t))
		}
	}
	slices.Sort(want)
	for range 2 {
		for _, transport := range []string{"http", "grpc"} {
			rc.reset()
			if err := newCollector(t, g, transport, "gzip").ConsumeTraces(background(t), td); err != nil {
				t.Fatal(err)
			}
			checkLines(t, transport, want, rendered(t, spanItems(t, rc.traces.AllTraces()[0])))
		}
	}
	for reason := range books {
		books[reason] *= 4
	}
	g.checkBooks(books)
}
