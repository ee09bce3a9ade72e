package relabel_test

import (
	"testing"

	promlabels "github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/model/relabel"

	"github.com/telemetry-gateway/telemetry-gateway/internal/relabel"
)

const (
	series = "__name__=http_request_duration_seconds_bucket cluster=prod-eu-1 namespace=checkout pod=checkout-7f9c6d5b8-x2x7p container=app " +
		"instance=10.12.3.45:9100 job=kubernetes-pods method=GET path=/api/v1/orders code=200 le=0.25 node=ip-10-12-3-45 uid=6ba7b810-9dad-11d1"
	attributes = "http.request.method=GET http.response.status_code=200 http.route=/api/v1/orders net.peer.ip=10.1.2.3 server.address=api " +
		"server.port=443 thread.id=17 thread.name=worker-3 url.full=https://api.example.com/api/v1/orders/123 user.id=u-29384"
	typical = `[{regex: pod|uid, action: labeldrop}, {source_labels: [instance], regex: '([^:]+):\d+', target_label: instance},
		{source_labels: [__name__], regex: 'go_.*|process_.*', action: drop}]`
)

func bench(b *testing.B, rules, set string) {
	configs, in := rulesOf(b, rules), setOf(set)
	b.Run("here", func(b *testing.B) {
		r := relabel.Compile(configs, relabel.Options{ReadOnly: []string{"resource."}, Protected: []string{"le", "__name__"}})
		var s relabel.Scratch
		b.ReportAllocs()
		for b.Loop() {
			r.Apply(&s, in)
		}
	})
	b.Run("library", func(b *testing.B) {
		base := make([]promlabels.Label, len(in.All))
		for i, l := range in.All {
			base[i] = promlabels.Label{Name: l.Name, Value: l.Value}
		}
		ls := promlabels.New(base...)
		builder := promlabels.NewBuilder(ls)
		b.ReportAllocs()
		for b.Loop() {
			builder.Reset(ls)
			if prom.ProcessBuilder(builder, configs...) {
				builder.Labels()
			}
		}
	})
}

func BenchmarkTypicalRules(b *testing.B) { bench(b, typical, series) }

func BenchmarkNothingChanges(b *testing.B) {
	bench(b, `[{regex: 'zone|region', action: labeldrop}, {source_labels: [__name__], regex: 'go_.*|process_.*', action: drop}]`, series)
}

func BenchmarkOneAttributeDropped(b *testing.B) {
	bench(b, `[{regex: 'user\.id', action: labeldrop}]`, attributes)
}

func BenchmarkOneAttributeDroppedByDots(b *testing.B) {
	bench(b, `[{regex: user.id, action: labeldrop}]`, attributes)
}

func BenchmarkRegexOfNames(b *testing.B) {
	bench(b, `[{regex: '(user|net)\.[a-z]+(\.[a-z]+)*', action: labeldrop}]`, attributes)
}

func BenchmarkLabelMap(b *testing.B) {
	bench(b, `[{regex: 'http\.(.+)', replacement: 'h.$1', action: labelmap}, {regex: 'http\..+', action: labeldrop}]`, attributes)
}

func BenchmarkHashMod(b *testing.B) {
	bench(b, `[{source_labels: [url.full, user.id], modulus: 16, action: hashmod, target_label: __tmp_shard}, {source_labels: [__tmp_shard], regex: '3', action: keep}]`, attributes)
}
