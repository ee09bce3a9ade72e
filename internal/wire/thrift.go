package wire

import (
	"encoding/binary"
	"errors"
)

// Thrift walks values of Thrift's binary protocol without building them, so that the library, which takes memory by what
// a value declares and recurses by how it is nested, can be given it. It takes less than the library: lists hold structs,
// and there are no maps and no sets. The library does not look at the element type that a list declares and reads what
// its own schema says; since lists of structs are all that there is, both read the same.
//
// Source: https://github.com/apache/thrift/blob/master/doc/specs/thrift-binary-protocol.md
type Thrift struct {
	// List is called for each list inside a struct: how deep the struct is (the outermost is 0), the number of the field,
	// and how many elements it declares. Its error ends the walk. Nil: not called.
	List func(depth int, field int16, n int) error
	// Structs is how many there were.
	Structs int
}

// What is wrong with a Thrift message.
var (
	ErrThriftTruncated = errors.New("thrift: message ends inside a value")
	ErrThriftType      = errors.New("thrift: type that this protocol has no use for")
	ErrThriftNesting   = errors.New("thrift: structs nested over 64")
)

// maxThriftDepth bounds structs inside structs.
const maxThriftDepth = 64

// The types that are walked, as the binary protocol numbers them.
const (
	thriftStop   = 0
	thriftBool   = 2
	thriftByte   = 3
	thriftDouble = 4
	thriftI16    = 6
	thriftI32    = 8
	thriftI64    = 10
	thriftString = 11
	thriftStruct = 12
	thriftList   = 15
)

// Struct walks a struct and returns what follows it.
func (t *Thrift) Struct(msg []byte) (rest []byte, err error) { return t.structAt(msg, 0) }

// Elements walks a list of structs that is in no struct, and returns how many it has and what follows it.
func (t *Thrift) Elements(msg []byte) (n int, rest []byte, err error) {
	if n, msg, err = thriftListHeader(msg); err != nil {
		return 0, nil, err
	}
	for range n {
		if msg, err = t.structAt(msg, 0); err != nil {
			return 0, nil, err
		}
	}
	return n, msg, nil
}

func (t *Thrift) structAt(msg []byte, depth int) (rest []byte, err error) {
	if depth >= maxThriftDepth {
		return nil, ErrThriftNesting
	}
	t.Structs++
	for {
		if len(msg) == 0 {
			return nil, ErrThriftTruncated
		}
		kind := msg[0]
		if kind == thriftStop {
			return msg[1:], nil
		}
		if len(msg) < 3 {
			return nil, ErrThriftTruncated
		}
		field := int16(binary.BigEndian.Uint16(msg[1:]))
		if msg, err = t.value(msg[3:], kind, depth, field); err != nil {
			return nil, err
		}
	}
}

// value walks the value of a field.
func (t *Thrift) value(msg []byte, kind byte, depth int, field int16) (rest []byte, err error) {
	size := 0
	switch kind {
	case thriftBool, thriftByte:
		size = 1
	case thriftI16:
		size = 2
	case thriftI32:
		size = 4
	case thriftI64, thriftDouble:
		size = 8
	case thriftString:
		if len(msg) < 4 {
			return nil, ErrThriftTruncated
		}
		n := binary.BigEndian.Uint32(msg)
		msg = msg[4:]
		if uint64(n) > uint64(len(msg)) { // a negative length is a large one here
			return nil, ErrThriftTruncated
		}
		size = int(n)
	case thriftStruct:
		return t.structAt(msg, depth+1)
	case thriftList:
		n, msg, err := thriftListHeader(msg)
		if err == nil && t.List != nil {
			err = t.List(depth, field, n)
		}
		for range n {
			if err != nil {
				break
			}
			msg, err = t.structAt(msg, depth+1)
		}
		return msg, err
	default:
		return nil, ErrThriftType
	}
	if size > len(msg) {
		return nil, ErrThriftTruncated
	}
	return msg[size:], nil
}

// thriftListHeader reads the head of a list. A struct takes a byte at least, which bounds what can be declared.
func thriftListHeader(msg []byte) (n int, rest []byte, err error) {
	if len(msg) < 5 {
		return 0, nil, ErrThriftTruncated
	}
	if msg[0] != thriftStruct {
		return 0, nil, ErrThriftType
	}
	size := binary.BigEndian.Uint32(msg[1:])
	msg = msg[5:]
	if uint64(size) > uint64(len(msg)) {
		return 0, nil, ErrThriftTruncated
	}
	return int(size), msg, nil
}
