package loki

import (
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// merging is what leaves of a push in which labels change: streams whose labels become equal leave as one, in the place
// of the first of them.
type merging struct {
	parts []part // one for each stream
	// slots is a hash table of the streams that are the first with their labels: number plus one, 0 where it is free.
	slots []int32
	// text holds label strings and metadata. What does not fit begins a new one; parts go on pointing into the old.
	text []byte
	// longest is how many lines the longest stream has that is made of several.
	longest int
}

// part is a stream of the push as part of one that leaves.
type part struct {
	key labels.Key // of the labels as they leave
	// first is the stream in whose place it leaves, maybe its own. What follows next, 0 for none, has the same first,
	// and last, of the first alone, is the end of that chain.
	first, next, last int32
	// labels, of the first alone, is their string. Nil: no rule changed any of the streams, they leave one by one.
	labels []byte
	moved  moved
}

// merge applies the changes and finds the streams that become one. Two are one if their keys are equal: what holds for the
// table of series holds here, that nobody can foresee a key of 128 bits.
func (d *reduction) merge(b *batch) (err error) {
	m := &merging{}
	d.merging = m
	if m.parts, err = ingest.Grow(m.parts, len(d.streams), d.set.lender); err != nil {
		return err
	}
	m.parts = m.parts[:len(d.streams)]
	slots := 16
	for slots < 2*len(d.streams) {
		slots *= 2
	}
	if m.slots, err = ingest.Grow(m.slots, slots, d.set.lender); err != nil {
		return err
	}
	m.slots = m.slots[:slots]

	var w relabeller
	for i := range d.streams {
		s := &d.streams[i]
		if !s.out {
			continue
		}
		one := &d.ss[s.judged]
		p := &m.parts[i]
		p.key = one.Key.Minus(one.Overwritten)
		if one.Change == nil {
			m.join(i)
			continue
		}
		if err := w.apply(d, s, p, b.regular); err != nil {
			return err
		}
		m.join(i)
		if first := &m.parts[p.first]; first.labels == nil {
			if first.labels, err = m.labels(w.left, d.set.lender); err != nil {
				return err
			}
			d.more += envelope + int64(len(first.labels))
		}
		if len(one.Change.Move) > 0 {
			if p.moved, err = m.metadata(one.Change.Move, d.set.lender); err != nil {
				return err
			}
			d.more += int64(s.left) * p.moved.growth(b.metadata)
		}
	}
	m.measure(d, b.regular)
	return nil
}

// measure sums up what the labels that are written anew took, and finds the longest stream.
func (m *merging) measure(d *reduction, regular bool) {
	for i := range m.parts {
		if !d.streams[i].out {
			continue
		}
		p := &m.parts[i]
		if m.parts[p.first].labels == nil {
			continue
		}
		d.less += int64(len(labelsOf(d.streams[i].msg, regular)))
		if int(p.first) == i && p.next != 0 {
			lines := 0
			for n := int32(i); ; n = m.parts[n].next {
				if lines += int(d.streams[n].left); m.parts[n].next == 0 {
					break
				}
			}
			m.longest = max(m.longest, lines)
		}
	}
}

// join puts stream i into the chain of those with its key.
func (m *merging) join(i int) {
	p := &m.parts[i]
	mask := uint64(len(m.slots) - 1)
	at := p.key.Lo & mask
	for m.slots[at] != 0 {
		first := m.slots[at] - 1
		if f := &m.parts[first]; f.key == p.key {
			m.parts[f.last].next = int32(i)
			f.last, p.first = int32(i), first
			return
		}
		at = (at + 1) & mask
	}
	m.slots[at] = int32(i) + 1
	p.first, p.last = int32(i), int32(i)
}

// room makes m.text have room for n bytes.
func (m *merging) room(n int, l ingest.Lender) (err error) {
	if cap(m.text)-len(m.text) < n {
		m.text, err = ingest.Lend[byte](max(n, 2*cap(m.text), 512), l)
	}
	return err
}

// labels writes a label string that parts can point to.
func (m *merging) labels(ls []labels.Label, l ingest.Lender) ([]byte, error) {
	if err := m.room(len("{}")+stampsLen(ls), l); err != nil {
		return nil, err
	}
	from := len(m.text)
	var none labelSet
	m.text = none.append(m.text, ls)
	return m.text[from:len(m.text):len(m.text)], nil
}

// relabeller applies changes to the labels of one stream after the other.
type relabeller struct {
	set  labels.Set
	left []labels.Label // what the last change left
}

// apply makes w.left and the key of p.
func (w *relabeller) apply(d *reduction, s *stream, p *part, regular bool) (err error) {
	lender, change := d.set.lender, d.change(s)
	if err := d.set.parse(labelsOf(s.msg, regular)); err != nil {
		return err
	}
	w.set.Reset()
	n := len(d.set.pairs) + len(d.r.Stamps)
	if w.set.All, err = ingest.Grow(w.set.All, n, lender); err != nil {
		return err
	}
	if w.set.Keys, err = ingest.Grow(w.set.Keys, n, lender); err != nil {
		return err
	}
	d.set.fill(&w.set, d.r.Stamps, d.r.Keys)
	for i, k := range w.set.Keys {
		if !change.Keeps(i) {
			p.key = p.key.Minus(k)
		}
	}
	for _, l := range change.Add {
		p.key = p.key.Plus(d.r.Keys.Sum(labels.Own, asBytes(l.Name), asBytes(l.Value)))
	}
	if w.left, err = ingest.Grow(w.left[:0], n+len(change.Add), lender); err != nil {
		return err
	}
	w.left = change.Append(w.left, w.set.All)
	return nil
}

// record is a line that is being put in order: its time, its stream, and where in that stream it is. The time is not a
// moment, which would leave four bytes empty in each.
type record struct {
	seconds       int64
	nanos, stream int32
	from          int
}

func (r *record) before(o *record) bool {
	return r.seconds < o.seconds || r.seconds == o.seconds && r.nanos < o.nanos
}

// records appends the lines of stream i that leave.
func (d *reduction) records(rs []record, i int32) []record {
	var f wire.Field
	s := &d.streams[i]
	n := s.line - 1
	for rest := s.msg; len(rest) > 0; {
		from := len(s.msg) - len(rest)
		if rest = next(rest, &f); f.Num != streamEntries {
			continue
		}
		if n++; !d.isLost(n) {
			at := entryTime(f.Data)
			rs = append(rs, record{at.seconds, at.nanos, i, from})
		}
	}
	return rs
}

func entryTime(entry []byte) moment {
	at, n := plainEntry(entry)
	if n == 0 {
		at = unset
	}
	var f wire.Field
	for entry = entry[n:]; len(entry) > 0; {
		if entry = next(entry, &f); f.Num == entryTimestamp {
			at, _ = readTime(f.Data) // the last one counts, as a whole
		}
	}
	return at
}

// inOrder returns how many of the first of rs are in order.
func inOrder(rs []record) int {
	for i := 1; i < len(rs); i++ {
		if rs[i].before(&rs[i-1]) {
			return i
		}
	}
	return len(rs)
}

// inTime sorts rs by time; what is of the same time stays as it came. It merges the runs that are in order already, pair
// by pair: senders write streams in order, so there are few. spare has room for as many records.
func inTime(rs, spare []record) []record {
	for inOrder(rs) < len(rs) {
		to := spare[:0]
		for from := rs; len(from) > 0; {
			n := inOrder(from)
			a, rest := from[:n], from[n:]
			n = inOrder(rest)
			b := rest[:n]
			from = rest[n:]
			for len(a) > 0 && len(b) > 0 {
				if b[0].before(&a[0]) {
					to, b = append(to, b[0]), b[1:]
				} else {
					to, a = append(to, a[0]), a[1:]
				}
			}
			to = append(append(to, a...), b...)
		}
		rs, spare = to, rs
	}
	return rs
}
