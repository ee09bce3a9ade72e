package remotewrite

import (
	"fmt"
	"math"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// boundV1 is the most that encodeV1 appends. It walks all refs, since a ref of one byte may stand for a megabyte, and
// adds in 64 bits: a push of 64 MiB reaches 2^52. Where there is no room to find out, encodeV1 says so.
func (b *batchV2) boundV1(e ingest.Edit) int {
	n := uint64(1) // never 0: even an empty push does not leave as it came
	if !b.index() || b.metadata > 0 && !b.mark() {
		return int(n)
	}
	var own []label
	if b.reduction.any {
		if own = newStamps(e.Stamps); !b.prepare(own) {
			return int(n)
		}
	}
	stamps := uint64(0)
	for _, s := range e.Stamps {
		stamps += uint64(wire.BytesLen(v1Labels, labelLen(s)))
	}
	var f, g wire.Field
	at := -1
	for msg := b.raw; len(msg) > 0 && b.books.err == nil; {
		if msg = next(msg, &f); f.Num != v2Series || b.isBad(f.Data) {
			continue
		}
		at++
		fate, out := b.reduction.fate(at)
		if !out {
			continue
		}
		n += 6 // five bytes of length, and the tag
		var ls []label
		if fate.change != nil {
			ls = b.labels(f.Data, own, fate.change)
			n += listLen(ls)
		} else {
			n += stamps + b.labelsLen(f.Data)
		}
		var m metadata
		for series := f.Data; len(series) > 0; {
			series = next(series, &g)
			switch g.Num {
			case v2Samples, v2Histograms:
				n += uint64(len(g.Raw)) + 5
			case v2Exemplars:
				n += uint64(len(g.Raw)) + 6 + b.labelsLen(g.Data)
			case v2Metadata:
				m.reread(g.Data)
			}
		}
		if !m.said() {
			continue
		}
		if fate.change == nil {
			n += b.metadataLen(b.nameRef(f.Data), m)
		} else if name, ok := metricName(ls); ok {
			n += b.namedLen(name, m)
		}
	}
	return int(min(n, math.MaxInt))
}

// labels are those of a series with stamps, as c makes them.
func (b *batchV2) labels(series []byte, stamps []label, c *labels.Change) []label {
	ls := canonical(b.collect(b.scratch, series), stamps)
	if c == nil {
		return ls
	}
	return changed(b.final, unique(ls), c)
}

// listLen is how many bytes ls take in 1.0.
func listLen(ls []label) (n uint64) {
	for i := range ls {
		size := wire.BytesLen(labelName, len(ls[i].name)) + wire.BytesLen(labelValue, len(ls[i].value))
		n += uint64(wire.BytesLen(v1Labels, size))
	}
	return n
}

// labelsLen is how many bytes the labels of a series or an exemplar take in 1.0.
func (b *batchV2) labelsLen(msg []byte) (n uint64) {
	for r := (refs{msg: msg}); ; {
		name, value, ok := r.pair()
		if !ok {
			return n
		}
		size := wire.BytesLen(labelName, len(b.symbol(name))) + wire.BytesLen(labelValue, len(b.symbol(value)))
		n += uint64(wire.BytesLen(v1Labels, size))
	}
}

// nameRef is the first __name__ of a series that has a value: 0 if there is none.
func (b *batchV2) nameRef(series []byte) uint32 {
	for r := (refs{msg: series}); ; {
		name, value, ok := r.pair()
		if !ok || len(b.symbol(value)) > 0 && string(b.symbol(name)) == "__name__" {
			return value
		}
	}
}

// metadataLen is how many bytes metadata m of the metric called name takes in 1.0 at most: 0 if a series before had that name
// and type.
func (b *batchV2) metadataLen(name uint32, m metadata) uint64 {
	if name == 0 {
		return 0
	}
	// A type that nobody knows is news each time.
	if bit := uint32(1) << uint32(m.kind); bit != 0 {
		if b.marks[name]&bit != 0 {
			return 0
		}
		b.marks[name] |= bit
	}
	return b.familyLen(b.symbol(name), m)
}

// namedLen is metadataLen for the name that a Change left or gave. One that it gave has no mark, and is news each time.
func (b *batchV2) namedLen(name label, m metadata) uint64 {
	if name.valueRef == 0 {
		return b.familyLen(name.value, m)
	}
	return b.metadataLen(name.valueRef, m)
}

func (b *batchV2) familyLen(name []byte, m metadata) uint64 {
	help, unit := b.symbol(m.help), b.symbol(m.unit)
	size := wire.BytesLen(v1MetadataName, len(name)) + wire.BytesLen(v1MetadataHelp, len(help)) + wire.BytesLen(v1MetadataUnit, len(unit))
	return uint64(wire.BytesLen(v1Metadata, size+11))
}

// mark makes or clears the marks. It fails where there is no room.
func (b *batchV2) mark() (ok bool) {
	if b.marks, ok = room(&b.books, b.marks[:0], b.symbols); ok {
		b.marks = b.marks[:b.symbols]
		clear(b.marks)
	}
	return ok
}

// reread reads a Metadata message that has been checked.
func (m *metadata) reread(msg []byte) {
	if m.readPlain(msg) {
		return
	}
	var known int
	if err := m.read(msg, &known); err != nil {
		panic("BUG: a push that was decoded is not well formed: " + err.Error())
	}
}

// toV1 writes a 2.0 push as 1.0.
type toV1 struct {
	*batchV2
	stamps []label
	// starts is how many start timestamps were dropped.
	starts int
	// custom is how many histograms have buckets of their own, and customText names the first.
	custom     int
	customText string
	// families are those whose metadata was lifted. A metric's mark is its family.
	families families
	// unlifted is how many series say of their metric what 1.0 has no place for.
	unlifted int
	exemplar []label
	size     int // of the series before
}

// encodeV1 appends the push as 1.0.
func (b *batchV2) encodeV1(dst []byte, stamps []label) (ingest.Result, error) {
	w := toV1{batchV2: b, stamps: stamps}
	if b.count.Exemplars > 0 {
		w.exemplar, _ = room(&b.books, w.exemplar, b.most)
	}
	if b.metadata > 0 {
		w.families = newFamilies(&b.books, 0)
	}
	if !b.prepare(stamps) || b.metadata > 0 && !b.mark() {
		return ingest.Result{}, b.books.err
	}
	b.reduction.begin()
	var f wire.Field
	at := 0
	for msg := b.raw; len(msg) > 0 && b.books.err == nil; {
		if msg = next(msg, &f); f.Num != v2Series || b.isBad(f.Data) {
			continue
		}
		if fate, out := b.reduction.leaves(at, f.Data, &layoutV2); out {
			dst = w.appendSeries(dst, f.Data, fate)
		} else if b.unknowns > 0 {
			b.reduction.unknowns += b.unknownsIn(f.Data)
		}
		at++
	}
	if b.books.err != nil {
		return ingest.Result{}, b.books.err
	}
	res := ingest.Result{Form: formV1, Sent: minus(b.sent(), b.reduction.gone), Held: b.reduction.held, Refused: b.refused(), Body: dst}
	if w.custom > 0 {
		res.Sent.Histograms -= w.custom
		res.Sent.Items -= w.custom
		res.Refused = append(res.Refused, ingest.Refusal{Reason: "unconvertible", Items: w.custom, Text: w.customText})
	}
	res.Lost = losses(
		ingest.Loss{What: "start_timestamps", N: w.starts},
		ingest.Loss{What: "metadata", N: w.unlifted},
		ingest.Loss{What: "unknown_fields", N: b.unknowns - b.reduction.unknowns},
	)
	return res, nil
}

// unknownsIn is how many fields 1.0 cannot carry of a series that is not bad.
func (b *batchV2) unknownsIn(series []byte) int {
	c := seriesChecker{symbols: uint32(b.symbols)}
	if c.check(series) != nil {
		panic("BUG: a push that was decoded is not well formed")
	}
	return c.unknowns
}

// appendSeries appends a series of 1.0. One in which nothing is left is left out; what it says of its metric is not.
func (w *toV1) appendSeries(dst, series []byte, fate fate) []byte {
	start := len(dst)
	ls := w.labels(series, w.stamps, fate.change)
	dst, mark := wire.OpenMessage(dst, v1Series, w.size)
	content := len(dst)
	for i := range ls {
		dst = appendLabel(dst, ls[i].name, ls[i].value)
	}
	empty := len(dst)
	var f wire.Field
	var m metadata
	created := uint64(0)
	for msg := series; len(msg) > 0; {
		msg = next(msg, &f)
		if fate.unstale {
			if _, stale, _ := layoutV2.point(&f); stale {
				continue
			}
		}
		switch f.Num {
		case v2Samples:
			dst = w.appendSample(dst, &f)
		case v2Histograms:
			dst = w.appendHistogram(dst, &f, ls)
		case v2Exemplars:
			dst = w.appendExemplar(dst, f.Data)
		case v2Metadata:
			m.reread(f.Data)
		case v2Created:
			if f.Type == wire.Varint {
				created = f.Int
			}
		}
	}
	if len(dst) == empty {
		dst = dst[:start]
	} else {
		if created != 0 {
			w.starts++
		}
		w.size = len(dst) - content
		dst = wire.CloseMessage(dst, mark)
	}
	if m.said() {
		dst = w.lift(dst, ls, m)
	}
	return dst
}

func (w *toV1) appendSample(dst []byte, f *wire.Field) []byte {
	if plainSample(f.Data) {
		return append(dst, f.Raw...)
	}
	var g wire.Field
	start := uint64(0)
	for msg := f.Data; len(msg) > 0; {
		if msg = next(msg, &g); g.Num == sampleStart {
			start = g.Int
		}
	}
	if start != 0 {
		w.starts++
	}
	return appendMessage(dst, v1Samples, f.Data, sampleLast)
}

// appendHistogram appends a histogram, unless 1.0 has no way to say it.
func (w *toV1) appendHistogram(dst []byte, f *wire.Field, ls []label) []byte {
	var g wire.Field
	schema, start, bounds := uint64(0), uint64(0), false
	for msg := f.Data; len(msg) > 0; {
		msg = next(msg, &g)
		switch g.Num {
		case histogramSchema:
			schema = g.Int
		case histogramCustom:
			bounds = bounds || g.Type != wire.Bytes || len(g.Data) > 0
		case histogramStart:
			start = g.Int
		}
	}
	if s := uint32(schema); bounds || int32(s>>1)^-int32(s&1) == customBuckets {
		if w.custom++; w.custom == 1 {
			name, _ := metricName(ls)
			w.customText = fmt.Sprintf("metric %q: histograms with custom buckets (schema %d) do not exist in remote_write 1.0, which upstream is sent", clip(name.value), customBuckets)
		}
		return dst
	}
	if start != 0 {
		w.starts++
	}
	return appendMessage(dst, v1Histograms, f.Data, histogramLast)
}

func (w *toV1) appendExemplar(dst, exemplar []byte) []byte {
	dst, mark := wire.OpenMessage(dst, v1Exemplars, 0)
	ls := sorted(w.collect(w.exemplar, exemplar))
	for i := range ls {
		dst = appendLabel(dst, ls[i].name, ls[i].value)
	}
	dst = appendExemplarRest(dst, exemplar)
	return wire.CloseMessage(dst, mark)
}

// lift appends metadata m of the metric that ls names, once for each family: the first series of it decides.
func (w *toV1) lift(dst []byte, ls []label, m metadata) []byte {
	name, ok := metricName(ls)
	if !ok {
		w.unlifted++
		return dst
	}
	// Nearly always all that a series says has been said by the one before. A name that a Change gave has no mark.
	if at := w.marks[name.valueRef]; at > 0 && w.families.all[at].metadata == m {
		return dst
	}
	familyName := familyOf(name.value, m.kind)
	at, news := w.families.add(familyName)
	f := &w.families.all[at]
	switch {
	case news:
		f.metadata = m
		dst = w.appendMetadata(dst, familyName, m)
	case !w.same(f.metadata, m):
		w.unlifted++
		return dst
	}
	if name.valueRef != 0 {
		w.marks[name.valueRef] = uint32(at)
	}
	return dst
}

// same says whether a and b mean the same. A table may hold one string twice.
func (w *toV1) same(a, b metadata) bool {
	return a.kind == b.kind && string(w.symbol(a.help)) == string(w.symbol(b.help)) && string(w.symbol(a.unit)) == string(w.symbol(b.unit))
}

func (w *toV1) appendMetadata(dst, familyName []byte, m metadata) []byte {
	dst, mark := wire.OpenMessage(dst, v1Metadata, 0)
	if m.kind != 0 {
		dst = wire.AppendVarint(dst, metadataType, uint64(m.kind))
	}
	dst = wire.AppendBytes(dst, v1MetadataName, familyName)
	if help := w.symbol(m.help); len(help) > 0 {
		dst = wire.AppendBytes(dst, v1MetadataHelp, help)
	}
	if unit := w.symbol(m.unit); len(unit) > 0 {
		dst = wire.AppendBytes(dst, v1MetadataUnit, unit)
	}
	return wire.CloseMessage(dst, mark)
}
