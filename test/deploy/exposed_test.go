package deploy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
	"github.com/telemetry-gateway/telemetry-gateway/internal/gateway"
)

const (
	clientToken = "client-token-0123456789"
	cloudToken  = "glc_cloud-token-0123456789"
)

// busyConfig makes everything happen that has a metric of its own: rules that drop, merge and lose a protected label,
// limits that refuse and that observe, labels that become structured metadata, a conversion between versions.
const busyConfig = `server:
  http_listen: ["127.0.0.1:0"]
  grpc_listen: ["127.0.0.1:0"]
  admin_listen: "127.0.0.1:0"
  drain_delay: 0s
  guard_warmup: 0s
environments:
  prod:
    clients:
      app: {bearer_token_file: secrets/app}
    upstreams:
      prometheus: {url: $CLOUD/api/prom/push, remote_write_version: 1, basic_auth: {username: "1001", password_file: secrets/cloud}}
      loki: {url: $CLOUD/loki/api/v1/push, basic_auth: {username: "1002", password_file: secrets/cloud}}
    metrics:
      relabel_configs:
        - {action: drop, source_labels: [__name__], regex: go_threads}
        - {action: labeldrop, regex: instance}
      limits: {active_series_per_metric: 1, on_cardinality: observe, samples_per_second: 1000}
    logs:
      structured_metadata: [pod]
`

// exposed is every metric that a running gateway shows, with the names of its labels.
func exposed(t *testing.T) map[string]map[string]bool {
	t.Helper()
	cloud, push, scrape := runBusy(t)
	now := time.Now().UnixMilli()
	v1 := func(pairs ...string) {
		s := prompb.TimeSeries{Samples: []prompb.Sample{{Value: 1, Timestamp: now}}}
		for i := 0; i < len(pairs); i += 2 {
			s.Labels = append(s.Labels, prompb.Label{Name: pairs[i], Value: pairs[i+1]})
		}
		push("/api/v1/push", "application/x-protobuf", must((&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{s}}).Marshal()))
	}
	v1("__name__", "go_threads", "job", "shop")
	v1("__name__", "up", "instance", "a", "job", "shop")
	v1("__name__", "up", "instance", "b", "job", "shop")
	v2 := writev2.Request{Symbols: []string{"", "__name__", "requests_total"}, Timeseries: []writev2.TimeSeries{{
		LabelsRefs: []uint32{1, 2}, Samples: []writev2.Sample{{Value: 1, Timestamp: now, StartTimestamp: now - 1000}},
	}}}
	push("/api/v1/push", "application/x-protobuf;proto=io.prometheus.write.v2.Request", must(v2.Marshal()))
	push("/loki/api/v1/push", "application/json", fmt.Appendf(nil, `{"streams":[{"stream":{"app":"shop","pod":"p"},"values":[["%d","line"]]}]}`, now*1e6))

	cloud.Fail("", fakecloud.Fault{Status: http.StatusServiceUnavailable})
	v1("__name__", "failed", "job", "shop")

	all := make(map[string]map[string]bool)
	add := func(name string, m *dto.Metric, more ...string) {
		if all[name] == nil {
			all[name] = make(map[string]bool)
		}
		for _, l := range m.GetLabel() {
			all[name][l.GetName()] = true
		}
		for _, l := range more {
			all[name][l] = true
		}
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	for name, f := range must(parser.TextToMetricFamilies(strings.NewReader(scrape()))) {
		for _, m := range f.GetMetric() {
			add(name, m)
			if f.GetType() == dto.MetricType_HISTOGRAM {
				add(name+"_bucket", m, "le")
				add(name+"_sum", m)
				add(name+"_count", m)
			}
		}
	}
	return all
}

// runBusy starts a gateway with busyConfig and its cloud until the test ends.
func runBusy(t *testing.T) (cloud *fakecloud.Cloud, push func(path, contentType string, body []byte), scrape func() string) {
	t.Helper()
	cloud = fakecloud.New(fakecloud.Options{Instances: []fakecloud.Instance{
		{User: "1001", Name: "metrics", Endpoint: fakecloud.Prometheus, Tokens: []string{cloudToken}},
		{User: "1002", Name: "logs", Endpoint: fakecloud.Loki, Tokens: []string{cloudToken}},
	}, Keep: 10})
	if err := cloud.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secrets", "app"), clientToken)
	write(t, filepath.Join(dir, "secrets", "cloud"), cloudToken)
	path := filepath.Join(dir, "gateway.yaml")
	write(t, path, strings.ReplaceAll(busyConfig, "$CLOUD", cloud.URL()))
	at := serve(t, path)
	push = func(path, contentType string, body []byte) {
		encoding := ""
		if contentType != "application/json" {
			body, encoding = snappy.Encode(nil, body), "snappy"
		}
		req := must(http.NewRequest(http.MethodPost, "http://"+at.HTTP[0]+path, bytes.NewReader(body)))
		req.Header = http.Header{"Authorization": {"Bearer " + clientToken}, "Content-Type": {contentType}, "Content-Encoding": {encoding}}
		_ = must(http.DefaultClient.Do(req)).Body.Close()
	}
	return cloud, push, func() string {
		res := must(http.Get("http://" + at.Admin + "/metrics"))
		defer res.Body.Close()
		return string(must(io.ReadAll(res.Body)))
	}
}

// serve runs a gateway with the configuration at path until the test ends.
func serve(t *testing.T, path string) (at gateway.Addresses) {
	t.Helper()
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(cfg, gateway.Options{Log: slog.New(slog.DiscardHandler), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ready, done := make(chan gateway.Addresses, 1), make(chan error, 1)
	go func() { done <- g.Run(ctx, func(a gateway.Addresses) { ready <- a }) }()
	select {
	case at = <-ready:
	case err := <-done:
		stop()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the gateway ended with %v", err)
		}
	})
	return at
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// declaredNames are the metrics that the gateway's code names.
func declaredNames(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	for _, path := range must(filepath.Glob(filepath.Join(root, "internal", "gateway", "*.go"))) {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		for _, m := range regexp.MustCompile(`"(gateway_[a-z0-9_]+)"`).FindAllStringSubmatch(string(must(os.ReadFile(path))), -1) {
			names[m[1]] = true
		}
	}
	if len(names) < 20 {
		t.Fatalf("only %d metrics are declared: the test looks in the wrong place", len(names))
	}
	return names
}

// TestExposed: what the other tests take for all metrics is all of them: each that the code names was seen at a running
// gateway.
func TestExposed(t *testing.T) {
	all := exposed(t)
	for name := range declaredNames(t) {
		if all[name] == nil {
			t.Errorf("%s is declared, but a running gateway does not expose it: give busyConfig or exposed what makes it happen", name)
		}
	}
}
