package gateway

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

func (g *gatewayTest) reloadOK() float64 { return g.metric("gateway_config_last_reload_successful") }

// logged counts the lines of the log that hold text.
func (g *gatewayTest) logged(text string) (n int) {
	for line := range strings.Lines(g.logs.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// A bad configuration changes nothing, is told once, and is forgotten when it is mended.
func TestReloadKeepsTheLastGood(t *testing.T) {
	good := defaultServer + defaultEnvironment
	g := start(t, good)
	f := func(what, yaml string) {
		t.Helper()
		before := g.logged("reload failed")
		g.configure(yaml)
		for _, by := range []string{byFile, byFile, byFile, "somebody who asks", byFile} {
			if err := g.Reload(by); err == nil {
				t.Errorf("%s: was taken", what)
			}
		}
		if g.reloadOK() != 0 {
			t.Errorf("%s: the metric says that the reload succeeded", what)
		}
		if n := g.logged("reload failed") - before; n != 2 {
			t.Errorf("%s: %d lines of one failure, want one for the file and one for who asked", what, n)
		}
		if got := g.pushAs(clientToken); got != 200 {
			t.Errorf("%s: a push got %d", what, got)
		}
		g.configure(good)
		if err := g.Reload("test"); err != nil || g.reloadOK() != 1 {
			t.Errorf("%s, mended: %v, metric %v", what, err, g.reloadOK())
		}
	}
	f("no YAML", "server: [")
	f("empty", " ")
	f("unknown key", good+"\nunknown: 1\n")
	f("a secret file that is not there", strings.Replace(good, "secrets/app", "secrets/nowhere", 1))
	f("a variable that is not set", strings.Replace(good, "$CLOUD/otlp", "${env:GATEWAY_TEST_UNSET}", 1))
	f("a credential of two clients", strings.Replace(good, "      app:", "      app2: {bearer_token_file: secrets/app}\n      app:", 1))
	f("another address", strings.Replace(good, `admin_listen: "127.0.0.1:0"`, `admin_listen: "127.0.0.1:1"`, 1))
	f("one more port", strings.Replace(good, `http_listen: ["127.0.0.1:0"]`, `http_listen: ["127.0.0.1:0", "127.0.0.1:0"]`, 1))
	f("another series table", strings.Replace(good, "drain_delay: 0s", "drain_delay: 0s\n  max_series: 5", 1))
	f("TLS", strings.Replace(good, "drain_delay: 0s", "drain_delay: 0s\n  tls: {cert_file: c, key_file: k}", 1))
	if n := g.logged("cannot change while running"); n < 3 {
		t.Errorf("%d lines name a key that needs a restart", n)
	}
}

func TestReloadOverHTTP(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	post := func() (int, string) {
		res, err := http.Post("http://"+g.addr.Admin+"/-/reload", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b)
	}
	if code, text := post(); code != 200 {
		t.Errorf("%d %s", code, text)
	}
	g.configure("nonsense: 1")
	if code, text := post(); code != 500 || !strings.Contains(text, "nonsense") {
		t.Errorf("a bad configuration: %d %q", code, text)
	}
	if a := g.ask("GET", "/-/reload", "", ""); a.StatusCode != 405 {
		t.Errorf("GET: %d", a.StatusCode)
	}
}

// A file that changes is taken without being told, whether it is replaced or its directory is, as Kubernetes does it.
func TestReloadOfAChangedFile(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	renamed := strings.Replace(defaultServer+defaultEnvironment, "app:", "renamed:", 1)
	g.configure(renamed)
	received := func(client string) float64 { return g.metric("gateway_items_received_total", "client", client) }
	eventually(t, "the file that was replaced", func() bool { return g.pushAs(clientToken) == 200 && received("renamed") > 0 })
	g.configure("server: [")
	eventually(t, "the bad file to be told of", func() bool { return g.reloadOK() == 0 })
	if got := g.pushAs(clientToken); got != 200 {
		t.Errorf("with a bad file: %d", got)
	}
	g.configure(defaultServer + defaultEnvironment)
	eventually(t, "the mended file", func() bool { return g.reloadOK() == 1 })
	before := received("app")
	if got := g.pushAs(clientToken); got != 200 || received("app") != before+5 {
		t.Errorf("with the mended file: %d", got)
	}
	if n := g.logged("reload failed"); n != 1 {
		t.Errorf("%d lines of one bad file", n)
	}
	// Back to what is in force already: nothing changes but that all is well again.
	g.configure("server: {")
	eventually(t, "the next bad file to be told of", func() bool { return g.reloadOK() == 0 })
	g.configure(defaultServer + defaultEnvironment)
	eventually(t, "the return to what is in force", func() bool { return g.reloadOK() == 1 })
}

// What makes a reload fail may lie elsewhere, and a file can go away: neither is a change of the file's content.
func TestReloadIsTriedAgain(t *testing.T) {
	t.Parallel()
	g := start(t, defaultServer+defaultEnvironment)
	g.configure(strings.Replace(defaultServer+defaultEnvironment, "secrets/app", "secrets/late", 1))
	eventually(t, "the missing secret to be told of", func() bool { return g.reloadOK() == 0 })
	g.file("secrets/late", otherToken)
	eventually(t, "the secret that came late", func() bool { return g.reloadOK() == 1 })
	if got := g.pushAs(otherToken); got != 200 {
		t.Errorf("with the secret that came late: %d", got)
	}
	g.file("gateway.yaml", "")
	eventually(t, "the empty file to be told of", func() bool { return g.reloadOK() == 0 })
	if got := g.pushAs(otherToken); got != 200 {
		t.Errorf("with an empty file: %d", got)
	}
}

// A file that changes while the gateway starts is not overlooked.
func TestReloadDuringStart(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	g.configure(strings.Replace(defaultServer+defaultEnvironment, "app:", "renamed:", 1))
	eventually(t, "the new file", func() bool {
		return g.pushAs(clientToken) == 200 && g.metric("gateway_items_received_total", "client", "renamed") > 0
	})
}

func TestReloadOfASwappedDirectory(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	// config.Load has the path; what it leads to is arranged as a mounted ConfigMap is.
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(g.dir, name+".new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(g.dir, name+".new"), filepath.Join(g.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	version := func(n int, client string) {
		yaml := strings.Replace(defaultServer+defaultEnvironment, "app:", client+":", 1)
		dir := fmt.Sprintf("..v%d", n)
		g.file(dir+"/gateway.yaml", strings.ReplaceAll(yaml, "$CLOUD", g.cloud.URL()))
		link(dir, "..data")
	}
	version(1, "app")
	link("..data/gateway.yaml", "gateway.yaml")
	for i, client := range []string{"second", "third", "fourth"} {
		version(i+2, client)
		eventually(t, "the next version", func() bool {
			return g.pushAs(clientToken) == 200 && g.metric("gateway_items_received_total", "client", client) > 0
		})
	}
}

// A push that waits for upstream while its environment changes under it ends as it began.
func TestReloadUnderAPush(t *testing.T) {
	g := start(t, strings.ReplaceAll(defaultServer+defaultEnvironment, "timeout: 2s", "timeout: 20s"))
	o := g.cloud.Fail(fakecloud.Prometheus, fakecloud.Fault{Hang: true})
	done := make(chan int, 1)
	go func() { done <- g.pushAs(clientToken) }()
	eventually(t, "the push to hang", func() bool { return o.Hits() == 1 })
	g.configure(defaultServer + `environments:
  other:
    clients:
      late: {bearer_token_file: secrets/other}
    upstreams:
      loki: {url: $CLOUD/loki/api/v1/push, basic_auth: {username: "1002", password_file: secrets/cloud}}
`)
	g.file("secrets/other", otherToken)
	if err := g.Reload("test"); err != nil {
		t.Fatal(err)
	}
	if got := g.pushAs(clientToken); got != 401 {
		t.Errorf("a client that was removed: %d, want 401", got)
	}
	if got := g.pushAs(otherToken); got != 404 {
		t.Errorf("the new client: %d, want 404: its environment has no metrics", got)
	}
	o.Clear()
	if got := <-done; got != 200 {
		t.Errorf("the push that was on its way: %d", got)
	}
	if n := g.metric("gateway_items_forwarded_total", "environment", "prod", "client", "app"); n != 5 {
		t.Errorf("%v samples are booked, want 5: books outlive what they are about", n)
	}
	if g.logged("prod/app") == 0 {
		t.Errorf("the log does not name the client that pushed and was removed:\n%s", g.logs)
	}
}

// Reloads at any rate cost no push.
func TestReloadUnderLoad(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	all := samples()
	var stop atomic.Bool
	var senders sync.WaitGroup
	var sent atomic.Int64
	for _, name := range []string{"remote_write_v1", "remote_write_v2", "loki", "otlp traces"} {
		senders.Go(func() {
			s := all[name]
			for !stop.Load() {
				if a := g.post(s.path, s.header, s.body); a.StatusCode/100 != 2 {
					t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
				}
				sent.Add(int64(s.items))
			}
		})
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := range 75 {
		// Every other one changes what is compiled: labels, a bound, an upstream's timeout.
		yaml := strings.ReplaceAll(defaultServer+defaultEnvironment, "timeout: 2s", fmt.Sprintf("timeout: %dms", 2000+i/2))
		g.configure(yaml + fmt.Sprintf("    logs: {labels: {version: v%d}}\n", i/2))
		if err := g.Reload("test"); err != nil {
			t.Errorf("reload: %v", err)
		}
		<-tick.C
	}
	stop.Store(true)
	senders.Wait()
	if n := g.metric("gateway_items_forwarded_total"); n != float64(sent.Load()) {
		t.Errorf("%v items are booked as forwarded, %d were acknowledged", n, sent.Load())
	}
	if n := g.cloud.Stats("", "").Items; n != int(sent.Load()) {
		t.Errorf("%d items arrived, %d were acknowledged", n, sent.Load())
	}
}

// Connections to an upstream that a reload does not touch stay open.
func TestReloadKeepsConnections(t *testing.T) {
	var connections atomic.Int32
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	upstream.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	upstream.Start()
	defer upstream.Close()
	yaml := strings.ReplaceAll(defaultServer+defaultEnvironment, "$CLOUD", upstream.URL)
	g := start(t, yaml)
	push := func() {
		t.Helper()
		if got := g.pushAs(clientToken); got != 204 {
			t.Errorf("push: %d", got)
		}
	}
	push()
	for i := range 5 {
		g.configure(strings.ReplaceAll(yaml, "app:", fmt.Sprintf("app%d:", i)))
		if err := g.Reload("test"); err != nil {
			t.Fatal(err)
		}
		push()
	}
	// Another password is no reason to open another connection either.
	g.file("secrets/cloud", "glc_another-token-0123456789")
	eventually(t, "the password to be taken", func() bool { return g.logged("secret file changed") > 0 })
	push()
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections to an upstream that did not change, want 1", n)
	}
	g.configure(strings.ReplaceAll(yaml, "timeout: 2s", "timeout: 3s"))
	if err := g.Reload("test"); err != nil {
		t.Fatal(err)
	}
	push()
	if n := connections.Load(); n != 2 {
		t.Errorf("%d connections after the upstream has changed, want 2", n)
	}
	if n := g.metric("gateway_items_forwarded_total", "client", "app"); n != 10 {
		t.Errorf("%v samples of app, want 10: a name that comes back has its old books", n)
	}
}

// What a configuration takes from the environment of the process is part of it, and shows nowhere.
func TestReloadWithVariables(t *testing.T) {
	t.Setenv("GATEWAY_TEST_USER", metricsUser)
	t.Setenv("GATEWAY_TEST_HEADER", "value-from-the-environment")
	g := start(t, strings.Replace(defaultServer+defaultEnvironment, `basic_auth: {username: "1001"`,
		`headers: {X-Extra: "${env:GATEWAY_TEST_HEADER}"}, basic_auth: {username: "${env:GATEWAY_TEST_USER}"`, 1))
	if got := g.pushAs(clientToken); got != 200 {
		t.Fatal(got)
	}
	if got := g.newest(metricsUser, fakecloud.Prometheus).Header.Get("X-Extra"); got != "value-from-the-environment" {
		t.Errorf("upstream got X-Extra %q", got)
	}
	var data struct{ YAML string }
	g.admin("/api/v1/status/config", &data)
	if strings.Contains(data.YAML+g.logs.String(), "value-from-the-environment") {
		t.Error("the value of a header shows")
	}
}
