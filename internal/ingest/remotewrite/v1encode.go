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
		msg = next(msg, &f)
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
	if !b.ragged {
		if out, rest, ok := mergeV1(dst, f.Data, stamps, fate); ok {
			if fate.unstale {
				return wire.CloseMessage(appendRestV1(out, rest, true), mark)
			}
			return wire.CloseMessage(append(out, rest...), mark)
		}
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

// mergeV1 appends the labels of a series as stamps and its fate make them, in one walk and by copying the stretches
// between what differs, and returns what of series follows. It gives up where they are not strictly sorted or a value
// is empty, unless they are known to be sorted: then it looks at names only while something is still to come among them.
func mergeV1(dst, series []byte, stamps []label, fate fate) (out, rest []byte, ok bool) {
	var prev []byte
	var f wire.Field
	var add []labels.Label
	c := fate.change
	if c != nil {
		add = c.Add
	}
	// How many labels of the view were met, how many stamps, and how much of series is copied and read.
	i, done, copied, at := 0, 0, 0, 0
	for at < len(series) && series[at] == v1Labels<<3|2 {
		if fate.sorted && done == len(stamps) && len(add) == 0 {
			if c == nil && !fate.unstale {
				break // the rest is as it was, labels and all
			}
			if n := int(series[at+1]); n < 0x80 {
				end := at + 2 + n
				if c != nil && !c.Keeps(i) {
					dst = append(dst, series[copied:at]...)
					copied = end
				}
				i++
				at = end
				continue
			}
		}
		var name, value []byte
		end := min(at+2+int(series[at+1]), len(series))
		if ok = false; series[at+1] < 0x80 {
			name, value, ok = plainLabel(series[at+2 : end])
		}
		if !ok {
			end = len(series) - len(next(series[at:], &f))
			name, value = readLabel(f.Data)
		}
		if !fate.sorted && (len(value) == 0 || !ascends(prev, name)) {
			return dst, nil, false
		}
		prev = name
		overwritten := false
		for done < len(stamps) && !ascends(name, stamps[done].name) {
			dst = append(dst, series[copied:at]...)
			copied = at
			dst, add = appendAdded(dst, add, stamps[done].name)
			if c == nil || c.Keeps(i) {
				dst = append(dst, stamps[done].raw...)
			}
			overwritten = string(stamps[done].name) == string(name)
			done++
			i++
		}
		switch {
		case overwritten:
			copied = end
		case c != nil:
			if len(add) > 0 && ascends(bytesOf(add[0].Name), name) {
				dst = append(dst, series[copied:at]...)
				copied = at
				dst, add = appendAdded(dst, add, name)
			}
			if !c.Keeps(i) {
				dst = append(dst, series[copied:at]...)
				copied = end
			}
			i++
		}
		at = end
	}
	dst = append(dst, series[copied:at]...)
	for ; done < len(stamps); done++ {
		dst, add = appendAdded(dst, add, stamps[done].name)
		if c == nil || c.Keeps(i) {
			dst = append(dst, stamps[done].raw...)
		}
		i++
	}
	for _, l := range add {
		dst = appendLabel(dst, bytesOf(l.Name), bytesOf(l.Value))
	}
	return dst, series[at:], true
}

// appendAdded appends those of add that come before name, and returns the others.
func appendAdded(dst []byte, add []labels.Label, name []byte) ([]byte, []labels.Label) {
	for len(add) > 0 && add[0].Name < string(name) {
		dst = appendLabel(dst, bytesOf(add[0].Name), bytesOf(add[0].Value))
		add = add[1:]
	}
	return dst, add
}
