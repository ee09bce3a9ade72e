package remotewrite

import (
	"fmt"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// batchV2 is one io.prometheus.write.v2.Request.
type batchV2 struct {
	raw   []byte
	count ingest.Count // all that came, refused series included

	symbols int // in the table, never over what 32 bits count: snappy has no longer bodies
	series  int
	// metadata is how many series say something of their metric.
	metadata int
	most     int // labels in one series or exemplar
	unknowns int // fields that 1.0 cannot carry, refused series not included
	// private: fields 1000 or 1001 are there, and have to go.
	private bool
	// disorder: series before symbols, or refs after other fields. Protobuf allows it, Mimir does not.
	disorder bool
	// ragged: the refs of some series are not one packed field at its start.
	ragged bool

	// bad are series whose refs lead nowhere, badCount what is in them, and badText what is wrong with the first.
	bad      int
	badCount ingest.Count
	badText  string

	reducer   *ingest.Reducer // whose Series are filled while the push is checked; nil: none are
	ss        []ingest.Series // one for each series that is not bad, which Reduce will have judged
	pairs     []pair          // what is known of each symbol; nil: nothing
	hashed    int             // bytes of labels
	reduction reduction
	seats     seats
	books     booking
	table     []uint32 // where in raw the length of each symbol stands; built when first needed
	marks     []uint32 // one for each symbol. To 1.0: of the metrics whose metadata is known. To 2.0: of what is still in use
	news      news     // strings that stamps and Changes bring
	scratch   []label  // empty, with room for most labels and the stamps
	final     []label  // the same, with room for labels that come by a Change too
}

func decodeV2(raw []byte, c ingest.Content) (ingest.Batch, error) {
	b := &batchV2{raw: raw}
	err := b.checkRequest()
	if err == nil {
		err = b.prepareFor(c.Reducer)
	}
	if err == nil {
		err = b.checkAllSeries()
	}
	if b.books.err != nil {
		return nil, b.books.err
	}
	if err != nil {
		return nil, ingest.Malformed("remote_write 2.0 push", err)
	}
	return b, nil
}

// prepareFor has checkAllSeries fill a Series for r of each series. r may be nil.
func (b *batchV2) prepareFor(r *ingest.Reducer) (err error) {
	if r == nil || r.Judge == nil || b.series == 0 {
		return nil
	}
	b.reducer, b.books.charge = r, r.Charge
	if b.index() && pairBytes*b.symbols <= 4*len(b.raw) { // a push of empty symbols is not worth it
		b.pairs, _ = room(&b.books, b.pairs, b.symbols)
		b.pairs = b.pairs[:min(b.symbols, cap(b.pairs))]
	}
	return b.books.err
}

// checkRequest counts symbols and series. Series are looked at later: their symbols may come after them.
func (b *batchV2) checkRequest() (err error) {
	var f wire.Field
	empty := true // symbols[0]
	for msg := b.raw; len(msg) > 0; {
		if b.symbols > 0 {
			n, size := wire.Run(msg, v2Symbols<<3|2)
			b.disorder = b.disorder || n > 0 && b.series > 0
			b.symbols += n
			msg = msg[size:]
			n, size = wire.Run(msg, v2Series<<3|2)
			b.series += n
			if msg = msg[size:]; len(msg) == 0 {
				break
			}
		}
		if msg, err = wire.Next(msg, &f); err != nil {
			return err
		}
		if (f.Num == v2Symbols || f.Num == v2Series) && f.Type != wire.Bytes {
			return errWireType
		}
		switch f.Num {
		case 1, 2, 3:
			return errV1Body
		case v2Symbols:
			if b.symbols == 0 {
				empty = len(f.Data) == 0
			}
			b.disorder = b.disorder || b.series > 0
			b.symbols++
		case v2Series:
			b.series++
		case skipLabelValidation, skipLabelCountValidation:
			b.private = true
		default:
			b.unknowns++
		}
	}
	if b.series > 0 && (b.symbols == 0 || !empty) {
		return errSymbols
	}
	return nil
}

func (b *batchV2) checkAllSeries() (err error) {
	var f wire.Field
	n := 0
	msg := b.raw
	if !b.disorder {
		_, size := wire.Run(msg, v2Symbols<<3|2)
		msg = msg[size:]
	}
	for n < b.series {
		if msg, err = nextField(msg, &f); err != nil {
			return err
		}
		if f.Num != v2Series {
			continue
		}
		if b.reducer != nil && n-b.bad == len(b.ss) {
			if err = b.lend(b.series - n); err != nil {
				return err
			}
		}
		if b.pairs == nil || !b.takeKnown(f.Data, &b.ss[n-b.bad]) {
			if err = b.takeSeries(f.Data, n); err != nil {
				return fmt.Errorf("series %d: %w", n, err)
			}
		}
		n++
	}
	if b.reducer != nil {
		b.ss = b.ss[:n-b.bad]
	}
	return nil
}

// lend makes room in ss for more series, of which so many are left.
func (b *batchV2) lend(left int) (err error) {
	n := min(left, labels.Ahead)
	if b.ss != nil && cap(b.ss) < len(b.ss)+n {
		n = left // what cannot grow in place grows once
	}
	b.ss, err = b.books.series(b.reducer, b.ss, n)
	return err
}

// takeSeries checks series n, counts what is in it and fills its Series, if somebody wants it.
func (b *batchV2) takeSeries(series []byte, n int) error {
	c := seriesChecker{symbols: uint32(b.symbols)}
	if err := c.check(series); err != nil {
		return err
	}
	ragged := c.late || c.refFields != 1 || c.unpacked
	b.count = b.count.Add(c.count)
	b.disorder = b.disorder || c.late
	b.ragged = b.ragged || ragged
	b.most = max(b.most, c.most)
	if c.fault != nil {
		if b.bad++; b.bad == 1 {
			b.badText = fmt.Sprintf("series %d%s: %v", n, b.nameOf(series), c.fault)
		}
		b.badCount = b.badCount.Add(c.count)
		return nil
	}
	b.unknowns += c.unknowns
	if c.metadata.said() {
		b.metadata++
	}
	if b.reducer != nil && !b.measure(&b.ss[n-b.bad], series, ragged) {
		return b.books.err
	}
	return nil
}

// Items is how many samples and histograms there are.
func (b *batchV2) Items() int { return b.count.Items }

// Reduce asks r about every series but the bad ones.
func (b *batchV2) Reduce(r *ingest.Reducer) error {
	if r.Judge == nil || b.series == b.bad {
		return nil
	}
	if b.ss == nil {
		// Nobody told Decode.
		again := batchV2{raw: b.raw, symbols: b.symbols, series: b.series}
		err := again.prepareFor(r)
		if err == nil {
			err = again.checkAllSeries()
		}
		if err != nil {
			return err // no room
		}
		b.ss, b.table = again.ss, again.table
	}
	b.books.charge = r.Charge
	b.reduction.judge(r, b.ss, func(i int, set *labels.Set) {
		v := viewer{r: r, set: set, stamps: r.Stamps}
		for refs := (refs{msg: b.reduction.at(i, b.raw, b.nextSeries)}); ; {
			name, value, ok := refs.pair()
			if !ok {
				break
			}
			v.add(b.symbol(name), b.symbol(value))
		}
		v.close()
	})
	return nil
}

// nextSeries reads the next series of a push that is not bad, of which there is one, into f.
func (b *batchV2) nextSeries(msg []byte, f *wire.Field) (rest []byte) {
	for msg = next(msg, f); f.Num != v2Series || b.isBad(f.Data); {
		msg = next(msg, f)
	}
	return msg
}

// measure fills s with what series is, unless there is no room. ragged: its refs are not one packed field at its start.
func (b *batchV2) measure(s *ingest.Series, series []byte, ragged bool) bool {
	k := newKeyer(b.reducer.Keys, s)
	var f wire.Field
	rest, refs := series, refs{msg: series}
	if !ragged {
		rest = next(series, &f)
		refs.msg, refs.packed = nil, f.Data
	}
	for {
		name, value, ok := refs.pair()
		if !ok {
			break
		}
		if !b.hash(b.symbol(name), b.symbol(value)) {
			return false
		}
		k.add(b.symbol(name), b.symbol(value))
	}
	for len(rest) > 0 {
		rest = next(rest, &f)
		layoutV2.measure(s, &f)
	}
	if !k.ordered {
		var ok bool
		if b.scratch, ok = room(&b.books, b.scratch, b.most+len(b.reducer.Stamps)); !ok {
			return false
		}
		k.again(b.collect(b.scratch, series))
	}
	s.Key, s.Overwritten = k.h.End()
	s.Sorted = k.ordered && !k.empty && !ragged
	return true
}

// sent is what is left without the bad series.
func (b *batchV2) sent() ingest.Count { return minus(b.count, b.badCount) }

// refused names the bad series.
func (b *batchV2) refused() []ingest.Refusal {
	if b.bad == 0 {
		return nil
	}
	return []ingest.Refusal{{Reason: "invalid_item", Items: b.badCount.Items, Text: b.badText}}
}

// isBad says whether the refs of series lead nowhere.
func (b *batchV2) isBad(series []byte) bool {
	if b.bad == 0 {
		return false
	}
	c := seriesChecker{symbols: uint32(b.symbols)}
	return c.check(series) != nil || c.fault != nil
}

// nameOf is the metric of a series for a text that shows it: nothing where it cannot be told. It walks over the symbols
// twice instead of making a table of them, which no text is worth.
func (b *batchV2) nameOf(series []byte) string {
	name, _, ok := b.seek(func(_ uint32, s []byte) bool { return string(s) == "__name__" })
	for r := (refs{msg: series}); ok; {
		var n, v uint32
		if n, v, ok = r.pair(); !ok || n != name {
			continue
		}
		if _, value, _ := b.seek(func(ref uint32, _ []byte) bool { return ref == v }); len(value) > 0 {
			return fmt.Sprintf(" (metric %q)", clip(value))
		}
		break // one is enough: each costs a walk
	}
	return ""
}

// seek returns the first symbol that is wanted.
func (b *batchV2) seek(wanted func(ref uint32, symbol []byte) bool) (ref uint32, symbol []byte, ok bool) {
	var f wire.Field
	for msg := b.raw; len(msg) > 0; {
		if msg = next(msg, &f); f.Num != v2Symbols {
			continue
		}
		if wanted(ref, f.Data) {
			return ref, f.Data, true
		}
		ref++
	}
	return 0, nil, false
}

// clip shortens what is shown of a string that may have a megabyte.
func clip(s []byte) []byte { return s[:min(len(s), 200)] }
