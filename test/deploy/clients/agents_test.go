//go:build clients && agents

package clients_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// These senders take minutes to build: test/deploy/agents.sh does, and runs what is in this file.

// outage is longer than any of them tries by default: a sender that arrives after it was told not to give up.
const outage = 12

// fails lets the cloud be away, then busy, for the next pushes.
func (s *stage) fails(endpoint string) {
	s.cloud.Fail(endpoint, fakecloud.Fault{Status: http.StatusServiceUnavailable}.For(outage))
	s.cloud.Fail(endpoint, fakecloud.TooMany(1).For(2))
}

// refused waits until the cloud has refused something for good.
func (s *stage) refused(endpoint string) {
	s.Helper()
	for end := time.Now().Add(20 * time.Second); s.cloud.Stats("", endpoint).Codes[http.StatusBadRequest] == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.Fatalf("nothing came to be refused at %s", endpoint)
		}
	}
}

// more appends lines to a file that a sender reads.
func (s *stage) more(path string, lines ...string) {
	s.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		s.Fatal(err)
	}
}

// lines are what the cloud has stored, in the order in which it came; the time is the sender's.
func (s *stage) lines() (all []string) {
	for _, p := range s.cloud.Pushes("", fakecloud.Loki) {
		for _, stream := range p.Logs.Streams {
			for _, e := range stream.Entries {
				all = append(all, e.Line)
			}
		}
	}
	return all
}

// same fails unless what arrived is what was sent.
func (s *stage) same(got, want []string) {
	s.Helper()
	if !slices.Equal(got, want) {
		s.Errorf("%d arrived, %d were sent; the first to differ:", len(got), len(want))
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				s.Fatalf("at %d: %q, want %q", i, got[min(i, len(got)):min(i+3, len(got))], want[min(i, len(want)):min(i+3, len(want))])
			}
		}
	}
}

// tails holds a sender that reads a file to what it must do: outlast an outage, keep the order, and go on after lines that
// the cloud refuses.
func (s *stage) tails(path string) {
	s.Helper()
	var sent []string
	for i := range 500 {
		sent = append(sent, fmt.Sprintf("line %d", i))
	}
	s.fails(fakecloud.Loki)
	s.more(path, sent...)
	s.stored(fakecloud.Loki, len(sent))
	s.cloud.Fail(fakecloud.Loki, fakecloud.Fault{Status: http.StatusBadRequest}.For(1))
	s.more(path, "refused")
	s.refused(fakecloud.Loki)
	s.more(path, "after")
	s.stored(fakecloud.Loki, len(sent)+1)
	s.same(s.lines(), append(sent, "after"))
}

func TestPromtail(t *testing.T) {
	s := newStage(t)
	logs := filepath.Join(s.dir, "logs")
	if err := os.Mkdir(logs, 0o700); err != nil {
		t.Fatal(err)
	}
	file := s.write("promtail.yaml", s.snippet("promtail.yaml",
		"telemetry-gateway.telemetry.svc:8080", s.at.HTTP[0], "/etc/promtail/gateway-token", filepath.Join(s.dir, "client"),
		"/var/lib/promtail", s.dir, "/var/log/", logs+"/", "min_period: 1s, max_period: 1m", "min_period: 10ms, max_period: 20ms")+
		"target_config: {sync_period: 100ms}\n")
	s.run(nil, s.built("PROMTAIL"), "-config.file="+file, "-server.disable=true")
	s.tails(filepath.Join(logs, "app.log"))
}

