package gateway

import (
	"cmp"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/internal/guard"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/limits"
	"github.com/telemetry-gateway/telemetry-gateway/internal/reduce"
)

// signals are all there are.
var signals = []ingest.Signal{ingest.Metrics, ingest.Logs, ingest.Traces}

// policy is what one client's pushes of one signal meet on their way.
type policy struct {
	// rates are the rate limits; nil: there are none.
	rates *limits.Meter
	// reduce is rules and guard; nil: neither.
	reduce *reduce.Policy
	// limits are the guard's, of the environment and of the client; none where nothing is held to them.
	limits [2]guard.Limits
	// backpressure turns an upstream's 429 into 503, and quiet answers success where the guard has refused something.
	backpressure, quiet bool
}

// The scopes of policy.limits.
const (
	shared = iota
	own
)

// compilePolicies says what each signal of client k meets. The configuration is cc; nil for the anonymous client.
func (g *Gateway) compilePolicies(k clientKey, ec *config.Environment, cc *config.Client, c *client) {
	exempt := cc != nil && cc.Exempt
	root := "environments." + k.environment + "."
	c.policies = make(map[ingest.Signal]*policy)
	for _, s := range signals {
		all := limitsOf(ec, s)
		onRateLimit, refusedAnswer := ec.AnswersOf(k.client, &all)
		scopes := [2]scope{
			shared: {all, s, func(limit string) string { return root + string(s) + ".limits." + limit }},
			own: {ec.LimitsOf(k.client), s, func(limit string) string {
				return root + cmp.Or(ec.LimitKey(k.client, limit), "clients."+k.client+".limits."+limit)
			}},
		}
		p := &policy{backpressure: onRateLimit == "backpressure", quiet: refusedAnswer == "success"}
		if !exempt {
			p.rates = g.meters.Meter(k.environment, k.client, string(s), scopes[shared].rates(p.backpressure), scopes[own].rates(p.backpressure))
		}
		if ec.Reduction {
			if !exempt {
				p.limits = [2]guard.Limits{scopes[shared].guard(), scopes[own].guard()}
			}
			p.reduce = g.reduce.Policy(settings(k, ec, s, reduce.Settings{
				Stamps: c.stamps[s], Exempt: exempt, EnvironmentLimits: p.limits[shared], ClientLimits: p.limits[own],
			}))
		}
		c.policies[s] = p
	}
}

// settings completes s with what the environment says about a signal.
func settings(k clientKey, ec *config.Environment, signal ingest.Signal, s reduce.Settings) reduce.Settings {
	s.Environment, s.Client, s.Signal = k.environment, k.client, signal
	switch signal {
	case ingest.Metrics:
		s.Rules, s.ResourceRules = ec.Metrics.RelabelConfigs, ec.Metrics.ResourceRelabelConfigs
		s.RejectCollisions, s.AllowProtected = ec.Metrics.OnCollision == "reject", ec.Metrics.AllowProtected
	case ingest.Logs:
		s.Rules, s.ResourceRules = ec.Logs.RelabelConfigs, ec.Logs.ResourceRelabelConfigs
		s.StructuredMetadata = ec.Logs.StructuredMetadata
	case ingest.Traces:
		s.Rules, s.ResourceRules = ec.Traces.RelabelConfigs, ec.Traces.ResourceRelabelConfigs
	}
	return s
}

// limitsOf are the environment's limits of a signal.
func limitsOf(ec *config.Environment, s ingest.Signal) config.Limits {
	switch s {
	case ingest.Metrics:
		return ec.Metrics.Limits
	case ingest.Logs:
		return ec.Logs.Limits
	}
	return ec.Traces.Limits
}

// scope is the limits of an environment or of a client, for one signal.
type scope struct {
	config.Limits
	signal ingest.Signal
	key    func(limit string) string // where a limit stands in the configuration
}

// rates are the scope's rate limits.
func (s *scope) rates(backpressure bool) limits.Rates {
	r := limits.Rates{
		KeyOf: s.key, RequestsPerSecond: s.RequestsPerSecond, BytesPerSecond: float64(s.BytesPerSecond),
		BurstSeconds: s.BurstSeconds, Backpressure: backpressure,
	}
	switch s.signal {
	case ingest.Metrics:
		r.ItemsPerSecond, r.ItemsKey = s.SamplesPerSecond, "samples_per_second"
	case ingest.Logs:
		r.ItemsPerSecond, r.ItemsKey = s.LinesPerSecond, "lines_per_second"
	case ingest.Traces:
		r.ItemsPerSecond, r.ItemsKey = s.SpansPerSecond, "spans_per_second"
	}
	return r
}

// guard is the scope's limits on series, labels and lines.
func (s *scope) guard() guard.Limits {
	l := guard.Limits{
		KeyOf: s.key, Observe: s.OnCardinality == "observe",
		LabelsPerSeries: s.LabelsPerSeries, LabelNameBytes: int(s.LabelNameBytes), LabelValueBytes: int(s.LabelValueBytes),
	}
	switch s.signal {
	case ingest.Metrics:
		l.ActiveSeries, l.ActiveSeriesPerMetric, l.ValuesPerLabel = s.ActiveSeries, s.ActiveSeriesPerMetric, s.ValuesPerLabel
	case ingest.Logs:
		l.ActiveSeries, l.LineBytes = s.ActiveSeries, int(s.LineBytes)
	}
	return l
}

// reducePolicies are all there are in st.
func (st *state) reducePolicies() (all []*reduce.Policy) {
	for _, e := range st.environments {
		for _, c := range e.clients {
			for _, p := range c.policies {
				if p.reduce != nil {
					all = append(all, p.reduce)
				}
			}
		}
	}
	return all
}
