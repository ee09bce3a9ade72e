package remotewrite

import (
	"encoding/binary"

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
}

// encodeV2 appends the push as 2.0. Samples and histograms are the same messages there and are copied; unknown fields
// are left out, for their numbers may mean something else.
func (b *batchV1) encodeV2(dst []byte, e ingest.Edit) (ingest.Result, error) {
	w := toV2{symbols: newSymbols(len(b.raw) / 128), stamps: newStamps(e.Stamps)}
	if b.metadata > 0 {
		w.families = b.readFamilies(w.symbols)
	}
	start := len(dst)
	var f wire.Field
	for msg := b.raw; len(msg) > 0; {
		if msg = next(msg, &f); f.Num != v1Series {
			continue
		}
		b.scratch = canonical(b.collect(f.Data), w.stamps)
		ls := w.resolve(b.scratch)
		if b.mixed > 0 && isMixed(f.Data) {
			// 2.0 forbids both in one series.
			dst = w.appendSeries(dst, f.Data, ls, v1Samples, v1Exemplars)
			dst = w.appendSeries(dst, f.Data, ls, v1Histograms, v1Histograms)
		} else {
			dst = w.appendSeries(dst, f.Data, ls, v1Samples, v1Histograms)
		}
	}
	// The table is complete only now, and has to come first.
	table, end := w.symbols.buf, len(dst)
	dst = append(dst, table...)
	copy(dst[start+len(table):], dst[start:end])
	copy(dst[start:], table)

	res := ingest.Result{Form: FormV2, Sent: b.count, Body: dst}
	if n := b.metadata - w.families.used; n > 0 {
		res.Lost = []ingest.Loss{{What: "metadata", N: n}}
	}
	return res, nil
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

// resolve gives ls refs.
func (w *toV2) resolve(ls []label) []label {
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
	w.last, w.spare = append(w.spare[:0], ls...), w.last
	return w.last
}

// appendSeries appends a series of 2.0 with labels ls and what series has in fields from to to.
func (w *toV2) appendSeries(dst, series []byte, ls []label, from, to int32) []byte {
	dst, mark := wire.OpenMessage(dst, v2Series, 0)
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
	if len(w.families.all) > 0 {
		dst = w.appendMetadata(dst, ls)
	}
	return wire.CloseMessage(dst, mark)
}

// appendMessage appends field num with the fields of msg up to last.
func appendMessage(dst []byte, num int32, msg []byte, last int32) []byte {
	dst, mark := wire.OpenMessage(dst, num, len(msg))
	return wire.CloseMessage(appendUpTo(dst, msg, last), mark)
}

func (w *toV2) appendExemplar(dst, exemplar []byte) []byte {
	w.exemplar = collectExemplarV1(w.exemplar[:0], exemplar)
	for i := range w.exemplar {
		l := &w.exemplar[i]
		l.nameRef, l.valueRef = w.symbols.ref(l.name), w.symbols.ref(l.value)
	}
	dst, mark := wire.OpenMessage(dst, v2Exemplars, 0)
	dst = appendLabelRefs(dst, sorted(w.exemplar))
	dst = appendExemplarRest(dst, exemplar)
	return wire.CloseMessage(dst, mark)
}

// collectExemplarV1 appends the labels of an exemplar of 1.0 to ls.
func collectExemplarV1(ls []label, exemplar []byte) []label {
	var f wire.Field
	for len(exemplar) > 0 {
		if exemplar = next(exemplar, &f); f.Num == exemplarLabels {
			name, value := readLabel(f.Data)
			ls = append(ls, label{name: name, value: value, at: len(ls)})
		}
	}
	return ls
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
	}
	dst, mark := wire.OpenMessage(dst, v2Metadata, 0)
	if m.kind != 0 {
		dst = wire.AppendVarint(dst, metadataType, m.kind)
	}
	if m.help != 0 {
		dst = wire.AppendVarint(dst, v2MetadataHelp, uint64(m.help))
	}
	if m.unit != 0 {
		dst = wire.AppendVarint(dst, v2MetadataUnit, uint64(m.unit))
	}
	return wire.CloseMessage(dst, mark)
}
