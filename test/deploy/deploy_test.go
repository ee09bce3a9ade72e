// Package deploy_test holds the files that people deploy with to the program that they deploy: the Dockerfile to go.mod,
// configurations in manifests to the gateway's own reader. What needs helm and other tools is in run.sh.
package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the repository, as tests in this folder see it.
const root = "../.."

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// one returns what the first group of pattern finds in text, and fails unless that is in exactly one place.
func one(t *testing.T, what, text, pattern string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1)
	if len(found) != 1 {
		t.Fatalf("%s: %d matches of %s, want 1", what, len(found), pattern)
	}
	return found[0][1]
}

// TestGoVersion: the image is built with the Go that go.mod names. The patch is the newest of the image.
func TestGoVersion(t *testing.T) {
	module := one(t, "go.mod", read(t, "go.mod"), `(?m)^go (\d+\.\d+)(?:\.\d+)?$`)
	image := one(t, "Dockerfile", read(t, "Dockerfile"), `(?m)^FROM .*/golang:(\d+\.\d+)[-.\w]* AS build$`)
	if module != image {
		t.Errorf("the Dockerfile builds with Go %s, go.mod says %s", image, module)
	}
}

// TestBuildContext: everything that the Dockerfile copies is let in by .dockerignore, and nothing else is.
func TestBuildContext(t *testing.T) {
	var copied, allowed []string
	for _, m := range regexp.MustCompile(`(?m)^COPY ([^-].*) \S+$`).FindAllStringSubmatch(read(t, "Dockerfile"), -1) {
		copied = append(copied, strings.Fields(m[1])...)
	}
	for _, m := range regexp.MustCompile(`(?m)^!(\S+)$`).FindAllStringSubmatch(read(t, ".dockerignore"), -1) {
		allowed = append(allowed, m[1])
	}
	if got, want := strings.Join(copied, " "), strings.Join(allowed, " "); got != want || got == "" {
		t.Errorf("the Dockerfile copies %q, .dockerignore lets in %q", got, want)
	}
}
