package remotewrite

import (
	"slices"
	"unsafe"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// news are the strings that come to a 2.0 push: those of stamps and of the labels that Changes bring.
type news struct {
	names *symbols
	// refs are their places in the table of the push, by their places in names.
	refs []uint32
	// recent are refs of labels of Changes that were asked for last: neighbours have the same.
	recent recent
}

// recent is what is known of some labels of Changes, by where they stand. No Change changes while a push lasts.
type recent [16]known

type known struct {
	label       *labels.Label
	name, value uint32
}

// of is where l would be known.
func (r *recent) of(l *labels.Label) *known {
	return &r[uintptr(unsafe.Pointer(l))/unsafe.Sizeof(*l)%uintptr(len(r))]
}

// label returns the refs of l, which is among them.
func (n *news) label(l *labels.Label) (name, value uint32) {
	r := n.recent.of(l)
	if r.label != l {
		r.label, r.name, r.value = l, n.ref(bytesOf(l.Name)), n.ref(bytesOf(l.Value))
	}
	return r.name, r.value
}

// ref is the place of s, which is among them.
func (n *news) ref(s []byte) uint32 {
	if len(s) == 0 {
		return 0
	}
	id, _, _, ok := n.names.find(s)
	if !ok {
		panic("BUG: a label comes whose strings have no place in the table")
	}
	return n.refs[id]
}

// resolve gives all strings that come refs, unless there is no room: to symbols that the table has, else to new ones at its end.
func (b *batchV2) resolve(stamps []label) (ok bool) {
	n := &b.news
	n.refs, n.recent = n.refs[:0], recent{}
	if len(stamps) == 0 && b.reduction.mostAdds == 0 {
		return true
	}
	if b.reduction.mostAdds == 0 {
		n.names = newSymbols(&b.books, 0)
	} else if n.names == nil {
		n.names, _ = b.reduction.addedSymbols(&b.books)
	}
	for i := range stamps {
		n.names.ref(stamps[i].name)
		n.names.ref(stamps[i].value)
	}
	if n.refs, ok = room(&b.books, n.refs, len(n.names.at)); !ok {
		return false
	}
	n.refs = n.refs[:len(n.names.at)]
	clear(n.refs)
	lengths := uint64(0) // bit n: one of them has n%64 bytes
	for _, p := range n.names.at[1:] {
		lengths |= 1 << ((p.to - p.from) % 64)
	}
	for ref := uint32(1); ref < uint32(b.symbols); ref++ {
		s := b.symbol(ref)
		if lengths&(1<<(len(s)%64)) == 0 || len(s) == 0 {
			continue
		}
		if id, _, _, ok := n.names.find(s); ok && n.refs[id] == 0 {
			n.refs[id] = ref
		}
	}
	end := uint32(b.symbols)
	for id := 1; id < len(n.refs); id++ {
		if n.refs[id] == 0 {
			n.refs[id] = end
			end++
		}
	}
	for i := range stamps {
		s := &stamps[i]
		s.nameRef, s.valueRef = n.ref(s.name), n.ref(s.value)
		s.raw = appendRefs(nil, *s)
	}
	return true
}

// appendNews appends the strings that the table of the push does not have.
func (b *batchV2) appendNews(dst []byte) []byte {
	n := &b.news
	for id := 1; id < len(n.refs); id++ {
		if int(n.refs[id]) >= b.symbols {
			p := n.names.at[id]
			dst = wire.AppendBytes(dst, v2Symbols, n.names.buf[p.from:p.to])
		}
	}
	return dst
}

// use notes that something which leaves has these two symbols. Without a Reducer all do.
func (b *batchV2) use(name, value uint32) {
	if !b.reduction.any {
		return
	}
	// What is new is used.
	if int(name) < b.symbols {
		b.marks[name] = 1
	}
	if int(value) < b.symbols {
		b.marks[value] = 1
	}
}

// useAll is use for all refs of a series or exemplar.
func (b *batchV2) useAll(msg []byte) {
	if !b.reduction.any {
		return
	}
	for r := (refs{msg: msg}); ; {
		name, value, ok := r.pair()
		if !ok {
			return
		}
		b.use(name, value)
	}
}

// usePacked is use for packed refs.
func (b *batchV2) usePacked(packed []byte) {
	if !b.reduction.any {
		return
	}
	for at := 0; at < len(packed); {
		var symbol uint32
		if symbol, at = ref(packed, at); int(symbol) < b.symbols {
			b.marks[symbol] = 1
		}
	}
}

// useField is use for field f of a series that is no label. m is what it says of its metric so far, which is not used yet: of
// doubled messages the last ref counts.
func (b *batchV2) useField(f *wire.Field, m *metadata) {
	switch {
	case !b.reduction.any:
	case f.Num == v2Exemplars:
		b.useAll(f.Data)
	case f.Num == v2Metadata:
		m.reread(f.Data)
	}
}

// insertSymbols inserts the table before the series, which begin at start. Symbols that nothing uses any more leave as empty
// strings: refs stay what they are, and what a rule took away does not leave by the table.
func (b *batchV2) insertSymbols(dst []byte, start int) []byte {
	size := 0
	for ref := range uint32(b.symbols) {
		size += wire.BytesLen(v2Symbols, len(b.usedSymbol(ref)))
	}
	for id, ref := range b.news.refs {
		if int(ref) >= b.symbols {
			p := b.news.names.at[id]
			size += wire.BytesLen(v2Symbols, int(p.to-p.from))
		}
	}
	end := len(dst)
	dst = slices.Grow(dst, size)[:end+size]
	copy(dst[start+size:], dst[start:end])
	table := dst[:start]
	for ref := range uint32(b.symbols) {
		table = wire.AppendBytes(table, v2Symbols, b.usedSymbol(ref))
	}
	if len(b.appendNews(table)) != start+size {
		panic("BUG: the table of symbols has another size than was reserved")
	}
	return dst
}

// usedSymbol is symbol ref, or nothing if nothing that leaves has it.
func (b *batchV2) usedSymbol(ref uint32) []byte {
	if b.marks[ref] == 0 {
		return nil
	}
	return b.symbol(ref)
}
