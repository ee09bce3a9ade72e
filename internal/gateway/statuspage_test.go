package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	"golang.org/x/net/html"
)

// A gateway where everything that the page can tell of has happened, more often than the page has lines.
func TestStatusPage(t *testing.T) {
	g := start(t, strings.Replace(with(`    metrics:
      labels: {environment: prod}
      relabel_configs:
        - {action: drop, source_labels: [__name__], regex: "go_.*"}
        - {action: labeldrop, regex: pod}
      limits: {values_per_label: 3, active_series: 1000, samples_per_second: 100000}
    logs: {limits: {active_series: 100, line_bytes: 10}}
`), "drain_delay: 0s\n", "drain_delay: 0s\n  guard_warmup: 0s\n", 1))
	all := []prompb.TimeSeries{series("go_threads", "pod", "a"), series("go_gc", "pod", "a")}
	for i := range 10 {
		all = append(all, series("checkout_total", "user_id", fmt.Sprintf("<u-%d>", i)))
	}
	for i := range pageRows + 7 {
		all = append(all, series(fmt.Sprintf("met_%02d", i), "pod", "a"), series(fmt.Sprintf("met_%02d", i), "pod", "b"))
	}
	if a := g.pushSeries(clientToken, all...); a.StatusCode != 400 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	s := samples()["loki"]
	g.post(s.path, s.header, s.body)

	a := g.ask("GET", "/", "", "")
	if csp := a.Header.Get("Content-Security-Policy"); csp != "default-src 'none'; style-src 'unsafe-inline'" {
		t.Errorf("Content-Security-Policy is %q", csp)
	}
	for _, want := range []string{
		"met_00", "suspended", "{regex: pod, action: labeldrop}", "7 more", // collisions
		"(sticky)",
		"checkout_total", "user_id", "environments.prod.metrics.limits.values_per_label", "&lt;u-", // refusals, and values escaped
		"Live series", "Live streams", "Largest metrics", "Metrics that grow most",
		"metrics.relabel_configs[0]", "go_.*", "Dropped by a rule",
		"Limits in force", "samples_per_second", "line_bytes", "active_series",
		`<meta http-equiv="refresh"`, "this replica's own", "entries",
	} {
		if !strings.Contains(a.body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if n := strings.Count(a.body, "suspended:"); n != pageRows {
		t.Errorf("the page shows %d collisions, want %d", n, pageRows)
	}
	if still := g.ask("GET", "/?refresh=off", "", ""); strings.Contains(still.body, "http-equiv") {
		t.Error("the page moves although it was asked not to")
	}
	accessible(t, a.body)
}

// accessible wants what a screen reader needs of tables, and nothing that runs.
func accessible(t *testing.T, page string) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	count := make(map[string]int)
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		count[n.Data]++
		if n.Data == "th" && !hasAttr(n, "scope") {
			t.Error("a heading of a table says neither row nor column")
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") {
				t.Errorf("<%s> has %s", n.Data, a.Key)
			}
		}
	}
	if count["table"] < 8 || count["caption"] != count["table"] {
		t.Errorf("%d tables with %d captions", count["table"], count["caption"])
	}
	if count["script"] > 0 {
		t.Error("the page has scripts")
	}
}

func hasAttr(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}

func TestPageNumbers(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f(grouped(0), "0")
	f(grouped(999), "999")
	f(grouped(1000), "1,000")
	f(grouped(-1234567), "-1,234,567")
	f(grouped(-123), "-123")
	f(sizeText(512<<20), "512 MiB")
	f(sizeText(20<<10), "20 KiB")
	f(sizeText(1023), "1,023 B")
	part := 1.034
	f(percent(&part), "103 %")
	f(percent(nil), "")
	f(ruleKey("logs", "resource_3"), "logs.resource_relabel_configs[3]")
}
