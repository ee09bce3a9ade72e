package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/drive"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/report"
)

// measureCrash drives the loads, kills the program half-way with SIGKILL, starts it again on the same folder, since what it
// has on disk may come yet, waits for that, and compares what had been acknowledged with what arrived.
func (b *bench) measureCrash(ctx context.Context) (*report.Result, error) {
	if b.options.target != "" {
		return nil, errors.New("it kills what it measures, and starts it again: it cannot do that to -target")
	}
	w, err := b.watch(ctx)
	if err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	outcomes := make([]*drive.Outcome, len(b.loads))
	var wg sync.WaitGroup
	for i, l := range b.loads {
		wg.Go(func() { outcomes[i] = l.Run(run, 0, &b.items) })
	}
	select {
	case <-ctx.Done():
	case <-time.After(b.duration / 2):
	}
	r, err := w.stop(ctx, new(drive.Outcome))
	b.target.kill()
	cancel()
	wg.Wait()
	if err != nil {
		return nil, err
	}
	// CPU of a process that is gone cannot be read to its end.
	r.CPUSeconds, r.AllocBytes, r.AllocObjects = 0, -1, -1
	var total drive.Outcome
	for _, out := range outcomes {
		total.Merge(out)
		b.accepted.Merge(out)
	}
	r.Items, r.Pushes, r.Seconds = total.Items, total.Pushes, total.Elapsed.Seconds()
	if err := b.startTarget(ctx); err != nil {
		return nil, err
	}
	v, err := b.settle(ctx)
	if err != nil {
		return nil, err
	}
	r.Waited, r.Queued = v.Waited.Seconds(), v.Queued
	b.note("killed after %.1f s: %d items acknowledged since it began, %d arrived", r.Seconds, v.Accepted, v.Arrived)
	b.fill(r, outcomes, v)
	r.Acknowledged, r.Arrived = v.Accepted, v.Arrived
	return r, nil
}
