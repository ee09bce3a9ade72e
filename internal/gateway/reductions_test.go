package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// TestLimitMetrics: every limit in force is shown with what is used of it, the bounds of the process among them.
func TestLimitMetrics(t *testing.T) {
	g := start(t, strings.Replace(with(`    metrics:
      limits: {active_series: 8, samples_per_second: 10, values_per_label: 5}
`), "drain_delay: 0s\n", "drain_delay: 0s\n  max_series: 1000\n  max_inflight_bytes: 64MiB\n", 1))
	if a := g.pushSeries(clientToken, series("up", "instance", "a"), series("up", "instance", "b")); a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	f := func(env, signal, limit string, value, used float64) {
		t.Helper()
		where := []string{"environment", env, "client", "", "signal", signal, "limit", limit}
		if n := g.metric("gateway_limit", where...); n != value {
			t.Errorf("gateway_limit of %s is %v, want %v", limit, n, value)
		}
		if n := g.metric("gateway_limit_used_ratio", where...); n > used || n < used*.8 { // a bucket fills as time passes
			t.Errorf("gateway_limit_used_ratio of %s is %v, want %v", limit, n, used)
		}
	}
	f("prod", "metrics", "active_series", 8, .25)
	f("prod", "metrics", "samples_per_second", 10, .02)
	f("prod", "metrics", "values_per_label", 5, 0)
	f("", "", "max_series", 1000, .002)
	f("", "", "max_inflight_bytes", 64<<20, 0)
}

// TestLimitsInForce: the limits of an environment are shown whichever of its clients are exempt, and none that nobody is
// held to.
func TestLimitsInForce(t *testing.T) {
	f := func(clients, section string, want float64) {
		t.Helper()
		yaml := strings.Replace(with(section+"    metrics: {limits: {active_series: 8}}\n"), "      app: {bearer_token_file: secrets/app}\n", clients, 1)
		g := start(t, yaml, "secrets/other", "a-token-of-another-client")
		if n := g.metric("gateway_limit", "environment", "prod", "client", "", "signal", "metrics", "limit", "active_series"); n != want {
			t.Errorf("%s%s: gateway_limit is %v, want %v", clients, section, n, want)
		}
		var report cardinalityStatus
		g.status("/api/v1/status/cardinality?signal=metrics", &report)
		got := 0
		for _, s := range report.Spaces {
			got = s.Limit
		}
		if got != int(want) {
			t.Errorf("%s%s: the report shows %d, want %v", clients, section, got, want)
		}
	}
	f("      app: {bearer_token_file: secrets/app}\n", "", 8)
	f("      app: {bearer_token_file: secrets/app, exempt: true}\n      other: {bearer_token_file: secrets/other}\n", "", 8)
	f("      app: {bearer_token_file: secrets/app}\n      other: {bearer_token_file: secrets/other, exempt: true}\n", "", 8)
	f("      app: {bearer_token_file: secrets/app, exempt: true}\n", "", 0)
	f("      app: {bearer_token_file: secrets/app}\n", "    reduction: false\n", 0)
}

// TestDecodedBytes: the books say how large a push was without its compression.
func TestDecodedBytes(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	s := samples()["loki"]
	if a := g.post(s.path, s.header, s.body); a.StatusCode/100 != 2 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	want := float64(must(snappy.DecodedLen(s.body)))
	if n := g.metric("gateway_decoded_bytes_total", "environment", "prod", "client", "app", "signal", "logs"); n != want {
		t.Errorf("%v bytes decoded, want %v", n, want)
	}
}

// TestUnbalanced: a push that a door has miscounted is made to balance, and is counted.
func TestUnbalanced(t *testing.T) {
	f := func(forwarded int) {
		t.Helper()
		g := start(t, defaultServer+defaultEnvironment)
		st := g.state.Load()
		p := &push{protocol: protocols[0], start: time.Now(), who: st.identities[clientKey{"prod", "app"}], client: st.environments["prod"].clients["app"]}
		p.policy = p.client.policies[ingest.Metrics]
		p.entry.received, p.entry.forwarded = 2, forwarded
		g.record(p, 200, nil)
		if n := g.metric("gateway_unbalanced_pushes_total", "protocol", protocols[0].Name); n != 1 {
			t.Errorf("2 items received and %d forwarded: %v pushes do not balance, want 1", forwarded, n)
		}
		g.scrapeBooks()
		g.logs.mu.Lock() // the bug was on purpose
		g.logs.b.Reset()
		g.logs.mu.Unlock()
	}
	f(1)
	f(3)
}
