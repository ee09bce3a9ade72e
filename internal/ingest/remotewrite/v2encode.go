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
	ref := wire.UvarintLen(uint64(b.symbols + 2*len(e.Stamps)))
	table := 0
	for _, s := range e.Stamps {
		table += wire.BytesLen(v2Symbols, len(s.Name)) + wire.BytesLen(v2Symbols, len(s.Value))
	}
	// Beside the refs of stamps a series grows by its own length and that of its refs, from one byte to five, and by
	// the tag and length of refs that were not packed.
	return len(b.raw) + table + b.series*(2*ref*len(e.Stamps)+4+4+2)
}

// mustChange says whether the push cannot leave as it came, whatever the stamps.
func (b *batchV2) mustChange() bool { return b.private || b.disorder || b.bad > 0 }

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
	if (len(stamps) > 0 || b.disorder) && !b.prepare(stamps) {
		return ingest.Result{}, b.books.err
	}
	if !b.mustChange() && b.carries(stamps) {
		res.Unchanged = true
		return res, nil
	}
	dst = b.appendSymbols(dst)
	dst = b.symbolize(dst, stamps)
	var f wire.Field
	for msg := b.raw; len(msg) > 0; {
		msg = next(msg, &f)
		switch f.Num {
		case v2Symbols, skipLabelValidation, skipLabelCountValidation:
		case v2Series:
			if !b.isBad(f.Data) {
				dst = b.stamp(dst, &f, stamps)
			}
		default:
			dst = append(dst, f.Raw...)
		}
	}
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

// symbolize gives the stamps refs: to symbols that the table has, else to ones that it appends.
func (b *batchV2) symbolize(dst []byte, stamps []label) []byte {
	if len(stamps) == 0 {
		return dst
	}
	refs := make([]*uint32, 0, 2*len(stamps))
	want := make([][]byte, 0, 2*len(stamps))
	for i := range stamps {
		refs = append(refs, &stamps[i].nameRef, &stamps[i].valueRef)
		want = append(want, stamps[i].name, stamps[i].value)
	}
	for ref := 1; ref < b.symbols; ref++ {
		s := b.symbol(uint32(ref))
		for i, w := range want {
			if *refs[i] == 0 && string(s) == string(w) {
				*refs[i] = uint32(ref)
			}
		}
	}
	n := uint32(b.symbols)
	for i, w := range want {
		if *refs[i] != 0 {
			continue
		}
		dst = wire.AppendBytes(dst, v2Symbols, w)
		for j := i; j < len(want); j++ {
			if string(want[j]) == string(w) {
				*refs[j] = n
			}
		}
		n++
	}
	for i := range stamps {
		stamps[i].raw = appendRefs(nil, stamps[i])
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

// prepare makes the table of symbols and the scratch, unless there is no room.
func (b *batchV2) prepare(stamps []label) (ok bool) {
	b.scratch, ok = room(&b.books, b.scratch, b.most+len(stamps))
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

// collect appends the labels of a series or of an exemplar to ls.
func (b *batchV2) collect(ls []label, msg []byte) []label {
	for r := (refs{msg: msg}); ; {
		name, value, ok := r.pair()
		if !ok {
			return ls
		}
		ls = append(ls, label{name: b.symbol(name), value: b.symbol(value), nameRef: name, valueRef: value, at: len(ls)})
	}
}

// stamp appends the series f with stamps and its refs first.
func (b *batchV2) stamp(dst []byte, f *wire.Field, stamps []label) []byte {
	if len(stamps) == 0 && !b.disorder {
		return append(dst, f.Raw...)
	}
	start := len(dst)
	added := 0
	for i := range stamps {
		added += len(stamps[i].raw)
	}
	dst, mark := wire.OpenMessage(dst, v2Series, len(f.Data)+added+8)
	var g wire.Field
	if !b.ragged {
		rest := next(f.Data, &g)
		if out, ok := b.merge(dst, g.Data, stamps, added); ok {
			return wire.CloseMessage(append(out, rest...), mark)
		}
	}
	ls := b.collect(b.scratch, f.Data)
	if !carries(ls, stamps) {
		ls = canonical(ls, stamps)
	} else if !b.disorder {
		return append(dst[:start], f.Raw...)
	}
	dst = appendLabelRefs(dst, ls)
	for msg := f.Data; len(msg) > 0; {
		if msg = next(msg, &g); g.Num != v2Refs {
			dst = append(dst, g.Raw...)
		}
	}
	return wire.CloseMessage(dst, mark)
}

// merge appends packed refs with those of the stamps, in one walk and by copying the stretches between them. It gives up
// where the labels are not strictly sorted or a value is empty.
func (b *batchV2) merge(dst, packed []byte, stamps []label, added int) ([]byte, bool) {
	dst, mark := wire.OpenMessage(dst, v2Refs, len(packed)+added)
	var prev []byte
	done, copied := 0, 0
	for r := (refs{packed: packed}); len(r.packed) > 0; {
		at := len(packed) - len(r.packed)
		nameRef, valueRef, _ := r.pair()
		name := b.symbol(nameRef)
		if len(b.symbol(valueRef)) == 0 || string(name) <= string(prev) {
			return dst, false
		}
		prev = name
		for done < len(stamps) && string(stamps[done].name) <= string(name) {
			dst = append(dst, packed[copied:at]...)
			dst = append(dst, stamps[done].raw...)
			copied = at
			if string(stamps[done].name) == string(name) {
				copied = len(packed) - len(r.packed)
			}
			done++
		}
	}
	dst = append(dst, packed[copied:]...)
	for ; done < len(stamps); done++ {
		dst = append(dst, stamps[done].raw...)
	}
	return wire.CloseMessage(dst, mark), true
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
