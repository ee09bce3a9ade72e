package reduce

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/relabel"
	"github.com/telemetry-gateway/telemetry-gateway/internal/series"
)

const (
	// quiet is how long no two live series may meet before a suspension is lifted.
	quiet = series.IdleMinutes * time.Minute
	// patience is how long the log waits for the other of the two series that have met.
	patience = 30 * time.Second
	// maxCollisions bounds the metrics that are suspended or told of at once; beyond them second writers are refused.
	maxCollisions = 4096
)

// Collision is a metric of which rules, or stamps, would make two live series one.
type Collision struct {
	Environment string `json:"environment"`
	// Metric is the family: the name without _bucket, _sum, _count and _created.
	Metric string `json:"metric"`
	// Policy is what is done: suspend or reject.
	Policy string `json:"policy"`
	// Rule is the index of the rule after which the two are the same; -1: no rule, or not known yet.
	Rule     int    `json:"rule"`
	RuleText string `json:"rule_text,omitempty"`
	// Series are two of those that met, as they came, and Clients who sends them. The second may not be known yet.
	Series  []string  `json:"series,omitempty"`
	Clients []string  `json:"clients"`
	Since   time.Time `json:"since"`
	// Last is when two of them met last.
	Last time.Time `json:"last"`
}

// collisions are the metrics in which series have met.
type collisions struct {
	engine *Engine
	// suspended is how many metrics are: the one thing that is read on the way of every series.
	suspended atomic.Int32
	show      atomic.Bool
	total     [2]counters // by policy and environment

	mu       sync.Mutex // guards what follows
	byFamily map[familyKey]*collision
	byID     map[uint32]*collision
	ids      uint32
}

type familyKey struct {
	environment, family string
	policy              policy
}

type policy uint8

const (
	suspending policy = iota
	rejecting
)

func (p policy) String() string { return [...]string{"suspend", "reject"}[p] }

// collision is a Collision that goes on.
type collision struct {
	Collision
	key    familyKey
	id     uint32
	rules  *relabel.Rules
	first  []labels.Label // of the series that came second, to find the rule by
	owner  uint64         // who wrote before it, to be shown when it comes
	logged bool
}

func (c *collisions) init(e *Engine, show bool) {
	c.engine = e
	c.byFamily, c.byID = make(map[familyKey]*collision), make(map[uint32]*collision)
	c.show.Store(show)
}

func (c *collisions) showExamples(show bool) { c.show.Store(show) }

// holds says whether rules are held back for a metric.
func (c *collisions) holds(environment, family string) bool {
	if c.suspended.Load() == 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byFamily[familyKey{environment, family, suspending}] != nil
}

// begin suspends the metric of series i, which has met the one that owner writes. It reports false where too many are.
func (c *collisions) begin(p *Push, i int, owner uint64) bool {
	co := c.note(p, i, owner, suspending)
	return co != nil
}

// note makes an entry for the metric of series i, or says that it goes on.
func (c *collisions) note(p *Push, i int, owner uint64, how policy) *collision {
	p.look(i)
	res := p.rules.Apply(&p.scratch, &p.set)
	p.final = res.Change.Append(p.final[:0], p.set.All)
	second := cloneLabels(p.set.All)
	key := familyKey{p.policy.settings.Environment, strings.Clone(family(nameIn(p.final))), how}
	other := p.find(owner)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.total[how].of(key.environment).Add(1)
	co := c.byFamily[key]
	if co == nil {
		if len(c.byFamily) >= maxCollisions {
			return nil
		}
		c.ids++
		co = &collision{key: key, id: c.ids, rules: p.rules, first: second, owner: owner, Collision: Collision{
			Environment: key.environment, Metric: key.family, Policy: how.String(), Rule: -1, Since: p.now,
			Clients: []string{p.policy.settings.Client},
		}}
		co.Series = []string{c.text(second)}
		c.byFamily[key], c.byID[co.id] = co, co
		if how == suspending {
			c.suspended.Add(1)
			c.engine.renewAll(key.environment)
		}
	}
	co.Last = p.now
	if other != nil && co.owner == owner {
		c.complete(co, other, p.policy.settings.Client)
	}
	return co
}

// find returns the labels of the series of the push that is owner, if it is in it.
func (p *Push) find(owner uint64) []labels.Label {
	for j := range p.ss {
		if p.ss[j].Key.Lo == owner {
			p.look(j)
			return cloneLabels(p.set.All)
		}
	}
	return nil
}

// witness says which suspension series i belongs to, and completes it if that is the series it waits for.
func (c *collisions) witness(p *Push, i int) (id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	co := c.byFamily[familyKey{p.policy.settings.Environment, family(nameIn(p.final)), suspending}]
	if co == nil {
		return 0 // lifted a moment ago
	}
	if co.owner == p.ss[i].Key.Lo {
		c.complete(co, cloneLabels(p.set.All), p.policy.settings.Client)
	}
	return co.id
}

