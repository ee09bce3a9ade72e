package reduce

import (
	"bytes"
	"log/slog"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	prom "github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/guard"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// began is when the processes of these tests begin.
var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// rig is an Engine with a clock and a log.
type rig struct {
	*Engine
	t   testing.TB
	now time.Time
	log *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newRig(t testing.TB, o Options) *rig {
	r := &rig{t: t, now: began, log: new(lockedBuffer)}
	o.Log, o.Began, o.ExampleValues = slog.New(slog.NewTextHandler(r.log, nil)), began, true
	if o.MaxSeries == 0 {
		o.MaxSeries = 1 << 20
	}
	r.Engine = New(o)
	return r
}

// wait lets d pass, and sweeps; in the end all that is idle is gone.
func (r *rig) wait(d time.Duration) {
	for end := r.now.Add(d); r.now.Before(end); {
		r.now = r.now.Add(min(time.Minute, end.Sub(r.now)))
		r.Sweep(r.now)
	}
	for range r.table.Shards() {
		r.table.Sweep(r.minute(r.now))
	}
}

func rules(t testing.TB, text string) []*prom.Config {
	t.Helper()
	var list []*prom.Config
	if err := yaml.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if err := c.Validate(model.UTF8Validation); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// metrics is a policy for metrics of client app in environment prod.
func (r *rig) metrics(text string, change ...func(*Settings)) *Policy {
	r.t.Helper()
	s := Settings{Environment: "prod", Client: "app", Signal: ingest.Metrics, Rules: rules(r.t, text)}
	for _, f := range change {
		f(&s)
	}
	p := r.Policy(s)
	r.Adopt([]*Policy{p})
	return p
}

// sent is one series of a push.
type sent struct {
	labels string // name=value,name=value; a name that is missing is __name__
	times  []int64
	stale  int
	weight int
	lines  int // items without a time
}

// at is a series with samples at times, in seconds since began.
func at(ls string, seconds ...int64) sent {
	s := sent{labels: ls, weight: 1}
	for _, t := range seconds {
		s.times = append(s.times, began.UnixMilli()+t*1000)
	}
	return s
}

// ends is a series of which a push holds nothing but a stale marker.
func ends(ls string) sent { return sent{labels: ls, stale: 1, weight: 1} }

func parse(text string) []labels.Label {
	var ls []labels.Label
	for part := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			name, value = "__name__", part
		}
		ls = append(ls, labels.Label{Name: name, Value: value})
	}
	return ls
}

// show writes labels as parse reads them, sorted.
func show(ls []labels.Label) string {
	var parts []string
	for _, l := range ls {
		if l.Name == "__name__" {
			parts = append(parts, l.Value)
		} else {
			parts = append(parts, l.Name+"="+l.Value)
		}
	}
	sort.Strings(parts)
	return strings.Join(parts, ",")
}

// got is what became of a push.
type got struct {
	left    []string // of each series: its labels, or its verdict, and "no marker" after it if stale markers are dropped
	outcome Outcome
}

// push sends series through p, as a door does that shows labels in view Plain.
func (r *rig) push(p *Policy, all ...sent) got {
	r.t.Helper()
	return r.pushIn(p, Plain, all...)
}

func (r *rig) pushIn(p *Policy, v View, all ...sent) got {
	r.t.Helper()
	for _, one := range all {
		for _, t := range one.times {
			if at := time.UnixMilli(t).UTC(); at.After(r.now) && at.Before(r.now.Add(2*time.Hour)) {
				r.now = at // nothing is sent before it is, but where a clock is wrong
			}
		}
	}
	push := p.Begin(r.now, v, func(int) *fault.Error { return nil })
	defer push.Close()
	red := &push.Reducer
	ss, err := red.Room(nil, len(all))
	if err != nil {
		r.t.Fatal(err)
	}
	sets := make([][]labels.Label, len(all))
	for i, one := range all {
		sets[i] = parse(one.labels)
		red.Keys.Begin()
		for _, l := range sets[i] {
			red.Keys.Add([]byte(l.Name), []byte(l.Value))
		}
		s := &ss[i]
		s.Key, s.Overwritten = red.Keys.End()
		s.First, s.Last = 1, 0
		for j, t := range one.times {
			if j == 0 {
				s.First, s.Last = t, t
			}
			s.First, s.Last = min(s.First, t), max(s.Last, t)
		}
		s.Items, s.Stale, s.Weight = int32(len(one.times)+one.stale+one.lines), int32(one.stale), int32(one.weight)
	}
	view := func(i int, set *labels.Set) {
		for _, l := range p.settings.Stamps {
			set.Add(l, red.Keys.Sum(labels.Own, []byte(l.Name), []byte(l.Value)))
		}
		for _, l := range sets[i] {
			set.Add(l, red.Keys.Sum(labels.Own, []byte(l.Name), []byte(l.Value)))
		}
		set.Sort()
	}
	red.Judge(ss, view)
	g := got{outcome: push.Outcome()}
	items, dropped, refused, superseded := 0, 0, 0, 0
	var set labels.Set
	for i := range ss {
		set.Reset()
		view(i, &set)
		text := [...]string{"", "dropped", "refused"}[ss[i].Verdict]
		if ss[i].Verdict == ingest.Pass {
			text = show(ss[i].Change.Append(nil, set.All))
			if c := ss[i].Change; c != nil && len(c.Move) > 0 {
				text += " moved " + show(c.Move)
			}
		}
		if ss[i].DropStale {
			text += " no marker"
			superseded += int(ss[i].Stale)
		}
		switch ss[i].Verdict {
		case ingest.Drop:
			dropped += int(ss[i].Items)
		case ingest.Refuse:
			refused += int(ss[i].Items)
		}
		g.left = append(g.left, text)
		items += int(ss[i].Items)
	}
	if d, f := sum(g.outcome.Dropped), sum(g.outcome.Refused); d != dropped+superseded || f != refused {
		r.t.Errorf("of %d items %d were dropped, %d superseded and %d refused, and the outcome says %d and %d", items, dropped, superseded, refused, d, f)
	}
	g.outcome.Book()
	return g
}

func sum(all []ingest.Refusal) (n int) {
	for _, r := range all {
		n += r.Items
	}
	return n
}

// active is how many series the guard counts, of all senders.
func (r *rig) active() (n int) {
	r.Guard().Each(func(_ guard.Sender, active int) { n += active })
	return n
}

// wantActive compares what the guard counts.
func (r *rig) wantActive(want int) {
	r.t.Helper()
	if n := r.active(); n != want {
		r.t.Errorf("%d active series, want %d", n, want)
	}
}

// drain lets everything become idle: then nobody holds a place any more.
func (r *rig) drain() {
	r.t.Helper()
	r.wait(50 * time.Minute)
	r.wantActive(0)
	if n, _ := r.Entries(); n != 0 {
		r.t.Errorf("the table holds %d entries after all have become idle", n)
	}
}

// want pushes and compares what left.
func (r *rig) want(p *Policy, all []sent, want ...string) got {
	r.t.Helper()
	g := r.push(p, all...)
	if strings.Join(g.left, " | ") != strings.Join(want, " | ") {
		r.t.Errorf("left\n\t%s\nwant\n\t%s", strings.Join(g.left, " | "), strings.Join(want, " | "))
	}
	return g
}
