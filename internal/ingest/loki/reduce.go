package loki

import (
	"errors"
	"fmt"
	"sort"
	"unsafe"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// reduction is what a Reducer said about one push in which something changes.
type reduction struct {
	r   *ingest.Reducer
	set labelSet

	streams []stream
	ss      []ingest.Series // of the streams that have readable labels, in their order
	refused ingest.Refusal  // streams whose labels cannot be read

	// lost has a bit for each line of the push that is refused alone; nil: none is.
	lost []uint64
	// merging is nil unless the labels of a stream change.
	merging *merging

	left int // lines that leave
	// less and more are by how much the push shrinks at least and grows at most. 64 bits: labels that move are written to
	// every line, and nobody has looked yet at what that makes.
	less, more int64
}

// stream is what becomes of one stream of the push.
type stream struct {
	msg []byte
	// line is the number of its first line in the push; it has lines of them, and left leave.
	line        int
	lines, left int32
	// judged is where it stands in ss: for one that is unreadable, where it would.
	judged     int32
	unreadable bool
	out        bool // it leaves
}

// Reduce asks r about each stream, then about the lines that are too long in those that pass: what leaves is what limits
// are about. It keeps nothing if nothing changes.
func (b *batch) Reduce(r *ingest.Reducer) error {
	tooLong := r.LongestLine > 0 && r.TooLong != nil && b.longest > r.LongestLine
	if len(b.counts) == 0 || r.Judge == nil && !tooLong {
		return nil
	}
	d := &reduction{r: r, set: labelSet{lender: ingest.Lender{Charge: r.Charge, Stock: b.lender.Stock}}}
	if err := d.read(b); err != nil {
		return err
	}
	if len(d.ss) > 0 {
		r.Judge(d.ss, d.view(b.regular))
	}
	whole, changed := true, false
	for i := range d.streams {
		s := &d.streams[i]
		s.out = !s.unreadable && (d.ss == nil || d.ss[s.judged].Verdict.Out())
		if s.out && tooLong {
			if err := d.askLines(b, s); err != nil {
				return err
			}
		}
		whole = whole && s.out && s.left == s.lines
		if !s.out {
			d.less += int64(len(s.msg))
			continue
		}
		d.left += int(s.left)
		changed = changed || d.change(s) != nil
	}
	if changed {
		if err := d.merge(b); err != nil {
			return err
		}
	}
	if changed || !whole {
		b.reduction = d
	}
	return nil
}

// read finds the streams, reads their labels and makes their keys. Labels that do not parse are refused here: Loki would
// answer 400 for the whole push, and nobody can judge what they are.
func (d *reduction) read(b *batch) (err error) {
	if d.streams, err = ingest.Grow(d.streams, len(b.counts), d.set.lender); err != nil {
		return err
	}
	if d.r.Judge != nil {
		ss, err := d.r.Room(nil, len(b.counts))
		if err != nil {
			return err
		}
		d.ss = ss[:0]
	}
	line := 0
	var f wire.Field
	for rest := b.raw; len(rest) > 0; {
		rest = next(rest, &f) // well formed: the batch was made of it
		if f.Num != pushStreams {
			continue
		}
		lines := b.counts[len(d.streams)]
		s := stream{msg: f.Data, line: line, lines: lines, left: lines, judged: int32(len(d.ss))}
		line += int(lines)
		if s.unreadable, err = d.identify(b.regular, &s); err != nil {
			return err
		}
		d.streams = append(d.streams, s)
	}
	return nil
}

// identify adds s to the series, unless its labels are unreadable.
func (d *reduction) identify(regular bool, s *stream) (unreadable bool, err error) {
	if d.r.Judge == nil && len(d.r.Stamps) == 0 {
		return false, nil // nobody looks into the labels
	}
	if err := d.set.parse(labelsOf(s.msg, regular)); err != nil {
		var bad *syntaxError
		if !errors.As(err, &bad) {
			return false, err
		}
		refuseStream(&d.refused, len(d.streams)+1, bad, int(s.lines))
		return true, nil
	}
	if d.r.Judge == nil {
		return false, nil
	}
	keys := d.r.Keys
	keys.Begin()
	for _, p := range d.set.pairs {
		keys.Add(p.name, p.value)
	}
	one := ingest.Series{Items: s.lines, Weight: 1}
	one.Key, one.Overwritten = keys.End()
	d.ss = append(d.ss, one)
	return false, nil
}

// refuseStream books a stream, the n-th, whose labels are bad. The text has no excerpt: what stands there may be a label value,
// which the operator may not want in answers.
func refuseStream(r *ingest.Refusal, n int, bad *syntaxError, lines int) {
	if r.Reason == "" {
		r.Reason, r.Text = ingest.ReasonInvalidItem, fmt.Sprintf("stream %d: %v", n, bad)
	}
	r.Items += lines
}

// view shows Judge the labels of a stream. They are good until the next view. It takes no memory but the set's: the labels
// were parsed before, in what is used again here, so that there is nothing that could fail.
func (d *reduction) view(regular bool) func(i int, set *labels.Set) {
	return func(i int, set *labels.Set) {
		// Unreadable streams have the number of the next readable one, so the last that has it is meant.
		n := sort.Search(len(d.streams), func(n int) bool { return int(d.streams[n].judged) > i }) - 1
		if err := d.set.parse(labelsOf(d.streams[n].msg, regular)); err != nil {
			panic("BUG: labels that parsed do not parse: " + err.Error())
		}
		d.set.fill(set, d.r.Stamps, d.r.Keys)
	}
}

// change is what becomes of the labels of s; nil: nothing but stamps.
func (d *reduction) change(s *stream) *labels.Change {
	if d.ss == nil {
		return nil
	}
	return d.ss[s.judged].Change
}

// askLines asks about the lines of s that are too long, and remembers those that are refused. A stream that loses all of
// its lines does not leave.
func (d *reduction) askLines(b *batch, s *stream) (err error) {
	var f wire.Field
	n, lost := s.line-1, 0
	for rest := s.msg; len(rest) > 0; {
		rest = next(rest, &f)
		if f.Num != streamEntries {
			continue
		}
		n++
		if len(f.Data) <= d.r.LongestLine {
			continue // nor is the line in it
		}
		size := lineLen(f.Data)
		if size <= d.r.LongestLine || !d.r.TooLong(size) {
			continue
		}
		if d.lost == nil {
			words := (b.lines + 63) / 64
			if d.lost, err = ingest.Grow(d.lost, words, d.set.lender); err != nil {
				return err
			}
			d.lost = d.lost[:words]
		}
		d.lost[n>>6] |= 1 << (n & 63)
		lost += len(f.Raw)
		s.left--
	}
	if s.out = s.left > 0 || s.lines == 0; s.out {
		d.less += int64(lost)
	}
	return nil
}

// isLost says whether line n of the push is refused alone.
func (d *reduction) isLost(n int) bool { return d.lost != nil && d.lost[n>>6]>>(n&63)&1 != 0 }

// labelsOf is the label string of a stream: of several the last.
func labelsOf(msg []byte, regular bool) (text []byte) {
	var f wire.Field
	for rest := msg; len(rest) > 0; {
		if rest = next(rest, &f); f.Num == streamLabels {
			if text = f.Data; regular {
				break
			}
		}
	}
	return text
}

// next is wire.Next for what was found well formed when the push was walked. Nearly all of that is small fields of bytes,
// whose length takes one byte or two.
func next(msg []byte, f *wire.Field) (rest []byte) {
	tag := msg[0]
	if tag >= 0x80 || tag&7 != byte(wire.Bytes) {
		rest, _ = wire.Next(msg, f)
		return rest
	}
	from, end := 2, 2+int(msg[1])
	if msg[1] >= 0x80 {
		if from, end = 3, 3+int(msg[1]&0x7f)+int(msg[2])<<7; msg[2] >= 0x80 {
			size, width := wire.Uvarint(msg[1:])
			from = 1 + width
			end = from + int(size)
		}
	}
	f.Num, f.Type, f.Data, f.Raw = int32(tag>>3), wire.Bytes, msg[from:end:end], msg[:end:end]
	return msg[end:]
}

// countEntries counts the lines of a stream.
func countEntries(msg []byte) (n int) {
	var f wire.Field
	for len(msg) > 0 {
		if msg = next(msg, &f); f.Num == streamEntries {
			n++
		}
	}
	return n
}

// lineLen is how long the line of an entry is.
func lineLen(entry []byte) (n int) {
	var f wire.Field
	for len(entry) > 0 {
		if entry = next(entry, &f); f.Num == entryLine {
			n = len(f.Data)
		}
	}
	return n
}

// fill fills set with the labels that parse found, stamps on them.
func (s *labelSet) fill(set *labels.Set, stamps []labels.Label, keys *labels.Hasher) {
	add := func(name, value []byte) {
		set.Add(labels.Label{Name: asString(name), Value: asString(value)}, keys.Sum(labels.Own, name, value))
	}
	for _, p := range s.pairs {
		for len(stamps) > 0 && stamps[0].Name < string(p.name) {
			add(asBytes(stamps[0].Name), asBytes(stamps[0].Value))
			stamps = stamps[1:]
		}
		if len(stamps) == 0 || stamps[0].Name != string(p.name) {
			add(p.name, p.value)
		}
	}
	for _, l := range stamps {
		add(asBytes(l.Name), asBytes(l.Value))
	}
	set.Sort()
}

// asString is b as a string, which changes when b does.
func asString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// asBytes is s as bytes, which are not to be written to.
func asBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
