package otlp

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// reducePoints asks r about every resource and every data point, and keeps the answers if they change anything.
//
// What a point's key is made of besides what rules see: all else that tells it from others upstream, such as attributes
// of its scope. Equal keys mean equal labels, also where a sender doubles attributes on purpose.
func (b *batch) reducePoints(r *ingest.Reducer) error {
	if r.Judge == nil && r.Resource == nil {
		return nil
	}
	lender := ingest.Lender{Charge: r.Charge, Stock: b.stock}
	p := &points{lender: lender, keys: r.Keys, text: attributes{lender: lender}}
	if err := reserve(&p.at, p.lender, b.items); err != nil {
		return err
	}
	// Envelopes are metrics and their data, and not much else.
	if err := reserve(&p.metrics, p.lender, min(b.items, b.envelopes/2)); err != nil {
		return err
	}
	var f wire.Field
	for rest := b.proto; len(rest) > 0; {
		if rest = field(rest, &f); f.Num != 1 {
			continue
		}
		if err := p.addResource(f.Data); err != nil {
			return err
		}
		if err := p.askResource(r); err != nil {
			return err
		}
	}
	if r.Judge != nil && len(p.at) > 0 {
		if err := p.judge(r); err != nil {
			return err
		}
	}
	changed, err := p.settle()
	if changed {
		b.points = p
	}
	return err
}

// askResource asks r about the resource that was added last.
func (p *points) askResource(r *ingest.Reducer) error {
	if r.Resource == nil {
		return nil
	}
	at := &p.resources[len(p.resources)-1]
	if err := p.see(at.attrs); err != nil {
		return err
	}
	first := len(p.at)
	if at.from < at.to {
		first = p.metrics[p.scopes[at.from].from].from
	}
	change, verdict := r.Resource(&p.asked, len(p.at)-first)
	if !verdict.Out() {
		at.dropped = true
		if at.from < at.to {
			p.at, p.metrics, p.scopes = p.at[:first], p.metrics[:p.scopes[at.from].from], p.scopes[:at.from]
			at.to = at.from
		}
		return nil
	}
	if change == nil {
		return nil
	}
	at.lost = p.lostTo(change)
	size := len(at.attrs) + stampsLen(change.Add)
	err := p.lender.Charge.Take(size)
	if err != nil {
		return err
	}
	at.attrs, err = p.text.appendChanged(make([]byte, 0, size), at.attrs, messages[resource].attrs, &p.asked, change, ofResource)
	at.rewritten = true
	return err
}

// lostTo is what tells the resource in asked, but for c, from others that c makes the same. Like the value that a stamp
// overwrites it counts as Overwritten: no rule for points can undo it.
func (p *points) lostTo(c *labels.Change) (lost labels.Key) {
	if p.keys == nil {
		return lost
	}
	for i, l := range p.asked.All {
		if !c.Keeps(i) {
			k := p.keys.Sum(labels.Resource, []byte(l.Name), []byte(l.Value))
			lost = lost.Plus(p.hashedInto(labels.Overwritten, []byte(l.Name), k))
		}
	}
	return lost
}

// see fills asked with the attributes of a resource.
func (p *points) see(attrs []byte) error {
	set, num := &p.asked, messages[resource].attrs
	set.Reset()
	p.text.reset()
	n, err := countField(attrs, num)
	if err != nil {
		return err
	}
	if err = reserve(&set.All, p.lender, n); err != nil {
		return err
	}
	if err = reserve(&set.Keys, p.lender, n); err != nil {
		return err
	}
	if err = p.text.add(set, attrs, num, "", ofResource, nil); err != nil {
		return err
	}
	set.Sort()
	return nil
}

// setBytes is what a label takes in a Set.
const setBytes = int(unsafe.Sizeof(labels.Label{}) + unsafe.Sizeof(labels.Key{}))

// judge makes the keys of all points and asks r about them.
func (p *points) judge(r *ingest.Reducer) error {
	series, full := r.Room(len(p.at))
	if full != nil {
		return full
	}
	p.series = series
	l := &p.layout
	l.stamps.All = r.Stamps
	for _, s := range r.Stamps {
		l.stamps.Keys = append(l.stamps.Keys, p.keys.Sum(labels.Own, []byte(s.Name), []byte(s.Value)))
	}
	// What view takes is booked here, as if it were asked about every resource: it has no way to say that there is no room.
	var ofPoints, ofResources int
	for i := range p.resources {
		at := &p.resources[i]
		sum, need, err := p.sumOfResource(at.attrs)
		if err != nil {
			return err
		}
		ofResources += need
		for i := at.from; i < at.to; i++ {
			s := &p.scopes[i]
			sum := sum.Plus(p.sumOfScope(s))
			for i := s.from; i < s.to; i++ {
				if need, err = p.readMetric(i, sum, at.lost); err != nil {
					return err
				}
				ofPoints = max(ofPoints, need)
			}
		}
	}
	n := len(l.list) + len(r.Stamps)
	if err := p.lender.Charge.Take(2*(ofPoints+ofResources) + n*int(unsafe.Sizeof(ownLabel{}))); err != nil {
		return err
	}
	l.own, l.ranks = make([]ownLabel, 0, n), make([]int, 0, len(r.Stamps))
	p.text.lender = ingest.Lender{} // booked above
	r.Judge(series, p.view)
	return nil
}

