package reduce

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	prom "github.com/prometheus/prometheus/model/relabel"

	"github.com/telemetry-gateway/telemetry-gateway/internal/guard"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/relabel"
)

// View is how a door shows what it has to the rules.
type View uint8

// The views.
const (
	// Plain: labels of series and streams.
	Plain View = iota
	// Attributes: OTLP's, with resource.* and scope.* for reading.
	Attributes
	views
)

// readOnly are the names of view Attributes that rules see and cannot change.
var readOnly = []string{"resource.", "scope."}

// protectedNames are labels that rules may not remove by accident: without them a histogram, a summary or an HA pair is no
// longer one.
var protectedNames = []string{"le", "quantile", "__name__", "cluster", "__replica__"}

// Settings are what the configuration says about one client's pushes of one signal.
type Settings struct {
	Environment, Client string
	Signal              ingest.Signal
	Stamps              []labels.Label
	Rules               []*prom.Config
	ResourceRules       []*prom.Config
	StructuredMetadata  []string
	// RejectCollisions is on_collision: reject; else a metric whose series would become one is suspended.
	RejectCollisions bool
	AllowProtected   bool
	// EnvironmentLimits and ClientLimits both apply.
	EnvironmentLimits, ClientLimits guard.Limits
	// Exempt: nothing is refused.
	Exempt bool
}

// Policy is Settings, compiled. It never changes.
type Policy struct {
	engine   *Engine
	settings Settings
	guard    *guard.Policy
	// rules by view, and what was decided under them; resource rules are for view Attributes only.
	rules     [views]*relabel.Rules
	decisions [views]*decisions
	resource  *relabel.Rules
	hashers   [views]*labels.Hasher // pushes begin with copies
	drops     []*atomic.Int64       // by rule
	resDrops  []*atomic.Int64
	protected *atomic.Int64
	bounded   bool // some limit on active series applies
}

// Policy compiles s.
func (e *Engine) Policy(s Settings) *Policy {
	p := &Policy{engine: e, settings: s, protected: e.protected.of(s.Environment)}
	stamped := make([]string, len(s.Stamps))
	for i, l := range s.Stamps {
		stamped[i] = l.Name
	}
	who := guard.Sender{Environment: s.Environment, Client: s.Client, Signal: string(s.Signal)}
	p.guard = e.guard.Policy(who, s.EnvironmentLimits, s.ClientLimits, s.Exempt, stamped)
	for _, l := range []guard.Limits{s.EnvironmentLimits, s.ClientLimits} {
		p.bounded = p.bounded || !s.Exempt && !l.Observe && l.ActiveSeries+l.ActiveSeriesPerMetric+l.ValuesPerLabel > 0
	}
	var protected []string
	switch {
	case s.Signal == ingest.Metrics && !s.AllowProtected:
		protected = protectedNames
	case s.Signal == ingest.Traces:
		protected = []string{"__name__"} // a span without a name is none
	}
	p.rules[Plain] = relabel.Compile(s.Rules, relabel.Options{Protected: protected, Move: s.StructuredMetadata})
	if s.Signal == ingest.Metrics && s.AllowProtected {
		protected = []string{"__name__"} // a field of its own there, which every metric has
	}
	p.rules[Attributes] = relabel.Compile(s.Rules, relabel.Options{ReadOnly: readOnly, Protected: protected})
	p.resource = relabel.Compile(s.ResourceRules, relabel.Options{})
	for v := range views {
		p.decisions[v] = e.decisionsOf(s.Environment, s.content(v, p.rules[v]))
		space := e.seed.Text(labels.Space, s.Environment, fmt.Sprint(s.Signal, v))
		p.hashers[v] = labels.NewHasher(e.seed, space, s.Stamps).Use(e.memo)
	}
	p.drops, p.resDrops = e.dropCounters(s, "", len(s.Rules)), e.dropCounters(s, "resource_", len(s.ResourceRules))
	return p
}

// content is all that a cached decision depends on, as text.
func (s *Settings) content(v View, rules *relabel.Rules) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %s %d %v %v %q", s.Environment, s.Signal, v, s.AllowProtected, s.Exempt, s.StructuredMetadata)
	for _, l := range []guard.Limits{s.EnvironmentLimits, s.ClientLimits} {
		fmt.Fprintf(&b, " %d %d %d %v", l.LabelsPerSeries, l.LabelNameBytes, l.LabelValueBytes, l.Observe)
	}
	for i := range rules.Len() {
		b.WriteByte('\n')
		b.WriteString(rules.Text(i))
	}
	return b.String()
}

// Adopt makes the policies given the ones in force: what was decided under others is forgotten, and suspensions are lifted
// whose rule is no longer what it was. Pushes that began under an old policy finish with it.
func (e *Engine) Adopt(policies []*Policy) {
	contents := make(map[string]bool)
	for _, p := range policies {
		p.guard.TakeEffect()
		for v := range views {
			contents[p.settings.content(v, p.rules[v])] = true
		}
	}
	e.keep(contents)
	e.collisions.adopt(policies)
}

// ruleKey names a rule's counter. Rule is its index; of resource rules with "resource_" before it.
type ruleKey struct{ environment, signal, rule string }

func (e *Engine) dropCounters(s Settings, prefix string, n int) []*atomic.Int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]*atomic.Int64, n)
	for i := range out {
		k := ruleKey{s.Environment, string(s.Signal), fmt.Sprint(prefix, i)}
		if e.drops[k] == nil {
			e.drops[k] = new(atomic.Int64)
		}
		out[i] = e.drops[k]
	}
	return out
}

// RuleDrops calls f for how many items each rule has dropped.
func (e *Engine) RuleDrops(f func(environment, signal, rule string, items int64)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for k, n := range e.drops {
		f(k.environment, k.signal, k.rule, n.Load())
	}
}

// RuleText is a rule as YAML in one line, named as RuleDrops names it. Empty: p has no such rule.
func (p *Policy) RuleText(rule string) string {
	rules := p.rules[Plain]
	number, resource := strings.CutPrefix(rule, "resource_")
	if resource {
		rules = p.resource
	}
	if i, err := strconv.Atoi(number); err == nil && i >= 0 && i < rules.Len() {
		return rules.Text(i)
	}
	return ""
}

// own are the labels of final that are the item's own, not its resource's or scope's.
func own(dst, final []labels.Label, v View) []labels.Label {
	if v == Plain {
		return final
	}
	for _, l := range final {
		if !slices.ContainsFunc(readOnly, func(prefix string) bool { return strings.HasPrefix(l.Name, prefix) }) {
			dst = append(dst, l)
		}
	}
	return dst
}
