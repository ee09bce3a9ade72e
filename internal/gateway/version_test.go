package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// exits are the upstreams of prod as they are in force.
func (g *gatewayTest) exit(name string) *exit { return g.state.Load().environments["prod"].exits[name] }

func written(a answer) string {
	const name = "X-Prometheus-Remote-Write-%s-Written"
	return a.Header.Get(fmt.Sprintf(name, "Samples")) + " " + a.Header.Get(fmt.Sprintf(name, "Histograms")) + " " +
		a.Header.Get(fmt.Sprintf(name, "Exemplars"))
}

// An upstream that knows only v1 gets v1: the same push at once, the next ones directly, and after an hour it is asked again.
func TestV1Memory(t *testing.T) {
	f := func(mode fakecloud.V2Mode, name string) {
		t.Run(name, func(t *testing.T) {
			g := start(t, defaultServer+defaultEnvironment)
			g.cloud.SetV2(mode)
			s := samples()["remote_write_v2"]
			push := func(wantRequests int) {
				t.Helper()
				before := g.cloud.Stats(metricsUser, "")
				a := g.post(s.path, s.header, s.body)
				if a.StatusCode/100 != 2 || written(a) != "5 0 0" {
					t.Errorf("%d %q, written %q, want what was sent: 5 0 0", a.StatusCode, a.body, written(a))
				}
				after := g.cloud.Stats(metricsUser, "")
				if n := after.Requests - before.Requests; n != wantRequests {
					t.Errorf("upstream was asked %d times, want %d", n, wantRequests)
				}
				if n := after.Items - before.Items; n != 5 {
					t.Errorf("%d samples arrived, want 5", n)
				}
			}
			push(2)
			if p := g.newest(metricsUser, ""); p.V1 == nil {
				t.Error("what arrived is no v1")
			}
			push(1)
			push(1)
			if n := g.logged("v1 is used for an hour"); n != 1 {
				t.Errorf("%d lines say that v1 is used", n)
			}
			var environments []environmentStatus
			g.admin("/api/v1/status/environments", &environments)
			for _, u := range environments[0].Upstreams {
				if u.Name == "prometheus" && u.RemoteWriteVersion != 1 {
					t.Errorf("the status says version %d", u.RemoteWriteVersion)
				}
			}
			// An unrelated reload does not forget it.
			g.configure(defaultServer + "  max_body_bytes: 8MiB\n" + defaultEnvironment)
			if err := g.Reload("test"); err != nil {
				t.Fatal(err)
			}
			push(1)
			// An hour later, v2 is tried again: first in vain, then not.
			g.exit("prometheus").v1Until.Store(time.Now().Unix())
			push(2)
			g.exit("prometheus").v1Until.Store(time.Now().Unix())
			g.cloud.SetV2(fakecloud.V2Accept)
			push(1)
			if p := g.newest(metricsUser, ""); p.V2 == nil {
				t.Error("what arrived is no v2")
			}
			if v := g.cloud.Violations(); len(v) > 0 {
				t.Errorf("upstream got what breaks its rules: %v", v)
			}
			if n := g.metric("gateway_items_forwarded_total"); n != 30 {
				t.Errorf("%v samples are booked as forwarded, want 30", n)
			}
		})
	}
	f(fakecloud.V2Refuse415, "415")
	f(fakecloud.V2Refuse400, "400")
	f(fakecloud.V2TakenForV1, "taken for v1")
}

// Once upstream has taken v2, a 400 is about the data; and so is one that v1 gets, too.
func TestV2RefusedForItsData(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	s := samples()["remote_write_v2"]
	o := g.cloud.Fail(fakecloud.Prometheus, answer4xx(400))
	a := g.post(s.path, s.header, s.body)
	if a.StatusCode != 400 || o.Hits() != 2 || g.exit("prometheus").v1Until.Load() != 0 {
		t.Errorf("400 in both versions: %d %q, asked %d times, want 400 after 2 and nothing remembered", a.StatusCode, a.body, o.Hits())
	}
	o.Clear()
	if a := g.post(s.path, s.header, s.body); a.StatusCode/100 != 2 || written(a) != "5 0 0" {
		t.Errorf("%d %q, written %q", a.StatusCode, a.body, written(a))
	}
	o = g.cloud.Fail(fakecloud.Prometheus, answer4xx(400))
	a = g.post(s.path, s.header, s.body)
	if a.StatusCode != 400 || o.Hits() != 1 || !strings.Contains(a.body, "words of upstream") {
		t.Errorf("400 of an upstream that speaks v2: %d %q, asked %d times, want once", a.StatusCode, a.body, o.Hits())
	}
	o.Clear()
	// Other refusals say nothing about the version.
	o = g.cloud.Fail(fakecloud.Prometheus, answer4xx(503))
	if a := g.post(s.path, s.header, s.body); a.StatusCode != 503 || o.Hits() != 1 {
		t.Errorf("503: %d, asked %d times", a.StatusCode, o.Hits())
	}
	if n := g.metric("gateway_items_failed_total"); n != 15 {
		t.Errorf("%v samples failed, want 15", n)
	}
}

func withVersion(v string) string {
	return strings.Replace(defaultServer+defaultEnvironment, "/api/prom/push, ", "/api/prom/push, remote_write_version: \""+v+"\", ", 1)
}

func v1Push(req *prompb.WriteRequest) []byte { return snappy.Encode(nil, must(req.Marshal())) }

