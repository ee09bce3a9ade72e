package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/sink"
)

// process is a child of the runner.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended
	mu     sync.Mutex    // guards tail
	tail   []string      // what it said last
}

// spawn starts a program and calls line for each line that it writes to stdout or stderr, until it ends.
func spawn(line func(string), name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), exited: make(chan struct{})}
	// It must not outlive a runner that is killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r, w := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // who waits for more than its end asks for its tail
		_ = w.Close()
		close(p.exited)
	}()
	go func() {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			p.mu.Lock()
			p.tail = append(p.tail[max(0, len(p.tail)-20):], lines.Text())
			p.mu.Unlock()
			line(lines.Text())
		}
		_, _ = io.Copy(io.Discard, r) // so that it is never held up
	}()
	return p, nil
}

// stop ends the process, kindly at first.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.exited:
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// kill ends the process with SIGKILL, which it cannot see coming.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.exited
}

// said is the error of a process that ended too early.
func (p *process) said(what string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Errorf("%s ended: %s", what, strings.Join(p.tail, "\n"))
}

// gatewayProcess is a gateway, or another program that stands in its place.
type gatewayProcess struct {
	*process
	pid               int
	http, grpc, admin string // URLs; admin is empty where it is not known
	memory            memoryBounds
}

const modulePath = "github.com/telemetry-gateway/telemetry-gateway"

// buildGateway builds the gateway of this module, and returns the path of the binary.
func buildGateway(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "gateway")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, modulePath+"/cmd/gateway")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the gateway: %w\n%s", err, out)
	}
	return path, nil
}

// startGatewayProcess starts a gateway and waits until it says where it listens.
func startGatewayProcess(ctx context.Context, binary, config string, tls bool) (*gatewayProcess, error) {
	ready := make(chan map[string]json.RawMessage, 1)
	var bounds memoryBounds // written before ready is sent to
	p, err := spawn(func(line string) {
		var entry map[string]json.RawMessage
		if json.Unmarshal([]byte(line), &entry) != nil {
			return
		}
		switch string(entry["msg"]) {
		case `"memory"`:
			_ = json.Unmarshal([]byte(line), &bounds) // without it nothing is judged
		case `"gateway started"`:
			ready <- entry
		}
	}, binary, "run", "--config.file="+config)
	if err != nil {
		return nil, err
	}
	select {
	case entry := <-ready:
		g := &gatewayProcess{process: p, pid: p.cmd.Process.Pid, memory: bounds}
		var httpAddr, grpcAddr []string
		var admin string
		err := errors.Join(json.Unmarshal(entry["http"], &httpAddr), json.Unmarshal(entry["grpc"], &grpcAddr), json.Unmarshal(entry["admin"], &admin))
		if err != nil || len(httpAddr) == 0 || len(grpcAddr) == 0 {
			p.stop()
			return nil, fmt.Errorf("the gateway says %s", entry)
		}
		scheme := map[bool]string{true: "https://", false: "http://"}[tls]
		g.http, g.grpc, g.admin = scheme+httpAddr[0], scheme+grpcAddr[0], "http://"+admin
		return g, nil
	case <-p.exited:
		return nil, p.said("the gateway")
	case <-ctx.Done():
		p.stop()
		return nil, ctx.Err()
	}
}

// sinkProcess is a sink in a process of its own.
type sinkProcess struct {
	*process
	url    string
	client *http.Client
}

// startSinkProcess starts this program again as a sink.
func startSinkProcess(ctx context.Context, listen string, every uint64, cert, key string, client *http.Client) (*sinkProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"sink", "-listen", listen, "-every", strconv.FormatUint(every, 10)}
	if cert != "" {
		args = append(args, "-cert", cert, "-key", key)
	}
	ready := make(chan string, 1)
	p, err := spawn(func(line string) {
		if url, ok := strings.CutPrefix(line, sinkReady); ok {
			ready <- url
		}
	}, self, args...)
	if err != nil {
		return nil, err
	}
	select {
	case url := <-ready:
		return &sinkProcess{process: p, url: url, client: client}, nil
	case <-p.exited:
		return nil, p.said("the sink")
	case <-ctx.Done():
		p.stop()
		return nil, ctx.Err()
	}
}

// control asks the sink.
func (s *sinkProcess) control(ctx context.Context, method, path string, order any) (st sink.State, err error) {
	var body bytes.Buffer
	if err := json.NewEncoder(&body).Encode(order); err != nil {
		return st, err
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, &body)
	if err != nil {
		return st, err
	}
	res, err := s.client.Do(req)
	if err != nil {
		return st, fmt.Errorf("ask the sink: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return st, fmt.Errorf("ask the sink: %s", res.Status)
	}
	return st, json.NewDecoder(res.Body).Decode(&st)
}
