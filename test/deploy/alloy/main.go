// Command alloy is Grafana Alloy's own runtime with the components of deploy/clients/config.alloy, what feeds them, and no
// others: whole, Alloy takes half an hour to build. test/deploy/clients runs it with that file.
//
//	alloy CONFIG STORAGE
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	// Components announce themselves to the runtime when they are imported.
	_ "github.com/grafana/alloy/internal/component/local/file"
	_ "github.com/grafana/alloy/internal/component/loki/source/file"
	_ "github.com/grafana/alloy/internal/component/loki/write"
	_ "github.com/grafana/alloy/internal/component/otelcol/auth/bearer"
	_ "github.com/grafana/alloy/internal/component/otelcol/exporter/otlphttp"
	_ "github.com/grafana/alloy/internal/component/otelcol/receiver/otlp"
	_ "github.com/grafana/alloy/internal/component/prometheus/remotewrite"
	_ "github.com/grafana/alloy/internal/component/prometheus/scrape"

	"github.com/grafana/alloy/internal/alloyseed"
	"github.com/grafana/alloy/internal/featuregate"
	"github.com/grafana/alloy/internal/runtime"
	"github.com/grafana/alloy/internal/runtime/logging"
	"github.com/grafana/alloy/internal/service"
	"github.com/grafana/alloy/internal/service/cluster"
	httpservice "github.com/grafana/alloy/internal/service/http"
	"github.com/grafana/alloy/internal/service/labelstore"
	"github.com/grafana/alloy/internal/service/livedebugging"
	"github.com/grafana/alloy/internal/service/otel"
	"github.com/grafana/alloy/internal/service/remotecfg"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: alloy CONFIG STORAGE")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

// run is what Alloy's run command does, without its page and its usage report.
func run(ctx context.Context, config, storage string) error {
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	l, err := logging.New(os.Stderr, logging.DefaultOptions)
	if err != nil {
		return err
	}
	alone, err := cluster.New(cluster.Options{Log: l, EnableClustering: false, NodeName: "alone", AdvertiseAddress: "127.0.0.1:1"})
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	remote, err := remotecfg.New(remotecfg.Options{Logger: l, ConfigPath: config, StoragePath: storage, Metrics: registry})
	if err != nil {
		return err
	}
	alloyseed.Init(storage, l)
	r := runtime.New(runtime.Options{
		Logger:       l,
		DataPath:     storage,
		Reg:          registry,
		MinStability: featuregate.StabilityGenerallyAvailable,
		Services: []service.Service{
			alone,
			httpservice.New(httpservice.Options{
				Logger: l, Tracer: noop.NewTracerProvider(), Gatherer: registry,
				HTTPListenAddr: "127.0.0.1:0", MemoryListenAddr: "alloy.internal:12345",
				MinStability: featuregate.StabilityGenerallyAvailable,
			}),
			labelstore.New(l, registry),
			livedebugging.New(),
			otel.New(l),
			remote, // the page's server refers to it; without a block of its own it does nothing
		},
	})
	source, err := runtime.ParseSource(config, text)
	if err != nil {
		return err
	}
	if err := r.LoadSource(source, nil, config); err != nil {
		return fmt.Errorf("%s: %w", config, err)
	}
	r.Run(ctx)
	return nil
}
