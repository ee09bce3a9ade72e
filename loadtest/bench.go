package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/drive"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/generate"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/measure"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/report"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/sink"
)

// bench is one scenario while it runs.
type bench struct {
	scenario
	options
	progress io.Writer
	dir      string
	tls      *tls.Config
	sink     *sinkProcess
	target   *gatewayProcess
	loads    []*drive.Load
	accepted drive.Outcome // everything since the sink was told to forget
	items    atomic.Uint64
	notes    []string
}

// runScenario runs one scenario from nothing to its result.
func runScenario(ctx context.Context, s scenario, o options, dir string, progress io.Writer) (*report.Result, error) {
	dir, err := os.MkdirTemp(dir, s.name+"-")
	if err != nil {
		return nil, err
	}
	b := &bench{scenario: s, options: o, progress: progress, dir: dir}
	defer b.close()
	if err := b.start(ctx); err != nil {
		return nil, err
	}
	if err := b.prepare(); err != nil {
		return nil, err
	}
	if err := b.warmUp(ctx); err != nil {
		return nil, err
	}
	r, err := b.measure(ctx)
	if err == nil && s.direct {
		b.measureDirect(ctx, r)
	}
	return r, err
}

func (b *bench) close() {
	if b.target != nil && b.target.process != nil {
		b.target.stop()
	}
	if b.sink != nil {
		b.sink.stop()
	}
}

// start starts the sink and the gateway.
func (b *bench) start(ctx context.Context) error {
	client, cert, key := &http.Client{Timeout: 10 * time.Second}, "", ""
	if b.gateway.tls {
		var err error
		if cert, key, err = writeCertificate(b.dir); err != nil {
			return err
		}
		pem, err := os.ReadFile(cert)
		if err != nil {
			return err
		}
		b.tls = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		b.tls.RootCAs.AppendCertsFromPEM(pem)
		client.Transport = &http.Transport{TLSClientConfig: b.tls}
	}
	var err error
	every := b.scenario.loads[0].spec.Every
	if b.sink, err = startSinkProcess(ctx, b.sinkListen, every, cert, key, client); err != nil {
		return err
	}
	if b.options.target != "" {
		b.target = &gatewayProcess{pid: b.pid, http: b.options.target, grpc: b.options.target}
		return measure.Process(b.pid).ResetPeak()
	}
	b.gateway.sink = b.sink.url
	config, err := b.gateway.write(b.dir)
	if err != nil {
		return err
	}
	b.target, err = startGatewayProcess(ctx, b.binary, config, b.gateway.tls)
	return err
}

// prepare makes the pushes.
func (b *bench) prepare() error {
	fmt.Fprint(b.progress, "  preparing pushes")
	begin := time.Now()
	for i, l := range b.scenario.loads {
		spec := l.spec
		spec.Seed, spec.Every = 1, b.scenario.loads[0].spec.Every
		work, err := generate.New(spec)
		if err != nil {
			return err
		}
		d := &drive.Load{URL: b.target.http, Transport: l.transport, TLS: b.tls, Work: work, Conns: l.conns}
		if l.transport == drive.GRPC {
			d.URL = b.target.grpc
		}
		if i == 0 && b.conns > 0 {
			d.Conns = b.conns
		}
		d.Rate = l.rate / float64(itemsOf(work))
		if i == 0 && b.rate > 0 {
			d.Rate = b.rate / float64(itemsOf(work))
		}
		d.Clients = b.clients(l.environment)
		b.loads = append(b.loads, d)
	}
	fmt.Fprintf(b.progress, ": %.1f s\n", time.Since(begin).Seconds())
	return nil
}

// clients are those of an environment; all if it is negative.
func (b *bench) clients(environment int) []drive.Client {
	if b.options.target != "" {
		return []drive.Client{{Token: b.token}}
	}
	all := clientsOf(b.gateway.environments, b.gateway.clients)
	if environment < 0 {
		return all
	}
	var list []drive.Client
	for _, c := range all {
		if c.User == fmt.Sprintf("e%d", environment) {
			list = append(list, c)
		}
	}
	return list
}

func itemsOf(w *generate.Work) int {
	var p generate.Push
	w.Push(0, time.Now(), &p)
	return p.Items
}

