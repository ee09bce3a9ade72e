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
	ref := wire.UvarintLen(uint64(most))
	n := len(b.raw) + 2
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
	exemplar    []label
	size        int // of the series before
}

// encodeV2 appends the push as 2.0. Samples and histograms are the same messages there and are copied; unknown fields
// are left out, for their numbers may mean something else.
func (b *batchV1) encodeV2(dst []byte, e ingest.Edit) (ingest.Result, error) {
	w := toV2{symbols: newSymbols(&b.books, len(b.raw)/128), stamps: newStamps(e.Stamps)}
	w.last, _ = room(&b.books, w.last, b.most+len(w.stamps))
	w.spare, _ = room(&b.books, w.spare, b.most+len(w.stamps))
	if b.count.Exemplars > 0 {
		w.exemplar, _ = room(&b.books, w.exemplar, b.most)
	}
	if b.metadata > 0 {
		w.families = b.readFamilies()
	}
	start := len(dst)
	var f wire.Field
	for msg := b.raw; len(msg) > 0 && b.books.err == nil; {
		if msg = next(msg, &f); f.Num != v1Series {
			continue
		}
		ls := canonical(collectV1(w.spare[:0], f.Data), w.stamps)
		w.resolve(ls)
		if b.mixed > 0 && isMixed(f.Data) {
			// 2.0 forbids both in one series.
			dst = w.appendSeries(dst, f.Data, ls, v1Samples, v1Exemplars)
			dst = w.appendSeries(dst, f.Data, ls, v1Histograms, v1Histograms)
		} else {
			dst = w.appendSeries(dst, f.Data, ls, v1Samples, v1Histograms)
		}
	}
	if b.books.err != nil {
		return ingest.Result{}, b.books.err
	}
	// The table is complete only now, and has to come first.
	table, end := w.symbols.buf, len(dst)
	dst = append(dst, table...)
	copy(dst[start+len(table):], dst[start:end])
	copy(dst[start:], table)
	return ingest.Result{Form: formV2, Sent: b.count, Body: dst, Lost: losses(
		ingest.Loss{What: "metadata", N: b.metadata - w.families.used},
		ingest.Loss{What: "unknown_fields", N: b.unknowns},
	)}, nil
}

// losses are those of all that are any.
func losses(all ...ingest.Loss) []ingest.Loss {
	return slices.DeleteFunc(all, func(l ingest.Loss) bool { return l.N == 0 })
}

// isMixed says whether a series of 1.0 holds samples and histograms.
func isMixed(series []byte) bool {
	var f wire.Field
	samples, histograms := false, false
	for len(series) > 0 {
		series = next(series, &f)
		samples = samples || f.Num == v1Samples
		histograms = histograms || f.Num == v1Histograms
	}
	return samples && histograms
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
		if f.Num < from || f.Num > to {
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
	if w.families.names != nil {
		dst = w.appendMetadata(dst, ls)
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

// appendMetadata appends what the push says of the metric that ls names.
func (w *toV2) appendMetadata(dst []byte, ls []label) []byte {
	name, ok := metricName(ls)
	if !ok {
		return dst
	}
	m := w.families.of(name.value)
	if m == nil {
		return dst
	}
	if !m.used {
		m.used = true
		w.families.used++
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
