package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const limited = `
environments:
  prod:
    anonymous: true
    client_limits: &all {requests_per_second: 10, samples_per_second: 5000, active_series: 100, on_cardinality: observe, refused_answer: }
    clients:
      none:  {bearer_token_file: secrets/payments}
      some:  {bearer_token_file: secrets/two, limits: {samples_per_second: 0, active_series: 7, burst_seconds: 10}}
      empty: {bearer_token_file: secrets/cloud, limits: {samples_per_second: , active_series: ~}}
      merged: {basic_auth: {username: m, password_file: secrets/billing}, limits: {<<: *all, on_rate_limit: backpressure, requests_per_second: 20}}
    metrics: {limits: {on_rate_limit: reject, refused_answer: success}}
    logs: {limits: {on_rate_limit: backpressure, lines_per_second: 0}}
`

// TestLimitsOf: a client's limits replace client_limits key by key; 0 is a value, a key left empty is none.
func TestLimitsOf(t *testing.T) {
	e := load(t, limited).Environments["prod"]
	f := func(client string, requests, samples float64, series int, onCardinality string, burst float64) {
		t.Helper()
		l := e.LimitsOf(client)
		if l.RequestsPerSecond != requests || l.SamplesPerSecond != samples || l.ActiveSeries != series || l.OnCardinality != onCardinality || l.BurstSeconds != burst {
			t.Errorf("%s: %+v", client, l)
		}
	}
	f("none", 10, 5000, 100, "observe", 10)
	f("anonymous", 10, 5000, 100, "observe", 10)
	f("some", 10, 0, 7, "observe", 10)
	f("empty", 10, 5000, 100, "observe", 10)
	f("merged", 20, 5000, 100, "observe", 10)

	key := func(client, key, want string) {
		t.Helper()
		if got := e.LimitKey(client, key); got != want {
			t.Errorf("%s of %s stands at %q, want %q", key, client, got, want)
		}
	}
	key("none", "requests_per_second", "client_limits.requests_per_second")
	key("none", "spans_per_second", "")
	key("none", "refused_answer", "")
	key("some", "requests_per_second", "client_limits.requests_per_second")
	key("some", "samples_per_second", "clients.some.limits.samples_per_second")
	key("some", "burst_seconds", "clients.some.limits.burst_seconds")
	key("empty", "samples_per_second", "client_limits.samples_per_second")
	key("merged", "samples_per_second", "clients.merged.limits.samples_per_second")

	answers := func(client string, signal *Limits, onRateLimit, refusedAnswer string) {
		t.Helper()
		if a, b := e.AnswersOf(client, signal); a != onRateLimit || b != refusedAnswer {
			t.Errorf("%s: %s %s, want %s %s", client, a, b, onRateLimit, refusedAnswer)
		}
	}
	answers("none", &e.Metrics.Limits, "reject", "success")
	answers("none", &e.Logs.Limits, "backpressure", "error")
	answers("merged", &e.Metrics.Limits, "backpressure", "success")
}

// A configuration that no file made has names as well: what is not at its default.
func TestLimitsWithoutAFile(t *testing.T) {
	e := &Environment{ClientLimits: Limits{LinesPerSecond: 5, ActiveSeries: 3}, Clients: map[string]*Client{"a": {Limits: Limits{LinesPerSecond: 7}}}}
	for _, l := range []*Limits{&e.ClientLimits, &e.Clients["a"].Limits} {
		l.setDefaults()
	}
	if l := e.LimitsOf("a"); l.LinesPerSecond != 7 || l.ActiveSeries != 3 || l.BurstSeconds != 10 || l.OnRateLimit != "reject" {
		t.Errorf("%+v", l)
	}
	if fields := reflect.TypeFor[Limits]().NumField(); fields > 32 {
		t.Errorf("%d fields have not enough bits", fields)
	}
}

