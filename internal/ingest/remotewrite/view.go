package remotewrite

import (
	"math"
	"slices"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// keyer makes the key of one series, of the labels that a view of it would show, and measures it.
type keyer struct {
	h    *labels.Hasher
	s    *ingest.Series
	prev []byte
	n    int // labels
	// ordered: all names were in order, so that none can be doubled. empty: some label has no value.
	ordered, empty bool
}

// newKeyer begins s.
func newKeyer(h *labels.Hasher, s *ingest.Series) keyer {
	s.First, s.Last, s.Weight = math.MaxInt64, math.MinInt64, 1
	h.Begin()
	return keyer{h: h, s: s, ordered: true}
}

func (k *keyer) add(name, value []byte) {
	k.ordered = k.ordered && ascends(k.prev, name)
	k.empty = k.empty || len(value) == 0
	k.prev = name
	k.n++
	k.h.Add(name, value)
}

// field is told of a field of a series, which has been checked.
func (k *keyer) field(f *wire.Field, l *layout) {
	if f.Num == v1Labels {
		k.add(readLabel(f.Data))
		return
	}
	l.measure(k.s, f)
}

// again makes the key anew of all labels of the series. Of doubled names the first counts: else two series that show the
// same would have two keys, and of two that show other values one.
func (k *keyer) again(ls []label) {
	k.h.Begin()
	var prev *label
	for i := range sorted(ls) {
		l := &ls[i]
		if len(l.value) == 0 || prev != nil && string(prev.name) == string(l.name) {
			continue
		}
		prev = l
		k.h.Add(l.name, l.value)
	}
}

// viewer fills a set with the labels of one series and the stamps.
type viewer struct {
	r      *ingest.Reducer
	set    *labels.Set
	stamps []labels.Label // those that are still to come
}

// add adds a label of the series. One that a stamp overwrites is not seen.
func (v *viewer) add(name, value []byte) {
	for len(v.stamps) > 0 && v.stamps[0].Name < string(name) {
		v.stamp()
	}
	if len(value) > 0 && !slices.ContainsFunc(v.r.Stamps, func(s labels.Label) bool { return s.Name == string(name) }) {
		v.set.Add(labels.Label{Name: stringOf(name), Value: stringOf(value)}, v.r.Keys.Sum(labels.Own, name, value))
	}
}

// stamp adds the next stamp, so that a sorted series makes a sorted set.
func (v *viewer) stamp() {
	s := v.stamps[0]
	v.set.Add(s, v.r.Keys.Sum(labels.Own, bytesOf(s.Name), bytesOf(s.Value)))
	v.stamps = v.stamps[1:]
}

func (v *viewer) close() {
	for len(v.stamps) > 0 {
		v.stamp()
	}
	v.set.Sort()
}