// warmUp sends everything once, as fast as it goes, so that tables are full and memory is as it stays; and finds what the
// program can do, where a scenario wants a share of that.
func (b *bench) warmUp(ctx context.Context) error {
	if b.warm {
		for _, l := range b.loads {
			once := *l
			once.Rate, once.Conns = 0, min(l.Conns, 16)
			limit := uint64(200)
			if l.Work.Parts > 200 {
				limit = uint64(l.Work.Parts)
			}
			warm, cancel := context.WithTimeout(ctx, 60*time.Second)
			out := once.Run(warm, limit, nil)
			cancel()
			l.From = out.Next
			b.accepted.Merge(out)
			if out.Pushes == 0 {
				return fmt.Errorf("no push was accepted: answers %v, %w", out.Answers, out.Error)
			}
		}
	}
	if _, err := b.sink.control(ctx, http.MethodPost, sink.FaultPath, b.fault); err != nil {
		return err
	}
	if b.share == 0 {
		return nil
	}
	for _, l := range b.loads {
		full := *l
		full.Rate = 0
		limited, cancel := context.WithTimeout(ctx, b.duration/2)
		out := full.Run(limited, 0, nil)
		cancel()
		l.From = out.Next
		b.accepted.Merge(out)
		capacity := float64(out.Pushes) / out.Elapsed.Seconds()
		l.Rate = capacity * b.share
		b.note("capacity %.0f pushes/s, paced at %.1f pushes/s", capacity, l.Rate)
	}
	return nil
}

func (b *bench) note(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
	fmt.Fprintf(b.progress, "  "+format+"\n", args...)
}

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
	if b.profile {
		seconds := max(1, int(b.duration.Seconds())-1)
		wg.Go(func() { b.fetchProfile(ctx, fmt.Sprintf("profile?seconds=%d", seconds), "cpu") })
	}
	wg.Wait()
	if b.profile {
		b.fetchProfile(ctx, "allocs", "allocs")
		b.fetchProfile(ctx, "heap", "heap")
	}
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
	r.Scenario, r.About, r.Goal, r.Notes = b.name, b.about, b.goal, b.notes
	r.Verdict, r.Checked = verdict.Verdict, verdict.Checked
	if verdict.Unknown > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%d items were in pushes that got no answer, 502 or 504", verdict.Unknown))
	}
	for i, out := range outcomes {
		r.Loads = append(r.Loads, loadResult(b.scenario.loads[i].name, b.loads[i].Rate, out))
		if l := r.Loads[i]; l.Rate > 0 {
			r.Notes = append(r.Notes, fmt.Sprintf("%s: paced at %.1f pushes/s; accepted pushes took %.2f ms at p50, %.2f ms at p99 once they were sent; refused %.2f ms at p99",
				l.Name, l.Rate, float64(l.Service50)/1e6, float64(l.Service99)/1e6, float64(l.RefusedP99)/1e6))
		}
		if out.Error != nil {
			r.Notes = append(r.Notes, strings.TrimSpace(fmt.Sprintf("%s: answers %v, for example %v", b.scenario.loads[i].name, out.Answers, out.Error)))
		}
	}
	if b.floor {
		r.Floor = floor(b.loads[0].Work, b.scenario.loads[0].spec)
	}
	return r, nil
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

// settle waits until the sink has what was accepted: a program with a queue takes its time.
func (b *bench) settle(ctx context.Context) (v verification, err error) {
	check := verify
	if b.options.target != "" {
		check = verifyTotals
	}
	identityOnly := false
	for _, l := range b.loads {
		identityOnly = identityOnly || l.Work.IdentityOnly
	}
	last, since := uint64(0), time.Now()
	for {
		st, err := b.sink.control(ctx, http.MethodGet, sink.StatePath, nil)
		if err != nil {
			return v, err
		}
		v = check(&b.accepted, st, identityOnly)
		if v.ok() || v.Arrived >= v.Accepted || time.Since(since) > 10*time.Second {
			return v, nil
		}
		if v.Arrived != last {
			last, since = v.Arrived, time.Now()
		}
		time.Sleep(50 * time.Millisecond) // the runner has nothing else to do
	}
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
		r.Notes = append(r.Notes, fmt.Sprintf("%s: the gateway adds %.2f ms at p50, %.2f ms at p99", name,
			float64(r.Loads[i].P50-direct.P50)/1e6, float64(r.Loads[i].P99-direct.P99)/1e6))
		r.Loads = append(r.Loads, direct)
	}
}

// fetchProfile writes one of the gateway's profiles beside the results.
func (b *bench) fetchProfile(ctx context.Context, path, kind string) {
	if b.target.admin == "" {
		return
	}
	file := filepath.Join(b.out, b.name+"."+kind+".pprof")
	if err := fetch(ctx, b.target.admin+"/debug/pprof/"+path, file); err != nil {
		fmt.Fprintln(b.progress, "  profile:", err)
	}
}
