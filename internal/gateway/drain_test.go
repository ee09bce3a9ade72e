package gateway

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.uber.org/goleak"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// lingering takes half a second to turn load balancers away.
const lingering = `server:
  http_listen: ["127.0.0.1:0"]
  grpc_listen: ["127.0.0.1:0"]
  admin_listen: "127.0.0.1:0"
  drain_delay: 700ms
  drain_timeout: 10s
`

// get is the status of a path of the first push port, on a connection of its own; 0: no answer.
func (g *gatewayTest) get(path string) int {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := client.Get("http://" + g.addr.HTTP[0] + path)
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

// A gateway that is told to go turns nobody away who was there before.
func TestDrain(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("drain", func(t *testing.T) {
		g := start(t, strings.ReplaceAll(lingering+defaultEnvironment, "timeout: 2s", "timeout: 20s"))
		spans := ptraceotlp.NewGRPCClient(g.dial())
		idle := g.wire().send(typed(oneLine))
		idle.want("before", 204, false)
		if got := g.get("/-/ready"); got != 200 {
			t.Errorf("ready: %d", got)
		}
		o := g.cloud.Fail("", fakecloud.Fault{Hang: true}.For(2))
		slow := g.wire().send(typed(oneLine))
		ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+clientToken), 15*time.Second)
		defer cancel()
		called := make(chan error, 1)
		go func() {
			_, err := spans.Export(ctx, spansOf(3))
			called <- err
		}()
		eventually(t, "two pushes to hang", func() bool { return o.Hits() == 2 })

		stopped := make(chan error, 1)
		go func() { stopped <- g.stop() }()
		eventually(t, "readiness to end", func() bool { return g.get("/-/ready") == 503 })
		if got := g.get("/-/healthy"); got != 200 {
			t.Errorf("healthy while leaving: %d", got)
		}
		// New pushes are served, on old connections and on new ones, which are told to close.
		idle.send(typed(oneLine)).want("an old connection", 204, true)
		g.wire().send(typed(oneLine)).want("a new connection", 204, true)
		res, err := healthpb.NewHealthClient(g.dial()).Check(ctx, new(healthpb.HealthCheckRequest))
		if err != nil || res.Status != healthpb.HealthCheckResponse_NOT_SERVING {
			t.Errorf("gRPC health while leaving: %v %v", res, err)
		}
		eventually(t, "the port to close", func() bool {
			conn, err := net.DialTimeout("tcp", g.addr.HTTP[0], time.Second)
			if err == nil {
				conn.Close()
			}
			return err != nil
		})
		select {
		case err := <-stopped:
			t.Fatalf("the gateway ended, with %v, before its pushes did", err)
		default:
		}
		o.Clear()
		slow.want("the push that hung", 204, true)
		if err := <-called; err != nil {
			t.Errorf("the call that hung: %v", err)
		}
		if err := <-stopped; err != nil {
			t.Errorf("the gateway ended with %v", err)
		}
		if g.logged("drained") != 1 {
			t.Errorf("the log does not say that all was finished:\n%s", g.logs)
		}
	})
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(before); err != nil {
		t.Errorf("left behind: %v", err)
	}
}

// A push that began before the gateway was told to leave, and is answered while it still serves, closes its connection.
func TestDrainInFlight(t *testing.T) {
	g := start(t, strings.ReplaceAll(lingering+defaultEnvironment, "timeout: 2s", "timeout: 20s"))
	o := g.cloud.Fail("", fakecloud.Fault{Hang: true})
	w := g.wire().send(typed(oneLine))
	eventually(t, "the push to hang", func() bool { return o.Hits() == 1 })
	stopped := make(chan error, 1)
	go func() { stopped <- g.stop() }()
	eventually(t, "readiness to end", func() bool { return g.get("/-/ready") == 503 })
	o.Clear()
	w.want("the push that hung", 204, true)
	if err := <-stopped; err != nil {
		t.Errorf("the gateway ended with %v", err)
	}
}

// What takes longer than drain_timeout is cut off, and booked.
func TestDrainTimeout(t *testing.T) {
	g := start(t, strings.ReplaceAll(strings.Replace(lingering, "10s", "300ms", 1)+defaultEnvironment, "timeout: 2s", "timeout: 20s"))
	o := g.cloud.Fail("", fakecloud.Fault{Hang: true})
	w := g.wire().send(typed(oneLine))
	eventually(t, "the push to hang", func() bool { return o.Hits() == 1 })
	began := time.Now()
	if err := g.stop(); err != nil {
		t.Errorf("the gateway ended with %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the end took %s, drain_delay and drain_timeout are 1 s together", took)
	}
	if _, err := w.r.ReadByte(); err == nil {
		t.Error("the push that hung got an answer")
	}
	if g.logged("cut off") != 1 {
		t.Errorf("the log does not say that something was cut off:\n%s", g.logs)
	}
	eventually(t, "the line to be booked", func() bool { return g.failed("canceled") == 1 })
	eventually(t, "its memory to come back", func() bool { return g.inflight.Used() == 0 })
}

// A gateway that cannot have one of its ports takes none.
func TestPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	g := start(t, defaultServer+defaultEnvironment)
	cfg := *g.state.Load().cfg
	cfg.Server.AdminListen = taken.Addr().String()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Server.HTTPListen[0].Address = free.Addr().String()
	free.Close()
	other, err := New(&cfg, Options{Log: g.log, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	err = other.Run(deadline(t), func(Addresses) { t.Error("ready without a port") })
	if err == nil || !strings.Contains(err.Error(), "server.admin_listen") {
		t.Errorf("%v, want an error that names the key", err)
	}
	l, err := net.Listen("tcp", cfg.Server.HTTPListen[0].Address)
	if err != nil {
		t.Errorf("the other port was not given back: %v", err)
		return
	}
	l.Close()
}
