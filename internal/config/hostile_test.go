package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bombs are files that stand for far more than they have bytes.
func bombs() map[string]string {
	var laughs, merges, wide, unknown strings.Builder
	laughs.WriteString("environments:\n  a:\n    upstreams:\n      otlp:\n        oauth2:\n          claims:\n            l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n")
	merges.WriteString("environments:\n  e0: &e0 {anonymous: false}\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&laughs, "            l%d: &l%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*l%d, ", i-1), 10), ", "))
		fmt.Fprintf(&merges, "  e%d: &e%d {<<: [%s]}\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*e%d, ", i-1), 10), ", "))
	}
	wide.WriteString("environments:\n  e: &e\n    metrics:\n      labels: {")
	for i := range 1000 {
		fmt.Fprintf(&wide, "l%d: v, ", i)
	}
	wide.WriteString("}\n")
	for i := range 1000 {
		fmt.Fprintf(&wide, "  e%d: *e\n", i)
	}
	unknown.WriteString("environments:\n")
	for i := range 20000 {
		fmt.Fprintf(&unknown, "  e%d: {nonsense%d: 1}\n", i, i)
	}
	return map[string]string{
		"laughs":  laughs.String(),
		"merges":  merges.String(),
		"wide":    wide.String(),
		"unknown": unknown.String(),
		"cycle":   "environments: {a: {upstreams: {otlp: {oauth2: {claims: &c {c: *c}}}}}}",
		"merged":  "environments: {a: &a {<<: *a, <<: [*a, *a]}}",
		"root":    "&r\nserver: *r\nenvironments: {a: *r}",
		"deep":    "environments: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000),
		"deeper":  "environments: " + strings.Repeat("{a: ", 20000),
		"claims":  "environments: {a: {upstreams: {otlp: {oauth2: {claims: {a: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}}}}}}",
	}
}

func TestBombsEnd(t *testing.T) {
	for name, content := range bombs() {
		start := time.Now()
		_, err := parse("testdata/x.yaml", []byte(content), lookup)
		if _, ok := errors.AsType[*Faults](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("%s took %v", name, d)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	f := func(file, want string) {
		t.Helper()
		if _, err := Load(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", file, err, want)
		}
	}
	f(filepath.Join(dir, "none.yaml"), "no such file")
	f(dir, "not a regular file")
	f(os.DevNull, "not a regular file")
	large := filepath.Join(dir, "large.yaml")
	write(t, large, "# ")
	if err := os.Truncate(large, maxFileBytes+1); err != nil {
		t.Fatal(err)
	}
	f(large, "over 1048576 bytes")
}

// FuzzParse looks for panics and for files that take too long. It runs beside an empty directory.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "../../config.example.yaml") {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Add([]byte(everywhere))
	f.Add([]byte(limited))
	for _, content := range bombs() {
		if len(content) < 200 {
			f.Add([]byte(content))
		}
	}
	file := filepath.Join(f.TempDir(), "gateway.yaml")
	f.Fuzz(func(t *testing.T, content []byte) {
		start := time.Now()
		c, err := parse(file, content, lookup)
		if d := time.Since(start); d > 5*time.Second {
			t.Fatalf("took %v", d)
		}
		if (c == nil) == (err == nil) {
			t.Fatal("neither a config nor an error, or both")
		}
		if err != nil {
			if faults, ok := errors.AsType[*Faults](err); !ok || len(faults.List) == 0 {
				t.Fatal(err)
			}
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, file) {
					t.Fatalf("a fault breaks its line: %q", line)
				}
			}
			return
		}
		out, err := c.Masked()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parse(file, out, lookup); err != nil {
			t.Fatalf("the dump is not valid: %v\n%s", err, out)
		}
	})
}
