package remotewrite

import (
	"encoding/binary"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// Bound is what Encode appends at most.
func (b *batchV2) Bound(e ingest.Edit) int {
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
	if e.Form.Version == 1 {
		return b.encodeV1(dst, e)
	}
	stamps := newStamps(e.Stamps)
	res := ingest.Result{Form: FormV2, Sent: b.sent(), Refused: b.refused()}
	if b.series == 0 {
		stamps = nil
	}
	if !b.mustChange() && b.carries(stamps) {
		res.Unchanged = true
		return res, nil
	}
	b.index()
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
			if *refs[i] == 0 && len(w) > 0 && string(s) == string(w) {
				*refs[i] = uint32(ref)
			}
		}
	}
	n := uint32(b.symbols)
	for i, w := range want {
		if *refs[i] != 0 || len(w) == 0 {
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
		if len(stamps[i].value) > 0 {
			stamps[i].raw = appendRefs(nil, stamps[i])
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
		if f.Num == v2Series && !carries(b.collect(f.Data), stamps) {
			return false
		}
	}
	return true
}

// index makes the table of symbols.
func (b *batchV2) index() {
	if b.table != nil {
		return
	}
	b.table = make([]uint32, 0, b.symbols)
	var f wire.Field
	for msg := b.raw; len(b.table) < b.symbols; {
		from := len(b.raw) - len(msg)
		if msg = next(msg, &f); f.Num == v2Symbols {
			_, tag := wire.Uvarint(f.Raw)
			b.table = append(b.table, uint32(from+tag))
		}
	}
}

// symbol returns symbol ref, which is in the table.
func (b *batchV2) symbol(ref uint32) []byte {
	p := b.raw[b.table[ref]:]
	n, l := wire.Uvarint(p)
	end := l + int(n)
	return p[l:end:end]
}

// collect returns the labels of a series or of an exemplar: in both, field 1 is refs. They are valid until the next call.
// Labels whose refs lead nowhere are left out.
func (b *batchV2) collect(msg []byte) []label {
	b.index()
	b.scratch = b.scratch[:0]
	var f wire.Field
	var name uint32
	half := false // name is waiting for its value; it may stand in another field
	take := func(v uint64) {
		ref := uint32(v)
		if half = !half; half {
			name = ref
		} else if n := uint32(b.symbols); name < n && ref < n {
			b.scratch = append(b.scratch, label{name: b.symbol(name), value: b.symbol(ref), nameRef: name, valueRef: ref, at: len(b.scratch)})
		}
	}
	for len(msg) > 0 {
		if msg = next(msg, &f); f.Num != v2Refs {
			continue
		}
		if f.Type == wire.Varint {
			take(f.Int)
			continue
		}
		for p := f.Data; len(p) > 0; {
			v, l := wire.Uvarint(p)
			take(v)
			p = p[l:]
		}
	}
	return b.scratch
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
	var refs wire.Field
	if !b.ragged {
		rest := next(f.Data, &refs)
		if out, ok := b.merge(dst, refs.Data, stamps, added); ok {
			return wire.CloseMessage(append(out, rest...), mark)
		}
	}
	ls := b.collect(f.Data)
	if !carries(ls, stamps) {
		ls = canonical(ls, stamps)
		b.scratch = ls
	} else if !b.disorder {
		return append(dst[:start], f.Raw...)
	}
	dst = appendLabelRefs(dst, ls)
	for msg := f.Data; len(msg) > 0; {
		if msg = next(msg, &refs); refs.Num != v2Refs {
			dst = append(dst, refs.Raw...)
		}
	}
	return wire.CloseMessage(dst, mark)
}

// merge appends refs with those of the stamps, in one walk and by copying the stretches between them. It gives up where
// the labels are not strictly sorted or a value is empty.
func (b *batchV2) merge(dst, refs []byte, stamps []label, added int) ([]byte, bool) {
	dst, mark := wire.OpenMessage(dst, v2Refs, len(refs)+added)
	var prev []byte
	done, copied := 0, 0
	for at := 0; at < len(refs); {
		nameRef, n := wire.Uvarint(refs[at:])
		valueRef, m := wire.Uvarint(refs[at+n:])
		name := b.symbol(uint32(nameRef))
		if len(b.symbol(uint32(valueRef))) == 0 || string(name) <= string(prev) {
			return dst, false
		}
		prev = name
		for done < len(stamps) && string(stamps[done].name) <= string(name) {
			dst = append(dst, refs[copied:at]...)
			dst = append(dst, stamps[done].raw...)
			copied = at
			if string(stamps[done].name) == string(name) {
				copied = at + n + m
			}
			done++
		}
		at += n + m
	}
	dst = append(dst, refs[copied:]...)
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
