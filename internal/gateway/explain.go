package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	promlabels "github.com/prometheus/prometheus/model/labels"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/reduce"
)

// ExplainQuestion asks what would become of one label set.
type ExplainQuestion struct {
	Environment string `json:"environment"`
	// Client may be empty where the environment has one client, or where it does not matter: then the first by name.
	Client string `json:"client"`
	// Signal is metrics (the default), logs or traces.
	Signal string `json:"signal"`
	// OTLP: the labels are attributes as OTLP rules see them, with resource.* and scope.* beside them. Traces always are.
	OTLP bool `json:"otlp"`
	// Labels is a series as PromQL writes it: http_requests_total{pod="a"}.
	Labels string `json:"labels"`
}

// Explain answers q. It counts nothing and remembers nothing.
func (g *Gateway) Explain(q ExplainQuestion) (reduce.Explanation, error) {
	var none reduce.Explanation
	e := g.state.Load().environments[q.Environment]
	if e == nil {
		return none, fmt.Errorf("there is no environment %q; there are %q", q.Environment, sortedKeys(g.state.Load().environments))
	}
	if q.Client == "" && len(e.clients) > 0 {
		q.Client = sortedKeys(e.clients)[0]
	}
	c := e.clients[q.Client]
	if c == nil {
		return none, fmt.Errorf("environment %s has no client %q; it has %q", q.Environment, q.Client, sortedKeys(e.clients))
	}
	signal := ingest.Signal(q.Signal)
	if signal == "" {
		signal = ingest.Metrics
	}
	p := c.policies[signal]
	switch {
	case p == nil:
		return none, fmt.Errorf("signal %q is none of metrics, logs and traces", q.Signal)
	case p.reduce == nil:
		return none, fmt.Errorf("environments.%s.reduction is false: rules and guard pass everything through", q.Environment)
	}
	ls, err := parseLabels(q.Labels)
	if err != nil {
		return none, err
	}
	view := reduce.Plain
	if q.OTLP || signal == ingest.Traces {
		view = reduce.Attributes
	}
	return p.reduce.Explain(time.Now(), view, ls), nil
}

// parseLabels reads a series as PromQL writes it. A name that it does not take without quotes may be quoted: {"resource.x"="y"}.
func parseLabels(text string) ([]labels.Label, error) {
	parsed, err := parser.NewParser(parser.Options{}).ParseMetric(text)
	if err != nil {
		return nil, fmt.Errorf("labels %q: %w", text, err)
	}
	var ls []labels.Label
	parsed.Range(func(l promlabels.Label) { ls = append(ls, labels.Label{Name: l.Name, Value: l.Value}) })
	return ls, nil
}

// maxQuestionBytes bounds the body of POST /api/v1/explain.
const maxQuestionBytes = 1 << 20

// serveExplain is POST /api/v1/explain, with an ExplainQuestion as JSON.
func (g *Gateway) serveExplain(w http.ResponseWriter, r *http.Request) {
	var q ExplainQuestion
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxQuestionBytes))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		badJSON(w, fmt.Errorf("the question is no JSON of {environment, client, signal, otlp, labels}: %w", err))
		return
	}
	x, err := g.Explain(q)
	if err != nil {
		badJSON(w, err)
		return
	}
	answerJSON(w, func() (any, error) { return x, nil })
}

// badJSON answers a question that cannot be answered.
func badJSON(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "error", "error": err.Error()})
}
