package integration

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"go.opentelemetry.io/otel/attribute"
	api "go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/sdk/metric"
)

const (
	dropPod      = "relabel_configs: [{action: labeldrop, regex: pod}]"
	scrapeMillis = 15_000
	rateWindow   = 60_000 // of the queries, in milliseconds
	requestRate  = "sum(rate(requests_total[1m]))"
	latencyQuery = "histogram_quantile(0.9, sum by (le) (rate(latency_seconds_bucket[1m])))"
)

// pod is one target: counters that it began at different values, and its own moment within the scrape interval.
type pod struct {
	name          string
	offset        int64   // milliseconds
	start, perSec float64 // of requests_total
	born          int64   // milliseconds after the first scrape of all
}

// scrape appends what one scrape of p at base+at gives. each, where set, is told of every sample.
func (p pod) scrape(s *promSender, at int64, stale bool, each func(ls labels.Labels, v float64)) {
	s.t.Helper()
	tx := s.begin()
	add := func(name string, v float64, pairs ...string) {
		if stale {
			v = math.Float64frombits(value.StaleNaN)
		}
		sr := newSeries(name, model.MetricTypeCounter, append([]string{"job", "shop", "pod", p.name}, pairs...)...)
		tx.addAt(sr, s.base+at, v, nil, nil)
		if each != nil {
			each(sr.labels, v)
		}
	}
	served := p.start + p.perSec*float64(at-p.born)/1000
	add("requests_total", served)
	add("latency_seconds_bucket", served/2, "le", "0.1")
	add("latency_seconds_bucket", served*0.95, "le", "1")
	add("latency_seconds_bucket", served, "le", "+Inf")
	add("latency_seconds_sum", served*0.3)
	add("latency_seconds_count", served)
	tx.commit()
}

// oneQueue keeps the order of all series, so that what is scraped later arrives later.
func oneQueue(cfg *config.RemoteWriteConfig) {
	cfg.QueueConfig.MinShards, cfg.QueueConfig.MaxShards = 1, 1
	cfg.QueueConfig.BatchSendDeadline = model.Duration(10 * time.Millisecond)
}

// evaluate asks Prometheus' engine for expr at every fifth second from from to to.
func evaluate(t testing.TB, db storage.Queryable, expr string, from, to int64) map[int64]float64 {
	t.Helper()
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: 30 * time.Second})
	defer engine.Close()
	q, err := engine.NewRangeQuery(background(t), db, nil, expr, time.UnixMilli(from), time.UnixMilli(to), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	matrix, err := q.Exec(background(t)).Matrix()
	if err != nil || len(matrix) > 1 {
		t.Fatalf("%s: %d series, %v", expr, len(matrix), err)
	}
	out := map[int64]float64{}
	for _, s := range matrix {
		for _, p := range s.Floats {
			out[p.T] = p.F
		}
	}
	return out
}

// worst is the largest factor between two answers, point for point; infinite where one has a point and the other has not.
func worst(want, got map[int64]float64) float64 {
	if len(want) == 0 || len(want) != len(got) {
		return math.Inf(1)
	}
	factor := 1.0
	for at, w := range want {
		g, ok := got[at]
		if !ok || math.IsNaN(g) != math.IsNaN(w) {
			return math.Inf(1)
		}
		if w != g && !math.IsNaN(w) {
			factor = max(factor, w/g, g/w)
		}
	}
	return factor
}

