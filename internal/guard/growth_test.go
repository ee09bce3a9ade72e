package guard

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// table is what the table of series does for the guard: it knows which are live.
type table struct {
	t        *testing.T
	g        *Guard
	live     map[string]tableSeries
	refused  int
	last     Refusal
	policies map[string]*Policy
}

type tableSeries struct {
	ref    uint32
	window int64
	labels []labels.Label
}

func newTable(t *testing.T, environment Limits, clients ...string) *table {
	tb := &table{t: t, g: New(Options{Started: start, ExampleValues: true}), live: map[string]tableSeries{}, policies: map[string]*Policy{}}
	environment.Key = environmentKey
	for _, c := range clients {
		tb.policies[c] = tb.g.Policy(sender(c), environment, Limits{}, false, []string{"cluster"})
		tb.policies[c].TakeEffect()
	}
	return tb
}

// push sends one series, as a push of client would.
func (tb *table) push(now time.Time, client string, ls []labels.Label) {
	key := client
	for _, l := range ls {
		key += "\x00" + l.Name + "\x00" + l.Value
	}
	s, ok := tb.live[key]
	if window := now.Unix() / windowSeconds; ok {
		if s.window != window {
			s.window = window
			tb.live[key] = s
			tb.g.Refresh(now, s.ref, ls)
		}
		return
	}
	ref, r, refused := tb.policies[client].Admit(now, ls, 1)
	if refused {
		tb.refused++
		tb.last = r
		return
	}
	tb.live[key] = tableSeries{ref: ref, window: now.Unix() / windowSeconds, labels: ls}
}

// pods pushes the established series of a metric: pods, methods and paths.
func (tb *table) pods(now time.Time, client, metric string, n int) {
	for i := range n {
		tb.push(now, client, series(metric, "pod", fmt.Sprint("pod-", i), "method", []string{"GET", "PUT"}[i%2], "path", fmt.Sprint("/", i%7), "cluster", "c"))
	}
}

// named is what the last refusal, and the report, say.
func (tb *table) named(now time.Time, metric, label, client string) {
	tb.t.Helper()
	if tb.refused > 0 {
		p := tb.policies[client]
		if g := p.space.grew(tb.last.Metric); tb.last.Metric != metric || g.label != label {
			tb.t.Errorf("at %s: %s of %s is blamed, want %s of %s", now.Sub(start), g.label, tb.last.Metric, label, metric)
		}
	}
	r := tb.g.Report(now, ReportOptions{}).Spaces[0]
	top := r.Growing[0]
	if top.Metric != metric || top.TopClient != client || len(top.Labels) == 0 || top.Labels[0].Label != label {
		tb.t.Errorf("at %s: the report says %+v, want %s, %s, %s", now.Sub(start), top, metric, label, client)
	}
	if tb.refused > 0 {
		i := slices.IndexFunc(r.Refusals, func(f RefusalReport) bool { return f.Metric == metric && f.Client == client })
		if i < 0 || r.Refusals[i].Label != label {
			tb.t.Errorf("at %s: the refusals do not name %s, %s, %s: %+v", now.Sub(start), metric, label, client, r.Refusals)
		}
	}
}

// settle lets the established series be known for half an hour.
func (tb *table) settle(pods int) time.Time {
	now := start
	for ; now.Before(start.Add(30 * time.Minute)); now = now.Add(5 * time.Minute) {
		tb.pods(now, "app", "requests_total", pods)
		tb.pods(now, "web", "requests_total", pods/2)
		tb.pods(now, "web", "latency_seconds", pods)
	}
	return now
}

