package main

import (
	"strings"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/drive"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/generate"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/sink"
)

// scenario is one thing to be measured.
type scenario struct {
	name, about string
	gateway     gatewayConfig
	loads       []load
	// goal is in items per CPU-second.
	goal float64
	// share paces the loads at a share of what the gateway can do, which is measured first.
	share float64
	// direct measures the same loads without the gateway as well.
	direct bool
	// fault is how the sink behaves, and idle and slow are connections that do nothing, or trickle 16 MiB.
	fault      sink.Fault
	idle, slow int
	// crash kills the gateway with SIGKILL half-way.
	crash bool
	// warm lets everything be sent at least once before it is measured.
	warm bool
}

// load is one stream of pushes in a scenario.
type load struct {
	name      string
	spec      generate.Spec
	transport drive.Transport
	conns     int
	// items in a second; 0: as fast as answers come.
	rate float64
	// environment whose clients send; -1: all take turns.
	environment int
}

// The rules of the scenarios, and beside each what it is to do, written without the code that does it.
const (
	reduceRules = `      relabel_configs:
        - {action: labeldrop, regex: id|name}
        - {source_labels: [instance], regex: '([^:]+):\d+', target_label: instance, replacement: $1}
        - {action: drop, source_labels: [__name__], regex: ` + generate.DroppedMetric + `}
`
	guardLimits = `      limits: {requests_per_second: 1000000, bytes_per_second: 1TiB, samples_per_second: 1000000000,
        active_series: 3000000, active_series_per_metric: 3000000, values_per_label: 100000, labels_per_series: 40, label_value_bytes: 2KiB}
`
	moveRule   = "      structured_metadata: [pod]\n"
	deleteRule = "      relabel_configs: [{action: labeldrop, regex: 'enduser\\.id'}]\n"
)

var (
	reducedSeries = generate.Change{Labels: func(set []generate.Label) (out []generate.Label, keep bool) {
		for _, l := range set {
			switch l.Name {
			case "id", "name":
				continue
			case "instance":
				l.Value, _, _ = strings.Cut(l.Value, ":")
			}
			out = append(out, l)
		}
		return out, set[0].Value != generate.DroppedMetric
	}}
	movedLabel       = generate.Change{Move: "pod"}
	deletedAttribute = generate.Change{Delete: "enduser.id"}
)

// sampled is how much of the fastest scenarios is checked by content: each 16th millisecond. All of it is counted.
const sampled = 16

// one is a scenario of one load on four connections, as fast as answers come.
func one(name, about string, goal float64, spec generate.Spec, g gatewayConfig) scenario {
	return scenario{name: name, about: about, goal: goal, gateway: g, loads: []load{{name: string(spec.Kind), spec: spec, conns: 4}}, warm: true}
}

// scenarios is the list, in the order of -scenario all.
func scenarios() []scenario {
	rw1 := generate.Spec{Kind: generate.RemoteWriteV1, Every: sampled}
	rw2 := generate.Spec{Kind: generate.RemoteWriteV2, Every: sampled}
	reduced := rw1
	reduced.Change = reducedSeries
	loki := generate.Spec{Kind: generate.Loki, Every: 4}
	moved := loki
	moved.Change = movedLabel
	gzipped := func(k generate.Kind) generate.Spec { return generate.Spec{Kind: k, Codec: "gzip"} }
	dropped := gzipped(generate.Traces)
	dropped.Change = deletedAttribute
	guarded := gatewayConfig{metrics: guardLimits}
	list := []scenario{
		one("rw1", "remote_write v1, 2000 samples a push, credential swap", 4.5e6, rw1, gatewayConfig{}),
		one("rw1-reduce", "the same: two labels dropped, one regex replace, one drop rule, guard and rate limits on", 3.2e6, reduced, gatewayConfig{metrics: reduceRules + guardLimits}),
		one("rw2", "remote_write v2, 2000 samples a push, credential swap", 4.5e6, rw2, gatewayConfig{}),
		one("loki", "Loki protobuf, 5000 JSON lines a push, credential swap", 6.5e6, loki, gatewayConfig{}),
		one("loki-metadata", "the same: one stream label to structured metadata", 2.7e6, moved, gatewayConfig{logs: moveRule}),
		one("loki-json", "Loki JSON, 5000 lines a push", 0, generate.Spec{Kind: generate.LokiJSON, Every: 4}, gatewayConfig{}),
		one("traces-gzip", "OTLP traces, 500 spans a push, gzip", 1.0e6, gzipped(generate.Traces), gatewayConfig{}),
		one("traces-gzip-drop-attribute", "the same: one attribute deleted", 0.5e6, dropped, gatewayConfig{traces: deleteRule}),
		one("traces-plain", "OTLP traces, 500 spans a push, uncompressed", 2.5e6, generate.Spec{Kind: generate.Traces}, gatewayConfig{}),
		one("metrics-gzip", "OTLP metrics, 1000 points a push, gzip", 1.84e6, gzipped(generate.Metrics), gatewayConfig{}),
		one("logs-plain", "OTLP logs, 1000 records a push, uncompressed", 2.29e6, generate.Spec{Kind: generate.Logs}, gatewayConfig{}),
		one("tiny", "remote_write v1, 5 samples a push, all stages on", 5/30e-6, generate.Spec{Kind: generate.RemoteWriteV1, Items: 5, Series: 50_000, Every: sampled, Change: reducedSeries}, gatewayConfig{metrics: reduceRules + guardLimits}),
		one("zipkin", "Zipkin JSON, 100 spans a push, becomes OTLP", 0, generate.Spec{Kind: generate.Zipkin}, gatewayConfig{}),
		one("jaeger", "Jaeger thrift, 100 spans a push, becomes OTLP", 0, generate.Spec{Kind: generate.Jaeger}, gatewayConfig{}),
		one("churn", "rw1 with the guard on, half of the series replaced each 240 rounds of 15 s", 0, generate.Spec{Kind: generate.RemoteWriteV1, Every: sampled, Churn: 0.5}, guarded),
		one("memory-100k", "100,000 live series, guard on", 0, rw1, guarded),
		one("memory-1m", "1,000,000 live series, guard on", 0, generate.Spec{Kind: generate.RemoteWriteV1, Series: 1_000_000, Every: sampled}, guarded),
	}
	return append(list, special(rw1, reduced)...)
}

