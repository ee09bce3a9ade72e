package integration

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// upstream stands where Grafana Cloud's authentication stands: it refuses what does not carry the upstream's
// credential, reports everything that should not have left the gateway, and fails on demand.
type upstream struct {
	t    testing.TB
	url  string // http://127.0.0.1:port
	next http.Handler

	mu       sync.Mutex // guards what follows
	password string
	fault    func(n int, r *http.Request) (status, retryAfter int) // status 0: no fault; n counts requests from 1
	requests int
	statuses []int
	types    map[string]bool // every Content-Type that was seen
}

// allowedHeaders is the whole list of what may leave (design, "What travels"), and what Go's transport adds.
var allowedHeaders = []string{
	"Accept-Encoding", "Authorization", "Content-Encoding", "Content-Length", "Content-Type", "Retry-Attempt",
	"User-Agent", "X-Prometheus-Remote-Write-Version",
}

// leakHeaders is what every sender of these tests also sends, and no upstream may see.
var leakHeaders = map[string]string{
	"X-Scope-OrgID":                   "someone-else",
	"Cookie":                          "session=client",
	"X-Forwarded-For":                 "10.1.2.3",
	"X-Forwarded-Client-Cert":         "Subject=\"CN=admin\"",
	"X-Mimir-SkipLabelNameValidation": "true",
	"X-Loki-Backfill-Shard":           "1",
	"Idempotency-Key":                 "client-key",
}

func newUpstream(t testing.TB, next http.Handler) *upstream {
	t.Helper()
	return newUpstreamAt(t, "127.0.0.1:0", next)
}

func newUpstreamAt(t testing.TB, addr string, next http.Handler) *upstream {
	t.Helper()
	u := &upstream{t: t, next: next, password: upstreamPass, types: map[string]bool{}}
	u.url = serveAt(t, addr, u)
	return u
}

// serve answers requests with h until the test ends, and returns the URL.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	return serveAt(t, "127.0.0.1:0", h)
}

func serveAt(t testing.TB, addr string, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-served })
	return "http://" + l.Addr().String()
}

// yaml is one line under upstreams: of a config file. extra holds further keys, each followed by a comma.
func (u *upstream) yaml(name, path, extra string) string {
	return fmt.Sprintf("      %s: {url: %q, %s basic_auth: {username: %q, password_file: secrets/upstream}}\n",
		name, u.url+path, extra, upstreamUser)
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	u.requests++
	u.types[r.Header.Get("Content-Type")] = true
	n, fault, password := u.requests, u.fault, u.password
	u.mu.Unlock()

	sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	defer func() {
		u.mu.Lock()
		u.statuses = append(u.statuses, sw.status)
		u.mu.Unlock()
	}()

	u.checkLeaks(r)
	if user, pass, ok := r.BasicAuth(); !ok || user != upstreamUser || pass != password {
		http.Error(sw, "authentication error: invalid token", http.StatusUnauthorized)
		return
	}
	if fault != nil {
		if status, after := fault(n, r); status != 0 {
			if after > 0 {
				sw.Header().Set("Retry-After", strconv.Itoa(after))
			}
			http.Error(sw, "fault on demand", status)
			return
		}
	}
	u.next.ServeHTTP(sw, r)
}

func (u *upstream) checkLeaks(r *http.Request) {
	for name, values := range r.Header {
		if !slices.Contains(allowedHeaders, name) {
			u.t.Errorf("upstream saw header %s: %q of %s", name, values, r.URL.Path)
		}
		if strings.Contains(strings.Join(values, " "), clientToken) {
			u.t.Errorf("upstream saw the client's token in %s", name)
		}
		if len(values) != 1 {
			u.t.Errorf("upstream saw header %s %d times: %q", name, len(values), values)
		}
	}
	if r.URL.RawQuery != "" {
		u.t.Errorf("upstream saw the query %q", r.URL.RawQuery)
	}
	if len(r.Trailer) > 0 {
		u.t.Errorf("upstream saw trailers %v", r.Trailer)
	}
}

func (u *upstream) setPassword(p string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.password = p
}

func (u *upstream) setFault(f func(n int, r *http.Request) (status, retryAfter int)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fault = f
}

// answered returns the status of every request so far.
func (u *upstream) answered() []int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.statuses)
}

func (u *upstream) contentTypes() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Sorted(maps.Keys(u.types))
}

func count[T comparable](s []T, v T) int {
	n := 0
	for _, x := range s {
		if x == v {
			n++
		}
	}
	return n
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
