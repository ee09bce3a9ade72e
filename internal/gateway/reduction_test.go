package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// series is a series with one sample of now.
func series(name string, pairs ...string) prompb.TimeSeries {
	s := prompb.TimeSeries{
		Labels:  []prompb.Label{{Name: "__name__", Value: name}},
		Samples: []prompb.Sample{{Value: 1, Timestamp: time.Now().UnixMilli()}},
	}
	for i := 0; i < len(pairs); i += 2 {
		s.Labels = append(s.Labels, prompb.Label{Name: pairs[i], Value: pairs[i+1]})
	}
	return s
}

// pushSeries sends series by remote_write v1.
func (g *gatewayTest) pushSeries(token string, all ...prompb.TimeSeries) answer {
	g.t.Helper()
	body := snappy.Encode(nil, must((&prompb.WriteRequest{Timeseries: all}).Marshal()))
	h := header("Content-Type", "application/x-protobuf", "Content-Encoding", "snappy")
	h.Set("Authorization", "Bearer "+token)
	return g.post("/api/v1/push", h, body)
}

// arrived are the series of the newest push that upstream has, as text.
func (g *gatewayTest) arrived() (all []string) {
	g.t.Helper()
	for _, ts := range g.newest(metricsUser, fakecloud.Prometheus).V1.Timeseries {
		var b strings.Builder
		for _, l := range ts.Labels {
			fmt.Fprintf(&b, "%s=%s ", l.Name, l.Value)
		}
		all = append(all, strings.TrimSpace(b.String()))
	}
	return all
}

// status reads a path of the status API into v.
func (g *gatewayTest) status(path string, v any) {
	g.t.Helper()
	res, err := http.Get("http://" + g.addr.Admin + path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&struct {
		Data any `json:"data"`
	}{v}); err != nil {
		g.t.Fatal(err)
	}
}

// with puts what is given under the environment of the default configuration.
func with(section string) string { return defaultServer + defaultEnvironment + section }

func TestRules(t *testing.T) {
	g := start(t, with(`    metrics:
      labels: {environment: prod}
      relabel_configs:
        - {action: drop, source_labels: [__name__], regex: "go_.*"}
        - {action: replace, source_labels: [instance], regex: "(.*):.*", target_label: host}
        - {action: labeldrop, regex: "instance"}
`))
	for range 2 { // as a stranger, and known
		a := g.pushSeries(clientToken, series("up", "instance", "a:1"), series("go_threads", "instance", "a:1"), series("up", "instance", "b:1"))
		if a.StatusCode != 200 {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
		want := []string{"__name__=up environment=prod host=a", "__name__=up environment=prod host=b"}
		if got := g.arrived(); !slices.Equal(got, want) {
			t.Errorf("arrived %q, want %q", got, want)
		}
	}
	if n := g.metric("gateway_rule_items_dropped_total", "environment", "prod", "signal", "metrics", "rule", "0"); n != 2 {
		t.Errorf("rule 0 dropped %v items, want 2", n)
	}
	if n := g.metric("gateway_items_dropped_total", "reason", "relabel_drop"); n != 2 {
		t.Errorf("%v items dropped, want 2", n)
	}
	if n := g.metric("gateway_active_series", "environment", "prod", "client", "app", "signal", "metrics"); n != 2 {
		t.Errorf("%v active series, want 2", n)
	}
	// Nothing left: success, and upstream is not called.
	before := g.cloud.Stats(metricsUser, fakecloud.Prometheus).Requests
	if a := g.pushSeries(clientToken, series("go_threads", "instance", "a:1")); a.StatusCode != 200 && a.StatusCode != 204 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if after := g.cloud.Stats(metricsUser, fakecloud.Prometheus).Requests; after != before {
		t.Error("upstream was called with nothing")
	}
	g.scrapeBooks()
}

func TestGuard(t *testing.T) {
	limits := `    metrics:
      limits: {active_series_per_metric: 10%s}
`
	f := func(extra string, want int, arrived int) {
		t.Helper()
		g := start(t, strings.Replace(with(fmt.Sprintf(limits, extra)), "drain_delay: 0s\n", "drain_delay: 0s\n  guard_warmup: 0s\n", 1))
		var all []prompb.TimeSeries
		for i := range 100 {
			all = append(all, series("requests_total", "job", "shop", "user_id", fmt.Sprintf("u%02d", i)))
		}
		all = append(all, series("up", "job", "shop"))
		a := g.pushSeries(clientToken, all...)
		if a.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", extra, a.StatusCode, a.body, want)
		}
		if got := len(g.arrived()); got != arrived {
			t.Errorf("%s: %d series arrived, want %d", extra, got, arrived)
		}
		if want == 400 {
			for _, word := range []string{"prod", "app", "requests_total", "user_id", "u1", "10", "environments.prod.metrics.limits.active_series_per_metric"} {
				if !strings.Contains(a.body, word) {
					t.Errorf("the answer %q does not name %q", a.body, word)
				}
			}
		}
		// Known ones go on, without end.
		if a := g.pushSeries(clientToken, all[:10]...); a.StatusCode != 200 {
			t.Errorf("%s: known series: %d %s", extra, a.StatusCode, a.body)
		}
		if observed := g.metric("gateway_items_observed_total"); (observed > 0) != strings.Contains(extra, "observe") {
			t.Errorf("%s: %v items observed", extra, observed)
		}
		if extra != "" && strings.Contains(extra, "observe") {
			return
		}
		var report cardinalityStatus
		g.status("/api/v1/status/cardinality", &report)
		if text := fmt.Sprintf("%+v", report); !strings.Contains(text, "requests_total") || !strings.Contains(text, "user_id") {
			t.Errorf("the report %s names neither metric nor label", text)
		}
		g.scrapeBooks()
	}
	f("", 400, 11)
	f(", refused_answer: success", 200, 11)
	f(", on_cardinality: observe", 200, 101)
}

