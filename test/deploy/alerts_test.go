package deploy_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// alert is one rule of alerts.yaml.
type alert struct {
	Alert, Expr string
	Labels      map[string]string
	Annotations map[string]string
}

type groups struct {
	Groups []struct {
		Name  string
		Rules []alert
	}
}

// alerts are the rules of alerts.yaml by their names.
func alerts(t *testing.T) map[string]alert {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(read(t, "deploy/prometheus/alerts.yaml")))
	var g groups
	if err := d.Decode(&g); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]alert)
	for _, group := range g.Groups {
		for _, r := range group.Rules {
			if r.Alert == "" || all[r.Alert].Alert != "" {
				t.Errorf("group %s: two rules or none are named %q", group.Name, r.Alert)
			}
			all[r.Alert] = r
		}
	}
	if len(all) < 11 {
		t.Fatalf("%d alerts found, want 11 at least", len(all))
	}
	return all
}

// TestAlertQueries: every alert asks for what a gateway exposes.
func TestAlertQueries(t *testing.T) {
	c := newChecker(t)
	for name, r := range alerts(t) {
		for _, fault := range c.check(r.Expr) {
			t.Errorf("%s: %s", name, fault)
		}
	}
}

// TestAlertForm: whoever is woken up by an alert reads what it is about, how bad it is, and where it says what to do.
func TestAlertForm(t *testing.T) {
	runbook := read(t, "deploy/prometheus/RUNBOOK.md")
	headings := regexp.MustCompile(`(?m)^## (TelemetryGateway\w+)$`).FindAllStringSubmatch(runbook, -1)
	var chapters []string
	for _, h := range headings {
		chapters = append(chapters, h[1])
	}
	all := alerts(t)
	for name, r := range all {
		if s := r.Labels["severity"]; !slices.Contains([]string{"critical", "warning", "none"}, s) {
			t.Errorf("%s has the severity %q", name, s)
		}
		for _, a := range []string{"summary", "description"} {
			if r.Annotations[a] == "" {
				t.Errorf("%s has no %s", name, a)
			}
		}
		if _, fragment, _ := strings.Cut(r.Annotations["runbook_url"], "/deploy/prometheus/RUNBOOK.md#"); fragment != strings.ToLower(name) {
			t.Errorf("%s: its runbook_url %s does not lead to its chapter", name, r.Annotations["runbook_url"])
		}
		if !slices.Contains(chapters, name) {
			t.Errorf("RUNBOOK.md has no chapter %s", name)
		}
		for _, part := range []string{"**Means**", "**Lost now**", "**Look**", "**Do**"} {
			if _, chapter, _ := strings.Cut(runbook, "\n## "+name+"\n"); !strings.Contains(strings.SplitN(chapter, "\n## ", 2)[0], part) {
				t.Errorf("RUNBOOK.md, %s: has no %s", name, part)
			}
		}
	}
	for _, c := range chapters {
		if all[c].Alert == "" {
			t.Errorf("RUNBOOK.md has a chapter %s, but there is no such alert", c)
		}
	}
}

// TestPrometheusRule: the operator's object holds the rules of the plain file and nothing else.
func TestPrometheusRule(t *testing.T) {
	var plain struct{ Groups any }
	var object struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Spec       struct{ Groups any }
	}
	for path, into := range map[string]any{"alerts.yaml": &plain, "prometheusrule.yaml": &object} {
		if err := yaml.Unmarshal([]byte(read(t, "deploy/prometheus/"+path)), into); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	if object.APIVersion != "monitoring.coreos.com/v1" || object.Kind != "PrometheusRule" {
		t.Errorf("prometheusrule.yaml is a %s of %s", object.Kind, object.APIVersion)
	}
	if plain.Groups == nil || !reflect.DeepEqual(plain.Groups, object.Spec.Groups) {
		t.Error("prometheusrule.yaml does not hold the groups of alerts.yaml: copy them")
	}
}

// TestPromtool: Prometheus itself takes the rules, and every alert fires when it should and not otherwise.
func TestPromtool(t *testing.T) {
	promtool := func(args ...string) {
		t.Helper()
		cmd := exec.Command("promtool", args...)
		cmd.Dir = filepath.Join(root, "deploy", "prometheus")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v (promtool comes with Debian's prometheus: make tools)\n%s", strings.Join(args, " "), err, out[:min(len(out), 4000)])
		}
	}
	promtool("check", "rules", "alerts.yaml")
	promtool("test", "rules", "alerts_test.yaml")

	var tests struct {
		Tests []struct {
			AlertRuleTest []struct {
				AlertName string           `yaml:"alertname"`
				Expected  []map[string]any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.NewDecoder(bytes.NewBufferString(read(t, "deploy/prometheus/alerts_test.yaml"))).Decode(&tests); err != nil {
		t.Fatal(err)
	}
	fires, quiet := make(map[string]bool), make(map[string]bool)
	for _, one := range tests.Tests {
		for _, r := range one.AlertRuleTest {
			if len(r.Expected) > 0 {
				fires[r.AlertName] = true
			} else {
				quiet[r.AlertName] = true
			}
		}
	}
	for name := range alerts(t) {
		if !fires[name] || !quiet[name] {
			t.Errorf("alerts_test.yaml does not show %s both firing and not", name)
		}
	}
}
