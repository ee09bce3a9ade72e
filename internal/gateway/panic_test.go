package gateway

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// A defect of one door ends one request, loudly, and leaves no memory charged.
func TestPanic(t *testing.T) {
	d, logs := benchDoor(t, ""), new(lockedBuffer)
	d.log = slog.New(slog.NewTextHandler(logs, nil))
	broken := *protocols[len(protocols)-1]
	broken.Routes, broken.Method = []string{"/broken"}, "/broken.Service/Call"
	broken.Open = func(http.Header) (ingest.Content, error) { return ingest.Content{}, nil }
	broken.Decode = func(raw []byte, _ ingest.Content) (ingest.Batch, error) { panic("a defect at " + string(raw[:1])) }
	d.routes = newRoutes([]*ingest.Protocol{&broken})
	f := func(path string, change func(*http.Request), body string) {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		r.Header = header()
		change(r)
		defer func() {
			if v := recover(); v != http.ErrAbortHandler {
				t.Errorf("%s: panicked with %v, want what net/http ends the one request with", path, v)
			}
		}()
		d.ServeHTTP(httptest.NewRecorder(), r)
	}
	f("/broken", func(*http.Request) {}, "x")
	f("/broken.Service/Call", func(r *http.Request) {
		r.ProtoMajor = 2
		r.Header.Set("Content-Type", "application/grpc")
	}, string(frame(0, []byte("x"))))
	if n := strings.Count(logs.String(), "a defect at x"); n != 2 {
		t.Errorf("%d lines tell of 2 defects:\n%s", n, logs)
	}
	if !strings.Contains(logs.String(), "level=ERROR") || !strings.Contains(logs.String(), "panic_test.go") {
		t.Errorf("the log does not say where:\n%s", logs)
	}
	if n := d.inflight.Used(); n != 0 {
		t.Errorf("%d bytes are still charged", n)
	}
}
