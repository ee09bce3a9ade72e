package config

import "github.com/prometheus/prometheus/model/relabel"

// MetricsConfig is what happens to metrics on their way.
type MetricsConfig struct {
	// Labels are stamped on every series (OTLP: on every data point); they win over what the sender says.
	Labels map[string]string `yaml:"labels"`
	// RelabelConfigs are Prometheus' relabelling rules, in order, after the stamps. They see the labels of a remote_write
	// series; of an OTLP data point its attributes and __name__, and for reading resource.<name>, scope.name, scope.version.
	RelabelConfigs []*relabel.Config `yaml:"relabel_configs"`
	// ResourceRelabelConfigs are rules for OTLP resource attributes, under their own names. drop drops the whole resource.
	ResourceRelabelConfigs []*relabel.Config `yaml:"resource_relabel_configs"`
	// OnCollision is what happens when a rule makes two live series one. suspend: the rules leave that metric's labels alone
	// until it is over; reject: the second series is refused. Default suspend.
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
	// RelabelConfigs are rules for Loki stream labels and OTLP log attributes; there resource.<name>, scope.name and
	// scope.version can be read.
	RelabelConfigs []*relabel.Config `yaml:"relabel_configs"`
	// ResourceRelabelConfigs are rules for OTLP resource attributes, under their own names. drop drops the whole resource.
	ResourceRelabelConfigs []*relabel.Config `yaml:"resource_relabel_configs"`
	// StructuredMetadata are stream labels, and OTLP resource attributes, that move into each entry's structured metadata:
	// fewer streams, nothing lost. What a stream label becomes is billed as bytes. A stream's last label stays.
	StructuredMetadata []string `yaml:"structured_metadata"`
	// Limits of the environment's logs.
	Limits Limits `yaml:"limits"`
}

// TracesConfig is what happens to traces on their way.
type TracesConfig struct {
	// Labels are stamped on every resource.
	Labels map[string]string `yaml:"labels"`
	// RelabelConfigs are rules for span attributes; __name__ is the span's name, and resource.<name>, scope.name and
	// scope.version can be read. drop drops the span.
	RelabelConfigs []*relabel.Config `yaml:"relabel_configs"`
	// ResourceRelabelConfigs are rules for OTLP resource attributes, under their own names. drop drops the whole resource.
	ResourceRelabelConfigs []*relabel.Config `yaml:"resource_relabel_configs"`
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
