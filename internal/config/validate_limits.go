package config

import (
	"maps"
	"slices"
	"strconv"
)

// wholePush is how many samples Prometheus sends at once (max_samples_per_send).
const wholePush = 2000

// guardKeys are the keys of Limits that reduction: false switches off.
var guardKeys = []string{
	"labels_per_series", "label_name_bytes", "label_value_bytes", "line_bytes", "active_series", "active_series_per_metric", "values_per_label",
}

// limits warns of limits that may not be meant. What is wrong with them the decoder has said.
func (v *validator) limits(path string, e *Environment) {
	v.rates(path+".metrics.limits", e.Metrics.Limits, e)
	v.rates(path+".client_limits", e.ClientLimits, e)
	sections := []string{"metrics.limits", "logs.limits", "traces.limits", "client_limits"}
	for _, n := range slices.Sorted(maps.Keys(e.Clients)) {
		section, c := join("clients", n)+".limits", e.Clients[n]
		switch {
		case c.Limits.named == 0:
		case c.Exempt:
			v.warn(path+"."+section, "has no effect: the client is exempt")
		default:
			v.rates(path+"."+section, e.LimitsOf(n), e)
			sections = append(sections, section)
		}
	}
	if e.Reduction {
		return
	}
	for _, s := range sections {
		for _, k := range guardKeys {
			if at := path + "." + s + "." + k; v.has(at) {
				v.warn(at, "has no effect while this environment has reduction: false")
			}
		}
	}
	if e.Traces.SampleRatio != 1 || len(e.Traces.Sampling) > 0 {
		v.warn(path+".traces", "sampling has no effect while this environment has reduction: false")
	}
}

// rates warns of rate limits that cost samples of Prometheus.
func (v *validator) rates(path string, l Limits, e *Environment) {
	if burst := l.SamplesPerSecond * l.BurstSeconds; l.SamplesPerSecond > 0 && burst < wholePush {
		v.warn(path+".samples_per_second", "%s in burst_seconds, %s, make a burst of %s samples, below the %d that Prometheus sends at once: each such push will wait for an idle limit",
			v.show(path+".samples_per_second", l.SamplesPerSecond), v.show(path+".burst_seconds", l.BurstSeconds), strconv.FormatFloat(burst, 'g', 6, 64), wholePush)
	}
	// Who writes the key knows.
	limited := l.RequestsPerSecond > 0 || l.BytesPerSecond > 0 || l.SamplesPerSecond > 0
	if limited && l.OnRateLimit == "reject" && !v.has(path+".on_rate_limit") && e.Metrics.Limits.OnRateLimit == "reject" && e.Upstreams.Prometheus != nil {
		v.warn(path+".on_rate_limit", "is reject: Prometheus drops what is answered 429, unless it has retry_on_http_429: true; backpressure makes it wait")
	}
}