// TestOneLabelExplodes: a label that is new on one metric of one client is named within a minute, however fast it grows.
func TestOneLabelExplodes(t *testing.T) {
	f := func(limits Limits, pods, perMinute int) {
		t.Helper()
		tb := newTable(t, limits, "app", "web")
		now := tb.settle(pods)
		known := len(tb.live)
		for i := range perMinute {
			// Other clients go on as they do: a new pod now and then.
			if i%20 == 0 {
				tb.push(now, "web", series("requests_total", "pod", fmt.Sprint("new-", i), "method", "GET", "path", "/1", "cluster", "c"))
			}
			tb.push(now.Add(time.Duration(i)*time.Minute/time.Duration(perMinute)), "app",
				series("requests_total", "pod", fmt.Sprint("pod-", i%pods), "method", "GET", "path", "/1", "cluster", "c", "user_id", fmt.Sprint("u", i)))
		}
		if limits.ActiveSeriesPerMetric+limits.ActiveSeries > 0 && tb.refused < 30 {
			t.Fatalf("only %d were refused, %d were known", tb.refused, known)
		}
		tb.named(now.Add(time.Minute), "requests_total", "user_id", "app")
	}
	f(Limits{}, 100, 60)
	f(Limits{}, 300, 5000)
	f(Limits{ActiveSeriesPerMetric: 160}, 100, 60)
	f(Limits{ActiveSeriesPerMetric: 160}, 100, 1000)
	f(Limits{ActiveSeriesPerMetric: 500}, 300, 10000)
	f(Limits{ActiveSeries: 270}, 100, 100)
}

// TestConstantGrowth: what has been growing by as much in every window for hours is still what grows, at any moment.
func TestConstantGrowth(t *testing.T) {
	f := func(limits Limits, perMinute int, repeat bool) {
		t.Helper()
		tb := newTable(t, limits, "app", "web")
		now := tb.settle(50)
		n := 0
		for minute := range 120 {
			now = now.Add(time.Minute)
			tb.pods(now, "app", "requests_total", 50)
			tb.push(now, "web", series("requests_total", "pod", fmt.Sprint("new-", minute), "method", "GET", "path", "/1", "cluster", "c"))
			n += perMinute
			from := n - perMinute
			if repeat {
				from = 0 // what was refused comes again with every push
			}
			for i := from; i < n; i++ {
				tb.push(now, "app", series("requests_total", "pod", "pod-1", "method", "GET", "path", "/1", "cluster", "c", "user_id", fmt.Sprint("u", i)))
			}
			if minute > 5 && minute%7 == 0 {
				tb.last.Metric = "requests_total"
				tb.named(now, "requests_total", "user_id", "app")
			}
		}
		g := tb.g.Report(now, ReportOptions{}).Spaces[0].Growing[0].Labels[0]
		if g.Since == nil || g.Since.After(start.Add(35*time.Minute)) {
			t.Errorf("it grows since %v, which began at %v", g.Since, start.Add(31*time.Minute))
		}
	}
	f(Limits{}, 5, false)
	f(Limits{}, 100, false)
	f(Limits{ActiveSeriesPerMetric: 150}, 5, false)
	f(Limits{ActiveSeriesPerMetric: 150}, 5, true)
}

// TestTwoLabelsGrow: of two the one with more new values is named, and of equals the first by name.
func TestTwoLabelsGrow(t *testing.T) {
	f := func(n int, more func(i int) (session, user string), label string) {
		t.Helper()
		tb := newTable(t, Limits{ActiveSeriesPerMetric: 200}, "app", "web")
		now := tb.settle(100)
		for i := range n {
			session, user := more(i)
			tb.push(now, "app", series("requests_total", "pod", "pod-1", "session_id", session, "user_id", user, "zone", fmt.Sprint(i%3)))
		}
		tb.named(now, "requests_total", label, "app")
	}
	same := func(i int) (string, string) { return fmt.Sprint("s", i), fmt.Sprint("u", i) }
	f(100, same, "session_id")
	f(3000, same, "session_id")
	f(30000, same, "session_id")
	f(100, func(i int) (string, string) { return fmt.Sprint("s", i/2), fmt.Sprint("u", i) }, "user_id")
	f(20000, func(i int) (string, string) { return fmt.Sprint("s", i/2), fmt.Sprint("u", i) }, "user_id")
	f(20000, func(i int) (string, string) { return fmt.Sprint("s", i), fmt.Sprint("u", i/2) }, "session_id")
}

