package integration

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// gatewayBinary is the gateway under test: the file that the environment variable GATEWAY_BINARY names, so that a
// released binary can be tested, else what TestMain builds once.
var gatewayBinary string

func TestMain(m *testing.M) {
	flag.Parse()
	// The parallel tests wait for clocks (retry delays, scrape intervals), not for processors.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if gatewayBinary = os.Getenv("GATEWAY_BINARY"); gatewayBinary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "gateway-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)

	gatewayBinary = filepath.Join(dir, "gateway")
	build := exec.Command("go", "build", "-o", gatewayBinary, "./cmd/gateway")
	build.Dir = filepath.Join("..", "..") // the product's own go.mod decides what it is built with
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the gateway: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
