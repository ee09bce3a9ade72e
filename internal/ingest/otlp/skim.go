package otlp

import (
	"encoding/binary"

	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// skim steps over the fields that msg begins with and that nothing has to be done about: scalars, and attributes whose
// values are scalars. It returns msg from the first other field on, which may be one that only looks unusual or is not well
// formed: who calls it reads one field as protobuf has it, and calls it again. Nearly all of a push goes by here, in shapes
// so few that they are told apart by single bytes. depth is how many values are around msg.
func (m *message) skim(msg []byte, depth int) []byte {
	for len(msg) > 8 { // so many have any tag, any length of two bytes and a Fixed64
		tag := msg[0]
		if tag >= 0x80 {
			return msg
		}
		var n int
		switch sub := m.sub[tag>>3&15]; {
		case sub == keyValue:
			if n = plain(msg); n == 0 || depth >= maxNesting || tag&7 != byte(wire.Bytes) {
				return msg
			}
		case sub != scalar || tag < 8: // a message, or number 0
			return msg
		default:
			if n = short(tag, msg); n > len(msg) || n == 0 {
				return msg
			}
		}
		msg = msg[n:]
	}
	return msg
}

// next is wire.Next, but that f.Raw is left alone.
func next(msg []byte, f *wire.Field) (rest []byte, err error) {
	if rest, ok := quick(msg, f); ok {
		return rest, nil
	}
	return wire.Next(msg, f)
}

// quick reads the first field of msg into f, but for f.Raw, and returns what follows. Not ok: it takes more than a glance.
func quick(msg []byte, f *wire.Field) (rest []byte, ok bool) {
	if len(msg) < 9 || msg[0] >= 0x80 || msg[0] < 8 {
		return nil, false
	}
	switch wire.Type(msg[0] & 7) {
	case wire.Bytes:
		n, head := int(msg[1]), 2
		if n >= 0x80 {
			n, head = n&0x7f|int(msg[2])<<7, 3
		}
		if n >= 0x80<<7 || n > len(msg)-head {
			return nil, false
		}
		f.Num, f.Type, f.Data = int32(msg[0]>>3), wire.Bytes, msg[head:head+n]
		return msg[head+n:], true
	case wire.Fixed64:
		f.Num, f.Type, f.Int = int32(msg[0]>>3), wire.Fixed64, binary.LittleEndian.Uint64(msg[1:])
		return msg[9:], true
	}
	return nil, false
}

// short is how many bytes the field takes that msg, of 9 bytes at least, begins with, if its tag takes one and its length
// no more than two; 0 if it is none of those.
func short(tag byte, msg []byte) int {
	_ = msg[8]
	switch wire.Type(tag & 7) {
	case wire.Bytes:
		if msg[1] < 0x80 {
			return 2 + int(msg[1])
		}
		if msg[2] < 0x80 {
			return 3 + int(msg[1]&0x7f) + int(msg[2])<<7
		}
	case wire.Fixed64:
		return 9
	case wire.Varint:
		if msg[1] < 0x80 {
			return 2
		}
	case wire.Fixed32:
		return 5
	}
	return 0
}

// The tags of the fields of a KeyValue.
const (
	keyTag   = 1<<3 | uint64(wire.Bytes)
	valueTag = 2<<3 | uint64(wire.Bytes)
)

// plain is how many bytes the first field of msg takes, of 9 bytes at least, if it is a KeyValue as nearly all are: key and
// value, or value and key, in less than 128 bytes, and the value a scalar. Then it is well formed, and so is all that is in
// it. 0 if it is not; that the field is one of Bytes is not looked at.
func plain(msg []byte) int {
	head := binary.LittleEndian.Uint64(msg) // tag, length; tag, length, and what stands in the first field
	n, first := int(head>>8&0xff), int(head>>24&0xff)
	second := 4 + first
	if n >= 0x80 || second > n || n+2 > len(msg) || int(msg[second+1]) != n-second {
		return 0
	}
	var value []byte
	switch head>>16&0xff | uint64(msg[second])<<8 {
	case valueTag | keyTag<<8: // the Collector
		value = msg[4:second]
	case keyTag | valueTag<<8: // SDKs
		value = msg[second+2 : n+2]
	default:
		return 0
	}
	if len(value) > 1 && value[0] == isString<<3|byte(wire.Bytes) && int(value[1]) == len(value)-2 || plainValue(value) {
		return n + 2
	}
	return 0
}

// plainValue says whether value is an AnyValue that is one scalar and nothing else.
func plainValue(value []byte) bool {
	n := len(value)
	if n < 2 {
		return false
	}
	switch value[0] {
	case isString<<3 | byte(wire.Bytes):
		return int(value[1]) == n-2 && n < 2+0x80
	case isInt<<3 | byte(wire.Varint), isBool<<3 | byte(wire.Varint):
		_, m := wire.Uvarint(value[1:])
		return m == n-1
	case isDouble<<3 | byte(wire.Fixed64):
		return n == 9
	}
	return false
}
