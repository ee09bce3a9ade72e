package otlp

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// kindred knows the items of a push that were asked about by what they are made of, so that others which are alike need neither
// be read nor asked about: programs make spans and records of few kinds, and rules mind names, mostly. An item is a way down a
// tree, one step for each attribute as they stand: the attribute's name, and for one whose value rules read all of it. Where
// the way of an item ends is noted what went from it.
//
// What is not plain is never known: attributes of odd shape, names that are none, lines that may be too long. Nothing is
// decided by a hash: steps are compared byte by byte, with few others each, so that no sender can make that dear.
type kindred struct {
	// on: a Reducer says what items are alike, and nothing but that changes items.
	on    bool
	reads []string
	// tree begins with the root. ends are the ends of ways, gone the attributes that go from items, counted as they stand.
	tree []step
	ends []wayEnd
	gone []int32
	// around is what the items at hand share with those of the same resource and of the same scope, as far as it matters: what is
	// in tree is good as long as that is the same. met: it is that of those at hand. next is for its making.
	around [2][]byte
	met    [2]bool
	next   []byte

	// titles: rules read the names of spans.
	titles bool

	// The attributes of the item at hand: how many there are, and where in it they stand.
	attrs  int
	places [maxSteps]placeOf
}

// placeOf is where something stands.
type placeOf struct{ start, end int32 }

// step is an attribute of items that are alike up to here, or a span's name that is read.
type step struct {
	text []byte // in the push
	kind stepKind
	// sibling is another step that may be taken instead, child the first that may follow, 0: none. end is one more than where in
	// ends the items are that end here.
	sibling, child, end int32
}

type stepKind uint8

const (
	named  stepKind = iota // text is a name, which has a value
	blank                  // a name without a value, which no rule sees
	whole                  // the field of an attribute, value and all
	titled                 // the name of a span
	odd                    // none: what takes more than a glance
)

// wayEnd says that gone[from:to] go.
type wayEnd struct{ from, to int32 }

const (
	// maxSteps is how many attributes an item may have to be known.
	maxSteps = 64
	// maxTree is how many steps are remembered, and maxSiblings how many in one place. Steps take 40 KiB then, and what goes
	// where ways end less than seven times that.
	maxTree     = 1024
	maxSiblings = 16
)

// meet makes kin ready for an item of the group and scope at hand, which is the first of either.
func (w *itemWriter) meet() error {
	k := &w.kin
	k.on = w.r.Item != nil && w.r.Repeats != nil && len(w.moved) == 0
	if !k.on {
		return nil
	}
	if len(k.tree) == 0 {
		k.reads, k.titles = w.r.Reads, w.whose == ofPoint && slices.Contains(w.r.Reads, metricName)
	}
	same := len(k.tree) > 0
	for i, base := range [...][]labels.Label{w.base[:w.ofResource], w.base[w.ofResource:]} {
		if !k.met[i] {
			if err := w.note(base); err != nil {
				return err
			}
			same = same && bytes.Equal(k.next, k.around[i])
			k.around[i], k.next, k.met[i] = k.next, k.around[i], true
		}
	}
	if same {
		return nil
	}
	k.tree, k.ends, k.gone = k.tree[:0], k.ends[:0], k.gone[:0]
	err := reserve(&k.tree, w.lender, 2*maxSteps)
	if err == nil {
		k.tree = append(k.tree, step{kind: odd})
	}
	return err
}

// note makes next of what matters of base.
func (w *itemWriter) note(base []labels.Label) error {
	k := &w.kin
	k.next = k.next[:0]
	read := func(l *labels.Label) string {
		if slices.Contains(k.reads, l.Name) {
			return l.Value
		}
		return ""
	}
	size := 0
	for i := range base {
		size += wire.BytesLen(1, len(base[i].Name)) + wire.BytesLen(1, len(read(&base[i])))
	}
	err := reserve(&k.next, w.lender, size)
	if err == nil {
		for i := range base {
			k.next = wire.AppendString(wire.AppendString(k.next, 1, base[i].Name), 1, read(&base[i]))
		}
	}
	return err
}

