package reduce

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/telemetry-gateway/telemetry-gateway/internal/guard"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// tally is what of one push was held back.
type tally struct {
	byRule     []int // items that each rule dropped
	byResource []int
	dropped    []ingest.Refusal // by reason
	refused    []refusal
	observed   []ingest.Refusal
}

// refusal is items refused for one reason, with the first of them and where to look for examples.
type refusal struct {
	ingest.Refusal
	first    guard.Refusal
	examples []int
}

// maxExamples is how many refused series are looked at for values to show.
const maxExamples = 32

// reset empties t for so many rules. resources < 0: what resource rules dropped stays, since they are not asked again.
func (t *tally) reset(rules, resources int) {
	t.byRule = resize(t.byRule, rules)
	clear(t.byRule)
	t.dropped, t.refused, t.observed = t.dropped[:0], t.refused[:0], t.observed[:0]
	if resources >= 0 {
		t.byResource = resize(t.byResource, resources)
		clear(t.byResource)
		return
	}
	for _, n := range t.byResource {
		t.drop(ingest.ReasonRelabelDrop, n)
	}
}

// add adds n items to those of reason.
func add(all []ingest.Refusal, reason string, n int) []ingest.Refusal {
	if n == 0 {
		return all
	}
	for i := range all {
		if all[i].Reason == reason {
			all[i].Items += n
			return all
		}
	}
	return append(all, ingest.Refusal{Reason: reason, Items: n})
}

func (t *tally) drop(reason string, items int)    { t.dropped = add(t.dropped, reason, items) }
func (t *tally) observe(reason string, items int) { t.observed = add(t.observed, reason, items) }

// refuse adds n items refused for r.
func (t *tally) refuse(r guard.Refusal, n int) *refusal {
	for i := range t.refused {
		if t.refused[i].Reason == r.Reason {
			t.refused[i].Items += n
			return &t.refused[i]
		}
	}
	t.refused = append(t.refused, refusal{Refusal: ingest.Refusal{Reason: r.Reason, Items: n}, first: r})
	return &t.refused[len(t.refused)-1]
}

// hold drops s by the rule that a Dropped entry names.
func (p *Push) hold(s *ingest.Series, value uint32) {
	s.Verdict = ingest.Drop
	if value == noLabels {
		p.tally.drop(ingest.ReasonNoLabels, int(s.Items))
		return
	}
	p.tally.byRule[value] += int(s.Items)
	p.tally.drop(ingest.ReasonRelabelDrop, int(s.Items))
}

// refuse refuses s.
func (p *Push) refuse(s *ingest.Series, r guard.Refusal) {
	s.Verdict, s.Change = ingest.Refuse, nil
	t := p.tally.refuse(r, int(s.Items))
	if len(t.examples) < maxExamples && t.first.Metric == r.Metric {
		t.examples = append(t.examples, p.index(s))
	}
}

// index is where s, which is one of them, stands in the push.
func (p *Push) index(s *ingest.Series) int {
	for i := range p.ss {
		if &p.ss[i] == s {
			return i
		}
	}
	panic("BUG: a series that is not of the push")
}

// reject refuses series i, since it would write what owner writes.
func (p *Push) reject(i int, owner uint64) {
	s := &p.ss[i]
	p.engine.collisions.note(p, i, owner, rejecting)
	s.Verdict, s.Change = ingest.Refuse, nil
	t := p.tally.refuse(guard.Refusal{Reason: ingest.ReasonCollision, Metric: nameIn(p.final)}, int(s.Items))
	if t.Text == "" {
		where := &p.policy.settings
		key := "environments." + where.Environment + ".metrics."
		cause := key + "relabel_configs are applied"
		switch {
		case s.Overwritten != (labels.Key{}) && p.view == Attributes && p.policy.resource.Len() > 0:
			cause = "the labels of the configuration and " + key + "resource_relabel_configs are applied"
		case s.Overwritten != (labels.Key{}):
			cause = "the labels of the configuration are stamped on it"
		case where.RejectCollisions:
			cause += ", and " + key + "on_collision=reject"
		}
		t.Text = fmt.Sprintf("environment %s, client %s: metric %q: another live series leaves with the same labels once %s; "+
			"GET /api/v1/status/cardinality on the admin port shows both", where.Environment, where.Client, t.first.Metric, cause)
	}
}

// describe writes the texts of what was refused, while the push can still be looked at.
func (p *Push) describe() {
	for i := range p.tally.refused {
		r := &p.tally.refused[i]
		if r.Text != "" {
			continue
		}
		r.Text = p.policy.guard.Describe(r.first, func(label string) []string { return p.valuesOf(label, r.examples) })
	}
}

// valuesOf are up to five values of label that the series at indices would have left with.
func (p *Push) valuesOf(label string, indices []int) (values []string) {
	for _, i := range indices {
		p.look(i)
		p.final = p.rules.Apply(&p.scratch, &p.set).Change.Append(p.final[:0], p.set.All)
		if p.suspended() {
			p.final = append(p.final[:0], p.set.All...)
		}
		at := slices.IndexFunc(p.final, func(l labels.Label) bool { return l.Name == label })
		if at >= 0 && !slices.Contains(values, p.final[at].Value) {
			if values = append(values, strings.Clone(p.final[at].Value)); len(values) == 5 {
				break
			}
		}
	}
	return values
}

// Outcome is what of a push was held back. It outlives the Push.
type Outcome struct {
	// Refused are items that the sender is told of, Dropped those that rules held back, both by reason.
	Refused, Dropped []ingest.Refusal
	// Observed are items that left although limits which only observe would have refused them.
	Observed []ingest.Refusal

	counters []*atomic.Int64 // of rules, with how many items each dropped
	items    []int64
}

// Outcome returns what the push has come to so far.
func (p *Push) Outcome() Outcome {
	t := &p.tally
	o := Outcome{Dropped: slices.Clone(t.dropped), Observed: slices.Clone(t.observed)}
	for i := range t.refused {
		o.Refused = append(o.Refused, t.refused[i].Refusal)
	}
	o.count(p.policy.drops, t.byRule)
	o.count(p.policy.resDrops, t.byResource)
	return o
}

func (o *Outcome) count(counters []*atomic.Int64, items []int) {
	for i, n := range items {
		if n > 0 {
			o.counters, o.items = append(o.counters, counters[i]), append(o.items, int64(n))
		}
	}
}

// Book adds what rules dropped to their counters, when the push ends.
func (o *Outcome) Book() {
	for i, c := range o.counters {
		c.Add(o.items[i])
	}
}
