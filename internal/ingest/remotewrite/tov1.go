package remotewrite

import (
	"fmt"
	"math"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// boundV1 is the most that encodeV1 appends. It walks all refs, since a ref of one byte may stand for a megabyte, and
// adds in 64 bits: a push of 64 MiB reaches 2^52.
func (b *batchV2) boundV1(e ingest.Edit) int {
	b.index()
	stamps := uint64(0)
	for _, s := range e.Stamps {
		stamps += uint64(wire.BytesLen(v1Labels, labelLen(s)))
	}
	named := newPairs(b.symbols)
	n := uint64(1) // never 0: even an empty push does not leave as it came
	var f, g wire.Field
	for msg := b.raw; len(msg) > 0; {
		if msg = next(msg, &f); f.Num != v2Series {
			continue
		}
		// Five bytes of length, and the tag.
		n += 6 + stamps + b.labelsLen(f.Data)
		var m metadata
		for series := f.Data; len(series) > 0; {
			series = next(series, &g)
			switch g.Num {
			case v2Samples, v2Histograms:
				n += uint64(len(g.Raw)) + 5
			case v2Exemplars:
				n += uint64(len(g.Raw)) + 6 + b.labelsLen(g.Data)
			case v2Metadata:
				m.read(g.Data)
			}
		}
		if m.seen {
			n += b.metadataLen(f.Data, &m, named)
		}
	}
	return int(min(n, math.MaxInt))
}

// labelsLen is how many bytes the labels of a series or an exemplar take in 1.0.
func (b *batchV2) labelsLen(msg []byte) (n uint64) {
	var f wire.Field
	half, size := false, 0
	take := func(ref uint64) {
		l := 0
		if uint32(ref) < uint32(b.symbols) {
			l = len(b.symbol(uint32(ref)))
		}
		// Tags and numbers of name and value are the same size: it does not matter which of them this is.
		size += wire.BytesLen(labelName, l)
		if half = !half; !half {
			n += uint64(wire.BytesLen(v1Labels, size))
			size = 0
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
	return n
}

// metadataLen is how many bytes metadata m of series takes in 1.0, 0 if some series before said the same of it.
func (b *batchV2) metadataLen(series []byte, m *metadata, named pairs) uint64 {
	if b.isBad(series) {
		return 0
	}
	name, ok := metricName(b.collect(series))
	if !ok || !named.add(name.valueRef, m.kind) {
		return 0
	}
	help, unit := b.symbol(uint32(m.help)), b.symbol(uint32(m.unit))
	size := wire.BytesLen(v1MetadataName, len(name.value)) + wire.BytesLen(v1MetadataHelp, len(help)) + wire.BytesLen(v1MetadataUnit, len(unit))
	return uint64(wire.BytesLen(v1Metadata, size+11))
}

// metadata is what a series of 2.0 says of its metric.
type metadata struct {
	kind, help, unit uint64
	seen             bool
}

func (m *metadata) read(msg []byte) {
	if err := readMetadata(msg, &m.kind, &m.help, &m.unit); err != nil {
		panic("BUG: a push that was decoded is not well formed: " + err.Error())
	}
	m.seen = m.kind != 0 || m.help != 0 || m.unit != 0
}

// toV1 writes a 2.0 push as 1.0.
type toV1 struct {
	*batchV2
	stamps []label
	sent   ingest.Count
	// starts is how many start timestamps were dropped.
	starts int
	// custom is how many histograms have buckets of their own, and customText names the first.
	custom     int
	customText string
	// named are the metrics, with their type, whose family has been lifted; families are the lifted ones by name.
	named    pairs
	families *symbols
	lifted   []lifted
	exemplar batchV2 // shares raw and table; its scratch is for exemplars
}

// lifted is metadata on its way from a series to the push.
type lifted struct {
	family   []byte
	metadata metadata
}

// encodeV1 appends the push as 1.0.
func (b *batchV2) encodeV1(dst []byte, e ingest.Edit) (ingest.Result, error) {
	b.index()
	w := toV1{batchV2: b, stamps: newStamps(e.Stamps), sent: b.sent(), named: newPairs(b.symbols), families: newSymbols(0), exemplar: *b}
	w.exemplar.scratch = nil
	var f wire.Field
	for msg := b.raw; len(msg) > 0; {
		if msg = next(msg, &f); f.Num == v2Series && !b.isBad(f.Data) {
			dst = w.appendSeries(dst, f.Data)
		}
	}
	for i := range w.lifted {
		dst = w.appendMetadata(dst, &w.lifted[i])
	}
	res := ingest.Result{Form: FormV1, Sent: w.sent, Refused: b.refused(), Body: dst}
	if w.custom > 0 {
		res.Sent.Histograms -= w.custom
		res.Sent.Items -= w.custom
		res.Refused = append(res.Refused, ingest.Refusal{Reason: "unconvertible", Items: w.custom, Text: w.customText})
	}
	if w.starts > 0 {
		res.Lost = []ingest.Loss{{What: "start_timestamps", N: w.starts}}
	}
	return res, nil
}

// appendSeries appends a series of 1.0. One in which nothing is left is left out; what it says of its metric is not.
func (w *toV1) appendSeries(dst, series []byte) []byte {
	start := len(dst)
	ls := canonical(w.collect(series), w.stamps)
	w.scratch = ls
	dst, mark := wire.OpenMessage(dst, v1Series, 0)
	for i := range ls {
		dst = appendLabel(dst, ls[i].name, ls[i].value)
	}
	empty := len(dst)
	var f wire.Field
	var m metadata
	created := uint64(0)
	for msg := series; len(msg) > 0; {
		msg = next(msg, &f)
		switch f.Num {
		case v2Samples:
			dst = w.appendSample(dst, &f)
		case v2Histograms:
			dst = w.appendHistogram(dst, &f, ls)
		case v2Exemplars:
			dst = w.appendExemplar(dst, f.Data)
		case v2Metadata:
			m.read(f.Data)
		case v2Created:
			if f.Type == wire.Varint {
				created = f.Int
			}
		}
	}
	if m.seen {
		w.lift(ls, m)
	}
	if len(dst) == empty {
		return dst[:start]
	}
	if created != 0 {
		w.starts++
	}
	return wire.CloseMessage(dst, mark)
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
	ls := sorted(w.exemplar.collect(exemplar))
	for i := range ls {
		dst = appendLabel(dst, ls[i].name, ls[i].value)
	}
	dst = appendExemplarRest(dst, exemplar)
	return wire.CloseMessage(dst, mark)
}

// lift keeps metadata m of the metric that ls names, once for each family: the first series of it decides.
func (w *toV1) lift(ls []label, m metadata) {
	name, ok := metricName(ls)
	if !ok || !w.named.add(name.valueRef, m.kind) {
		return
	}
	if family := familyOf(name.value, m.kind); w.families.add(family) {
		w.lifted = append(w.lifted, lifted{family, m})
	}
}

func (w *toV1) appendMetadata(dst []byte, l *lifted) []byte {
	dst, mark := wire.OpenMessage(dst, v1Metadata, 0)
	if l.metadata.kind != 0 {
		dst = wire.AppendVarint(dst, metadataType, l.metadata.kind)
	}
	dst = wire.AppendBytes(dst, v1MetadataName, l.family)
	if help := w.symbol(uint32(l.metadata.help)); len(help) > 0 {
		dst = wire.AppendBytes(dst, v1MetadataHelp, help)
	}
	if unit := w.symbol(uint32(l.metadata.unit)); len(unit) > 0 {
		dst = wire.AppendBytes(dst, v1MetadataUnit, unit)
	}
	return wire.CloseMessage(dst, mark)
}

// pairs is a set of refs, each with one of the eight types that a metric can have.
type pairs []uint8

func newPairs(n int) pairs { return make(pairs, n) }

// add says whether the pair is news. Types that nobody knows always are.
func (s pairs) add(ref uint32, kind uint64) bool {
	if kind > 7 {
		return true
	}
	news := s[ref]&(1<<kind) == 0
	s[ref] |= 1 << kind
	return news
}
