package remotewrite

import (
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// seats are where among its labels the things that came to the last series stood. They usually stand there in the next one too,
// so that only the names on both sides of that seat have to be read.
type seats [8]int

// merger writes the labels of one series that came sorted as stamps and a Change make them, in one walk: it copies the
// stretches between what differs.
type merger struct {
	dst []byte
	// msg are the labels: the fields of a v1 series and what follows them, or packed refs where v2 is not nil.
	msg []byte
	v2  *batchV2
	// marks, where not nil, get noted which symbols the labels have that stay.
	marks []uint32

	change *labels.Change
	// What is still to come, in order.
	stamps []label
	add    []labels.Label

	// met is how many labels were walked over, of which the last begins at last and ends at at. What stands before copied is in
	// dst or has gone. view is how many there are as a rule sees them, with stamps.
	met, last, at, copied, view int
}

// merge writes all labels up to at, of which those behind copied are still to be copied. Where no Change decides about them, at
// may stand before labels that stay as they are.
func (m *merger) merge(known *seats) {
	if m.change != nil {
		m.add = m.change.Add
	}
	dst, stamps, add := m.dst, m.stamps, m.add
	for !m.seatAll(known) {
		*known = seats{} // a series of another kind: every name is read
		m.dst, m.stamps, m.add = dst, stamps, add
		m.met, m.last, m.at, m.copied, m.view = 0, 0, 0, 0, 0
	}
	if m.change != nil {
		m.walk(len(m.msg))
	}
}

// seatAll writes what comes, and all labels before it. It reports false where a label before a known seat belongs behind it.
func (m *merger) seatAll(known *seats) bool {
	for n := 0; len(m.stamps)+len(m.add) > 0; n++ {
		isStamp := len(m.add) == 0 || len(m.stamps) > 0 && string(m.stamps[0].name) <= m.add[0].Name
		var name []byte
		if isStamp {
			name = m.stamps[0].name
		} else {
			name = bytesOf(m.add[0].Name)
		}
		seat := 0
		if n < len(known) {
			seat = known[n]
		}
		same, ok := m.seek(name, seat)
		if !ok {
			return false
		}
		if n < len(known) {
			known[n] = m.met
		}
		m.flush()
		if isStamp {
			m.stamp(same)
		} else {
			m.bring(&m.add[0])
			m.add = m.add[1:]
		}
	}
	return true
}

// seek walks to where name belongs, which may be this seat, and says whether the label there has that name. It reports false
// where name belongs before that seat.
func (m *merger) seek(name []byte, seat int) (same, ok bool) {
	if seat > m.met {
		m.walk(seat - m.met)
		if m.more(m.at) && string(m.name(m.at)) == string(name) {
			return true, true
		}
		if m.met > 0 && !ascends(m.name(m.last), name) {
			return false, false
		}
	}
	for ; m.more(m.at); m.walk(1) {
		if here := m.name(m.at); !ascends(here, name) {
			return string(here) == string(name), true
		}
	}
	return false, true
}

// stamp writes the next stamp, unless a rule takes it away. It overwrites the label that stands here, if that has the same name.
func (m *merger) stamp(overwrites bool) {
	if m.keeps() {
		m.dst = append(m.dst, m.stamps[0].raw...)
	}
	m.stamps = m.stamps[1:]
	m.view++
	if overwrites {
		m.last, m.at = m.at, m.end(m.at)
		m.copied = m.at
		m.met++
	}
}

// bring writes a label that comes by the Change.
func (m *merger) bring(l *labels.Label) {
	if m.v2 == nil {
		m.dst = appendLabel(m.dst, bytesOf(l.Name), bytesOf(l.Value))
		return
	}
	name, value := m.v2.news.label(l)
	m.v2.use(name, value)
	m.dst = appendRefs(m.dst, label{nameRef: name, valueRef: value})
}

func (m *merger) keeps() bool { return m.change == nil || m.change.Keeps(m.view) }

// more says whether a label begins at at.
func (m *merger) more(at int) bool {
	return at < len(m.msg) && (m.v2 != nil || m.msg[at] == v1Labels<<3|2)
}

// walk walks over n labels, or as many as there are, and leaves out those that a rule takes away.
func (m *merger) walk(n int) {
	switch {
	case m.change == nil:
		m.skip(n)
	case m.v2 != nil:
		m.walkRefs(n)
	default:
		m.walkLabels(n)
	}
}

// walkLabels is walk for the fields of v1.
func (m *merger) walkLabels(n int) {
	msg, keep := m.msg, m.change.Keep
	last, at, view := m.last, m.at, m.view
	for ; n > 0 && at+1 < len(msg) && msg[at] == v1Labels<<3|2; n-- {
		end := at + 2 + int(msg[at+1])
		if msg[at+1] >= 0x80 {
			end = m.end(at)
		}
		if keep[view>>6]>>(view&63)&1 == 0 {
			m.leaveOut(at, end)
		}
		last, at = at, end
		view++
	}
	m.met += view - m.view
	m.last, m.at, m.view = last, at, view
}

// walkRefs is walk for refs.
func (m *merger) walkRefs(n int) {
	msg, keep := m.msg, m.change.Keep
	last, at, view := m.last, m.at, m.view
	for ; n > 0 && at < len(msg); n-- {
		name, end := uint32(msg[at]), at+1
		if name >= 0x80 {
			name, end = longRef(msg, at)
		}
		value := uint32(msg[end])
		if value < 0x80 {
			end++
		} else if next := msg[end+1]; next < 0x80 {
			value, end = value&0x7f|uint32(next)<<7, end+2
		} else {
			value, end = longRef(msg, end)
		}
		if keep[view>>6]>>(view&63)&1 == 0 {
			m.leaveOut(at, end)
		} else if m.marks != nil {
			m.marks[name], m.marks[value] = 1, 1
		}
		last, at = at, end
		view++
	}
	m.met += view - m.view
	m.last, m.at, m.view = last, at, view
}

// leaveOut leaves out what stands from at to end.
func (m *merger) leaveOut(at, end int) {
	m.dst = append(m.dst, m.msg[m.copied:at]...)
	m.copied = end
}

// skip steps over n labels, or as many as there are. All of them stay.
func (m *merger) skip(n int) {
	left := n
	for ; left > 0 && m.more(m.at); left-- {
		m.last, m.at = m.at, m.end(m.at)
	}
	m.met += n - left
	m.view += n - left
}

// flush copies what was walked over and stays.
func (m *merger) flush() {
	m.dst = append(m.dst, m.msg[m.copied:m.at]...)
	m.copied = m.at
}

// end is where the label at at ends.
func (m *merger) end(at int) int {
	if m.v2 == nil {
		n, at, _ := shortUvarint(m.msg, at+1)
		return at + int(n)
	}
	_, at = ref(m.msg, at)
	_, at = ref(m.msg, at)
	return at
}

// name is that of the label at at.
func (m *merger) name(at int) []byte {
	if m.v2 != nil {
		name, _ := ref(m.msg, at)
		return m.v2.symbol(name)
	}
	n, at, _ := shortUvarint(m.msg, at+1)
	name, _ := readLabel(m.msg[at : at+int(n)])
	return name
}

// ref reads the ref at at of a push that has been checked, and says where it ends. As in every protobuf reader only 32 bits of
// it count.
func ref(b []byte, at int) (v uint32, end int) {
	if b[at] < 0x80 {
		return uint32(b[at]), at + 1
	}
	return longRef(b, at)
}

// longRef is ref where more than one byte is expected.
func longRef(b []byte, at int) (v uint32, end int) {
	n, end, _ := longUvarint(b, at)
	return uint32(n), end
}

// shortUvarint reads the varint at at, and says where it ends. It is for what rarely takes more than two bytes.
func shortUvarint(b []byte, at int) (v uint64, end int, ok bool) {
	if at < len(b) && b[at] < 0x80 {
		return uint64(b[at]), at + 1, true
	}
	return longUvarint(b, at)
}

// longUvarint is shortUvarint where more than one byte is expected.
func longUvarint(b []byte, at int) (v uint64, end int, ok bool) {
	if at+1 < len(b) && b[at+1] < 0x80 {
		return uint64(b[at]&0x7f) | uint64(b[at+1])<<7, at + 2, true
	}
	v, n := wire.Uvarint(b[min(at, len(b)):])
	return v, at + n, n > 0
}
