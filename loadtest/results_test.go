package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/report"
)

// TestREADMEQuotesResults: what README.md says between its marks is what the results beside this file say.
func TestREADMEQuotesResults(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := quote(text, "results")
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(text) {
		t.Error("README.md quotes other results than loadtest/results has: go run ./loadtest quote")
	}
}

func TestResultsAreSmall(t *testing.T) {
	var size int64
	err := filepath.WalkDir("results", func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && !d.IsDir() {
			size += info.Size()
		}
		return err
	})
	if err != nil || size > 1<<20 {
		t.Errorf("%d bytes, want at most %d; %v", size, 1<<20, err)
	}
}

func TestQuote(t *testing.T) {
	dir := t.TempDir()
	text := "before\n" + quoteBegin + "old\n" + quoteEnd + "after\n"
	f := func(text, want string, fails bool) {
		t.Helper()
		got, err := quote([]byte(text), dir)
		if (err != nil) != fails || !strings.Contains(string(got), want) {
			t.Errorf("%v:\n%s\nwant %q", err, got, want)
		}
	}
	f(text, "No run is kept", false)
	f("no marks", "", true)
	f(quoteBegin+"no end", "", true)
	run := &report.Run{About: report.About{Commit: "abc"}, Results: []*report.Result{{Scenario: "rw1", Items: 3e6, CPUSeconds: 1, Loads: []report.Load{{}}}}}
	if err := saveRun(dir, run); err != nil {
		t.Fatal(err)
	}
	f(text, "3.00 M", false)
	got, err := quote([]byte(text), dir)
	if err != nil || !strings.HasPrefix(string(got), "before\n"+quoteBegin) || !strings.HasSuffix(string(got), quoteEnd+"after\n") || strings.Contains(string(got), "old") {
		t.Errorf("%v:\n%s", err, got)
	}
	if err := os.WriteFile(filepath.Join(dir, resultsFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	f(text, "", true)
}
