package integration

import (
	"net/http"
	"syscall"
	"testing"
	"time"
)

// newLoadGateway has both upstreams that a load needs, in front of one receiver of ids.
func newLoadGateway(t testing.TB, server string, delay time.Duration) (*gateway, *idReceiver, *upstream) {
	t.Helper()
	rc := newIDReceiver(t, delay)
	up := newUpstream(t, rc)
	g := newGateway(t, server, prod("    upstreams:\n"+up.yaml("loki", "/loki/api/v1/push", "")+up.yaml("otlp", "", "")))
	g.start()
	return g, rc, up
}

// A gateway that is killed loses nothing that it acknowledged.
func TestKilledUnderLoad(t *testing.T) {
	g, rc, _ := newLoadGateway(t, "", 2*time.Millisecond)
	l := startLoad(t, g, 16, false)
	for round := range 10 {
		before := l.count()
		eventually(t, 10*time.Second, "50 pushes acknowledged", func() bool { return l.count() >= before+50 })
		time.Sleep(time.Duration(round) * 3 * time.Millisecond) // another moment of the load each time
		g.kill()
		g.start()
	}
	l.stop()
	taken, _ := rc.snapshot()
	l.checkAcknowledged(t, taken)
}

// No push fails because the configuration is replaced, and each goes wholly by one of the two.
func TestReloadedUnderLoad(t *testing.T) {
	g, rc, _ := newLoadGateway(t, "", 2*time.Millisecond)
	l := startLoad(t, g, 16, false)
	plain := g.environments
	const reloads = 80
	for i := range reloads {
		gen := []string{"even", "odd"}[i%2]
		g.environments = plain + "    logs: {labels: {gen: " + gen + "}}\n"
		g.writeConfig()
		g.signal(syscall.SIGHUP)
		time.Sleep(50 * time.Millisecond)
	}
	l.stop()
	if len(l.fails) > 0 {
		t.Errorf("%d of %d pushes failed, the first: %s", len(l.fails), len(l.fails)+len(l.acked), l.fails[0])
	}
	taken, stamps := rc.snapshot()
	l.checkAcknowledged(t, taken)
	for _, gen := range []string{"even", "odd"} {
		if stamps[gen] < 100 {
			t.Errorf("%d pushes with the stamp %q, want at least 100: %v", stamps[gen], gen, stamps)
		}
	}
	if v := g.metric("gateway_config_last_reload_successful"); v != 1 {
		t.Errorf("gateway_config_last_reload_successful is %g, want 1", v)
	}
}

// A configuration that is not valid changes nothing.
func TestBadReload(t *testing.T) {
	g, rc, _ := newLoadGateway(t, "", 0)
	l := startLoad(t, g, 4, false)
	good := g.environments
	g.environments = good + "    no_such_key: 1\n"
	g.writeConfig()
	g.signal(syscall.SIGHUP)
	eventually(t, 10*time.Second, "the reload is counted as failed", func() bool {
		return g.metric("gateway_config_last_reload_successful") == 0
	})
	before := l.count()
	eventually(t, 10*time.Second, "100 more pushes", func() bool { return l.count() >= before+100 })
	g.environments = good
	g.writeConfig()
	g.signal(syscall.SIGHUP)
	eventually(t, 10*time.Second, "the reload is counted as good", func() bool {
		return g.metric("gateway_config_last_reload_successful") == 1
	})
	l.stop()
	if len(l.fails) > 0 {
		t.Errorf("%d pushes failed, the first: %s", len(l.fails), l.fails[0])
	}
	taken, _ := rc.snapshot()
	l.checkAcknowledged(t, taken)
}

// A gateway that is told to leave finishes what it has begun: every id that reached upstream is acknowledged, so a
// sender that retries the rest sends nothing twice.
func TestTerminatedUnderLoad(t *testing.T) {
	g, rc, _ := newLoadGateway(t, "  drain_delay: 1s\n", 100*time.Millisecond)
	l := startLoad(t, g, 32, true)
	eventually(t, 10*time.Second, "200 pushes acknowledged", func() bool { return l.count() >= 200 })

	g.signal(syscall.SIGTERM)
	eventually(t, 800*time.Millisecond, "not ready while it drains", func() bool {
		status, _ := httpGet("http://" + g.admin + "/-/ready")
		return status == http.StatusServiceUnavailable
	})
	before := l.count()
	eventually(t, 800*time.Millisecond, "pushes are still taken in drain_delay", func() bool { return l.count() >= before+32 })
	if code := g.wait(20 * time.Second); code != 0 {
		t.Errorf("exit code %d, want 0\n%s", code, g.log.tail())
	}
	g.start()
	before = l.count()
	eventually(t, 20*time.Second, "the senders go on", func() bool { return l.count() >= before+100 })
	l.stop()

	taken, _ := rc.snapshot()
	l.checkAcknowledged(t, taken)
	if n := int(l.n.Load()); len(l.acked) != n {
		t.Errorf("%d of %d pushes were acknowledged in the end", len(l.acked), n)
	}
	for id, n := range taken {
		if n != 1 {
			t.Errorf("upstream took %s %d times: it was in flight at the end and not answered", id, n)
		}
	}
}
