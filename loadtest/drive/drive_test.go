package drive

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/generate"
)

func TestHistogram(t *testing.T) {
	h := new(Histogram)
	if h.Quantile(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
	for us := range 10_000 {
		h.Add(time.Duration(us+1) * time.Microsecond)
	}
	f := func(q float64, want time.Duration) {
		t.Helper()
		if got := h.Quantile(q); got < want || got > want+want/40+time.Microsecond {
			t.Errorf("quantile %g is %v, want %v or a little more", q, got, want)
		}
	}
	f(0, time.Microsecond)
	f(0.005, 50*time.Microsecond)
	f(0.5, 5*time.Millisecond)
	f(0.99, 9900*time.Microsecond)
	f(1, 10*time.Millisecond)
	other := new(Histogram)
	other.Add(time.Hour)
	h.Merge(other)
	if h.Count() != 10_001 || h.Max() != time.Hour || h.Quantile(1) != time.Hour {
		t.Errorf("merged: %d, longest %v, all within %v", h.Count(), h.Max(), h.Quantile(1))
	}
	points := h.Points()
	for i := 1; i < len(points); i++ {
		if points[i].Q <= points[i-1].Q || points[i].D < points[i-1].D {
			t.Errorf("points do not ascend: %v", points)
		}
	}
}

func TestBucketsHoldWhatTheySay(t *testing.T) {
	last := -1
	for us := time.Duration(0); us < 1e9; us += 1 + us/100 {
		d := us * time.Microsecond
		i := bucket(d)
		if i < last || bound(i) < d {
			t.Fatalf("%v is in bucket %d, which ends at %v, after bucket %d", d, i, bound(i), last)
		}
		last = i
	}
}

// load is a Load of small pushes to a handler.
func load(t *testing.T, h http.HandlerFunc) *Load {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	w, err := generate.New(generate.Spec{Kind: generate.RemoteWriteV1, Items: 3, Series: 9})
	if err != nil {
		t.Fatal(err)
	}
	return &Load{URL: s.URL, Work: w, Conns: 2, Clients: []Client{{Token: "a", User: "x"}, {Token: "b", User: "y"}}}
}

func TestOutcomesAreBooked(t *testing.T) {
	var n atomic.Int64
	statuses := []int{204, 503, 502, 429, 200, 504, 400, 302}
	l := load(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(statuses[int(n.Add(1)-1)%len(statuses)]) })
	l.From = 100
	out := l.Run(t.Context(), 16, nil)
	if out.Pushes != 4 || out.Items != 12 || out.Next != 116 || out.Unknown.Items != 12 || out.Latency.Count() != 4 || out.Refusal.Count() != 12 {
		t.Errorf("%+v", out.Answers)
	}
	for _, status := range statuses {
		if out.Answers[status] != 2 {
			t.Errorf("%d was answered %d times, want 2", status, out.Answers[status])
		}
	}
	if sum := out.Accepted["x"]; sum.Items+out.Accepted["y"].Items != 12 {
		t.Errorf("accepted: %v", out.Accepted)
	}
}

func TestNoAnswerIsUnknown(t *testing.T) {
	l := load(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	out := l.Run(t.Context(), 4, nil)
	if out.Answers[0] != 4 || out.Unknown.Items != 12 || out.Err() == nil {
		t.Errorf("%v, %v, %v", out.Answers, out.Unknown, out.Err())
	}
}

// TestWaitingCounts: with one connection and a rate, pushes that had to wait for a slow one count their waiting.
func TestWaitingCounts(t *testing.T) {
	const held = 200 * time.Millisecond
	var n atomic.Int64
	l := load(t, func(http.ResponseWriter, *http.Request) {
		if n.Add(1) == 1 {
			<-time.After(held)
		}
	})
	l.Conns, l.Rate = 1, 1000
	out := l.Run(t.Context(), 100, nil)
	// The last of them was to begin 99 ms after the first, and could not before that was answered.
	if fastest := out.Latency.Quantile(0); fastest < held-99*time.Millisecond {
		t.Errorf("a push that waited for another says %v", fastest)
	}
	if out.Pushes != 100 {
		t.Errorf("%d pushes", out.Pushes)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	l := load(t, func(http.ResponseWriter, *http.Request) {})
	l.Rate = 0.001 // the second push would be in a quarter of an hour
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if out := l.Run(ctx, 0, nil); out.Pushes != 1 {
		t.Errorf("%d pushes, want 1", out.Pushes)
	}
}

// TestEarlyRefusal: a server that answers before it has read leaves the transport reading a push while the next is made.
func TestEarlyRefusal(t *testing.T) {
	l := load(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	work, err := generate.New(generate.Spec{Kind: generate.RemoteWriteV1, Items: 2000, Series: 4000})
	if err != nil {
		t.Fatal(err)
	}
	l.Work, l.Conns = work, 4
	out := l.Run(t.Context(), 60, nil)
	// Where the connection was closed meanwhile there may be no answer.
	if out.Pushes != 0 || out.Answers[0]+out.Answers[503] != 60 {
		t.Errorf("%v, %v", out.Answers, out.Err())
	}
}

func TestPath(t *testing.T) {
	f := func(path, want string) {
		t.Helper()
		var got atomic.Pointer[string]
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got.Store(&r.URL.Path) }))
		defer s.Close()
		work, err := generate.New(generate.Spec{Kind: generate.RemoteWriteV2, Items: 10, Series: 10})
		if err != nil {
			t.Fatal(err)
		}
		l := Load{URL: s.URL, Path: path, Work: work, Clients: []Client{{}}, Conns: 1}
		if out := l.Run(t.Context(), 1, nil); out.Pushes != 1 || *got.Load() != want {
			t.Errorf("%d pushes, the last to %s, want %s", out.Pushes, *got.Load(), want)
		}
	}
	f("", "/api/v1/push")
	f("/api/v1/write", "/api/v1/write")
}
