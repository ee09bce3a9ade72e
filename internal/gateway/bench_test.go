package gateway

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
)

// sink is an upstream that takes everything and looks at nothing.
func sink(b testing.TB) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", "1") // else it would not speak v2
		w.WriteHeader(http.StatusNoContent)
	}))
	b.Cleanup(s.Close)
	return s
}

// benchDoor is a door of a gateway in front of a sink, without a listener of its own: what is measured is the road and
// one HTTP round trip.
func benchDoor(b testing.TB, labels string) *door {
	dir := b.TempDir()
	yaml := strings.ReplaceAll(defaultServer+defaultEnvironment, "$CLOUD", sink(b).URL) +
		"    metrics: {labels: {" + labels + "}}\n"
	for name, content := range map[string]string{"gateway.yaml": yaml, "app": clientToken, "cloud": cloudToken} {
		if name != "gateway.yaml" {
			name = "secrets/" + name
		}
		_ = os.MkdirAll(filepath.Join(dir, "secrets"), 0o700)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	cfg, err := config.Load(filepath.Join(dir, "gateway.yaml"))
	if err != nil {
		b.Fatal(err)
	}
	g, err := New(cfg, Options{Log: slog.New(slog.DiscardHandler), Version: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	return &door{g, &pushListener{in: func(s *config.Server) config.Listener { return s.HTTPListen[0] }}}
}

// k8sPush is a remote_write v1 push of n series as Kubernetes makes them: 13 labels, 335 bytes each.
func k8sPush(n int) []byte {
	req := new(prompb.WriteRequest)
	for i := range n {
		ts := prompb.TimeSeries{Samples: []prompb.Sample{{Value: float64(i), Timestamp: 1_700_000_000_000 + int64(i)}}}
		add := func(name, value string) { ts.Labels = append(ts.Labels, prompb.Label{Name: name, Value: value}) }
		add("__name__", fmt.Sprintf("container_network_receive_bytes_%02d_total", i%40))
		add("cluster", "prod-eu-west-1")
		add("container", "checkout")
		add("endpoint", "https-metrics")
		add("id", fmt.Sprintf("/kubepods/burstable/pod%08x", i*2654435761))
		add("image", "registry.example.com/shop/checkout:v1.42.7")
		add("instance", fmt.Sprintf("10.1.%d.%d:10250", i/250%250, i%250))
		add("interface", "eth0")
		add("job", "kubelet")
		add("metrics_path", "/metrics/cadvisor")
		add("namespace", "shop")
		add("node", fmt.Sprintf("ip-10-1-%d-%d.eu-west-1.compute.internal", i/250%250, i%250))
		add("pod", fmt.Sprintf("checkout-7d9f8b6c5-%05x", i))
		req.Timeseries = append(req.Timeseries, ts)
	}
	return snappy.Encode(nil, must(req.Marshal()))
}

func benchPush(b *testing.B, d *door, path string, h http.Header, body []byte, items int) {
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
		r.Header = h
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		if w.Code/100 != 2 {
			b.Fatal(w.Code, w.Body.String())
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*items), "ns/item")
}

func BenchmarkRoad(b *testing.B) {
	rw := header("Content-Type", "application/x-protobuf", "Content-Encoding", "snappy")
	b.Run("remote_write_v1/2000", func(b *testing.B) { benchPush(b, benchDoor(b, ""), "/api/v1/push", rw, k8sPush(2000), 2000) })
	b.Run("remote_write_v1/2000/stamp", func(b *testing.B) {
		benchPush(b, benchDoor(b, "environment: prod"), "/api/v1/push", rw, k8sPush(2000), 2000)
	})
	b.Run("remote_write_v1/10", func(b *testing.B) { benchPush(b, benchDoor(b, ""), "/api/v1/push", rw, k8sPush(10), 10) })
}
