package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/generate"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/report"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/sink"
)

// TestMain makes the test's own binary what the runner starts: a sink, a proxy, a gateway, or a program that is to fail.
func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	var err error
	switch args := os.Args[1:]; {
	case len(args) > 0 && (args[0] == "sink" || args[0] == "proxy"):
		err = command(ctx, args, os.Stdout, os.Stderr)
	case len(args) == 2 && args[0] == "run":
		err = serveGateway(ctx, strings.TrimPrefix(args[1], "--config.file="))
	case len(args) == 3 && args[0] == "hasty":
		err = serveHasty(ctx, args[1], args[2])
	default:
		stop()
		os.Exit(m.Run())
	}
	stop()
	if err != nil {
		panic(err)
	}
}

// startBench returns a scenario that is about to be prepared: its sink is a process, its gateway is this one.
func startBench(t *testing.T, s scenario) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{scenario: s, options: options{duration: 300 * time.Millisecond, patience: patience}, dir: dir, progress: io.Discard}
	var err error
	b.sink, err = startSinkProcess(t.Context(), "127.0.0.1:0", 1, "", "", &http.Client{Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	addr := startGateway(t, b.sink.url, s.gateway)
	b.target = &gatewayProcess{pid: os.Getpid(), http: "http://" + addr.HTTP[0], grpc: "http://" + addr.GRPC[0], admin: "http://" + addr.Admin}
	return b
}

// run runs a scenario to its end.
func (b *bench) run(t *testing.T) *report.Result {
	t.Helper()
	if err := b.prepare(); err != nil {
		t.Fatal(err)
	}
	if err := b.warmUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := b.measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestScenarioIsMeasured(t *testing.T) {
	b := startBench(t, scenario{
		name: "two", warm: true, gateway: gatewayConfig{metrics: reduceRules + guardLimits},
		loads: []load{
			{name: "metrics", spec: generate.Spec{Kind: generate.RemoteWriteV1, Items: 100, Series: 1000, Change: reducedSeries}, conns: 2},
			{name: "logs", spec: generate.Spec{Kind: generate.Loki, Items: 100, Series: 1000}, conns: 1, rate: 2000},
		},
	})
	r := b.run(t)
	if r.Verdict != verdictExact || len(r.Loads) != 2 || r.Loads[0].Pushes == 0 || r.Loads[1].Pushes == 0 {
		t.Errorf("%s: %+v", r.Verdict, r.Loads)
	}
	if r.Items != 100*r.Pushes || r.RSSPeak == 0 || r.AllocObjects <= 0 || r.Loads[0].P50 == 0 || r.Loads[1].Rate != 20 || len(r.Samples) == 0 {
		t.Errorf("%+v", r)
	}
}

func TestOverloadIsMeasured(t *testing.T) {
	b := startBench(t, scenario{
		name: "over", share: 10, fault: sink.Fault{Delay: 20 * time.Millisecond}, slow: 3, idle: 5,
		gateway: gatewayConfig{environments: 2, server: "  max_inflight_bytes: 1MiB\n  max_body_bytes: 256KiB\n  max_decoded_bytes: 512KiB\n"},
		loads:   []load{{name: "metrics", spec: generate.Spec{Kind: generate.RemoteWriteV1, Items: 100, Series: 1000}, conns: 32}},
	})
	r := b.run(t)
	if r.Verdict != verdictExact || r.Loads[0].Rate == 0 || !strings.Contains(strings.Join(r.Notes, "\n"), "paced at") {
		t.Errorf("%s: %v, %+v", r.Verdict, r.Notes, r.Loads)
	}
}

// TestScenariosAreSound loads what each scenario configures, and looks for what would not run.
func TestScenariosAreSound(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range scenarios() {
		if seen[s.name] || s.name == "" || s.about == "" || len(s.loads) == 0 {
			t.Errorf("%q: doubled, or something is missing", s.name)
		}
		seen[s.name] = true
		dir := t.TempDir()
		s.gateway.sink = "http://127.0.0.1:1"
		if s.gateway.tls {
			if _, _, err := writeCertificate(dir); err != nil {
				t.Fatal(err)
			}
		}
		path, err := s.gateway.write(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(path); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		for _, l := range s.loads {
			if l.conns == 0 || l.environment >= max(1, s.gateway.environments) {
				t.Errorf("%s/%s: %d connections, environment %d of %d", s.name, l.name, l.conns, l.environment, s.gateway.environments)
			}
		}
	}
	for _, name := range []string{
		"rw1", "rw1-reduce", "rw2", "loki", "loki-metadata", "traces-gzip", "traces-gzip-drop-attribute", "traces-plain", "metrics-gzip",
		"logs-plain", "tiny", "memory-100k", "memory-1m", "latency", "quote", "overload", "churn", "tls", "grpc", "connections", "tenants",
	} {
		if !seen[name] {
			t.Errorf("there is no scenario %s", name)
		}
	}
}

func TestWrongUsage(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		var progress strings.Builder
		if err := command(t.Context(), args, io.Discard, &progress); err == nil || !strings.Contains(err.Error()+progress.String(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
	f("no scenario is called", "-scenario", "rw9")
	f("go together", "-target", "http://127.0.0.1:1")
	f("needs -out", "-profile")
	f("not of -target", "-parts", "-target", "http://127.0.0.1:1", "-pid", "1")
	f("is not a flag", "rw1")
	f("overload-dead", "-help")
}

func TestResultsAreSaved(t *testing.T) {
	dir := t.TempDir()
	run := &report.Run{Results: []*report.Result{{Scenario: "x", Loads: []report.Load{{Name: "y"}}}}}
	if err := saveRun(dir, run); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, partsFile)); err == nil {
		t.Error("there is a page of profiles, though nothing was profiled")
	}
	run.Results[0].Profile = &report.Profile{Parts: []report.Part{{Name: partRoad, Share: 1}}}
	if err := saveRun(dir, run); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{resultsFile, pageFile, partsFile, "x.svg"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFloors(t *testing.T) {
	for _, spec := range []generate.Spec{
		{Kind: generate.RemoteWriteV1, Items: 20, Series: 20},
		{Kind: generate.Loki, Items: 20, Series: 20, Change: movedLabel},
		{Kind: generate.Traces, Items: 20, Series: 20, Codec: "gzip", Change: deletedAttribute},
		{Kind: generate.Logs, Items: 20, Series: 20, Codec: "zstd"},
	} {
		w, err := generate.New(spec)
		if err != nil {
			t.Fatal(err)
		}
		f := floorOf(w, spec)
		changed := spec.Change.Move != "" || spec.Change.Delete != ""
		if f.perSecond() <= 0 || f.of(partWalk) <= 0 || f.of(partDecompress) <= 0 || (f.of(partCompress) > 0) != changed || f.of(partRoad) != 0 {
			t.Errorf("%s: the floor is %+v", spec.Kind, f)
		}
	}
}