// known says whether an item like msg was asked about, and what went from it.
func (w *itemWriter) known(msg []byte) (gone []int32, ok bool) {
	k := &w.kin
	at, ok := w.follow(msg, false)
	if !ok || k.tree[at].end == 0 {
		return nil, false
	}
	e := k.ends[k.tree[at].end-1]
	return k.gone[e.from:e.to], true
}

// remember notes that c is what becomes of all items like msg, which is seen as set.
func (w *itemWriter) remember(msg []byte, c *labels.Change) error {
	k, attrs := &w.kin, &w.attrs
	if len(k.tree)+maxSteps > maxTree {
		return nil
	}
	err := reserve(&k.tree, w.lender, maxSteps)
	if err == nil {
		err = reserve(&k.ends, w.lender, 1)
	}
	if err == nil {
		err = reserve(&k.gone, w.lender, maxSteps)
	}
	if err != nil {
		return err
	}
	at, ok := w.follow(msg, true)
	if !ok || k.tree[at].end != 0 {
		return nil
	}
	if c != nil {
		if err = attrs.use(&w.set, c, w.whose); err != nil {
			return err
		}
	}
	from := int32(len(k.gone))
	var f wire.Field
	for i, p := range k.places[:k.attrs] {
		if field(msg[p.start:p.end], &f); c != nil && attrs.goes(textOf(sound(keyOf(f.Data)))) {
			k.gone = append(k.gone, int32(i))
		}
	}
	k.ends = append(k.ends, wayEnd{from, int32(len(k.gone))})
	k.tree[at].end = int32(len(k.ends))
	return nil
}

// follow takes the way of msg and returns its last step; not ok: there is no such way, or msg is not plain. Steps that are
// missing it makes if it may, for which there is room then.
func (w *itemWriter) follow(msg []byte, makes bool) (at int32, ok bool) {
	k := &w.kin
	isSpan, num := w.whose == ofPoint, w.attrsField()
	tag := byte(num)<<3 | byte(wire.Bytes)
	hasName, steps := !isSpan, 0
	k.attrs = 0
	var f wire.Field
	for pos := 0; pos < len(msg); {
		rest := msg[pos:]
		var text []byte
		kind, n := titled, 0
		if len(rest) > 8 {
			if rest[0] == tag {
				text, kind, n = outlinePlain(rest)
			} else if t := rest[0]; t < 0x80 && t>>3 != spanName {
				if n = short(t, rest); n > 0 {
					pos += n
					continue
				}
			}
		}
		if n == 0 {
			n = len(rest) - len(field(rest, &f))
			switch {
			case f.Num == num:
				text, kind = outline(f.Data)
			case f.Num == spanName && isSpan:
				if hasName = f.Type == wire.Bytes && len(f.Data) > 0; !hasName {
					return 0, false
				}
				text, kind = f.Data, titled
			case f.Num == recordBody && !isSpan && w.longest > 0 && len(f.Data) > w.longest:
				return 0, false
			default:
				pos += n
				continue
			}
		}
		pos += n
		if kind != titled {
			if kind == odd || k.attrs == maxSteps {
				return 0, false
			}
			k.places[k.attrs] = placeOf{int32(pos - n), int32(pos)}
			k.attrs++
		} else if !k.titles {
			continue
		}
		if steps++; steps > maxSteps {
			return 0, false
		}
		next := k.tree[at].child
		if s := &k.tree[next]; s.kind != kind || string(s.text) != string(text) {
			if next = k.find(at, text, kind, rest[:n]); next == 0 && makes {
				next = k.add(at, text, kind, rest[:n])
			}
			if next == 0 {
				return 0, false
			}
		}
		at = next
	}
	return at, hasName
}

// find returns the step behind at that is the attribute which stands as field, and whose name is text; 0: there is none.
func (k *kindred) find(at int32, text []byte, kind stepKind, field []byte) int32 {
	for at = k.tree[at].child; at != 0; at = k.tree[at].sibling {
		s := &k.tree[at]
		if s.kind == kind && string(s.text) == string(text) || s.kind == whole && string(s.text) == string(field) {
			break
		}
	}
	return at
}

