package integration

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
)

// v1 sends metadata in pushes of their own, which hold no series; Prometheus takes it from what it scrapes.
func TestRemoteWriteMetadataV1(t *testing.T) {
	f := func(extra string) {
		t.Helper()
		g, up, rc := newMetricsGateway(t, extra, v1, v2)
		want := newArrivals()
		var page strings.Builder
		for i, typ := range []model.MetricType{"counter", "gauge", "histogram", "summary", "unknown"} {
			name := fmt.Sprintf("scraped_%d_%s", i, typ)
			m := metadata.Metadata{Type: typ, Help: fmt.Sprintf("Help of %s, with ü and =.", name)}
			want.addMetadata(name, m)
			text := typ
			if typ == "unknown" {
				text = "untyped"
			}
			fmt.Fprintf(&page, "# HELP %s %s\n# TYPE %s %s\n%s 1\n", name, m.Help, name, text, name)
		}
		getter := &managerGetter{}
		s := newPromSender(t, g.http, v1, getter)
		startScraper(t, getter, s.db, page.String())

		eventually(t, 20*time.Second, "all metadata arrived", func() bool {
			s.rs.Notify()
			rc.got.mu.Lock()
			defer rc.got.mu.Unlock()
			return len(rc.got.metadata) >= len(want.metadata)
		})
		want.checkMetadata(t, "with "+extra, rc.got)
		checkDelivery(t, s, up)
	}
	f("")
	f(`remote_write_version: "2",`) // v2 has no push of metadata alone: such pushes stay v1
}

// managerGetter hands out the scrape manager; Prometheus' remote storage asks for it when it first needs it.
type managerGetter struct {
	m atomic.Pointer[scrape.Manager]
}

func (g *managerGetter) Get() (*scrape.Manager, error) {
	if m := g.m.Load(); m != nil {
		return m, nil
	}
	return nil, errors.New("not yet")
}

// startScraper scrapes page into db until the test ends.
func startScraper(t testing.TB, getter *managerGetter, db storage.Appendable, page string) {
	t.Helper()
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = w.Write([]byte(page))
	}))
	t.Cleanup(target.Close)
	addr := strings.TrimPrefix(target.URL, "http://")

	m, err := scrape.NewManager(&scrape.Options{DiscoveryReloadInterval: model.Duration(10 * time.Millisecond)},
		slog.New(slog.DiscardHandler), nil, db, nil, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load("scrape_configs:\n- job_name: page\n  scrape_interval: 500ms\n  scrape_timeout: 400ms\n",
		slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.ApplyConfig(cfg); err != nil {
		t.Fatal(err)
	}
	sets := make(chan map[string][]*targetgroup.Group, 1)
	sets <- map[string][]*targetgroup.Group{"page": {{Targets: []model.LabelSet{{model.AddressLabel: model.LabelValue(addr)}}}}}
	done := make(chan struct{})
	go func() { defer close(done); _ = m.Run(sets) }()
	t.Cleanup(func() { m.Stop(); <-done })
	getter.m.Store(m)
}
