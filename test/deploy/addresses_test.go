package deploy_test

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// startGateway runs a gateway with one client and returns the address of its push port.
func startGateway(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	write(t, filepath.Join(filepath.Dir(path), "token"), "a-token-of-the-only-client")
	write(t, path, `
server: {http_listen: ["127.0.0.1:0"], grpc_listen: [], admin_listen: "127.0.0.1:0", drain_delay: 0s}
environments:
  prod:
    clients: {app: {bearer_token_file: token}}
    upstreams: {prometheus: {url: "http://127.0.0.1:9/"}, loki: {url: "http://127.0.0.1:9/"}, otlp: {url: "http://127.0.0.1:9/"}}
`)
	return serve(t, path).HTTP[0]
}

// TestAddresses: every address in deploy/clients is one that an installation by the chart has, and what is posted there
// meets a door: without credentials it is answered 401, not 404.
func TestAddresses(t *testing.T) {
	var chart struct {
		Ports map[string]struct{ Port string }
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/helm/telemetry-gateway/values.yaml")), &chart); err != nil {
		t.Fatal(err)
	}
	ports := map[string]bool{}
	for _, p := range chart.Ports {
		ports[p.Port] = true
	}
	address := regexp.MustCompile("(https?://)?telemetry-gateway\\.telemetry\\.svc:(\\d+)([^\\s\"'`|)]*)")
	gateway := startGateway(t)
	seen := 0
	err := filepath.WalkDir(filepath.Join(root, "deploy/clients"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range address.FindAllStringSubmatch(string(raw), -1) {
			seen++
			if !ports[m[2]] {
				t.Errorf("%s: the chart serves no port %s", path, m[2])
			}
			if m[1] == "" {
				continue // gRPC
			}
			route := m[3]
			if strings.Trim(route, "/") == "" {
				route = "/v1/traces" // an OTLP endpoint: exporters append the rest
			}
			answer, err := http.Post("http://"+gateway+route, "application/x-protobuf", nil)
			if err != nil {
				return err
			}
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s: a push to %s is answered %d, want 401", path, m[0], answer.StatusCode)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 10 {
		t.Fatalf("only %d addresses were found", seen)
	}
}
