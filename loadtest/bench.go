package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
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
	least    floor // what fill measured
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
	// What waits in a queue was not sent by what is measured.
	if _, err := b.settle(ctx); err != nil {
		return nil, err
	}
	if s.crash {
		return b.measureCrash(ctx)
	}
	r, err := b.measure(ctx)
	if err == nil && b.parts && b.profiled() {
		err = b.measureParts(ctx, r)
	}
	if err == nil && s.direct {
		b.measureDirect(ctx, r)
	}
	if err == nil && (s.fault != sink.Fault{} || s.idle > 0) {
		err = b.measureRecovery(ctx, r)
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
	return b.startTarget(ctx)
}

// startTarget starts what is measured, or finds it.
func (b *bench) startTarget(ctx context.Context) (err error) {
	switch {
	case b.options.target != "":
		b.target = &gatewayProcess{pid: b.pid, http: b.options.target, grpc: b.options.target}
		return measure.Process(b.pid).ResetPeak()
	case b.peer != nil:
		b.target, err = b.peer.start(ctx, b.peerBinary, &peerRun{scenario: b.scenario, dir: b.dir, sink: b.sink.url})
		if err == nil && b.peer.metrics != "" {
			b.metrics = b.target.http + b.peer.metrics
		}
		return err
	}
	b.gateway.sink = b.sink.url
	config, err := b.gateway.write(b.dir)
	if err != nil {
		return err
	}
	b.target, err = startGatewayProcess(ctx, b.binary, config, b.gateway.tls)
	return err
}

// foreign: what is measured is not the gateway. It knows no clients, and one user is all that the sink sees.
func (b *bench) foreign() bool { return b.options.target != "" || b.peer != nil }

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
		if b.peer != nil {
			d.Path = b.peer.path
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
	if b.foreign() {
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
				return fmt.Errorf("no push was accepted: answers %v, %w", out.Answers, out.Err())
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
