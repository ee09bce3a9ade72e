package remotewrite

import (
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// converts says whether the push is to leave as 2.0. One without series stays what it is: 2.0 has no place for metadata
// that belongs to no series, and an empty push proves nothing there.
func (b *batchV1) converts(e ingest.Edit) bool { return e.Form.Version == 2 && b.series > 0 }

// Bound is what Encode appends at most.
func (b *batchV1) Bound(e ingest.Edit) int {
	b.books.charge = e.Charge
	if b.converts(e) {
		return b.boundV2(e)
	}
	if !b.mustChange() && (len(e.Stamps) == 0 || b.series == 0) {
		return 0
	}
	stamps := 0
	for _, s := range e.Stamps {
		stamps += wire.BytesLen(v1Labels, labelLen(s))
	}
	// Beside the stamps and what comes to it a series grows by its own length, from one byte to five.
	n := len(b.raw) + b.series*(stamps+4)
	b.reduction.added(func(add []labels.Label, times int) {
		size := 0
		for _, l := range add {
			size += wire.BytesLen(v1Labels, labelLen(l))
		}
		n += size * times
	})
	return n
}

// mustChange says whether the push cannot leave as it came, whatever the stamps.
func (b *batchV1) mustChange() bool { return b.private || b.reduction.any }

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
	if b.series > 0 && (len(stamps) > 0 || b.reduction.any) && !b.prepare(stamps) {
		return ingest.Result{}, b.books.err
	}
	res := ingest.Result{Form: formV1, Sent: b.count}
	if !b.mustChange() && b.carries(stamps) {
		res.Unchanged = true
		return res, nil
	}
	b.reduction.begin()
	var f wire.Field
	n := 0
	for msg := b.raw; len(msg) > 0; {
		msg = nextSeries(msg, &f)
		switch f.Num {
		case v1Series:
			if fate, out := b.reduction.leaves(n, f.Data, &layoutV1); out {
				dst = b.rewrite(dst, &f, stamps, fate)
			}
			n++
		case skipLabelValidation, skipLabelCountValidation:
		default:
			dst = append(dst, f.Raw...)
		}
	}
	res.Sent, res.Held = minus(b.count, b.reduction.gone), b.reduction.held
	res.Body = dst
	return res, nil
}

// prepare makes the scratches, unless there is no room.
func (b *batchV1) prepare(stamps []label) (ok bool) {
	b.scratch, b.final, ok = b.reduction.scratches(&b.books, b.scratch, b.final, b.most+len(stamps))
	return ok
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

// rewrite appends the series f with stamps and as its fate says.
func (b *batchV1) rewrite(dst []byte, f *wire.Field, stamps []label, fate fate) []byte {
	if len(stamps) == 0 && fate.plain() {
		return append(dst, f.Raw...)
	}
	start := len(dst)
	most := len(f.Data)
	for i := range stamps {
		most += len(stamps[i].raw)
	}
	dst, mark := wire.OpenMessage(dst, v1Series, most)
	if fate.sorted {
		var m merger
		m.dst, m.msg, m.stamps, m.change = dst, f.Data, stamps, fate.change
		m.merge(&b.seats)
		if !fate.unstale {
			return wire.CloseMessage(append(m.dst, f.Data[m.copied:]...), mark)
		}
		m.walk(len(f.Data))
		m.flush()
		return wire.CloseMessage(appendRestV1(m.dst, f.Data[m.at:], true), mark)
	}
	ls := collectV1(b.scratch, f.Data)
	switch {
	case fate.change != nil:
		ls = changed(b.final, unique(canonical(ls, stamps)), fate.change)
	case !carries(ls, stamps):
		ls = canonical(ls, stamps)
	case !fate.unstale:
		return append(dst[:start], f.Raw...)
	}
	for i := range ls {
		if ls[i].at == atNew {
			dst = appendLabel(dst, ls[i].name, ls[i].value)
		} else {
			dst = append(dst, ls[i].raw...)
		}
	}
	return wire.CloseMessage(appendRestV1(dst, f.Data, fate.unstale), mark)
}

// appendRestV1 appends what of series is no label and, where that is so, no stale marker.
func appendRestV1(dst, series []byte, unstale bool) []byte {
	var f wire.Field
	for len(series) > 0 {
		if series = next(series, &f); f.Num == v1Labels {
			continue
		}
		if unstale {
			if _, stale, _ := layoutV1.point(&f); stale {
				continue
			}
		}
		dst = append(dst, f.Raw...)
	}
	return dst
}
