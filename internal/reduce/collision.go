package reduce

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
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
	// patience is how long we wait for the other of the two series that have met: for its next push.
	patience = 2 * time.Minute
	// maxCollisions bounds the metrics of an environment that are suspended or told of at once; beyond them second writers are refused.
	maxCollisions = 4096
	// maxRemembered is how many bytes of labels are kept to find the rule by, and longestFamily is how long the name of a metric
	// may be: with labels of megabytes one sender could fill the memory. A larger series is told of without its rule.
	maxRemembered, longestFamily = 16 << 10, 1 << 10
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
	// suspended is how many metrics are, and awaited of how many collisions the other series is: what is read on the way of
	// every series, and of every push.
	suspended, awaited atomic.Int32
	show               atomic.Bool
	total              [2]counters // by remedy and environment

	mu       sync.Mutex // guards what follows
	byFamily map[familyKey]*collision
	many     map[string]int // of byFamily, by environment
	untold   []func()       // lines for the log
	byID     map[uint32]*collision
	byOwner  map[uint64]*collision // who is awaited
	ids      uint32
}

type familyKey struct {
	environment, family string
	remedy              remedy
}

// remedy is what is done about series that would become one: Collision.Policy.
type remedy uint8

const (
	suspending remedy = iota
	rejecting
)

func (r remedy) String() string { return [...]string{"suspend", "reject"}[r] }

// collision is a Collision that goes on.
type collision struct {
	Collision
	key      familyKey
	id       uint32
	rules    *relabel.Rules
	examples []example
	logged   bool

	first []labels.Label // of the series that came second, to find the rule by
	owner uint64         // who wrote before it and is awaited; nobody: it was shown
}

// example is a series as it is shown: with values, and without.
type example struct{ values, names string }

func (c *collisions) init(e *Engine, show bool) {
	c.engine = e
	c.many = make(map[string]int)
	c.byFamily, c.byID, c.byOwner = make(map[familyKey]*collision), make(map[uint32]*collision), make(map[uint64]*collision)
	c.show.Store(show)
}

func (c *collisions) showExamples(show bool) { c.show.Store(show) }

