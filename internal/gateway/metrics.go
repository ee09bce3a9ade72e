package gateway

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are what the gateway tells about itself, besides the books (see ledger). Every label comes from the
// configuration or from a fixed list: nothing a sender says can make a series.
type metrics struct {
	registry *prometheus.Registry

	pushes           *prometheus.CounterVec   // environment, client, protocol, code
	pushDuration     *prometheus.HistogramVec // environment, protocol
	upstreamDuration *prometheus.HistogramVec // environment, upstream, code
	authFailures     *prometheus.CounterVec   // door, reason
	conversionLosses *prometheus.CounterVec   // what
	metadataBytes    *prometheus.CounterVec   // environment
	observed         *prometheus.CounterVec   // environment, client, signal, reason
	unbalanced       *prometheus.CounterVec   // protocol
	reloadOK         prometheus.Gauge
	reloadTime       prometheus.Gauge
	configHash       prometheus.Gauge
}

// durations span what a hop adds (a millisecond) up to what a sender waits for (half a minute).
var durations = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

func newMetrics(version string, books *ledger) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		pushes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gateway_pushes_total", Help: "Pushes answered, by the HTTP status of the answer or its equivalent, or canceled. Environment and client are empty where the sender was not authenticated.",
		}, []string{"environment", "client", "protocol", "code"}),
		pushDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gateway_push_duration_seconds", Help: "From the headers of a push to its answer, upstream included.", Buckets: durations,
		}, []string{"environment", "protocol"}),
		upstreamDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gateway_upstream_duration_seconds", Help: "What upstream took to answer, by its HTTP status, canceled, timeout or unreachable.", Buckets: durations,
		}, []string{"environment", "upstream", "code"}),
		authFailures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gateway_auth_failures_total", Help: "Pushes refused because it is not known who sends.",
		}, []string{"door", "reason"}),
		conversionLosses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gateway_conversion_losses_total", Help: "Parts of items that a conversion between remote_write versions could not carry.",
		}, []string{"what"}),
		metadataBytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gateway_structured_metadata_added_bytes_total", Help: "Bytes of names and values that logs.structured_metadata added to log entries; Loki bills them.",
		}, []string{"environment"}),
		observed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gateway_items_observed_total", Help: "Items that limits with on_cardinality: observe would have refused, and that left.",
		}, []string{"environment", "client", "signal", "reason"}),
		unbalanced: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gateway_unbalanced_pushes_total", Help: "Pushes that a door has miscounted and whose books were made to balance: a bug of the gateway.",
		}, []string{"protocol"}),
		reloadOK: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gateway_config_last_reload_successful", Help: "1 if the last reload of the configuration succeeded.",
		}),
		reloadTime: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gateway_config_last_reload_success_timestamp_seconds", Help: "When the configuration in force was loaded.",
		}),
		configHash: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gateway_config_hash", Help: "The first 48 bits of the hash of the configuration file in force, to compare replicas.",
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gateway_build_info", Help: "1, labelled with the version.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(books, m.pushes, m.pushDuration, m.upstreamDuration, m.authFailures, m.conversionLosses, m.metadataBytes, m.observed, m.unbalanced,
		m.reloadOK, m.reloadTime, m.configHash, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// gauge registers a gauge that is read when scraped.
func (m *metrics) gauge(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// setConfig tells which configuration is in force. hash is hex.
func (m *metrics) setConfig(hash string, now float64) {
	bits, _ := strconv.ParseUint(hash[:min(len(hash), 12)], 16, 64)
	m.configHash.Set(float64(bits))
	m.reloadOK.Set(1)
	m.reloadTime.Set(now)
}

// versions says in which remote_write version v2 pushes leave by each upstream now.
type versions struct{ g *Gateway }

var versionDesc = prometheus.NewDesc("gateway_upstream_remote_write_version",
	"The remote_write version in which v2 pushes leave: 1 where the configuration wants it or upstream did not understand 2.",
	[]string{"environment", "upstream"}, nil)

// Describe implements prometheus.Collector.
func (versions) Describe(ch chan<- *prometheus.Desc) { ch <- versionDesc }

// Collect implements prometheus.Collector.
func (v versions) Collect(ch chan<- prometheus.Metric) {
	now := time.Now()
	for _, e := range v.g.state.Load().environments {
		if x := e.exits["prometheus"]; x != nil {
			ch <- prometheus.MustNewConstMetric(versionDesc, prometheus.GaugeValue, float64(x.remoteWriteVersion(now)), e.name, x.Name)
		}
	}
}
