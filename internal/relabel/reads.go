package relabel

import (
	"slices"

	prom "github.com/prometheus/prometheus/model/relabel"
)

// Reads returns the names of labels whose values the rules look at: two sets whose labels have the same names, and those that
// are read the same values, pass all the same, and lose the same labels, as long as none comes. Not known: any value may count.
func (r *Rules) Reads() (names []string, known bool) { return r.reads, !r.readsAny }

// addReads adds what rule looks at to what the rules before it look at.
func (r *Rules) addReads(rule *rule) {
	names, known := rule.reads()
	r.readsAny = r.readsAny || !known
	for _, name := range names {
		if !slices.Contains(r.reads, name) {
			r.reads = append(r.reads, name)
		}
	}
}

// reads is Rules.Reads of one rule. What a rule writes is compared with what was there, so that is read, too.
func (r *rule) reads() (names []string, known bool) {
	switch r.cfg.Action {
	case prom.LabelDrop, prom.LabelKeep:
		return nil, true
	case prom.Keep, prom.Drop:
		return r.sources, true
	case prom.KeepEqual, prom.DropEqual, prom.HashMod, prom.Lowercase, prom.Uppercase:
		return append(slices.Clip(r.sources), r.cfg.TargetLabel), true
	case prom.Replace:
		target, fixed := r.target.fixed()
		if value, ok := r.value.fixed(); fixed && ok && value == "" && r.pattern != nil && r.pattern.all {
			return nil, true // it removes a label, whatever that or the sources say
		}
		return append(slices.Clip(r.sources), target), fixed
	}
	return nil, false // labelmap writes values of labels that it finds by name
}
