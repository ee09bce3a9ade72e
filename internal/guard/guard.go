// Package guard decides whether a new series may come, and says what explodes: which label of which metric, and who sends it.
// It counts series per environment, client and metric, and distinct values per label, and it keeps sketches for the reports.
// It never knows which series are live (the table of series does), never touches one that is already admitted, never logs and
// starts no goroutine. internal/reduce asks it about series; internal/gateway asks it for texts and reports.
package guard

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// Limits are the limits of an environment or of one client, for one signal. 0: no limit.
type Limits struct {
	// Key is where they stand in the configuration, for texts: environments.prod.metrics.limits.
	Key string
	// KeyOf, if not nil, is the whole key of a limit such as active_series, where not all stand in one section.
	KeyOf func(limit string) string

	ActiveSeries          int
	ActiveSeriesPerMetric int
	ValuesPerLabel        int
	LabelsPerSeries       int
	LabelNameBytes        int
	LabelValueBytes       int
	LineBytes             int

	// Observe: what is over a limit is counted and reported, and goes through.
	Observe bool
}

// Options are what a Guard is made with.
type Options struct {
	// MaxMetrics is how many metric names are told apart, over all senders. Those beyond share one entry of their sender, which
	// counts for active_series and for no limit per metric or label. No client has more than half. Default 200000.
	MaxMetrics int
	// ExampleValues: texts and reports may show values of labels.
	ExampleValues bool
	// Warmup is how long after Started the limits on series and values admit 1.2 times as much: established series find their
	// place again before new ones take it.
	Warmup  time.Duration
	Started time.Time
	// Now is the clock for refusals that are told without a time: lengths and counts of labels, long lines. Default time.Now.
	Now func() time.Time
}

// Sender is who sends what.
type Sender struct{ Environment, Client, Signal string }

// Guard holds the counts of all senders. They live as long as the process; policies come and go with configurations.
type Guard struct {
	seed       *labels.Seed
	now        func() time.Time
	maxMetrics int64
	warmUntil  time.Time
	examples   atomic.Bool

	names atomic.Int64 // metrics told apart
	sets  atomic.Int64 // sets of values
	pairs slab

	mu     sync.Mutex // guards what follows
	spaces map[Sender]*space
	order  []*space
}

// New returns a Guard that has seen nothing.
func New(o Options) *Guard {
	if o.MaxMetrics <= 0 {
		o.MaxMetrics = 200_000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	g := &Guard{
		seed: labels.NewSeed(), now: o.Now, maxMetrics: int64(o.MaxMetrics), warmUntil: o.Started.Add(o.Warmup),
		spaces: map[Sender]*space{},
	}
	g.examples.Store(o.ExampleValues)
	return g
}

// SetExampleValues says whether texts and reports may show values of labels.
func (g *Guard) SetExampleValues(on bool) { g.examples.Store(on) }

// Policy returns what holds for s under one configuration: the limits of its environment and its own. Nothing of an exempt
// client is refused, and all of it is counted. stamps are names of labels that the gateway sets, which no client can vary.
// Counts belong to s: they are the same for every Policy of it. See TakeEffect.
func (g *Guard) Policy(s Sender, environment, client Limits, exempt bool, stamps []string) *Policy {
	sp := g.space(s.Environment, s.Signal)
	p := &Policy{
		g: g, space: sp, exempt: exempt,
		scopes:  [2]Limits{client, environment},
		fixed:   append([]string{"__name__"}, stamps...),
		uncount: append([]string{"__name__", "le", "quantile"}, stamps...),
	}
	for i, l := range p.scopes {
		for why := range reasons {
			if p.keys[i][why] = l.Key + "." + why.String(); l.KeyOf != nil {
				p.keys[i][why] = l.KeyOf(why.String())
			}
		}
		p.judges = p.judges || l.ActiveSeries > 0 || l.ActiveSeriesPerMetric > 0 || l.ValuesPerLabel > 0
	}
	p.judges = p.judges && !exempt
	sp.mu.Lock()
	defer sp.mu.Unlock()
	p.client = sp.sender(s.Client)
	p.client.policy.CompareAndSwap(nil, p) // before anybody sees the client
	return p
}

// TakeEffect makes p the policy of its sender for what comes without one: series that are refreshed, and reports. To be called
// once the configuration of p is in force: one that is refused after all must leave no trace.
func (p *Policy) TakeEffect() {
	p.client.policy.Store(p)
	if !p.exempt { // else it does not know the limits of its environment
		p.space.policy.Store(p)
	}
}

// Each calls f with every sender that ever had a Policy and the series it has now.
func (g *Guard) Each(f func(s Sender, active int)) {
	type count struct {
		Sender
		active int
	}
	for _, sp := range g.all() {
		var counts []count
		sp.mu.Lock()
		for _, c := range sp.clients {
			counts = append(counts, count{Sender{sp.environment, c.name, sp.signal}, int(c.active)})
		}
		sp.mu.Unlock()
		for _, c := range counts {
			f(c.Sender, c.active)
		}
	}
}

func (g *Guard) space(environment, signal string) *space {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := Sender{Environment: environment, Signal: signal}
	sp := g.spaces[key]
	if sp == nil {
		sp = newSpace(g, environment, signal)
		g.spaces[key] = sp
		g.order = append(g.order, sp)
	}
	return sp
}

// all are the spaces in the order they came.
func (g *Guard) all() []*space {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.order)
}

// inForce is limit at now: more during the warm-up.
func (g *Guard) inForce(now time.Time, limit int) int64 {
	if now.Before(g.warmUntil) {
		return int64(limit) + (int64(limit)+4)/5
	}
	return int64(limit)
}

// hash appends the fingerprint of each label: keyed, so that no client can make two values look like one.
func (g *Guard) hash(dst []uint64, ls []labels.Label) []uint64 {
	for i := range ls {
		dst = append(dst, g.seed.Text(labels.Own, ls[i].Name, ls[i].Value).Hi)
	}
	return dst
}
