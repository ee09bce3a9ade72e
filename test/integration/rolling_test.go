package integration

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/exporter/otlphttpexporter"
	"go.opentelemetry.io/collector/pdata/plog"
)

// Two gateways behind a balancer are restarted in turn, as a deployment does it, while Prometheus and a Collector push
// through both. Neither sender sees it: nothing fails, nothing is sent again, and all arrives once and in order.
func TestRollingRestart(t *testing.T) {
	const server = "  drain_delay: 500ms\n  drain_timeout: 10s\n  max_connection_age: 500ms\n"
	metrics, logs := newPromReceiver(t, v2), newOTLPReceiver(t)
	mux := http.NewServeMux()
	mux.Handle("/api/v1/push", late(metrics))
	mux.Handle("/v1/logs", late(logs.proxy()))
	up := newUpstream(t, mux)
	var gateways []*gateway
	for range 2 {
		g := newGateway(t, server, prod("    upstreams:\n"+up.yaml("prometheus", "/api/v1/push", "")+up.yaml("otlp", "", "")))
		g.start()
		gateways = append(gateways, g)
	}
	addr := newBalancer(t, gateways...).Addr().String()

	const queues, workers = 4, 4
	s := newPromSender(t, addr, v2, nil, func(cfg *config.RemoteWriteConfig) {
		cfg.Headers = nil // with an Idempotency-Key, net/http would send a push again that was cut off, and tell nobody
		cfg.QueueConfig.MinShards, cfg.QueueConfig.MaxShards = queues, queues
	})
	scrapes := startScrapes(t, s)
	exports := startExports(t, addr, workers)

	leave := func(g *gateway, times int) {
		t.Helper()
		g.signal(syscall.SIGTERM)
		if code := g.wait(20 * time.Second); code != 0 {
			t.Errorf("exit code %d, want 0\n%s", code, g.log.tail())
		}
		if n := strings.Count(g.log.String(), `"msg":"drained"`); n != times {
			t.Errorf("the gateway's log says %d times that all was finished, want %d\n%s", n, times, g.log.tail())
		}
	}
	// A gateway has its part of the load before it or the other one leaves.
	loaded := func() {
		t.Helper()
		for i, g := range gateways {
			eventually(t, 15*time.Second, fmt.Sprintf("metrics and logs leave by gateway %d", i), func() bool {
				return g.metric("gateway_items_forwarded_total", `signal="metrics"`) >= 100 && g.metric("gateway_items_forwarded_total", `signal="logs"`) >= 10
			})
		}
	}
	const rounds = 2
	for round := range rounds {
		for _, g := range gateways {
			loaded()
			leave(g, round+1)
			g.start()
		}
	}
	loaded()
	scrapes.stop()
	exports.stop()
	s.delivered(metrics.got, s.want.len(), 10*time.Second)
	s.settled(10 * time.Second)
	for _, g := range gateways {
		leave(g, rounds+1) // answers everything, so that what comes twice has come
		g.checkNoSecrets()
	}

	s.want.checkEqual(t, "on the wire", metrics.got)
	checkDelivery(t, s, up)
	if log := s.log.String(); strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") {
		t.Errorf("Prometheus' sender complains:\n%s", s.log.tail())
	}
	exports.check(t, logs)
	t.Logf("%d samples and %d log records in %d pushes", s.want.len(), logs.logs.LogRecordCount(), len(up.answered()))
}

// late answers after a while, and every tenth time after longer than drain_delay, so that every moment of a restart
// finds pushes in flight, the end of drain_delay too.
func late(h http.Handler) http.Handler {
	var n atomic.Uint64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1)%10 == 0 {
			time.Sleep(700 * time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond)
		h.ServeHTTP(w, r)
	})
}

// work is what a test does in the background until it is stopped or the test ends.
type work struct {
	cease atomic.Bool
	wg    sync.WaitGroup
}

func (w *work) stop() {
	w.cease.Store(true)
	w.wg.Wait()
}

// startScrapes appends a sample to each of some series, again and again.
func startScrapes(t testing.TB, s *promSender) *work {
	t.Helper()
	all := make([]series, 40)
	for n := range all {
		all[n] = newSeries(fmt.Sprintf("requests_%d_total", n%4), model.MetricTypeCounter, "instance", strconv.Itoa(n), "job", "api")
	}
	w := new(work)
	w.wg.Go(func() {
		for i := 0; !w.cease.Load(); i++ {
			tx := s.begin()
			for n, sr := range all {
				tx.add(sr, i, float64(i*len(all)+n), nil, nil)
			}
			tx.commit()
			time.Sleep(20 * time.Millisecond)
		}
	})
	t.Cleanup(w.stop)
	return w
}

// exports pushes log records through a Collector's OTLP/HTTP exporter. Each worker numbers its own, one a push.
type exports struct {
	work
	sent []int // by worker

	mu    sync.Mutex // guards fails
	fails []error
}

func startExports(t testing.TB, addr string, workers int) *exports {
	t.Helper()
	x, to := &exports{sent: make([]int, workers)}, newLogExporter(t, addr)
	for n := range workers {
		x.wg.Go(func() {
			for ; !x.cease.Load(); x.sent[n]++ {
				ld := plog.NewLogs()
				ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetStr(fmt.Sprintf("%d %d", n, x.sent[n]))
				if err := to.ConsumeLogs(context.Background(), ld); err != nil {
					x.mu.Lock()
					x.fails = append(x.fails, err)
					x.mu.Unlock()
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	t.Cleanup(x.stop)
	return x
}

// newLogExporter is the Collector's exporter without a queue and without retries, so that its caller sees what it sees.
func newLogExporter(t testing.TB, addr string) exporter.Logs {
	t.Helper()
	factory := otlphttpexporter.NewFactory()
	c := factory.CreateDefaultConfig().(*otlphttpexporter.Config)
	c.ClientConfig.Endpoint = "http://" + addr
	c.ClientConfig.Headers = configopaque.MapList{{Name: "Authorization", Value: "Bearer " + clientToken}}
	c.QueueConfig = configoptional.None[exporterhelper.QueueBatchConfig]()
	c.RetryConfig.Enabled = false
	// A connection that nobody used in drain_delay closes untold, and over HTTP/1.1 that can cross the next push.
	c.ClientConfig.IdleConnTimeout = 200 * time.Millisecond
	ctx := context.Background()
	x, err := factory.CreateLogs(ctx, exportertest.NewNopSettings(factory.Type()), c)
	if err == nil {
		err = x.Start(ctx, componenttest.NewNopHost())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Shutdown(ctx) })
	return x
}

// check fails unless every record was acknowledged and arrived once, each worker's in the order of its numbers.
func (x *exports) check(t testing.TB, rc *otlpReceiver) {
	t.Helper()
	if len(x.fails) > 0 {
		t.Errorf("%d exports failed, the first: %v", len(x.fails), x.fails[0])
	}
	next := make([]int, len(x.sent))
	for _, ld := range rc.logs.AllLogs() {
		var n, number int
		id := ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Body().Str()
		if _, err := fmt.Sscanf(id, "%d %d", &n, &number); err != nil {
			t.Fatalf("upstream has the record %q: %v", id, err)
		}
		if number != next[n] {
			t.Fatalf("upstream has record %d of worker %d, want %d next: lost, doubled or out of order", number, n, next[n])
		}
		next[n]++
	}
	for n, sent := range x.sent {
		if next[n] != sent {
			t.Errorf("upstream has %d records of worker %d, want %d", next[n], n, sent)
		}
	}
}
