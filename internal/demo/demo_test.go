package demo

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ungzip(b []byte) []byte {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		panic(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		panic(err)
	}
	return out
}

// viewer ends a demo when it has seen what it came for.
type viewer struct {
	strings.Builder
	want []string
	end  func()
}

func (v *viewer) Write(b []byte) (int, error) {
	v.Builder.Write(b)
	if len(v.missing()) == 0 {
		v.end()
	}
	return len(b), nil
}

func (v *viewer) missing() (out []string) {
	for _, w := range v.want {
		if !strings.Contains(v.String(), w) {
			out = append(out, w)
		}
	}
	return out
}

// play runs a fast demo over a stand-in until it has shown all of want, but not for ever. summary is what it ends with.
func play(t *testing.T, g *standIn, want ...string) (out *viewer, summary string, err error) {
	t.Helper()
	ctx, end := context.WithTimeout(t.Context(), 20*time.Second)
	defer end()
	out = &viewer{want: want, end: end}
	err = Run(ctx, Options{Start: g.start, Out: out, Pace: 20 * time.Millisecond, FaultEvery: 60 * time.Millisecond, DrawEvery: 100 * time.Millisecond, Seed: 7})
	all := out.String()
	return out, all[max(0, strings.LastIndex(all, " pushes with ")):], err
}

func TestDemoBalances(t *testing.T) {
	out, summary, err := play(t, &standIn{},
		"prod-metrics 53715", "prod-logs 25836", "prod-otlp 123456", "dev-metrics 61042", "dev-logs 30417", "dev-otlp 240977",
		"RW 1.0", "RW 2.0", "Loki JSON", "OTLP gRPC", "OTLP JSON", "200×", "204×", "OK×", "401×", "429×", "400×", "intruder",
		"samples of go_gc_cycles_total dropped", "without the label pod_uid", "label pod moved", "keep the label replica",
		"new values of user_id refused", "20 items refused (values_per_label)", "api/v1/status/collisions")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if m := out.missing(); len(m) > 0 {
		t.Errorf("the view lacks %q:\n%s", m, out)
	}
	for _, want := range []string{"✓ balanced", "lost 0", "Nothing was lost", "acknowledged items arrived"} {
		if !strings.Contains(summary, want) {
			t.Errorf("the summary lacks %q:\n%s", want, summary)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("escape sequences on what is no terminal")
	}
}

// A gateway that is not right must not look right.
func TestDemoNotices(t *testing.T) {
	f := func(name, fine string, misbehave func(*standIn)) {
		t.Helper()
		var g standIn
		misbehave(&g)
		_, summary, err := play(t, &g, "NOT BALANCED")
		if !errors.Is(err, ErrUnbalanced) || !strings.Contains(summary, "NOT BALANCED") || strings.Contains(summary, fine) {
			t.Errorf("%s: %v, and the summary has %q, or no verdict:\n%s", name, err, fine, summary)
		}
	}
	f("lost", "lost 0 ", func(g *standIn) { g.lie.Store(true) })
	f("doubled", "  doubled 0  ", func(g *standIn) { g.double.Store(true) })
	f("not stamped", "  misplaced 0  ", func(g *standIn) { g.unstamped.Store(true) })
	f("changed", "  altered 0  ", func(g *standIn) { g.garble.Store(true) })
	f("not dropped", "  altered 0  ", func(g *standIn) { g.unruly.Store(true) })
	f("refused in secret", "lost 0 ", func(g *standIn) { g.greedy.Store(true) })
}

func TestDemoEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var g standIn
	var out bytes.Buffer
	ended := make(chan error)
	go func() {
		ended <- Run(ctx, Options{
			Out: &out, Pace: 10 * time.Millisecond, FaultEvery: time.Hour,
			Start: func(c context.Context, path string, log *slog.Logger) (*Running, error) {
				defer time.AfterFunc(300*time.Millisecond, cancel)
				return g.start(c, path, log)
			},
		})
	}()
	if err := <-ended; err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "Nothing was lost") {
		t.Errorf("no summary:\n%s", out.String())
	}
}

