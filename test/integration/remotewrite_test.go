package integration

import (
	"net/http"
	"testing"
	"time"

	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
)

const (
	v1 = remoteapi.WriteV1MessageType
	v2 = remoteapi.WriteV2MessageType
)

// newMetricsGateway is a gateway in front of Prometheus' receiver. extra holds further keys of the upstream.
func newMetricsGateway(t testing.TB, extra string, accept ...remoteapi.WriteMessageType) (*gateway, *upstream, *promReceiver) {
	t.Helper()
	rc := newPromReceiver(t, accept...)
	up := newUpstream(t, rc)
	g := startGateway(t, "    upstreams:\n"+up.yaml("prometheus", "/api/v1/push", extra)+
		"    metrics: {labels: {environment: prod}}\n")
	return g, up, rc
}

func TestRemoteWriteSameVersion(t *testing.T) {
	f := func(proto remoteapi.WriteMessageType, send func(s *promSender)) {
		t.Helper()
		t.Run(string(proto), func(t *testing.T) {
			g, up, rc := newMetricsGateway(t, "", proto)
			s := newPromSender(t, g.http, proto, nil)
			send(s)
			s.delivered(rc.got, s.want.len(), 20*time.Second)

			want := s.want.stamped("environment", "prod")
			want.checkEqual(t, "on the wire", rc.got)
			want.checkMetadata(t, "on the wire", rc.got)
			want.withoutStart().withoutHints().withoutExemplars().checkEqual(t, "in the receiver's TSDB", rc.stored().withoutHints())
			checkDelivery(t, s, up)
			g.checkNoSecrets()
		})
	}
	f(v1, func(s *promSender) {
		s.appendFloats(40, 25)
		s.appendHistograms(12)
	})
	f(v2, func(s *promSender) {
		s.appendFloats(40, 25)
		s.appendHistograms(12)
		s.appendCustomBuckets(12)
	})
}

// A v2 push leaves as v1 with everything that v1 can carry; metadata moves from the series to the request.
func TestRemoteWriteV2AsV1(t *testing.T) {
	g, up, rc := newMetricsGateway(t, `remote_write_version: "1",`, v1)
	s := newPromSender(t, g.http, v2, nil)
	s.appendFloats(40, 25)
	s.appendHistograms(12)
	s.delivered(rc.got, s.want.len(), 20*time.Second)

	want := s.want.stamped("environment", "prod").withoutStart()
	want.checkEqual(t, "on the wire", rc.got)
	want.checkMetadata(t, "on the wire", rc.got)
	checkDelivery(t, s, up)
	if n := g.metric("gateway_conversion_losses_total"); n == 0 {
		t.Error("gateway_conversion_losses_total is 0, want the start timestamps counted")
	}
}

// Custom buckets do not exist in v1: they are refused and counted, and what came with them arrives.
func TestRemoteWriteV2AsV1CustomBuckets(t *testing.T) {
	g, _, rc := newMetricsGateway(t, `remote_write_version: "1",`, v1)
	s := newPromSender(t, g.http, v2, nil)
	s.appendFloats(10, 10)
	s.appendCustomBuckets(12)
	want := s.want.without("custom_").stamped("environment", "prod").withoutStart()
	s.delivered(rc.got, want.len(), 20*time.Second)
	eventually(t, 20*time.Second, "24 items dropped as unconvertible", func() bool {
		return g.metric("gateway_items_dropped_total", `reason="unconvertible"`) == 24
	})
	want.checkEqual(t, "on the wire", rc.got)
}

// A v1 push leaves as v2 and loses nothing.
func TestRemoteWriteV1AsV2(t *testing.T) {
	g, up, rc := newMetricsGateway(t, `remote_write_version: "2",`, v2)
	s := newPromSender(t, g.http, v1, nil)
	s.appendFloats(40, 25)
	s.appendHistograms(12)
	s.delivered(rc.got, s.want.len(), 20*time.Second)

	want := s.want.stamped("environment", "prod")
	want.checkEqual(t, "on the wire", rc.got)
	want.withoutHints().withoutExemplars().checkEqual(t, "in the receiver's TSDB", rc.stored().withoutHints())
	checkDelivery(t, s, up)
}

// An upstream that only knows v1 is found out with the first push, and the sender never hears of it.
func TestRemoteWriteV2FallsBack(t *testing.T) {
	g, up, rc := newMetricsGateway(t, "", v1, v2)
	up.setFault(func(_ int, r *http.Request) (int, int) {
		if r.Header.Get("Content-Type") == contentV2 {
			return http.StatusUnsupportedMediaType, 0
		}
		return 0, 0
	})
	s := newPromSender(t, g.http, v2, nil)
	s.appendFloats(20, 20)
	s.delivered(rc.got, s.want.len(), 20*time.Second)
	s.want.stamped("environment", "prod").withoutStart().checkEqual(t, "on the wire", rc.got)
	if s.failed() != 0 || s.retried() != 0 {
		t.Errorf("the sender noticed: %s", s.state())
	}
	// Pushes that were under way together with the first may each have tried v2 once.
	if n := count(up.answered(), http.StatusUnsupportedMediaType); n < 1 || n > 2 {
		t.Errorf("upstream was tried with v2 %d times, want once for each of the sender's 2 shards at most", n)
	}
}

// checkDelivery fails when a push was refused on either side: nothing here should ever be sent twice.
func checkDelivery(t *testing.T, s *promSender, up *upstream) {
	t.Helper()
	if s.failed() != 0 || s.retried() != 0 {
		t.Errorf("the sender counts %s, want none failed or retried", s.state())
	}
	for _, status := range up.answered() {
		if status/100 != 2 {
			t.Errorf("upstream answered %v", up.answered())
			break
		}
	}
}
