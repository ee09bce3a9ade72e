package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/telemetry-gateway/telemetry-gateway/internal/secret"
)

// everywhere is a file with a secret wherever one can be.
const everywhere = `
server:
  http_listen: [":8080", {address: ":9411", environment: prod, client: payments}]
environments:
  prod:
    clients:
      payments: {bearer_token_file: secrets/payments, labels: {cluster: "$${env:eu}"}}
      billing: {basic_auth: {username: "12345", password_file: secrets/billing}}
    upstreams:
      prometheus:
        url: https://metrics.example.com/push
        headers: {X-Key: this-must-not-be-shown}
        basic_auth: {username: "53715", password: this-must-not-be-shown}
        proxy_url: http://user:this-must-not-be-shown@proxy:3128
        proxy_connect_header: {X-Proxy: [this-must-not-be-shown]}
        http_headers: {X-A: {values: ["${env:SECRET}"], secrets: [this-must-not-be-shown], files: [secrets/cloud]}}
      loki:
        url: https://logs.example.com/push
        authorization: {type: Token, credentials: this-must-not-be-shown}
        proxy_url: http://this-must-not-be-shown@proxy:3128?token=this-must-not-be-shown
      otlp:
        url: https://otlp.example.com/otlp
        bearer_token: this-must-not-be-shown
      tempo:
        url: https://tempo.example.com
        transport: http
        timeout: 90s
        oauth2:
          client_id: gateway
          client_secret: this-must-not-be-shown
          token_url: https://id.example.com/token
          scopes: [push]
          endpoint_params: {assertion: this-must-not-be-shown}
          claims: {a: [1, {b: this-must-not-be-shown}]}
          client_certificate_key: this-must-not-be-shown
          proxy_url: http://user:this-must-not-be-shown@proxy:3128
    metrics: {labels: {environment: prod}}
`

func load(t *testing.T, content string) *Config {
	t.Helper()
	c, err := parse("testdata/x.yaml", []byte(content), lookup)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNoOutputHasASecret(t *testing.T) {
	c := load(t, everywhere)
	e := c.Environments["prod"]
	values := []any{c, *c, c.Environments, e, *e, e.Upstreams, &e.Upstreams}
	e.Upstreams.Each(func(_ string, u *Upstream) {
		values = append(values, u, *u, []*Upstream{u}, map[string]Upstream{"u": *u})
	})
	var files []string
	for _, name := range []string{"payments", "billing", "cloud"} {
		content, err := os.ReadFile(filepath.Join("testdata/secrets", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range secret.Lines(content) {
			files = append(files, l.Value.Reveal())
		}
	}
	check := func(how string, out []byte, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", how, err)
		}
		for _, s := range append(files, planted) {
			if bytes.Contains(out, []byte(s)) {
				t.Errorf("%s shows a secret:\n%s", how, out)
			}
		}
	}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			check(fmt.Sprintf("%s of %T", verb, v), fmt.Appendf(nil, verb, v), nil)
		}
		out, err := json.Marshal(v)
		check(fmt.Sprintf("JSON of %T", v), out, err)
		out, err = yaml.Marshal(v)
		check(fmt.Sprintf("YAML of %T", v), out, err)
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		check(fmt.Sprintf("log of %T", v), log.Bytes(), nil)
	}
	out, err := c.Masked()
	check("Masked", out, err)
	for _, w := range c.Warnings() {
		check("a warning", []byte(w.String()), nil)
	}
	if n := strings.Count(string(out), "<secret>"); n != 12 {
		t.Errorf("%d values are masked:\n%s", n, out)
	}
	if n := strings.Count(string(out), "xxxxx"); n != 4 {
		t.Errorf("%d parts of URLs are masked:\n%s", n, out)
	}
}

// TestMaskedHasTheSameShape feeds the dump to Parse: only what is masked may differ.
func TestMaskedHasTheSameShape(t *testing.T) {
	c := load(t, everywhere)
	out, err := c.Masked()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"http_listen:\n    - :8080\n    - address: :9411\n      environment: prod", "max_body_bytes: 16MiB", "max_connection_age: 5m\n", "timeout: 1m30s",
		`username: "12345"`, "remote_write_version: same", "follow_redirects: false", "proxy_url: http://user:xxxxx@proxy:3128\n", "cluster: $${env:eu}", "burst_seconds: 10\n", "sample_ratio: 1\n",
	} {
		if !strings.Contains(string(out), line) {
			t.Errorf("no %q in\n%s", line, out)
		}
	}
	again := load(t, string(out))
	for _, key := range Changed(c, again) {
		if !slices.ContainsFunc([]string{"headers", "password", "proxy_", "credentials", "secret", "claims", "endpoint_params", "client_certificate_key"}, func(s string) bool { return strings.Contains(key, s) }) {
			t.Errorf("%s did not come back", key)
		}
	}
	twice, err := again.Masked()
	if diff := cmp.Diff(string(out), string(twice)); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestChanged(t *testing.T) {
	f := func(old, changed string, want ...string) {
		t.Helper()
		at := strings.NewReplacer(old, changed)
		if !strings.Contains(everywhere, old) {
			t.Fatalf("no %q", old)
		}
		if diff := cmp.Diff(want, Changed(load(t, everywhere), load(t, at.Replace(everywhere)))); diff != "" {
			t.Errorf("%s -> %s: %s", old, changed, diff)
		}
	}
	f("payments", "payments")
	f("X-Key: this-must-not-be-shown", "X-Key: other", "environments.prod.upstreams.prometheus.headers.X-Key")
	f("client_secret: this-must-not-be-shown", "client_secret: other", "environments.prod.upstreams.tempo.oauth2.client_secret")
	f("bearer_token: this-must-not-be-shown", "bearer_token: other", "environments.prod.upstreams.otlp.authorization.credentials")
	f("user:this-must-not-be-shown@proxy", "user:other@proxy",
		"environments.prod.upstreams.prometheus.proxy_url", "environments.prod.upstreams.tempo.oauth2.proxy_url")
	f("scopes: [push]", "scopes: [push, pull]", "environments.prod.upstreams.tempo.oauth2.scopes")
	f("    clients:\n", "    clients:\n      new: {bearer_token_file: secrets/cloud}\n", "environments.prod.clients.new")
	f("metrics: {labels: {environment: prod}}", "logs: {labels: {environment: prod}}", "environments.prod.logs.labels.environment", "environments.prod.metrics.labels.environment")
	f("client: payments", "client: billing", "server.http_listen[1].client")
	f(`":8080", {`, `":8081", {`, "server.http_listen[0].address")
	f(`":8080", {`, `":8080", ":8081", {`, "server.http_listen")
	f("server:\n", "server:\n  max_series: 5\n  drain_delay: 1s\n  admin_listen: \":1\"\n", "server.admin_listen", "server.drain_delay", "server.max_series")
}

func TestNeedRestart(t *testing.T) {
	got := NeedRestart([]string{
		"environments.prod", "server.admin_listen", "server.admin_web_config_file", "server.drain_delay", "server.grpc_listen", "server.http_listen[0].address",
		"server.http_listen[1].client", "server.http_listen[12].environment", "server.max_series", "environments.server.max_series",
	})
	want := []string{"server.admin_listen", "server.admin_web_config_file", "server.grpc_listen", "server.http_listen[0].address", "server.max_series"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
