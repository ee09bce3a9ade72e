package loki

import (
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// rewriter writes a push as a reduction leaves it.
type rewriter struct {
	stamper
	batch *batch
	d     *reduction
	bytes int // of names and values that became metadata
	has   []uint8
	// order and spare are the lines of a stream that is made of several.
	order, spare []record
}

func (w *rewriter) push() error {
	var f wire.Field
	n := -1
	for rest := w.batch.raw; len(rest) > 0; {
		if rest = next(rest, &f); f.Num != pushStreams {
			w.out = append(w.out, f.Raw...)
			continue
		}
		if n++; !w.d.streams[n].out {
			continue
		}
		if err := w.stream(&f, n); err != nil {
			return err
		}
	}
	return nil
}

// stream writes stream n, which is f, or what it is the first of.
func (w *rewriter) stream(f *wire.Field, n int) error {
	s := &w.d.streams[n]
	if m := w.d.merging; m != nil {
		p := &m.parts[n]
		if text := m.parts[p.first].labels; text != nil {
			switch {
			case int(p.first) != n: // written in the place of the first
				return nil
			case p.next == 0:
				return w.relabelled(s, text, &p.moved)
			}
			return w.merged(n, text)
		}
	}
	switch {
	case s.left == s.lines && len(w.stamps) == 0:
		w.out = append(w.out, f.Raw...)
		return nil
	case s.left == s.lines:
		return w.stamper.stream(s.msg, w.batch.regular, n+1)
	case len(w.stamps) == 0:
		var mark wire.Mark
		w.out, mark = wire.OpenMessage(w.out, pushStreams, len(s.msg))
		if err := w.fields(s, &moved{}, true); err != nil {
			return err
		}
		w.out = wire.CloseMessage(w.out, mark)
		return nil
	}
	mark, ok, err := w.open(labelsOf(s.msg, w.batch.regular), s.msg, len(s.msg), n+1)
	if !ok {
		return err
	}
	err = w.fields(s, &moved{}, false)
	w.out = wire.CloseMessage(w.out, mark)
	return err
}

// relabelled writes a stream with text as its labels.
func (w *rewriter) relabelled(s *stream, text []byte, m *moved) error {
	var mark wire.Mark
	w.out, mark = wire.OpenMessage(w.out, pushStreams, len(text)+len(s.msg)+int(s.left)*len(m.block))
	w.out = wire.AppendBytes(w.out, streamLabels, text)
	if w.batch.regular && s.left == s.lines && len(m.block) == 0 {
		var f wire.Field
		w.out = append(w.out, next(s.msg, &f)...)
	} else if err := w.fields(s, m, false); err != nil {
		return err
	}
	w.out = wire.CloseMessage(w.out, mark)
	return nil
}

// fields writes the lines of a stream that leave, and what else is in it. head: with labels and hash.
func (w *rewriter) fields(s *stream, m *moved, head bool) error {
	var f wire.Field
	n := s.line - 1
	for rest := s.msg; len(rest) > 0; {
		switch rest = next(rest, &f); f.Num {
		case streamEntries:
			if n++; w.d.isLost(n) {
				continue
			}
			if err := w.entry(&f, m); err != nil {
				return err
			}
		case streamLabels, streamHash:
			if head {
				w.out = append(w.out, f.Raw...)
			}
		default:
			w.out = append(w.out, f.Raw...)
		}
	}
	return nil
}

// merged writes the streams of which n is the first as one: its lines in the order of their times, then whatever else
// was in any of them.
func (w *rewriter) merged(n int, text []byte) (err error) {
	m := w.d.merging
	if w.order, err = ingest.Grow(w.order[:0], m.longest, w.set.lender); err != nil {
		return err
	}
	size := len(text)
	for i := int32(n); ; {
		p, s := &m.parts[i], &w.d.streams[i]
		w.order = w.d.records(w.order, i)
		size += len(s.msg) + int(s.left)*len(p.moved.block)
		if i = p.next; i == 0 {
			break
		}
	}
	rs := w.order
	if inOrder(rs) < len(rs) {
		if w.spare, err = ingest.Grow(w.spare[:0], m.longest, w.set.lender); err != nil {
			return err
		}
		rs = inTime(rs, w.spare)
	}
	var mark wire.Mark
	w.out, mark = wire.OpenMessage(w.out, pushStreams, size)
	w.out = wire.AppendBytes(w.out, streamLabels, text)
	var f wire.Field
	for _, r := range rs {
		next(w.d.streams[r.stream].msg[r.from:], &f)
		if err := w.entry(&f, &m.parts[r.stream].moved); err != nil {
			return err
		}
	}
	if w.batch.others {
		w.others(int32(n))
	}
	w.out = wire.CloseMessage(w.out, mark)
	return nil
}

// others writes what is neither labels nor lines nor hash in the streams that follow each other from i on.
func (w *rewriter) others(i int32) {
	var f wire.Field
	for {
		for rest := w.d.streams[i].msg; len(rest) > 0; {
			switch rest = next(rest, &f); f.Num {
			case streamLabels, streamEntries, streamHash:
			default:
				w.out = append(w.out, f.Raw...)
			}
		}
		if i = w.d.merging.parts[i].next; i == 0 {
			return
		}
	}
}
