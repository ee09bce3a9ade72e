package otlp

import (
	"slices"
	"strings"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// place is where a field stands in the item at hand: an attribute, or a span's name.
type place struct {
	start, end int
	// own is where it is in itemWriter.own; -1: it has no value, so that it is not there.
	own    int
	isName bool
}

// Fields of spans and of records.
const (
	spanName    = 5
	recordBody  = 5
	spanAttrs   = 9
	recordAttrs = 6
)

// attrsField is the number of the attributes.
func (w *itemWriter) attrsField() int32 {
	if w.whose == ofPoint {
		return spanAttrs
	}
	return recordAttrs
}

// readItem reads the attributes of msg, and a span's name or the size of a record's body.
func (w *itemWriter) readItem(msg []byte) error {
	w.attrs.reset()
	w.own, w.fields, w.body, w.blank = w.own[:0], w.fields[:0], 0, false
	num, isSpan := w.attrsField(), w.whose == ofPoint
	var f wire.Field
	var name []byte
	var body attribute
	for rest := msg; len(rest) > 0; {
		before := len(rest)
		var err error
		if rest, err = next(rest, &f); err != nil {
			return err
		}
		at := place{start: len(msg) - before, end: len(msg) - len(rest)}
		switch {
		case f.Num == num && w.reads:
			err = w.readAttribute(f.Data, at)
		case f.Num == spanName && isSpan && f.Type == wire.Bytes:
			name, at.isName = f.Data, true
			err = w.addPlace(at)
		case f.Num == recordBody && !isSpan && w.longest > 0 && (len(f.Data) > w.longest || body.kind != 0):
			err = body.readValue(f.Data)
		}
		if err != nil {
			return err
		}
	}
	if w.body = len(body.encoded); body.kind == isString {
		w.body = len(body.data)
	}
	if len(name) == 0 {
		return nil
	}
	return w.addOwn(labels.Label{Name: metricName, Value: textOf(name)})
}

// readAttribute reads the attribute kv, which stands at at.
func (w *itemWriter) readAttribute(kv []byte, at place) error {
	l, ok := plainText(kv)
	if !ok {
		var a attribute
		err := a.read(kv)
		if err == nil {
			l.Name = textOf(a.name)
			l.Value, err = w.attrs.value(&a)
		}
		if err != nil {
			return err
		}
	}
	if w.whose == ofPoint && l.Name == metricName {
		return nil // and no rule gets at it
	}
	if at.own = len(w.own); l.Value == "" {
		at.own, w.blank = -1, true
	}
	if err := w.addPlace(at); err != nil || l.Value == "" {
		return err
	}
	return w.addOwn(l)
}

// nameAt is the name of the attribute of msg that stands at p.
func (w *itemWriter) nameAt(msg []byte, p *place) string {
	if p.own >= 0 {
		return w.own[p.own].Name
	}
	var f wire.Field
	field(msg[p.start:p.end], &f)
	return textOf(sound(keyOf(f.Data)))
}

func (w *itemWriter) addPlace(at place) (err error) {
	if len(w.fields) == cap(w.fields) {
		err = w.growPlaces()
	}
	if err == nil {
		w.fields = append(w.fields, at)
	}
	return err
}

func (w *itemWriter) addOwn(l labels.Label) (err error) {
	if len(w.own) == cap(w.own) {
		err = w.growOwn()
	}
	if err == nil {
		w.own = append(w.own, l)
	}
	return err
}

// What grows has a func of its own, so that adding is inlined.
func (w *itemWriter) growPlaces() error { return reserve(&w.fields, w.lender, 1) }
func (w *itemWriter) growOwn() error    { return reserve(&w.own, w.lender, 1) }

// fill fills set with the item at hand and what is around it, sorted. It is Set.Sort with what is known before: items of
// one scope share most labels, and most of them name their attributes like the one before. Then only values are others.
func (w *itemWriter) fill() error {
	if !w.named() {
		if err := w.merge(); err != nil {
			return err
		}
	}
	all := w.set.All
	for i, n := range w.from {
		if n >= 0 {
			all[i] = w.own[n]
		}
	}
	w.set.Keys = w.keys[:len(all)]
	return nil
}

// named says whether from is good for the item at hand: it was made in the same scope, of the same names in the same order.
func (w *itemWriter) named() bool {
	if w.unmerged || len(w.own) != len(w.names) {
		return false
	}
	for i, name := range w.names {
		if w.own[i].Name != name {
			return false
		}
	}
	return true
}

// merge makes set of own and base, and from and names, by which the next item may be seen.
func (w *itemWriter) merge() error {
	if err := w.sort(); err != nil {
		return err
	}
	w.set.All, w.from, w.names, w.keys = w.set.All[:0], w.from[:0], w.names[:0], w.keys[:0]
	n := len(w.own) + len(w.base)
	err := reserve(&w.set.All, w.lender, n)
	if err == nil {
		err = reserve(&w.from, w.lender, n)
	}
	if err == nil {
		err = reserve(&w.names, w.lender, len(w.own))
	}
	if err == nil {
		err = reserve(&w.keys, w.lender, n)
	}
	if err != nil {
		return err
	}
	w.keys = w.keys[:n]
	for i := range w.own {
		w.names = append(w.names, w.own[i].Name)
	}
	all, from, base := w.set.All, w.from, w.base
	for _, i := range w.order {
		name := w.own[i].Name
		for len(base) > 0 && base[0].Name < name {
			all, from, base = append(all, base[0]), append(from, -1), base[1:]
		}
		if len(base) > 0 && base[0].Name == name {
			continue // what is around wins over an attribute that is called so
		}
		if n := len(all); n > 0 && all[n-1].Name == name {
			continue
		}
		all, from = append(all, w.own[i]), append(from, i)
	}
	for _, l := range base {
		all, from = append(all, l), append(from, -1)
	}
	w.set.All, w.from, w.unmerged, w.taken.good = all, from, false, false
	return nil
}

// sort sorts own by name, equal names in the order in which they stand, into order.
func (w *itemWriter) sort() error {
	own := w.own
	if len(w.order) != len(own) {
		w.order = w.order[:0]
		if err := reserve(&w.order, w.lender, len(own)); err != nil {
			return err
		}
		for i := range own {
			w.order = append(w.order, int32(i))
		}
	}
	order := w.order
	compare := func(a, b int32) int {
		if c := strings.Compare(own[a].Name, own[b].Name); c != 0 {
			return c
		}
		return int(a - b)
	}
	budget := 16 * len(own)
	for i := 1; i < len(order); i++ {
		for j := i; j > 0 && compare(order[j], order[j-1]) < 0; j-- {
			order[j], order[j-1] = order[j-1], order[j]
			budget--
		}
		if budget < 0 {
			slices.SortFunc(order, compare)
			break
		}
	}
	return nil
}
