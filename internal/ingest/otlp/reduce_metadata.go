package otlp

import (
	"slices"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// moved is an attribute that moves from a resource to a record, called name there.
type moved struct {
	name, value string
	// attr is what it is on the resource, and kv that KeyValue.
	attr attribute
	kv   []byte
}

func (m *moved) len(num int32) int {
	if string(m.attr.name) == m.name {
		return wire.BytesLen(num, len(m.kv))
	}
	return wire.BytesLen(num, m.renamedLen())
}

func (m *moved) renamedLen() int {
	return wire.BytesLen(1, len(m.name)) + wire.BytesLen(2, len(m.attr.encoded))
}

func (m *moved) append(dst []byte, num int32) []byte {
	if string(m.attr.name) == m.name {
		return wire.AppendBytes(dst, num, m.kv)
	}
	dst, at := wire.OpenMessage(dst, num, m.renamedLen())
	dst = wire.AppendString(dst, 1, m.name)
	return wire.CloseMessage(wire.AppendBytes(dst, 2, m.attr.encoded), at)
}

// moves says whether attributes of the resource move, and which: any that are to, but for its last.
func (w *itemWriter) moves() bool {
	left := len(w.seen.All)
	for _, name := range w.r.Metadata {
		i := w.seen.Find(name)
		if i < 0 || left < 2 || slices.ContainsFunc(w.moved, func(m moved) bool { return m.name == name }) {
			continue
		}
		w.moved = append(w.moved, moved{name: w.seen.All[i].Name, value: w.seen.All[i].Value})
		left--
	}
	return len(w.moved) > 0
}

// move takes what moves out of res.
func (w *itemWriter) move() error {
	a := &w.reader
	a.gone, a.added = a.gone[:0], a.added[:0]
	for i := range w.moved {
		a.gone = append(a.gone, labels.Label{Name: w.moved[i].name})
	}
	a.sortGone()
	err := each(w.res, messages[resource].attrs, func(kv []byte) error {
		var at attribute
		if err := at.read(kv); err != nil || !a.goes(textOf(at.name)) {
			return err
		}
		for i := range w.moved {
			m := &w.moved[i]
			if m.kv != nil || m.name != string(at.name) {
				continue
			}
			value, err := a.value(&at)
			if err != nil {
				return err
			}
			if value != "" {
				m.attr, m.kv = at, kv
			}
		}
		return nil
	})
	w.restBuf = w.restBuf[:0]
	if err == nil {
		err = reserve(&w.restBuf, w.lender, len(w.res))
	}
	if err != nil {
		return err
	}
	w.restBuf, err = a.appendLeft(w.restBuf, w.res, messages[resource].attrs)
	w.res = w.restBuf
	return err
}

// extras makes extra of what moves to the record at hand, which is what it has not got already, and returns what that takes.
// An attribute of the record that has the name and another value stays; what moves is called <name>_extracted then.
func (w *itemWriter) extras() (growth int, err error) {
	w.extra = w.extra[:0]
	for _, m := range w.moved {
		value, there := w.has(m.name)
		for there && value != m.value {
			if m.name, err = w.attrs.join(m.name, "_extracted"); err != nil {
				return 0, err
			}
			value, there = w.has(m.name)
		}
		if there {
			continue
		}
		w.extra = append(w.extra, m)
		growth += m.len(w.attrsField())
		w.metadataBytes += len(m.name) + len(m.value)
	}
	if len(w.extra) > 0 {
		for i := range w.extra { // where they stand without a value
			w.attrs.gone = append(w.attrs.gone, labels.Label{Name: w.extra[i].name})
		}
		w.attrs.sortGone()
	}
	return growth, nil
}

// has returns the value that the record at hand will have of an attribute.
func (w *itemWriter) has(name string) (value string, there bool) {
	for _, l := range w.attrs.added {
		if l.Name == name {
			return l.Value, true
		}
	}
	for i := range w.extra {
		if w.extra[i].name == name {
			return w.extra[i].value, true
		}
	}
	for _, l := range w.own {
		if l.Name == name && !w.attrs.goes(name) {
			return l.Value, true
		}
	}
	return "", false
}
