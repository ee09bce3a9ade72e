package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.opentelemetry.io/collector/pdata/testdata"

	lokipush "github.com/grafana/loki/pkg/push"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// The secrets of the tests. None of them may ever show.
const (
	clientToken = "client-token-0123456789"
	cloudToken  = "glc_cloud-token-0123456789"
)

// The users of the pretend cloud.
const (
	metricsUser = "1001"
	logsUser    = "1002"
	otlpUser    = "1003"
	devUser     = "2001" // of a second stack, for metrics alone
)

const devToken = "glc_dev-token-0123456789"

// gatewayTest is a gateway between a sender and a pretend cloud, all real listeners on 127.0.0.1.
type gatewayTest struct {
	*Gateway
	t     *testing.T
	cloud *fakecloud.Cloud
	dir   string
	addr  Addresses
	logs  *lockedBuffer
	stop  func() error // like SIGTERM; returns what Run returned
}

// lockedBuffer is a log that a test reads while the gateway writes it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// defaultServer listens on free ports and does not linger.
const defaultServer = `server:
  http_listen: ["127.0.0.1:0"]
  grpc_listen: ["127.0.0.1:0"]
  admin_listen: "127.0.0.1:0"
  drain_delay: 0s
`

// defaultEnvironment has one client and every exit; $CLOUD is the pretend cloud's URL.
const defaultEnvironment = `environments:
  prod:
    clients:
      app: {bearer_token_file: secrets/app}
    upstreams:
      prometheus: {url: $CLOUD/api/prom/push, timeout: 2s, basic_auth: {username: "1001", password_file: secrets/cloud}}
      loki: {url: $CLOUD/loki/api/v1/push, timeout: 2s, basic_auth: {username: "1002", password_file: secrets/cloud}}
      otlp: {url: $CLOUD/otlp, timeout: 2s, basic_auth: {username: "1003", password_file: secrets/cloud}}
`