// Two targets whose series a rule makes one. A relabelling that does not look corrupts the counters, which is what
// Prometheus' own makes of them; the gateway's keeps the labels from the first overlapping sample on.
func TestCollisionSuspend(t *testing.T) {
	t.Parallel()
	const scrapes, second = 30, 8 // pod b comes with the eighth scrape
	a := pod{name: "a", start: 1e6, perSec: 10}
	b := pod{name: "b", offset: 7000, start: 5000, perSec: 4}
	// run sends the scrapes one after the other, as they come in life.
	run := func(t *testing.T, s *promSender, rc *promReceiver, halfway func(), each func(at int64, ls labels.Labels, v float64)) {
		t.Helper()
		for i := range int64(scrapes) {
			for _, p := range []pod{a, b} {
				if p.name == "b" && i < second {
					continue
				}
				at := i*scrapeMillis + p.offset
				p.scrape(s, at, false, func(ls labels.Labels, v float64) { each(at, ls, v) })
				s.delivered(rc.got, s.want.len(), 20*time.Second)
			}
			if i == scrapes/2 {
				halfway()
			}
		}
	}
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		g, _, rc := newMetricsGateway(t, "", v1)
		rule := relabel.DefaultRelabelConfig
		rule.Action, rule.Regex, rule.NameValidationScheme = relabel.LabelDrop, relabel.MustNewRegexp("pod"), model.UTF8Validation
		s := newPromSender(t, g.http, v1, nil, oneQueue, func(cfg *config.RemoteWriteConfig) {
			cfg.WriteRelabelConfigs = []*relabel.Config{&rule}
		})
		run(t, s, rc, func() {}, func(int64, labels.Labels, float64) {})
		from, to := s.base+second*scrapeMillis+rateWindow, s.base+(scrapes-1)*scrapeMillis
		if factor := worst(evaluate(t, s.db, requestRate, from, to), evaluate(t, rc.db, requestRate, from, to)); factor < 1000 {
			t.Errorf("a plain labeldrop makes %s wrong by a factor of %g at most, which proves nothing", requestRate, factor)
		}
		g.checkBooks(map[string]float64{})
	})
	t.Run("suspend", func(t *testing.T) {
		t.Parallel()
		rc := newPromReceiver(t, v1)
		upstreams := "    upstreams:\n" + newUpstream(t, rc).yaml("prometheus", "/api/v1/push", "")
		g := newStrictGateway(t, upstreams+"    metrics: {"+dropPod+"}\n")
		s := newPromSender(t, g.http, v1, nil, oneQueue)

		// The first sample of b is taken for a hand-over. With the next one of a it is known that both live.
		const overlap = (second + 1) * scrapeMillis
		want := newArrivals()
		unrelated := func() {
			g.reload(prod(upstreams + "    metrics: {" + dropPod + "}\n    logs: {labels: {region: eu}}\n"))
		}
		run(t, s, rc, unrelated, func(at int64, ls labels.Labels, v float64) {
			if at < overlap {
				ls = labels.NewBuilder(ls).Del("pod").Labels()
			}
			want.add(ls, 0, s.base+at, v, nil, nil)
		})
		want.checkEqual(t, "on the wire", rc.got)
		from, to := s.base+overlap+rateWindow, s.base+(scrapes-1)*scrapeMillis
		before, until := s.base+rateWindow, s.base+second*scrapeMillis
		for _, expr := range []string{requestRate, latencyQuery} {
			if factor := worst(evaluate(t, s.db, expr, from, to), evaluate(t, rc.db, expr, from, to)); factor > 1.000001 {
				t.Errorf("%s is wrong by a factor of %g once both live", expr, factor)
			}
			if factor := worst(evaluate(t, s.db, expr, before, until), evaluate(t, rc.db, expr, before, until)); factor > 1.000001 {
				t.Errorf("%s is wrong by a factor of %g while one lives", expr, factor)
			}
		}
		checkCollisions(t, g, "suspend", "app", "latency_seconds", "requests_total")
		g.checkBooks(map[string]float64{})
	})
}

// The same between two clients of one environment: neither knows of the other, and both are named.
func TestCollisionTwoSenders(t *testing.T) {
	t.Parallel()
	const otherToken = "other-token-93b2e1d7"
	rc := newPromReceiver(t, v1, v2)
	g := newGateway(t, "", "  prod:\n    clients:\n      app: {bearer_token_file: secrets/client}\n      other: {bearer_token_file: secrets/other}\n"+
		"    upstreams:\n"+newUpstream(t, rc).yaml("prometheus", "/api/v1/push", "")+"    metrics: {"+dropPod+"}\n")
	g.writeSecret("other", otherToken)
	g.start()
	first := newPromSender(t, g.http, v1, nil, oneQueue)
	second := newPromSender(t, g.http, v2, nil, oneQueue, func(cfg *config.RemoteWriteConfig) {
		cfg.HTTPClientConfig.Authorization = &promconfig.Authorization{Type: "Bearer", Credentials: otherToken}
	})
	second.base = first.base
	a, b := pod{name: "a", start: 1e6, perSec: 10}, pod{name: "b", start: 5000, perSec: 4}
	want := newArrivals()
	for i := range int64(12) {
		at := i * scrapeMillis // of one moment: no hand-over
		a.scrape(first, at, false, func(ls labels.Labels, v float64) {
			if i == 0 {
				ls = labels.NewBuilder(ls).Del("pod").Labels()
			}
			want.add(ls, 0, first.base+at, v, nil, nil)
		})
		first.delivered(rc.got, want.len(), 20*time.Second)
		b.scrape(second, at, false, func(ls labels.Labels, v float64) { want.add(ls, 0, first.base+at, v, nil, nil) })
		second.delivered(rc.got, want.len(), 20*time.Second)
	}
	want.checkEqual(t, "on the wire", rc.got.withoutStart())
	checkCollisions(t, g, "suspend", "app other", "latency_seconds", "requests_total")
	g.checkBooks(map[string]float64{})
}

