package integration

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/common/model"
)

const samplesWritten = "X-Prometheus-Remote-Write-Samples-Written"

// An app of a Prometheus sender adds user_id to one metric. What is known goes on, sample for sample; what is new is
// refused beyond the limit, by name; and the sender neither retries nor stalls.
func TestGuardPrometheus(t *testing.T) {
	t.Parallel()
	const routes, others, users = 10, 30, 300
	f := func(proto remoteapi.WriteMessageType, limit string, n, admitted int) {
		t.Helper()
		t.Run(string(proto)+" "+limit, func(t *testing.T) {
			t.Parallel()
			rc := newPromReceiver(t, proto)
			up := newUpstream(t, rc)
			with := func(rules ...string) string {
				return "    upstreams:\n" + up.yaml("prometheus", "/api/v1/push", "") +
					fmt.Sprintf("    metrics: {labels: {environment: prod}, limits: {%s: %d}, %s}\n", limit, n, rulesKey(rules))
			}
			g := newStrictGateway(t, with())
			tap := newTap(t, g.http)
			s := newPromSender(t, tap.addr(), proto, nil)

			before := healthySeries(routes, others)
			s.appendRounds(0, 3, before)
			s.delivered(rc.got, s.want.len(), 20*time.Second)

			s.appendRounds(3, 4, append(before, userSeries(routes, users)...))
			grown := growth{signal: "metrics", metric: "requests_total", label: "user_id", reason: limit, example: "user-",
				key: "prod.metrics.limits." + limit, limit: n, values: users, refused: users - admitted}
			eventually(t, 20*time.Second, "the sender is told", func() bool {
				s.rs.Notify()
				return slices.ContainsFunc(tap.all(), func(p tapped) bool { return p.status == http.StatusBadRequest })
			})
			s.settled(20 * time.Second)
			grown.checkReported(t, g)
			// Everything is decided anew, and what is known stays known.
			g.reload(prod(with(`{action: drop, source_labels: [__name__], regex: "debug_.*"}`)))
			s.appendRounds(7, 2, append(before, userSeries(routes, users)...))
			s.settled(20 * time.Second)

			checkAdmitted(t, s, rc, admitted)
			g.checkBooks(map[string]float64{limit: float64(6 * (users - admitted))})
			checkAnswers(t, s, g, tap, grown, 6*(users-admitted))
		})
	}
	f(v1, "active_series_per_metric", 40, 30)
	f(v2, "values_per_label", 25, 25)
	f(v2, "active_series", 60, 20)
	f(v1, "active_series", 60, 20)
}

// A gateway that is restarted at its limit knows nobody. The warm-up lets those who were there find their place again.
func TestGuardRestart(t *testing.T) {
	t.Parallel()
	const routes, users, limit = 10, 30, 40
	rc := newPromReceiver(t, v1)
	g := startGateway(t, "    upstreams:\n"+newUpstream(t, rc).yaml("prometheus", "/api/v1/push", "")+
		fmt.Sprintf("    metrics: {limits: {active_series_per_metric: %d}}\n", limit))
	s := newPromSender(t, g.http, v1, nil)
	established := append(healthySeries(routes, 0), userSeries(routes, users)...)
	s.appendRounds(0, 2, established)
	s.delivered(rc.got, s.want.len(), 20*time.Second)
	s.settled(20 * time.Second) // what is in flight would be sent again, and be out of order
	g.kill()
	g.start()
	s.appendRounds(2, 2, append(userSeries(routes, users+8)[users:], established...))
	s.delivered(rc.got, s.want.len(), 20*time.Second)
	s.want.checkEqual(t, "on the wire", rc.got)
	if s.failed() != 0 {
		t.Errorf("the sender counts %s, want nothing failed", s.state())
	}
	s.appendRounds(4, 1, userSeries(routes, users+20))
	eventually(t, 20*time.Second, "what is over 1.2 times the limit is refused", func() bool {
		s.rs.Notify()
		return g.metric("gateway_items_received_total") == 2*48+50
	})
	g.checkBooks(map[string]float64{"active_series_per_metric": 12})
}

