package integration

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// telemetrygen is the load generator of the Collector's makers; go.mod pins it as a tool.
func TestTelemetrygen(t *testing.T) {
	t.Parallel()
	tool := filepath.Join(t.TempDir(), "telemetrygen")
	build := exec.Command("go", "build", "-o", tool, "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build telemetrygen: %v\n%s", err, out)
	}
	x := newTraceExit(t, "tempo", "grpc", "")
	f := func(endpoint string, more ...string) {
		t.Helper()
		args := append([]string{"traces", "--otlp-insecure", "--otlp-endpoint", endpoint, "--workers", "2", "--traces", "100",
			"--child-spans", "4", "--rate", "0", "--service", "generated", "--otlp-header", `Authorization="Bearer ` + clientToken + `"`}, more...)
		if out, err := exec.CommandContext(background(t), tool, args...).CombinedOutput(); err != nil {
			t.Fatalf("telemetrygen: %v\n%s", err, out)
		}
		if got, want := len(spanNames(x.take())), 2*100*(1+4); got != want {
			t.Errorf("%v: %d spans arrived, want %d", more, got, want)
		}
	}
	f(x.grpc)
	f(x.http, "--otlp-http")
	x.books("app", "traces")
}
