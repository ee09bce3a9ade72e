package config

import "time"

// defaulter is what has defaults other than zero. Decoding sets them before it looks at the file.
type defaulter interface{ setDefaults() }

func (c *Config) setDefaults() {
	c.Server = Server{
		HTTPListen:       []Listener{{Address: ":8080"}},
		GRPCListen:       []Listener{{Address: ":4317"}},
		AdminListen:      "127.0.0.1:9091",
		MaxBodyBytes:     16 << 20,
		MaxDecodedBytes:  64 << 20,
		MaxConnections:   10000,
		MaxConnectionAge: Duration(5 * time.Minute),
		MaxSeries:        4000000,
		GuardWarmup:      Duration(5 * time.Minute),
		RequestTimeout:   Duration(30 * time.Second),
		DrainDelay:       Duration(5 * time.Second),
		DrainTimeout:     Duration(30 * time.Second),
		ExampleValues:    true,
	}
}

func (e *Environment) setDefaults() {
	e.Reduction = true
	e.Metrics.OnCollision = "suspend"
	e.Traces.SampleRatio = 1
	for _, l := range []*Limits{&e.ClientLimits, &e.Metrics.Limits, &e.Logs.Limits, &e.Traces.Limits} {
		l.setDefaults()
	}
	e.ClientLimits.partial = true
}

func (c *Client) setDefaults() {
	c.Limits.setDefaults()
	c.Limits.partial = true
}

func (l *Limits) setDefaults() {
	l.BurstSeconds = 10
	l.OnRateLimit, l.OnCardinality, l.RefusedAnswer = "reject", "reject", "error"
}

// setDefaults sets what depends on the exit's name. Zero values stand for keys that the file does not have: a timeout
// of 0 is refused while decoding.
func (u *Upstream) setDefaults(name string) {
	if u.Timeout == 0 {
		u.Timeout = Duration(8 * time.Second)
		if name == "prometheus" {
			u.Timeout = Duration(25 * time.Second)
		}
	}
	set := func(key *string, value string) {
		if *key == "" {
			*key = value
		}
	}
	switch name {
	case "prometheus":
		set(&u.RemoteWriteVersion, "same")
	case "otlp":
		set(&u.Compression, "same")
		set(&u.Transport, "http")
	case "tempo":
		set(&u.Compression, "same")
		set(&u.Transport, "grpc")
	}
}