// Limits that observe refuse nothing, and tell all the same.
func TestGuardObserve(t *testing.T) {
	t.Parallel()
	rc := newPromReceiver(t, v2)
	g := newStrictGateway(t, "    upstreams:\n"+newUpstream(t, rc).yaml("prometheus", "/api/v1/push", "")+
		"    metrics: {limits: {active_series_per_metric: 30, values_per_label: 25, on_cardinality: observe}}\n")
	s := newPromSender(t, g.http, v2, nil)
	s.appendRounds(0, 1, append(healthySeries(10, 10), userSeries(10, 100)...))
	s.delivered(rc.got, s.want.len(), 20*time.Second)
	s.want.checkEqual(t, "on the wire", rc.got)
	if s.failed() != 0 || s.retried() != 0 {
		t.Errorf("the sender counts %s, want none failed or retried", s.state())
	}
	g.checkBooks(map[string]float64{})
	if n := g.metric("gateway_items_observed_total"); n < 75 || n > 80 {
		t.Errorf("gateway_items_observed_total is %g, want each series over a limit once", n)
	}
	refusals := g.cardinality("metrics").Environments[0].Refusals
	if len(refusals) == 0 || !refusals[0].Observed || refusals[0].Metric != "requests_total" || refusals[0].Label != "user_id" {
		t.Errorf("the status API reports %+v, want what would have been refused", refusals)
	}
}

// healthySeries is what the app had before: counters by route, and other metrics.
func healthySeries(routes, others int) (all []series) {
	for i := range routes {
		all = append(all, newSeries("requests_total", model.MetricTypeCounter, "job", "shop", "route", fmt.Sprintf("/%d", i)))
	}
	for i := range others {
		all = append(all, newSeries(fmt.Sprintf("jobs_%d", i%7), model.MetricTypeGauge, "job", "shop", "queue", fmt.Sprintf("q%d", i)))
	}
	return all
}

// userSeries is what the careless label makes of the counters.
func userSeries(routes, users int) (all []series) {
	for i := range users {
		all = append(all, newSeries("requests_total", model.MetricTypeCounter, "job", "shop", "route", fmt.Sprintf("/%d", i%routes), "user_id", fmt.Sprintf("user-%04d", i)))
	}
	return all
}

// appendRounds appends n scrapes, from the i-th on.
func (s *promSender) appendRounds(i, n int, all []series) {
	s.t.Helper()
	for round := i; round < i+n; round++ {
		tx := s.begin()
		for k, sr := range all {
			tx.add(sr, round, float64(k*1000+round), nil, nil)
		}
		tx.commit()
	}
}

// checkAdmitted fails unless just so many series with a user_id arrived, and of these and of all others every sample once.
func checkAdmitted(t *testing.T, s *promSender, rc *promReceiver, admitted int) {
	t.Helper()
	users := map[string]bool{}
	rc.got.mapped(func(e entry) entry {
		if user := e.labels.Get("user_id"); user != "" {
			users[user] = true
		}
		return e
	})
	if len(users) != admitted {
		t.Errorf("series of %d users arrived, want %d", len(users), admitted)
	}
	want := s.want.mapped(func(e entry) entry {
		if user := e.labels.Get("user_id"); user != "" && !users[user] {
			e.items = nil
		}
		return e
	}).stamped("environment", "prod")
	want.checkEqual(t, "on the wire", rc.got)
	want.withoutStart().checkEqual(t, "in the receiver's TSDB", rc.stored())
}

// checkAnswers fails unless every push was sent once and the refusals say what they have to, in the sender's log too.
func checkAnswers(t *testing.T, s *promSender, g *gateway, tap *tap, grown growth, refused int) {
	t.Helper()
	bodies, written, partial := map[string]bool{}, 0, ""
	for _, p := range tap.all() {
		bodies[string(p.body)] = true
		n, err := strconv.Atoi(p.reply.Get(samplesWritten))
		if (err == nil) != s.v2 {
			t.Errorf("answer %d has the header %s: %q, want one for v2 alone", p.status, samplesWritten, p.reply.Get(samplesWritten))
		}
		written += n
		if p.status/100 != 2 && p.status != http.StatusBadRequest {
			t.Errorf("answered %d %q, want success or 400", p.status, p.answer)
		}
		if p.status == http.StatusBadRequest {
			partial = p.answer
			grown.checkNamed(t, "the answer", partial)
		}
	}
	if n := len(tap.all()); len(bodies) != n || int(g.metric("gateway_pushes_total")) != n {
		t.Errorf("%d pushes were sent and %g counted, %d different ones; want each once", n, g.metric("gateway_pushes_total"), len(bodies))
	}
	if s.retried() != 0 {
		t.Errorf("the sender counts %s, want nothing retried", s.state())
	}
	if int(s.failed()) < refused || s.v2 && int(s.failed()) != refused {
		t.Errorf("the sender counts %s, want %d failed (v1: at least)", s.state(), refused)
	}
	if s.v2 && written != int(g.metric("gateway_items_forwarded_total")) {
		t.Errorf("the answers count %d samples as written, the gateway forwarded %g", written, g.metric("gateway_items_forwarded_total"))
	}
	if !strings.Contains(s.log.String(), "label user_id") {
		t.Errorf("the sender's log does not name the label:\n%s", s.log.tail())
	}
}
