package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/internal/gateway"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/generate"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/report"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/sink"
)

// serveGateway is the gateway's own run as far as a runner needs it, for a test's own binary: the command cannot be imported.
func serveGateway(ctx context.Context, file string) error {
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	g, err := gateway.New(cfg, gateway.Options{Log: slog.New(slog.NewJSONHandler(os.Stderr, nil)), Version: "test"})
	if err != nil {
		return err
	}
	return g.Run(ctx, func(gateway.Addresses) {})
}

// serveHasty is what the gateway must not be: it answers a push as soon as it has it, and forwards it a little later.
func serveHasty(ctx context.Context, listen, to string) error {
	var later sync.WaitGroup
	srv := &http.Server{Addr: listen, ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		path, header := r.URL.Path, r.Header.Clone()
		later.Go(func() {
			<-time.After(50 * time.Millisecond)
			req, err := http.NewRequest(http.MethodPost, to+path, bytes.NewReader(body))
			if err != nil {
				return
			}
			req.Header = header
			if res, err := http.DefaultClient.Do(req); err == nil {
				_ = res.Body.Close()
			}
		})
		w.WriteHeader(http.StatusNoContent)
	})}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer later.Wait()
	defer stop()
	_ = srv.ListenAndServe() // it is killed, or ended by ctx
	return nil
}

// hasty is serveHasty as a peer.
func hasty() *peer {
	return &peer{
		name:  "hasty",
		build: func(context.Context, string) (string, error) { return os.Executable() },
		args:  func(r *peerRun) ([]string, error) { return []string{"hasty", r.listen, r.sink}, nil },
	}
}

// crashed runs a scenario that kills what it measures: the gateway, or a peer.
func crashed(t *testing.T, p *peer) *report.Result {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := crash("crash", generate.Spec{Kind: generate.RemoteWriteV1, Items: 100, Series: 1000})
	s.fault = sink.Fault{Delay: 5 * time.Millisecond}
	o := options{duration: time.Second, sinkListen: "127.0.0.1:0", binary: self, peer: p, peerBinary: self, patience: 300 * time.Millisecond}
	r, err := runScenario(t.Context(), s, o, t.TempDir(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNothingAcknowledgedIsLostInACrash(t *testing.T) {
	r := crashed(t, nil)
	if r.Verdict != verdictExact && r.Verdict != verdictBounds || r.Pushes == 0 || r.Acknowledged < r.Items || r.Arrived < r.Acknowledged {
		t.Errorf("%s: %d items acknowledged, %d arrived, %d in %d pushes before the end; %v", r.Verdict, r.Acknowledged, r.Arrived, r.Items, r.Pushes, r.Notes)
	}
}

// TestLossInACrashIsSeen: a program that answers early loses what it holds, and that must show.
func TestLossInACrashIsSeen(t *testing.T) {
	r := crashed(t, hasty())
	if !strings.HasPrefix(r.Verdict, "lost ") || r.Arrived >= r.Acknowledged {
		t.Errorf("%s: %d items acknowledged, %d arrived", r.Verdict, r.Acknowledged, r.Arrived)
	}
}

func TestCrashRefusesAForeignTarget(t *testing.T) {
	b := &bench{scenario: scenario{crash: true}, options: options{target: "http://127.0.0.1:1"}}
	if _, err := b.measureCrash(t.Context()); err == nil || !strings.Contains(err.Error(), "-target") {
		t.Errorf("%v", err)
	}
}

// TestCompare measures the gateway and a proxy in turn, and reads back what is kept.
func TestCompare(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	small := one("small", "", 0, generate.Spec{Kind: generate.RemoteWriteV1, Items: 5, Series: 500, Change: reducedSeries}, gatewayConfig{metrics: reduceRules})
	list := []rival{{scenario: small, peer: reverseProxy(), goal: 2, unchanged: true}}
	o := options{duration: 200 * time.Millisecond, sinkListen: "127.0.0.1:0", binary: self, patience: patience}
	binaries := map[string]string{list[0].peer.name: self}
	c := new(report.Comparison)
	if c.Duels, err = compareAll(t.Context(), list, o, binaries, 1, t.TempDir(), io.Discard); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "new")
	if err := saveComparison(dir, c); err != nil {
		t.Fatal(err)
	}
	run, back, err := readResults(dir)
	if err != nil || run != nil || len(back.Duels) != 1 {
		t.Fatalf("%v, %v, %+v", err, run, back)
	}
	for _, d := range back.Duels {
		if len(d.Ours) != 1 || len(d.Theirs) != 1 || d.Ours[0].Verdict != verdictExact || d.Theirs[0].Verdict != verdictExact || d.Theirs[0].RSSPeak == 0 {
			t.Errorf("%+v", d)
		}
	}
}