// Points of an OpenTelemetry SDK, which a rule makes one in each push: they keep their attributes.
func TestCollisionSDK(t *testing.T) {
	t.Parallel()
	g, _, rc := newOTLPGateway(t, "", "    metrics: {relabel_configs: [{action: labeldrop, regex: thread}]}\n")
	mp := metric.NewMeterProvider(metric.WithReader(metric.NewPeriodicReader(newSDK(t, "grpc", g.grpc).metrics, metric.WithInterval(time.Hour))))
	counter, err := mp.Meter("integration").Int64Counter("requests")
	if err != nil {
		t.Fatal(err)
	}
	for push := range 3 {
		for thread := range 2 {
			counter.Add(background(t), int64(100*thread+1), api.WithAttributes(attribute.Int("thread", thread), attribute.String("pool", "a")))
		}
		// It meets nobody, but its metric is suspended as a whole.
		counter.Add(background(t), 7, api.WithAttributes(attribute.Int("thread", 9), attribute.String("pool", "b")))
		if err := mp.ForceFlush(background(t)); err != nil {
			t.Fatal(err)
		}
		want := map[string]int64{"map[pool:a thread:0]": int64(push + 1), "map[pool:a thread:1]": int64(101 * (push + 1)), "map[pool:b thread:9]": int64(7 * (push + 1))}
		if got := sumPoints(rc.metrics.AllMetrics()[push]); !maps.Equal(got, want) {
			t.Errorf("push %d: %v arrived, want %v", push, got, want)
		}
	}
	if c := g.cardinality("metrics").Collisions; len(c) != 1 || c[0].Metric != "requests" || c[0].Policy != "suspend" || len(c[0].Series) != 2 {
		t.Errorf("the status API tells of the collisions %+v, want one in requests with both points", c)
	}
	if err := mp.Shutdown(background(t)); err != nil {
		t.Error(err)
	}
	g.checkBooks(map[string]float64{})
}

// With reject the first of the two writes on and the other is refused, but for its first scrape, which looked like a hand-over.
func TestCollisionReject(t *testing.T) {
	t.Parallel()
	rc := newPromReceiver(t, v2)
	g := newStrictGateway(t, "    upstreams:\n"+newUpstream(t, rc).yaml("prometheus", "/api/v1/push", "")+
		"    metrics: {on_collision: reject, "+dropPod+"}\n")
	tap := newTap(t, g.http)
	s := newPromSender(t, tap.addr(), v2, nil, oneQueue)
	const scrapes = 12
	a, b := pod{name: "a", start: 5000, perSec: 10}, pod{name: "b", offset: 7000, start: 1e6, perSec: 4}
	want := 0
	for i := range int64(scrapes) {
		a.scrape(s, i*scrapeMillis, false, nil)
		want += 6
		s.delivered(rc.got, want, 20*time.Second)
		b.scrape(s, i*scrapeMillis+b.offset, false, nil)
		if i == 0 {
			want += 6
		}
		s.delivered(rc.got, want, 20*time.Second)
	}
	s.settled(20 * time.Second)
	from, to := s.base+scrapeMillis+rateWindow, s.base+(scrapes-1)*scrapeMillis
	if factor := worst(evaluate(t, s.db, `sum(rate(requests_total{pod="a"}[1m]))`, from, to), evaluate(t, rc.db, requestRate, from, to)); factor > 1.000001 {
		t.Errorf("%s is wrong by a factor of %g", requestRate, factor)
	}
	refusals := 0
	for _, p := range tap.all() {
		if p.status/100 == 2 {
			continue
		}
		refusals++
		for _, word := range []string{"environment prod, client app", "requests_total", "environments.prod.metrics.relabel_configs", "environments.prod.metrics.on_collision=reject"} {
			if p.status != 400 || !strings.Contains(p.answer, word) {
				t.Errorf("answered %d %q, want 400 and %s", p.status, p.answer, word)
			}
		}
	}
	if refusals != scrapes-1 || s.retried() != 0 || int(s.failed()) != 6*(scrapes-1) {
		t.Errorf("%d pushes were refused, the sender counts %s; want %d and the same samples failed", refusals, s.state(), scrapes-1)
	}
	checkCollisions(t, g, "reject", "app", "latency_seconds", "requests_total")
	g.checkBooks(map[string]float64{"collision": 6 * (scrapes - 1)})
}

