//go:build clients

// Package clients_test runs what deploy/clients tells people to write: real senders with those very files, changed only in
// where the gateway is and where files are, against a gateway and a pretend Grafana Cloud. test/deploy/run.sh builds the
// senders, names them in the environment, and runs it; that is why it has a build tag.
package clients_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
	"github.com/telemetry-gateway/telemetry-gateway/internal/gateway"
)

const (
	snippets    = "../../../deploy/clients"
	clientToken = "token-of-the-client-of-this-test"
	cloudToken  = "glc_token-of-the-cloud-of-this-test"
)

// stage is a gateway before a pretend cloud.
type stage struct {
	*testing.T
	cloud *fakecloud.Cloud
	dir   string
	at    gateway.Addresses
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{T: t, dir: t.TempDir()}
	s.cloud = fakecloud.New(fakecloud.Options{Instances: []fakecloud.Instance{
		{User: "1", Name: "metrics", Endpoint: fakecloud.Prometheus, Tokens: []string{cloudToken}},
		{User: "2", Name: "otlp", Endpoint: fakecloud.OTLP, Tokens: []string{cloudToken}},
		{User: "3", Name: "logs", Endpoint: fakecloud.Loki, Tokens: []string{cloudToken}},
	}})
	if err := s.cloud.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.cloud.Close)
	s.write("client", clientToken)
	s.write("cloud", cloudToken)
	s.write("gateway.yaml", fmt.Sprintf(`
server:
  http_listen: ["127.0.0.1:0", {address: "127.0.0.1:0", environment: prod, client: legacy}]
  grpc_listen: []
  admin_listen: "127.0.0.1:0"
  drain_delay: 0s
environments:
  prod:
    clients:
      app: {bearer_token_file: client}
      legacy: {}
      shop: {basic_auth: {username: shop, password_file: client}}
      telegraf: {basic_auth: {username: telegraf, password_file: client}}
    upstreams:
      prometheus: {url: "%[1]s%[2]s", basic_auth: {username: "1", password_file: cloud}}
      otlp: {url: "%[1]s%[3]s", basic_auth: {username: "2", password_file: cloud}}
      loki: {url: "%[1]s%[4]s", basic_auth: {username: "3", password_file: cloud}}
`, s.cloud.URL(), fakecloud.Prometheus, strings.TrimSuffix(fakecloud.OTLP, "/v1/"), fakecloud.Loki))
	cfg, err := config.Load(filepath.Join(s.dir, "gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(cfg, gateway.Options{Log: slog.New(slog.DiscardHandler), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ready, done := make(chan gateway.Addresses, 1), make(chan error, 1)
	go func() { done <- g.Run(ctx, func(a gateway.Addresses) { ready <- a }) }()
	select {
	case s.at = <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); <-done })
	return s
}

func (s *stage) write(name, text string) string {
	s.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
	return path
}

// snippet is a file of deploy/clients with other places in it: old, new, old, new. Every old one must be there.
func (s *stage) snippet(name string, places ...string) string {
	s.Helper()
	raw, err := os.ReadFile(filepath.Join(snippets, name))
	if err != nil {
		s.Fatal(err)
	}
	text := string(raw)
	for i := 0; i < len(places); i += 2 {
		if !strings.Contains(text, places[i]) {
			s.Fatalf("%s lacks %s", name, places[i])
		}
		text = strings.ReplaceAll(text, places[i], places[i+1])
	}
	return text
}

// built is a program that the script has built.
func (s *stage) built(variable string) string {
	s.Helper()
	path := os.Getenv(variable)
	if path == "" {
		s.Fatalf("%s is not set: run test/deploy/run.sh", variable)
	}
	return path
}

// run runs a sender until the test ends.
func (s *stage) run(env []string, name string, args ...string) {
	s.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = s.dir
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		_ = cmd.Process.Kill() // what it has not sent by now is not waited for
		_ = cmd.Wait()
		if s.Failed() {
			text := said.String()
			s.Logf("%s said:\n%s", filepath.Base(name), text[max(0, len(text)-2000):])
		}
	})
}

// stored waits until the cloud has n items of an endpoint, from a sender that breaks no rule.
func (s *stage) stored(endpoint string, n int) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 30*time.Second)
	defer cancel()
	if err := s.cloud.WaitItems(ctx, "", endpoint, n); err != nil {
		s.Fatalf("nothing arrived at %s: %v", endpoint, err)
	}
	for _, v := range s.cloud.Violations() {
		// vmagent does not sort labels unless told to. Grafana Cloud does it itself.
		if !strings.HasSuffix(fmt.Sprint(v), "not sorted") {
			s.Errorf("the cloud complains: %v", v)
		}
	}
}

// freePort is one that nothing listens on now.
func (s *stage) freePort() string {
	s.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// listens waits until something does at address.
func (s *stage) listens(address string) {
	s.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(end) {
			s.Fatal(err)
		}
	}
}