// readMetric fills the series of metric i, of whose keys sum is a part, and lost what its resource has lost. need is how many bytes the texts of a point's
// values take at most.
func (p *points) readMetric(i int, sum, lost labels.Key) (need int, err error) {
	m := &p.metrics[i]
	if len(m.name) > 0 {
		sum = sum.Plus(p.keys.Sum(labels.Own, metricLabel, m.name))
	}
	for i := m.from; i < m.to; i++ {
		n, err := p.readPoint(p.point(i), m.kind, sum, &p.series[i])
		if err != nil {
			return 0, err
		}
		need = max(need, n)
		s := &p.series[i]
		s.Key, s.Overwritten = s.Key.Plus(lost), s.Overwritten.Plus(lost)
	}
	return need, nil
}

// readPoint fills s with what the point msg says.
func (p *points) readPoint(msg []byte, k kind, sum labels.Key, s *ingest.Series) (need int, err error) {
	l, attrs, flags := &p.layout, messages[k].attrs, flagsOf(k)
	var nanos uint64
	stale, weight := false, 0
	var f wire.Field
	l.begin()
	for rest := msg; len(rest) > 0; {
		switch rest = field(rest, &f); {
		case f.Num == attrs:
			if err = l.add(f.Data, 0, 0, p.lender); err != nil {
				return 0, err
			}
		case f.Num == 3 && f.Type == wire.Fixed64:
			nanos = f.Int
		case f.Num == flags && f.Type == wire.Varint:
			stale = f.Int&noRecordedValue != 0
		case k == histogramPoint && f.Num == 7: // explicit_bounds, packed or one by one
			weight++
			if f.Type == wire.Bytes {
				weight += len(f.Data)/8 - 1
			}
		case k == summaryPoint && f.Num == 6:
			weight++
		}
	}
	if err = l.end(p.lender); err != nil {
		return 0, err
	}
	s.Key, s.Overwritten, need = p.key(sum)
	s.Items, s.Weight = 1, int32(weight+beside[k])
	s.First = int64(nanos / 1e6)
	s.Last = s.First
	if stale {
		s.Stale, s.First, s.Last = 1, math.MaxInt64, math.MinInt64
	}
	return need, nil
}

// noRecordedValue is the flag of a point that says only that its series ended.
const noRecordedValue = 1

// beside is how many series upstream makes of a point besides one for each bound (there is a bucket more than bounds, a sum and
// a count) or each quantile.
var beside = [...]int{numberPoint: 1, histogramPoint: 3, expHistogramPoint: 1, summaryPoint: 2}

func flagsOf(k kind) int32 {
	if k == histogramPoint || k == expHistogramPoint {
		return 10
	}
	return 8
}

// key is the key of the point in layout.
func (p *points) key(sum labels.Key) (key, overwritten labels.Key, need int) {
	list := p.layout.list[:p.layout.n]
	stamped := false
	for i := range list {
		a := &list[i]
		if a.kind != isString {
			need += textBytes(&a.attribute)
		}
		if a.stamp >= 0 {
			stamped = true
		} else if !a.empty() {
			sum = sum.Plus(p.sumOfOwn(a))
		}
	}
	p.keys.BeginWith(sum)
	if stamped {
		for i := range list {
			if a := &list[i]; a.stamp >= 0 && a.kind == isString {
				p.keys.Add(a.name, a.data)
			} else if a.stamp >= 0 && !a.empty() {
				p.keys.AddTyped(a.name, a.encoded)
			}
		}
	}
	key, overwritten = p.keys.End()
	return key, overwritten, need
}

// sumOfOwn is what an attribute of a point that is not empty adds to its key.
func (p *points) sumOfOwn(a *pointAttr) labels.Key {
	if !a.summed {
		a.summed = true
		switch {
		case a.doubled:
			// In a place of its own: which of two comes first matters.
			a.sum = p.keys.Sum(labels.Overwritten, a.name, a.encoded)
		case a.kind == isString && string(a.name) != metricName:
			a.sum = p.keys.Sum(labels.Own, a.name, a.data)
		default:
			a.sum = p.keys.Sum(labels.Typed, a.name, a.encoded)
		}
	}
	return a.sum
}

// textBytes is what the text of a value takes at most, and what making it takes.
func textBytes(a *attribute) int {
	switch a.kind {
	case isString:
		return 0
	case isArray, isMap:
		return 2 * treeWeight * len(a.encoded)
	case isBytes:
		return 2 * len(a.data)
	}
	return maxNumber
}

