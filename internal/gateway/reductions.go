package gateway

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/telemetry-gateway/telemetry-gateway/internal/guard"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// reductions is a collector of what rules, guard and rate limits know when they are asked. Its labels come from the
// configuration: nothing a sender says can make a series.
type reductions struct{ g *Gateway }

var (
	limitLabels = []string{"environment", "client", "signal", "limit"}

	activeDesc = prometheus.NewDesc("gateway_active_series", "Series that left in the last 20 minutes (metrics) and streams (logs), by who sent them first. Of this replica: not to be summed over replicas.",
		[]string{"environment", "client", "signal"}, nil)
	ruleDropsDesc = prometheus.NewDesc("gateway_rule_items_dropped_total", "Items that a relabelling rule dropped, by its index (resource rules: resource_0).",
		[]string{"environment", "signal", "rule"}, nil)
	limitDesc = prometheus.NewDesc("gateway_limit", "Limits in force. An empty client is the environment as a whole, an empty environment the process: max_inflight_bytes, max_series.",
		limitLabels, nil)
	limitUsedDesc = prometheus.NewDesc("gateway_limit_used_ratio", "The part of a limit that is used: of a rate's burst, over 1 in debt; of active_series, of max_inflight_bytes and of max_series. Of this replica.",
		limitLabels, nil)
	tableDesc      = prometheus.NewDesc("gateway_series_entries", "Entries of the table of live series; server.max_series bounds them.", nil, nil)
	tableBytesDesc = prometheus.NewDesc("gateway_series_bytes", "Memory that the table of live series takes.", nil, nil)
	uncachedDesc   = prometheus.NewDesc("gateway_series_uncached_total", "Series of pushes that passed unchecked because the table was full.", nil, nil)
	protectedDesc  = prometheus.NewDesc("gateway_protected_labels_kept_total", "Labels that a rule would have removed and that were kept: le, quantile, __name__, cluster, __replica__.",
		[]string{"environment"}, nil)
	suspendedDesc = prometheus.NewDesc("gateway_collision_metrics", "Metrics in which rules or stamps would make two live series one, now, by what is done about it: suspend or reject.",
		[]string{"environment", "policy"}, nil)
	collisionsDesc = prometheus.NewDesc("gateway_collisions_total", "How often a series met another live one that leaves with the same labels.",
		[]string{"environment", "policy"}, nil)
)

// Describe implements prometheus.Collector.
func (reductions) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{activeDesc, ruleDropsDesc, limitDesc, limitUsedDesc, tableDesc, tableBytesDesc, uncachedDesc, protectedDesc, suspendedDesc, collisionsDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (r reductions) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, values ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, values...)
	}
	counter := func(d *prometheus.Desc, n int64, values ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), values...)
	}
	e := r.g.reduce
	e.Guard().Each(func(s guard.Sender, active int) {
		if s.Signal != string(ingest.Traces) { // spans are no series
			gauge(activeDesc, float64(active), s.Environment, s.Client, s.Signal)
		}
	})
	e.RuleDrops(func(environment, signal, rule string, items int64) {
		counter(ruleDropsDesc, items, environment, signal, rule)
	})
	e.Protected(func(environment string, n int64) { counter(protectedDesc, n, environment) })
	e.Met(func(environment, policy string, n int64) { counter(collisionsDesc, n, environment, policy) })
	entries, bytes := e.Entries()
	gauge(tableDesc, float64(entries))
	gauge(tableBytesDesc, float64(bytes))
	counter(uncachedDesc, e.Uncached())
	type where struct{ environment, policy string }
	suspended := make(map[where]int)
	for env := range r.g.state.Load().environments {
		suspended[where{env, "suspend"}], suspended[where{env, "reject"}] = 0, 0
	}
	for _, c := range e.Collisions() {
		suspended[where{c.Environment, c.Policy}]++
	}
	for w, n := range suspended {
		gauge(suspendedDesc, float64(n), w.environment, w.policy)
	}
	for _, l := range append(r.g.limits(time.Now()), r.g.serverLimits()...) {
		gauge(limitDesc, l.Limit, l.Environment, l.Client, l.Signal, l.Name)
		if l.Used != nil {
			gauge(limitUsedDesc, *l.Used, l.Environment, l.Client, l.Signal, l.Name)
		}
	}
}

// bookReduction books what rules, guard and limits did to a push that has ended.
func (g *Gateway) bookReduction(p *push, env, client string) {
	p.held.Book()
	for _, o := range p.held.Observed {
		g.metrics.observed.WithLabelValues(env, client, string(p.protocol.Signal), o.Reason).Add(float64(o.Items))
	}
}
