package gateway

import (
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// TestUpstreamWins: where upstream fails, its answer is told and not what the guard refused, since nothing was stored. The
// books know both.
func TestUpstreamWins(t *testing.T) {
	g := start(t, strings.Replace(with("    metrics: {limits: {active_series: 2}}\n"), "drain_delay: 0s\n", "drain_delay: 0s\n  guard_warmup: 0s\n", 1))
	f := func(upstream, want int) {
		t.Helper()
		o := g.cloud.Fail(fakecloud.Prometheus, fakecloud.Fault{Status: upstream})
		defer o.Clear()
		dropped, failed := g.metric("gateway_items_dropped_total", "reason", "active_series"), g.metric("gateway_items_failed_total")
		a := g.pushSeries(clientToken, series("a"), series("b"), series("c"))
		if a.StatusCode != want || strings.Contains(a.body, "active_series") {
			t.Errorf("upstream %d: %d %s, want %d and upstream's words", upstream, a.StatusCode, a.body, want)
		}
		if n := g.metric("gateway_items_dropped_total", "reason", "active_series") - dropped; n != 1 {
			t.Errorf("upstream %d: %v items refused, want 1", upstream, n)
		}
		if n := g.metric("gateway_items_failed_total") - failed; n != 2 {
			t.Errorf("upstream %d: %v items failed, want 2", upstream, n)
		}
		g.scrapeBooks()
	}
	f(500, 503)
	f(401, 503)
	f(429, 429)
	f(400, 400)
	if a := g.pushSeries(clientToken, series("a"), series("b"), series("c")); a.StatusCode != 400 || !strings.Contains(a.body, "active_series") {
		t.Errorf("upstream is well: %d %s", a.StatusCode, a.body)
	}
}

// TestRejectedAddsUp: what the guard refuses and what upstream does are one number to an OTLP sender.
func TestRejectedAddsUp(t *testing.T) {
	g := start(t, strings.Replace(with("    metrics: {limits: {active_series: 3}}\n"), "drain_delay: 0s\n", "drain_delay: 0s\n  guard_warmup: 0s\n", 1))
	g.cloud.Fail("", fakecloud.Fault{Reject: 2, Message: "too old"})
	m := pmetric.NewMetrics()
	metric := m.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	metric.SetName("m")
	points := metric.SetEmptyGauge().DataPoints()
	for i := range 4 {
		points.AppendEmpty().Attributes().PutInt("i", int64(i))
	}
	h := header("Content-Type", "application/x-protobuf")
	h.Set("Authorization", "Bearer "+clientToken)
	a := g.post("/v1/metrics", h, must(pmetricotlp.NewExportRequestFromMetrics(m).MarshalProto()))
	answer := pmetricotlp.NewExportResponse()
	if err := answer.UnmarshalProto([]byte(a.body)); err != nil || a.StatusCode != 200 {
		t.Fatalf("%d %q: %v", a.StatusCode, a.body, err)
	}
	p := answer.PartialSuccess()
	if p.RejectedDataPoints() != 3 || !strings.Contains(p.ErrorMessage(), "active_series") || !strings.Contains(p.ErrorMessage(), "too old") {
		t.Errorf("%d points are rejected: %s", p.RejectedDataPoints(), p.ErrorMessage())
	}
	if refused, partial := g.metric("gateway_items_dropped_total", "reason", "active_series"), g.metric("gateway_items_failed_total", "code", "partial"); refused != 1 || partial != 2 {
		t.Errorf("%v refused and %v rejected by upstream, want 1 and 2", refused, partial)
	}
	g.scrapeBooks()
}

// TestReasonsInTheBooks: one item is held back for each reason that labels can give, and what is beside it arrives.
func TestReasonsInTheBooks(t *testing.T) {
	f := func(metrics, reason string, status int, bad prompb.TimeSeries) {
		t.Helper()
		g := start(t, with("    metrics: {"+metrics+"}\n"))
		a := g.pushSeries(clientToken, series("up"), bad)
		if a.StatusCode != status || status != 200 && !strings.Contains(a.body, reason) {
			t.Errorf("%s: %d %s, want %d", reason, a.StatusCode, a.body, status)
		}
		if got := g.arrived(); len(got) != 1 || got[0] != "__name__=up" {
			t.Errorf("%s: arrived %q", reason, got)
		}
		if n, all := g.metric("gateway_items_dropped_total", "reason", reason), g.metric("gateway_items_dropped_total"); n != 1 || all != 1 {
			t.Errorf("%s: %v items dropped, %v for any reason, want 1", reason, n, all)
		}
		g.scrapeBooks()
	}
	f("limits: {labels_per_series: 2}", "labels_per_series", 400, series("a", "b", "1", "c", "2"))
	f("limits: {label_name_bytes: 8B}", "label_name_bytes", 400, series("a", "nine_long", "1"))
	f("limits: {label_value_bytes: 8B}", "label_value_bytes", 400, series("a", "b", "nine long"))
	f("relabel_configs: [{action: drop, source_labels: [x], regex: y}]", "relabel_drop", 200, series("a", "x", "y"))
	f("allow_protected: true, relabel_configs: [{source_labels: [__name__], regex: a, target_label: __name__, replacement: ''}]", "no_labels", 200, series("a"))
}

// TestProtectedLabelIsKept: a rule that turns out to remove what makes a series one does not, and that is counted.
func TestProtectedLabelIsKept(t *testing.T) {
	g := start(t, with("    metrics: {relabel_configs: [{source_labels: [gone], target_label: le}]}\n"))
	for range 2 { // decided once
		if a := g.pushSeries(clientToken, series("x_bucket", "le", "1")); a.StatusCode != 200 {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
		if got := g.arrived(); len(got) != 1 || got[0] != "__name__=x_bucket le=1" {
			t.Errorf("arrived %q", got)
		}
	}
	if n := g.metric("gateway_protected_labels_kept_total", "environment", "prod"); n != 1 {
		t.Errorf("%v labels are counted as kept, want 1", n)
	}
}
