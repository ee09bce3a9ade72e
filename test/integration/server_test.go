package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Real Prometheus processes: a server that scrapes node-exporter and itself, and an agent that does the same, both
// write through the gateway into a Prometheus receiver. What the receiver answers to PromQL is what the server does.
func TestPrometheusServers(t *testing.T) {
	t.Parallel()
	installServers(t)
	dir := t.TempDir()

	node := freeAddr(t)
	nodeExporter := startProcess(t, "prometheus-node-exporter", "--web.listen-address="+node)
	receiver := freeAddr(t)
	writeFile(t, filepath.Join(dir, "receiver.yml"), "global: {}\n")
	startProcess(t, "prometheus", "--config.file="+filepath.Join(dir, "receiver.yml"), "--web.listen-address="+receiver,
		"--storage.tsdb.path="+filepath.Join(dir, "receiver"), "--web.enable-remote-write-receiver",
		"--enable-feature=native-histograms,exemplar-storage")
	waitReady(t, receiver)

	up := newUpstream(t, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: receiver})
	}})
	g := startGateway(t, "    upstreams:\n"+up.yaml("prometheus", "/api/v1/write", "")+"    metrics: {labels: {environment: prod}}\n")

	server, agent := freeAddr(t), freeAddr(t)
	writeFile(t, filepath.Join(dir, "server.yml"), scrapeConfig(g, "server", server, node))
	startProcess(t, "prometheus", "--config.file="+filepath.Join(dir, "server.yml"), "--web.listen-address="+server,
		"--storage.tsdb.path="+filepath.Join(dir, "server"))
	writeFile(t, filepath.Join(dir, "agent.yml"), scrapeConfig(g, "agent", agent, node))
	startProcess(t, "prometheus", "--config.file="+filepath.Join(dir, "agent.yml"), "--web.listen-address="+agent,
		"--enable-feature=agent", "--storage.agent.path="+filepath.Join(dir, "agent"))
	waitReady(t, server)
	waitReady(t, agent)

	// Prometheus begins to scrape some 5 s after it is ready.
	eventually(t, 30*time.Second, "both scrape both targets", func() bool {
		return queryValue(t, receiver, `count(up == 1)`, time.Now()) == `"4"`
	})
	const window = 8
	at := time.Now().Add((window + 1) * time.Second)
	time.Sleep(time.Until(at)) // the window is real time; nothing shortens it

	// A fixed window, so that both sides can only come to agree or not.
	want := queryMatrix(t, server, fmt.Sprintf(`{job=~"server-.*"}[%ds]`, window), at)
	if len(want) < 500 {
		t.Fatalf("the server has %d series, want at least 500", len(want))
	}
	var got map[string]string
	end := time.Now().Add(20 * time.Second)
	for {
		got = queryMatrix(t, receiver, fmt.Sprintf(`{job=~"server-.*"}[%ds]`, window), at)
		if maps.Equal(got, want) || time.Now().After(end) {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	compareMaps(t, "PromQL", "series", want, got, func(w, g string) string {
		if w != g {
			return fmt.Sprintf("got %s, want %s", g, w)
		}
		return ""
	})

	// The agent answers no queries, but every scrape says itself how many samples it has.
	eventually(t, 20*time.Second, "all samples of the agent's scrapes arrived", func() bool {
		return wholeScrapes(t, queryMatrix(t, receiver, fmt.Sprintf(`{job="agent-node"}[%ds]`, window), at)) >= window-1 &&
			wholeScrapes(t, queryMatrix(t, receiver, fmt.Sprintf(`{job="agent-self"}[%ds]`, window), at)) >= window-1
	})

	// A target that goes away is stale at once on both sides, not after the five minutes of lookback.
	for _, addr := range []string{server, receiver} {
		if n := queryValue(t, addr, `count(node_load1{job="server-node"})`, time.Now()); n != `"1"` {
			t.Errorf("%s: %q series of node_load1 before its target goes, want 1", addr, n)
		}
	}
	nodeExporter.stop()
	for _, addr := range []string{server, receiver} {
		eventually(t, 20*time.Second, "node_load1 is stale at "+addr, func() bool {
			return queryValue(t, addr, `count(node_load1)`, time.Now()) == ""
		})
	}
	if n := g.metric("gateway_items_failed_total") + g.metric("gateway_items_dropped_total"); n != 0 {
		t.Errorf("the gateway counts %g items failed or dropped, want 0", n)
	}
}

// scrapeConfig scrapes itself and node-exporter each second and writes through the gateway.
func scrapeConfig(g *gateway, name, self, node string) string {
	return fmt.Sprintf(`global: {scrape_interval: 1s, scrape_timeout: 900ms}
scrape_configs:
- job_name: %s-self
  static_configs: [{targets: [%q]}]
- job_name: %s-node
  static_configs: [{targets: [%q]}]
remote_write:
- url: http://%s/api/v1/write
  authorization: {credentials: %s}
  headers: {X-Scope-OrgID: someone-else, Cookie: session=client}
  send_exemplars: true
  send_native_histograms: true
  queue_config: {batch_send_deadline: 200ms, min_shards: 2, max_shards: 4}
  metadata_config: {send_interval: 1s}
`, name, self, name, node, g.http, clientToken)
}

func installServers(t testing.TB) {
	t.Helper()
	if out, err := exec.Command("sh", "install.sh").CombinedOutput(); err != nil {
		t.Fatalf("install.sh: %v\n%s", err, out)
	}
}

// process is a server of someone else's that a test started.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	log  *logBuffer
	done chan struct{}
}

