package loki

import (
	"bytes"
	"fmt"

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
func fromJSON(in []byte) (*batch, error) {
	d := decoder{scanner: scanner{in: in}, b: batch{json: true, regular: true}}
	// The protobuf is shorter than its JSON unless it is made to be longer; see outLimit.
	d.out = make([]byte, 0, len(in)+64)
	if err := d.push(); err != nil {
		return nil, err
	}
	d.b.raw = d.out
	return &d.b, nil
}

// outLimit is how much longer than its JSON the protobuf may be. Times before 1970 and control characters in labels
// make it longer; no real push comes near, and a hostile one must not get memory that was never reserved (jsonWeight).
const outLimit = 64 << 10

// decoder is one JSON push on its way to protobuf.
type decoder struct {
	scanner
	out  []byte
	set  labelSet
	name []byte // of the member being read
	text []byte // the labels of the stream being read
	b    batch
}

func (d *decoder) push() error {
	if err := d.open('{', "an object"); err != nil {
		return err
	}
	seen := false
	for first := true; ; first = false {
		if more, err := d.more(first, '}'); err != nil || !more {
			if err != nil {
				return err
			}
			break
		}
		key, err := d.key()
		switch {
		case err != nil:
		case !bytes.EqualFold(key, []byte("streams")): // Loki does not look at the case here, only here
			err = d.skip(1)
		case seen:
			err = d.fail(`"streams" twice`)
		case d.literal("null"):
		default:
			seen = true
			err = d.streams()
		}
		if err != nil {
			return err
		}
	}
	if d.space(); d.pos < len(d.in) {
		return d.fail("nothing more expected")
	}
	return nil
}

func (d *decoder) streams() error {
	if err := d.open('[', `"streams" as an array`); err != nil {
		return err
	}
	for first := true; ; first = false {
		if more, err := d.more(first, ']'); err != nil || !more {
			return err
		}
		if err := d.stream(); err != nil {
			return err
		}
	}
}

// stream writes one stream. The order of fields is that of the members, which protobuf does not mind.
func (d *decoder) stream() error {
	if err := d.open('{', "a stream as an object"); err != nil {
		return err
	}
	var mark wire.Mark
	d.out, mark = wire.OpenMessage(d.out, pushStreams, 0)
	from := len(d.out)
	d.text = d.text[:0]
	hasLabels, hasValues, regular := false, false, false
	for first := true; ; first = false {
		if more, err := d.more(first, '}'); err != nil || !more {
			if err != nil {
				return err
			}
			break
		}
		key, err := d.key()
		switch {
		case err != nil:
		case string(key) == "stream" && hasLabels:
			err = d.fail(`"stream" twice in one stream`)
		case string(key) == "stream":
			hasLabels, regular = true, len(d.out) == from
			err = d.labels()
		case string(key) != "values":
			err = d.skip(3)
		case d.literal("null"):
		case hasValues:
			err = d.fail(`"values" twice in one stream`)
		default:
			hasValues = true
			err = d.values()
		}
		if err != nil {
			return err
		}
	}
	d.out = wire.CloseMessage(d.out, mark)
	d.b.addStream(d.text, regular)
	return d.fits()
}

// labels writes the labels of a stream in their canonical form. Values other than strings are taken as their literal
// text (grafana/loki#9694), null too.
func (d *decoder) labels() error {
	if err := d.open('{', `"stream" as an object`); err != nil {
		return err
	}
	d.set.reset()
	for first := true; ; first = false {
		if more, err := d.more(first, '}'); err != nil || !more {
			if err != nil {
				return err
			}
			break
		}
		key, err := d.key()
		if err != nil {
			return err
		}
		var p pair
		p.name, d.set.buf = keep(d.set.buf, key)
		value := len(d.set.buf)
		if d.peek() == '"' {
			d.set.buf, err = d.appendString(d.set.buf)
		} else {
			start := d.pos
			err = d.skip(4)
			// Loki resolves escapes also where they stand in strings inside of the literal.
			d.set.buf = appendUnescaped(d.set.buf, d.in[start:d.pos])
		}
		if err != nil {
			return err
		}
		p.value = d.set.buf[value:]
		d.set.pairs = append(d.set.pairs, p)
	}
	d.set.lastWins()
	d.text = d.set.append(d.text, nil)
	d.out = wire.AppendBytes(d.out, streamLabels, d.text)
	return nil
}

// keep appends b to buf and returns the copy.
func keep(buf, b []byte) (copied, out []byte) {
	mark := len(buf)
	buf = append(buf, b...)
	return buf[mark:], buf
}

func (d *decoder) values() error {
	if err := d.open('[', `"values" as an array`); err != nil {
		return err
	}
	for first := true; ; first = false {
		if more, err := d.more(first, ']'); err != nil || !more {
			return err
		}
		if d.literal("null") {
			continue
		}
		if err := d.entry(); err != nil {
			return err
		}
		if err := d.fits(); err != nil {
			return err
		}
	}
}

// entry writes one line. What is not there stays unset, which Loki takes for the year 1 and for an empty line, and
// judges; a fourth element is ignored, as there.
func (d *decoder) entry() error {
	if err := d.open('[', "an entry as an array"); err != nil {
		return err
	}
	var mark wire.Mark
	d.out, mark = wire.OpenMessage(d.out, streamEntries, 0)
	for i := 0; ; i++ {
		more, err := d.more(i == 0, ']')
		if err != nil {
			return err
		}
		if !more {
			break
		}
		switch i {
		case 0:
			err = d.timestamp()
		case 1:
			if d.peek() != '"' {
				return d.fail("the line as a string expected")
			}
			d.out, err = d.appendStringField(d.out, entryLine)
		case 2:
			err = d.metadata()
		default:
			err = d.skip(5)
		}
		if err != nil {
			return err
		}
	}
	d.out = wire.CloseMessage(d.out, mark)
	d.b.lines++
	return nil
}

// timestamp writes the nanoseconds since 1970 that a string holds.
func (d *decoder) timestamp() error {
	if d.peek() != '"' {
		return d.fail("the timestamp as a string of nanoseconds expected")
	}
	at := d.pos
	text, err := d.string()
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
	if err := d.open('{', "structured metadata as an object"); err != nil {
		return err
	}
	for first := true; ; first = false {
		if more, err := d.more(first, '}'); err != nil || !more {
			return err
		}
		key, err := d.key()
		if err != nil {
			return err
		}
		if d.peek() != '"' {
			return d.fail("a string as structured metadata expected")
		}
		var mark wire.Mark
		d.out, mark = wire.OpenMessage(d.out, entryMetadata, 0)
		d.out = wire.AppendBytes(d.out, pairName, key)
		if d.out, err = d.appendStringField(d.out, pairValue); err != nil {
			return err
		}
		d.out = wire.CloseMessage(d.out, mark)
	}
}

// appendStringField appends field num with the string at pos as its content.
func (d *decoder) appendStringField(dst []byte, num int32) ([]byte, error) {
	start := d.pos + 1
	if end := run(d.in, start); end < len(d.in) && d.in[end] == '"' {
		d.pos = end + 1
		return wire.AppendBytes(dst, num, d.in[start:end]), nil
	}
	dst, mark := wire.OpenMessage(dst, num, 0)
	dst, err := d.appendString(dst)
	if err != nil {
		return dst, err
	}
	return wire.CloseMessage(dst, mark), nil
}

// key reads the name of a member and the colon after it. It is valid until the next key.
func (d *decoder) key() ([]byte, error) {
	if d.peek() != '"' {
		return nil, d.fail("a member's name expected")
	}
	name, err := d.string()
	if err != nil {
		return nil, err
	}
	d.space()
	if d.peek() != ':' {
		return nil, d.fail(": expected")
	}
	d.pos++
	d.space()
	return name, nil
}

// string reads the string at pos; valid until the next call.
func (d *decoder) string() ([]byte, error) {
	start := d.pos + 1
	if end := run(d.in, start); end < len(d.in) && d.in[end] == '"' {
		d.pos = end + 1
		return d.in[start:end], nil
	}
	var err error
	d.name, err = d.appendString(d.name[:0])
	return d.name, err
}

func (d *decoder) fits() error {
	if len(d.out) > len(d.in)+outLimit {
		return fmt.Errorf("%d bytes of JSON hold over %d bytes of push", len(d.in), len(d.out))
	}
	return nil
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