// complete notes the other of the two series, and which rule made them one. mu is held.
func (c *collisions) complete(co *collision, other []labels.Label, client string) {
	if co.logged {
		return
	}
	co.Series = append(co.Series, c.text(other))
	if !slices.Contains(co.Clients, client) {
		co.Clients = append(co.Clients, client)
	}
	co.Rule = co.rules.MergedBy(co.first, other)
	c.log(co)
}

// log tells of co, once. mu is held.
func (c *collisions) log(co *collision) {
	co.logged, co.first, co.owner = true, nil, 0
	text := "rules would make two live series one: their labels are kept as they came"
	if co.key.policy == rejecting {
		text = "two live series would become one: the second is refused"
	}
	if co.Rule >= 0 {
		co.RuleText = co.rules.Text(co.Rule)
	}
	c.engine.log.Warn(text, slog.String("environment", co.Environment), slog.String("metric", co.Metric), slog.Int("rule", co.Rule),
		slog.String("rule_text", co.RuleText), slog.Any("series", co.Series), slog.Any("clients", co.Clients), slog.String("on_collision", co.Policy))
}

// seen notes that two suspended series would still meet.
func (c *collisions) seen(id uint32, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if co := c.byID[id]; co != nil {
		co.Last = now
	}
}

// lift ends what has been quiet for long enough, and tells of what nobody has come to complete.
func (c *collisions) lift(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, co := range c.byFamily {
		if !co.logged && now.Sub(co.Since) > patience {
			c.log(co)
		}
		if now.Sub(co.Last) > quiet {
			c.end(co, "no two live series have met for 20 minutes")
		}
	}
}

// adopt ends suspensions whose rule, or one before it, is no longer what it was.
func (c *collisions) adopt(policies []*Policy) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, co := range c.byFamily {
		stays := slices.ContainsFunc(policies, func(p *Policy) bool {
			s := &p.settings
			same := co.rules.SamePrefix(p.rules[Plain])
			return s.Environment == co.Environment && s.Signal == ingest.Metrics && s.RejectCollisions == (co.key.policy == rejecting) &&
				(same > co.Rule && co.Rule >= 0 || same == co.rules.Len() && same == p.rules[Plain].Len())
		})
		if !stays {
			c.end(co, "the rules have changed")
		}
	}
}

// end forgets co. mu is held.
func (c *collisions) end(co *collision, why string) {
	delete(c.byFamily, co.key)
	delete(c.byID, co.id)
	if co.key.policy == suspending {
		c.suspended.Add(-1)
		c.engine.renewAll(co.Environment)
		c.engine.log.Info("rules apply to a metric again", slog.String("environment", co.Environment), slog.String("metric", co.Metric), slog.String("why", why))
	}
}

// text shows a series, or only the names of its labels where values are not to be shown.
func (c *collisions) text(ls []labels.Label) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, l := range ls {
		if i > 0 {
			b.WriteString(", ")
		}
		if b.Len() > 1000 {
			b.WriteString("...")
			break
		}
		if c.show.Load() {
			fmt.Fprintf(&b, "%s=%q", l.Name, l.Value[:min(len(l.Value), 200)])
		} else {
			b.WriteString(l.Name)
		}
	}
	return b.String() + "}"
}

// Collisions are the metrics in which series have met in the last 20 minutes, sorted.
func (e *Engine) Collisions() []Collision {
	c := &e.collisions
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]Collision, 0, len(c.byFamily))
	for _, co := range c.byFamily {
		one := co.Collision
		one.Series, one.Clients = slices.Clone(one.Series), slices.Clone(one.Clients)
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Collision) int {
		return strings.Compare(a.Environment+"\x00"+a.Metric+"\x00"+a.Policy, b.Environment+"\x00"+b.Metric+"\x00"+b.Policy)
	})
	return out
}

// Met calls f for how often series have met, by what was done.
func (e *Engine) Met(f func(environment, policy string, n int64)) {
	for how := range e.collisions.total {
		e.collisions.total[how].each(func(environment string, n int64) { f(environment, policy(how).String(), n) })
	}
}

// family is the name of a metric without what tells its parts from each other.
func family(name string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count", "_created"} {
		if f, ok := strings.CutSuffix(name, suffix); ok {
			return f
		}
	}
	return name
}

// nameIn is the metric name among ls, which are sorted.
func nameIn(ls []labels.Label) string {
	for _, l := range ls {
		if l.Name == "__name__" {
			return l.Value
		}
	}
	return ""
}
