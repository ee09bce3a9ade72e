// Package config is the configuration file: its structs are the manual, Load reads and validates a file whole and
// reports every fault at once. It reads secret files only to say what is wrong with them; it never keeps a secret of a
// file, opens no connection and starts nothing. cmd/gateway and internal/gateway call it.
//
// Struct tags beside yaml: `oneof` lists the words that a key takes, and `must:"positive"` forbids 0.
package config

import (
	promconfig "github.com/prometheus/common/config"
)

// Config is the whole file.
type Config struct {
	Server Server `yaml:"server"`
	// Environments by name, [a-zA-Z0-9_-]{1,64}. At least one.
	Environments map[string]*Environment `yaml:"environments"`

	// Path is the file this came from; relative paths in it are relative to its directory and absolute here.
	Path string `yaml:"-"`
	// Hash is the first 8 bytes of the SHA-256 of the file's content, in hex.
	Hash string `yaml:"-"`

	warnings []Warning
}

// Server is what the process needs whatever it forwards.
type Server struct {
	// HTTPListen are the push ports for HTTP; every HTTP door is on each. Default [":8080"]. A change needs a restart.
	HTTPListen []Listener `yaml:"http_listen"`
	// GRPCListen are the push ports for gRPC. Default [":4317"]. A change needs a restart.
	GRPCListen []Listener `yaml:"grpc_listen"`
	// AdminListen is the port for operators: metrics, health, status, reload, pprof. Default "127.0.0.1:9091". A change needs a restart.
	AdminListen string `yaml:"admin_listen"`
	// AdminWebConfigFile is an exporter-toolkit file: TLS and users for the admin port. Default "": neither.
	AdminWebConfigFile string `yaml:"admin_web_config_file"`
	// TLS of the push ports. Default: plain text.
	TLS TLS `yaml:"tls"`
	// MaxBodyBytes bounds one push as sent. Default 16MiB.
	MaxBodyBytes Bytes `yaml:"max_body_bytes" must:"positive"`
	// MaxDecodedBytes bounds one push after decompression. Default 64MiB, 1GiB at most.
	MaxDecodedBytes Bytes `yaml:"max_decoded_bytes" must:"positive"`
	// MaxInflightBytes bounds all buffers of all pushes together. Default 40 % of the container's memory limit, else 512MiB.
	MaxInflightBytes Bytes `yaml:"max_inflight_bytes" must:"positive"`
	// MaxConnections bounds the open connections of each push port. Default 10000. A change needs a restart.
	MaxConnections int `yaml:"max_connections" must:"positive"`
	// MaxConnectionAge is when a connection is told to close. Default 5m; 0: never.
	MaxConnectionAge Duration `yaml:"max_connection_age"`
	// MaxSeries bounds the entries of the series table. Default 4000000. A change needs a restart.
	MaxSeries int `yaml:"max_series" must:"positive"`
	// GuardWarmup is how long after a start cardinality limits admit 1.2 times as much. Default 5m; 0: exact at once.
	GuardWarmup Duration `yaml:"guard_warmup"`
	// RequestTimeout is the time from the headers of a push to its answer. Default 30s.
	RequestTimeout Duration `yaml:"request_timeout" must:"positive"`
	// DrainDelay is how long after SIGTERM the gateway is not ready but still serves. Default 5s.
	DrainDelay Duration `yaml:"drain_delay"`
	// DrainTimeout is how long after that what is in flight may take. Default 30s.
	DrainTimeout Duration `yaml:"drain_timeout" must:"positive"`
	// ExampleValues: label values may be shown in answers, logs and status. Default true.
	ExampleValues bool `yaml:"example_values"`
}

// Listener is an address, written as a string or as {address, environment, client}. With the latter two, what comes in
// there without credentials is that client's.
type Listener struct {
	Address     string `yaml:"address"`
	Environment string `yaml:"environment,omitempty"`
	Client      string `yaml:"client,omitempty"`
}

// TLS is a server's certificate. The files are read again when they change.
type TLS struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// ClientCAFile verifies certificates of clients that present one.
	ClientCAFile string `yaml:"client_ca_file"`
}

