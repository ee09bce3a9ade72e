package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/report"
)

// prepare returns a new folder for what a run writes, and builds the gateway there if it is what is measured and no binary was named.
func prepare(ctx context.Context, o *options, progress io.Writer) (dir string, err error) {
	if dir, err = os.MkdirTemp("", "loadtest-"); err != nil {
		return "", err
	}
	if o.target == "" && o.binary == "" {
		fmt.Fprintln(progress, "building the gateway")
		if o.binary, err = buildGateway(ctx, dir); err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// runAll runs the scenarios that were asked for, one after the other, and writes what they gave.
func runAll(ctx context.Context, o options, out, progress io.Writer) error {
	list, err := choose(o.scenario)
	if err != nil {
		return err
	}
	dir, err := prepare(ctx, &o, progress)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.out != "" {
		if err := os.MkdirAll(o.out, 0o755); err != nil {
			return err
		}
	}
	run := &report.Run{About: about("", o.args)}
	var failed []error
	for _, s := range list {
		fmt.Fprintf(progress, "\n%s: %s\n", s.name, s.about)
		r, err := runScenario(ctx, s, o, dir, progress)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", s.name, err))
			fmt.Fprintln(progress, "  "+err.Error())
			continue
		}
		run.Results = append(run.Results, r)
	}
	fmt.Fprintln(out)
	if err := run.WriteTable(out); err != nil {
		return err
	}
	if o.out == "" && run.Profiled() {
		if err := report.WriteProfiles(out, run); err != nil {
			return err
		}
	}
	if o.out != "" {
		failed = append(failed, saveRun(o.out, run))
	}
	return errors.Join(failed...)
}

// choose finds scenarios by name.
func choose(names string) (list []scenario, err error) {
	if names == "all" {
		return scenarios(), nil
	}
	for name := range strings.SplitSeq(names, ",") {
		found := false
		for _, s := range scenarios() {
			if s.name == name {
				list, found = append(list, s), true
			}
		}
		if !found {
			return nil, fmt.Errorf("no scenario is called %q; -help lists them", name)
		}
	}
	return list, nil
}
