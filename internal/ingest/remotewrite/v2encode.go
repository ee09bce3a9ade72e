package remotewrite

import (
	"encoding/binary"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// Bound is what Encode appends at most.
func (b *batchV2) Bound(e ingest.Edit) int {
	b.books.charge = e.Charge
	if e.Form.Version == 1 {
		return b.boundV1(e)
	}
	if !b.mustChange() && (len(e.Stamps) == 0 || b.series == 0) {
		return 0
	}
	strings, comes := b.reduction.addedSymbols(&b.books)
	b.news.names = strings
	ref, table := b.symbols+2*len(e.Stamps), 0
	if strings != nil {
		ref, table = ref+len(strings.at), len(strings.buf)
	}
	ref = wire.UvarintLen(uint64(ref))
	for _, s := range e.Stamps {
		table += wire.BytesLen(v2Symbols, len(s.Name)) + wire.BytesLen(v2Symbols, len(s.Value))
	}
	// Beside the refs of stamps and of what comes to it a series grows by its own length and that of its refs, from one byte
	// to five, and by the tag and length of refs that were not packed.
	return len(b.raw) + table + 2*ref*comes + b.series*(2*ref*len(e.Stamps)+4+4+2)
}

// mustChange says whether the push cannot leave as it came, whatever the stamps.
func (b *batchV2) mustChange() bool { return b.private || b.disorder || b.bad > 0 || b.reduction.any }

// Encode appends the push as it leaves. Symbols come first: Mimir reads refs as it meets them.
func (b *batchV2) Encode(dst []byte, e ingest.Edit) (ingest.Result, error) {
	b.books.charge = e.Charge
	stamps := newStamps(e.Stamps)
	if e.Form.Version == 1 {
		return b.encodeV1(dst, stamps)
	}
	res := ingest.Result{Form: formV2, Sent: b.sent(), Refused: b.refused()}
	if b.series == 0 {
		stamps = nil
	}
	if (len(stamps) > 0 || b.disorder || b.reduction.any) && !b.prepare(stamps) {
		return ingest.Result{}, b.books.err
	}
	if !b.mustChange() && b.carries(stamps) && b.books.err == nil {
		res.Unchanged = true
		return res, nil
	}
	if !b.resolve(stamps) || b.reduction.any && !b.mark() {
		return ingest.Result{}, b.books.err
	}
	start := len(dst)
	if !b.reduction.any {
		dst = b.appendNews(b.appendSymbols(dst))
	}
	b.reduction.begin()
	var f wire.Field
	n := 0
	for msg := b.raw; len(msg) > 0 && b.books.err == nil; {
		msg = nextSeries(msg, &f)
		switch f.Num {
		case v2Symbols, skipLabelValidation, skipLabelCountValidation:
		case v2Series:
			if b.isBad(f.Data) {
				continue
			}
			if fate, out := b.reduction.leaves(n, f.Data, &layoutV2); out {
				dst = b.rewrite(dst, &f, stamps, fate)
			}
			n++
		default:
			dst = append(dst, f.Raw...)
		}
	}
	if b.books.err != nil {
		return ingest.Result{}, b.books.err
	}
	if b.reduction.any {
		dst = b.insertSymbols(dst, start)
	}
	res.Sent, res.Held = minus(res.Sent, b.reduction.gone), b.reduction.held
	res.Body = dst
	return res, nil
}

// appendSymbols appends the table as it came.
func (b *batchV2) appendSymbols(dst []byte) []byte {
	var f wire.Field
	for msg := b.raw; len(msg) > 0; {
		if msg = next(msg, &f); f.Num == v2Symbols {
			dst = append(dst, f.Raw...)
		}
	}
	return dst
}

// carries says whether every series has every stamp already. Usually the first has not.
func (b *batchV2) carries(stamps []label) bool {
	if len(stamps) == 0 {
		return true
	}
	var f wire.Field
	for msg := b.raw; len(msg) > 0; {
		msg = next(msg, &f)
		if f.Num == v2Series && !carries(b.collect(b.scratch, f.Data), stamps) {
			return false
		}
	}
	return true
}

// prepare makes the table of symbols and the scratches, unless there is no room.
func (b *batchV2) prepare(stamps []label) (ok bool) {
	b.scratch, b.final, ok = b.reduction.scratches(&b.books, b.scratch, b.final, b.most+len(stamps))
	return ok && b.index()
}

// index makes the table of symbols, unless there is no room.
func (b *batchV2) index() (ok bool) {
	if b.table, ok = room(&b.books, b.table, b.symbols-len(b.table)); !ok {
		return false
	}
	var f wire.Field
	for msg := b.raw; len(b.table) < b.symbols; {
		from := len(b.raw) - len(msg)
		if len(msg) > 1 && msg[0] == v2Symbols<<3|2 && msg[1] < 0x80 {
			// The common case of the code below.
			b.table = append(b.table, uint32(from+1))
			msg = msg[2+int(msg[1]):]
			continue
		}
		if msg = next(msg, &f); f.Num == v2Symbols {
			_, tag := wire.Uvarint(f.Raw)
			b.table = append(b.table, uint32(from+tag))
		}
	}
	return true
}

// symbol returns symbol ref, which is in the table.
func (b *batchV2) symbol(ref uint32) []byte {
	p := b.raw[b.table[ref]:]
	n, l := wire.Uvarint(p)
	end := l + int(n)
	return p[l:end:end]
}

// refs walks over the refs of a series or of an exemplar: in both they are field 1, packed or not.
type refs struct{ msg, packed []byte }

// pair returns the refs of the next label.
func (r *refs) pair() (name, value uint32, ok bool) {
	n, l := wire.Uvarint(r.packed)
	if v, m := wire.Uvarint(r.packed[l:]); m > 0 { // so l > 0
		r.packed = r.packed[l+m:]
		return uint32(n), uint32(v), true
	}
	// The two stand in different fields, or there are no more in this.
	if name, ok = r.next(); ok {
		value, ok = r.next()
	}
	return name, value, ok
}

// next returns the next ref, if there is one.
func (r *refs) next() (ref uint32, ok bool) {
	for len(r.packed) == 0 {
		if len(r.msg) == 0 {
			return 0, false
		}
		var f wire.Field
		if r.msg = next(r.msg, &f); f.Num != v2Refs {
			continue
		}
		if f.Type == wire.Varint {
			return uint32(f.Int), true
		}
		r.packed = f.Data
	}
	v, n := wire.Uvarint(r.packed)
	r.packed = r.packed[n:]
	return uint32(v), true
}

// longName is from how many bytes on a name counts as hashed each time that it is collected, to be compared with others.
const longName = 4 << 10

// collect appends the labels of a series or of an exemplar to ls, not all of them where there is too much of long names.
func (b *batchV2) collect(ls []label, msg []byte) []label {
	for r := (refs{msg: msg}); ; {
		name, value, ok := r.pair()
		if !ok {
			return ls
		}
		l := label{name: b.symbol(name), value: b.symbol(value), nameRef: name, valueRef: value, at: len(ls)}
		if len(l.name) >= longName && !b.hash(l.name, nil) {
			return ls
		}
		ls = append(ls, l)
	}
}

// rewrite appends the series f with stamps, as its fate says, and its refs first.
func (b *batchV2) rewrite(dst []byte, f *wire.Field, stamps []label, fate fate) []byte {
	if len(stamps) == 0 && !b.disorder && fate.plain() {
		return b.keep(dst, f)
	}
	start := len(dst)
	added := 0
	for i := range stamps {
		added += len(stamps[i].raw)
	}
	dst, mark := wire.OpenMessage(dst, v2Series, len(f.Data)+added+8)
	labelsAt := len(dst)
	rest := f.Data
	if !b.ragged {
		var g wire.Field
		rest = next(rest, &g)
		if fate.sorted {
			dst = b.merge(dst, g.Data, stamps, added, fate)
			return wire.CloseMessage(b.appendRest(dst, rest, fate.unstale), mark)
		}
	}
	ls := b.collect(b.scratch, f.Data)
	switch {
	case fate.change != nil:
		ls = changed(b.final, unique(canonical(ls, stamps)), fate.change)
		for i := range ls {
			if l := &ls[i]; l.at == atNew {
				l.nameRef, l.valueRef = b.news.ref(l.name), b.news.ref(l.value)
			}
		}
	case !carries(ls, stamps):
		ls = canonical(ls, stamps)
	case !b.disorder && !fate.unstale:
		return b.keep(dst[:start], f)
	}
	dst = appendLabelRefs(dst, ls)
	b.useAll(dst[labelsAt:])
	return wire.CloseMessage(b.appendRest(dst, rest, fate.unstale), mark)
}

// keep appends the series f as it is.
func (b *batchV2) keep(dst []byte, f *wire.Field) []byte {
	if b.reduction.any {
		b.useAll(f.Data)
		b.walkRest(f.Data, false, func([]byte) {})
	}
	return append(dst, f.Raw...)
}

// appendRest appends what of series is no label and, where that is so, no stale marker.
func (b *batchV2) appendRest(dst, series []byte, unstale bool) []byte {
	if !b.reduction.any && !b.ragged {
		return append(dst, series...)
	}
	b.walkRest(series, unstale, func(stays []byte) { dst = append(dst, stays...) })
	return dst
}

// walkRest shows the stretches of series that are no labels and, where that is so, no stale markers, and notes the symbols that
// are in use there.
func (b *batchV2) walkRest(series []byte, unstale bool, show func(stays []byte)) {
	var f wire.Field
	var m metadata
	begin, at := 0, 0
	for at < len(series) {
		if p, n, ok := firstSample(series[at:]); ok && !(unstale && p.stale) {
			at += n
			continue
		}
		if msg, n := shortField(series[at:], v2Metadata<<3|2); n > 0 {
			m.reread(msg)
			at += n
			continue
		}
		rest := next(series[at:], &f)
		stays := f.Num != v2Refs
		if stays && unstale {
			_, stale, _ := layoutV2.point(&f)
			stays = !stale
		}
		end := len(series) - len(rest)
		if stays {
			b.useField(&f, &m)
		} else {
			show(series[begin:at])
			begin = end
		}
		at = end
	}
	show(series[begin:])
	b.use(m.help, m.unit)
}

// merge appends packed refs, which came sorted, as stamps and fate make them.
func (b *batchV2) merge(dst, packed []byte, stamps []label, added int, fate fate) []byte {
	dst, mark := wire.OpenMessage(dst, v2Refs, len(packed)+added)
	var m merger
	m.dst, m.msg, m.v2, m.stamps, m.change = dst, packed, b, stamps, fate.change
	if m.change != nil && len(stamps) == 0 {
		// Without stamps no wrong seat brings a label under another bit of Keep, which would mark what goes.
		m.marks = b.marks
	}
	start := len(dst)
	m.merge(&b.seats)
	dst = append(m.dst, packed[m.copied:]...)
	if m.marks == nil {
		b.usePacked(dst[start:])
	}
	return wire.CloseMessage(dst, mark)
}

// appendLabelRefs appends ls as field 1 of a series or exemplar of v2.
func appendLabelRefs(dst []byte, ls []label) []byte {
	if len(ls) == 0 {
		return dst
	}
	dst, mark := wire.OpenMessage(dst, v2Refs, 0)
	for i := range ls {
		dst = appendRefs(dst, ls[i])
	}
	return wire.CloseMessage(dst, mark)
}

func appendRefs(dst []byte, l label) []byte {
	dst = binary.AppendUvarint(dst, uint64(l.nameRef))
	return binary.AppendUvarint(dst, uint64(l.valueRef))
}
