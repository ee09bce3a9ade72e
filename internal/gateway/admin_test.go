package gateway

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// ask sends a request to the admin port and returns what came back.
func (g *gatewayTest) ask(method, path, user, password string) answer {
	g.t.Helper()
	req := must(http.NewRequest(method, "http://"+g.addr.Admin+path, nil))
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	return answer{res, string(must(io.ReadAll(res.Body)))}
}

func TestAdmin(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	if got := g.pushAs(clientToken); got != 200 {
		t.Fatal(got)
	}
	g.cloud.Fail(fakecloud.Loki, answer4xx(500))
	s := samples()["loki"]
	g.post(s.path, s.header, s.body)
	f := func(path, contentType string, texts ...string) {
		t.Helper()
		a := g.ask("GET", path, "", "")
		if a.StatusCode != 200 || !strings.HasPrefix(a.Header.Get("Content-Type"), contentType) {
			t.Errorf("%s: %d %s, want 200 %s", path, a.StatusCode, a.Header.Get("Content-Type"), contentType)
		}
		for _, text := range texts {
			if !strings.Contains(a.body, text) {
				t.Errorf("%s does not say %q:\n%.2000s", path, text, a.body)
			}
		}
		for _, secret := range []string{clientToken, cloudToken, devToken} {
			if strings.Contains(a.body, secret) {
				t.Errorf("%s shows a secret", path)
			}
		}
	}
	f("/metrics", "text/plain", `gateway_items_forwarded_total{client="app",environment="prod",signal="metrics"} 5`,
		`gateway_items_failed_total{client="app",code="500",environment="prod",signal="logs"} 2`, `gateway_build_info{version="test"} 1`,
		"gateway_config_last_reload_successful 1", "gateway_config_hash", "gateway_inflight_bytes", "gateway_secret_stale 0", "go_goroutines")
	f("/", "text/html", "prod", "app", "test")
	f("/-/healthy", "text/plain", "ok")
	f("/-/ready", "text/plain", "ok")
	f("/api/v1/status/config", "application/json", `"status":"success"`, "password_file", "gateway.yaml", g.state.Load().cfg.Hash)
	f("/api/v1/status/environments", "application/json", `"name":"prod"`, `"last_push":"`, `"forwarded":5`, `"500":2`, `"remote_write_version":2`)
	f("/api/v1/status/secrets", "application/json", `"stale":[]`, `"line":1`, `"client":"app"`)
	f("/api/v1/status/buildinfo", "application/json", `"status":"success"`, `"data":{"version":"test"}`)
	f("/debug/pprof/", "text/html", "goroutine")
	f("/debug/pprof/goroutine?debug=1", "text/plain", "goroutine profile")
	f("/debug/pprof/heap", "application/octet-stream")
	for _, path := range []string{"/nowhere", "/api/v1/status/nothing", "/api/v1/push"} {
		if a := g.ask("GET", path, "", ""); a.StatusCode != 404 {
			t.Errorf("%s: %d, want 404", path, a.StatusCode)
		}
	}
	// Nothing of it is on the push port.
	for _, path := range []string{"/metrics", "/", "/api/v1/status/config", "/debug/pprof/", "/-/reload"} {
		if got := g.get(path); got != 404 {
			t.Errorf("the push port answers %s with %d", path, got)
		}
	}
}

// Off loopback and without users, only what holds no detail answers.
func TestAdminOffLoopback(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	h := onlyHarmless(g.adminHandler())
	f := func(method, path string, want int) {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if w.Code != want {
			t.Errorf("%s %s: %d, want %d", method, path, w.Code, want)
		}
		if want == 403 && !strings.Contains(w.Body.String(), "server.admin_web_config_file") {
			t.Errorf("%s %s does not say what would open it: %q", method, path, w.Body)
		}
	}
	f("GET", "/metrics", 200)
	f("GET", "/-/healthy", 200)
	f("GET", "/-/ready", 200)
	for _, path := range []string{"/", "/api/v1/status/config", "/api/v1/status/secrets", "/debug/pprof/", "/debug/pprof/cmdline", "/metrics/", "//metrics", "/x/../metrics"} {
		f("GET", path, 403)
	}
	f("POST", "/-/reload", 403)
}

// The password is "correct horse", hashed at the least cost that bcrypt has.
const webConfig = "basic_auth_users:\n  operator: $2a$04$WKdegfLJ4jAdmh02JkmX6uUFjNNMPSeIHdmsLY8phgsc92J/WMcMy\n"

func TestAdminUsers(t *testing.T) {
	g := start(t, strings.Replace(defaultServer, "drain_delay", "admin_web_config_file: web.yaml\n  drain_delay", 1)+defaultEnvironment,
		"web.yaml", webConfig)
	f := func(user, password string, want int) {
		t.Helper()
		for _, path := range []string{"/", "/metrics", "/api/v1/status/config"} {
			if a := g.ask("GET", path, user, password); a.StatusCode != want {
				t.Errorf("%s as %q: %d, want %d", path, user, a.StatusCode, want)
			}
		}
	}
	f("operator", "correct horse", 200)
	f("operator", "wrong", 401)
	f("", "", 401)
}

// A web configuration that cannot be used ends the start, and leaves nothing running.
func TestAdminBadWebConfig(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	cfg := *g.state.Load().cfg
	g.file("bad.yaml", "nonsense: 1")
	cfg.Server.AdminWebConfigFile = g.dir + "/bad.yaml"
	other := must(New(&cfg, Options{Log: g.log, Version: "test"}))
	var group errgroup.Group
	group.Go(func() error {
		return other.Run(deadline(t), func(Addresses) { t.Error("ready without an admin port") })
	})
	if err := group.Wait(); err == nil || !strings.Contains(err.Error(), "server.admin_web_config_file") {
		t.Errorf("%v, want an error that names the key", err)
	}
}

// A flood of refusals is a few lines that count it.
func TestLogThrottle(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	began := time.Now()
	const refused = 1000
	for range refused / 2 {
		g.pushAs("wrong-token-0123456789")
		s := samples()["loki json"]
		g.post(s.path, s.header, []byte("no json"))
	}
	seconds := int(time.Since(began)/time.Second) + 1
	lines := g.logged("push refused")
	if lines > 2*seconds || lines < 2 {
		t.Errorf("%d lines of %d refused pushes in %d s, want at most one a second and reason", lines, refused, seconds)
	}
	<-time.After(1100 * time.Millisecond)
	g.pushAs("wrong-token-0123456789")
	if g.logged("like_this_since=") == 0 {
		t.Errorf("no line says how many it stands for:\n%.3000s", g.logs)
	}
	if g.logged("wrong-token") > 0 || g.logged("no json") > 0 {
		t.Error("what was sent shows in the log")
	}
	if n := g.metric("gateway_auth_failures_total", "reason", "unknown_credential", "door", "remote_write_v1"); n != refused/2+1 {
		t.Errorf("%v failures of authentication are counted, want %d", n, refused/2+1)
	}
}
