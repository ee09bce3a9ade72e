package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The secrets of the two sides differ in everything, so that one that is passed on is seen.
const (
	clientToken  = "client-token-7d1f0c9a4b"
	upstreamUser = "53715"
	upstreamPass = "upstream-password-e83b52"
)

// gateway is one gateway process with its folder: gateway.yaml, secrets/client and secrets/upstream.
type gateway struct {
	t     testing.TB
	dir   string
	http  string // host:port
	grpc  string
	admin string

	httpMore     string // further entries of http_listen, each after a comma
	grpcMore     string // and of grpc_listen
	server       string // lines under server:
	environments string // the value of environments:

	cmd  *exec.Cmd
	done chan error // what Wait said; one value a start
	log  *logBuffer
}

// newGateway writes the files but starts nothing. server holds further keys of server:, environments the value of
// environments:, both indented by two spaces.
func newGateway(t testing.TB, server, environments string) *gateway {
	t.Helper()
	g := &gateway{
		t: t, dir: t.TempDir(), log: &logBuffer{},
		http: freeAddr(t), grpc: freeAddr(t), admin: freeAddr(t),
		server: server, environments: environments,
	}
	g.writeSecret("client", clientToken)
	g.writeSecret("upstream", upstreamPass)
	g.writeConfig()
	t.Cleanup(g.stopAtEnd)
	return g
}

// startGateway starts a gateway with one environment, prod, whose only client has clientToken. rest holds its other
// keys, upstreams among them, indented by four spaces.
func startGateway(t testing.TB, rest string) *gateway {
	t.Helper()
	g := newGateway(t, "", prod(rest))
	g.start()
	return g
}

// prod is the environment that most tests use.
func prod(rest string) string {
	return "  prod:\n    clients:\n      app: {bearer_token_file: secrets/client}\n" + rest
}

func (g *gateway) writeConfig() {
	g.t.Helper()
	text := fmt.Sprintf("server:\n  http_listen: [%q%s]\n  grpc_listen: [%q%s]\n  admin_listen: %q\n  drain_delay: 0s\n%senvironments:\n%s",
		g.http, g.httpMore, g.grpc, g.grpcMore, g.admin, g.server, g.environments)
	if strings.Contains(g.server, "drain_delay:") {
		text = strings.Replace(text, "  drain_delay: 0s\n", "", 1)
	}
	writeFile(g.t, g.path("gateway.yaml"), text)
}

// writeSecret replaces a secret file in one step, as an operator's tool would.
func (g *gateway) writeSecret(name string, lines ...string) {
	g.t.Helper()
	writeFile(g.t, g.path("secrets", name), strings.Join(lines, "\n")+"\n")
}

func (g *gateway) path(elem ...string) string {
	return filepath.Join(append([]string{g.dir}, elem...)...)
}

// start runs the gateway, until the test ends at the latest, and returns when it is ready.
func (g *gateway) start() {
	g.t.Helper()
	g.cmd = exec.Command(gatewayBinary, "run", "--config.file="+g.path("gateway.yaml"))
	g.cmd.Stdout, g.cmd.Stderr = g.log, g.log
	if err := g.cmd.Start(); err != nil {
		g.cmd = nil
		g.t.Fatalf("start the gateway: %v", err)
	}
	g.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan<- error) { done <- cmd.Wait() }(g.cmd, g.done)

	deadline := time.Now().Add(20 * time.Second)
	for {
		select {
		case err := <-g.done:
			g.cmd = nil
			g.t.Fatalf("the gateway ended before it was ready: %v\n%s", err, g.log.tail())
		default:
		}
		if status, _ := httpGet("http://" + g.admin + "/-/ready"); status == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("the gateway was not ready after 20 s\n%s", g.log.tail())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (g *gateway) signal(s syscall.Signal) {
	g.t.Helper()
	if err := g.cmd.Process.Signal(s); err != nil {
		g.t.Fatalf("signal %v: %v", s, err)
	}
}

// kill ends the process as a lost node would, and returns when its ports are free.
func (g *gateway) kill() {
	g.t.Helper()
	g.signal(syscall.SIGKILL)
	<-g.done
	g.cmd = nil
}

// wait returns the exit code of a gateway that was told to stop.
func (g *gateway) wait(timeout time.Duration) int {
	g.t.Helper()
	select {
	case err := <-g.done:
		g.cmd = nil
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			g.t.Fatalf("wait for the gateway: %v", err)
		}
		if exit != nil {
			return exit.ExitCode()
		}
		return 0
	case <-time.After(timeout):
		g.t.Fatalf("the gateway still ran %s after it was told to stop\n%s", timeout, g.log.tail())
		return -1
	}
}

