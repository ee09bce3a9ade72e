package remotewrite

import (
	"bytes"
	"cmp"
	"slices"
	"unsafe"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// label is one label of the series in hand. It points into the push.
type label struct {
	name, value []byte
	// raw is the label as a field of a v1 series, so that what is unknown in it survives. Only where v1 is read and written.
	raw []byte
	// nameRef and valueRef are its place in the symbol table. Only where v2 is read or written.
	nameRef, valueRef uint32
	// at is where it stood, so that sorting keeps the order of equal names; atNew: it comes by a Change and has neither raw nor refs.
	at int
}

const atNew = -1

// newStamps returns stamps as labels. None is empty: the configuration refuses that.
func newStamps(stamps []labels.Label) []label {
	if len(stamps) == 0 {
		return nil
	}
	ls := make([]label, len(stamps))
	for i, s := range stamps {
		raw := make([]byte, 0, wire.BytesLen(v1Labels, labelLen(s)))
		ls[i] = label{name: []byte(s.Name), value: []byte(s.Value)}
		ls[i].raw = appendLabel(raw, ls[i].name, ls[i].value)
	}
	return ls
}

// appendLabel appends a label as field 1, which it is in series and exemplars of v1.
func appendLabel(dst, name, value []byte) []byte {
	size := wire.BytesLen(labelName, len(name)) + wire.BytesLen(labelValue, len(value))
	if len(name) < 0x80 && len(value) < 0x80 && size < 0x80 {
		dst = append(dst, v1Labels<<3|2, byte(size), labelName<<3|2, byte(len(name)))
		dst = append(dst, name...)
		dst = append(dst, labelValue<<3|2, byte(len(value)))
		return append(dst, value...)
	}
	dst, mark := wire.OpenMessage(dst, v1Labels, size)
	dst = wire.AppendBytes(dst, labelName, name)
	dst = wire.AppendBytes(dst, labelValue, value)
	return wire.CloseMessage(dst, mark)
}

// find returns the index of the first of ls called name, -1 if there is none.
func find(ls []label, name []byte) int {
	for i := range ls {
		if string(ls[i].name) == string(name) {
			return i
		}
	}
	return -1
}

// carries says whether ls has each stamp exactly once and with its value.
func carries(ls, stamps []label) bool {
	found := 0
	for i := range ls {
		s := find(stamps, ls[i].name)
		if s < 0 {
			continue
		}
		if string(stamps[s].value) != string(ls[i].value) || find(ls[:i], ls[i].name) >= 0 {
			return false
		}
		found++
	}
	return found == len(stamps)
}

// canonical returns ls with the stamps in place of all labels of their names, without empty values, sorted by name. It
// overwrites ls, which has room for the stamps.
func canonical(ls, stamps []label) []label {
	n := 0
	for i := range ls {
		if len(ls[i].value) == 0 || find(stamps, ls[i].name) >= 0 {
			continue
		}
		if n < i {
			ls[n] = ls[i]
		}
		n++
	}
	ls = sorted(ls[:n])
	// No name is left that is a stamp's, and stamps are sorted: each goes after the one before it.
	at := 0
	for i := range stamps {
		for at < len(ls) && string(ls[at].name) < string(stamps[i].name) {
			at++
		}
		ls = slices.Insert(ls, at, stamps[i])
	}
	return ls
}

// sorted sorts ls by name, byte by byte, as both versions demand. Labels of one name keep their order.
func sorted(ls []label) []label {
	for i := 1; i < len(ls); i++ {
		if string(ls[i].name) < string(ls[i-1].name) {
			slices.SortFunc(ls, func(a, b label) int {
				return cmp.Or(bytes.Compare(a.name, b.name), cmp.Compare(a.at, b.at))
			})
			break
		}
	}
	return ls
}

// unique drops doubled names from ls, which is canonical. The first of them stays.
func unique(ls []label) []label {
	return slices.CompactFunc(ls, func(a, b label) bool { return string(a.name) == string(b.name) })
}

// changed appends ls as c leaves it to dst. ls is what a view shows: canonical and unique.
func changed(dst, ls []label, c *labels.Change) []label {
	add := c.Add
	for i := range ls {
		if !c.Keeps(i) {
			continue
		}
		for len(add) > 0 && add[0].Name < string(ls[i].name) {
			dst, add = append(dst, newLabel(add[0])), add[1:]
		}
		dst = append(dst, ls[i])
	}
	for _, l := range add {
		dst = append(dst, newLabel(l))
	}
	return dst
}

func newLabel(l labels.Label) label {
	return label{name: bytesOf(l.Name), value: bytesOf(l.Value), at: atNew}
}

// ascends says whether name comes after prev.
func ascends(prev, name []byte) bool {
	if len(prev) > 0 && len(name) > 0 && prev[0] != name[0] {
		return prev[0] < name[0]
	}
	return string(prev) < string(name)
}

// metricName returns the first __name__ that has a value.
func metricName(ls []label) (l label, ok bool) {
	for i := range ls {
		if string(ls[i].name) == "__name__" && len(ls[i].value) > 0 {
			return ls[i], true
		}
	}
	return label{}, false
}

// bytesOf is s as bytes, which are not to be written to.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// stringOf is b as a string, which lives as long as b does.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
