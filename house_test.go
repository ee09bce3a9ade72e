// Package house_test checks the rules of the house that a compiler does not: which room may know which, that every package
// says what it is for, and that documents and build files are true.
package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
)

const module = "github.com/telemetry-gateway/telemetry-gateway/"

// arrows says which rooms a room may import. What is missing may import nothing of ours. Tests may import anything.
var arrows = map[string][]string{
	"cmd/gateway":                 {"internal/config", "internal/gateway", "internal/demo"},
	"internal/gateway":            {"internal/config", "internal/egress", "internal/fault", "internal/ingest", "internal/ingest/jaeger", "internal/ingest/loki", "internal/ingest/otlp", "internal/ingest/remotewrite", "internal/ingest/zipkin", "internal/guard", "internal/labels", "internal/limits", "internal/reduce", "internal/secret", "internal/tenant"},
	"internal/ingest":             {"internal/fault", "internal/labels"},
	"internal/ingest/reducetest":  {"internal/fault", "internal/ingest", "internal/labels"},
	"internal/ingest/jaeger":      {"internal/fault", "internal/ingest", "internal/ingest/otlp", "internal/wire"},
	"internal/ingest/zipkin":      {"internal/fault", "internal/ingest", "internal/ingest/otlp", "internal/wire"},
	"internal/ingest/loki":        {"internal/fault", "internal/ingest", "internal/labels", "internal/wire"},
	"internal/ingest/otlp":        {"internal/fault", "internal/ingest", "internal/labels", "internal/wire"},
	"internal/ingest/remotewrite": {"internal/fault", "internal/ingest", "internal/labels", "internal/wire"},
	"internal/config":             {"internal/secret"},
	"internal/egress":             {"internal/fault"},
	"internal/limits":             {"internal/fault"},
	"internal/series":             {"internal/labels"},
	"internal/relabel":            {"internal/labels"},
	"internal/guard":              {"internal/labels"},
	"internal/reduce":             {"internal/fault", "internal/guard", "internal/ingest", "internal/labels", "internal/relabel", "internal/series"},
	"internal/tenant":             {"internal/fault", "internal/secret"},
	"internal/demo":               {"internal/fakecloud"},
	// The load test shares nothing with what it measures but the protobuf walker.
	"loadtest":          {"loadtest/digest", "loadtest/drive", "loadtest/generate", "loadtest/measure", "loadtest/report", "loadtest/sink"},
	"loadtest/digest":   {"internal/wire"},
	"loadtest/drive":    {"loadtest/digest", "loadtest/generate"},
	"loadtest/generate": {"internal/wire", "loadtest/digest"},
	"loadtest/sink":     {"loadtest/digest"},
}

// sources calls f for every Go file of the module, with its folder as the module names it.
func sources(t *testing.T, f func(dir, path string, file *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "test" || d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && path != ".") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		f(filepath.ToSlash(filepath.Dir(path)), path, file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestArrows(t *testing.T) {
	seen := 0
	sources(t, func(dir, path string, file *ast.File) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, imp := range file.Imports {
			target, ours := strings.CutPrefix(strings.Trim(imp.Path.Value, `"`), module)
			if !ours {
				continue
			}
			seen++
			if !slices.Contains(arrows[dir], target) {
				t.Errorf("%s imports %s: %s may know only %v", path, target, dir, arrows[dir])
			}
		}
	})
	if seen == 0 {
		t.Fatal("no import was seen: the test looks in the wrong place")
	}
}

func TestPackageDocs(t *testing.T) {
	documented := map[string]int{}
	packages := map[string]bool{}
	sources(t, func(dir, path string, file *ast.File) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		packages[dir] = true
		if file.Doc != nil {
			documented[dir]++
		}
	})
	for dir := range packages {
		if documented[dir] != 1 {
			t.Errorf("%s has %d package comments, want exactly 1", dir, documented[dir])
		}
	}
}

func TestNoInit(t *testing.T) {
	sources(t, func(_, path string, file *ast.File) {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function", path)
			}
		}
		for _, imp := range file.Imports {
			// The one blank import that does nothing but tell the compiler.
			if imp.Name != nil && imp.Name.Name == "_" && imp.Path.Value != `"embed"` {
				t.Errorf("%s imports %s for what it does by itself", path, imp.Path.Value)
			}
		}
	})
}

// yamlBlocks are the complete configurations in README.md: those that have environments.
func yamlBlocks(t *testing.T) []string {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		if strings.Contains(m[1], "\nenvironments:") || strings.HasPrefix(m[1], "environments:") {
			blocks = append(blocks, m[1])
		}
	}
	return blocks
}

func TestREADMEConfigurationsLoad(t *testing.T) {
	blocks := yamlBlocks(t)
	if len(blocks) == 0 {
		t.Fatal("README.md has no configuration")
	}
	for _, block := range blocks {
		dir := t.TempDir()
		for _, m := range regexp.MustCompile(`(?:_file|_token_file): *"?([^\s"}]+)`).FindAllStringSubmatch(block, -1) {
			file := filepath.Join(dir, m[1])
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte("secret-of-"+strings.ReplaceAll(m[1], "/", "-")), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, "gateway.yaml")
		if err := os.WriteFile(path, []byte(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(path); err != nil {
			t.Errorf("a configuration in README.md does not load: %v\n%s", err, block)
		}
	}
}

// TestMetricNames holds the documents to the metrics that exist.
func TestMetricNames(t *testing.T) {
	declared := map[string]bool{}
	name := regexp.MustCompile(`^gateway_[a-z0-9_]+$`)
	sources(t, func(dir, path string, file *ast.File) {
		if dir != "internal/gateway" || strings.HasSuffix(path, "_test.go") {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if s := strings.Trim(l.Value, "`\""); name.MatchString(s) {
					declared[s] = true
				}
			}
			return true
		})
	})
	if len(declared) < 10 {
		t.Fatalf("only %d metric names found", len(declared))
	}
	for _, doc := range []string{"README.md", "DESIGN.md"} {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\bgateway_[a-z0-9_]+`).FindAllString(string(text), -1) {
			base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(m, "_bucket"), "_sum"), "_count")
			if !declared[m] && !declared[base] {
				t.Errorf("%s names the metric %s, which does not exist", doc, m)
			}
		}
	}
}
