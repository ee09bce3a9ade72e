package remotewrite

import (
	"fmt"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// batchV1 is one WriteRequest.
type batchV1 struct {
	raw   []byte
	count ingest.Count

	series   int
	metadata int
	labels   int // of series and exemplars together
	most     int // labels in one series or exemplar
	unknowns int // fields that 2.0 cannot carry
	// mixed is how many series hold samples and histograms, and mixedLabels how many labels those have.
	mixed, mixedLabels int
	// private: fields 1000 or 1001 are there, and have to go.
	private bool

	reducer   *ingest.Reducer // whose Series are filled while the push is checked; nil: none are
	ss        []ingest.Series // one for each series, which Reduce will have judged
	reduction reduction
	seats     seats
	books     booking
	scratch   []label // empty, with room for most labels and the stamps
	final     []label // the same, with room for labels that come by a Change too
}

func decodeV1(raw []byte, c ingest.Content) (ingest.Batch, error) {
	b := &batchV1{raw: raw}
	b.prepareFor(c.Reducer)
	err := b.check()
	if b.books.err != nil {
		return nil, b.books.err
	}
	if err != nil {
		return nil, ingest.Malformed("remote_write 1.0 push", err)
	}
	return b, nil
}

// prepareFor has check fill a Series for r of each series. r may be nil.
func (b *batchV1) prepareFor(r *ingest.Reducer) {
	if r != nil && r.Judge != nil {
		b.reducer, b.books.charge = r, r.Charge
	}
}

// check checks the push, counts what is in it and fills ss, if there is a reducer.
func (b *batchV1) check() error {
	var waiting ahead
	err := b.walk(&waiting)
	// What waits stands before what is wrong with the rest, if anything is.
	if first := b.settle(&waiting, nil); first != nil {
		return first
	}
	return err
}

func (b *batchV1) walk(waiting *ahead) (err error) {
	var f wire.Field
	for msg := b.raw; len(msg) > 0; {
		if msg, err = nextField(msg, &f); err != nil {
			return err
		}
		switch f.Num {
		case v1Series:
			if f.Type != wire.Bytes {
				return errWireType
			}
			if err = b.meet(f.Data, msg, waiting); err != nil {
				return err
			}
		case v1Metadata:
			if f.Type != wire.Bytes {
				return errWireType
			}
			b.metadata++
			if err = check(f.Data, metadataV1, &b.unknowns); err != nil {
				return err
			}
		case v2Symbols, v2Series:
			return errV2Body
		case skipLabelValidation, skipLabelCountValidation:
			b.private = true
		default:
			b.unknowns++
		}
	}
	return nil
}

// meet checks the next series, which rest follows, or lets it wait for others.
func (b *batchV1) meet(series, rest []byte, waiting *ahead) error {
	if b.reducer != nil {
		if waiting.add(series, b.reducer.Keys) {
			return b.settle(waiting, rest)
		}
		return nil
	}
	if err := b.checkSeries(series, 0, nil); err != nil {
		return fmt.Errorf("series %d: %w", b.series, err)
	}
	b.series++
	return nil
}

// settle checks the series that wait, which rest follows, counts what is in them and fills their Series.
func (b *batchV1) settle(waiting *ahead, rest []byte) (err error) {
	n := waiting.n
	if n == 0 {
		return nil
	}
	waiting.n = 0
	if err := b.lend(n, rest); err != nil {
		return err
	}
	b.reducer.Keys.Recall(waiting.tags[:n], waiting.known[:n])
	for i := range n {
		if err := b.take(&waiting.series[i], &waiting.known[i]); err != nil {
			return fmt.Errorf("series %d: %w", b.series, err)
		}
		b.series++
	}
	return nil
}

// lend makes room in ss for the next n series, which rest follows.
func (b *batchV1) lend(n int, rest []byte) (err error) {
	missing := b.series + n - len(b.ss)
	if missing <= 0 {
		return nil
	}
	if b.ss != nil && cap(b.ss) < len(b.ss)+missing {
		missing += countFields(rest, v1Series) // what cannot grow in place grows once
	}
	b.ss, err = b.books.series(b.reducer, b.ss, missing)
	return err
}

// take checks one TimeSeries, counts what is in it and fills its Series. What is known of its labels needs no check: nothing is
// learned but of labels that are well formed and fit to be Sorted.
func (b *batchV1) take(w *awaiting, known *labels.Recalled) error {
	s := &b.ss[b.series]
	n := known.Labels
	if n >= 0 && w.single {
		s.Key, s.Sorted = known.Key, true
		w.sample.fill(s)
		b.labels += n
		b.most = max(b.most, n)
		b.count.Samples++
		b.count.Items++
		return nil
	}
	k := newKeyer(b.reducer.Keys, s)
	end, alone := w.end, true
	if w.single || !w.leading {
		// Where the last bytes only look like a sample, what is before them is no labels that anybody has learned.
		end, alone = leadingLabels(w.series)
	} else if n >= 0 {
		s.Key, s.Sorted = known.Key, true
		return b.checkSeries(w.series[end:], n, &k)
	}
	unknowns := b.unknowns
	if err := b.checkSeries(w.series, 0, &k); err != nil {
		return err
	}
	return b.finish(s, &k, w.series, end, alone && b.unknowns == unknowns)
}

// finish fills the key of s, whose labels are the first end bytes of series if they are alone there, and learns it.
func (b *batchV1) finish(s *ingest.Series, k *keyer, series []byte, end int, alone bool) error {
	if !k.ordered {
		var ok bool
		if b.scratch, ok = room(&b.books, b.scratch, b.most+len(b.reducer.Stamps)); !ok {
			return b.books.err
		}
		k.again(collectV1(b.scratch, series))
	}
	s.Key, s.Overwritten = k.h.End()
	s.Sorted = alone && k.ordered && !k.empty
	if s.Sorted && s.Overwritten == (labels.Key{}) {
		k.h.Learn(k.h.Tag(series[:end]), s.Key, k.n)
	}
	return nil
}

// checkSeries checks one TimeSeries, or what of it follows so many labels, and counts what is in it. k is told of labels and
// samples; nil: nobody is.
func (b *batchV1) checkSeries(msg []byte, labels int, k *keyer) (err error) {
	var f wire.Field
	var samples, histograms int
	for len(msg) > 0 {
		if msg[0] == v1Labels<<3|2 && len(msg) > 1 && msg[1] < 0x80 && int(msg[1])+2 <= len(msg) {
			// The common case of the generic code below: a series is labels for nine tenths.
			end := int(msg[1]) + 2
			if name, value, ok := plainLabel(msg[2:end]); ok {
				labels++
				msg = msg[end:]
				if k != nil {
					k.add(name, value)
				}
				continue
			}
		}
		if msg, err = wire.Next(msg, &f); err != nil {
			return err
		}
		if f.Num >= v1Labels && f.Num <= v1Histograms && f.Type != wire.Bytes {
			return errWireType
		}
		switch f.Num {
		case v1Labels:
			labels++
			err = check(f.Data, labelShape, &b.unknowns)
		case v1Samples:
			samples++
			if !plainSample(f.Data) {
				err = check(f.Data, sampleV1, &b.unknowns)
			}
		case v1Exemplars:
			b.count.Exemplars++
			err = b.checkExemplar(f.Data)
		case v1Histograms:
			histograms++
			err = check(f.Data, histogramV1, &b.unknowns)
		default:
			b.unknowns++
		}
		if err != nil {
			return err
		}
		if k != nil {
			k.field(&f, &layoutV1)
		}
	}
	if b.most = max(b.most, labels); labels > maxLabels {
		return errLabels
	}
	if samples > 0 && histograms > 0 {
		b.mixed++
		b.mixedLabels += labels
	}
	b.labels += labels
	b.count.Samples += samples
	b.count.Histograms += histograms
	b.count.Items += samples + histograms
	return nil
}

func (b *batchV1) checkExemplar(msg []byte) (err error) {
	var f wire.Field
	n := 0
	for len(msg) > 0 {
		if msg, err = wire.Next(msg, &f); err != nil {
			return err
		}
		if f.Num != exemplarLabels {
			err = exemplarShape.check(&f, &b.unknowns)
		} else if f.Type != wire.Bytes {
			err = errWireType
		} else {
			n++
			err = check(f.Data, labelShape, &b.unknowns)
		}
		if err != nil {
			return err
		}
	}
	b.labels += n
	if b.most = max(b.most, n); n > maxLabels {
		return errLabels
	}
	return nil
}

// Items is how many samples and histograms there are.
func (b *batchV1) Items() int { return b.count.Items }

// Reduce asks r about every series.
func (b *batchV1) Reduce(r *ingest.Reducer) error {
	if r.Judge == nil || b.series == 0 {
		return nil
	}
	if b.ss == nil {
		// Nobody told Decode.
		again := batchV1{raw: b.raw}
		again.prepareFor(r)
		if err := again.check(); err != nil {
			return err // no room
		}
		b.ss = again.ss
	}
	b.books.charge = r.Charge
	b.reduction.judge(r, b.ss, func(i int, set *labels.Set) {
		v := viewer{r: r, set: set, stamps: r.Stamps}
		var f wire.Field
		for msg := b.reduction.at(i, b.raw, b.nextSeries); len(msg) > 0; {
			if msg = next(msg, &f); f.Num == v1Labels {
				v.add(readLabel(f.Data))
			}
		}
		v.close()
	})
	return nil
}

// nextSeries reads the next series of a push, of which there is one, into f.
func (b *batchV1) nextSeries(msg []byte, f *wire.Field) (rest []byte) {
	for msg = next(msg, f); f.Num != v1Series; {
		msg = next(msg, f)
	}
	return msg
}
