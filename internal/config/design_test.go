package config

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestWhole loads a file with all of what this version has and looks at what became of it.
func TestWhole(t *testing.T) {
	c := load(t, `
server:
  http_listen: [":8080", ":4318", {address: ":9411", environment: dev, client: legacy}]
  grpc_listen: []
  admin_web_config_file: ""
  tls:
  max_inflight_bytes: 512MiB
  max_connection_age: 0
environments:
  prod:
    clients:
      payments: {bearer_token_file: secrets/payments}
      billing:  {basic_auth: {username: billing, password_file: secrets/billing}}
      monitor:  {bearer_token_file: secrets/two, exempt: true}
      old-ci:   {bearer_token_file: `+abs(t, "testdata/secrets/cloud")+`, disabled: 403, labels: {k8s_cluster: eu-1}}
    client_limits: {}
    reduction: false
    upstreams:
      prometheus: &grafana
        url: https://prometheus-prod-01-eu-west-0.grafana.net/api/prom/push
        basic_auth: &auth {username: "53715", password_file: secrets/cloud}
        headers: {X-Scope-OrgID: acme}
      loki:
        <<: *grafana
        url: https://logs-prod-us-central1.grafana.net/loki/api/v1/push
        timeout: 9s
      otlp: {url: "https://otlp-gateway-prod-eu-west-0.grafana.net/otlp", basic_auth: *auth, compression: none}
      tempo: {url: "http://tempo.svc:4318", transport: http, bearer_token_file: secrets/cloud}
    metrics: {labels: {environment: prod}, on_collision: reject, allow_protected: true}
    logs:
    traces: {labels: {deployment.environment: prod}, sample_ratio: 1}
  dev:
    anonymous: true
    clients:
      legacy: {basic_auth: {username: billing, password_file: secrets/two}}
`)
	if want := []Listener{{Address: ":8080"}, {Address: ":4318"}, {Address: ":9411", Environment: "dev", Client: "legacy"}}; !cmp.Equal(want, c.Server.HTTPListen) || c.Server.GRPCListen == nil || len(c.Server.GRPCListen) != 0 {
		t.Errorf("listeners %+v %+v", c.Server.HTTPListen, c.Server.GRPCListen)
	}
	if s := c.Server; s.MaxConnectionAge != 0 || s.MaxInflightBytes != 512<<20 || s.RequestTimeout != Duration(30*time.Second) || s.AdminListen != "127.0.0.1:9091" || !s.ExampleValues {
		t.Errorf("%+v", s)
	}
	if len(c.Hash) != 16 {
		t.Errorf("hash %q", c.Hash)
	}
	e := c.Environments["prod"]
	if cl := e.Clients["old-ci"]; cl.Disabled != 403 || cl.Labels["k8s_cluster"] != "eu-1" || e.Reduction || e.Traces.SampleRatio != 1 || e.Logs.Limits.BurstSeconds != 10 {
		t.Errorf("%+v %+v", cl, e)
	}
	secret := func(name string) string { return filepath.Join(filepath.Dir(abs(t, "testdata/x")), "secrets", name) }
	if got := e.Clients["payments"].BearerTokenFile; got != secret("payments") {
		t.Errorf("relative path became %s", got)
	}
	p, l, o, tempo := e.Upstreams.Prometheus, e.Upstreams.Loki, e.Upstreams.OTLP, e.Upstreams.Tempo
	if p.Timeout != Duration(25*time.Second) || p.RemoteWriteVersion != "same" || p.Compression != "" || p.HTTPClientConfig.FollowRedirects || p.HTTPClientConfig.EnableHTTP2 {
		t.Errorf("%v", p)
	}
	if l.Timeout != Duration(9*time.Second) || l.HTTPClientConfig.BasicAuth.Username != "53715" || l.Headers["X-Scope-OrgID"] != "acme" || l.URL == p.URL {
		t.Errorf("%v", l)
	}
	if l.HTTPClientConfig.BasicAuth == p.HTTPClientConfig.BasicAuth || p.HTTPClientConfig.BasicAuth.PasswordFile != secret("cloud") {
		t.Errorf("%v", p)
	}
	if o.Timeout != Duration(8*time.Second) || o.Compression != "none" || o.Transport != "http" {
		t.Errorf("%v", o)
	}
	if tempo.Transport != "http" || tempo.HTTPClientConfig.Authorization.CredentialsFile != secret("cloud") {
		t.Errorf("%v", tempo)
	}
	got := map[string]string{}
	for _, w := range c.Warnings() {
		got[w.Key] = w.Text
	}
	want := map[string]string{
		"environments.prod.upstreams.tempo.url": "credentials or headers are sent over plain http; use https",
		"environments.dev":                      "it has no upstreams: every push will be answered 404",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func abs(t *testing.T, path string) string {
	t.Helper()
	a, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestWarnings(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "short"), "123456789012345\n1234567890123456\n")
	write(t, filepath.Join(dir, "key"), "short-key\n")
	f := func(content string, want ...string) {
		t.Helper()
		c, err := parse(filepath.Join(dir, "gateway.yaml"), []byte("server: {max_inflight_bytes: 512MiB}\n"+content), lookup)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range c.Warnings() {
			w.File = ""
			got = append(got, w.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	f("environments: {a: {clients: {c: {bearer_token_file: short}}, upstreams: {prometheus: {url: 'http://127.0.0.1:9090/api/v1/write', basic_auth: {username: u, password_file: key}}}}}",
		":2:34: environments.a.clients.c.bearer_token_file: the secret on line 1 of the file has 15 bytes; 16 at least are hard to guess",
		":2:156: environments.a.upstreams.prometheus.basic_auth.password_file: the secret has 9 bytes; 16 at least are hard to guess")
	f("environments: {a: {upstreams: {loki: {url: 'http://loki', headers: {A: b}, timeout: 30s, tls_config: {insecure_skip_verify: true}}}}}",
		":2:16: environments.a: nobody can push here: it has no clients and is not anonymous",
		":2:39: environments.a.upstreams.loki.url: has no path; pushes usually go to /loki/api/v1/push",
		":2:39: environments.a.upstreams.loki.url: credentials or headers are sent over plain http; use https",
		":2:76: environments.a.upstreams.loki.timeout: 30s is not below server.request_timeout, 30s, which will end the push first",
		":2:103: environments.a.upstreams.loki.tls_config.insecure_skip_verify: anyone can pose as this upstream and read its credentials; use ca_file")
}
