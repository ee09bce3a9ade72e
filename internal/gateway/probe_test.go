package gateway

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
)

// probed runs Probe on an environment prod with the given upstreams in YAML; $URL is where they are.
func probed(t *testing.T, ctx context.Context, url, upstreams string) []ProbeResult {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "gateway.yaml")
	yaml := "environments:\n  prod:\n    anonymous: true\n    upstreams:\n      " + strings.ReplaceAll(upstreams, "$URL", url) + "\n"
	for file, content := range map[string]string{path: yaml, filepath.Join(dir, "token"): cloudToken} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	results, err := Probe(ctx, cfg, "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if strings.Contains(r.String(), cloudToken) || strings.Contains(r.String(), "tell-nobody") {
			t.Errorf("a secret shows: %s", r)
		}
		if strings.ContainsFunc(r.String(), func(c rune) bool { return c < ' ' }) {
			t.Errorf("more than one printable line: %q", r)
		}
	}
	return results
}

// upstream serves h until the test ends.
func upstream(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	t.Cleanup(s.Close)
	return s.URL
}

func TestProbeSaysWhatAnAnswerMeans(t *testing.T) {
	f := func(status int, header, body string, ok bool, want string) {
		t.Helper()
		url := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
			if name, value, found := strings.Cut(header, ": "); found {
				w.Header().Set(name, value)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
		results := probed(t, t.Context(), url, `loki: {url: "$URL/loki/api/v1/push", basic_auth: {username: "7", password_file: token}}`)
		if len(results) != 1 || results[0].OK != ok || !strings.Contains(results[0].Text, strings.ReplaceAll(want, "$URL", url)) {
			t.Errorf("%d %s %q: %v, want ok=%t and %q", status, header, body, results, ok, want)
		}
	}
	html, text := "Content-Type: text/html; charset=utf-8", "Content-Type: text/plain"
	f(200, text, "", true, "takes pushes (HTTP 200, ")
	f(204, "", "", true, "takes pushes (HTTP 204, ")
	f(200, html, "<h1>Sign in</h1>", false, "answers with a web page; check url (HTTP 200, ")
	f(422, text, "at least one valid stream is required", true, "refuses the push only because it is empty (HTTP 422, ")
	f(400, text, "empty push", true, "refuses the push only because it is empty (HTTP 400, ")
	f(400, html, "<h1>Bad request</h1>", false, "answers with a web page; check url (HTTP 400, ")
	f(400, html, "<center>The plain HTTP request was sent to HTTPS port</center>", false, "wants TLS at this port; check whether url needs https (HTTP 400, ")
	f(400, text, "Client sent an HTTP request to an HTTPS server.\n", false, "wants TLS at this port; check whether url needs https; it says: Client sent")
	f(401, text, "invalid token "+cloudToken+"\r\nsecond line", false, "the token; it says: invalid token <secret> second line (HTTP 401, ")
	f(403, html, "<h1>Forbidden</h1>", false, "belongs to another realm (HTTP 403, ")
	f(404, text, "", false, "takes no pushes at this path; check url (HTTP 404, ")
	f(405, text, "", false, "takes no pushes at this path; check url (HTTP 405, ")
	f(407, text, "", false, "the proxy wants credentials; check proxy_url (HTTP 407, ")
	f(429, text, "slow down", true, "is over its limit (HTTP 429, ")
	f(418, text, "short and stout", false, "failed; it says: short and stout (HTTP 418, ")
	f(503, text, strings.Repeat("busy ", 100), false, "busy ... (HTTP 503, ")
	f(500, text, "", false, "failed (HTTP 500, ")

	f(302, "Location: https://sso.example.com/login?next=tell-nobody#tell-nobody", "", false, "redirects to https://sso.example.com/login, which is never followed; check url (HTTP 302, ")
	f(308, "Location: https://me:tell-nobody@sso.example.com", "", false, "redirects to https://sso.example.com, which")
	f(307, "Location: /loki/%1b%5b2J%0a/push", "", false, "redirects to $URL/loki/%1b%5b2J%0a/push, which")
	f(301, "Location: https://a.example.com/"+strings.Repeat("x", 500), "", false, "redirects to https://a.example.com, which")
	f(302, "Location: ://", "", false, "redirects to nowhere, which")
	f(302, "Location: mailto:a@example.com", "", false, "redirects to nowhere, which")
	f(303, "", "", false, "redirects to $URL")
}

// What a probe sends is what an empty push would be: with credential, form and path of its exit, once for each.
func TestProbeSendsEmptyPushes(t *testing.T) {
	var mu sync.Mutex // guards seen
	seen := map[string]int{}
	url := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil && r.Header.Get("Content-Encoding") == "snappy" || r.URL.Path == "/l" {
			body, err = snappy.Decode(nil, body)
		}
		user, password, _ := r.BasicAuth()
		mu.Lock()
		defer mu.Unlock()
		if err != nil || len(body) > 0 || password != cloudToken || r.Method != http.MethodPost {
			t.Errorf("%s %s: %q, %v as %s", r.Method, r.URL, body, err, user)
		}
		seen[r.URL.Path+" "+user+" "+r.Header.Get("Content-Type")]++
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", "0")
	})
	auth := func(user string) string { return `basic_auth: {username: "` + user + `", password_file: token}` }
	f := func(upstreams string, want ...string) {
		t.Helper()
		results := probed(t, t.Context(), url, upstreams)
		mu.Lock()
		defer mu.Unlock()
		defer clear(seen)
		for _, r := range results {
			if !r.OK {
				t.Errorf("%s", r)
			}
		}
		if len(results) != len(want) || len(seen) != len(want) {
			t.Errorf("%d results, %d pushes %v, want %d", len(results), len(seen), seen, len(want))
		}
		for _, w := range want {
			if seen[w] != 1 {
				t.Errorf("%q was seen %d times of %v, want once", w, seen[w], seen)
			}
		}
	}
	proto := " application/x-protobuf"
	f(`prometheus: {url: $URL/p, `+auth("1")+`}`, "/p 1"+proto)
	f(`prometheus: {url: $URL/p, remote_write_version: 1, `+auth("1")+`}`, "/p 1"+proto)
	f(`prometheus: {url: $URL/p, remote_write_version: 2, `+auth("1")+`}`, "/p 1"+proto+";proto=io.prometheus.write.v2.Request")
	f(`loki: {url: $URL/l, `+auth("2")+`}`, "/l 2"+proto)
	f(`otlp: {url: $URL/o/, `+auth("3")+`}`, "/o/v1/traces 3"+proto, "/o/v1/metrics 3"+proto, "/o/v1/logs 3"+proto)
	f("otlp: {url: $URL/o, "+auth("3")+"}\n      tempo: {url: $URL/t, transport: http, "+auth("4")+"}",
		"/t/v1/traces 4"+proto, "/o/v1/metrics 3"+proto, "/o/v1/logs 3"+proto)
}

