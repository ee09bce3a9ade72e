package demo

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// stack is what the demo configures: environments, their clients and their users of Grafana Cloud.
type stack struct {
	envs []environment
	// token is Grafana Cloud's, by environment; clients are the senders' own, by environment and client.
	cloud, clients map[string]string
}

type environment struct {
	name                string
	metrics, logs, otlp string // users of Grafana Cloud
	clients             []client
}

// client is a sender: what it speaks and how much it says.
type client struct {
	name  string
	speak string // name of a dialect
	items int    // per push
}

// stranger is the group of the sender that no environment knows.
const stranger = "unknown"

func newStack() *stack {
	s := &stack{envs: []environment{
		{"prod", "53715", "25836", "123456", []client{
			{"payments", "rw1", 40}, {"checkout", "rw2", 60}, {"ingress", "loki", 30},
			{"orders", "traces-grpc", 12}, {"nodes", "metrics-http", 24},
		}},
		{"dev", "61042", "30417", "240977", []client{
			{"api", "rw2", 20}, {"nightly", "rw1", 10}, {"web", "loki-json", 12},
			{"mobile", "traces-json", 6}, {"worker", "logs-grpc", 15},
		}},
		{stranger, "", "", "", []client{{"intruder", "rw1", 5}}},
	}, cloud: map[string]string{}, clients: map[string]string{}}
	for _, e := range s.envs {
		// Shaped like a real access policy token, so that redaction is put to the test as well.
		s.cloud[e.name] = "glc_" + base64.StdEncoding.EncodeToString(
			fmt.Appendf(nil, `{"o":"1","n":"demo-%s","k":%q,"m":{"r":"demo"}}`, e.name, rand.Text()))
		for _, c := range e.clients {
			s.clients[e.name+"/"+c.name] = rand.Text()
		}
	}
	return s
}

// real are the environments that the gateway knows.
func (s *stack) real() []environment { return s.envs[:len(s.envs)-1] }

func (s *stack) instances() (out []fakecloud.Instance) {
	for _, e := range s.real() {
		token := []string{s.cloud[e.name]}
		out = append(out,
			fakecloud.Instance{User: e.metrics, Name: e.name + "-metrics", Endpoint: fakecloud.Prometheus, Tokens: token},
			fakecloud.Instance{User: e.logs, Name: e.name + "-logs", Endpoint: fakecloud.Loki, Tokens: token},
			fakecloud.Instance{User: e.otlp, Name: e.name + "-otlp", Endpoint: fakecloud.OTLP, Tokens: token})
	}
	return out
}

// write writes the gateway's configuration to path and the secrets next to it.
func (s *stack) write(path, cloudURL string) error {
	dir := filepath.Dir(path)
	files := map[string]string{}
	var y strings.Builder
	y.WriteString(`# Written by "gateway demo".
server:
  http_listen: ["127.0.0.1:0"]
  grpc_listen: ["127.0.0.1:0"]
  admin_listen: "127.0.0.1:0"
  drain_delay: 0s
  drain_timeout: 5s

environments:
`)
	for _, e := range s.real() {
		secret := e.name + "-grafana-cloud"
		files[secret] = s.cloud[e.name]
		fmt.Fprintf(&y, "  %s:\n    clients:\n", e.name)
		for _, c := range e.clients {
			file := e.name + "-" + c.name
			files[file] = s.clients[e.name+"/"+c.name]
			fmt.Fprintf(&y, "      %s: {bearer_token_file: %s}\n", c.name, file)
		}
		y.WriteString("    upstreams:\n")
		for _, up := range []struct{ name, url, user string }{
			{"prometheus", cloudURL + fakecloud.Prometheus, e.metrics},
			{"loki", cloudURL + fakecloud.Loki, e.logs},
			{"otlp", cloudURL + "/otlp", e.otlp},
		} {
			fmt.Fprintf(&y, "      %s:\n        url: %s\n        basic_auth: {username: %q, password_file: %s}\n",
				up.name, up.url, up.user, secret)
		}
		for _, signal := range []string{"metrics", "logs", "traces"} {
			fmt.Fprintf(&y, "    %s: {labels: {environment: %s}}\n", signal, e.name)
		}
	}
	files[filepath.Base(path)] = y.String()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}
