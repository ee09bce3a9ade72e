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

	books   booking
	scratch []label // empty, with room for most labels and the stamps
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

// Reduce asks r about what is in the push.
func (b *batchV1) Reduce(*ingest.Reducer) error { return nil }

// converts says whether the push is to leave as 2.0. One without series stays what it is: 2.0 has no place for metadata
// that belongs to no series, and an empty push proves nothing there.
func (b *batchV1) converts(e ingest.Edit) bool { return e.Form.Version == 2 && b.series > 0 }

// Bound is what Encode appends at most.
func (b *batchV1) Bound(e ingest.Edit) int {
	if b.converts(e) {
		return b.boundV2(e)
	}
	if !b.private && (len(e.Stamps) == 0 || b.series == 0) {
		return 0
	}
	stamps := 0
	for _, s := range e.Stamps {
		stamps += wire.BytesLen(v1Labels, labelLen(s))
	}
	// Beside the stamps a series grows by its own length, from one byte to five.
	return len(b.raw) + b.series*(stamps+4)
}

// labelLen is how many bytes the message of l takes.
func labelLen(l labels.Label) int {
	return wire.BytesLen(labelName, len(l.Name)) + wire.BytesLen(labelValue, len(l.Value))
}

// Encode appends the push as it leaves.
func (b *batchV1) Encode(dst []byte, e ingest.Edit) (ingest.Result, error) {
	b.books.charge = e.Charge
	if b.converts(e) {
		return b.encodeV2(dst, e)
	}
	stamps := newStamps(e.Stamps)
	if len(stamps) > 0 && b.series > 0 {
		var ok bool
		if b.scratch, ok = room(&b.books, b.scratch, b.most+len(stamps)); !ok {
			return ingest.Result{}, b.books.err
		}
	}
	res := ingest.Result{Form: formV1, Sent: b.count}
	if !b.private && b.carries(stamps) {
		res.Unchanged = true
		return res, nil
	}
	var f wire.Field
	for msg := b.raw; len(msg) > 0; {
		msg = next(msg, &f)
		switch {
		case f.Num == v1Series && len(stamps) > 0:
			dst = b.stamp(dst, &f, stamps)
		case f.Num != skipLabelValidation && f.Num != skipLabelCountValidation:
			dst = append(dst, f.Raw...)
		}
	}
	res.Body = dst
	return res, nil
}

// carries says whether every series has every stamp already. Usually the first has not.
func (b *batchV1) carries(stamps []label) bool {
	if len(stamps) == 0 {
		return true
	}
	var f wire.Field
	for msg := b.raw; len(msg) > 0; {
		msg = next(msg, &f)
		if f.Num == v1Series && !carries(collectV1(b.scratch, f.Data), stamps) {
			return false
		}
	}
	return true
}

// collectV1 appends the labels of a series or of an exemplar to ls: in both, field 1 is labels.
func collectV1(ls []label, msg []byte) []label {
	var f wire.Field
	for len(msg) > 0 {
		if msg = next(msg, &f); f.Num == v1Labels {
			name, value := readLabel(f.Data)
			ls = append(ls, label{name: name, value: value, raw: f.Raw, at: len(ls)})
		}
	}
	return ls
}

// stamp appends the series f with stamps.
func (b *batchV1) stamp(dst []byte, f *wire.Field, stamps []label) []byte {
	start := len(dst)
	most := len(f.Data)
	for i := range stamps {
		most += len(stamps[i].raw)
	}
	dst, mark := wire.OpenMessage(dst, v1Series, most)
	if !b.ragged {
		if out, ok := mergeV1(dst, f.Data, stamps); ok {
			return wire.CloseMessage(out, mark)
		}
	}
	ls := collectV1(b.scratch, f.Data)
	if carries(ls, stamps) {
		return append(dst[:start], f.Raw...)
	}
	ls = canonical(ls, stamps)
	for i := range ls {
		dst = append(dst, ls[i].raw...)
	}
	var g wire.Field
	for msg := f.Data; len(msg) > 0; {
		if msg = next(msg, &g); g.Num != v1Labels {
			dst = append(dst, g.Raw...)
		}
	}
	return wire.CloseMessage(dst, mark)
}

// mergeV1 appends series with stamps, in one walk and by copying the stretches between them. It gives up where the labels
// are not strictly sorted or a value is empty.
func mergeV1(dst, series []byte, stamps []label) ([]byte, bool) {
	var prev []byte
	var f wire.Field
	done, copied, at := 0, 0, 0 // stamps written, and how much of series is copied and read
	for at < len(series) && series[at] == v1Labels<<3|2 {
		var name, value []byte
		var ok bool
		end := min(at+2+int(series[at+1]), len(series))
		if series[at+1] < 0x80 {
			name, value, ok = plainLabel(series[at+2 : end])
		}
		if !ok {
			end = len(series) - len(next(series[at:], &f))
			name, value = readLabel(f.Data)
		}
		if len(value) == 0 || string(name) <= string(prev) {
			return dst, false
		}
		prev = name
		for done < len(stamps) && string(stamps[done].name) <= string(name) {
			dst = append(dst, series[copied:at]...)
			dst = append(dst, stamps[done].raw...)
			copied = at
			if string(stamps[done].name) == string(name) {
				copied = end
			}
			done++
		}
		at = end
	}
	dst = append(dst, series[copied:at]...)
	for ; done < len(stamps); done++ {
		dst = append(dst, stamps[done].raw...)
	}
	return append(dst, series[at:]...), true
}
