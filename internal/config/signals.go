package config

import "github.com/prometheus/prometheus/model/relabel"

// MetricsConfig is what happens to metrics on their way.
type MetricsConfig struct {
	// Labels are stamped on every series (OTLP: on every data point); they win over what the sender says.
	Labels map[string]string `yaml:"labels"`
	// RelabelConfigs are Prometheus' relabelling rules.
	RelabelConfigs []*relabel.Config `yaml:"relabel_configs" later:"relabelling"`
	// ResourceRelabelConfigs are rules for OTLP resource attributes.
	ResourceRelabelConfigs []*relabel.Config `yaml:"resource_relabel_configs" later:"relabelling"`
	// OnCollision is suspend or reject: what happens when a rule makes two live series one. Default suspend.
	OnCollision string `yaml:"on_collision" oneof:"suspend|reject"`
	// AllowProtected: rules may remove le, quantile, __name__, cluster, __replica__. Default false.
	AllowProtected bool `yaml:"allow_protected"`
	// Limits of the environment's metrics.
	Limits Limits `yaml:"limits"`
}

// LogsConfig is what happens to logs on their way.
type LogsConfig struct {
	// Labels are stamped on every stream (OTLP: on every resource).
	Labels map[string]string `yaml:"labels"`
	// RelabelConfigs are rules for Loki stream labels and OTLP log attributes.
	RelabelConfigs []*relabel.Config `yaml:"relabel_configs" later:"relabelling"`
	// ResourceRelabelConfigs are rules for OTLP resource attributes.
	ResourceRelabelConfigs []*relabel.Config `yaml:"resource_relabel_configs" later:"relabelling"`
	// StructuredMetadata are stream labels that become structured metadata.
	StructuredMetadata []string `yaml:"structured_metadata" later:"structured metadata"`
	// Limits of the environment's logs.
	Limits Limits `yaml:"limits"`
}

// TracesConfig is what happens to traces on their way.
type TracesConfig struct {
	// Labels are stamped on every resource.
	Labels map[string]string `yaml:"labels"`
	// RelabelConfigs are rules for span attributes.
	RelabelConfigs []*relabel.Config `yaml:"relabel_configs" later:"relabelling"`
	// ResourceRelabelConfigs are rules for OTLP resource attributes.
	ResourceRelabelConfigs []*relabel.Config `yaml:"resource_relabel_configs" later:"relabelling"`
	// SampleRatio is the part of all traces that is kept, by trace id, 0 to 1. Default 1.
	SampleRatio float64 `yaml:"sample_ratio"`
	// Sampling are ratios per service; the first that matches wins, else SampleRatio.
	Sampling []SampleRule `yaml:"sampling"`
	// KeepErrors keeps spans with error status, also of traces that are sampled away. Default false.
	KeepErrors bool `yaml:"keep_errors"`
	// FillServiceName: a missing or unknown_service* service.name becomes the client's name. Default false.
	FillServiceName bool `yaml:"fill_service_name"`
	// Limits of the environment's traces.
	Limits Limits `yaml:"limits"`
}

// SampleRule is the part of one service's traces that is kept.
type SampleRule struct {
	Service string  `yaml:"service"`
	Ratio   float64 `yaml:"ratio"`
}

// Limits bound what an environment or a client may send. 0: no limit.
type Limits struct {
	RequestsPerSecond float64 `yaml:"requests_per_second,omitempty" later:"limits"`
	// BytesPerSecond counts decoded bytes.
	BytesPerSecond Bytes `yaml:"bytes_per_second,omitempty" later:"limits"`
	// SamplesPerSecond is for metrics, LinesPerSecond for logs, SpansPerSecond for traces.
	SamplesPerSecond float64 `yaml:"samples_per_second,omitempty" later:"limits"`
	LinesPerSecond   float64 `yaml:"lines_per_second,omitempty" later:"limits"`
	SpansPerSecond   float64 `yaml:"spans_per_second,omitempty" later:"limits"`
	// BurstSeconds is how many seconds of a rate may come at once. Default 10.
	BurstSeconds float64 `yaml:"burst_seconds" must:"positive" later:"limits"`
	// OnRateLimit is reject (429) or backpressure (503). Default reject.
	OnRateLimit string `yaml:"on_rate_limit" oneof:"reject|backpressure" later:"limits"`
	// LabelsPerSeries is a count; over it the series is refused.
	LabelsPerSeries int   `yaml:"labels_per_series,omitempty" later:"limits"`
	LabelNameBytes  Bytes `yaml:"label_name_bytes,omitempty" later:"limits"`
	LabelValueBytes Bytes `yaml:"label_value_bytes,omitempty" later:"limits"`
	// LineBytes is for logs.
	LineBytes Bytes `yaml:"line_bytes,omitempty" later:"limits"`
	// ActiveSeries counts series of metrics and streams of logs.
	ActiveSeries          int `yaml:"active_series,omitempty" later:"limits"`
	ActiveSeriesPerMetric int `yaml:"active_series_per_metric,omitempty" later:"limits"`
	// ValuesPerLabel counts distinct values of one label of one metric.
	ValuesPerLabel int `yaml:"values_per_label,omitempty" later:"limits"`
	// OnCardinality is reject or observe. Default reject.
	OnCardinality string `yaml:"on_cardinality" oneof:"reject|observe" later:"limits"`
	// RefusedAnswer is error or success: the answer where items were refused. Default error.
	RefusedAnswer string `yaml:"refused_answer" oneof:"error|success" later:"limits"`
}

// metricsOnly, logsOnly and tracesOnly are the keys of Limits that fit one signal; a client's limits have them all.
var (
	metricsOnly = []string{"samples_per_second", "active_series_per_metric", "values_per_label"}
	logsOnly    = []string{"lines_per_second", "line_bytes"}
	tracesOnly  = []string{"spans_per_second"}
)
