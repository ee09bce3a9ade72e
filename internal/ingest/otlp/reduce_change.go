package otlp

import (
	"slices"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// envelope is a message around items.
type envelope struct {
	num int32
	// It stands in src from head on, its content from body on.
	head, body, end int
	// written: it is in dst from at on, and mark is where its content begins.
	written bool
	at      int
	mark    wire.Mark
}

// enter goes into a message.
func (w *itemWriter) enter(e envelope) { w.around[w.depth] = e; w.depth++ }

// leave goes out of the message entered last, which goes if it is emptied.
func (w *itemWriter) leave(emptied bool) error {
	w.depth--
	e := &w.around[w.depth]
	switch {
	case !e.written:
		return nil
	case emptied:
		w.dst, w.copied = w.dst[:e.at], e.end
		return nil
	}
	if err := w.until(e.end); err != nil {
		return err
	}
	w.dst = wire.CloseMessage(w.dst, e.mark)
	return nil
}

// skip leaves src[from:to] out.
func (w *itemWriter) skip(from, to int) error {
	err := w.until(from)
	w.copied = to
	return err
}

// until copies what comes before pos. Messages around it are opened, so that their lengths can become others.
func (w *itemWriter) until(pos int) error {
	w.wrote = true
	if err := w.room(pos - w.copied); err != nil {
		return err
	}
	for i := range w.depth {
		e := &w.around[i]
		if e.written {
			continue
		}
		w.dst = append(w.dst, w.src[w.copied:e.head]...)
		e.at, e.written = len(w.dst), true
		w.dst, e.mark = wire.OpenMessage(w.dst, e.num, e.end-e.body)
		w.copied = e.body
	}
	w.dst = append(w.dst, w.src[w.copied:pos]...)
	w.copied = pos
	return nil
}

// room makes room in dst for n bytes more, and for what CloseMessage may take. It begins with what is left of src and a
// little more; what grows beyond that pays for a copy.
func (w *itemWriter) room(n int) error {
	if n += 64; cap(w.dst)-len(w.dst) >= n {
		return nil
	}
	left := len(w.src) - w.copied
	return reserve(&w.dst, w.lender, max(n, left+left/16+64))
}

// change writes the item msg, which is src[head:end] with its tag, as c and what moves to it leave it.
func (w *itemWriter) change(head, end int, msg []byte, c *labels.Change) error {
	a := &w.attrs
	var name string
	a.gone, a.added = a.gone[:0], a.added[:0]
	if w.takesAgain(c) {
		return w.changeAgain(head, end, msg)
	}
	if c != nil {
		if err := a.use(&w.set, c, w.whose); err != nil {
			return err
		}
		if w.whose == ofPoint {
			name = addedName(c)
		}
		if err := w.take(c); err != nil {
			return err
		}
	}
	extra, err := w.extras()
	if err != nil {
		return err
	}
	if len(a.gone) == 0 && name == "" {
		return nil // it has all that would come, and nothing else changes
	}
	growth := a.growth() + extra
	if name != "" {
		growth += wire.BytesLen(spanName, len(name))
	}
	if err = w.until(head); err == nil {
		err = w.room(len(msg) + growth)
	}
	if err != nil {
		return err
	}
	w.write(msg, name)
	w.copied = end
	return nil
}

// write writes the item msg, for which there is room, with what goes and comes, and with another name if there is one.
func (w *itemWriter) write(msg []byte, name string) {
	dst, at := wire.OpenMessage(w.dst, 2, len(msg)) // that it becomes a little shorter is the usual case
	run := 0
	for i := range w.fields {
		p := &w.fields[i]
		if p.isName && name == "" || !p.isName && !w.takes(msg, p) {
			continue
		}
		dst = append(dst, msg[run:p.start]...)
		run = p.end
	}
	dst = append(dst, msg[run:]...)
	if name != "" {
		dst = wire.AppendString(dst, spanName, name)
	}
	num := w.attrsField()
	dst = w.attrs.appendAdded(dst, num)
	for i := range w.extra {
		dst = w.extra[i].append(dst, num)
	}
	w.dst = wire.CloseMessage(dst, at)
}

// taken is which attributes of its own the last item lost that had any change.
type taken struct {
	keep []uint64 // what that change said
	own  []bool   // for each of itemWriter.own
	any  bool
	// good: it holds for the next item as well, if that has the same names and its change says the same.
	good bool
}

// take finds out what c, which attributes.use has seen, takes from the item at hand.
func (w *itemWriter) take(c *labels.Change) (err error) {
	t := &w.taken
	t.own, t.any = t.own[:0], false
	if err = reserve(&t.own, w.lender, len(w.own)); err != nil {
		return err
	}
	for i := range w.own {
		goes := w.attrs.goes(w.own[i].Name)
		t.own, t.any = append(t.own, goes), t.any || goes
	}
	words := (len(w.set.All) + 63) / 64
	t.keep = t.keep[:0]
	if err = reserve(&t.keep, w.lender, words); err != nil {
		return err
	}
	t.keep = append(t.keep, c.Keep[:words]...)
	t.good = len(c.Add) == 0 && len(w.moved) == 0
	return nil
}

// takesAgain says whether c takes the same attributes from the item at hand that were taken from the last one, and nothing else
// changes. So it is with most: rules that only drop mind names, and those are the last item's.
func (w *itemWriter) takesAgain(c *labels.Change) bool {
	return w.taken.good && c != nil && len(c.Add) == 0 && !w.blank && slices.Equal(c.Keep[:len(w.taken.keep)], w.taken.keep)
}

// changeAgain is change for an item which takesAgain is about.
func (w *itemWriter) changeAgain(head, end int, msg []byte) error {
	if !w.taken.any {
		return nil
	}
	err := w.until(head)
	if err == nil {
		err = w.room(len(msg))
	}
	if err != nil {
		return err
	}
	w.extra = w.extra[:0]
	w.write(msg, "")
	w.copied = end
	return nil
}

// takes says whether the attribute of msg at p goes.
func (w *itemWriter) takes(msg []byte, p *place) bool {
	if p.own >= 0 && len(w.moved) == 0 {
		return w.taken.own[p.own]
	}
	return w.attrs.goes(w.nameAt(msg, p))
}

// addedName is the name that c gives, empty if it gives none.
func addedName(c *labels.Change) string {
	for i := range c.Add {
		if c.Add[i].Name == metricName {
			return c.Add[i].Value
		}
	}
	return ""
}
