package deploy_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestRunbookLogs: every message and every reason that the runbook looks for in the log is one that the gateway writes.
func TestRunbookLogs(t *testing.T) {
	var source strings.Builder
	err := filepath.WalkDir(filepath.Join(root, "internal"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		raw, err := os.ReadFile(path)
		source.Write(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	wanted := regexp.MustCompile(`"(?:msg|reason)":"(\(?)([^"')]+)`).FindAllStringSubmatch(read(t, "deploy/prometheus/RUNBOOK.md"), -1)
	if len(wanted) < 8 {
		t.Fatalf("the runbook looks for %d messages and reasons, want 8 at least", len(wanted))
	}
	for _, w := range wanted {
		for _, text := range strings.Split(w[2], "|") {
			if !strings.Contains(source.String(), `"`+text) {
				t.Errorf("RUNBOOK.md looks for %q in the log, which the gateway does not write", text)
			}
		}
	}
}
