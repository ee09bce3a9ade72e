package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/drive"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/measure"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/report"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/sink"
)

// measure drives all loads for the duration.
func (b *bench) measure(ctx context.Context) (*report.Result, error) {
	stopNuisances, err := b.nuisances(ctx)
	if err != nil {
		return nil, err
	}
	w, err := b.watch(ctx)
	if err != nil {
		stopNuisances()
		return nil, err
	}
	run, cancel := context.WithTimeout(ctx, b.duration)
	defer cancel()
	outcomes := make([]*drive.Outcome, len(b.loads))
	var wg sync.WaitGroup
	for i, l := range b.loads {
		wg.Go(func() { outcomes[i] = l.Run(run, 0, &b.items) })
	}
	wg.Wait()
	var total drive.Outcome
	for i, out := range outcomes {
		b.loads[i].From = out.Next
		total.Merge(out)
		b.accepted.Merge(out)
	}
	verdict, settleErr := b.settle(ctx) // the sink has the last byte before CPU is read
	r, err := w.stop(ctx, &total)
	stopNuisances()
	if err == nil {
		err = settleErr
	}
	if err != nil {
		return nil, err
	}
	b.fill(r, outcomes, verdict)
	if b.target.memory.Inflight > 0 {
		entries, err := measure.ReadGauge(ctx, w.metrics, "gateway_series_bytes")
		if err != nil {
			return nil, err
		}
		b.judgeMemory(r, uint64(entries))
	}
	return r, nil
}

// fill writes into r what is known of the scenario and of each load.
func (b *bench) fill(r *report.Result, outcomes []*drive.Outcome, v verification) {
	r.Scenario, r.About, r.Goal, r.Notes = b.name, b.about, b.goal, b.notes
	r.Verdict, r.Checked = v.Verdict, v.Checked
	if v.Unknown > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%d items were in pushes that got no answer, 502 or 504", v.Unknown))
	}
	for i, out := range outcomes {
		r.Loads = append(r.Loads, loadResult(b.scenario.loads[i].name, b.loads[i].Rate, out))
		if l := r.Loads[i]; l.Rate > 0 {
			r.Notes = append(r.Notes, fmt.Sprintf("%s: paced at %.1f pushes/s; accepted pushes took %.2f ms at p50, %.2f ms at p99 once they were sent; refused %.2f ms at p99",
				l.Name, l.Rate, float64(l.Service50)/1e6, float64(l.Service99)/1e6, float64(l.RefusedP99)/1e6))
		}
		if len(out.Errors) > 0 {
			r.Notes = append(r.Notes, fmt.Sprintf("%s: answers %v", b.scenario.loads[i].name, out.Answers))
		}
		for _, status := range slices.Sorted(maps.Keys(out.Errors)) {
			text := strings.TrimSpace(out.Errors[status].Error())
			r.Notes = append(r.Notes, fmt.Sprintf("%s: for example of %d: %s", b.scenario.loads[i].name, status, text))
		}
	}
	if b.floor {
		b.least = floorOf(b.loads[0].Work, b.scenario.loads[0].spec)
		r.Floor = b.least.perSecond()
	}
}

func loadResult(name string, rate float64, out *drive.Outcome) report.Load {
	l := report.Load{
		Name: name, Items: out.Items, Pushes: out.Pushes, Rate: rate, Answers: out.Answers,
		P50: out.Latency.Quantile(0.5), P99: out.Latency.Quantile(0.99), P999: out.Latency.Quantile(0.999), Max: out.Latency.Max(),
		Service50: out.Service.Quantile(0.5), Service99: out.Service.Quantile(0.99), RefusedP99: out.Refusal.Quantile(0.99),
	}
	for _, p := range out.Latency.Points() {
		l.Quantiles = append(l.Quantiles, report.Quantile(p))
	}
	return l
}

