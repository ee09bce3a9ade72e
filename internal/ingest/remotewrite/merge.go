package remotewrite

import (
	"math/bits"

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
	m.dst = appendRefs(m.dst, label{nameRef: name, valueRef: value})
}

func (m *merger) keeps() bool { return m.change == nil || m.change.Keeps(m.view) }

// more says whether a label begins at at.
func (m *merger) more(at int) bool {
	return at < len(m.msg) && (m.v2 != nil || m.msg[at] == v1Labels<<3|2)
}

// walk walks over n labels, or as many as there are, and leaves out those that a rule takes away.
func (m *merger) walk(n int) {
	for n > 0 && m.more(m.at) {
		stays, run := m.run(n)
		from := m.at
		m.skip(run)
		if !stays {
			m.dst = append(m.dst, m.msg[m.copied:from]...)
			m.copied = m.at
		}
		n -= run
	}
}

// run says whether the next label stays, and for how many of the next n that is so at least.
func (m *merger) run(n int) (stays bool, run int) {
	if m.change == nil {
		return true, n
	}
	bit := m.view & 63
	word := m.change.Keep[m.view>>6] >> bit
	if stays = word&1 != 0; stays {
		word = ^word
	}
	return stays, min(n, bits.TrailingZeros64(word), 64-bit)
}

// skip steps over n labels, or as many as there are.
func (m *merger) skip(n int) {
	msg, at, left := m.msg, m.at, n
	if m.v2 != nil {
		for ; left > 0 && at < len(msg); left-- {
			m.last = at
			at = m.end(at)
		}
	}
	for ; left > 0 && m.v2 == nil && at+1 < len(msg) && msg[at] == v1Labels<<3|2; left-- {
		m.last = at
		if size := int(msg[at+1]); size < 0x80 {
			at += 2 + size
		} else {
			at = m.end(at)
		}
	}
	m.at = at
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
	_, at, _ = shortUvarint(m.msg, at)
	_, at, _ = shortUvarint(m.msg, at)
	return at
}

// name is that of the label at at.
func (m *merger) name(at int) []byte {
	if m.v2 != nil {
		ref, _, _ := shortUvarint(m.msg, at)
		return m.v2.symbol(uint32(ref))
	}
	n, at, _ := shortUvarint(m.msg, at+1)
	name, _ := readLabel(m.msg[at : at+int(n)])
	return name
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