// start runs a gateway with the given configuration until the test ends. files are more files beside the configuration:
// name, content, name, content.
func start(t *testing.T, yaml string, files ...string) *gatewayTest {
	t.Helper()
	cloud := fakecloud.New(fakecloud.Options{Instances: []fakecloud.Instance{
		{User: metricsUser, Name: "prod-metrics", Endpoint: fakecloud.Prometheus, Tokens: []string{cloudToken}},
		{User: logsUser, Name: "prod-logs", Endpoint: fakecloud.Loki, Tokens: []string{cloudToken}},
		{User: otlpUser, Name: "prod-otlp", Endpoint: fakecloud.OTLP, Tokens: []string{cloudToken}},
		{User: devUser, Name: "dev-metrics", Endpoint: fakecloud.Prometheus, Tokens: []string{devToken}},
	}, Keep: 5000})
	if err := cloud.Start(); err != nil {
		t.Fatal(err)
	}
	g := &gatewayTest{t: t, cloud: cloud, dir: t.TempDir(), logs: new(lockedBuffer)}
	g.file("secrets/app", clientToken+"\n")
	g.file("secrets/cloud", cloudToken+"\n")
	g.file("secrets/dev-cloud", devToken+"\n")
	for i := 0; i < len(files); i += 2 {
		g.file(files[i], files[i+1])
	}
	g.configure(yaml)
	cfg, err := config.Load(filepath.Join(g.dir, "gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	g.Gateway, err = New(cfg, Options{Log: slog.New(slog.NewTextHandler(g.logs, nil)), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan Addresses, 1), make(chan error, 1)
	go func() { done <- g.Run(ctx, func(a Addresses) { ready <- a }) }()
	select {
	case g.addr = <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	g.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		g.t = t // subtests that borrowed it are over
		cloud.Heal()
		if err := g.stop(); err != nil {
			t.Errorf("the gateway ended with %v", err)
		}
		cloud.Close()
		if n := g.inflight.Used(); n != 0 {
			t.Errorf("%d bytes are still charged after the last push", n)
		}
		g.noBugs()
		g.secretsKept()
	})
	return g
}

// file writes a file beside the configuration.
func (g *gatewayTest) file(name, content string) {
	g.t.Helper()
	path := filepath.Join(g.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		g.t.Fatal(err)
	}
}

// configure writes the configuration; the ports of a running gateway stay as they are.
func (g *gatewayTest) configure(yaml string) {
	g.t.Helper()
	g.file("gateway.yaml", strings.ReplaceAll(yaml, "$CLOUD", g.cloud.URL()))
}

// noBugs checks that nothing has happened that our own code makes impossible: books that do not balance are one such thing.
func (g *gatewayTest) noBugs() {
	g.t.Helper()
	if log := g.logs.String(); strings.Contains(log, "BUG") {
		g.t.Errorf("a bug is in the log:\n%s", log)
	}
}

// secretsKept checks that no secret has reached a log or a metric.
func (g *gatewayTest) secretsKept() {
	g.t.Helper()
	text := g.logs.String() + g.scrape()
	for _, s := range []string{clientToken, cloudToken, devToken} {
		if strings.Contains(text, s) {
			g.t.Errorf("secret %q shows in a log or a metric", s)
		}
	}
}

// scrape returns all metrics as text.
func (g *gatewayTest) scrape() string {
	families, err := g.metrics.registry.Gather()
	if err != nil {
		g.t.Error(err)
	}
	var b strings.Builder
	for _, f := range families {
		b.WriteString(f.String() + "\n")
	}
	return b.String()
}

// metric returns the sum of all series of a metric whose labels include those given as name, value, name, value.
func (g *gatewayTest) metric(name string, labels ...string) float64 {
	g.t.Helper()
	families, err := g.metrics.registry.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if has(m, labels) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

func has(m *dto.Metric, labels []string) bool {
	for i := 0; i < len(labels); i += 2 {
		found := false
		for _, l := range m.GetLabel() {
			found = found || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
		}
		if !found {
			return false
		}
	}
	return true
}

var _ prometheus.Collector = (*ledger)(nil)

// answer is what a sender gets.
type answer struct {
	*http.Response
	body string
}

// post sends one push to the first HTTP port.
func (g *gatewayTest) post(path string, header http.Header, body []byte) answer {
	g.t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+g.addr.HTTP[0]+path, bytes.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header = header.Clone()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return answer{res, string(text)}
}

// sample is a push of one door, the same at each call.
type sample struct {
	path   string
	header http.Header
	body   []byte
	items  int
	user   string // of the pretend cloud, where it arrives
	exit   string // endpoint of the pretend cloud
}

func header(pairs ...string) http.Header {
	h := http.Header{"Authorization": {"Bearer " + clientToken}}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// traces returns n spans with ids, which pdata's generator leaves out.
func traces(n int) ptrace.Traces {
	td := testdata.GenerateTraces(n)
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for i, span := range ss.Spans().All() {
				span.SetTraceID([16]byte{1, byte(i)})
				span.SetSpanID([8]byte{2, byte(i)})
				for _, l := range span.Links().All() {
					l.SetTraceID([16]byte{3})
					l.SetSpanID([8]byte{4})
				}
			}
		}
	}
	return td
}

// samples are pushes of every HTTP door, by the door's name.
func samples() map[string]sample {
	now := time.Now().UnixMilli()
	v1 := &prompb.WriteRequest{}
	v2 := &writev2.Request{Symbols: []string{"", "__name__", "up", "instance"}}
	for i := range 5 {
		instance := fmt.Sprintf("host-%d", i)
		v1.Timeseries = append(v1.Timeseries, prompb.TimeSeries{
			Labels:  []prompb.Label{{Name: "__name__", Value: "up"}, {Name: "instance", Value: instance}},
			Samples: []prompb.Sample{{Value: float64(i), Timestamp: now}},
		})
		v2.Symbols = append(v2.Symbols, instance)
		v2.Timeseries = append(v2.Timeseries, writev2.TimeSeries{
			LabelsRefs: []uint32{1, 2, 3, uint32(4 + i)}, Samples: []writev2.Sample{{Value: float64(i), Timestamp: now}},
		})
	}
	lines := &lokipush.PushRequest{Streams: []lokipush.Stream{{Labels: `{app="shop"}`, Entries: []lokipush.Entry{
		{Timestamp: time.Now(), Line: "one"}, {Timestamp: time.Now(), Line: "two"},
	}}}}
	spans := ptraceotlp.NewExportRequestFromTraces(traces(4))
	points := pmetricotlp.NewExportRequestFromMetrics(testdata.GenerateMetrics(3))
	records := plogotlp.NewExportRequestFromLogs(testdata.GenerateLogs(6))
	proto, json := "application/x-protobuf", "application/json"
	return map[string]sample{
		"remote_write_v1": {"/api/v1/push", header("Content-Type", proto, "Content-Encoding", "snappy"),
			snappy.Encode(nil, must(v1.Marshal())), 5, metricsUser, fakecloud.Prometheus},
		"remote_write_v2": {"/api/v1/write", header("Content-Type", proto+";proto=io.prometheus.write.v2.Request", "Content-Encoding", "snappy"),
			snappy.Encode(nil, must(v2.Marshal())), 5, metricsUser, fakecloud.Prometheus},
		"loki": {"/loki/api/v1/push", header("Content-Type", proto),
			snappy.Encode(nil, must(lines.Marshal())), 2, logsUser, fakecloud.Loki},
		"loki json": {"/loki/api/v1/push", header("Content-Type", json),
			[]byte(`{"streams":[{"stream":{"app":"shop"},"values":[["1","a"],["2","b",{"trace_id":"0af7"}]]}]}`), 2, logsUser, fakecloud.Loki},
		"otlp traces":       {"/v1/traces", header("Content-Type", proto), must(spans.MarshalProto()), 4, otlpUser, fakecloud.OTLPTraces},
		"otlp traces json":  {"/v1/traces", header("Content-Type", json), must(spans.MarshalJSON()), 4, otlpUser, fakecloud.OTLPTraces},
		"otlp metrics":      {"/otlp/v1/metrics", header("Content-Type", proto), must(points.MarshalProto()), testdata.GenerateMetrics(3).DataPointCount(), otlpUser, fakecloud.OTLPMetrics},
		"otlp logs":         {"/otlp/v1/logs", header("Content-Type", proto), must(records.MarshalProto()), 6, otlpUser, fakecloud.OTLPLogs},
		"otlp metrics json": {"/v1/metrics", header("Content-Type", json), must(points.MarshalJSON()), testdata.GenerateMetrics(3).DataPointCount(), otlpUser, fakecloud.OTLPMetrics},
	}
}

// eventually waits until ok, for as long as a loaded machine may take.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(15 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// deadline bounds what a test waits for.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	t.Cleanup(cancel)
	return ctx
}