// add adds that step behind at; 0 if there are too many.
func (k *kindred) add(at int32, text []byte, kind stepKind, field []byte) int32 {
	if kind != titled && slices.Contains(k.reads, textOf(text)) {
		text, kind = field, whole
	}
	last, n := &k.tree[at].child, 0
	for ; *last != 0; n++ {
		last = &k.tree[*last].sibling
	}
	if n == maxSiblings {
		return 0
	}
	*last = int32(len(k.tree))
	k.tree = append(k.tree, step{text: text, kind: kind})
	return int32(len(k.tree) - 1)
}

// outlinePlain is outline for the field that msg begins with, of 9 bytes at least, if it is plain: see there. It takes n bytes;
// 0: it is not.
func outlinePlain(msg []byte) (name []byte, kind stepKind, n int) {
	head := binary.LittleEndian.Uint64(msg)
	size, first := int(head>>8&0xff), int(head>>24&0xff)
	second := 4 + first
	if size >= 0x80 || second > size || size+2 > len(msg) || int(msg[second+1]) != size-second {
		return nil, odd, 0
	}
	var value []byte
	switch head>>16&0xff | uint64(msg[second])<<8 {
	case valueTag | keyTag<<8:
		name, value = msg[second+2:size+2], msg[4:second]
	case keyTag | valueTag<<8:
		name, value = msg[4:second], msg[second+2:size+2]
	default:
		return nil, odd, 0
	}
	if plainValue(value) && (len(value) > 2 || value[0] != isString<<3|byte(wire.Bytes)) {
		return name, named, size + 2
	}
	return name, outlineValue(value), size + 2
}

// outline returns the name of the attribute kv, and whether it has a value that rules see; odd: it takes more to say.
func outline(kv []byte) (name []byte, kind stepKind) {
	name, value, ok := shortFields(kv)
	if !ok {
		if name, value, ok = twoFields(kv); !ok {
			return nil, odd
		}
	}
	return name, outlineValue(value)
}

// twoFields is shortFields for what is longer.
func twoFields(kv []byte) (key, value []byte, ok bool) {
	var first, second wire.Field
	if len(kv) == 0 {
		return nil, nil, false
	}
	rest := field(kv, &first)
	if len(rest) == 0 || len(field(rest, &second)) > 0 || first.Type != wire.Bytes || second.Type != wire.Bytes {
		return nil, nil, false
	}
	switch {
	case first.Num == 1 && second.Num == 2:
		return first.Data, second.Data, true
	case first.Num == 2 && second.Num == 1:
		return second.Data, first.Data, true
	}
	return nil, nil, false
}

// outlineValue says what kind of step an attribute of that value is.
func outlineValue(value []byte) stepKind {
	if len(value) == 0 {
		return blank
	}
	var f wire.Field
	if rest := field(value, &f); len(rest) > 0 || f.Num > isBytes || f.Type != valueTypes[f.Num] {
		return odd
	}
	switch f.Num {
	case isString, isBytes:
		if len(f.Data) == 0 {
			return blank
		}
	case isArray, isMap:
		// With NaN or an infinity in it there is no JSON of it, which is as if it had no value. The last byte of these is one of
		// two, which hardly stand in anything else.
		if bytes.IndexByte(f.Data, 0x7f) >= 0 || bytes.IndexByte(f.Data, 0xff) >= 0 {
			return odd
		}
	}
	return named
}

// leaveOut writes the item msg, which is src[head:end] with its tag, without the attributes gone, which follow has placed.
func (w *itemWriter) leaveOut(head, end int, msg []byte, gone []int32) error {
	if len(gone) == 0 {
		return nil
	}
	err := w.until(head)
	if err == nil {
		err = w.room(end - head)
	}
	if err != nil {
		return err
	}
	left := len(msg)
	for _, i := range gone {
		left -= int(w.kin.places[i].end - w.kin.places[i].start)
	}
	dst := binary.AppendUvarint(wire.AppendTag(w.dst, 2, wire.Bytes), uint64(left))
	run := int32(0)
	for _, i := range gone {
		p := w.kin.places[i]
		dst, run = append(dst, msg[run:p.start]...), p.end
	}
	w.dst, w.copied = append(dst, msg[run:]...), end
	return nil
}
