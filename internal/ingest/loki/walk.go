package loki

import (
	"errors"

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

// walk reads a PushRequest through, without keeping anything of it but sums. It takes what Loki takes: a message that
// Loki cannot decode is refused as a whole there, and would be here.
func walk(raw []byte) (*batch, error) {
	b := &batch{raw: raw, regular: true}
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
	regular, first := false, true
	var f wire.Field
	for rest := msg; len(rest) > 0; first = false {
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
			b.lines++
		case streamHash:
			if f.Type != wire.Varint {
				return errWireType
			}
			regular = false
		}
	}
	b.addStream(growth(labels), regular)
	return nil
}

func (b *batch) walkEntry(msg []byte) error {
	var f wire.Field
	for len(msg) > 0 {
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

func (m moment) before(o moment) bool {
	return m.seconds < o.seconds || m.seconds == o.seconds && m.nanos < o.nanos
}

func readTime(msg []byte) (moment, error) {
	var f wire.Field
	var m moment
	// Every sender writes seconds first: one tag known beforehand, for every line there is.
	if len(msg) > 1 && msg[0] == timeSeconds<<3|byte(wire.Varint) {
		if v, n := wire.Uvarint(msg[1:]); n > 0 {
			m.seconds, msg = int64(v), msg[1+n:]
			if len(msg) > 1 && msg[0] == timeNanos<<3|byte(wire.Varint) {
				if v, n := wire.Uvarint(msg[1:]); n > 0 {
					m.nanos, msg = int32(v), msg[1+n:]
				}
			}
		}
	}
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