// The dump says what a client names and no more: read again, it means the same.
func TestDumpKeepsWhatIsNamed(t *testing.T) {
	c := load(t, limited)
	out, err := c.Masked()
	if err != nil {
		t.Fatal(err)
	}
	again := load(t, string(out))
	for _, client := range []string{"none", "some", "empty", "merged", "anonymous"} {
		if a, b := c.Environments["prod"].LimitsOf(client), again.Environments["prod"].LimitsOf(client); a != b {
			t.Errorf("%s: %+v became %+v", client, a, b)
		}
	}
	for _, want := range []string{"limits: {}", "limits:\n          samples_per_second: 0\n          burst_seconds: 10\n          active_series: 7\n"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	zero := strings.Replace(limited, "limits: {samples_per_second: 0, active", "limits: {active", 1)
	if diff := cmp.Diff([]string{"environments.prod.clients.some.limits.samples_per_second"}, Changed(c, load(t, zero))); diff != "" {
		t.Error(diff)
	}
}

// Rules come back from the dump as they were; some actions must not have the keys that others have.
func TestDumpOfRules(t *testing.T) {
	c := load(t, `
environments:
  a:
    anonymous: true
    upstreams: {otlp: {url: "https://otlp"}}
    metrics:
      relabel_configs:
        - {action: keepequal, source_labels: [a, b], target_label: c}
        - {action: labeldrop, regex: "a|$${env:b}"}
        - {source_labels: [a], regex: "(.)(.*)", target_label: "${1}x", replacement: "$2", separator: ""}
        - {action: hashmod, source_labels: [a], modulus: 18446744073709551, target_label: shard}
        - {action: LABELMAP, regex: a_(.+)}
`)
	out, err := c.Masked()
	if err != nil {
		t.Fatal(err)
	}
	again := load(t, string(out))
	if changed := Changed(c, again); changed != nil {
		t.Errorf("%v changed in\n%s", changed, out)
	}
	for i, r := range again.Environments["a"].Metrics.RelabelConfigs {
		was := c.Environments["a"].Metrics.RelabelConfigs[i]
		if was.Regex.String() != r.Regex.String() || was.Action != r.Action || was.Replacement != r.Replacement || was.Separator != r.Separator || was.Modulus != r.Modulus {
			t.Errorf("%+v became %+v", was, r)
		}
	}
}

func TestRulesThatPass(t *testing.T) {
	f := func(env string) {
		t.Helper()
		load(t, "environments: {a: {anonymous: true, upstreams: {otlp: {url: 'https://otlp'}}, "+env+"}}")
	}
	metrics := func(rule string) string {
		return "metrics: {relabel_configs: [{" + rule + "}]}"
	}
	f(metrics("action: labeldrop, regex: pod|le_.*"))
	f(metrics("action: labelkeep, regex: __name__|le|quantile|cluster|__replica__|job"))
	f(metrics("action: labeldrop, regex: resource.*"))
	f(metrics("action: labeldrop, regex: (resource|scope)_.+"))
	f(metrics("source_labels: [resource.service.name], target_label: service"))
	f(metrics("action: keepequal, source_labels: [a], target_label: resource.a"))
	f(metrics("source_labels: [le], target_label: le, replacement: $1" + ", regex: '(.+)\\.0'"))
	f(metrics("source_labels: [x], target_label: cluster"))
	f(metrics("target_label: gone, replacement: ''"))
	f(metrics("action: lowercase, source_labels: [cluster], target_label: cluster"))
	f(metrics("action: drop, regex: ''"))
	f(metrics("source_labels: [a], target_label: a, separator: x, regex: '(.+)'"))
	f("metrics: {allow_protected: true, relabel_configs: [{action: labeldrop, regex: le}, {target_label: cluster, replacement: ''}]}")
	f("logs: {relabel_configs: [{action: labeldrop, regex: cluster}]}")
	f("traces: {relabel_configs: [{action: labelkeep, regex: a}], resource_relabel_configs: [{action: labeldrop, regex: resource.a}]}")
	// Without OTLP, a name with a dot is a name as any other.
	load(t, "environments: {a: {anonymous: true, upstreams: {prometheus: {url: 'https://a/b'}}, "+metrics("action: labeldrop, regex: resource.a")+"}}")
}

func TestWarningsOfLimitsAndRules(t *testing.T) {
	f := func(env string, want ...string) {
		t.Helper()
		c := load(t, "server: {max_inflight_bytes: 512MiB}\nenvironments: {a: {anonymous: true, upstreams: {prometheus: {url: 'https://a/b'}, otlp: {url: 'https://otlp'}}, "+env+"}}")
		var got []string
		for _, w := range c.Warnings() {
			got = append(got, strings.TrimPrefix(w.Key, "environments.a.")+": "+w.Text)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", env, diff)
		}
	}
	const drops = "is reject: Prometheus drops what is answered 429, unless it has retry_on_http_429: true; backpressure makes it wait"
	burst := func(rate, seconds, burst string) string {
		return fmt.Sprintf("%s in burst_seconds, %s, make a burst of %s samples, below the 2000 that Prometheus sends at once: each such push will wait for an idle limit", rate, seconds, burst)
	}
	off := "has no effect while this environment has reduction: false"
	f("metrics: {limits: {samples_per_second: 200, on_rate_limit: backpressure}}")
	f("metrics: {limits: {samples_per_second: 199.9, on_rate_limit: backpressure}}", "metrics.limits.samples_per_second: "+burst("199.9", "10", "1999"))
	f("metrics: {limits: {samples_per_second: 1000, burst_seconds: 1, on_rate_limit: reject}}", "metrics.limits.samples_per_second: "+burst("1000", "1", "1000"))
	f("metrics: {limits: {requests_per_second: 1}}", "metrics.limits.on_rate_limit: "+drops)
	f("metrics: {limits: {active_series: 1}}, logs: {limits: {lines_per_second: 1}}")
	f("client_limits: {samples_per_second: 1000}, clients: {c: {bearer_token_file: secrets/payments, limits: {burst_seconds: 1}}}",
		"client_limits.on_rate_limit: "+drops,
		"clients.c.limits.on_rate_limit: "+drops, "clients.c.limits.samples_per_second: "+burst("1000", "1", "1000"))
	f("client_limits: {samples_per_second: 1000}, metrics: {limits: {on_rate_limit: backpressure}}")
	f("clients: {c: {bearer_token_file: secrets/payments, exempt: true, limits: {samples_per_second: 1}}}", "clients.c.limits: has no effect: the client is exempt")
	f("reduction: false, metrics: {relabel_configs: [{target_label: a, replacement: b}], limits: {active_series: 0, bytes_per_second: 1GiB, on_rate_limit: backpressure}}",
		"metrics.relabel_configs: "+off, "metrics.limits.active_series: "+off)
	f("reduction: false, traces: {sample_ratio: 0.5}", "traces: sampling "+off)
	f("logs: {structured_metadata: [pod]}",
		"logs.structured_metadata: what moves is billed as bytes of each entry, where stream labels are not; gateway_structured_metadata_added_bytes_total says how many")
	const sticky = "rules remove labels, and whether two live series become one is seen by each replica for itself: with several replicas, route by sender (sticky)"
	f("metrics: {relabel_configs: [{target_label: a, replacement: ''}]}", "metrics.relabel_configs: "+sticky)
	f("metrics: {resource_relabel_configs: [{action: labeldrop, regex: a}]}", "metrics.resource_relabel_configs: "+sticky)
	f("traces: {relabel_configs: [{action: drop}, {action: keep, regex: x}, {action: dropequal, source_labels: [a], target_label: a}]}",
		"traces.relabel_configs[0]: it drops everything", "traces.relabel_configs[1]: it drops everything", "traces.relabel_configs[2]: it drops everything")

	c := load(t, "environments: {a: {anonymous: true, upstreams: {loki: {url: 'https://a/b'}}, metrics: {relabel_configs: [{action: drop, source_labels: [a]}]}, logs: {resource_relabel_configs: [{action: drop, source_labels: [a], regex: b}]}}}")
	n := 0
	for _, w := range c.Warnings() {
		if strings.Contains(w.Text, "has no effect: this environment has no ") {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%v", c.Warnings())
	}
}