// TestStartIsNoGrowth: what was refused is blamed on values that only refused series have, also where all is new.
func TestStartIsNoGrowth(t *testing.T) {
	tb := newTable(t, Limits{ActiveSeriesPerMetric: 1500}, "app", "web")
	tb.pods(start, "app", "requests_total", 1450)
	for i := range 100 {
		tb.push(start.Add(time.Minute), "app", series("requests_total", "pod", fmt.Sprint("pod-", i), "user_id", fmt.Sprint("u", i)))
	}
	if g := tb.policies["app"].space.grew("requests_total"); g.label != "user_id" {
		t.Errorf("%s is blamed: %+v", g.label, g)
	}
}

func TestReport(t *testing.T) {
	tb := newTable(t, Limits{ActiveSeries: 1000, ActiveSeriesPerMetric: 120}, "app", "web")
	tb.pods(start, "app", "requests_total", 100)
	tb.pods(start.Add(time.Minute), "web", "requests_total", 10)
	tb.pods(start.Add(time.Minute), "web", "small", 5)
	for i := range 50 {
		tb.push(start.Add(2*time.Minute), "app", series("requests_total", "user_id", fmt.Sprintf("u%02d", i), "cluster", "c"))
	}
	r := tb.g.Report(start.Add(3*time.Minute), ReportOptions{Top: 1})
	s := r.Spaces[0]
	if r.MetricNames != 2 || s.Environment != "prod" || s.Signal != "metrics" || s.Active != 125 || s.Limit != 1000 || s.NewSeries != 125 || s.RefusedSeries != 40 {
		t.Errorf("%+v", s)
	}
	if len(s.Clients) != 2 || s.Clients[0].Client != "app" || s.Clients[0].Active != 110 || s.Clients[0].RefusedSeries != 40 || s.Clients[1].Metrics != 2 {
		t.Errorf("clients: %+v", s.Clients)
	}
	if len(s.Largest) != 1 || len(s.Growing) != 1 {
		t.Fatalf("%d and %d metrics, want one each", len(s.Largest), len(s.Growing))
	}
	m := s.Largest[0]
	if m.Metric != "requests_total" || m.Active != 120 || !m.Watched || m.TopClient != "app" {
		t.Errorf("%+v", m)
	}
	var names []string
	for _, l := range m.Labels {
		names = append(names, l.Label)
		if l.Label == "user_id" && (l.Values != 50 || l.Since == nil || !slices.Equal(l.Examples, []string{"u49", "u48", "u47", "u46", "u45"})) {
			t.Errorf("%+v", l)
		}
	}
	if m.GrowingLabel != "user_id" || !slices.Equal(names, []string{"user_id", "pod", "path", "method"}) {
		t.Errorf("labels by growth: %v (the stamp and the name are none), to blame: %s", names, m.GrowingLabel)
	}
	if len(s.Refusals) != 1 {
		t.Fatalf("refusals: %+v", s.Refusals)
	}
	f := s.Refusals[0]
	want := RefusalReport{Client: "app", Metric: "requests_total", Label: "user_id", Reason: "active_series_per_metric", Key: environmentKey + ".active_series_per_metric",
		Limit: 120, Count: 121, Refused: 40, FirstTime: start.Add(2 * time.Minute), LastTime: start.Add(2 * time.Minute)}
	if f != want {
		t.Errorf("got %+v, want %+v", f, want)
	}
	// Without examples, and an hour later nothing is recent.
	tb.g.SetExampleValues(false)
	s = tb.g.Report(start.Add(63*time.Minute), ReportOptions{Environment: "prod"}).Spaces[0]
	if s.NewSeries != 0 || s.RefusedSeries != 0 || len(s.Refusals) != 0 || len(s.Growing) != 0 || s.Active != 125 {
		t.Errorf("an hour later: %+v", s)
	}
	if n := len(tb.g.Report(start, ReportOptions{Environment: "dev"}).Spaces); n != 0 {
		t.Errorf("%d environments are named dev", n)
	}
}
