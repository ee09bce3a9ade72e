package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// peer is a program that the gateway is compared with.
type peer struct {
	name string
	// build leaves its binary in a folder and returns its path.
	build func(ctx context.Context, dir string) (binary string, err error)
	// args writes what it reads into its own folder and returns its arguments.
	args func(p *peerRun) ([]string, error)
	// path is where it takes pushes; empty: where the gateway does.
	path string
	// metrics is the path of what it says of itself; empty: nothing. queued are those of its metrics whose sum is what it has yet to forward.
	metrics string
	queued  []string
}

// peerRun is what a peer must know to be started. The folder stays the same when it is started again.
type peerRun struct {
	scenario          scenario
	dir, sink, listen string
}

// start starts the peer, and waits until it listens.
func (p *peer) start(ctx context.Context, binary string, r *peerRun) (*gatewayProcess, error) {
	if r.listen == "" {
		addr, err := freeAddress()
		if err != nil {
			return nil, err
		}
		r.listen = addr
	}
	args, err := p.args(r)
	if err != nil {
		return nil, err
	}
	child, err := spawn(func(string) {}, binary, args...)
	if err != nil {
		return nil, err
	}
	for {
		c, err := net.DialTimeout("tcp", r.listen, time.Second)
		if err == nil {
			_ = c.Close()
			url := "http://" + r.listen
			return &gatewayProcess{process: child, pid: child.cmd.Process.Pid, http: url, grpc: url}, nil
		}
		select {
		case <-child.exited:
			return nil, child.said(p.name)
		case <-ctx.Done():
			child.stop()
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// freeAddress is an address that nobody listens on. Somebody else could take it before it is used; then nothing starts.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// vmagent answers once a push is in its queue, which is in memory and, where that does not do, on disk.
func vmagent() *peer {
	const module, version = "github.com/VictoriaMetrics/VictoriaMetrics", "v1.129.1"
	return &peer{
		name: "vmagent " + version, metrics: "/metrics",
		queued: []string{"vmagent_remotewrite_pending_data_bytes", "vmagent_remotewrite_pending_inmemory_blocks"},
		build: func(ctx context.Context, dir string) (string, error) {
			binary := filepath.Join(dir, "vmagent")
			if info, err := buildinfo.ReadFile(binary); err == nil && info.Main.Version == version {
				return binary, nil
			}
			return binary, goCommand(ctx, "", []string{"GOBIN=" + dir}, "install", module+"/app/vmagent@"+version)
		},
		args: func(r *peerRun) ([]string, error) {
			// Without forcePromProto it would try a protocol of its own first, which Grafana Cloud does not speak.
			args := []string{
				"-remoteWrite.url=" + r.sink + "/api/v1/write", "-remoteWrite.forcePromProto", "-remoteWrite.tmpDataPath=" + filepath.Join(r.dir, "queue"),
				"-httpListenAddr=" + r.listen,
			}
			if r.scenario.loads[0].spec.Change.Labels == nil {
				return args, nil
			}
			var rules strings.Builder // the same as the gateway's
			for line := range strings.Lines(reduceRules) {
				if line = strings.TrimSpace(line); strings.HasPrefix(line, "- ") {
					rules.WriteString(line + "\n")
				}
			}
			file := filepath.Join(r.dir, "relabel.yaml")
			return append(args, "-remoteWrite.relabelConfig="+file), os.WriteFile(file, []byte(rules.String()), 0o600)
		},
	}
}

// collector is an OpenTelemetry Collector. With its queue, which is its default, it answers before it has forwarded.
func collector(queue bool) *peer {
	name, sending := "Collector v0.162.0", ""
	if queue {
		name += ", queue"
	} else {
		sending = ", sending_queue: {enabled: false}"
	}
	return &peer{
		name: name,
		build: func(ctx context.Context, dir string) (string, error) {
			return buildModule(ctx, dir, "collector", ".")
		},
		args: func(r *peerRun) ([]string, error) {
			spec := r.scenario.loads[0].spec
			compression := spec.Codec
			if compression == "" {
				compression = "none"
			}
			processors, list := "", ""
			if key := spec.Change.Delete; key != "" {
				processors = "processors:\n  attributes: {actions: [{key: " + key + ", action: delete}]}\n"
				list = ", processors: [attributes]"
			}
			pipe := "{receivers: [otlp]" + list + ", exporters: [otlp_http]}"
			config := "receivers:\n  otlp: {protocols: {http: {endpoint: \"" + r.listen + "\"}}}\n" + processors +
				"exporters:\n  otlp_http: {endpoint: \"" + r.sink + "\", compression: " + compression + sending + "}\n" +
				"service:\n  telemetry: {metrics: {level: none}}\n" +
				"  pipelines: {traces: " + pipe + ", metrics: " + pipe + ", logs: " + pipe + "}\n"
			file := filepath.Join(r.dir, "collector.yaml")
			return []string{"--config=" + file}, os.WriteFile(file, []byte(config), 0o600)
		},
	}
}

// prometheus is a Prometheus in agent mode, the one other program that takes and sends remote_write 2.0. It answers once a push is
// in its log on disk, which it sends from. Its agent keeps no metadata, so that what arrives is changed.
func prometheus() *peer {
	return &peer{
		name: "Prometheus v0.315.0, agent", path: "/api/v1/write",
		build: func(ctx context.Context, dir string) (string, error) {
			// Without service discovery, which takes most of the time to build and nothing of what is measured.
			return buildModule(ctx, dir, "prometheus", "-tags=remove_all_sd", "github.com/prometheus/prometheus/cmd/prometheus")
		},
		args: func(r *peerRun) ([]string, error) {
			file := filepath.Join(r.dir, "prometheus.yaml")
			config := "remote_write: [{url: \"" + r.sink + "/api/v1/write\", protobuf_message: io.prometheus.write.v2.Request}]\n"
			return []string{
				"--agent", "--config.file=" + file, "--storage.agent.path=" + filepath.Join(r.dir, "agent"), "--web.listen-address=" + r.listen,
				"--web.enable-remote-write-receiver", "--web.remote-write-receiver.accepted-protobuf-messages=io.prometheus.write.v2.Request",
			}, os.WriteFile(file, []byte(config), 0o600)
		},
	}
}

// buildModule builds a program of the module in compare/NAME.
func buildModule(ctx context.Context, dir, name string, args ...string) (string, error) {
	binary := filepath.Join(dir, name)
	source, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", modulePath+"/loadtest").Output()
	if err != nil {
		return "", fmt.Errorf("find the folder of the load test: %w", err)
	}
	return binary, goCommand(ctx, filepath.Join(strings.TrimSpace(string(source)), "compare", name), nil, append([]string{"build", "-trimpath", "-o", binary}, args...)...)
}

// reverseProxy is what the standard library does with a push: the least that a proxy is measured against.
func reverseProxy() *peer {
	return &peer{
		name:  "net/http ReverseProxy",
		build: func(context.Context, string) (string, error) { return os.Executable() },
		args: func(r *peerRun) ([]string, error) {
			return []string{"proxy", "-listen", r.listen, "-to", r.sink}, nil
		},
	}
}

// goCommand runs the go command in a folder.
func goCommand(ctx context.Context, dir string, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// rival is one peer in one scenario.
type rival struct {
	scenario scenario
	peer     *peer
	// goal is how many times the peer's items per CPU-second we set out to forward.
	goal float64
	// unchanged: the peer cannot do what the rules of the scenario say, and is measured without.
	unchanged bool
	// rate is how many items a second both get; 0: as the scenario says.
	rate float64
}

// rivals are all comparisons. Rivals of one scenario stand together.
func rivals() (list []rival) {
	add := func(scenario string, goal float64, p *peer) {
		list = append(list, rival{scenario: scenarioOf(scenario), peer: p, goal: goal})
	}
	add("rw1", 3, vmagent())
	add("rw1-reduce", 2.8, vmagent())
	add("rw2", 0, prometheus())
	for _, otlp := range []struct {
		scenario string
		goal     float64
	}{{"traces-gzip", 9}, {"traces-gzip-drop-attribute", 3.7}, {"traces-plain", 10.5}, {"metrics-gzip", 10}, {"logs-plain", 5}} {
		add(otlp.scenario, otlp.goal, collector(false))
		add(otlp.scenario, otlp.goal, collector(true))
	}
	list = append(list, rival{scenario: scenarioOf("tiny"), peer: reverseProxy(), goal: 2.6, unchanged: true})
	// What a program with a queue loses is what waits in it, so that a load which it cannot forward could cost it any number.
	// These it forwards with ease.
	return append(list,
		rival{scenario: scenarioOf("crash"), peer: vmagent(), rate: 200_000},
		rival{scenario: scenarioOf("crash-traces"), peer: collector(false), rate: 40_000},
		rival{scenario: scenarioOf("crash-traces"), peer: collector(true), rate: 40_000})
}

// scenarioOf is the scenario of a name that is known to exist.
func scenarioOf(name string) scenario {
	for _, s := range scenarios() {
		if s.name == name {
			return s
		}
	}
	panic("BUG: loadtest: no scenario " + name)
}

// errNoPeer is why a scenario cannot be compared.
var errNoPeer = errors.New("no other program is compared in it")

// chooseRivals finds the comparisons of scenarios by name, in their order.
func chooseRivals(names string) (list []rival, err error) {
	if names == "all" {
		return rivals(), nil
	}
	chosen, err := choose(names)
	if err != nil {
		return nil, err
	}
	for _, s := range chosen {
		before := len(list)
		for _, r := range rivals() {
			if r.scenario.name == s.name {
				list = append(list, r)
			}
		}
		if len(list) == before {
			return nil, fmt.Errorf("%s: %w", s.name, errNoPeer)
		}
	}
	return list, nil
}
