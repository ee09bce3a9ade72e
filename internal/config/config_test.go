package config

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/*.want anew")

// planted is the value of every secret in testdata and of ${env:SECRET}. No output may have it.
const planted = "this-must-not-be-shown"

func lookup(name string) (string, bool) {
	v, ok := map[string]string{"SECRET": planted, "EMPTY": "", "NUMBER": "7", "SIZE": "3MiB", "TRUE": "true", "NESTED": "${env:SECRET}"}[name]
	return v, ok
}

// TestBad compares the faults of every testdata/*.bad.yaml with the file *.want beside it.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c, err := parse(file, content, lookup)
			if c != nil || err == nil {
				t.Fatal("no fault was found")
			}
			if strings.Contains(err.Error(), planted) {
				t.Errorf("a secret is shown:\n%v", err)
			}
			got := strings.ReplaceAll(err.Error(), dir, "DIR") + "\n"
			golden := strings.TrimSuffix(file, ".bad.yaml") + ".want"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// example loads config.example.yaml beside secret files that the test makes.
func example(t *testing.T) (c *Config, content string) {
	t.Helper()
	raw, err := os.ReadFile("../../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"payments", "billing", "grafana-cloud"} {
		write(t, filepath.Join(dir, "secrets", s), "secret-of-"+s+"-0123456789")
	}
	file := filepath.Join(dir, "gateway.yaml")
	write(t, file, string(raw))
	c, err = Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return c, string(raw)
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestExampleHasEveryKey(t *testing.T) {
	_, content := example(t)
	var walk func(typ reflect.Type)
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Map || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || typ.PkgPath() != reflect.TypeFor[Config]().PkgPath() {
			return
		}
		for i := range typ.NumField() {
			f := typ.Field(i)
			if key, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); key != "" && key != "-" && !strings.Contains(content, key+":") && !strings.Contains(content, key+" for") {
				t.Errorf("%s.%s: the example does not have %s", typ.Name(), f.Name, key)
			}
			if f.IsExported() {
				walk(f.Type)
			}
		}
	}
	walk(reflect.TypeFor[Config]())
}

// TestExampleHasDefaults proves that the example shows defaults: without them the file means the same.
func TestExampleHasDefaults(t *testing.T) {
	c, _ := example(t)
	least := `
environments:
  prod:
    clients:
      payments: {bearer_token_file: secrets/payments}
      billing: {basic_auth: {username: billing, password_file: secrets/billing}}
    upstreams:
      prometheus:
        url: https://prometheus-prod-01-eu-west-0.grafana.net/api/prom/push
        basic_auth: {username: 53715, password_file: secrets/grafana-cloud}
      loki: {url: https://logs-prod-us-central1.grafana.net/loki/api/v1/push, basic_auth: {username: 25836, password_file: secrets/grafana-cloud}}
      otlp: {url: https://otlp-gateway-prod-eu-west-0.grafana.net/otlp, basic_auth: {username: 123456, password_file: secrets/grafana-cloud}}
      tempo: {url: "https://tempo-us-central1.grafana.net:443", basic_auth: {username: 22348, password_file: secrets/grafana-cloud}}
    metrics: {labels: {environment: prod}}
    logs: {labels: {environment: prod}}
    traces: {labels: {environment: prod}}
`
	short, err := Parse(c.Path, []byte(least))
	if err != nil {
		t.Fatal(err)
	}
	if diff := Changed(c, short); diff != nil {
		t.Errorf("the example differs from the defaults in %v", diff)
	}
	if w := c.Warnings(); w != nil {
		if len(w) != 1 || w[0].Key != "server.max_inflight_bytes" { // depends on this machine's memory
			t.Errorf("warnings %v", w)
		}
	}
}

// exampleComment finds what the example shows in comments inside an environment's signals.
var exampleComment = regexp.MustCompile(`(?m)^      # (\w+:(?: [\[{].*)?$|\w+: [\[{].*|  - .*)`)

// TestExampleComments proves that what the example shows in comments is valid as well.
func TestExampleComments(t *testing.T) {
	_, content := example(t)
	_, sections, found := strings.Cut(content, "\n    metrics: ")
	if !found {
		t.Fatal("no metrics")
	}
	sections = "\n    metrics: " + sections
	for _, m := range exampleComment.FindAllStringSubmatch(sections, -1) {
		if key, _, ok := strings.Cut(m[1], ":"); ok && !strings.HasPrefix(m[1], " ") {
			// Its default comes just before; two would be a doubled key.
			line := regexp.MustCompile(`(?m)^      ` + key + `: \[\].*\n(      # ` + regexp.QuoteMeta(m[1]) + `)$`)
			if !line.MatchString(sections) {
				t.Errorf("no default above %q", m[1])
			}
			sections = line.ReplaceAllString(sections, "$1")
		}
	}
	n := len(exampleComment.FindAllString(sections, -1))
	sections = exampleComment.ReplaceAllString(sections, "      $1")
	c, err := parse("testdata/x.yaml", []byte("environments:\n  prod:\n    anonymous: true\n    upstreams: {otlp: {url: 'https://otlp'}}"+sections), lookup)
	if err != nil {
		t.Fatalf("%v\n%s", err, sections)
	}
	e := c.Environments["prod"]
	if n != 7 || len(e.Metrics.RelabelConfigs) != 3 || len(e.Metrics.ResourceRelabelConfigs) != 1 || len(e.Logs.StructuredMetadata) != 2 || len(e.Traces.RelabelConfigs) != 1 {
		t.Errorf("%d lines of comments became %+v", n, e)
	}
}
