package reduce

import (
	"fmt"
	"strings"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/relabel"
)

// Explanation is what the gateway would do to one label set, and why.
type Explanation struct {
	Environment string `json:"environment"`
	Client      string `json:"client"`
	Signal      string `json:"signal"`
	// Stamps are the labels that were set before any rule.
	Stamps []relabel.Label `json:"stamps,omitempty"`
	relabel.Explanation
	// Suspended: the rules are held back for this metric, since they would make live series one; it leaves with Before.
	Suspended bool `json:"suspended"`
	// Guard is what limits refuse of the result: by its shape, and as a series that is new. Empty: nothing.
	Guard []string `json:"guard,omitempty"`
}

// Explain says what p does to a series, or to an item where p's signal in view v has none, with these labels.
func (p *Policy) Explain(now time.Time, v View, ls []labels.Label) Explanation {
	s := &p.settings
	x := Explanation{Environment: s.Environment, Client: s.Client, Signal: string(s.Signal)}
	var set labels.Set
	for _, l := range s.Stamps {
		if v == Attributes && s.Signal != ingest.Metrics {
			l.Name = readOnly[0] + l.Name // spans and records are stamped on their resource
		}
		x.Stamps = append(x.Stamps, relabel.Label(l))
		set.Add(l, labels.Key{}) // first, so that it wins
	}
	for _, l := range ls {
		set.Add(l, labels.Key{})
	}
	set.Sort()
	x.Explanation = p.rules[v].Explain(&set)
	if x.Dropped || x.NoLabels {
		return x
	}
	var scratch relabel.Scratch
	final := p.rules[v].Apply(&scratch, &set).Change.Append(nil, set.All)
	if s.Signal == ingest.Metrics && p.engine.collisions.holds(s.Environment, family(nameIn(final))) {
		x.Suspended, final = true, set.All
	}
	for _, r := range p.guard.Would(now, final, own(nil, final, v), p.counts(v)) {
		x.Guard = append(x.Guard, p.guard.Describe(r, func(string) []string { return nil }))
	}
	return x
}

// String is the explanation for a terminal.
func (x Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of client %s in environment %s\n", x.Signal, x.Client, x.Environment)
	for _, l := range x.Stamps {
		fmt.Fprintf(&b, "stamped  %s=%q\n", l.Name, l.Value)
	}
	b.WriteString(x.Explanation.String())
	if x.Suspended {
		b.WriteString("suspended: rules would make live series of this metric one, so that it leaves as it came\n")
	}
	switch {
	case x.Dropped || x.NoLabels:
	case len(x.Guard) == 0:
		b.WriteString("guard: nothing to say\n")
	default:
		for _, text := range x.Guard {
			fmt.Fprintf(&b, "guard: %s\n", text)
		}
	}
	return b.String()
}
