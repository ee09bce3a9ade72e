package deploy_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
)

// schema is the part of a JSON schema that the tests here look at.
type schema struct {
	Properties  map[string]json.RawMessage
	Definitions map[string]schema
}

// yamlKeys are the keys that a struct has in YAML, those of inlined structs among them.
func yamlKeys(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case !f.IsExported() || name == "-":
		case strings.Contains(options, "inline") && f.Type.Kind() == reflect.Struct:
			keys = append(keys, yamlKeys(f.Type)...)
		case name != "":
			keys = append(keys, name)
		}
	}
	return keys
}

// TestSchemaKnowsEveryKey: what the gateway can be configured with can be a value of the chart, and nothing else can. What
// would hold a secret cannot, and what the chart sets itself cannot.
func TestSchemaKnowsEveryKey(t *testing.T) {
	var all schema
	if err := json.Unmarshal([]byte(read(t, "deploy/helm/telemetry-gateway/values.schema.json")), &all); err != nil {
		t.Fatal(err)
	}
	f := func(what string, got map[string]json.RawMessage, of any, without ...string) {
		t.Helper()
		want := slices.DeleteFunc(yamlKeys(reflect.TypeOf(of)), func(k string) bool { return slices.Contains(without, k) })
		slices.Sort(want)
		if have := slices.Sorted(maps.Keys(got)); !slices.Equal(have, want) {
			t.Errorf("%s: the schema has\n%v\nand the gateway takes\n%v", what, have, want)
		}
	}
	inside := func(s schema, key string) map[string]json.RawMessage {
		t.Helper()
		var sub schema
		if err := json.Unmarshal(s.Properties[key], &sub); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		return sub.Properties
	}
	f("server", inside(schema{Properties: all.Properties}, "server"), config.Server{}, "http_listen", "grpc_listen", "admin_listen", "admin_web_config_file")
	f("server.tls", inside(schema{Properties: inside(schema{Properties: all.Properties}, "server")}, "tls"), config.TLS{})
	environment := all.Definitions["environment"]
	f("environment", environment.Properties, config.Environment{})
	f("environment.metrics", inside(environment, "metrics"), config.MetricsConfig{})
	f("environment.logs", inside(environment, "logs"), config.LogsConfig{})
	f("environment.traces", inside(environment, "traces"), config.TracesConfig{})
	f("environment.upstreams", inside(environment, "upstreams"), config.Upstreams{})
	f("client", all.Definitions["client"].Properties, config.Client{})
	f("limits", all.Definitions["limits"].Properties, config.Limits{})
	f("upstream", all.Definitions["upstream"].Properties, config.Upstream{}, "bearer_token")
}

// TestConfigurationsLoad: what the overlays would put into a cluster is taken by the gateway as it is today.
func TestConfigurationsLoad(t *testing.T) {
	t.Setenv("ORG", "1")
	paths, err := filepath.Glob(filepath.Join(root, "deploy/kustomize/overlays/*/gateway.yaml"))
	if err != nil || len(paths) != 3 {
		t.Fatalf("%d configurations, want 3 (%v)", len(paths), err)
	}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		text := strings.ReplaceAll(string(raw), "/etc/gateway", dir)
		for _, file := range regexp.MustCompile(regexp.QuoteMeta(dir)+`/[^\s"]+`).FindAllString(text, -1) {
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte("secret-of-"+filepath.Base(file)+"-long-enough"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		file := filepath.Join(dir, "gateway.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(file); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