// settle waits until the sink has what was accepted. A program with a queue takes its time: it is given until nothing has come
// for a while and it says that nothing waits, or for a minute.
func (b *bench) settle(ctx context.Context) (v verification, err error) {
	check := verify
	if b.foreign() {
		check = verifyTotals
	}
	identityOnly := false
	for _, l := range b.loads {
		identityOnly = identityOnly || l.Work.IdentityOnly
	}
	last, began := uint64(0), time.Now()
	since := began
	for {
		st, err := b.sink.control(ctx, http.MethodGet, sink.StatePath, nil)
		if err != nil {
			return v, err
		}
		v = check(&b.accepted, st, identityOnly)
		v.Waited = time.Since(began)
		if v.ok() || v.Arrived >= v.Accepted {
			return v, nil
		}
		if time.Since(since) > b.patience {
			if v.Queued, err = b.queued(ctx); err != nil || v.Queued == 0 || v.Waited > queuePatience {
				return v, err
			}
		}
		if v.Arrived != last {
			last, since = v.Arrived, time.Now()
		}
		time.Sleep(50 * time.Millisecond) // the runner has nothing else to do
	}
}

// queued is what a peer says that it has yet to forward; 0 where it says nothing.
func (b *bench) queued(ctx context.Context) (float64, error) {
	if b.peer == nil || len(b.peer.queued) == 0 {
		return 0, nil
	}
	return measure.ReadSum(ctx, b.metrics, b.peer.queued...)
}

// nuisances opens idle connections and starts slow senders.
func (b *bench) nuisances(ctx context.Context) (stop func(), err error) {
	addr := strings.TrimPrefix(strings.TrimPrefix(b.target.http, "https://"), "http://")
	ctx, cancel := context.WithCancel(ctx)
	stops := []func(){cancel}
	if b.slow > 0 {
		stops = append(stops, drive.Slow(ctx, addr, token(1, 0), b.slow, 16<<20, 20*time.Second))
	}
	if b.idle > 0 {
		open, done := drive.Idle(ctx, addr, b.idle)
		stops = append(stops, done)
		b.note("%d of %d idle connections were opened", open, b.idle)
	}
	return func() {
		for _, s := range stops {
			s()
		}
	}, nil
}

// measureDirect sends the same to the sink itself, for what of the latency is not the gateway's.
func (b *bench) measureDirect(ctx context.Context, r *report.Result) {
	for i, l := range b.loads {
		l.URL = b.sink.url
		run, cancel := context.WithTimeout(ctx, b.duration)
		out := l.Run(run, 0, nil)
		cancel()
		name := b.scenario.loads[i].name
		direct := loadResult(name+" without the gateway", l.Rate, out)
		r.Loads[i].AddedP50, r.Loads[i].AddedP99 = r.Loads[i].P50-direct.P50, r.Loads[i].P99-direct.P99
		r.Notes = append(r.Notes, fmt.Sprintf("%s: the gateway adds %.2f ms at p50, %.2f ms at p99", name,
			float64(r.Loads[i].AddedP50)/1e6, float64(r.Loads[i].AddedP99)/1e6))
		r.Loads = append(r.Loads, direct)
	}
}

// measureRecovery sends the first load again, as fast as four connections go, once what disturbed it has ended.
func (b *bench) measureRecovery(ctx context.Context, r *report.Result) error {
	if _, err := b.sink.control(ctx, http.MethodPost, sink.FaultPath, sink.Fault{}); err != nil {
		return err
	}
	l := *b.loads[0]
	l.Rate, l.Conns = 0, 4
	run, cancel := context.WithTimeout(ctx, b.duration/2)
	defer cancel()
	out := l.Run(run, 0, nil)
	rss, _, err := measure.Process(b.target.pid).Memory()
	r.Notes = append(r.Notes, fmt.Sprintf("right after it, as fast as it goes: %.0f pushes/s, %.2f ms at p50, %.2f ms at p99, answers %v, %.1f MiB",
		float64(out.Pushes)/max(out.Elapsed.Seconds(), 1e-9), float64(out.Latency.Quantile(0.5))/1e6, float64(out.Latency.Quantile(0.99))/1e6,
		out.Answers, float64(rss)/(1<<20)))
	return err
}
