package config

import (
	"reflect"
	"strings"
)

// Limits bound what an environment or a client may send. 0, or left out: no limit. Each replica counts for itself.
type Limits struct {
	// RequestsPerSecond counts pushes, before their body is read.
	RequestsPerSecond float64 `yaml:"requests_per_second,omitempty"`
	// BytesPerSecond counts decoded bytes.
	BytesPerSecond Bytes `yaml:"bytes_per_second,omitempty"`
	// SamplesPerSecond is for metrics, LinesPerSecond for logs, SpansPerSecond for traces.
	SamplesPerSecond float64 `yaml:"samples_per_second,omitempty"`
	LinesPerSecond   float64 `yaml:"lines_per_second,omitempty"`
	SpansPerSecond   float64 `yaml:"spans_per_second,omitempty"`
	// BurstSeconds is how many seconds of a rate may come at once, and one request at least. A push that is larger passes when
	// nothing is owed, and what follows waits until it is paid. Default 10.
	BurstSeconds float64 `yaml:"burst_seconds" must:"positive"`
	// OnRateLimit is what is answered over a rate: reject (429) or backpressure (503, for senders that drop on 429). Default
	// reject.
	OnRateLimit string `yaml:"on_rate_limit" oneof:"reject|backpressure"`
	// LabelsPerSeries is a count; over it the series is refused, known or not. For traces, and for logs of OTLP, attributes of
	// a span or a record count as labels of a series.
	LabelsPerSeries int `yaml:"labels_per_series,omitempty"`
	// LabelNameBytes and LabelValueBytes are lengths; over them the series is refused, known or not.
	LabelNameBytes  Bytes `yaml:"label_name_bytes,omitempty"`
	LabelValueBytes Bytes `yaml:"label_value_bytes,omitempty"`
	// LineBytes is for logs: the length of one line; over it the line is refused.
	LineBytes Bytes `yaml:"line_bytes,omitempty"`
	// ActiveSeries counts series of metrics and streams of logs that were seen in the last 20 minutes. Over it new ones are
	// refused, known ones never.
	ActiveSeries int `yaml:"active_series,omitempty"`
	// ActiveSeriesPerMetric is ActiveSeries for each metric name; for metrics.
	ActiveSeriesPerMetric int `yaml:"active_series_per_metric,omitempty"`
	// ValuesPerLabel counts distinct values of one label of one metric; for metrics. Over it new series with new values are
	// refused.
	ValuesPerLabel int `yaml:"values_per_label,omitempty"`
	// OnCardinality is what happens over limits on series, values, labels and lines: reject, or observe, which
	// counts and reports what would have been refused. Default reject.
	OnCardinality string `yaml:"on_cardinality" oneof:"reject|observe"`
	// RefusedAnswer is the answer where items were refused: error or success. Default error.
	RefusedAnswer string `yaml:"refused_answer" oneof:"error|success"`

	named uint32 // the keys that the file has, a bit for each field
	// partial: a key that the file does not have is not at its default but as somewhere else. See LimitsOf.
	partial bool
}

// The keys of Limits that fit one signal; a client's limits have them all.
var (
	metricsOnly = []string{"samples_per_second", "active_series_per_metric", "values_per_label"}
	logsOnly    = []string{"lines_per_second", "line_bytes"}
	tracesOnly  = []string{"spans_per_second"}
)

// limitField returns the index of the field that key is, or -1.
func limitField(key string) int {
	for i, t := 0, reflect.TypeFor[Limits](); i < t.NumField(); i++ {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); name == key && name != "" {
			return i
		}
	}
	return -1
}

// name notes that the file has key.
func (l *Limits) name(key string) { l.named |= 1 << limitField(key) }

// names says whether l has a value of its own for field i.
func (l *Limits) names(i int) bool {
	var none Limits
	none.setDefaults()
	return l.named&(1<<i) != 0 || !reflect.ValueOf(l).Elem().Field(i).Equal(reflect.ValueOf(none).Field(i))
}

// naming returns the limits that say what field i is for a client, its own or client_limits, and where they stand below the
// environment. Nil: neither does.
func (e *Environment) naming(client string, i int) (l *Limits, path string) {
	if c := e.Clients[client]; c != nil && c.Limits.names(i) {
		return &c.Limits, "clients." + client + ".limits"
	}
	if e.ClientLimits.names(i) {
		return &e.ClientLimits, "client_limits"
	}
	return nil, ""
}

// LimitsOf returns the limits that a client has for itself: its own keys, and client_limits for those that it does not name.
// The client may be one without an entry, such as anonymous.
func (e *Environment) LimitsOf(client string) Limits {
	var merged Limits
	merged.setDefaults()
	out := reflect.ValueOf(&merged).Elem()
	for i := range out.NumField() {
		if !out.Type().Field(i).IsExported() {
			continue
		}
		if l, _ := e.naming(client, i); l != nil {
			out.Field(i).Set(reflect.ValueOf(l).Elem().Field(i))
			merged.named |= 1 << i
		}
	}
	return merged
}

// LimitKey returns where the value stands that LimitsOf has for key, below the environment:
// clients.batch.limits.samples_per_second, or client_limits.samples_per_second. Empty: nowhere, it is the default.
func (e *Environment) LimitKey(client, key string) string {
	if _, path := e.naming(client, limitField(key)); path != "" {
		return path + "." + key
	}
	return ""
}

// AnswersOf returns on_rate_limit and refused_answer for what a client sends of a signal with these limits. They are about
// the sender, so what its own limits or client_limits say goes before what the signal's do.
func (e *Environment) AnswersOf(client string, signal *Limits) (onRateLimit, refusedAnswer string) {
	own := e.LimitsOf(client)
	onRateLimit, refusedAnswer = own.OnRateLimit, own.RefusedAnswer
	if e.LimitKey(client, "on_rate_limit") == "" {
		onRateLimit = signal.OnRateLimit
	}
	if e.LimitKey(client, "refused_answer") == "" {
		refusedAnswer = signal.RefusedAnswer
	}
	return onRateLimit, refusedAnswer
}
