package remotewrite

import (
	"encoding/binary"
	"slices"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// boundV2 is the most that encodeV2 appends. It need not walk: a label that is sent for the first time takes two bytes
// less as symbols than as a message, and always two refs.
func (b *batchV1) boundV2(e ingest.Edit) int {
	most := 2*b.labels + 2*len(e.Stamps) + 2*b.metadata + 1 // symbols
	n := len(b.raw) + 2
	strings, comes := b.reduction.addedSymbols(&b.books)
	if strings != nil {
		most += len(strings.at)
		n += len(strings.buf)
	}
	ref := wire.UvarintLen(uint64(most))
	if n += 2 * ref * comes; b.mixed > 0 {
		n += 2 * ref * comes
	}
	for _, s := range e.Stamps {
		n += wire.BytesLen(v2Symbols, len(s.Name)) + wire.BytesLen(v2Symbols, len(s.Value))
	}
	// A series gets a field of refs, and grows by its own length and that of its exemplars.
	perSeries := 4 + 6 + 2*ref*len(e.Stamps)
	if b.metadata > 0 {
		perSeries += 2 + 1 + binary.MaxVarintLen64 + 2*(1+ref)
	}
	n += (b.labels + b.mixedLabels) * 2 * ref
	n += (b.series + b.mixed) * (perSeries + 6)
	return n + b.count.Exemplars*(4+6)
}

// toV2 writes a 1.0 push as 2.0.
type toV2 struct {
	symbols *symbols
	stamps  []label
	// last are the labels of the series before, with their refs: neighbours share most of theirs, position by position.
	last, spare []label
	families    families
	family      *family // of the series in hand
	unstale     bool    // it leaves without its stale markers
	exemplar    []label
	size        int // of the series before
}

// encodeV2 appends the push as 2.0. Samples and histograms are the same messages there and are copied; unknown fields
// are left out, for their numbers may mean something else.
func (b *batchV1) encodeV2(dst []byte, e ingest.Edit) (ingest.Result, error) {
	w := toV2{symbols: newSymbols(&b.books, len(b.raw)/128), stamps: newStamps(e.Stamps)}
	w.last, _ = room(&b.books, w.last, b.most+len(w.stamps)+b.reduction.mostAdds)
	w.spare, _ = room(&b.books, w.spare, b.most+len(w.stamps)+b.reduction.mostAdds)
	if b.reduction.any {
		b.scratch, _ = room(&b.books, b.scratch, b.most+len(w.stamps))
	}
	if b.count.Exemplars > 0 {
		w.exemplar, _ = room(&b.books, w.exemplar, b.most)
	}
	if b.metadata > 0 {
		w.families = b.readFamilies()
	}
	start := len(dst)
	b.reduction.begin()
	var f wire.Field
	n := 0
	for msg := b.raw; len(msg) > 0 && b.books.err == nil; {
		if msg = next(msg, &f); f.Num != v1Series {
			continue
		}
		if fate, out := b.reduction.leaves(n, f.Data, &layoutV1); out {
			dst = w.convert(dst, b, f.Data, fate)
		} else {
			b.leaveOut(&w, f.Data)
		}
		n++
	}
	if b.books.err != nil {
		return ingest.Result{}, b.books.err
	}
	// The table is complete only now, and has to come first.
	table, end := w.symbols.buf, len(dst)
	dst = append(dst, table...)
	copy(dst[start+len(table):], dst[start:end])
	copy(dst[start:], table)
	return ingest.Result{Form: formV2, Sent: minus(b.count, b.reduction.gone), Held: b.reduction.held, Body: dst, Lost: losses(
		ingest.Loss{What: "metadata", N: b.metadata - w.families.used},
		ingest.Loss{What: "unknown_fields", N: b.unknowns - b.reduction.unknowns},
	)}, nil
}

// convert appends the series.
func (w *toV2) convert(dst []byte, b *batchV1, series []byte, fate fate) []byte {
	var ls []label
	if fate.change == nil {
		ls = canonical(collectV1(w.spare[:0], series), w.stamps)
		w.family = w.families.named(ls)
	} else {
		ls = canonical(collectV1(b.scratch, series), w.stamps)
		// What a push says of a metric follows its series to a new name, as in a push that comes as 2.0.
		w.family = w.families.named(ls)
		ls = changed(w.spare[:0], unique(ls), fate.change)
	}
	w.unstale = fate.unstale
	w.resolve(ls)
	if b.mixed > 0 && w.isMixed(series) {
		// 2.0 forbids both in one series.
		dst = w.appendSeries(dst, series, ls, v1Samples, v1Exemplars)
		return w.appendSeries(dst, series, ls, v1Histograms, v1Histograms)
	}
	return w.appendSeries(dst, series, ls, v1Samples, v1Histograms)
}

// leaveOut notes what a series that does not leave takes with it: that is not lost by the conversion.
func (b *batchV1) leaveOut(w *toV2, series []byte) {
	if b.metadata > 0 {
		w.families.named(canonical(collectV1(b.scratch, series), w.stamps))
	}
	if b.unknowns > 0 {
		var c batchV1
		if c.checkSeries(series, 0, nil) != nil {
			panic("BUG: a push that was decoded is not well formed")
		}
		b.reduction.unknowns += c.unknowns
	}
}

// losses are those of all that are any.
func losses(all ...ingest.Loss) []ingest.Loss {
	return slices.DeleteFunc(all, func(l ingest.Loss) bool { return l.N == 0 })
}

// isMixed says whether of a series of 1.0 samples and histograms leave.
func (w *toV2) isMixed(series []byte) bool {
	var f wire.Field
	samples, histograms := false, false
	for len(series) > 0 {
		if series = next(series, &f); w.staysHere(&f) {
			continue
		}
		samples = samples || f.Num == v1Samples
		histograms = histograms || f.Num == v1Histograms
	}
	return samples && histograms
}

// staysHere says whether field f of the series in hand is a stale marker that does not leave.
func (w *toV2) staysHere(f *wire.Field) bool {
	if !w.unstale {
		return false
	}
	_, stale, _ := layoutV1.point(f)
	return stale
}

// resolve gives ls, which is in spare, refs.
func (w *toV2) resolve(ls []label) {
	for i := range ls {
		l := &ls[i]
		var before label
		if i < len(w.last) {
			before = w.last[i]
		}
		if string(before.name) == string(l.name) {
			l.nameRef = before.nameRef
		} else {
			l.nameRef = w.symbols.ref(l.name)
		}
		if string(before.value) == string(l.value) {
			l.valueRef = before.valueRef
		} else {
			l.valueRef = w.symbols.ref(l.value)
		}
	}
	w.last, w.spare = ls, w.last
}

// appendSeries appends a series of 2.0 with labels ls and what series has in fields from to to.
func (w *toV2) appendSeries(dst, series []byte, ls []label, from, to int32) []byte {
	dst, mark := wire.OpenMessage(dst, v2Series, w.size)
	start := len(dst)
	dst = appendLabelRefs(dst, ls)
	var f wire.Field
	for len(series) > 0 {
		series = next(series, &f)
		if f.Num < from || f.Num > to || w.staysHere(&f) {
			continue
		}
		switch f.Num {
		case v1Samples:
			if plainSample(f.Data) {
				dst = append(dst, f.Raw...)
			} else {
				dst = appendMessage(dst, v2Samples, f.Data, sampleLast)
			}
		case v1Histograms:
			dst = appendMessage(dst, v2Histograms, f.Data, histogramCustom)
		case v1Exemplars:
			dst = w.appendExemplar(dst, f.Data)
		}
	}
	if w.family != nil {
		dst = w.appendMetadata(dst, w.family)
	}
	w.size = len(dst) - start
	return wire.CloseMessage(dst, mark)
}

// appendMessage appends field num with the fields of msg up to last.
func appendMessage(dst []byte, num int32, msg []byte, last int32) []byte {
	dst, mark := wire.OpenMessage(dst, num, len(msg))
	return wire.CloseMessage(appendUpTo(dst, msg, last), mark)
}

func (w *toV2) appendExemplar(dst, exemplar []byte) []byte {
	ls := sorted(collectV1(w.exemplar, exemplar))
	for i := range ls {
		ls[i].nameRef, ls[i].valueRef = w.symbols.ref(ls[i].name), w.symbols.ref(ls[i].value)
	}
	dst, mark := wire.OpenMessage(dst, v2Exemplars, 0)
	dst = appendLabelRefs(dst, ls)
	dst = appendExemplarRest(dst, exemplar)
	return wire.CloseMessage(dst, mark)
}

// appendExemplarRest appends value and timestamp of an exemplar. They are the same fields in both versions.
func appendExemplarRest(dst, exemplar []byte) []byte {
	var f wire.Field
	for len(exemplar) > 0 {
		if exemplar = next(exemplar, &f); f.Num > exemplarLabels && f.Num <= exemplarLast {
			dst = append(dst, f.Raw...)
		}
	}
	return dst
}

// appendMetadata appends what the push says of a metric.
func (w *toV2) appendMetadata(dst []byte, m *family) []byte {
	if !m.symbolized {
		m.symbolized = true
		w.read(m)
	}
	dst, mark := wire.OpenMessage(dst, v2Metadata, 0)
	if m.kind != 0 {
		dst = wire.AppendVarint(dst, metadataType, uint64(m.kind))
	}
	if m.help != 0 {
		dst = wire.AppendVarint(dst, v2MetadataHelp, uint64(m.help))
	}
	if m.unit != 0 {
		dst = wire.AppendVarint(dst, v2MetadataUnit, uint64(m.unit))
	}
	return wire.CloseMessage(dst, mark)
}

// read puts help and unit of m into the table.
func (w *toV2) read(m *family) {
	var f wire.Field
	var help, unit []byte // the last of each
	for msg := m.message; len(msg) > 0; {
		msg = next(msg, &f)
		switch f.Num {
		case v1MetadataHelp:
			help = f.Data
		case v1MetadataUnit:
			unit = f.Data
		}
	}
	m.help, m.unit = w.symbols.ref(help), w.symbols.ref(unit)
}
