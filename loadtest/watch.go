package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/drive"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/measure"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/report"
)

// watcher samples the measured process while it works.
type watcher struct {
	b       *bench
	process measure.Process
	began   time.Time
	cpu     time.Duration
	heap    measure.Heap
	metrics string // URL; empty: there is none
	end     context.CancelFunc
	wg      sync.WaitGroup

	samples []report.Sample // the sampling goroutine's until wg is done
	health  drive.Histogram
	ill     int
}

const (
	samplePause = 200 * time.Millisecond
	tellEvery   = 5 // samples
)

// watch begins to sample.
func (b *bench) watch(ctx context.Context) (*watcher, error) {
	w := &watcher{b: b, process: measure.Process(b.target.pid), metrics: b.metrics}
	if b.target.admin != "" {
		w.metrics = b.target.admin + "/metrics"
	}
	var err error
	if w.metrics != "" {
		if w.heap, err = measure.ReadHeap(ctx, w.metrics); err != nil {
			return nil, err
		}
	}
	if w.cpu, err = w.process.CPU(); err != nil {
		return nil, err
	}
	w.began = time.Now()
	ctx, w.end = context.WithCancel(ctx)
	w.wg.Go(func() { w.run(ctx) })
	return w, nil
}

func (w *watcher) run(ctx context.Context) {
	tick := time.NewTicker(samplePause)
	defer tick.Stop()
	lastCPU, lastAt := w.cpu, w.began
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		cpu, err1 := w.process.CPU()
		rss, _, err2 := w.process.Memory()
		if err1 != nil || err2 != nil {
			return // it has ended, as what follows will say
		}
		now := time.Now()
		w.samples = append(w.samples, report.Sample{
			At: now.Sub(w.began).Seconds(), Items: w.b.items.Load(), RSS: rss, Cores: float64(cpu-lastCPU) / float64(now.Sub(lastAt)),
		})
		lastCPU, lastAt = cpu, now
		if n := len(w.samples); n%tellEvery == 0 {
			w.tell(n)
			w.probe(ctx)
		}
	}
}

// tell writes one line of progress.
func (w *watcher) tell(n int) {
	s := w.samples[n-1]
	var before report.Sample
	if n > tellEvery {
		before = w.samples[n-1-tellEvery]
	}
	fmt.Fprintf(w.b.progress, "  %5.1f s  %12.0f items/s  %5.2f cores  %7.1f MiB\n", s.At, float64(s.Items-before.Items)/(s.At-before.At), s.Cores, float64(s.RSS)/(1<<20))
}

// probe asks for the health of a gateway that is to be overloaded.
func (w *watcher) probe(sampling context.Context) {
	if w.b.target.admin == "" || w.b.fault.Delay == 0 && !w.b.fault.Hang && w.b.idle == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(sampling, 5*time.Second)
	defer cancel()
	for _, url := range []string{w.b.target.http + "/-/healthy", w.metrics} {
		begin := time.Now()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			continue
		}
		res, err := w.b.sink.client.Do(req)
		if sampling.Err() != nil {
			return // the end of the measurement cut it off
		}
		if err != nil {
			w.ill++
			continue
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			w.ill++
			continue
		}
		w.health.Add(time.Since(begin))
	}
}

// stop ends sampling, and returns what was used for out.
func (w *watcher) stop(ctx context.Context, out *drive.Outcome) (*report.Result, error) {
	cpu, err := w.process.CPU()
	w.end()
	w.wg.Wait()
	if err != nil {
		return nil, fmt.Errorf("the measured process has ended: %w", err)
	}
	rss, peak, err := w.process.Memory()
	if err != nil {
		return nil, err
	}
	r := &report.Result{
		Items: out.Items, Pushes: out.Pushes, Seconds: out.Elapsed.Seconds(), CPUSeconds: (cpu - w.cpu).Seconds(),
		RSSPeak: peak, RSSEnd: rss, AllocBytes: -1, AllocObjects: -1, Samples: w.samples,
	}
	if w.metrics != "" {
		heap, err := measure.ReadHeap(ctx, w.metrics)
		if err != nil {
			return nil, err
		}
		pushes := max(1, float64(out.Latency.Count()+out.Refusal.Count()))
		r.AllocBytes, r.AllocObjects = (heap.Bytes-w.heap.Bytes)/pushes, (heap.Objects-w.heap.Objects)/pushes
	}
	if n := w.health.Count(); n > 0 || w.ill > 0 {
		w.b.note("health and metrics were asked %d times: %d failed, the slowest took %.1f ms", n+uint64(w.ill), w.ill, float64(w.health.Max())/1e6)
	}
	return r, nil
}