// Environment is one tenant: who sends, where it goes, and what is changed on the way.
type Environment struct {
	// Anonymous: a push without credentials belongs here, as client "anonymous". One environment at most. Default false.
	Anonymous bool `yaml:"anonymous"`
	// Clients by name, [a-zA-Z0-9_-]{1,64}.
	Clients map[string]*Client `yaml:"clients"`
	// ClientLimits are limits that every client has for itself. A client that names a key in its own limits has its own
	// value for that key. They have the keys of all signals; requests and bytes are one sum over all signals, the other keys
	// hold for each signal that they fit. See LimitsOf.
	ClientLimits Limits `yaml:"client_limits"`
	// Reduction false passes everything through rules, guard and sampling; credentials, stamps and rate limits stay. Default true.
	Reduction bool          `yaml:"reduction"`
	Upstreams Upstreams     `yaml:"upstreams"`
	Metrics   MetricsConfig `yaml:"metrics"`
	Logs      LogsConfig    `yaml:"logs"`
	Traces    TracesConfig  `yaml:"traces"`
}

// Client is one sender. It has exactly one of the three credentials.
type Client struct {
	// BearerTokenFile holds one token a line; every line is valid. Blank lines and # comments are ignored.
	BearerTokenFile string `yaml:"bearer_token_file,omitempty"`
	// BasicAuth is a user name and a file with one password a line.
	BasicAuth *ClientBasicAuth `yaml:"basic_auth,omitempty"`
	// ClientCert is a DNS or URI SAN of a certificate verified against server.tls.client_ca_file.
	ClientCert string `yaml:"client_cert,omitempty"`
	// Labels are stamped on this client's pushes, over the environment's.
	Labels map[string]string `yaml:"labels"`
	// Limits are this client's own, beside those of the environment. A key that is left out is as in client_limits; 0 is no
	// limit also where client_limits has one.
	Limits Limits `yaml:"limits"`
	// Exempt: no limits and no guard. Default false.
	Exempt bool `yaml:"exempt"`
	// Disabled is 403 or 503: every push of this client is answered so at once. Default 0: it is not.
	Disabled int `yaml:"disabled,omitempty"`
}

// ClientBasicAuth is a client's user name and passwords.
type ClientBasicAuth struct {
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"password_file"`
}

// Upstreams are the exits that an environment has. Nil: it has not.
type Upstreams struct {
	Prometheus *Upstream `yaml:"prometheus"`
	Loki       *Upstream `yaml:"loki"`
	OTLP       *Upstream `yaml:"otlp"`
	Tempo      *Upstream `yaml:"tempo"`
}

// Upstream is one exit.
type Upstream struct {
	// URL is where pushes go. For otlp and tempo, /v1/traces and so on is appended.
	URL string `yaml:"url"`
	// Headers are sent with every push. Values are treated as secrets.
	Headers map[string]promconfig.Secret `yaml:"headers,omitempty"`
	// Timeout is how long upstream may take. Default 25s for prometheus, 8s for the others.
	Timeout Duration `yaml:"timeout" must:"positive"`
	// RemoteWriteVersion is same, 1 or 2; prometheus only. Default same.
	RemoteWriteVersion string `yaml:"remote_write_version,omitempty" oneof:"same|1|2"`
	// Compression is same, gzip or none; otlp and tempo only. Default same: as it came, but zstd leaves as gzip.
	Compression string `yaml:"compression,omitempty" oneof:"same|gzip|none"`
	// Transport is http or grpc; otlp and tempo only. Default http for otlp, grpc for tempo.
	Transport string `yaml:"transport,omitempty" oneof:"http|grpc"`
	// HTTPClientConfig has Prometheus' keys: basic_auth, authorization, oauth2, tls_config, proxy_url, http_headers, ...
	// Other than in Prometheus, enable_http2 defaults to false and follow_redirects: true is an error.
	HTTPClientConfig promconfig.HTTPClientConfig `yaml:",inline"`
}

// Each calls f for every upstream that is configured, with its name as the file has it, in a fixed order.
func (u *Upstreams) Each(f func(name string, up *Upstream)) {
	for _, e := range []struct {
		name string
		up   *Upstream
	}{{"prometheus", u.Prometheus}, {"loki", u.Loki}, {"otlp", u.OTLP}, {"tempo", u.Tempo}} {
		if e.up != nil {
			f(e.name, e.up)
		}
	}
}
