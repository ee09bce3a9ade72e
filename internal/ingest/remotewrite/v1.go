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
	// ragged: some series has a label after a field that is none, or one whose tag takes more than its one byte.
	ragged bool

	reduction reduction
	books     booking
	scratch   []label // empty, with room for most labels and the stamps
	final     []label // the same, with room for labels that come by a Change too
}

func decodeV1(raw []byte, _ ingest.Content) (ingest.Batch, error) {
	b := &batchV1{raw: raw}
	if err := b.check(); err != nil {
		return nil, ingest.Malformed("remote_write 1.0 push", err)
	}
	return b, nil
}

func (b *batchV1) check() (err error) {
	var f wire.Field
	for msg := b.raw; len(msg) > 0; {
		if msg, err = wire.Next(msg, &f); err != nil {
			return err
		}
		switch f.Num {
		case v1Series, v1Metadata:
			if f.Type != wire.Bytes {
				return errWireType
			}
			if f.Num == v1Metadata {
				b.metadata++
				err = check(f.Data, metadataV1, &b.unknowns)
			} else if err = b.checkSeries(f.Data); err != nil {
				err = fmt.Errorf("series %d: %w", b.series, err)
			} else {
				b.series++
			}
			if err != nil {
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

// checkSeries checks one TimeSeries and counts what is in it.
func (b *batchV1) checkSeries(msg []byte) (err error) {
	var f wire.Field
	var labels, samples, histograms int
	late := false
	for len(msg) > 0 {
		if msg[0] == v1Labels<<3|2 && len(msg) > 1 && msg[1] < 0x80 && int(msg[1])+2 <= len(msg) {
			// The common case of the generic code below: a series is labels for nine tenths.
			end := int(msg[1]) + 2
			if _, _, ok := plainLabel(msg[2:end]); ok {
				labels++
				b.ragged = b.ragged || late
				msg = msg[end:]
				continue
			}
		}
		tag := msg[0]
		if msg, err = wire.Next(msg, &f); err != nil {
			return err
		}
		if f.Num >= v1Labels && f.Num <= v1Histograms && f.Type != wire.Bytes {
			return errWireType
		}
		switch f.Num {
		case v1Labels:
			labels++
			b.ragged = b.ragged || late || tag != v1Labels<<3|2
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
		late = late || f.Num != v1Labels
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
	ss, overloaded := r.Room(b.series)
	if overloaded != nil {
		return overloaded
	}
	b.books.charge = r.Charge
	if !b.books.take(indexEntry * len(ss)) {
		return b.books.err
	}
	var f wire.Field
	msg := b.raw
	for i := range ss {
		msg = b.nextSeries(msg, &f)
		if !b.measure(&ss[i], f.Data, r) {
			return b.books.err
		}
	}
	b.reduction.judge(r, ss, func(i int, set *labels.Set) {
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

// measure fills s with what series is, unless there is no room.
func (b *batchV1) measure(s *ingest.Series, series []byte, r *ingest.Reducer) bool {
	k := newKeyer(r.Keys, s)
	var f wire.Field
	for msg := series; len(msg) > 0; {
		if msg[0] == v1Labels<<3|2 && len(msg) > 1 && msg[1] < 0x80 && int(msg[1])+2 <= len(msg) {
			// As in checkSeries: the common case of what follows.
			end := int(msg[1]) + 2
			if name, value, ok := plainLabel(msg[2:end]); ok {
				k.add(name, value)
				msg = msg[end:]
				continue
			}
		}
		if msg = next(msg, &f); f.Num == v1Labels {
			k.add(readLabel(f.Data))
		} else {
			layoutV1.measure(s, &f)
		}
	}
	if !k.ordered {
		var ok bool
		if b.scratch, ok = room(&b.books, b.scratch, b.most+len(r.Stamps)); !ok {
			return false
		}
		k.again(collectV1(b.scratch, series))
	}
	s.Key, s.Overwritten = r.Keys.End()
	return true
}