func TestProbeNamesWhatItAsked(t *testing.T) {
	url := upstream(t, func(http.ResponseWriter, *http.Request) {})
	r := probed(t, t.Context(), url, `otlp: {url: $URL/otlp/, basic_auth: {username: "3", password_file: token}}`)[0]
	r.Text = "text"
	if got, want := r.String(), "ok     prod/otlp "+url+"/otlp/v1/traces as user \"3\": text"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Exits that do not answer are waited for at the same time, and no longer than their timeout.
func TestProbeWaitsForAllAtOnce(t *testing.T) {
	silent := make(chan struct{})
	url := upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-silent:
		}
	})
	t.Cleanup(func() { close(silent) })
	began := time.Now()
	results := probed(t, t.Context(), url, "loki: {url: $URL/l, timeout: 400ms}\n      otlp: {url: $URL/o, timeout: 400ms}")
	if took := time.Since(began); took > 1200*time.Millisecond {
		t.Errorf("4 probes of 400 ms took %s", took)
	}
	for _, r := range results {
		if r.OK || !strings.HasPrefix(r.Text, "did not answer in time, timeout=400ms (") {
			t.Errorf("%s", r)
		}
	}
	if len(results) != 4 {
		t.Errorf("%d results, want 4", len(results))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, r := range probed(t, ctx, url, "loki: {url: $URL/l}") {
		if r.OK || !strings.HasPrefix(r.Text, "was not waited for (") {
			t.Errorf("a probe that was interrupted: %s", r)
		}
	}
}

func TestProbeThroughAProxy(t *testing.T) {
	f := func(h http.HandlerFunc, target, want string) {
		t.Helper()
		proxy := upstream(t, h)
		proxy = strings.Replace(proxy, "http://", "http://me:tell-nobody@", 1)
		r := probed(t, t.Context(), proxy, `loki: {url: "`+target+`", proxy_url: "$URL"}`)[0]
		if r.OK || !strings.Contains(r.Text, want) {
			t.Errorf("%s, want %q", r, want)
		}
	}
	refuse := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	f(refuse(403), "https://logs.invalid/push", "was not asked, for the proxy gives no way to it; check proxy_url (Forbidden, after ")
	f(refuse(407), "https://logs.invalid/push", "was not asked, for the proxy gives no way to it; check proxy_url (Proxy Authentication Required, after ")
	f(refuse(502), "https://logs.invalid/push", "check proxy_url (Bad Gateway, after ")
	f(refuse(407), "http://logs.invalid/push", "the proxy wants credentials; check proxy_url (HTTP 407, ")
}

// A server that hangs up without a word, as some do that expect TLS.
func TestProbeOfAServerThatHangsUp(t *testing.T) {
	url := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	})
	r := probed(t, t.Context(), url, "loki: {url: $URL/l}")[0]
	if r.OK || !strings.Contains(r.Text, "; check whether url needs https (") {
		t.Errorf("%s", r)
	}
}
