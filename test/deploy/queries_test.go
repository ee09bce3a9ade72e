package deploy_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// labelValues are what labels may say. One value is enough where questions do not tell values apart.
func labelValues(label string) []string {
	switch label {
	case "instance":
		return []string{"gw-0", "gw-1"}
	case "signal":
		return []string{"metrics", "logs", "traces"}
	case "reason":
		return []string{"relabel_drop", "sampled", "values_per_label", "rate_limit", "collision"}
	case "code":
		return []string{"200", "400", "401", "429", "503", "canceled"}
	case "limit":
		return []string{"active_series", "max_inflight_bytes", "max_series"}
	case "le":
		return []string{"0.1", "1", "+Inf"}
	}
	return []string{"some"}
}

type inputSeries struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"`
}

// twoReplicas are series of every metric as two busy replicas would show them for an hour.
func twoReplicas(names map[string]map[string]bool) (all []inputSeries) {
	for name, have := range names {
		// Strangers' metrics are scraped too, under other jobs: process_cpu_seconds_total of a node exporter.
		jobs := []string{"gateway"}
		if !strings.HasPrefix(name, "gateway_") {
			jobs = append(jobs, "stranger")
		}
		for _, job := range jobs {
			sets := []string{fmt.Sprintf("job=%q", job)}
			for _, l := range append(sortedKeys(have), "instance") {
				var more []string
				for _, s := range sets {
					for _, v := range labelValues(l) {
						more = append(more, fmt.Sprintf("%s,%s=%q", s, l, v))
					}
				}
				sets = more
			}
			for _, s := range sets {
				values := "1+60x60"
				if name == "gateway_build_info" {
					values = "1x60"
				}
				all = append(all, inputSeries{name + "{" + s + "}", values})
			}
		}
	}
	return all
}

func sortedKeys(m map[string]bool) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// TestDashboardAnswers asks Prometheus' own engine every question of every dashboard, of two replicas that have something to
// say to each: none fails (as a match of many to many would, which parses), and none stays without an answer.
func TestDashboardAnswers(t *testing.T) {
	type sample struct {
		Labels string  `yaml:"labels"`
		Value  float64 `yaml:"value"`
	}
	type exprTest struct {
		Expr    string   `yaml:"expr"`
		At      string   `yaml:"eval_time"`
		Samples []sample `yaml:"exp_samples"`
	}
	var asked []exprTest
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				expr := strings.ReplaceAll(instant(q.Expr), "offset 1d", "offset 1h")
				asked = append(asked, exprTest{fmt.Sprintf("count(%s) > bool 0", expr), "1h", []sample{{"{}", 1}}})
			}
		}
	}
	path := filepath.Join(t.TempDir(), "dashboards.yaml")
	text := must(yaml.Marshal(map[string]any{"evaluation_interval": "1h", "tests": []any{map[string]any{
		"interval": "1m", "input_series": twoReplicas(exposed(t)), "promql_expr_test": asked,
	}}}))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("promtool", "test", "rules", path).CombinedOutput(); err != nil {
		t.Errorf("of %d questions (promtool comes with Debian's prometheus: make tools): %v\n%s", len(asked), err, out[:min(len(out), 4000)])
	}
}
