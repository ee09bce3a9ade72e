package integration

import (
	"net/http"
	"testing"
	"time"
)

// What Prometheus' own sender does with the gateway's answers. Each test sends the same data; nothing may be lost that
// the sender could have kept, and nothing may be sent for ever that upstream will never take.

func TestReactionUpstreamDown(t *testing.T) {
	t.Parallel()
	f := func(status int) {
		t.Helper()
		g, up, rc := newMetricsGateway(t, "", v1, v2)
		up.setFault(func(n int, _ *http.Request) (int, int) {
			if n <= 6 {
				return status, 1 // an upstream's own Retry-After is passed on
			}
			return 0, 0
		})
		s := newPromSender(t, g.http, v1, nil)
		s.appendFloats(20, 20)
		s.delivered(rc.got, s.want.len(), 30*time.Second)
		s.want.stamped("environment", "prod").checkEqual(t, "on the wire", rc.got)
		if s.failed() != 0 || s.retried() == 0 {
			t.Errorf("upstream answered %d: the sender counts %s, want retries and no failure", status, s.state())
		}
	}
	f(http.StatusServiceUnavailable)
	f(http.StatusTooManyRequests)
	f(http.StatusInternalServerError)
}

func TestReactionUpstreamGone(t *testing.T) {
	t.Parallel()
	rc := newPromReceiver(t, v1)
	addr := freeAddr(t)
	g := startGateway(t, "    upstreams:\n      prometheus: {url: \"http://"+addr+"/api/v1/push\", basic_auth: {username: \""+
		upstreamUser+"\", password_file: secrets/upstream}}\n    metrics: {labels: {environment: prod}}\n")
	s := newPromSender(t, g.http, v1, nil)
	s.appendFloats(20, 20)
	eventually(t, 20*time.Second, "pushes answered 502", func() bool {
		s.rs.Notify()
		return g.metric("gateway_pushes_total", `code="502"`) > 0
	})
	newUpstreamAt(t, addr, rc)
	s.delivered(rc.got, s.want.len(), 60*time.Second)
	s.want.stamped("environment", "prod").checkEqual(t, "on the wire", rc.got)
	if s.failed() != 0 {
		t.Errorf("the sender counts %s, want no failure", s.state())
	}
}

// A wrong credential of ours must not cost data: the sender is told to come again, until the file is mended on disk.
func TestReactionUpstreamRefusesCredential(t *testing.T) {
	t.Parallel()
	const mended = "upstream-password-mended-99d1"
	g, up, rc := newMetricsGateway(t, "", v1)
	up.setPassword(mended)
	s := newPromSender(t, g.http, v1, nil)
	s.appendFloats(20, 20)
	eventually(t, 20*time.Second, "upstream refuses the credential", func() bool {
		s.rs.Notify()
		return count(up.answered(), http.StatusUnauthorized) >= 2
	})
	eventually(t, 10*time.Second, "pushes answered 503", func() bool {
		return g.metric("gateway_pushes_total", `code="503"`) >= 2
	})
	g.writeSecret("upstream", mended)
	s.delivered(rc.got, s.want.len(), 90*time.Second) // our misconfiguration asks senders to wait about 30 s
	s.want.stamped("environment", "prod").checkEqual(t, "on the wire", rc.got)
	if s.failed() != 0 || s.retried() == 0 {
		t.Errorf("the sender counts %s, want retries and no failure", s.state())
	}
	g.checkNoSecrets(mended)
}

// Upstream's 400 is final: each push goes once, and the sender counts it as failed.
func TestReactionBadData(t *testing.T) {
	t.Parallel()
	f := func(status int) {
		t.Helper()
		g, up, rc := newMetricsGateway(t, "", v1)
		up.setFault(func(int, *http.Request) (int, int) { return status, 0 })
		s := newPromSender(t, g.http, v1, nil)
		s.appendFloats(20, 20)
		eventually(t, 20*time.Second, "all items failed at the sender", func() bool {
			s.rs.Notify()
			return int(s.failed()) == s.want.len()
		})
		if s.retried() != 0 {
			t.Errorf("upstream answered %d: the sender counts %s, want no retry", status, s.state())
		}
		if n := count(up.answered(), status); n != len(up.answered()) || rc.got.len() != 0 {
			t.Errorf("upstream answered %v, %d items got through", up.answered(), rc.got.len())
		}
		if n := g.metric("gateway_items_failed_total"); int(n) != 400 {
			t.Errorf("gateway_items_failed_total is %g, want 400", n)
		}
	}
	f(http.StatusBadRequest)
	f(http.StatusConflict)
}
