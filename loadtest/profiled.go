package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/measure"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/report"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/sink"
)

// profiled: the scenario asks what a push costs. Those that hinder the gateway ask what it does then.
func (b *bench) profiled() bool {
	return b.target.admin != "" && b.fault == (sink.Fault{}) && b.idle == 0
}

// measureParts says what is in memory, and drives the loads once more, while the gateway profiles itself, so that nothing that was
// measured pays for that.
func (b *bench) measureParts(ctx context.Context, r *report.Result) error {
	if err := b.readResident(ctx, r); err != nil {
		return err
	}
	run, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for _, l := range b.loads {
		wg.Go(func() { l.From = l.Run(run, 0, nil).Next })
	}
	pprof := b.target.admin + "/debug/pprof"
	stacks, cpu, err := measure.CPUProfile(ctx, pprof, max(1, int(b.duration.Seconds())))
	cancel()
	wg.Wait()
	if err != nil {
		return err
	}
	r.Profile = profileOf(stacks)
	if len(b.loads) == 1 {
		for i, p := range r.Profile.Parts {
			r.Profile.Parts[i].Floor = b.least.of(p.Name)
		}
	}
	if !b.profile {
		return nil
	}
	if err := os.WriteFile(b.profilePath("cpu"), cpu, 0o644); err != nil {
		return err
	}
	for _, kind := range []string{"allocs", "heap"} {
		if err := fetch(ctx, pprof+"/"+kind, b.profilePath(kind)); err != nil {
			return fmt.Errorf("profile %s: %w", kind, err)
		}
	}
	return nil
}

// profilePath is where a profile is kept.
func (b *bench) profilePath(kind string) string {
	return filepath.Join(b.out, b.name+"."+kind+".pprof")
}
