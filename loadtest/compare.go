package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/generate"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/report"
)

// runCompare measures the gateway and other programs in turn, round by round, so that what else the machine does hurts all alike.
func runCompare(ctx context.Context, args []string, out, progress io.Writer) error {
	o := options{sinkListen: "127.0.0.1:0", patience: patience}
	f := flag.NewFlagSet("loadtest compare", flag.ContinueOnError)
	f.SetOutput(progress)
	f.StringVar(&o.scenario, "scenario", "all", "`NAMES` of scenarios, with commas between them, or all that others are compared in")
	f.DurationVar(&o.duration, "duration", 6*time.Second, "how long each is measured each time")
	rounds := f.Int("rounds", 3, "how many times each is measured; medians count")
	f.StringVar(&o.binary, "gateway", "", "`BINARY` of the gateway; empty: it is built from this module")
	f.StringVar(&o.out, "out", "", "write peers.json and results.md into this `FOLDER`")
	peers := f.String("peers", filepath.Join(".tools", "peers"), "`FOLDER` of the other programs; what is missing is built there")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || *rounds < 1 {
		return fmt.Errorf("%q: no argument is taken, and -rounds=%d must be 1 at least", f.Args(), *rounds)
	}
	list, err := chooseRivals(o.scenario)
	if err != nil {
		return err
	}
	dir, err := prepare(ctx, &o, progress)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binaries, err := buildPeers(ctx, list, *peers, progress)
	if err != nil {
		return err
	}
	c := &report.Comparison{About: about("compare", args)}
	c.Duels, err = compareAll(ctx, list, o, binaries, *rounds, dir, progress)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	fmt.Fprintln(out)
	err = errors.Join(err, c.WriteTable(out))
	if o.out != "" {
		err = errors.Join(err, saveComparison(o.out, c))
	}
	return err
}

// buildPeers returns the binaries of peers by their names.
func buildPeers(ctx context.Context, list []rival, dir string, progress io.Writer) (map[string]string, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return nil, err
	}
	binaries := map[string]string{}
	for _, r := range list {
		if binaries[r.peer.name] != "" {
			continue
		}
		fmt.Fprintln(progress, "building "+r.peer.name)
		if binaries[r.peer.name], err = r.peer.build(ctx, dir); err != nil {
			return nil, err
		}
	}
	return binaries, nil
}

// compareAll runs all rivals and, before those of each scenario, the gateway; all of it for each round. What failed is an
// error and leaves the rest as it is.
func compareAll(ctx context.Context, list []rival, o options, binaries map[string]string, rounds int, dir string, progress io.Writer) ([]*report.Duel, error) {
	duels := make([]*report.Duel, len(list))
	for i, r := range list {
		duels[i] = &report.Duel{Scenario: r.scenario.name, Peer: r.peer.name, Goal: r.goal, WithoutRules: r.unchanged, Rate: r.rate}
	}
	var failed []error
	for round := range rounds {
		var ours *report.Result
		for i, r := range list {
			if ctx.Err() != nil {
				return duels, ctx.Err()
			}
			if i == 0 || list[i-1].scenario.name != r.scenario.name {
				ours = nil
				fmt.Fprintf(progress, "\n%s, round %d of %d: the gateway\n", r.scenario.name, round+1, rounds)
				o.rate = r.rate
				result, err := runScenario(ctx, r.scenario, o, dir, progress)
				if err != nil {
					failed = append(failed, fmt.Errorf("%s: %w", r.scenario.name, err))
					continue
				}
				ours = result
			}
			if ours == nil {
				continue // there is nothing to compare with
			}
			fmt.Fprintf(progress, "\n%s, round %d of %d: %s\n", r.scenario.name, round+1, rounds, r.peer.name)
			theirs, err := r.run(ctx, o, binaries[r.peer.name], dir, progress)
			if err != nil {
				failed = append(failed, fmt.Errorf("%s: %s: %w", r.scenario.name, r.peer.name, err))
				continue
			}
			duels[i].Add(ours, theirs)
		}
	}
	return duels, errors.Join(failed...)
}

// run measures the peer once.
func (r *rival) run(ctx context.Context, o options, binary, dir string, progress io.Writer) (*report.Result, error) {
	s := r.scenario
	if r.unchanged {
		s.loads = slices.Clone(s.loads)
		s.loads[0].spec.Change = generate.Change{}
	}
	o.peer, o.peerBinary, o.rate = r.peer, binary, r.rate
	return runScenario(ctx, s, o, dir, progress)
}