func TestAlloy(t *testing.T) {
	s := newStage(t)
	path, otlp := s.write("app.log", ""), s.freePort()
	file := s.write("config.alloy", s.snippet("config.alloy",
		"telemetry-gateway.telemetry.svc:8080", s.at.HTTP[0], "telemetry-gateway.telemetry.svc:4318", s.at.HTTP[0],
		"/etc/alloy/gateway-token", filepath.Join(s.dir, "client"),
		`max_backoff_period  = "1m"`, `max_backoff_period  = "20ms"`+"\n"+`min_backoff_period = "10ms"`)+fmt.Sprintf(`
prometheus.scrape "test" {
	targets         = [{"__address__" = %q}]
	scrape_interval = "1s"
	scrape_timeout  = "1s"
	forward_to      = [prometheus.remote_write.gateway.receiver]
}
loki.source.file "test" {
	targets    = [{"__path__" = %q, "job" = "test"}]
	forward_to = [loki.write.gateway.receiver]
}
otelcol.receiver.otlp "test" {
	http { endpoint = %q }
	output {
		metrics = [otelcol.exporter.otlphttp.gateway.input]
		traces  = [otelcol.exporter.otlphttp.gateway.input]
	}
}
`, s.at.Admin, path, otlp))
	s.cloud.Fail(fakecloud.Prometheus, fakecloud.TooMany(1).For(1))
	s.run(nil, s.built("ALLOY"), file, s.dir)
	s.tails(path)
	s.stored(fakecloud.Prometheus, 50)
	if n := s.cloud.Stats("", fakecloud.Prometheus).Codes[http.StatusTooManyRequests]; n != 1 {
		t.Errorf("429 was answered %d times, want 1", n)
	}
	s.listens(otlp)
	s.run(s.sdkEnv(otlp), s.built("CHECKOUT"))
	s.stored(fakecloud.OTLP, 2)
}

// TestTelegraf sends what waited through an outage: several samples of one series in what Telegraf calls a batch.
func TestTelegraf(t *testing.T) {
	s := newStage(t)
	path := filepath.Join(s.dir, "metrics.influx")
	start := time.Now().Add(-time.Minute).Truncate(time.Second)
	var sent, want []string
	for i := range 30 {
		at := start.Add(time.Duration(i) * time.Second)
		sent = append(sent, fmt.Sprintf("orders,shop=a value=%di %d", i, at.UnixNano()))
		want = append(want, fmt.Sprintf("orders_value shop=a %d %d", i, at.UnixMilli()))
	}
	s.more(path, sent...)
	file := s.write("telegraf.conf", s.snippet("telegraf.conf", "telemetry-gateway.telemetry.svc:8080", s.at.HTTP[0],
		"[agent]", "[agent]\n  flush_interval = \"100ms\"\n  omit_hostname = true", "[[inputs.cpu]]", fmt.Sprintf(`[[inputs.tail]]
  files = [%q]
  initial_read_offset = "beginning"
  path_tag = ""
  data_format = "influx"`, path)))
	s.fails(fakecloud.Prometheus)
	s.run([]string{"GATEWAY_PASSWORD=" + clientToken}, s.built("TELEGRAF"), "--config", file)
	s.stored(fakecloud.Prometheus, len(want))

	s.cloud.Fail(fakecloud.Prometheus, fakecloud.Fault{Status: http.StatusBadRequest}.For(1))
	later := start.Add(40 * time.Second)
	s.more(path, fmt.Sprintf("orders,shop=a value=98i %d", later.UnixNano()))
	s.refused(fakecloud.Prometheus)
	s.more(path, fmt.Sprintf("orders,shop=a value=99i %d", later.Add(time.Second).UnixNano()))
	s.stored(fakecloud.Prometheus, len(want)+1)
	s.same(s.samples(), append(want, fmt.Sprintf("orders_value shop=a 99 %d", later.Add(time.Second).UnixMilli())))
}

// samples are what the cloud has stored, in the order in which it came.
func (s *stage) samples() (all []string) {
	for _, p := range s.cloud.Pushes("", fakecloud.Prometheus) {
		for _, series := range p.V1.Timeseries {
			var text []string
			for _, l := range series.Labels {
				if l.Name == "__name__" {
					text = append(text, l.Value)
				} else {
					text = append(text, l.Name+"="+l.Value)
				}
			}
			for _, x := range series.Samples {
				all = append(all, fmt.Sprintf("%s %v %d", strings.Join(text, " "), x.Value, x.Timestamp))
			}
		}
	}
	return all
}
