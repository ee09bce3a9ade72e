package gateway

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// scrapeBooks reads all books as a scrape does, and checks that each balances.
func (g *gatewayTest) scrapeBooks() {
	families, err := g.metrics.registry.Gather()
	if err != nil {
		g.t.Error(err)
		return
	}
	type key struct{ environment, client, signal string }
	open := make(map[key]float64)
	for _, f := range families {
		sign := 0.0
		switch f.GetName() {
		case "gateway_items_received_total":
			sign = 1
		case "gateway_items_forwarded_total", "gateway_items_dropped_total", "gateway_items_failed_total":
			sign = -1
		}
		for _, m := range f.GetMetric() {
			open[key{label(m, "environment"), label(m, "client"), label(m, "signal")}] += sign * m.GetCounter().GetValue()
		}
	}
	for k, n := range open {
		if n != 0 {
			g.t.Errorf("a scrape shows books of %v that are off by %v", k, n)
		}
	}
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// weather is what may go wrong upstream. None of it stores what it does not acknowledge.
func weather() []fakecloud.Fault {
	faults := []fakecloud.Fault{
		{Hang: true}, {Delay: 20 * time.Millisecond}, {Delay: 20 * time.Millisecond}, fakecloud.LoginPage(), fakecloud.TooMany(3),
		{Break: fakecloud.ResetBeforeBody}, {Break: fakecloud.ResetAfterBody}, {Break: fakecloud.CloseAfterBody}, {Break: fakecloud.Truncate},
		{Reject: 2, Message: "too old"},
	}
	for _, code := range []int{400, 401, 404, 413, 429, 500, 503} {
		faults = append(faults, answer4xx(code))
	}
	for i := range faults {
		faults[i].Probability = .03
	}
	return faults
}

// TestBooks sends through all doors at once while everything goes wrong, and looks at the books all the time.
func TestBooks(t *testing.T) {
	g := start(t, strings.ReplaceAll(defaultServer+defaultEnvironment, "timeout: 2s", "timeout: 150ms"))
	for _, f := range weather() {
		g.cloud.Fail("", f)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var senders, watchers sync.WaitGroup
	var pushes, answered atomic.Int64
	for i, name := range sortedKeys(samples()) {
		senders.Go(func() { g.mess(ctx, rand.New(rand.NewPCG(1, uint64(i))), samples()[name], &pushes, &answered) })
	}
	client := g.spanClient()
	senders.Go(func() {
		dice := rand.New(rand.NewPCG(2, 2))
		for ctx.Err() == nil {
			call, cancel := context.WithTimeout(authorized(t), time.Duration(dice.IntN(40))*time.Millisecond)
			_, _ = client.Export(call, ptraceotlp.NewExportRequestFromTraces(traces(1+dice.IntN(5))))
			cancel()
		}
	})
	var watching atomic.Bool
	watching.Store(true)
	watchers.Go(func() {
		for watching.Load() {
			g.scrapeBooks()
		}
	})
	// A slow machine needs longer until everything has happened at least once.
	time.Sleep(3 * time.Second)
	for g.unseen() != "" && ctx.Err() == nil {
		time.Sleep(50 * time.Millisecond)
	}
	cancel()
	senders.Wait()
	g.cloud.Heal()
	eventually(t, "all pushes to end", func() bool { return g.inflight.Used() == 0 })
	watching.Store(false)
	watchers.Wait()
	if pushes.Load() < 100 {
		t.Errorf("only %d pushes", pushes.Load())
	}
	known := map[string]bool{"canceled": true, "timeout": true, "unreachable": true, "partial": true}
	for _, f := range must(g.metrics.registry.Gather()) {
		for _, m := range f.GetMetric() {
			if code := label(m, "code"); code != "" && !known[code] && !isStatus(code) {
				t.Errorf("%s has the code %q", f.GetName(), code)
			}
		}
	}
	if code := g.unseen(); code != "" {
		t.Errorf("no item failed with %s: the storm was none", code)
	}
}

// unseen is a code that the storm of TestBooks has to bring and with which no item has failed yet.
func (g *gatewayTest) unseen() string {
	for _, code := range []string{"canceled", "timeout", "unreachable", "partial", "400", "503"} {
		if g.failed(code) == 0 {
			return code
		}
	}
	return ""
}

func isStatus(code string) bool { return len(code) == 3 && code[0] >= '2' && code[0] <= '5' }

// mess sends s again and again: right, cut short, with a wrong token, and with no patience.
func (g *gatewayTest) mess(ctx context.Context, dice *rand.Rand, s sample, pushes, answered *atomic.Int64) {
	for ctx.Err() == nil {
		body, h, patience := s.body, s.header.Clone(), 10*time.Second
		switch dice.IntN(8) {
		case 0:
			body = body[:dice.IntN(len(body))]
		case 1:
			h.Set("Authorization", "Bearer wrong")
		case 2, 3:
			patience = time.Duration(dice.IntN(30)) * time.Millisecond
		}
		one, cancel := context.WithTimeout(context.Background(), patience)
		req, err := http.NewRequestWithContext(one, http.MethodPost, "http://"+g.addr.HTTP[0]+s.path, bytes.NewReader(body))
		if err != nil {
			panic(err)
		}
		req.Header = h
		pushes.Add(1)
		if res, err := http.DefaultClient.Do(req); err == nil {
			answered.Add(1)
			res.Body.Close()
		}
		cancel()
	}
}

// What the books say was forwarded is what upstream stored, where no answer was lost on the way.
func TestBooksAndCloud(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	for _, code := range []int{400, 401, 429, 500, 503} {
		f := answer4xx(code)
		f.Probability = .1
		g.cloud.Fail("", f)
	}
	g.cloud.Fail(fakecloud.OTLP, fakecloud.Fault{Reject: 2, Message: "too old", Probability: .2})
	var senders sync.WaitGroup
	for _, s := range samples() {
		senders.Go(func() {
			for range 40 {
				g.post(s.path, s.header, s.body)
			}
		})
	}
	senders.Wait()
	f := func(signal string, stored int) {
		t.Helper()
		if n := int(g.metric("gateway_items_forwarded_total", "signal", signal)); n != stored {
			t.Errorf("%s: %d items are booked as forwarded, upstream has stored %d", signal, n, stored)
		}
	}
	f("metrics", g.cloud.Stats("", fakecloud.Prometheus).Items+g.cloud.Stats("", fakecloud.OTLPMetrics).Items)
	f("logs", g.cloud.Stats("", fakecloud.Loki).Items+g.cloud.Stats("", fakecloud.OTLPLogs).Items)
	f("traces", g.cloud.Stats("", fakecloud.OTLPTraces).Items)
	if n := int(g.metric("gateway_forwarded_bytes_total")); n != g.cloud.Stats("", "").Bytes {
		t.Errorf("%d bytes are booked as forwarded, upstream got %d of what it stored", n, g.cloud.Stats("", "").Bytes)
	}
}

// What upstream took in part: the answer says so, and the books too.
func TestBooksPartial(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	g.cloud.Fail(fakecloud.OTLP, fakecloud.Fault{Reject: 2, Message: "two are too old"})
	s := samples()["otlp traces"]
	a := g.post(s.path, s.header, s.body)
	res := ptraceotlp.NewExportResponse()
	if err := res.UnmarshalProto([]byte(a.body)); err != nil {
		t.Fatal(err)
	}
	if p := res.PartialSuccess(); a.StatusCode != 200 || p.RejectedSpans() != 2 || !strings.Contains(p.ErrorMessage(), "two are too old") {
		t.Errorf("%d, rejected %d %q", a.StatusCode, p.RejectedSpans(), p.ErrorMessage())
	}
	called, err := g.spanClient().Export(authorized(t), spansOf(4))
	if err != nil || called.PartialSuccess().RejectedSpans() != 2 {
		t.Errorf("over gRPC: %v, rejected %d", err, called.PartialSuccess().RejectedSpans())
	}
	if f, n := g.failed("partial"), g.metric("gateway_items_forwarded_total"); f != 4 || n != 4 {
		t.Errorf("%v spans are booked as partial and %v as forwarded, want 4 and 4", f, n)
	}
}
