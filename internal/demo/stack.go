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
	rules               map[string]string // more of metrics and logs, as YAML in one line
	effects             effects
}

// client is a sender: what it speaks and how much it says.
type client struct {
	name  string
	speak string // name of a dialect
	items int    // per push
}

// What rules and limits are shown with. The names are in what the senders say.
const (
	uselessMetric = "go_gc_cycles_total" // a rule drops it
	uselessLabel  = "pod_uid"            // a rule takes it away: no series needs it
	neededLabel   = "replica"            // a rule would take it away, and two series would be one
	streamLabel   = "pod"                // moves to the structured metadata of each line
	carelessLabel = "user_id"            // has a new value all the time
	valueLimit    = 100
)

// stranger is the group of the sender that no environment knows.
const stranger = "unknown"

func newStack() *stack {
	s := &stack{envs: []environment{
		{"prod", "53715", "25836", "123456", []client{
			{"payments", "rw1", 40}, {"checkout", "rw2", 60}, {"ingress", "loki", 30},
			{"orders", "traces-grpc", 12}, {"nodes", "metrics-http", 24}, {"shop", "rw1-users", 30},
		}, map[string]string{
			"metrics": fmt.Sprintf("relabel_configs: [{action: drop, source_labels: [__name__], regex: %s}, {action: labeldrop, regex: %s}], limits: {values_per_label: %d}",
				uselessMetric, uselessLabel, valueLimit),
			"logs": fmt.Sprintf("structured_metadata: [%s]", streamLabel),
		}, effects{dropped: uselessMetric, removed: uselessLabel, moved: streamLabel, limited: carelessLabel}},
		{"dev", "61042", "30417", "240977", []client{
			{"api", "rw2", 20}, {"nightly", "rw1-twins", 10}, {"web", "loki-json", 12},
			{"mobile", "traces-json", 6}, {"worker", "logs-grpc", 15},
		}, map[string]string{
			"metrics": fmt.Sprintf("relabel_configs: [{action: labeldrop, regex: %s}]", neededLabel),
		}, effects{kept: neededLabel}},
		{stranger, "", "", "", []client{{"intruder", "rw1", 5}}, nil, effects{}},
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
  guard_warmup: 0s # a demo is over before it is

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
			more := ""
			if r := e.rules[signal]; r != "" {
				more = ", " + r
			}
			fmt.Fprintf(&y, "    %s: {labels: {environment: %s}%s}\n", signal, e.name, more)
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
