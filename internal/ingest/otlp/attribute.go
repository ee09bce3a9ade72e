package otlp

import (
	"encoding/binary"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// attribute is a KeyValue.
type attribute struct {
	name []byte
	// kind is the field of AnyValue that counts, 0 if none does: the last one there.
	kind int32
	// data is the content of a string, bytes, an array or a map; bits are what a bool, an int or a double is.
	data []byte
	bits uint64
	// encoded is the AnyValue.
	encoded []byte
}

// The fields of AnyValue.
const (
	isString = 1 + iota
	isBool
	isInt
	isDouble
	isArray
	isMap
	isBytes
)

// valueTypes is what those fields are on the wire. A value of another type is none: upstream will not take it.
var valueTypes = [...]wire.Type{isString: wire.Bytes, isBool: wire.Varint, isInt: wire.Varint, isDouble: wire.Fixed64,
	isArray: wire.Bytes, isMap: wire.Bytes, isBytes: wire.Bytes, lastValue: wire.Varint}

// read reads kv.
func (at *attribute) read(kv []byte) error {
	*at = attribute{}
	if at.readShort(kv) {
		return nil
	}
	var f wire.Field
	for len(kv) > 0 {
		var err error
		if kv, err = wire.Next(kv, &f); err != nil {
			return err
		}
		switch {
		case f.Num == 1 && f.Type == wire.Bytes:
			at.name = f.Data
		case f.Num == 1:
			at.name = nil
		case f.Num == 2 && f.Type == wire.Bytes:
			if err = at.readValue(f.Data); err != nil {
				return err
			}
		}
	}
	return nil
}

// shortFields returns the two fields of kv, where these are all that it has and each has a length of one byte: nearly
// always. SDKs write the key first, the Collector the value.
func shortFields(kv []byte) (key, value []byte, ok bool) {
	if len(kv) < 4 || int(kv[1]) > min(0x7f, len(kv)-4) {
		return nil, nil, false
	}
	end := 2 + int(kv[1])
	first, second := kv[2:end], kv[end+2:]
	if kv[end+1] >= 0x80 || int(kv[end+1]) != len(second) {
		return nil, nil, false
	}
	const keyTag, valueTag = 1<<3 | byte(wire.Bytes), 2<<3 | byte(wire.Bytes)
	switch {
	case kv[0] == keyTag && kv[end] == valueTag:
		return first, second, true
	case kv[0] == valueTag && kv[end] == keyTag:
		return second, first, true
	}
	return nil, nil, false
}

// plainText is the attribute kv as a label, if it is short and its value a string, and nothing else is in it.
func plainText(kv []byte) (l labels.Label, ok bool) {
	name, value, ok := shortFields(kv)
	if !ok || len(value) < 2 || value[0] != isString<<3|byte(wire.Bytes) || int(value[1]) != len(value)-2 {
		return l, false
	}
	return labels.Label{Name: textOf(name), Value: textOf(value[2:])}, true
}

// readShort reads kv if it is short and its value a scalar.
func (at *attribute) readShort(kv []byte) bool {
	name, value, ok := shortFields(kv)
	n := len(value)
	if !ok || n < 2 {
		return false
	}
	switch value[0] {
	case isString<<3 | byte(wire.Bytes):
		if int(value[1]) != n-2 {
			return false
		}
		at.kind, at.data = isString, value[2:]
	case isInt<<3 | byte(wire.Varint), isBool<<3 | byte(wire.Varint):
		bits, m := wire.Uvarint(value[1:])
		if m != n-1 {
			return false
		}
		at.kind, at.bits = int32(value[0]>>3), bits
	case isDouble<<3 | byte(wire.Fixed64):
		if n != 9 {
			return false
		}
		at.kind, at.bits = isDouble, binary.LittleEndian.Uint64(value[1:])
	default:
		return false
	}
	at.name, at.encoded = name, value
	return true
}

// readValue reads an AnyValue. Doubled ones are one: what is not in this one stays.
func (at *attribute) readValue(value []byte) error {
	var f wire.Field
	for rest := value; len(rest) > 0; {
		var err error
		if rest, err = wire.Next(rest, &f); err != nil {
			return err
		}
		if f.Num > lastValue {
			continue
		}
		at.kind, at.data, at.bits, at.encoded = 0, nil, 0, value
		if f.Type == valueTypes[f.Num] && f.Num != lastValue {
			at.kind, at.data, at.bits = f.Num, f.Data, f.Int
			if f.Type != wire.Bytes {
				at.data = nil
			}
		}
	}
	return nil
}

// keyOf is the name of the KeyValue kv.
func keyOf(kv []byte) (name []byte, err error) {
	if name, _, ok := shortFields(kv); ok {
		return name, nil
	}
	var f wire.Field
	for len(kv) > 0 {
		if kv, err = wire.Next(kv, &f); err != nil {
			return nil, err
		}
		if f.Num == 1 {
			name = f.Data
			if f.Type != wire.Bytes {
				name = nil
			}
		}
	}
	return name, nil
}