// idOf returns the suspension of a metric, 0 if there is none.
func (c *collisions) idOf(environment, family string) uint32 {
	if c.suspended.Load() == 0 {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if co := c.byFamily[familyKey{environment, family, suspending}]; co != nil {
		return co.id
	}
	return 0
}

// holds says whether rules are held back for a metric.
func (c *collisions) holds(environment, family string) bool { return c.idOf(environment, family) != 0 }

// stands says whether a suspension goes on. It may be asked under a lock of the table.
func (c *collisions) stands(id uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byID[id] != nil
}

// note makes an entry for the metric of series i, which has met the one that owner writes, or says that it goes on. It
// reports false where too many are, or the name is too long. It leaves in final what the series would leave with.
func (c *collisions) note(p *Push, i int, owner uint64, how remedy) bool {
	p.look(i)
	p.final = p.ss[i].Change.Append(p.final[:0], p.set.All)
	key := familyKey{p.policy.settings.Environment, family(nameIn(p.final)), how}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total[how].of(key.environment).Add(1)
	co := c.byFamily[key]
	if co == nil {
		if c.many[key.environment] >= maxCollisions || len(key.family) > longestFamily {
			return false
		}
		key.family = strings.Clone(key.family)
		co = c.begin(p, key)
		if owner != nobody && c.byOwner[owner] == nil && size(p.set.All) <= maxRemembered {
			co.first, co.owner = cloneLabels(p.set.All), owner
			c.byOwner[owner] = co
			c.awaited.Add(1)
		}
	}
	co.Last = p.now
	return true
}

// begin makes an entry for key, of which the set of p is the first example. mu is held.
func (c *collisions) begin(p *Push, key familyKey) *collision {
	c.ids++
	co := &collision{key: key, id: c.ids, rules: p.rules, examples: []example{newExample(p.set.All)}, Collision: Collision{
		Environment: key.environment, Metric: key.family, Policy: key.remedy.String(), Rule: -1, Since: p.now,
		Clients: []string{p.policy.settings.Client},
	}}
	c.byFamily[key], c.byID[co.id] = co, co
	c.many[key.environment]++
	if key.remedy == suspending {
		c.suspended.Add(1)
		c.engine.renewAll(key.environment)
	}
	return co
}

// complete looks among the series of p for those that are awaited, notes them, and which rule made the two one.
func (c *collisions) complete(p *Push) {
	if c.awaited.Load() == 0 {
		return
	}
	defer c.tell()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range p.ss {
		co := c.byOwner[self(p.ss[i].Key)]
		if co == nil {
			continue
		}
		p.look(i)
		co.examples = append(co.examples, newExample(p.set.All))
		if client := p.policy.settings.Client; !slices.Contains(co.Clients, client) {
			co.Clients = append(co.Clients, client)
		}
		if co.Rule = co.rules.MergedBy(co.first, p.set.All); co.Rule >= 0 {
			co.RuleText = co.rules.Text(co.Rule)
		}
		c.await(co)
		c.log(co)
	}
}

// await awaits nobody any more for co. mu is held.
func (c *collisions) await(co *collision) {
	if co.owner != nobody {
		delete(c.byOwner, co.owner)
		c.awaited.Add(-1)
		co.first, co.owner = nil, nobody
	}
}

// log tells of co, once. mu is held.
func (c *collisions) log(co *collision) {
	co.logged = true
	text := "rules would make two live series one: their labels are kept as they came"
	if co.key.remedy == rejecting {
		text = "two live series would become one: the second is refused"
	}
	c.say(slog.LevelWarn, text, slog.String("environment", co.Environment), slog.String("metric", co.Metric), slog.Int("rule", co.Rule),
		slog.String("rule_text", co.RuleText), slog.Any("series", c.texts(co)), slog.Any("clients", slices.Clone(co.Clients)),
		slog.String("on_collision", co.Policy))
}

// say keeps a line for tell. mu is held, which pushes wait for under locks of the table: a log that blocks must not stop them.
func (c *collisions) say(level slog.Level, text string, attrs ...slog.Attr) {
	c.untold = append(c.untold, func() { c.engine.log.LogAttrs(context.Background(), level, text, attrs...) })
}

// tell writes what was said, without mu.
func (c *collisions) tell() {
	c.mu.Lock()
	lines := c.untold
	c.untold = nil
	c.mu.Unlock()
	for _, write := range lines {
		write()
	}
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
	defer c.tell()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, co := range c.byFamily {
		if !co.logged && now.Sub(co.Since) > patience {
			c.await(co)
			c.log(co)
		}
		if now.Sub(co.Last) > quiet {
			c.end(co, "no two live series have met for 20 minutes")
		}
	}
}

// adopt ends suspensions whose rule, or one before it, is no longer what it was.
func (c *collisions) adopt(policies []*Policy) {
	defer c.tell()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, co := range c.byFamily {
		stays := slices.ContainsFunc(policies, func(p *Policy) bool {
			s := &p.settings
			last := co.Rule // the last that matters
			if last < 0 {
				last = co.rules.Len() - 1 // it may be any
			}
			return s.Environment == co.Environment && s.Signal == ingest.Metrics &&
				(co.key.remedy == rejecting || !s.RejectCollisions) && co.rules.SamePrefix(p.rules[Plain]) > last
		})
		if !stays {
			c.end(co, "the rules have changed")
		}
	}
}

// end forgets co. mu is held.
func (c *collisions) end(co *collision, why string) {
	delete(c.byFamily, co.key)
	if c.many[co.Environment]--; c.many[co.Environment] == 0 {
		delete(c.many, co.Environment)
	}
	delete(c.byID, co.id)
	c.await(co)
	if co.key.remedy == suspending {
		c.suspended.Add(-1)
		c.engine.renewAll(co.Environment)
		c.say(slog.LevelInfo, "rules apply to a metric again", slog.String("environment", co.Environment), slog.String("metric", co.Metric), slog.String("why", why))
	}
}

func newExample(ls []labels.Label) example {
	return example{exampleText(ls, true), exampleText(ls, false)}
}

// exampleText shows a series, or only the names of its labels.
func exampleText(ls []labels.Label, values bool) string {
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
		b.WriteString(l.Name[:min(len(l.Name), 200)])
		if values {
			b.WriteString("=" + strconv.Quote(l.Value[:min(len(l.Value), 200)]))
		}
	}
	return b.String() + "}"
}

// texts are the examples of co as they may be shown now.
func (c *collisions) texts(co *collision) (texts []string) {
	show := c.show.Load()
	for _, x := range co.examples {
		if show {
			texts = append(texts, x.values)
		} else {
			texts = append(texts, x.names)
		}
	}
	return texts
}

// Collisions are the metrics in which series have met in the last 20 minutes, sorted.
func (e *Engine) Collisions() []Collision {
	c := &e.collisions
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]Collision, 0, len(c.byFamily))
	for _, co := range c.byFamily {
		one := co.Collision
		one.Series, one.Clients = c.texts(co), slices.Clone(one.Clients)
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
		e.collisions.total[how].each(func(environment string, n int64) { f(environment, remedy(how).String(), n) })
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
