package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// newStrictGateway starts a gateway whose limits hold exactly from the start. rest is as in startGateway.
func newStrictGateway(t testing.TB, rest string) *gateway {
	t.Helper()
	g := newGateway(t, "  guard_warmup: 0s\n", prod(rest))
	g.start()
	return g
}

// reload puts another environment into the file and returns when it is in force.
func (g *gateway) reload(environments string) {
	g.t.Helper()
	done := func() int { return strings.Count(g.log.String(), "configuration reloaded") }
	before := done()
	g.environments = environments
	g.writeConfig()
	g.signal(syscall.SIGHUP)
	eventually(g.t, 10*time.Second, "the configuration is reloaded", func() bool { return done() > before })
}

// checkBooks fails unless, for every client and signal, received = forwarded + dropped + failed, nothing failed, and what
// was dropped is just what the test knows of, by reason.
func (g *gateway) checkBooks(want map[string]float64) {
	g.t.Helper()
	got := map[string]float64{}
	// A push is booked when its answer is on its way.
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		clear(got)
		g.eachSample("gateway_items_dropped_total", func(labels map[string]string, v float64) { got[labels["reason"]] += v })
		maps.DeleteFunc(got, func(_ string, v float64) bool { return v == 0 })
		if maps.Equal(got, want) {
			break
		}
		if time.Now().After(end) {
			g.t.Errorf("dropped %v, want %v", got, want)
			break
		}
	}
	rows := map[string]float64{}
	for name, sign := range map[string]float64{"received": 1, "forwarded": -1, "dropped": -1, "failed": -1} {
		g.eachSample("gateway_items_"+name+"_total", func(labels map[string]string, v float64) {
			rows[fmt.Sprintf("%s of %s in %s", labels["signal"], labels["client"], labels["environment"])] += sign * v
		})
	}
	for row, n := range rows {
		if n != 0 {
			g.t.Errorf("%s: received %+g over forwarded, dropped and failed; want 0", row, n)
		}
	}
	if n := g.metric("gateway_items_failed_total"); n != 0 || len(rows) == 0 {
		g.t.Errorf("%g items failed in %d rows, want none", n, len(rows))
	}
}

// eachSample calls f for every sample of one of the gateway's metrics. They are of one moment only within one call.
func (g *gateway) eachSample(name string, f func(labels map[string]string, v float64)) {
	g.t.Helper()
	status, body := httpGet("http://" + g.admin + "/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if status != http.StatusOK || err != nil {
		g.t.Fatalf("/metrics answered %d: %v", status, err)
	}
	for _, m := range families[name].GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		f(labels, m.GetCounter().GetValue()+m.GetGauge().GetValue())
	}
}

// cardinality is what GET /api/v1/status/cardinality says.
type cardinality struct {
	Environments []struct {
		Environment string
		Signal      string
		Active      int `json:"active_series"`
		Growing     []struct {
			Metric       string
			TopClient    string `json:"top_client"`
			GrowingLabel string `json:"growing_label"`
			Labels       []struct {
				Label    string
				Values   int `json:"values_estimate"`
				Examples []string
			}
		} `json:"growing_metrics"`
		Refusals []refusalReport `json:"recent_refusals"`
	}
	Collisions []struct {
		Environment, Metric, Policy string
		Rule                        int
		RuleText                    string `json:"rule_text"`
		Series, Clients             []string
	}
}

type refusalReport struct {
	Client, Metric, Label, Reason, Key string
	Limit, Count, Refused              int
	Observed                           bool
}

func (g *gateway) cardinality(signal string) cardinality {
	g.t.Helper()
	status, body := httpGet("http://" + g.admin + "/api/v1/status/cardinality?environment=prod&signal=" + signal)
	var answer struct{ Data cardinality }
	if err := json.Unmarshal([]byte(body), &answer); status != http.StatusOK || err != nil {
		g.t.Fatalf("the status API answered %d: %v\n%.300s", status, err, body)
	}
	return answer.Data
}

// growth is one label of one metric that grew over a limit, as a test knows it.
type growth struct {
	signal, metric, label, reason string
	example                       string // what every value starts with
	key                           string // below environments.
	limit                         int
	values, refused               int // how many were sent, and of those refused
}

// checkNamed fails unless the text of a refusal says everything that the sender's owner needs to know.
func (w growth) checkNamed(t testing.TB, where, text string) {
	t.Helper()
	for _, word := range []string{"environment prod", "client app", w.metric, "label " + w.label, `"` + w.example,
		fmt.Sprintf("environments.%s=%d", w.key, w.limit), fmt.Sprintf(": %d ", w.limit+1)} {
		if !strings.Contains(text, word) {
			t.Errorf("%s: %q does not say %q", where, text, word)
		}
	}
}

// checkReported fails unless the status API says the same.
func (w growth) checkReported(t testing.TB, g *gateway) {
	t.Helper()
	report := g.cardinality(w.signal)
	if len(report.Environments) != 1 || report.Environments[0].Environment != "prod" {
		t.Fatalf("the status API tells of %+v, want one environment: prod", report.Environments)
	}
	env := report.Environments[0]
	want := refusalReport{Client: "app", Metric: w.metric, Label: w.label, Reason: w.reason, Key: "environments." + w.key, Limit: w.limit, Count: w.limit + 1}
	if !slices.ContainsFunc(env.Refusals, func(r refusalReport) bool {
		many := r.Refused > 0
		r.Refused = 0
		return many && r == want
	}) {
		t.Errorf("the status API reports the refusals %+v, want %+v", env.Refusals, want)
	}
	if len(env.Growing) == 0 || len(env.Growing[0].Labels) == 0 {
		t.Fatalf("the status API reports no growth: %+v", env.Growing)
	}
	m, l := env.Growing[0], env.Growing[0].Labels[0]
	if m.Metric != w.metric || m.TopClient != "app" || m.GrowingLabel != w.label || l.Label != w.label {
		t.Errorf("the status API says that label %q of metric %q of client %q grew, want %q of %q of app", m.GrowingLabel, m.Metric, m.TopClient, w.label, w.metric)
	}
	// A label is watched once its metric grows, so that values which came before may be missing.
	if least, most := float64(w.refused)*0.9, float64(w.values)*1.1; float64(l.Values) < least || float64(l.Values) > most {
		t.Errorf("the status API estimates %d values, want %g to %g", l.Values, least, most)
	}
	if len(l.Examples) == 0 || len(l.Examples) > 5 || !strings.HasPrefix(l.Examples[0], w.example) {
		t.Errorf("the status API shows the examples %q, want up to five of %s...", l.Examples, w.example)
	}
}