func TestRateLimits(t *testing.T) {
	f := func(limits string, want int, reason string) {
		t.Helper()
		g := start(t, with("    metrics: {limits: {"+limits+"}}\n"))
		var last answer
		for range 5 {
			last = g.pushSeries(clientToken, series("up"), series("down"))
		}
		if last.StatusCode != want || last.Header.Get("Retry-After") == "" || !strings.Contains(last.body, "environments.prod.metrics.limits.") {
			t.Errorf("%s: %d %v %q, want %d and Retry-After", limits, last.StatusCode, last.Header, last.body, want)
		}
		if n := g.metric("gateway_items_dropped_total", "reason", "rate_limit"); (n > 0) != (reason != "") {
			t.Errorf("%s: %v items dropped by the rate limit", limits, n)
		}
		g.scrapeBooks()
	}
	f("samples_per_second: 0.1, burst_seconds: 20", 429, "rate_limit")
	f("bytes_per_second: 1B, burst_seconds: 50", 429, "rate_limit")
	f("requests_per_second: 0.1", 429, "") // refused before it is known how many items there are
	f("samples_per_second: 0.1, burst_seconds: 20, on_rate_limit: backpressure", 503, "rate_limit")
}

// What upstream does not take is not charged.
func TestTokensComeBack(t *testing.T) {
	g := start(t, with("    metrics: {limits: {samples_per_second: 0.001, burst_seconds: 2000}}\n"))
	outage := g.cloud.Fail("", fakecloud.Fault{Status: 500})
	for range 10 {
		if a := g.pushSeries(clientToken, series("a"), series("b")); a.StatusCode != 503 {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
	}
	outage.Clear()
	if a := g.pushSeries(clientToken, series("a"), series("b")); a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if a := g.pushSeries(clientToken, series("a")); a.StatusCode != 429 {
		t.Fatalf("%d %s, want 429: two samples are all there are", a.StatusCode, a.body)
	}
}

func TestBackpressureOnUpstream429(t *testing.T) {
	f := func(limits, message string, want int) {
		t.Helper()
		g := start(t, with("    metrics: {limits: {"+limits+"}}\n"))
		g.cloud.Fail("", fakecloud.Fault{Status: 429, Body: message})
		if a := g.pushSeries(clientToken, series("up")); a.StatusCode != want {
			t.Errorf("{%s} %q: %d, want %d", limits, message, a.StatusCode, want)
		}
		if n := g.metric("gateway_items_failed_total", "code", "429"); n != 1 {
			t.Errorf("%v items failed with 429, want 1", n)
		}
	}
	const rate, active = "the request has been rejected because the tenant exceeded the ingestion rate limit", "per-user series limit of 150000 exceeded (err-mimir-max-series-per-user)"
	f("", rate, 429)
	f("on_rate_limit: backpressure", rate, 503)
	f("on_rate_limit: backpressure", active, 429)
	f("on_rate_limit: backpressure", "Maximum active stream limit exceeded, reduce the number of active streams", 429)
	f("on_rate_limit: backpressure", "Per stream rate limit exceeded (limit: 3MB/sec)", 503)
}

func TestExempt(t *testing.T) {
	g := start(t, strings.Replace(with("    metrics: {limits: {samples_per_second: 0.001, burst_seconds: 1, active_series: 1}}\n"),
		"{bearer_token_file: secrets/app}", "{bearer_token_file: secrets/app, exempt: true}", 1))
	for range 3 {
		if a := g.pushSeries(clientToken, series("a"), series("b"), series("c")); a.StatusCode != 200 {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
	}
}

func TestReductionOff(t *testing.T) {
	g := start(t, with(`    reduction: false
    metrics: {labels: {environment: prod}, limits: {active_series: 1}, relabel_configs: [{action: drop, source_labels: [__name__], regex: .+}]}
`))
	if a := g.pushSeries(clientToken, series("a"), series("b")); a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if got := g.arrived(); len(got) != 2 || got[0] != "__name__=a environment=prod" {
		t.Errorf("arrived %q", got)
	}
}

func TestCollisionIsShown(t *testing.T) {
	g := start(t, with("    metrics: {relabel_configs: [{action: labeldrop, regex: pod}]}\n"))
	if a := g.pushSeries(clientToken, series("up", "pod", "a"), series("up", "pod", "b")); a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if got := g.arrived(); !slices.Equal(got, []string{"__name__=up pod=a", "__name__=up pod=b"}) {
		t.Errorf("arrived %q", got)
	}
	var report cardinalityStatus
	g.status("/api/v1/status/cardinality", &report)
	if len(report.Collisions) != 1 || report.Collisions[0].Metric != "up" || len(report.Collisions[0].Series) != 2 {
		t.Errorf("collisions %+v", report.Collisions)
	}
	if n := g.metric("gateway_collision_metrics", "environment", "prod", "policy", "suspend"); n != 1 {
		t.Errorf("%v metrics suspended, want 1", n)
	}
	if log := g.logs.String(); !strings.Contains(log, "on_collision=suspend") {
		t.Errorf("the log does not tell of it:\n%s", log)
	}
}

// TestResourcesThatBecomeOne: rules for resources make no two live series one either, and let a hand-over pass.
func TestResourcesThatBecomeOne(t *testing.T) {
	f := func(rule string, second time.Duration, stored int) {
		t.Helper()
		g := start(t, with("    metrics: {resource_relabel_configs: ["+rule+"]}\n"))
		now, rejected := time.Now(), 0
		for i := range 4 { // a, b, a, b; or a, a, b, b
			m := pmetric.NewMetrics()
			rm := m.ResourceMetrics().AppendEmpty()
			pod, at := i%2, now.Add(time.Duration(i/2)*15*time.Second)
			if second > 0 {
				pod, at = i/2, now.Add(time.Duration(i%2)*15*time.Second+time.Duration(i/2)*second)
			}
			rm.Resource().Attributes().PutStr("service.instance.id", fmt.Sprint("pod-", pod))
			ps := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
			ps.SetName("m")
			ps.SetEmptyGauge().DataPoints().AppendEmpty().SetTimestamp(pcommon.NewTimestampFromTime(at.Add(-time.Hour)))
			h := header("Content-Type", "application/x-protobuf")
			h.Set("Authorization", "Bearer "+clientToken)
			a := g.post("/v1/metrics", h, must(pmetricotlp.NewExportRequestFromMetrics(m).MarshalProto()))
			if a.StatusCode != 200 {
				t.Fatalf("%d %s", a.StatusCode, a.body)
			}
			answer := pmetricotlp.NewExportResponse()
			if err := answer.UnmarshalProto([]byte(a.body)); err != nil {
				t.Fatal(err)
			}
			rejected += int(answer.PartialSuccess().RejectedDataPoints())
		}
		if rejected != 4-stored {
			t.Errorf("%s: %d points are refused, want %d", rule, rejected, 4-stored)
		}
		if n := g.metric("gateway_items_dropped_total", "reason", "collision"); n != float64(rejected) {
			t.Errorf("%s: %v points counted as collisions, want %d", rule, n, rejected)
		}
		g.scrapeBooks()
	}
	f("{action: labeldrop, regex: service.instance.id}", 0, 2)
	f("{target_label: service.instance.id, replacement: x}", 0, 2)
	f("{target_label: other, replacement: x}", 0, 4)
	f("{action: labeldrop, regex: service.instance.id}", time.Minute, 4)
}

func TestExplain(t *testing.T) {
	g := start(t, with(`    metrics: {labels: {environment: prod}, relabel_configs: [{action: labeldrop, regex: pod}], limits: {labels_per_series: 2}}
`))
	f := func(question string, status int, want ...string) {
		t.Helper()
		res, err := http.Post("http://"+g.addr.Admin+"/api/v1/explain", "application/json", strings.NewReader(question))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != status {
			t.Errorf("%s: %d %s, want %d", question, res.StatusCode, text, status)
		}
		for _, w := range want {
			if !strings.Contains(string(text), w) {
				t.Errorf("%s: %s does not say %s", question, text, w)
			}
		}
	}
	f(`{"environment":"prod","labels":"up{pod=\"a\"}"}`, 200, `"stamps":[{"name":"environment"`, `"matched":true`, `"before":"a"`)
	f(`{"environment":"prod","labels":"up{pod=\"a\",x=\"1\",y=\"2\"}"}`, 200, "labels_per_series")
	f(`{"environment":"dev","labels":"up"}`, 400, "there is no environment")
	f(`{"environment":"prod","client":"nobody","labels":"up"}`, 400, "no client")
	f(`{"environment":"prod","labels":"up{"}`, 400, "labels")
	f(`{"environment":"prod","signal":"smoke","labels":"up"}`, 400, "none of")
	f(`{"env":"prod"}`, 400, "unknown field")
	f(`no json`, 400, "no JSON")
}

// A kilobyte on the wire may show gigabytes: an attribute of a resource is part of each of its points.
func TestSharedAttributesAreBounded(t *testing.T) {
	small := strings.Replace(defaultServer, "drain_delay: 0s\n", "drain_delay: 0s\n  max_body_bytes: 64KiB\n  max_decoded_bytes: 64KiB\n", 1)
	g := start(t, small+defaultEnvironment)
	f := func(points int, want int) {
		t.Helper()
		m := pmetric.NewMetrics()
		rm := m.ResourceMetrics().AppendEmpty()
		rm.Resource().Attributes().PutStr("shared", strings.Repeat("v", 10_000))
		ps := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		ps.SetName("m")
		gauge := ps.SetEmptyGauge().DataPoints()
		for i := range points {
			gauge.AppendEmpty().Attributes().PutInt("i", int64(i))
		}
		h := header("Content-Type", "application/x-protobuf")
		h.Set("Authorization", "Bearer "+clientToken)
		a := g.post("/v1/metrics", h, must(pmetricotlp.NewExportRequestFromMetrics(m).MarshalProto()))
		if a.StatusCode != want || want == 413 && !strings.Contains(string(a.body), "server.max_decoded_bytes=65536") {
			t.Errorf("%d points: %d %s, want %d", points, a.StatusCode, a.body, want)
		}
	}
	f(20, 200)
	f(100, 413)
	if n := g.metric("gateway_items_failed_total", "code", "413"); n != 100 {
		t.Errorf("%v items failed, want 100", n)
	}
	g.scrapeBooks()
}

// Garbage counts as requests: it may not come without end because it is refused.
func TestGarbageIsNotFree(t *testing.T) {
	g := start(t, with("    metrics: {limits: {requests_per_second: 0.2, burst_seconds: 10}}\n"))
	garbage := func() int {
		h := header("Content-Type", "application/x-protobuf", "Content-Encoding", "snappy")
		return g.post("/api/v1/push", h, []byte("no snappy")).StatusCode
	}
	if a, b, c := garbage(), garbage(), garbage(); a != 400 || b != 400 || c != 429 {
		t.Errorf("answers %d %d %d, want 400 400 429", a, b, c)
	}
}