func TestStartFails(t *testing.T) {
	broken := errors.New("no such thing")
	err := Run(t.Context(), Options{Out: io.Discard, Start: func(context.Context, string, *slog.Logger) (*Running, error) { return nil, broken }})
	if !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// Without a viewer the demo ends, and takes everything with it.
func TestViewFails(t *testing.T) {
	var g standIn
	err := Run(t.Context(), Options{Out: closedPipe{}, Start: g.start, Pace: 10 * time.Millisecond, DrawEvery: 50 * time.Millisecond})
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v", err)
	}
}

// What a sender means and what the cloud reads are the same, in every dialect.
func TestSightings(t *testing.T) {
	at := time.Now().Truncate(time.Millisecond)
	for name, d := range dialects() {
		p := &fakecloud.Push{Endpoint: d.endpoint}
		d.compose(p, "prod/x", 100, 7, at)
		seen := sightings(p, effects{})
		if len(seen) != 7 {
			t.Errorf("%s: %d items, want 7", name, len(seen))
			continue
		}
		digests, numbers := map[uint64]bool{}, map[uint64]bool{}
		for _, s := range seen {
			if s.sender != "prod/x" || s.seq < 100 || s.seq > 106 {
				t.Errorf("%s: %+v", name, s)
			}
			digests[s.digest], numbers[s.seq] = true, true
		}
		if len(digests) != 7 || len(numbers) != 7 {
			t.Errorf("%s: items look alike", name)
		}
		other := &fakecloud.Push{Endpoint: d.endpoint}
		d.compose(other, "prod/x", 100, 7, at.Add(time.Millisecond))
		if sightings(other, effects{})[0].digest == seen[0].digest {
			t.Errorf("%s: another time, the same digest", name)
		}
	}
}

func sample() snapshot {
	s := snapshot{
		up: 42 * time.Second, http: "127.0.0.1:40001", grpc: "127.0.0.1:40002", admin: "127.0.0.1:40003", url: "http://127.0.0.1:40004",
		rows: []row{
			{env: "prod", client: "payments", protocol: "RW 1.0", signal: "metrics", pushes: 1234, sent: 1234567, stored: 1234567,
				answers: map[string]int{"200": 1230, "429": 3, "503": 1}, users: []string{"prod-metrics 53715"}, p50: 7200 * time.Microsecond, p99: 48 * time.Millisecond},
			{env: "dev", client: "worker", protocol: "OTLP gRPC", signal: "logs", pushes: 12, sent: 180, stored: 165, waiting: 15,
				answers: map[string]int{"OK": 11, "UNAVAIL": 5, "EXHAUST": 2}, users: []string{"dev-otlp 240977"}, p50: time.Millisecond, p99: time.Second},
			{env: stranger, client: "intruder", protocol: "RW 1.0", signal: "metrics", pushes: 9, sent: 45, answers: map[string]int{"401": 9}},
		},
		sum: totals{sent: 1234792, stored: 1234732, refused: 45, waiting: 15, resent: 12},
	}
	for range 20 {
		s.events = append(s.events, event{time.Now(), note, strings.Repeat("a long event ", 20)})
	}
	return s
}

func TestFrameFits(t *testing.T) {
	for _, width := range []int{1, 20, 80, 99, 100, 120, 200} {
		for _, height := range []int{0, 1, 10, 24, 60} {
			lines := frame(sample(), width, height)
			if height > 0 && len(lines) > height {
				t.Errorf("%dx%d: %d lines", width, height, len(lines))
			}
			for _, l := range lines {
				n := 0
				for _, piece := range l {
					n += utf8.RuneCountInString(piece.s)
				}
				if n > width {
					t.Errorf("%dx%d: a line of %d columns", width, height, n)
				}
			}
		}
	}
}

