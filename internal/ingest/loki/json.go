package loki

import (
	"bytes"
	"fmt"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// fromJSON writes a JSON push as a PushRequest while it reads it:
//
//	{"streams": [{"stream": {"name": "value"}, "values": [["<ns>", "<line>", {"name": "value"}]]}]}
//
// It takes what Loki takes, and is stricter in four places, where Loki would lose lines in silence: "streams", "stream" or
// "values" twice in one object, and anything after the document. It is wider in two: a label name that is no identifier
// is quoted instead of spoiling the push, and half a surrogate pair becomes U+FFFD, as in encoding/json.
//
// Bytes that are not UTF-8 stay as they are in lines and metadata: Loki stores them.
func fromJSON(in []byte, lender ingest.Lender) (*batch, error) {
	d := decoder{scanner: scanner{in: in}, b: batch{json: true, regular: true, lender: lender}, set: labelSet{lender: lender}}
	// The protobuf is shorter than its JSON unless it is made to be longer; see ahead.
	var err error
	if d.out, err = ingest.Grow(d.out, len(in)+2*overhead, lender); err != nil {
		return nil, err
	}
	if err := d.push(); err != nil {
		return nil, err
	}
	d.b.raw = d.out
	return &d.b, nil
}

// ahead is by how much the protobuf may be longer than the JSON that it was made of. Times before 1970 and control
// characters in labels make it longer; no real push comes near, and a hostile one must not get memory without end.
const ahead = 64 << 10

// overhead is more than the tags and lengths that an entry and the end of its stream take, and a timestamp.
const overhead = 64

// decoder is one JSON push on its way to protobuf.
type decoder struct {
	scanner
	out  []byte
	set  labelSet
	name []byte // of the member being read
	size int    // of the entry before
	b    batch
}

// room is asked for before anything is written: for extra bytes, the overhead, and all strings that are still to come,
// none of which is longer than its JSON.
func (d *decoder) room(extra int) error {
	need := len(d.out) + extra + len(d.in) - d.pos + overhead
	most := len(d.in) + ahead
	switch {
	case need > most: // also where what was lent happens to have more room
		return fmt.Errorf("%d bytes of JSON make %d bytes of push, over %d more", d.pos, len(d.out)+extra, ahead)
	case need <= cap(d.out):
		return nil
	}
	out, err := ingest.Lend[byte](most, d.set.lender) // once and for all
	if err == nil {
		d.out = append(out, d.out...)
	}
	return err
}

func (d *decoder) push() error {
	seen := false
	err := d.members("an object", func(key []byte) error {
		switch {
		case !bytes.EqualFold(key, []byte("streams")): // Loki does not look at the case here, only here
			return d.skip(1)
		case seen:
			return d.fail(`"streams" twice`)
		case d.literal("null"):
			return nil
		}
		seen = true
		return d.each('[', `"streams" as an array`, d.stream)
	})
	if d.space(); err == nil && d.pos < len(d.in) {
		return d.fail("nothing more expected")
	}
	return err
}

// stream writes one stream. The order of fields is that of the members, which protobuf does not mind.
func (d *decoder) stream() error {
	if err := d.room(0); err != nil {
		return err
	}
	var mark wire.Mark
	d.out, mark = wire.OpenMessage(d.out, pushStreams, len(d.in)-d.pos)
	from, lines := len(d.out), d.b.lines
	hasLabels, hasValues, regular, slack := false, false, false, growth(nil)
	err := d.members("a stream as an object", func(key []byte) (err error) {
		switch {
		case string(key) == "stream" && hasLabels:
			return d.fail(`"stream" twice in one stream`)
		case string(key) == "stream":
			hasLabels, regular = true, len(d.out) == from
			slack, err = d.labels()
			return err
		case string(key) != "values":
			return d.skip(3)
		case d.literal("null"):
			return nil
		case hasValues:
			return d.fail(`"values" twice in one stream`)
		}
		hasValues = true
		return d.each('[', `"values" as an array`, d.entry)
	})
	d.out = wire.CloseMessage(d.out, mark)
	if err != nil {
		return err
	}
	return d.b.addStream(slack, d.b.lines-lines, regular)
}

// labels writes the labels of a stream in their canonical form and says by how much they can grow. Values other than
// strings are taken as their literal text (grafana/loki#9694), null too.
func (d *decoder) labels() (slack int, err error) {
	d.set.reset()
	err = d.members(`"stream" as an object`, func(key []byte) error {
		var err error
		if d.set.buf, err = ingest.Grow(d.set.buf, len(key), d.set.lender); err != nil {
			return err
		}
		d.set.buf = append(d.set.buf, key...)
		name := d.set.buf[len(d.set.buf)-len(key):]
		value, err := d.labelValue()
		if err != nil {
			return err
		}
		return d.set.add(name, value, d.pos)
	})
	if err != nil {
		return 0, err
	}
	d.set.lastWins()
	size := d.set.textLen()
	if err := d.room(size); err != nil {
		return 0, err
	}
	d.out = appendLen(wire.AppendTag(d.out, streamLabels, wire.Bytes), size)
	from := len(d.out)
	d.out = d.set.append(d.out, nil)
	return growth(d.out[from:]), nil
}

// labelValue reads the value of a label, of whatever type.
func (d *decoder) labelValue() ([]byte, error) {
	if d.peek() == '"' {
		return d.string(&d.set.buf)
	}
	from := d.pos
	err := d.skip(4)
	if err != nil {
		return nil, err
	}
	literal := d.in[from:d.pos]
	if d.set.buf, err = ingest.Grow(d.set.buf, len(literal), d.set.lender); err != nil {
		return nil, err
	}
	// Loki resolves escapes also where they stand in strings inside of the literal.
	mark := len(d.set.buf)
	d.set.buf = appendUnescaped(d.set.buf, literal)
	return d.set.buf[mark:], nil
}

// entry writes one line, unless it is null. What is not there stays unset, which Loki takes for the year 1 and for an
// empty line, and judges; a fourth element is ignored, as there.
func (d *decoder) entry() error {
	if d.literal("null") {
		return nil
	}
	if err := d.room(0); err != nil {
		return err
	}
	var mark wire.Mark
	d.out, mark = wire.OpenMessage(d.out, streamEntries, d.size)
	from := len(d.out)
	i := -1
	err := d.each('[', "an entry as an array", func() (err error) {
		switch i++; i {
		case 0:
			return d.timestamp()
		case 1:
			if d.peek() != '"' {
				return d.fail("the line as a string expected")
			}
			d.out, err = d.appendStringField(d.out, entryLine, d.size)
			return err
		case 2:
			return d.metadata()
		}
		return d.skip(5)
	})
	d.size = len(d.out) - from
	d.out = wire.CloseMessage(d.out, mark)
	d.b.addLine(d.size)
	return err
}

// timestamp writes the nanoseconds since 1970 that a string holds.
func (d *decoder) timestamp() error {
	if d.peek() != '"' {
		return d.fail("the timestamp as a string of nanoseconds expected")
	}
	at := d.pos
	d.name = d.name[:0]
	text, err := d.string(&d.name)
	if err != nil {
		return err
	}
	ns, ok := parseInt(text)
	if !ok {
		d.pos = at
		return d.fail("the timestamp as a string of nanoseconds expected")
	}
	seconds, nanos := ns/1e9, ns%1e9
	if nanos < 0 {
		seconds, nanos = seconds-1, nanos+1e9
	}
	size := 0
	if seconds != 0 {
		size += 1 + wire.UvarintLen(uint64(seconds))
	}
	if nanos != 0 {
		size += 1 + wire.UvarintLen(uint64(nanos))
	}
	d.out = appendLen(wire.AppendTag(d.out, entryTimestamp, wire.Bytes), size)
	if seconds != 0 {
		d.out = wire.AppendVarint(d.out, timeSeconds, uint64(seconds))
	}
	if nanos != 0 {
		d.out = wire.AppendVarint(d.out, timeNanos, uint64(nanos))
	}
	return nil
}

// metadata writes the structured metadata of a line, in the order and as often as it comes.
func (d *decoder) metadata() error {
	return d.members("structured metadata as an object", func(key []byte) (err error) {
		d.b.metadata = true
		if d.peek() != '"' {
			return d.fail("a string as structured metadata expected")
		}
		if err := d.room(len(key)); err != nil {
			return err
		}
		var mark wire.Mark
		d.out, mark = wire.OpenMessage(d.out, entryMetadata, 0)
		d.out = wire.AppendBytes(d.out, pairName, key)
		d.out, err = d.appendStringField(d.out, pairValue, 0)
		d.out = wire.CloseMessage(d.out, mark)
		return err
	})
}

// appendStringField appends field num with the string at pos as its content, of about size bytes.
func (d *decoder) appendStringField(dst []byte, num int32, size int) ([]byte, error) {
	start := d.pos + 1
	if end := run(d.in, start); end < len(d.in) && d.in[end] == '"' {
		d.pos = end + 1
		return wire.AppendBytes(dst, num, d.in[start:end]), nil
	}
	dst, mark := wire.OpenMessage(dst, num, size)
	dst, err := d.appendString(dst)
	return wire.CloseMessage(dst, mark), err
}

// members reads the object what and calls member at the value of each of its names. A name is valid until the next.
func (d *decoder) members(what string, member func(name []byte) error) error {
	return d.each('{', what, func() error {
		if d.peek() != '"' {
			return d.fail("a member's name expected")
		}
		d.name = d.name[:0]
		name, err := d.string(&d.name)
		if err != nil {
			return err
		}
		if err := d.colon(); err != nil {
			return err
		}
		return member(name)
	})
}

// string reads the string at pos. One with escape sequences it appends to buf.
func (d *decoder) string(buf *[]byte) ([]byte, error) {
	start := d.pos + 1
	if end := run(d.in, start); end < len(d.in) && d.in[end] == '"' {
		d.pos = end + 1
		return d.in[start:end], nil
	}
	err := d.skipString()
	if err != nil {
		return nil, err
	}
	if *buf, err = ingest.Grow(*buf, d.pos-start, d.set.lender); err != nil {
		return nil, err
	}
	mark := len(*buf)
	d.pos = start - 1
	*buf, err = d.appendString(*buf)
	return (*buf)[mark:], err
}

// parseInt reads a decimal int64: digits, and a minus sign at most.
func parseInt(text []byte) (int64, bool) {
	negative := len(text) > 0 && text[0] == '-'
	if negative {
		text = text[1:]
	}
	if len(text) == 0 {
		return 0, false
	}
	// Downwards, since the least int64 has no positive.
	const least = -1 << 63
	var n int64
	for _, c := range text {
		if !digit(c) {
			return 0, false
		}
		if n < least/10 {
			return 0, false
		}
		n *= 10
		if n < least+int64(c-'0') {
			return 0, false
		}
		n -= int64(c - '0')
	}
	if negative {
		return n, true
	}
	return -n, n != least
}