// special are the scenarios that are more than one load as fast as it goes.
func special(rw1, reduced generate.Spec) []scenario {
	all := gatewayConfig{metrics: reduceRules + guardLimits}
	small := generate.Spec{Kind: generate.RemoteWriteV1, Items: 100, Series: 10_000}
	latency := one("latency", "rw1-reduce at a tenth of capacity, beside the same without the gateway", 0, reduced, all)
	latency.share, latency.direct = 0.1, true
	quick := one("latency-small", "the same with 50 samples a push", 0, generate.Spec{Kind: generate.RemoteWriteV1, Items: 50, Change: reducedSeries}, all)
	quick.share, quick.direct = 0.1, true
	tls := one("tls", "rw1 with TLS on both sides", 0, rw1, gatewayConfig{tls: true})
	h2 := one("http2", "rw1 over HTTP/2 to the gateway", 0, rw1, gatewayConfig{})
	h2.loads[0].transport = drive.HTTP2
	grpc := one("grpc", "OTLP traces, 500 spans a push, gzip, gRPC on both sides", 0, generate.Spec{Kind: generate.Traces, Codec: "gzip"}, gatewayConfig{grpc: true})
	grpc.loads[0].transport = drive.GRPC
	many := one("connections", "1000 connections, 100 samples a push", 0, small, gatewayConfig{})
	many.loads[0].conns = 1000
	tenants := one("tenants", "20 environments of 10 clients, 100 samples a push", 0, small, gatewayConfig{environments: 20, clients: 10})
	tenants.loads[0].environment = -1
	tenants.loads[0].conns = 16

	quote := scenario{
		name: "quote", about: "400,000 series each 15 s, 500 GB of logs a day, 16 billion spans a month, all at once",
		gateway: gatewayConfig{metrics: reduceRules + guardLimits}, warm: true,
		loads: []load{
			{name: "metrics", spec: generate.Spec{Kind: generate.RemoteWriteV1, Series: 400_000, Change: reducedSeries}, conns: 8, rate: 400_000.0 / 15},
			{name: "logs", spec: generate.Spec{Kind: generate.Loki}, conns: 4, rate: 500e9 / 86400 / 215},
			{name: "traces", spec: generate.Spec{Kind: generate.Traces, Codec: "gzip"}, conns: 4, rate: 16e9 / (30 * 86400)},
		},
	}
	slow := one("overload", "ten times what the gateway takes with an upstream that needs 100 ms, 64 MiB for pushes in flight", 0, rw1, gatewayConfig{server: "  max_inflight_bytes: 64MiB\n"})
	slow.fault, slow.share, slow.loads[0].conns = sink.Fault{Delay: 100 * time.Millisecond}, 10, 256
	dead := scenario{
		name: "overload-dead", about: "one environment's upstream hangs while 64 connections push to it; the other's pushes go on",
		gateway: gatewayConfig{environments: 2, server: "  max_inflight_bytes: 64MiB\n"}, fault: sink.Fault{User: "e1", Hang: true}, warm: true,
		loads: []load{
			{name: "healthy", spec: rw1, conns: 4, rate: 200_000},
			{name: "dead", spec: rw1, conns: 64, environment: 1},
		},
	}
	crowd := one("overload-connections", "10,000 idle connections and 1000 senders of one client that trickle 16 MiB, beside paced pushes of another", 0, rw1,
		gatewayConfig{environments: 2, server: "  max_inflight_bytes: 64MiB\n  max_connections: 15000\n"})
	crowd.idle, crowd.slow, crowd.loads[0].rate = 10_000, 1000, 200_000
	return []scenario{latency, quick, tls, h2, grpc, many, tenants, quote, slow, dead, crowd, crash("crash", rw1), crash("crash-traces", generate.Spec{Kind: generate.Traces, Codec: "gzip"})}
}

// crash kills the gateway half-way, while 16 connections push and the upstream needs 20 ms for each.
func crash(name string, spec generate.Spec) scenario {
	s := one(name, "kill -9 while 16 connections push and the upstream needs 20 ms: what was acknowledged must have arrived", 0, spec, gatewayConfig{})
	s.crash, s.fault, s.loads[0].conns = true, sink.Fault{Delay: 20 * time.Millisecond}, 16
	return s
}