// checkCollisions fails unless status, metrics and log tell of just these, with the rule and both series.
func checkCollisions(t *testing.T, g *gateway, policy, clients string, metrics ...string) {
	t.Helper()
	var names []string
	for _, c := range g.cardinality("metrics").Collisions {
		names = append(names, c.Metric)
		both := strings.Join(c.Series, " ")
		if c.Environment != "prod" || c.Policy != policy || c.Rule != 0 || !strings.Contains(c.RuleText, "labeldrop") || strings.Join(slices.Sorted(slices.Values(c.Clients)), " ") != clients ||
			!strings.Contains(both, `pod="a"`) || !strings.Contains(both, `pod="b"`) {
			t.Errorf("the status API tells of %+v, want policy %s of prod, rule 0, clients %s and both pods", c, policy, clients)
		}
	}
	if fmt.Sprint(names) != fmt.Sprint(metrics) {
		t.Errorf("the status API tells of collisions in %q, want %q", names, metrics)
	}
	if n := g.metric("gateway_collision_metrics", fmt.Sprintf("policy=%q", policy)); int(n) != len(metrics) {
		t.Errorf("gateway_collision_metrics is %g, want %d", n, len(metrics))
	}
	for _, m := range metrics {
		if !strings.Contains(g.log.String(), fmt.Sprintf(`"metric":%q,"rule":0`, m)) {
			t.Errorf("the log does not tell of the collision in %s", m)
		}
	}
}

// A rolling restart is no collision: pods follow each other, and their counters are one series that goes on.
func TestCollisionRollingRestart(t *testing.T) {
	t.Parallel()
	const perSec = 10
	rc := newPromReceiver(t, v1)
	g := newStrictGateway(t, "    upstreams:\n"+newUpstream(t, rc).yaml("prometheus", "/api/v1/push", "")+"    metrics: {"+dropPod+"}\n")
	s := newPromSender(t, g.http, v1, nil, oneQueue)
	want, held := newArrivals(), 0
	do := func(p pod, at int64, stale, arrives bool) {
		t.Helper()
		p.scrape(s, at, stale, func(ls labels.Labels, v float64) {
			if !arrives {
				held++
				return
			}
			want.add(labels.NewBuilder(ls).Del("pod").Labels(), 0, s.base+at, v, nil, nil)
		})
		s.delivered(rc.got, want.len(), 20*time.Second)
	}
	a, b, c := pod{name: "a", start: 1e6, perSec: perSec}, pod{name: "b", perSec: perSec, born: 140_000}, pod{name: "c", perSec: perSec, born: 300_000}
	at := int64(0)
	for ; at < 140_000; at += scrapeMillis {
		do(a, at, false, true)
	}
	// b comes before a is known to be gone, so that the end of a must not end what b goes on with.
	do(b, 143_000, false, true)
	do(a, at, true, false)
	for at = 143_000 + scrapeMillis; at < 300_000; at += scrapeMillis {
		do(b, at, false, true)
	}
	// c comes when b is known to be gone.
	do(b, at, true, true)
	for at += 4000; at < 450_000; at += scrapeMillis {
		do(c, at, false, true)
	}
	want.checkEqual(t, "on the wire", rc.got)
	for when, v := range evaluate(t, rc.db, requestRate, s.base+rateWindow, s.base+at-scrapeMillis) {
		// What a counted after its last scrape is lost to everybody.
		if v < perSec*0.7 || v > perSec*1.05 {
			t.Errorf("%s is %g after %d s, want %d", requestRate, v, (when-s.base)/1000, perSec)
		}
	}
	if n := len(g.cardinality("metrics").Collisions); n != 0 || g.metric("gateway_collisions_total") != 0 {
		t.Errorf("%d metrics are suspended, want none", n)
	}
	if n := g.metric("gateway_active_series"); n != 6 {
		t.Errorf("%g active series, want 6", n)
	}
	g.checkBooks(map[string]float64{"superseded": float64(held)})
}
