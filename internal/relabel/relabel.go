// Package relabel runs Prometheus' relabelling rules over the labels of a series or the attributes of an item, and explains
// what they did. Results equal those of prometheus/model/relabel, on which the configuration is built, byte for byte.
// It is on the data path: a set that no rule changes costs no allocation, and regular expressions that are words, prefixes or
// "anything" never run as such. It knows no push, no series and no metric, keeps nothing of what it is given but a few matched
// strings of its own, and decides nothing about limits. internal/reduce calls it for every set that has no cached decision,
// and for explanations.
package relabel

import (
	"slices"
	"strings"

	prom "github.com/prometheus/prometheus/model/relabel"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// temporary begins the names of labels that rules use among themselves. They go when the rules are done.
const temporary = "__tmp"

// Options is what holds for all rules of a list. The zero value is Prometheus' own behaviour, and the end of "__tmp" labels.
type Options struct {
	// ReadOnly are prefixes of names that rules see and cannot change.
	ReadOnly []string
	// Protected are names of labels that rules cannot remove: one that is gone in the end gets its old value back.
	Protected []string
	// Move are names of labels that become structured metadata after all rules, in this order. The last label never moves.
	Move []string
}

// Rules is a list of rules, compiled. It is safe for concurrent use.
type Rules struct {
	rules     []*rule
	protected []string
	move      []string
	reads     []string // see Reads
	readsAny  bool
}

// Compile compiles rules, which are valid.
func Compile(rules []*prom.Config, o Options) *Rules {
	r := &Rules{protected: slices.Clone(o.Protected), move: slices.Clone(o.Move)}
	readOnly := slices.Clone(o.ReadOnly)
	for _, c := range rules {
		rule := compile(c, readOnly)
		r.rules = append(r.rules, rule)
		r.addReads(rule)
	}
	return r
}

// Len returns how many rules there are.
func (r *Rules) Len() int { return len(r.rules) }

// Text returns rule i as YAML, in one line.
func (r *Rules) Text(i int) string { return r.rules[i].text }

// SamePrefix returns how many rules at the beginning of r and o are the same.
func (r *Rules) SamePrefix(o *Rules) int {
	n := 0
	for n < len(r.rules) && n < len(o.rules) && r.rules[n].text == o.rules[n].text {
		n++
	}
	return n
}

// Result is what became of a set.
type Result struct {
	// Change is what changed, nil if nothing did or the set was dropped. It and its strings are good until the next Apply with
	// the same Scratch, and no longer than the set's own strings.
	Change *labels.Change
	// DroppedBy is the index of the rule that dropped the set, -1 if none did.
	DroppedBy int
	// NoLabels: there were labels, and none is left.
	NoLabels bool
	// Restored is how many protected labels the rules had removed.
	Restored int
}

// Apply runs the rules over set, which it does not change.
func (r *Rules) Apply(s *Scratch, set *labels.Set) Result {
	s.begin(set.All)
	for i, rule := range r.rules {
		if !rule.run(s) {
			return Result{DroppedBy: i}
		}
	}
	s.dropTemporary()
	res := Result{DroppedBy: -1}
	if s.touched {
		res.Restored = s.restore(r.protected)
		res.NoLabels = len(s.set) > 0 && s.len() == 0
	}
	s.move(r.move)
	res.Change = s.diff()
	return res
}

// MergedBy returns the index of the rule that made one of a and b, which are sorted: from it on their labels are the same,
// those aside that will not last. It is -1 where no rule did: they were the same before, or are not after.
func (r *Rules) MergedBy(a, b []labels.Label) int {
	var sa, sb Scratch
	sa.begin(a)
	sb.begin(b)
	same := func() bool {
		la, lb := sa.lasting(r.protected), sb.lasting(r.protected)
		return slices.Equal(la, lb)
	}
	merged, was := -1, same()
	for i, rule := range r.rules {
		if !rule.run(&sa) || !rule.run(&sb) {
			return -1
		}
		is := same()
		if is && !was {
			merged = i
		}
		was = is
	}
	if !was {
		return -1
	}
	return merged
}

func isTemporary(name string) bool { return strings.HasPrefix(name, temporary) }