func startProcess(t testing.TB, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(name, args...), log: &logBuffer{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() { defer close(p.done); _ = p.cmd.Wait() }()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s's log ends with:\n%s", name, p.log.tail())
		}
	})
	return p
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

func waitReady(t testing.TB, addr string) {
	t.Helper()
	eventually(t, 30*time.Second, addr+" is ready", func() bool {
		status, _ := httpGet("http://" + addr + "/-/ready")
		return status == http.StatusOK
	})
}

type queryResult struct {
	Metric map[string]string   `json:"metric"`
	Value  []json.RawMessage   `json:"value"`
	Values [][]json.RawMessage `json:"values"`
}

func query(t testing.TB, addr, expr string, at time.Time) []queryResult {
	t.Helper()
	status, body := httpGet("http://" + addr + "/api/v1/query?" + url.Values{
		"query": {expr}, "time": {fmt.Sprintf("%.3f", float64(at.UnixMilli())/1000)},
	}.Encode())
	var answer struct {
		Data struct {
			Result []queryResult `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(body), &answer); status != http.StatusOK || err != nil {
		t.Fatalf("query %s: %d %v %.300s", expr, status, err, body)
	}
	return answer.Data.Result
}

// queryMatrix returns each series' samples as Prometheus writes them. The gateway's stamp must be on what came through
// it and is taken off, so that both sides can be compared.
func queryMatrix(t testing.TB, addr, expr string, at time.Time) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, r := range query(t, addr, expr, at) {
		stamp, stamped := r.Metric["environment"]
		delete(r.Metric, "environment")
		var key, values strings.Builder
		for _, name := range slices.Sorted(maps.Keys(r.Metric)) {
			fmt.Fprintf(&key, "%s=%q ", name, r.Metric[name])
		}
		if stamped && stamp != "prod" {
			t.Errorf("%s has the stamp %q", key.String(), stamp)
		}
		for _, v := range r.Values {
			fmt.Fprintf(&values, "%s=%s ", v[0], v[1]) // time=value
		}
		out[key.String()] = values.String()
	}
	return out
}

// wholeScrapes counts the scrapes of one target in matrix; -1 when one of them is not there whole.
func wholeScrapes(t testing.TB, matrix map[string]string) int {
	t.Helper()
	const synthetic = 5 // up, scrape_duration_seconds, scrape_samples_scraped, ..._post_metric_relabeling, scrape_series_added
	has, says := map[string]int{}, map[string]int{}
	for series, values := range matrix {
		for pair := range strings.FieldsSeq(values) {
			at, value, _ := strings.Cut(pair, "=")
			has[at]++
			if strings.Contains(series, `__name__="scrape_samples_post_metric_relabeling"`) {
				n, err := strconv.Atoi(strings.Trim(value, `"`))
				if err != nil {
					t.Fatal(err)
				}
				says[at] = n + synthetic
			}
		}
	}
	for at, n := range has {
		if says[at] != n {
			return -1
		}
	}
	return len(has)
}

// queryValue returns the one value of an instant query, "" when there is none.
func queryValue(t testing.TB, addr, expr string, at time.Time) string {
	t.Helper()
	result := query(t, addr, expr, at)
	if len(result) == 0 {
		return ""
	}
	return string(result[0].Value[1])
}
