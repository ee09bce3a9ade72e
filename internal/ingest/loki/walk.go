package loki

import (
	"encoding/binary"
	"errors"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// Fields of logproto.PushRequest, StreamAdapter, EntryAdapter, LabelPairAdapter and google.protobuf.Timestamp.
// What is not named here is carried along unread: a newer field, or EntryAdapter.parsed (4).
const (
	pushStreams = 1
	pushFormat  = 2

	streamLabels  = 1
	streamEntries = 2
	streamHash    = 3

	entryTimestamp = 1
	entryLine      = 2
	entryMetadata  = 3
	entryParsed    = 4

	pairName  = 1
	pairValue = 2

	timeSeconds = 1
	timeNanos   = 2
)

var (
	errWireType  = errors.New("a known field has another wire type")
	errTimestamp = errors.New("timestamp outside the years 1 to 9999, or nanoseconds outside a second")
)

// Seconds of 0001-01-01 and of 10000-01-01, the bounds of google.protobuf.Timestamp.
const (
	minSeconds = -62135596800
	endSeconds = 253402300800
)

// walk reads a PushRequest through, once, without keeping anything of it but sums and how many lines each stream has. It
// takes what Loki takes: a message that Loki cannot decode is refused as a whole there, and would be here.
func walk(raw []byte, lender ingest.Lender) (*batch, error) {
	b := &batch{raw: raw, regular: true, lender: lender}
	var f wire.Field
	for rest := raw; len(rest) > 0; {
		var err error
		if rest, err = wire.Next(rest, &f); err != nil {
			return nil, err
		}
		switch f.Num {
		case pushStreams:
			if f.Type != wire.Bytes {
				return nil, errWireType
			}
			if err := b.walkStream(f.Data); err != nil {
				return nil, err
			}
		case pushFormat:
			if f.Type != wire.Bytes {
				return nil, errWireType
			}
		}
	}
	return b, nil
}

func (b *batch) walkStream(msg []byte) error {
	// Regular is labels first and once, and no hash: what every client of Loki sends.
	var labels []byte
	regular, first, lines := false, true, b.lines
	var f wire.Field
	for rest := msg; len(rest) > 0; first = false {
		// All but one in a hundred of the fields are lines.
		if from, end := shortField(rest, streamEntries); end > 0 {
			if err := b.walkEntry(rest[from:end]); err != nil {
				return err
			}
			rest = rest[end:]
			continue
		}
		var err error
		if rest, err = wire.Next(rest, &f); err != nil {
			return err
		}
		switch f.Num {
		case streamLabels:
			if f.Type != wire.Bytes {
				return errWireType
			}
			regular = first
			labels = f.Data
		case streamEntries:
			if f.Type != wire.Bytes {
				return errWireType
			}
			if err := b.walkEntry(f.Data); err != nil {
				return err
			}
		case streamHash:
			if f.Type != wire.Varint {
				return errWireType
			}
			regular = false
		default:
			b.others = true
		}
	}
	return b.addStream(growth(labels), b.lines-lines, regular)
}

func (b *batch) walkEntry(msg []byte) error {
	b.addLine(len(msg))
	_, n := plainEntry(msg)
	var f wire.Field
	for msg = msg[n:]; len(msg) > 0; {
		var err error
		if msg, err = wire.Next(msg, &f); err != nil {
			return err
		}
		switch f.Num {
		case entryTimestamp:
			if f.Type != wire.Bytes {
				return errWireType
			}
			if _, err := readTime(f.Data); err != nil {
				return err
			}
		case entryLine:
			if f.Type != wire.Bytes {
				return errWireType
			}
		case entryMetadata, entryParsed:
			if f.Type != wire.Bytes {
				return errWireType
			}
			if err := walkPair(f.Data); err != nil {
				return err
			}
			b.metadata = b.metadata || f.Num == entryMetadata
		}
	}
	return nil
}

// shortField finds the content of the field that msg begins with, if that is num, of bytes, and its length is written in one
// byte or two. end is 0 for any other: wire.Next says then what it is.
func shortField(msg []byte, num byte) (from, end int) {
	if len(msg) < 3 || msg[0] != num<<3|byte(wire.Bytes) {
		return 0, 0
	}
	from, end = 2, 2+int(msg[1])
	if msg[1] >= 0x80 {
		if msg[2] >= 0x80 {
			return 0, 0
		}
		from, end = 3, 3+int(msg[1]&0x7f)+int(msg[2])<<7
	}
	if end > len(msg) {
		return 0, 0
	}
	return from, end
}

// plainEntry reads the beginning of an entry as every client of Loki writes it: a timestamp, seconds first, and then the
// line. size is how many bytes that is, 0 if it is anything else. Both may come again in what is left of the entry.
func plainEntry(msg []byte) (at moment, size int) {
	from, end := shortField(msg, entryTimestamp)
	if end-from < 6 || len(msg) < from+14 {
		return at, 0
	}
	// Seconds from 1978 to 3058 take five bytes, and whatever these say is in the bounds of a timestamp.
	w := binary.LittleEndian.Uint64(msg[from:])
	if w&0x8080_8080_80ff != 0x80_8080_8000|timeSeconds<<3|uint64(wire.Varint) {
		return at, 0
	}
	at.seconds = int64(septets(w >> 8))
	if n := end - from - 6; n > 0 { // nanoseconds, with their tag
		w = binary.LittleEndian.Uint64(msg[from+6:])
		tag := w & 0xff
		if n < 2 || n > 6 || tag != timeNanos<<3|uint64(wire.Varint) {
			return at, 0
		}
		w = w >> 8 & (1<<(8*(n-1)) - 1)
		nanos := septets(w)
		if w&0x80_8080_8080 != 0x8080_8080&(1<<(8*(n-2))-1) || nanos >= 1e9 {
			return at, 0
		}
		at.nanos = int32(nanos)
	}
	_, n := shortField(msg[end:], entryLine)
	if n == 0 {
		return at, 0
	}
	return at, end + n
}

// septets is the value of a varint of five bytes, which are the low ones of w; shorter ones have zeros behind them.
func septets(w uint64) uint64 {
	return w&0x7f | w>>1&(0x7f<<7) | w>>2&(0x7f<<14) | w>>3&(0x7f<<21) | w>>4&(0x7f<<28)
}

func walkPair(msg []byte) error {
	var f wire.Field
	for len(msg) > 0 {
		var err error
		if msg, err = wire.Next(msg, &f); err != nil {
			return err
		}
		if (f.Num == pairName || f.Num == pairValue) && f.Type != wire.Bytes {
			return errWireType
		}
	}
	return nil
}

// moment is a google.protobuf.Timestamp. What Loki takes spans 68 bits of nanoseconds.
type moment struct {
	seconds int64
	nanos   int32
}

// unset is what Loki takes an entry without a timestamp for.
var unset = moment{seconds: minSeconds}

func readTime(msg []byte) (moment, error) {
	var f wire.Field
	var m moment
	for len(msg) > 0 {
		var err error
		if msg, err = wire.Next(msg, &f); err != nil {
			return m, err
		}
		switch f.Num {
		case timeSeconds:
			if f.Type != wire.Varint {
				return m, errWireType
			}
			m.seconds = int64(f.Int)
		case timeNanos:
			if f.Type != wire.Varint {
				return m, errWireType
			}
			m.nanos = int32(f.Int)
		}
	}
	if m.seconds < minSeconds || m.seconds >= endSeconds || m.nanos < 0 || m.nanos >= 1e9 {
		return m, errTimestamp
	}
	return m, nil
}
