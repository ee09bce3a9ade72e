package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
)

// documents are what people read when they deploy and when they are woken up.
var documents = []string{"deploy/README.md", "deploy/prometheus/RUNBOOK.md"}

// TestDocumentsNameMetrics: a document names only metrics that exist.
func TestDocumentsNameMetrics(t *testing.T) {
	declared, found := declaredNames(t), 0
	for _, doc := range documents {
		for _, m := range regexp.MustCompile(`\bgateway_[a-z0-9_]+`).FindAllString(read(t, doc), -1) {
			found++
			if !declared[m] && !declared[strings.TrimSuffix(m, "_count")] {
				t.Errorf("%s names the metric %s, which does not exist", doc, m)
			}
		}
	}
	if found == 0 {
		t.Error("no metric was found: the test looks for the wrong thing")
	}
}

// TestDocumentsName: documents name only alerts and panels that exist, and link to what is there.
func TestDocumentsName(t *testing.T) {
	all := alerts(t)
	panels := make(map[string]bool)
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			panels[p.Title] = true
		}
	}
	for _, doc := range documents {
		text := read(t, doc)
		for _, name := range regexp.MustCompile(`\bTelemetryGateway\w+`).FindAllString(text, -1) {
			if all[name].Alert == "" {
				t.Errorf("%s names the alert %s, which does not exist", doc, name)
			}
		}
		for _, m := range regexp.MustCompile(`dashboard[^.*]*\*([^*]+)\*|\*([^*]+)\* on the (?:cost|operator) dashboard`).FindAllStringSubmatch(text, -1) {
			if title := m[1] + m[2]; !matches(panels, title) {
				t.Errorf("%s names the panel %q, which no dashboard has", doc, title)
			}
		}
		for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(text, -1) {
			path, fragment, _ := strings.Cut(link[1], "#")
			target := doc
			if path != "" {
				target = filepath.Join(filepath.Dir(doc), path)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s: %v", doc, path, err)
			} else if fragment != "" && !anchors(read(t, target))[fragment] {
				t.Errorf("%s links to the chapter %s of %s, which it does not have", doc, fragment, target)
			}
		}
	}
}

// matches says whether a panel's title begins with what a document calls it.
func matches(panels map[string]bool, title string) bool {
	for p := range panels {
		if strings.HasPrefix(p, title) {
			return true
		}
	}
	return false
}

// anchors are what links to the headings of a document end in, as web pages of repositories make them.
func anchors(text string) map[string]bool {
	all := make(map[string]bool)
	for _, h := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		name := strings.ToLower(strings.ReplaceAll(h[1], " ", "-"))
		all[regexp.MustCompile(`[^a-z0-9-]`).ReplaceAllString(name, "")] = true
	}
	return all
}

// TestDocumentsLoad: configurations in documents are ones that the gateway takes.
func TestDocumentsLoad(t *testing.T) {
	found := 0
	for _, doc := range documents {
		for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(read(t, doc), -1) {
			found++
			dir := t.TempDir()
			for i, s := range regexp.MustCompile(`secrets/[\w-]+`).FindAllString(m[1], -1) {
				write(t, filepath.Join(dir, s), "a-secret-of-its-own-"+string(rune('a'+i)))
			}
			path := filepath.Join(dir, "gateway.yaml")
			write(t, path, m[1])
			if _, err := config.Load(path); err != nil {
				t.Errorf("a configuration in %s does not load: %v\n%s", doc, err, m[1])
			}
		}
	}
	if found == 0 {
		t.Error("no configuration was found: the test looks for the wrong thing")
	}
}
