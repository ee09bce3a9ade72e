package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/report"
)

// The files of a folder of results. The pages are made of what was measured.
const (
	resultsFile = "results.json"
	peersFile   = "peers.json"
	pageFile    = "results.md"
	partsFile   = "profiles.md" // of results.json as well
)

// about says what is run, of what, where and when.
func about(command string, args []string) report.About {
	a := report.About{
		Command: strings.Join(append(strings.Fields("go run ./loadtest "+command), args...), " "),
		Machine: machine(), Date: time.Now().UTC().Format(time.DateOnly),
	}
	// Outside of a checkout there is no commit to name.
	if out, err := exec.Command("git", "describe", "--always", "--dirty", "--exclude=*").Output(); err == nil {
		a.Commit = strings.TrimSpace(string(out))
	}
	return a
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
	return fmt.Sprintf("%s, %d cores, %s; load, gateway and sink share the cores; load average %s", cpu, runtime.NumCPU(), runtime.Version(), one)
}

// saveRun writes the numbers and the plots of a run, and the page.
func saveRun(dir string, run *report.Run) error {
	err := writeJSON(filepath.Join(dir, resultsFile), run)
	for _, r := range run.Results {
		err = errors.Join(err, writeFile(filepath.Join(dir, r.Scenario+".svg"), r.WritePlots))
	}
	return errors.Join(err, writePage(dir))
}

// saveComparison writes the numbers of a comparison, and the page.
func saveComparison(dir string, c *report.Comparison) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return errors.Join(writeJSON(filepath.Join(dir, peersFile), c), writePage(dir))
}

// writePage writes the pages of a folder from its numbers.
func writePage(dir string) error {
	run, c, err := readResults(dir)
	if err != nil {
		return err
	}
	if run.Profiled() {
		err = writeFile(filepath.Join(dir, partsFile), func(w io.Writer) error { return report.WriteProfiles(w, run) })
	}
	return errors.Join(err, writeFile(filepath.Join(dir, pageFile), func(w io.Writer) error { return report.WritePage(w, run, c) }))
}

// readResults reads the numbers of a folder. What is not there is nil.
func readResults(dir string) (run *report.Run, c *report.Comparison, err error) {
	read := func(name string, into any) error {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, into); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	return run, c, errors.Join(read(resultsFile, &run), read(peersFile, &c))
}

func writeJSON(path string, v any) error {
	return writeFile(path, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", " ")
		return enc.Encode(v)
	})
}

func writeFile(path string, do func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(do(file), file.Close())
}

// Between these lines README.md says what results.json and peers.json hold.
const (
	quoteBegin = "<!-- written by `go run ./loadtest quote` -->\n"
	quoteEnd   = "<!-- until here -->\n"
)

// runQuote writes the page of a folder of results, and what of it a README quotes.
func runQuote(args []string) error {
	f := flag.NewFlagSet("loadtest quote", flag.ContinueOnError)
	dir := f.String("results", filepath.Join("loadtest", "results"), "`FOLDER` of the results")
	file := f.String("readme", "README.md", "`FILE` that quotes them")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := writePage(*dir); err != nil {
		return err
	}
	text, err := os.ReadFile(*file)
	if err != nil {
		return err
	}
	quoted, err := quote(text, *dir)
	if err != nil {
		return fmt.Errorf("%s: %w", *file, err)
	}
	return os.WriteFile(*file, quoted, 0o644)
}

// quote returns text with what is quoted of the results in dir between its marks.
func quote(text []byte, dir string) ([]byte, error) {
	run, c, err := readResults(dir)
	if err != nil {
		return nil, err
	}
	before, rest, found := bytes.Cut(text, []byte(quoteBegin))
	_, after, ended := bytes.Cut(rest, []byte(quoteEnd))
	if !found || !ended {
		return nil, fmt.Errorf("it has no lines %q and %q", quoteBegin, quoteEnd)
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(quoteBegin)
	err = report.WriteQuote(&b, run, c)
	b.WriteString(quoteEnd)
	b.Write(after)
	return b.Bytes(), err
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