// stopAtEnd ends what still runs; every gateway that a test leaves running must leave with 0 when told to.
func (g *gateway) stopAtEnd() {
	if g.t.Failed() {
		g.t.Logf("the gateway's log ends with:\n%s", g.log.tail())
	}
	if g.cmd == nil {
		return
	}
	cmd := g.cmd
	g.cmd = nil
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-g.done:
		if err != nil {
			g.t.Errorf("the gateway left with %v after SIGTERM, want exit code 0\n%s", err, g.log.tail())
		}
	case <-time.After(45 * time.Second):
		_ = cmd.Process.Kill()
		<-g.done
		g.t.Errorf("the gateway did not leave within 45 s of SIGTERM\n%s", g.log.tail())
	}
}

// metric sums the gateway's samples of name whose labels contain every given `key="value"`.
func (g *gateway) metric(name string, labels ...string) float64 {
	g.t.Helper()
	status, body := httpGet("http://" + g.admin + "/metrics")
	if status != http.StatusOK {
		g.t.Fatalf("/metrics answered %d", status)
	}
	sum := 0.0
next:
	for _, line := range strings.Split(body, "\n") {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || (rest[0] != '{' && rest[0] != ' ') {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue next
			}
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			g.t.Fatalf("/metrics: %q: %v", line, err)
		}
		sum += v
	}
	return sum
}

// checkNoSecrets fails when a secret of either side was logged.
func (g *gateway) checkNoSecrets(secrets ...string) {
	g.t.Helper()
	for _, s := range append(secrets, clientToken, upstreamPass) {
		if strings.Contains(g.log.String(), s) {
			g.t.Errorf("the gateway's log contains the secret %q", s)
		}
	}
}

// ports are those of this process, below the range that the kernel gives to outgoing connections, so that a port which is
// free between two starts of a gateway stays so. It holds the first of them, by which other processes see that the block is
// taken.
var ports = sync.OnceValue(func() portBlock {
	for i := range 20 {
		first := 20000 + (os.Getpid()+i)%20*portBlockSize
		if l, err := net.Listen("tcp", loopback(first)); err == nil {
			return portBlock{l, first}
		}
	}
	panic("no free block of ports on 127.0.0.1")
})

const portBlockSize = 600

type portBlock struct {
	net.Listener
	first int
}

// nextPort counts how many ports of the block were asked for. After the last it begins anew.
var nextPort atomic.Int32

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func freeAddr(t testing.TB) string {
	t.Helper()
	for range portBlockSize {
		addr := loopback(ports().first + 1 + int(nextPort.Add(1))%(portBlockSize-1))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		l.Close()
		return addr
	}
	t.Fatal("no free port on 127.0.0.1")
	return ""
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, path); err != nil {
		t.Fatal(err)
	}
}

// httpGet returns status 0 when there was no answer.
func httpGet(url string) (int, string) {
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// eventually polls until cond holds.
func eventually(t testing.TB, timeout time.Duration, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(timeout); ; time.Sleep(20 * time.Millisecond) {
		if cond() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %s still not: %s", timeout, what)
		}
	}
}

// logBuffer keeps what a process wrote.
type logBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *logBuffer) tail() string {
	s := b.String()
	if len(s) > 4000 {
		s = "..." + s[len(s)-4000:]
	}
	return s
}
