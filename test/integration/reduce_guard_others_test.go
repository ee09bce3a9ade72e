package integration

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/loki/pkg/push"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/otel/attribute"
	api "go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
)

// lokiClient sends as promtail's client and those after it do: batch after batch; what is answered with 429 or 5xx goes
// again, what is answered with another 4xx is dropped with a word in the log.
type lokiClient struct {
	t                      testing.TB
	url                    string
	json                   bool
	pushes, dropped, again int
	log                    []string
}

func (c *lokiClient) push(streams []push.Stream) {
	c.t.Helper()
	contentType, body := "application/x-protobuf", []byte(nil)
	if c.json {
		contentType, body = "application/json", lokiJSON(c.t, streams)
	} else {
		body = lokiProtobuf(c.t, streams)
	}
	for range 10 {
		c.pushes++
		resp, text := post(c.t, c.url+"/loki/api/v1/push", body, map[string]string{"Content-Type": contentType, "Authorization": "Bearer " + clientToken})
		switch {
		case resp.StatusCode/100 == 2:
			return
		case resp.StatusCode/100 == 4 && resp.StatusCode != http.StatusTooManyRequests:
			c.dropped++
			c.log = append(c.log, fmt.Sprintf("%d: %s", resp.StatusCode, text))
			return
		}
		c.again++
		time.Sleep(100 * time.Millisecond)
	}
}

// A request_id among the stream labels: streams that are known go on, those beyond the limit are refused by name.
func TestGuardLoki(t *testing.T) {
	t.Parallel()
	const known, limit, requests, rounds = 8, 30, 150, 4
	f := func(json bool) {
		t.Helper()
		rc := &lokiReceiver{t: t}
		up := newUpstream(t, rc)
		g := newStrictGateway(t, "    upstreams:\n"+up.yaml("loki", "/loki/api/v1/push", "")+
			fmt.Sprintf("    logs: {limits: {active_series: %d}}\n", limit))
		c := &lokiClient{t: t, url: "http://" + g.http, json: json}
		at := time.Now()
		streams := func(from, n int, round int, labels func(i int) string) (all []push.Stream) {
			for i := from; i < from+n; i++ {
				at = at.Add(time.Microsecond)
				all = append(all, push.Stream{Labels: labels(i), Entries: []push.Entry{{Timestamp: at, Line: fmt.Sprintf("round %d", round)}}})
			}
			return all
		}
		healthy := func(i int) string { return fmt.Sprintf(`{app="checkout", pod="p%d"}`, i) }
		exploding := func(i int) string { return fmt.Sprintf(`{app="checkout", pod="p1", request_id="req-%04d"}`, i) }

		var want, sent []string
		for round := range rounds {
			batch := streams(0, known, round, healthy)
			want = append(want, renderStreams(t, batch)...)
			if round > 0 {
				batch = append(batch, streams(0, requests, round, exploding)...)
			}
			sent = append(sent, renderStreams(t, batch)...)
			c.push(batch)
		}
		got := rc.take()
		slices.Sort(want)
		checkLines(t, "streams without request_id", want, slices.DeleteFunc(slices.Clone(got), func(line string) bool { return strings.Contains(line, "request_id") }))
		perStream := map[string]int{}
		for _, line := range got {
			if !slices.Contains(sent, line) {
				t.Errorf("%s was never sent", line)
			}
			if labels, _, _ := strings.Cut(line, "} "); strings.Contains(labels, "request_id") {
				perStream[labels]++
			}
		}
		for labels, n := range perStream {
			if n != rounds-1 {
				t.Errorf("%s}: %d lines arrived, want each of %d or none", labels, n, rounds-1)
			}
		}
		refused := requests - (limit - known)
		if len(perStream) != limit-known {
			t.Errorf("%d streams with a request_id arrived, want %d", len(perStream), limit-known)
		}
		grown := growth{signal: "logs", label: "request_id", reason: "active_series", example: "req-", key: "prod.logs.limits.active_series", limit: limit, values: requests, refused: refused}
		for _, text := range c.log {
			grown.checkNamed(t, "the answer", text)
		}
		if c.dropped != rounds-1 || c.again != 0 || c.pushes != rounds || int(g.metric("gateway_pushes_total")) != rounds {
			t.Errorf("%d pushes, %d refused, %d sent again, %g counted; want %d, %d, 0, %d", c.pushes, c.dropped, c.again, g.metric("gateway_pushes_total"), rounds, rounds-1, rounds)
		}
		grown.checkReported(t, g)
		g.checkBooks(map[string]float64{"active_series": float64(refused * (rounds - 1))})
	}
	f(false)
	f(true)
}