func (s *stage) scrapes() string {
	return "scrape_configs: [{job_name: gateway, scrape_interval: 1s, static_configs: [{targets: ['" + s.at.Admin + "']}]}]\n"
}

func TestPrometheus(t *testing.T) {
	s := newStage(t)
	file := s.write("prometheus.yml", s.scrapes()+s.snippet("prometheus.yml",
		"telemetry-gateway.telemetry.svc:8080", s.at.HTTP[0], "/etc/prometheus/gateway-token", filepath.Join(s.dir, "client")))
	s.run(nil, "prometheus", "--config.file="+file, "--enable-feature=agent", "--storage.agent.path="+filepath.Join(s.dir, "agent"),
		"--web.listen-address="+s.freePort())
	s.stored(fakecloud.Prometheus, 50)
}

func TestVmagent(t *testing.T) {
	s := newStage(t)
	s.write("scrape.yml", s.scrapes())
	file := s.write("vmagent.sh", s.snippet("vmagent.sh",
		"telemetry-gateway.telemetry.svc:8080", s.at.HTTP[0], "/etc/vmagent/gateway-token", filepath.Join(s.dir, "client"),
		"/etc/vmagent/scrape.yml", filepath.Join(s.dir, "scrape.yml"), "/var/lib/vmagent", filepath.Join(s.dir, "queue"),
		"exec vmagent", "exec "+s.built("VMAGENT")+" -httpListenAddr="+s.freePort()))
	s.run(nil, "sh", file)
	s.stored(fakecloud.Prometheus, 50)
}

// variables are those of a snippet that sets some.
func (s *stage) variables(name string, places ...string) (env []string) {
	s.Helper()
	for _, line := range strings.Split(s.snippet(name, places...), "\n") {
		if line != "" && !strings.HasPrefix(line, "#") {
			env = append(env, line)
		}
	}
	return env
}

// sdkEnv are the variables of otel-sdk.env, for an endpoint.
func (s *stage) sdkEnv(endpoint string) []string {
	s.Helper()
	return s.variables("otel-sdk.env", "telemetry-gateway.telemetry.svc:4318", endpoint, "GATEWAY_TOKEN", clientToken)
}

func TestGoSDK(t *testing.T) {
	s := newStage(t)
	s.run(s.sdkEnv(s.at.HTTP[0]), s.built("CHECKOUT"))
	s.stored(fakecloud.OTLP, 2) // a span and a data point
}

func TestCollector(t *testing.T) {
	s := newStage(t)
	if err := os.Mkdir(filepath.Join(s.dir, "queue"), 0o700); err != nil {
		t.Fatal(err)
	}
	endpoint := s.freePort()
	file := s.write("otelcol.yaml", s.snippet("otel-collector.yaml",
		"telemetry-gateway.telemetry.svc:4318", s.at.HTTP[0], "/etc/otelcol/gateway-token", filepath.Join(s.dir, "client"),
		"/var/lib/otelcol", filepath.Join(s.dir, "queue"), "127.0.0.1:4317", s.freePort(), "127.0.0.1:4318", endpoint)+
		"  telemetry: {metrics: {level: none}}\n")
	s.run(nil, s.built("OTELCOL"), "--config="+file)
	s.listens(endpoint)
	s.run(s.sdkEnv(endpoint), s.built("CHECKOUT"))
	s.stored(fakecloud.OTLP, 2)
}

// TestJaeger: the library has no other settings than these variables.
func TestJaeger(t *testing.T) {
	s := newStage(t)
	s.run(s.variables("jaeger.env", "telemetry-gateway.telemetry.svc:14268", s.at.HTTP[0], "GATEWAY_PASSWORD", clientToken), s.built("JAEGER"))
	s.stored(fakecloud.OTLPTraces, 1)
	resource := s.cloud.Pushes("", fakecloud.OTLPTraces)[0].Traces.ResourceSpans().At(0)
	service, _ := resource.Resource().Attributes().Get("service.name")
	if name := resource.ScopeSpans().At(0).Spans().At(0).Name(); name != "place order" || service.Str() != "checkout" {
		t.Errorf("span %q of service %q arrived", name, service.Str())
	}
}

// TestZipkin posts to the pinned port without credentials, as reporters do.
func TestZipkin(t *testing.T) {
	s := newStage(t)
	var url string
	for _, line := range strings.Split(s.snippet("zipkin.properties", "telemetry-gateway.telemetry.svc:9411", s.at.HTTP[1]), "\n") {
		if v, ok := strings.CutPrefix(line, "management.zipkin.tracing.endpoint="); ok {
			url = v
		}
	}
	body := fmt.Sprintf(`[{"traceId":"463ac35c9f6413ad48485a3953bb6124","id":"a2fb4a1d1a96d312","name":"get","timestamp":%d,"duration":10,"localEndpoint":{"serviceName":"checkout"}}]`,
		time.Now().UnixMicro())
	answer, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusAccepted {
		t.Fatalf("answered %d, want 202", answer.StatusCode)
	}
	s.stored(fakecloud.OTLP, 1)
}
