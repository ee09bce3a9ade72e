package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/report"
)

// runAll runs the scenarios that were asked for, one after the other, and writes what they gave.
func runAll(ctx context.Context, o options, out, progress io.Writer) error {
	list, err := choose(o.scenario)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "loadtest-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.target == "" && o.binary == "" {
		fmt.Fprintln(progress, "building the gateway")
		if o.binary, err = buildGateway(ctx, dir); err != nil {
			return err
		}
	}
	if o.out != "" {
		if err := os.MkdirAll(o.out, 0o755); err != nil {
			return err
		}
	}
	var results []*report.Result
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
		results = append(results, r)
	}
	fmt.Fprintln(out)
	if err := report.WriteTable(out, machine(), results); err != nil {
		return err
	}
	if o.out != "" {
		failed = append(failed, save(o.out, results))
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

// machine says what was measured on.
func machine() string {
	cpu := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(load), " ")
	return fmt.Sprintf("%s, %d cores, %s, %s; load, gateway and sink share the cores; load average %s", cpu, runtime.NumCPU(), runtime.Version(), time.Now().UTC().Format(time.DateOnly), one)
}

// save writes the table, the JSON and the plots.
func save(dir string, results []*report.Result) error {
	var errs []error
	write := func(name string, do func(io.Writer) error) {
		file, err := os.Create(filepath.Join(dir, name))
		if err == nil {
			err = errors.Join(do(file), file.Close())
		}
		errs = append(errs, err)
	}
	m := machine()
	write("results.json", func(w io.Writer) error { return report.WriteJSON(w, m, results) })
	write("table.md", func(w io.Writer) error { return report.WriteTable(w, m, results) })
	for _, r := range results {
		write(r.Scenario+"-latency.svg", r.WriteLatency)
		write(r.Scenario+"-throughput.svg", r.WriteThroughput)
		write(r.Scenario+"-memory.svg", r.WriteMemory)
	}
	return errors.Join(errs...)
}

// fetch writes what a URL answers into a file.
func fetch(ctx context.Context, url, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, res.Body)
	return errors.Join(err, file.Close())
}
