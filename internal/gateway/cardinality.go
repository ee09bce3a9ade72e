package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/guard"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/reduce"
)

// cardinalityStatus is what is known of live series, and what is done about them.
type cardinalityStatus struct {
	guard.Report
	// Entries of MaxSeries that the table has, and how many series passed unchecked because it was full.
	Entries    int   `json:"entries"`
	MaxSeries  int   `json:"max_series"`
	TableBytes int   `json:"table_bytes"`
	Uncached   int64 `json:"uncached"`
	// Collisions are metrics in which rules, or stamps, would make two live series one.
	Collisions []reduce.Collision `json:"collisions"`
	// Scope reminds the reader that another replica knows other series.
	Scope string `json:"scope"`
}

// maxTop bounds ?top=.
const maxTop = 1000

// serveCardinality is GET /api/v1/status/cardinality?environment=&signal=&top=20.
func (g *Gateway) serveCardinality(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	o := guard.ReportOptions{Environment: q.Get("environment"), Signal: q.Get("signal")}
	if text := q.Get("top"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxTop {
			badJSON(w, fmt.Errorf("top wants a number from 1 to %d, not %q", maxTop, text))
			return
		}
		o.Top = n
	}
	answerJSON(w, func() (any, error) { return g.cardinality(o), nil })
}

func (g *Gateway) cardinality(o guard.ReportOptions) cardinalityStatus {
	s := cardinalityStatus{
		Report: g.reduce.Guard().Report(time.Now(), o), MaxSeries: g.state.Load().cfg.Server.MaxSeries,
		Uncached: g.reduce.Uncached(), Collisions: g.reduce.Collisions(), Scope: "this replica",
	}
	s.Spaces = slices.DeleteFunc(s.Spaces, func(r guard.SpaceReport) bool { return r.Signal == string(ingest.Traces) }) // spans are no series
	s.Entries, s.TableBytes = g.reduce.Entries()
	return s
}