func TestFrameSays(t *testing.T) {
	f := func(width int, change func(*snapshot), want ...string) {
		t.Helper()
		s := sample()
		if change != nil {
			change(&s)
		}
		var b bytes.Buffer
		write(&b, frame(s, width, 40), false, "")
		for _, w := range want {
			if !strings.Contains(b.String(), w) {
				t.Errorf("width %d lacks %q:\n%s", width, w, b.String())
			}
		}
	}
	f(80, nil, " payments   RW 1.0     1,234   1.23M   1.23M  53715       7.2/48  200×1,230 ",
		"doubled 0  re-sent and stored twice 12",
		"✓ balanced  1.23M sent = 1.23M stored + 45 refused + 15 waiting")
	f(100, func(s *snapshot) { s.sum.dropped, s.sum.sent = 9, s.sum.sent+9 }, "15 waiting + 9 dropped")
	f(110, nil, "metrics", "prod-metrics 53715", "status page: http://127.0.0.1:40003/", "OK×11 UNAVAIL×5 EXHAUST")
	f(110, func(s *snapshot) { s.sum.lost, s.sum.stored = 1, s.sum.stored-1 }, "✗ NOT BALANCED", "lost 1 ")
	f(110, func(s *snapshot) { s.violations = []string{"label a twice"} }, "✗ NOT BALANCED", "label a twice")
	f(110, func(s *snapshot) { s.rows[0].users = []string{"dev-metrics 1", "prod-metrics 2"} }, "dev-metrics 1,prod…")
}

func TestSmallScreenShowsTheBooks(t *testing.T) {
	s := sample()
	s.added50 = time.Millisecond
	for len(s.rows) < 11 {
		s.rows = append(s.rows, s.rows[len(s.rows)-1])
	}
	var b bytes.Buffer
	write(&b, frame(s, 80, 23), false, "")
	for _, w := range []string{"balanced", "lost 0", "the gateway adds p50 1.0 ms", "a long event"} {
		if !strings.Contains(b.String(), w) {
			t.Errorf("80x24 lacks %q:\n%s", w, b.String())
		}
	}
}

func TestPaint(t *testing.T) {
	if got := paint(text{good, "x"}, true); got != "\x1b[32mx\x1b[0m" {
		t.Errorf("%q", got)
	}
	if got := paint(text{good, "x"}, false); got != "x" {
		t.Errorf("%q", got)
	}
}

func TestLogHandler(t *testing.T) {
	b := newBooks()
	log := slog.New(&logHandler{books: b}).With("environment", "prod").WithGroup("g")
	log.Info("not shown")
	log.Warn("upstream refuses us", "code", 401)
	if len(b.events) != 1 || b.events[0].text != "gateway: upstream refuses us environment=prod code=401" {
		t.Errorf("%+v", b.events)
	}
}

// A late double is a defect, unless its push had been sent more than once.
func TestLateDoubles(t *testing.T) {
	f := func(retried bool, resent, doubled uint64) {
		t.Helper()
		d := dialects()["rw1"]
		b := newBooks()
		b.enter("prod/x", "prod", "x", d)
		p := &fakecloud.Push{Endpoint: d.endpoint, Instance: fakecloud.Instance{Name: "prod-metrics", User: "1"}}
		d.compose(p, "prod/x", 0, 3, time.Now())
		b.begin("prod/x", sightings(p, effects{}))
		b.sighted(p)
		if retried {
			b.retry("prod/x")
		}
		b.finish("prod/x", answer{verdict: accepted})
		b.sighted(p)
		a := b.accounts["prod/x"]
		if a.stored != 3 || a.resent != resent || a.doubled != doubled {
			t.Errorf("retried %v: stored %d, resent %d, doubled %d", retried, a.stored, a.resent, a.doubled)
		}
	}
	f(false, 0, 3)
	f(true, 3, 0)
}

func TestQuantiles(t *testing.T) {
	var took []time.Duration
	for i := 100; i > 0; i-- {
		took = append(took, time.Duration(i))
	}
	if p50, p99 := quantiles(took); p50 != 50 || p99 != 99 {
		t.Errorf("%d, %d", p50, p99)
	}
	if p50, p99 := quantiles([]time.Duration{5}); p50 != 5 || p99 != 5 {
		t.Errorf("%d, %d", p50, p99)
	}
}