// An attribute of an OpenTelemetry SDK's instrument: the SDK hears of it as a partial success and does not come again.
func TestGuardSDK(t *testing.T) {
	t.Parallel()
	const routes, users, rounds = 10, 200, 3
	f := func(transport, limit string, n, admitted int) {
		t.Helper()
		t.Run(transport+" "+limit, func(t *testing.T) {
			rc := newOTLPReceiver(t)
			up := newUpstream(t, rc.proxy())
			g := newStrictGateway(t, "    upstreams:\n"+up.yaml("otlp", "", "")+fmt.Sprintf("    metrics: {limits: {%s: %d}}\n", limit, n))
			addr := g.http
			if transport == "grpc" {
				addr = g.grpc
			}
			mp := metric.NewMeterProvider(metric.WithResource(resource.NewSchemaless(attribute.String("service.name", "checkout"))),
				metric.WithReader(metric.NewPeriodicReader(newSDK(t, transport, addr).metrics, metric.WithInterval(time.Hour))))
			counter, err := mp.Meter("integration").Int64Counter("requests")
			if err != nil {
				t.Fatal(err)
			}
			for i := range routes {
				counter.Add(background(t), 1, api.WithAttributes(attribute.Int("route", i)))
			}
			if err := mp.ForceFlush(background(t)); err != nil {
				t.Fatalf("before the explosion: %v", err)
			}
			refused := users - admitted
			grown := growth{signal: "metrics", metric: "requests", label: "user.id", reason: limit, example: "user-", key: "prod.metrics.limits." + limit, limit: n, values: users, refused: refused}
			for round := range rounds {
				for i := range routes {
					counter.Add(background(t), 1, api.WithAttributes(attribute.Int("route", i)))
				}
				for i := range users {
					counter.Add(background(t), 1, api.WithAttributes(attribute.Int("route", i%routes), attribute.String("user.id", fmt.Sprintf("user-%04d", i))))
				}
				err := mp.ForceFlush(background(t))
				if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%d metric data points rejected", refused)) {
					t.Fatalf("round %d: the SDK says %v, want %d points rejected", round, err, refused)
				}
				grown.checkNamed(t, "the SDK's error", err.Error())
			}
			pushes := rc.metrics.AllMetrics()
			if len(pushes) != 1+rounds || int(g.metric("gateway_pushes_total")) != 1+rounds || len(up.answered()) != 1+rounds {
				t.Errorf("%d pushes arrived, %d were answered, %g counted; want %d", len(pushes), len(up.answered()), g.metric("gateway_pushes_total"), 1+rounds)
			}
			known := map[string]bool{}
			for i, md := range pushes {
				points := sumPoints(md)
				for attrs := range points {
					if i == 1 {
						known[attrs] = true
					}
				}
				if want := routes + min(i, 1)*admitted; len(points) != want {
					t.Errorf("push %d: %d points arrived, want %d", i, len(points), want)
				}
				for attrs, v := range points {
					want := int64(i)
					if !strings.Contains(attrs, "user.id") {
						want++
					}
					if i > 0 && !known[attrs] || v != want {
						t.Errorf("push %d: the point %s has the value %d, want %d, and known before: %v", i, attrs, v, want, known[attrs])
					}
				}
			}
			grown.checkReported(t, g)
			g.checkBooks(map[string]float64{limit: float64(refused * rounds)})
			if err := mp.Shutdown(background(t)); err == nil {
				t.Error("the last export is partial, too, and the SDK does not say so")
			}
		})
	}
	f("http", "active_series_per_metric", 30, 20)
	f("grpc", "values_per_label", 25, 25)
	f("http", "active_series", 50, 40)
}

// sumPoints are the values of the one metric, by attributes.
func sumPoints(md pmetric.Metrics) map[string]int64 {
	out := map[string]int64{}
	for _, p := range md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().All() {
		sortAttributes(p.Attributes())
		out[fmt.Sprint(p.Attributes().AsRaw())] = p.IntValue()
	}
	return out
}
