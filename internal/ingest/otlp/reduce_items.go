package otlp

import (
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
	r      *ingest.Reducer
	push   *batch
	lender ingest.Lender
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
	// from says of each label of set which of own it is, -1 for those of base, as long as own has these names. unmerged:
	// it does not, since base is another.
	from     []int32
	names    []string
	unmerged bool
	taken    taken
	// blank: the item has attributes without a value.
	blank bool
	attrs attributes
	extra []moved

	kin kindred
}

func newItemWriter(b *batch, r *ingest.Reducer) *itemWriter {
	w := &itemWriter{r: r, push: b, lender: ingest.Lender{Charge: r.Charge, Stock: b.stock}, src: b.proto, whose: ofRecord}
	if b.signal.signal == ingest.Traces {
		w.whose = ofPoint
	}
	w.attrs.lender = w.lender
	w.resourceWriter.init(r, w.lender)
	return w
}

// request reduces the push.
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
	if w.rewritten && (len(w.res) > 0 || g.resources > 0) {
		if err = w.until(e.body); err == nil {
			err = w.room(len(w.res))
		}
		if err != nil {
			return err
		}
		w.dst = wire.AppendBytes(w.dst, 1, w.res)
	}
	num := g.scopes
	w.reads = w.r.Item != nil || len(w.moved) > 0
	if !w.reads && w.longest == 0 && w.push.refused.Items == 0 {
		num = 0 // items are as they were
	}
	emptied, err := w.scopes(e, num)
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
	if bad, err := w.bad(msg); err != nil {
		return false, err
	} else if bad {
		return false, w.skip(head, end)
	}
	if !w.kin.met[1] {
		if err = w.meet(); err != nil {
			return false, err
		}
	}
	if w.kin.on {
		if gone, ok := w.known(msg); ok {
			return true, w.leaveOut(head, end, msg, gone)
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
	if w.kin.on && w.r.Repeats() {
		if err = w.remember(msg, change); err != nil {
			return false, err
		}
	}
	if change == nil && len(w.moved) == 0 {
		return true, nil
	}
	return true, w.change(head, end, msg, change)
}
