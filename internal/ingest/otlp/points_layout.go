package otlp

import (
	"bytes"
	"slices"
	"strings"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// layout is the attributes of the point at hand and which labels they are. The points of a metric, and mostly of a whole
// resource, have attributes of the same names in the same order: then what follows from names is found out only once.
type layout struct {
	// list is what was read last; n of it are the point's.
	list []pointAttr
	n    int
	// before is what n was before; same: so far the names are those that stood there before.
	before int
	same   bool
	// trees: arrays or maps are among the values; whether those have a text is not known from names.
	trees bool
	order []int32
	// stamps overwrite the attributes of their names.
	stamps labels.Set

	// What follows is good for points that stand in the same scope, once resolve has been called.
	resolved bool
	// metric is that of the point, counted from 1; named: it has a name.
	metric int
	named  bool
	// fixed are the labels that all points of the metric share, own those that are this point's; both are sorted.
	fixed labels.Set
	own   []ownLabel
	// ranks say of each stamp where it is in the Set; -1 if it is not.
	ranks []int
}

// pointAttr is an attribute of a point.
type pointAttr struct {
	attribute
	kv         []byte // as it stands
	start, end int    // of its field, in the point
	doubled    bool
	stamp      int        // which one overwrites it; -1: none
	sum        labels.Key // what it adds to the key, if summed
	summed     bool
	rank       int    // where it is in the Set; -1: it is not
	text       string // of an array or a map, once resolved
}

// ownLabel is a label of a point: attribute or stamp i.
type ownLabel struct {
	name  string
	i     int
	stamp bool
}

// fewAttributes are held against each other one by one.
const fewAttributes = 16

func (l *layout) begin() { l.before, l.n, l.same, l.trees = l.n, 0, true, false }

// add adds the KeyValue kv, whose field stands from start to end. Not fresh: it is that which stood in its place before.
func (l *layout) add(kv []byte, start, end int, from ingest.Lender) (fresh bool, err error) {
	if l.n == len(l.list) {
		if err = reserve(&l.list, from, 1); err != nil {
			return false, err
		}
		l.list = append(l.list, pointAttr{})
	}
	a := &l.list[l.n]
	// Mostly a point differs from the one before in one attribute, or in two: then the others need not be read again.
	if fresh = !bytes.Equal(kv, a.kv); fresh {
		name, empty := a.name, a.empty()
		if err = a.read(kv); err != nil {
			return true, err
		}
		a.kv, a.summed = kv, false
		l.same = l.same && empty == a.empty() && bytes.Equal(name, a.name)
	}
	l.trees = l.trees || a.kind == isArray || a.kind == isMap
	a.start, a.end, a.text = start, end, ""
	l.n++
	return fresh, nil
}

// end is called when all attributes have been added. It finds out which are doubled and which are stamped.
func (l *layout) end(from ingest.Lender) error {
	if l.same && l.n == l.before {
		return nil
	}
	l.resolved = false
	list := l.list[:l.n]
	for i := range list {
		a := &list[i]
		a.summed, a.stamp = false, l.stamp(a.name)
	}
	if len(list) > fewAttributes {
		return l.markSorted(list, from)
	}
	for i := range list {
		a := &list[i]
		a.doubled = false
		for j := range list[:i] {
			if b := &list[j]; !b.empty() && bytes.Equal(a.name, b.name) {
				a.doubled = !a.empty()
				break
			}
		}
	}
	return nil
}

// stamp returns which stamp has that name, -1 if none has.
func (l *layout) stamp(name []byte) int {
	for i := range l.stamps.All {
		if l.stamps.All[i].Name == string(name) {
			return i
		}
	}
	return -1
}

// markSorted marks what is doubled where looking at each pair would take too long.
func (l *layout) markSorted(list []pointAttr, from ingest.Lender) error {
	l.order = l.order[:0]
	if err := reserve(&l.order, from, len(list)); err != nil {
		return err
	}
	for i := range list {
		l.order = append(l.order, int32(i))
	}
	slices.SortFunc(l.order, func(a, b int32) int {
		if c := bytes.Compare(list[a].name, list[b].name); c != 0 {
			return c
		}
		return int(a - b)
	})
	first := -1
	for _, i := range l.order {
		a := &list[i]
		a.doubled = !a.empty() && first >= 0 && bytes.Equal(list[first].name, a.name)
		if !a.empty() && !a.doubled {
			first = int(i)
		}
	}
	return nil
}

// read reads the attributes of a point, its fields num.
func (l *layout) read(msg []byte, num int32, from ingest.Lender) error {
	l.begin()
	var f wire.Field
	for rest := msg; len(rest) > 0; {
		start := len(msg) - len(rest)
		if rest = field(rest, &f); f.Num != num {
			continue
		}
		if _, err := l.add(f.Data, start, len(msg)-len(rest), from); err != nil {
			return err
		}
	}
	return l.end(from)
}

// empty says whether at reads as no attribute. An array that has no text is none either, which is not asked here.
func (at *attribute) empty() bool {
	return at.kind == 0 || len(at.data) == 0 && (at.kind == isString || at.kind == isBytes)
}

// resolve finds out which label each attribute is, and where in the Set it stands.
func (l *layout) resolve(text *attributes) error {
	if l.resolved && !l.trees {
		return nil
	}
	l.resolved = true
	l.own, l.ranks = l.own[:0], l.ranks[:0]
	for i, s := range l.stamps.All {
		l.ranks = append(l.ranks, -1)
		if s.Value != "" && !l.shadowed(s.Name) {
			l.own = append(l.own, ownLabel{name: s.Name, i: i, stamp: true})
		}
	}
	for i := range l.list[:l.n] {
		a := &l.list[i]
		name := textOf(a.name)
		a.rank = -1
		if a.stamp >= 0 || a.doubled || a.empty() || l.shadowed(name) {
			continue
		}
		if a.kind == isArray || a.kind == isMap {
			var err error
			if a.text, err = text.value(&a.attribute); err != nil {
				return err
			}
			if a.text == "" {
				continue
			}
		}
		l.own = append(l.own, ownLabel{name: name, i: i})
	}
	slices.SortFunc(l.own, func(a, b ownLabel) int { return strings.Compare(a.name, b.name) })
	before := 0 // how many fixed ones
	for i, o := range l.own {
		for before < len(l.fixed.All) && l.fixed.All[before].Name < o.name {
			before++
		}
		if o.stamp {
			l.ranks[o.i] = i + before
		} else {
			l.list[o.i].rank = i + before
		}
	}
	return nil
}

// rankOf is where the attribute that counts of that name is in the Set; -1 if there is none.
func (l *layout) rankOf(name string) int {
	i, ok := slices.BinarySearchFunc(l.own, name, func(o ownLabel, name string) int { return strings.Compare(o.name, name) })
	if !ok || l.own[i].stamp {
		return -1
	}
	return l.list[l.own[i].i].rank
}

// shadowed says whether a label that the point shares with others has that name. Only one that is reserved can.
func (l *layout) shadowed(name string) bool {
	return name == metricName || ofPoint.reserved(name) && l.fixed.Find(name) >= 0
}

// use says what metric the points that follow are of, and which labels they share.
func (l *layout) use(p *points, metric int) {
	if l.metric == metric+1 {
		return
	}
	m := &p.metrics[metric]
	name, key := labels.Label{Name: metricName, Value: textOf(m.name)}, p.keys.Sum(labels.Own, metricLabel, m.name)
	named := name.Value != ""
	if l.metric > 0 && p.metrics[l.metric-1].scope == m.scope && named == l.named {
		if named {
			l.fixed.All[0], l.fixed.Keys[0] = name, key
		}
	} else {
		l.resolved = false
		l.fixed.Reset()
		l.fixed.Add(name, key)
		p.addShared(&l.fixed, m.scope)
	}
	l.metric, l.named = metric+1, named
}

// metricLabel is metricName as bytes.
var metricLabel = []byte(metricName)

// appendTo adds the labels of the point, which was read and resolved, to set in their order.
func (l *layout) appendTo(set *labels.Set, p *points) error {
	fixed := l.fixed
	for _, o := range l.own {
		n := 0
		for n < len(fixed.All) && fixed.All[n].Name < o.name {
			n++
		}
		set.All, set.Keys = append(set.All, fixed.All[:n]...), append(set.Keys, fixed.Keys[:n]...)
		fixed.All, fixed.Keys = fixed.All[n:], fixed.Keys[n:]
		if o.stamp {
			set.Add(l.stamps.All[o.i], l.stamps.Keys[o.i])
			continue
		}
		a := &l.list[o.i]
		value := a.text
		if value == "" {
			var err error
			if value, err = p.text.value(&a.attribute); err != nil {
				return err
			}
		}
		set.Add(labels.Label{Name: o.name, Value: value}, p.sumOfOwn(a))
	}
	set.All, set.Keys = append(set.All, fixed.All...), append(set.Keys, fixed.Keys...)
	return nil
}