// sumOfResource is what a resource's attributes add to the keys of its points. need is what their labels take.
func (p *points) sumOfResource(attrs []byte) (sum labels.Key, need int, err error) {
	l := &p.layout
	if err = l.read(attrs, messages[resource].attrs, p.lender); err != nil {
		return sum, 0, err
	}
	for i := range l.list[:l.n] {
		a := &l.list[i]
		switch {
		case a.empty():
		case a.doubled:
			sum = sum.Plus(p.nested(labels.Resource, labels.Overwritten, &a.attribute))
		default:
			sum = sum.Plus(p.sumOf(&a.attribute))
			// Twice: the labels are copied to what all points of a metric share.
			need += 2*setBytes + len(resourcePrefix) + len(a.name) + textBytes(&a.attribute)
		}
	}
	return sum, need, nil
}

// sumOf is what an attribute of a resource adds to keys.
func (p *points) sumOf(a *attribute) labels.Key {
	if a.kind == isString {
		return p.keys.Sum(labels.Resource, a.name, a.data)
	}
	return p.nested(labels.Resource, labels.Typed, a)
}

// nested is the sum of something in a place for which there is no word: a value in place of its own hashed into outer. No sender
// can make a string that is one.
func (p *points) nested(outer, place labels.Place, a *attribute) labels.Key {
	return p.hashedInto(outer, a.name, p.keys.Sum(place, a.name, a.encoded))
}

// hashedInto is what k adds to keys as the value of name in outer.
func (p *points) hashedInto(outer labels.Place, name []byte, k labels.Key) labels.Key {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], k.Hi)
	binary.LittleEndian.PutUint64(b[8:], k.Lo)
	return p.keys.Sum(outer, name, b[:])
}

// sumOfScope is what a scope adds to the keys of its points.
func (p *points) sumOfScope(s *pointScope) (sum labels.Key) {
	if len(s.name) > 0 {
		sum = sum.Plus(p.keys.Sum(labels.Scope, []byte(scopeName), s.name))
	}
	if len(s.version) > 0 {
		sum = sum.Plus(p.keys.Sum(labels.Scope, []byte(scopeVersion), s.version))
	}
	if s.fields <= 1 {
		return sum.Plus(p.sumOfScopeAttributes(s.scope))
	}
	var f wire.Field
	for rest := s.msg; len(rest) > 0; {
		if rest = field(rest, &f); f.Num == 1 {
			sum = sum.Plus(p.sumOfScopeAttributes(f.Data))
		}
	}
	return sum
}

// scopeAttrs is the field of a scope's attributes.
const scopeAttrs = 3

func (p *points) sumOfScopeAttributes(msg []byte) (sum labels.Key) {
	var f wire.Field
	var a attribute
	for len(msg) > 0 {
		if msg = field(msg, &f); f.Num != scopeAttrs {
			continue
		}
		sound(nil, a.read(f.Data))
		if !a.empty() {
			sum = sum.Plus(p.nested(labels.Scope, labels.Typed, &a))
		}
	}
	return sum
}

// view fills set with the labels of point i, in their order. It cannot fail: all that it takes has been booked, and what it
// reads was read.
func (p *points) view(i int, set *labels.Set) {
	l, metric := &p.layout, int(p.at[i].metric)
	p.text.reset()
	sound(nil, l.read(p.point(i), messages[p.metrics[metric].kind].attrs, ingest.Lender{}))
	l.use(p, metric)
	sound(nil, l.resolve(&p.text))
	sound(nil, l.appendTo(set, p))
}

// addShared adds the labels that all points of a scope share, but for the metric's name.
func (p *points) addShared(set *labels.Set, scope int) {
	s := &p.scopes[scope]
	r := &p.resources[s.resource]
	if !r.ready {
		n, _ := countField(r.attrs, messages[resource].attrs)
		r.ready, r.labels = true, labels.Set{All: make([]labels.Label, 0, n), Keys: make([]labels.Key, 0, n)}
		sound(nil, p.shown.add(&r.labels, r.attrs, messages[resource].attrs, resourcePrefix, ofResource, p.sumOf))
		r.labels.Sort()
		n = min(len(r.labels.All), maxShared)
		r.labels.All, r.labels.Keys = r.labels.All[:n], r.labels.Keys[:n]
	}
	set.All, set.Keys = append(set.All, r.labels.All...), append(set.Keys, r.labels.Keys...)
	set.Add(labels.Label{Name: scopeName, Value: textOf(s.name)}, p.keys.Sum(labels.Scope, []byte(scopeName), s.name))
	set.Add(labels.Label{Name: scopeVersion, Value: textOf(s.version)}, p.keys.Sum(labels.Scope, []byte(scopeVersion), s.version))
}