func TestVersion1(t *testing.T) {
	g := start(t, withVersion("1"))
	s := samples()["remote_write_v2"]
	if a := g.post(s.path, s.header, s.body); a.StatusCode/100 != 2 || written(a) != "5 0 0" {
		t.Errorf("v2 as v1: %d %q, written %q", a.StatusCode, a.body, written(a))
	}
	if g.newest(metricsUser, "").V1 == nil {
		t.Error("what arrived is no v1")
	}
	// A native histogram with custom buckets has no place in v1: it is refused, and the rest goes on.
	now := time.Now().UnixMilli()
	req := &writev2.Request{
		Symbols: []string{"", "__name__", "up", "latency"},
		Timeseries: []writev2.TimeSeries{
			{LabelsRefs: []uint32{1, 2}, Samples: []writev2.Sample{{Value: 1, Timestamp: now}, {Value: 2, Timestamp: now + 1}}},
			{LabelsRefs: []uint32{1, 3}, Histograms: []writev2.Histogram{{
				Count: &writev2.Histogram_CountInt{CountInt: 3}, Schema: -53, Sum: 5, CustomValues: []float64{1, 2}, Timestamp: now,
				PositiveSpans: []writev2.BucketSpan{{Length: 2}}, PositiveDeltas: []int64{1, 1},
			}}},
		},
	}
	a := g.post(s.path, s.header, snappy.Encode(nil, must(req.Marshal())))
	if a.StatusCode != 400 || written(a) != "2 0 0" || a.Header.Get("Retry-After") != "" {
		t.Errorf("partly unconvertible: %d %q, written %q, want 400 and 2 0 0", a.StatusCode, a.body, written(a))
	}
	if n := g.cloud.Stats(metricsUser, "").Items; n != 7 {
		t.Errorf("%d samples arrived, want 7", n)
	}
	// Nothing but what cannot be converted: no call to upstream.
	req.Timeseries = req.Timeseries[1:]
	if a := g.post(s.path, s.header, snappy.Encode(nil, must(req.Marshal()))); a.StatusCode != 400 {
		t.Errorf("unconvertible: %d %q", a.StatusCode, a.body)
	}
	if n := g.cloud.Stats(metricsUser, "").Requests; n != 2 {
		t.Errorf("upstream was asked %d times, want 2", n)
	}
	if n := g.metric("gateway_items_dropped_total", "reason", "unconvertible"); n != 2 {
		t.Errorf("%v items are booked as unconvertible, want 2", n)
	}
	if n := g.metric("gateway_items_received_total"); n != 9 {
		t.Errorf("%v items are booked as received, want 9", n)
	}
	if v := g.cloud.Violations(); len(v) > 0 {
		t.Errorf("upstream got what breaks its rules: %v", v)
	}
}

func TestVersion2(t *testing.T) {
	g := start(t, withVersion("2"))
	s := samples()["remote_write_v1"]
	a := g.post(s.path, s.header, s.body)
	if a.StatusCode/100 != 2 || strings.TrimSpace(written(a)) != "" {
		t.Errorf("v1 as v2: %d %q, written %q, which no v1 answer may say", a.StatusCode, a.body, written(a))
	}
	if p := g.newest(metricsUser, ""); p.V2 == nil || p.Items != 5 {
		t.Errorf("what arrived is no v2 of 5 samples: %+v", p)
	}
	// Metadata alone has no series to hang on in v2.
	meta := v1Push(&prompb.WriteRequest{Metadata: []prompb.MetricMetadata{{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "up", Help: "h"}}})
	if a := g.post(s.path, s.header, meta); a.StatusCode/100 != 2 {
		t.Errorf("metadata alone: %d %q", a.StatusCode, a.body)
	}
	if p := g.newest(metricsUser, ""); p.V1 == nil || len(p.V1.Metadata) != 1 {
		t.Errorf("metadata alone did not stay v1: %+v", p)
	}
	// Nothing at all is forwarded, too.
	before := g.cloud.Stats(metricsUser, "").Requests
	if a := g.post(s.path, s.header, v1Push(new(prompb.WriteRequest))); a.StatusCode/100 != 2 || g.cloud.Stats(metricsUser, "").Requests == before {
		t.Errorf("an empty push: %d %q", a.StatusCode, a.body)
	}
	// An upstream that does not speak it after all.
	g.cloud.SetV2(fakecloud.V2Refuse415)
	if a := g.post(s.path, s.header, s.body); a.StatusCode/100 != 2 || g.newest(metricsUser, "").V1 == nil {
		t.Errorf("v1 as v2 to one that speaks v1: %d %q", a.StatusCode, a.body)
	}
	if v := g.cloud.Violations(); len(v) > 0 {
		t.Errorf("upstream got what breaks its rules: %v", v)
	}
}

// Written headers that upstream leaves out are no success: the push was taken for something else.
func TestV2WithoutWritten(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	o := g.cloud.Fail(fakecloud.Prometheus, fakecloud.Fault{NoWritten: true}.For(1))
	s := samples()["remote_write_v2"]
	a := g.post(s.path, s.header, s.body)
	if a.StatusCode != http.StatusOK && a.StatusCode != http.StatusNoContent || written(a) != "5 0 0" || o.Hits() != 1 {
		t.Errorf("%d %q, written %q", a.StatusCode, a.body, written(a))
	}
	if n := g.cloud.Stats(metricsUser, "").Requests; n != 2 {
		t.Errorf("upstream was asked %d times, want 2", n)
	}
}
