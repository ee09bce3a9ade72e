package otlp

import (
	"slices"
	"strings"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// reduceItems asks r about the resources of a push of spans or log records, and about each of those. Where the answers
// change anything the push is written anew, here and now: an item is read once, and all that comes after (stamps, names
// of services, sampling) works on what is left as if it had come like that. The price is one more copy of what is left,
// which is a tenth of what reading it a second time costs.
func (b *batch) reduceItems(r *ingest.Reducer) error {
	long := r.LongestLine > 0 && r.TooLong != nil && b.signal.signal == ingest.Logs
	moves := len(r.Metadata) > 0 && b.signal.signal == ingest.Logs
	if r.Item == nil && r.Resource == nil && !long && !moves || b.items == 0 && r.Resource == nil {
		return nil
	}
	w := newItemWriter(b, r)
	if long {
		w.longest = r.LongestLine
	}
	if err := w.request(); err != nil {
		return err
	}
	if !w.wrote {
		return nil
	}
	b.proto, b.made, b.nameless = w.dst, true, w.nameless
	b.reduced = reduced{wrote: true, lost: w.lost, stamped: w.stamping, idsChecked: true, metadataBytes: w.metadataBytes}
	return nil
}

// reduced is what Reduce did to a push of spans or log records.
type reduced struct {
	// wrote: it wrote the push anew. lost is how many items it took out.
	wrote bool
	lost  int
	// stamped: the stamps are on it. idsChecked: no span is left whose ids are bad.
	stamped, idsChecked bool
	metadataBytes       int
}

// itemWriter walks a push, asks, and writes the push anew from the first change on: what is not changed it copies in runs
// as long as possible, and nothing at all as long as nothing changes.
type itemWriter struct {
	r    *ingest.Reducer
	push *batch
	// src is the push as it came; src[:copied] is in dst as far as it is left. wrote: dst counts.
	src, dst []byte
	copied   int
	wrote    bool
	// around are the messages around the place at hand, depth of them.
	around [2]envelope
	depth  int

	whose whose
	// longest is as long as a line may be, if that matters, and reads says whether attributes do.
	longest int
	reads   bool
	// lost is how many items are left out.
	lost          int
	metadataBytes int

	resourceWriter

	// What is known of the item at hand: its attributes as they stand, and of a span its name as one more; how these
	// are sorted, which begins as the last item's were; and the size of a record's body.
	own    []labels.Label
	order  []int32
	body   int
	fields []place
	set    labels.Set
	keys   []labels.Key
	attrs  attributes
	extra  []moved
}

// place is where a field stands in the item at hand: an attribute, or a span's name.
type place struct {
	start, end int
	name       string
	isName     bool
}

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

func newItemWriter(b *batch, r *ingest.Reducer) *itemWriter {
	w := &itemWriter{r: r, push: b, src: b.proto, whose: ofRecord}
	if b.signal.signal == ingest.Traces {
		w.whose = ofPoint
	}
	w.attrs.charge = r.Charge
	w.resourceWriter.init(r)
	return w
}

func (w *itemWriter) request() error {
	var f wire.Field
	for rest := w.src; len(rest) > 0; {
		head := len(w.src) - len(rest)
		var err error
		if rest, err = wire.Next(rest, &f); err != nil {
			return err
		}
		if f.Num != 1 {
			continue
		}
		end := len(w.src) - len(rest)
		if err = w.group(envelope{num: 1, head: head, body: end - len(f.Data), end: end}); err != nil {
			return err
		}
	}
	if !w.wrote {
		return nil
	}
	return w.until(len(w.src))
}

// group reduces a ResourceSpans or ResourceLogs.
func (w *itemWriter) group(e envelope) error {
	g, err := w.readGroup(w.src[e.body:e.end])
	if err != nil {
		return err
	}
	out, err := w.askResource(&g)
	if err != nil {
		return err
	}
	if !out {
		w.lost += g.items
		return w.skip(e.head, e.end)
	}
	if w.rewritten && !w.stamping && len(w.r.Stamps) > 0 {
		if err = w.beginStamping(e.head); err != nil {
			return err
		}
	}
	if w.whose == ofPoint {
		var named group
		if err = named.readResource(w.res); err != nil {
			return err
		}
		if unnamed(named.service) {
			w.nameless++
		}
	}
	w.enter(e)
	if w.rewritten {
		if err = w.until(e.body); err == nil {
			err = w.room(len(w.res))
		}
		if err != nil {
			return err
		}
		if len(w.res) > 0 || g.resources > 0 {
			w.dst = wire.AppendBytes(w.dst, 1, w.res)
		}
	}
	w.reads = w.r.Item != nil || len(w.moved) > 0
	emptied, err := w.scopes(e, g.scopes)
	if err != nil {
		return err
	}
	return w.leave(emptied)
}

// scopes reduces what is in a group besides the resource.
func (w *itemWriter) scopes(e envelope, num int32) (emptied bool, err error) {
	var f wire.Field
	left, lost := 0, 0
	for rest := w.src[e.body:e.end]; len(rest) > 0; {
		head := e.end - len(rest)
		if rest, err = wire.Next(rest, &f); err != nil {
			return false, err
		}
		end := e.end - len(rest)
		switch {
		case f.Num == 1 && w.rewritten:
			err = w.skip(head, end)
		case f.Num == num:
			var gone bool
			if gone, err = w.scope(envelope{num: num, head: head, body: end - len(f.Data), end: end}); gone {
				lost++
			} else {
				left++
			}
		}
		if err != nil {
			return false, err
		}
	}
	return lost > 0 && left == 0, nil
}

// scope reduces a ScopeSpans or ScopeLogs, and says whether nothing is left of it.
func (w *itemWriter) scope(e envelope) (emptied bool, err error) {
	if w.r.Item != nil {
		if err = w.readScope(w.src[e.body:e.end]); err != nil {
			return false, err
		}
	}
	w.enter(e)
	left, lost := 0, 0
	var f wire.Field
	for rest := w.src[e.body:e.end]; len(rest) > 0; {
		head := e.end - len(rest)
		if rest, err = wire.Next(rest, &f); err != nil {
			return false, err
		}
		if f.Num != 2 {
			continue
		}
		out, err := w.item(head, e.end-len(rest), f.Data)
		if err != nil {
			return false, err
		}
		if out {
			left++
		} else {
			lost++
		}
	}
	w.lost += lost
	emptied = lost > 0 && left == 0
	return emptied, w.leave(emptied)
}

// item asks about the span or record msg, which is src[head:end] with its tag, and says whether it is left.
func (w *itemWriter) item(head, end int, msg []byte) (out bool, err error) {
	if w.whose == ofPoint && w.push.refused.Items > 0 {
		var v view
		if err = v.read(msg, true); err != nil {
			return false, err
		}
		if v.ids != goodIDs {
			return false, w.skip(head, end)
		}
	}
	if err = w.readItem(msg); err != nil {
		return false, err
	}
	var change *labels.Change
	if w.r.Item != nil {
		if err = w.fill(); err != nil {
			return false, err
		}
		var v ingest.Verdict
		if change, v = w.r.Item(&w.set); !v.Out() {
			return false, w.skip(head, end)
		}
	}
	if w.longest > 0 && w.body > w.longest && w.r.TooLong(w.body) {
		return false, w.skip(head, end)
	}
	if change == nil && len(w.moved) == 0 {
		return true, nil
	}
	return true, w.change(head, end, msg, change)
}

// change writes the item msg, which is src[head:end] with its tag, as c and what moves to it leave it.
func (w *itemWriter) change(head, end int, msg []byte, c *labels.Change) error {
	a := &w.attrs
	var name string
	a.gone, a.added = a.gone[:0], a.added[:0]
	if c != nil {
		if err := a.use(&w.set, c, w.whose); err != nil {
			return err
		}
		if w.whose == ofPoint {
			name = addedName(c)
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
	num := w.attrsField()
	dst, at := wire.OpenMessage(w.dst, 2, len(msg)) // that it becomes a little shorter is the usual case
	run := 0
	for i := range w.fields {
		switch p := &w.fields[i]; {
		case p.isName && name != "", !p.isName && a.goes(p.name):
			dst = append(dst, msg[run:p.start]...)
			run = p.end
		}
	}
	dst = append(dst, msg[run:]...)
	if name != "" {
		dst = wire.AppendString(dst, spanName, name)
	}
	dst = a.appendAdded(dst, num)
	for i := range w.extra {
		dst = w.extra[i].append(dst, num)
	}
	w.dst, w.copied = wire.CloseMessage(dst, at), end
	return nil
}

// Fields of spans and of records.
const (
	spanName    = 5
	recordBody  = 5
	spanAttrs   = 9
	recordAttrs = 6
)

// attrsField is the number of the attributes.
func (w *itemWriter) attrsField() int32 {
	if w.whose == ofPoint {
		return spanAttrs
	}
	return recordAttrs
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

// readItem reads the attributes of msg, and a span's name or the size of a record's body.
func (w *itemWriter) readItem(msg []byte) error {
	const startTime, endTime = 7<<3 | byte(wire.Fixed64), 8<<3 | byte(wire.Fixed64)
	w.attrs.reset()
	w.own, w.fields, w.body = w.own[:0], w.fields[:0], 0
	num, isSpan := w.attrsField(), w.whose == ofPoint
	var f wire.Field
	var name []byte
	var body attribute
	for rest := msg; len(rest) > 0; {
		before := len(rest)
		switch tag := rest[0]; {
		case before > 1 && tag < 0x80 && wire.Type(tag&7) == wire.Bytes && tag > 7 && int(rest[1]) < min(0x80, before-1):
			end := 2 + int(rest[1]) // as in walker.walk
			f.Num, f.Type, f.Data, rest = int32(tag>>3), wire.Bytes, rest[2:end], rest[end:]
		case isSpan && (tag == startTime || tag == endTime) && before > 8:
			rest = rest[9:]
			continue
		default:
			var err error
			if rest, err = wire.Next(rest, &f); err != nil {
				return err
			}
		}
		at := place{start: len(msg) - before, end: len(msg) - len(rest)}
		var err error
		switch {
		case f.Num == num && w.reads:
			err = w.readAttribute(f.Data, at)
		case f.Num == spanName && isSpan && f.Type == wire.Bytes:
			name, at.isName = f.Data, true
			err = w.addPlace(at)
		case f.Num == recordBody && !isSpan && w.longest > 0 && (len(f.Data) > w.longest || body.kind != 0):
			err = body.readValue(f.Data)
		}
		if err != nil {
			return err
		}
	}
	if w.body = len(body.encoded); body.kind == isString {
		w.body = len(body.data)
	}
	if len(name) == 0 {
		return nil
	}
	return w.addOwn(labels.Label{Name: metricName, Value: textOf(name)})
}

// readAttribute reads the attribute kv, which stands at at.
func (w *itemWriter) readAttribute(kv []byte, at place) error {
	var a attribute
	if err := a.read(kv); err != nil {
		return err
	}
	l := labels.Label{Name: textOf(a.name), Value: textOf(a.data)}
	if w.whose.reserved(l.Name) && l.Name == metricName {
		return nil // and no rule gets at it
	}
	if a.kind != isString {
		var err error
		if l.Value, err = w.attrs.value(&a); err != nil {
			return err
		}
	}
	at.name = l.Name
	if err := w.addPlace(at); err != nil || l.Value == "" {
		return err
	}
	return w.addOwn(l)
}

func (w *itemWriter) addPlace(at place) error {
	if len(w.fields) == cap(w.fields) {
		if err := reserve(&w.fields, w.r.Charge, 1); err != nil {
			return err
		}
	}
	w.fields = append(w.fields, at)
	return nil
}

func (w *itemWriter) addOwn(l labels.Label) error {
	if len(w.own) == cap(w.own) {
		if err := reserve(&w.own, w.r.Charge, 1); err != nil {
			return err
		}
	}
	w.own = append(w.own, l)
	return nil
}

// fill fills set with the item at hand and what is around it, sorted. It is Set.Sort with what is known before: items of
// one scope share most labels, and most of them name their attributes in the same order as the one before.
func (w *itemWriter) fill() error {
	if err := w.sort(); err != nil {
		return err
	}
	n := len(w.own) + len(w.base)
	w.set.All = w.set.All[:0]
	if err := reserve(&w.set.All, w.r.Charge, n); err != nil {
		return err
	}
	all, base := w.set.All, w.base
	for _, i := range w.order {
		l := w.own[i]
		if len(base) > 0 {
			if l.Name > base[len(base)-1].Name {
				all, base = append(all, base...), nil
			} else {
				for base[0].Name < l.Name {
					all, base = append(all, base[0]), base[1:]
				}
				if base[0].Name == l.Name {
					continue // what is around wins over an attribute that is called so
				}
			}
		}
		if n := len(all); n > 0 && all[n-1].Name == l.Name {
			continue
		}
		all = append(all, l)
	}
	w.set.All = append(all, base...)
	if len(w.keys) < len(w.set.All) {
		w.keys = w.keys[:0]
		if err := reserve(&w.keys, w.r.Charge, cap(w.set.All)); err != nil {
			return err
		}
		w.keys = w.keys[:cap(w.keys)]
	}
	w.set.Keys = w.keys[:len(w.set.All)]
	return nil
}

// sort sorts own by name, equal names in the order in which they stand, into order.
func (w *itemWriter) sort() error {
	own := w.own
	if len(w.order) != len(own) {
		w.order = w.order[:0]
		if err := reserve(&w.order, w.r.Charge, len(own)); err != nil {
			return err
		}
		for i := range own {
			w.order = append(w.order, int32(i))
		}
	}
	order := w.order
	compare := func(a, b int32) int {
		if c := strings.Compare(own[a].Name, own[b].Name); c != 0 {
			return c
		}
		return int(a - b)
	}
	budget := 16 * len(own)
	for i := 1; i < len(order); i++ {
		for j := i; j > 0 && compare(order[j], order[j-1]) < 0; j-- {
			order[j], order[j-1] = order[j-1], order[j]
			budget--
		}
		if budget < 0 {
			slices.SortFunc(order, compare)
			break
		}
	}
	return nil
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

// room makes room in dst for n bytes more, and for what CloseMessage may take.
func (w *itemWriter) room(n int) error {
	if n += 64; cap(w.dst)-len(w.dst) >= n {
		return nil
	}
	size := len(w.src) - w.copied + n
	if cap(w.dst) > 0 {
		size = max(size, len(w.dst)) // it grows: twice as large, then
	}
	return reserve(&w.dst, w.r.Charge, size)
}
