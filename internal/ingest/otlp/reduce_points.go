package otlp

import (
	"encoding/binary"
	"unsafe"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// newPoints reads the push, which it checks, for r.
//
// What a point's key is made of besides what rules see: all else that tells it from others upstream, such as attributes
// of its scope. Equal keys mean equal labels, also where a sender doubles attributes on purpose.
func newPoints(push []byte, r *ingest.Reducer, from ingest.Lender) (*points, error) {
	p := &points{lender: from, keys: r.Keys}
	err := p.outline(push)
	if err == nil && r.Judge != nil && p.items > 0 {
		err = p.read(r)
	}
	return p, err
}

// reducePoints asks r about every resource and every data point, and keeps the answers if they change anything.
func (b *batch) reducePoints(r *ingest.Reducer) (err error) {
	if r.Judge == nil && r.Resource == nil {
		return nil
	}
	lender := ingest.Lender{Charge: r.Charge, Stock: b.stock}
	p := b.prepared
	if p == nil {
		if p, err = newPoints(b.proto, r, lender); err != nil {
			return err
		}
	}
	p.lender, p.text.lender = lender, lender
	if err = p.ask(r); err != nil {
		return err
	}
	changed, err := p.settle()
	if changed {
		b.points = p
	}
	return err
}

// ask asks r about the resources, and about the points of those that stay.
func (p *points) ask(r *ingest.Reducer) error {
	var texts int // what those of resources take
	dropped := false
	for i := range p.resources {
		at := &p.resources[i]
		if r.Resource != nil {
			if err := p.askResource(r, at); err != nil {
				return err
			}
		}
		if dropped = dropped || at.dropped; at.dropped || p.series == nil {
			continue
		}
		sum, need, err := p.sumOfResource(at.attrs)
		if err != nil {
			return err
		}
		texts += need
		sum = sum.Plus(at.lost)
		from, to := p.within(at)
		for i := from; i < to; i++ {
			s := &p.series[i]
			s.Key, s.Overwritten = s.Key.Plus(sum), s.Overwritten.Plus(at.lost)
		}
	}
	if dropped {
		p.leaveOut()
	}
	if len(p.series) == 0 {
		return nil
	}
	return p.judge(r, texts)
}

// within says which points are those of r.
func (p *points) within(r *pointResource) (from, to int) {
	if r.from == r.to {
		return 0, 0
	}
	return p.metrics[p.scopes[r.from].from].from, p.metrics[p.scopes[r.to-1].to-1].to
}

// leaveOut takes the points of dropped resources out.
func (p *points) leaveOut() {
	n := 0
	for i := range p.metrics {
		m := &p.metrics[i]
		from, to := m.from, m.to
		if p.resources[p.scopes[m.scope].resource].dropped {
			to = from
		}
		m.from = n
		if p.series != nil {
			copy(p.at[n:], p.at[from:to])
			copy(p.series[n:], p.series[from:to])
		}
		n += to - from
		m.to = n
	}
	if p.series != nil {
		p.at, p.series = p.at[:n], p.series[:n]
	}
}

// askResource asks r about the resource at.
func (p *points) askResource(r *ingest.Reducer, at *pointResource) error {
	if err := p.see(at.attrs); err != nil {
		return err
	}
	from, to := p.within(at)
	change, verdict := r.Resource(&p.asked, to-from)
	if !verdict.Out() {
		at.dropped = true
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

// judge asks r about all points. What view takes is booked here, as if it were asked about every resource, whose texts take
// so many bytes: it has no way to say that there is no room.
func (p *points) judge(r *ingest.Reducer, texts int) error {
	l := &p.layout
	if err := reserve(&l.list, p.lender, max(0, p.most-len(l.list))); err != nil {
		return err
	}
	if p.most > fewAttributes {
		if err := reserve(&l.order, p.lender, max(0, p.most-len(l.order))); err != nil {
			return err
		}
	}
	n := max(len(l.list), p.most) + len(r.Stamps)
	if err := p.lender.Charge.Take(2*(p.longest+texts) + n*int(unsafe.Sizeof(ownLabel{}))); err != nil {
		return err
	}
	l.own, l.ranks = make([]ownLabel, 0, n), make([]int, 0, len(r.Stamps))
	p.text.lender = ingest.Lender{} // booked above
	r.Judge(p.series, p.view)
	return nil
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
