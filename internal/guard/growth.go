package guard

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/axiomhq/hyperloglog"
)

// exactUpTo is how many values are counted as good as exactly: no sketch has left its sparse form with so few.
const exactUpTo = 1024

// growth is what the sketches say about one label.
type growth struct {
	label    string
	values   uint64 // distinct, of all series of the last two windows
	grew     uint64 // of those, how many no established series has
	refused  uint64 // of those, how many only refused series have
	fed      uint64 // distinct values of refused series, or of new ones where nothing was refused
	since    time.Time
	examples []string
}

// culprit is the label that grew, as it was last found out.
type culprit struct {
	growth
	all   []growth // of every label, by name
	at    time.Time
	feeds int
}

// estimate counts the union of sketches, one sketch more at a time: it returns the count after each.
//
// Either all counts come from the full form of a sketch or, where they are small, all from the sparse one, which is as good
// as exact. So where a step adds nothing new its count is that of the step before, however much both err.
func estimate(steps ...sketch) []uint64 {
	if counts := estimateIn(true, steps); len(counts) == len(steps) {
		return counts
	}
	return estimateIn(false, steps)
}

// estimateIn stops early where the counts are too large to be sparse.
func estimateIn(sparse bool, steps []sketch) []uint64 {
	counts := make([]uint64, 0, len(steps))
	all, _ := hyperloglog.NewSketch(precision, sparse) // fails for other precisions only, and so does Merge
	for _, s := range steps {
		for _, h := range s {
			_ = all.Merge(h)
		}
		n := all.Estimate()
		if sparse && n > exactUpTo {
			break
		}
		counts = append(counts, n)
	}
	return counts
}

func union(s sketch) uint64 { return estimate(s)[0] }

// measure says how l grew: by how many values its sketches hold more with new series than with established ones alone. A
// difference of two windows would not do: what grows at a constant rate would not grow at all.
func (l *trackedLabel) measure() growth {
	n := estimate(l.by[live], l.by[fresh], l.by[overLimit])
	g := growth{label: l.name, values: n[2], grew: n[2] - min(n[0], n[2]), refused: n[2] - min(n[1], n[2])}
	if g.fed = union(l.by[overLimit]); g.fed == 0 {
		g.fed = union(l.by[fresh])
	}
	if g.since = l.since; g.since.IsZero() {
		g.since = l.begun
	}
	g.examples = l.recent.list()
	return g
}

// snapshot is a copy of the labels of t and of its clients' shares, to be measured without the lock.
func (t *tracked) snapshot() ([]trackedLabel, []share) {
	ls, shares := slices.Clone(t.labels), slices.Clone(t.clients)
	for i := range ls {
		for k := range ls[i].by {
			ls[i].by[k] = ls[i].by[k].clone()
		}
	}
	for i := range shares {
		shares[i].fresh = shares[i].fresh.clone()
	}
	return ls, shares
}

func measureAll(ls []trackedLabel) []growth {
	gs := make([]growth, len(ls))
	for i := range ls {
		gs[i] = ls[i].measure()
	}
	return gs
}

// blame returns the label that grew most: by values that only refused series have, else by values that only new ones have,
// else that with the most values among what came. What differs by less than sketches err counts as equal, and the first
// by name is named. Nothing is, where several bring one value each: a single series tells nothing.
func blame(gs []growth) growth {
	by := []func(growth) uint64{
		func(g growth) uint64 { return g.refused },
		func(g growth) uint64 { return g.grew },
		func(g growth) uint64 { return g.fed },
	}
	if len(gs) == 0 {
		return growth{}
	}
	for _, of := range by {
		top := slices.MaxFunc(gs, func(a, b growth) int { return cmp.Compare(of(a), of(b)) })
		if of(top) == 0 {
			continue
		}
		equal := slices.DeleteFunc(slices.Clone(gs), func(g growth) bool { return of(g)+slack(of(top), max(top.values, g.values)) < of(top) })
		if of(top) == 1 && len(equal) > 1 {
			continue
		}
		return slices.MinFunc(equal, func(a, b growth) int { return cmp.Compare(a.label, b.label) })
	}
	return growth{}
}

// slack is how much two estimates of a growth of n among all may differ and mean the same. Few registers change when
// little comes to much, so that the error grows with the root of both: four times its standard deviation.
func slack(n, all uint64) uint64 {
	if all <= exactUpTo {
		return 0
	}
	return uint64(4 * math.Sqrt(float64(n)*float64(all)/(1<<precision)))
}

// grew finds out which label of a metric grew. What was found two seconds ago still holds, unless twice as much came since.
func (sp *space) grew(name string) culprit {
	sp.mu.Lock()
	m := sp.metrics[name]
	if m == nil || m.track == nil {
		sp.mu.Unlock()
		return culprit{}
	}
	t := m.track
	if c := t.culprit; !c.at.IsZero() && t.last.Sub(c.at) < 2*time.Second && t.feeds < 2*c.feeds {
		sp.mu.Unlock()
		return c
	}
	c := culprit{at: t.last, feeds: t.feeds}
	ls, _ := t.snapshot()
	sp.mu.Unlock()

	c.all = measureAll(ls)
	c.growth = blame(c.all)
	sp.mu.Lock()
	t.culprit = c
	sp.mu.Unlock()
	return c
}
