// Package wire walks and writes the protobuf wire format without allocating and without generated types.
// It also bounds Thrift's binary protocol before a library reads it (see Thrift). It knows no message: the doors do.
// Every reader is bounds-checked and returns an error for what is not well formed; none ever panics on input.
//
// Source: https://protobuf.dev/programming-guides/encoding/
package wire

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// Type is a wire type, the low three bits of a tag.
type Type uint8

// The wire types. Groups (3, 4) are deprecated; they are walked over as unknown fields, never produced.
const (
	Varint     Type = 0
	Fixed64    Type = 1
	Bytes      Type = 2
	StartGroup Type = 3
	EndGroup   Type = 4
	Fixed32    Type = 5
)

// What is wrong with a message.
var (
	ErrTruncated = errors.New("protobuf: message ends inside a field")
	ErrVarint    = errors.New("protobuf: varint over 64 bits")
	ErrTag       = errors.New("protobuf: bad field number or wire type")
	ErrNesting   = errors.New("protobuf: groups nested too deep")
)

// maxGroupDepth bounds groups inside groups.
const maxGroupDepth = 64

// Field is one field of a message as it stands on the wire.
type Field struct {
	Num  int32
	Type Type
	// Int holds a Varint, Fixed64 or Fixed32.
	Int uint64
	// Data holds the content of a Bytes field. It points into the message.
	Data []byte
	// Raw is the whole field, tag included. It points into the message; copying it keeps a field that is not understood.
	Raw []byte
}

// Next reads the first field of msg into f and returns what follows it. An empty msg must not be passed.
func Next(msg []byte, f *Field) (rest []byte, err error) {
	tag, n := Uvarint(msg)
	if n <= 0 {
		return nil, uvarintErr(n)
	}
	if tag>>3 == 0 || tag>>3 > 1<<29-1 {
		return nil, ErrTag
	}
	f.Num, f.Type = int32(tag>>3), Type(tag&7)
	rest = msg[n:]
	switch f.Type {
	case Varint:
		v, m := Uvarint(rest)
		if m <= 0 {
			return nil, uvarintErr(m)
		}
		f.Int, rest = v, rest[m:]
	case Bytes:
		l, m := Uvarint(rest)
		if m <= 0 {
			return nil, uvarintErr(m)
		}
		if l > uint64(len(rest)-m) {
			return nil, ErrTruncated
		}
		end := m + int(l)
		f.Data, rest = rest[m:end:end], rest[end:]
	case Fixed64:
		if len(rest) < 8 {
			return nil, ErrTruncated
		}
		f.Int, rest = binary.LittleEndian.Uint64(rest), rest[8:]
	case Fixed32:
		if len(rest) < 4 {
			return nil, ErrTruncated
		}
		f.Int, rest = uint64(binary.LittleEndian.Uint32(rest)), rest[4:]
	case StartGroup:
		if rest, err = skipGroup(rest, f.Num, 1); err != nil {
			return nil, err
		}
	default:
		return nil, ErrTag
	}
	f.Raw = msg[: len(msg)-len(rest) : len(msg)-len(rest)]
	return rest, nil
}

// Run is how many fields at the start of msg have this tag of one byte, which is of Bytes, and a length of one or two, and how many
// bytes they take. What is in them is not looked at.
func Run(msg []byte, tag byte) (fields, size int) {
	for ; size+1 < len(msg) && msg[size] == tag; fields++ {
		n, next := int(msg[size+1]), size+2
		if n >= 0x80 {
			if next == len(msg) || msg[next] >= 0x80 {
				break
			}
			n = n&0x7f | int(msg[next])<<7
			next++
		}
		if n > len(msg)-next {
			break
		}
		size = next + n
	}
	return fields, size
}

// skipGroup returns what follows the end tag of group num.
func skipGroup(msg []byte, num int32, depth int) ([]byte, error) {
	if depth > maxGroupDepth {
		return nil, ErrNesting
	}
	for {
		tag, n := Uvarint(msg)
		if n <= 0 {
			return nil, uvarintErr(n)
		}
		if Type(tag&7) == EndGroup {
			// Compared before it is cut to 32 bits: a number over 2^32 must not pass for the small one in its low bits.
			if tag>>3 != uint64(num) {
				return nil, ErrTag
			}
			return msg[n:], nil
		}
		if Type(tag&7) == StartGroup {
			if tag>>3 == 0 || tag>>3 > 1<<29-1 {
				return nil, ErrTag
			}
			rest, err := skipGroup(msg[n:], int32(tag>>3), depth+1)
			if err != nil {
				return nil, err
			}
			msg = rest
			continue
		}
		var f Field
		rest, err := Next(msg, &f)
		if err != nil {
			return nil, err
		}
		msg = rest
	}
}

// Uvarint decodes a varint from the start of b. n is its length, 0 if b ends inside it, negative if it is over 64 bits.
func Uvarint(b []byte) (v uint64, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}

func uvarintErr(n int) error {
	if n == 0 {
		return ErrTruncated
	}
	return ErrVarint
}

// AppendTag appends the tag of field num with type t.
func AppendTag(dst []byte, num int32, t Type) []byte {
	return binary.AppendUvarint(dst, uint64(num)<<3|uint64(t))
}

// AppendBytes appends field num with content data.
func AppendBytes(dst []byte, num int32, data []byte) []byte {
	dst = AppendTag(dst, num, Bytes)
	dst = binary.AppendUvarint(dst, uint64(len(data)))
	return append(dst, data...)
}

// AppendString appends field num with content s.
func AppendString(dst []byte, num int32, s string) []byte {
	dst = AppendTag(dst, num, Bytes)
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// AppendVarint appends field num with value v.
func AppendVarint(dst []byte, num int32, v uint64) []byte {
	return binary.AppendUvarint(AppendTag(dst, num, Varint), v)
}

// AppendFixed64 appends field num with the 64 bits v.
func AppendFixed64(dst []byte, num int32, v uint64) []byte {
	return binary.LittleEndian.AppendUint64(AppendTag(dst, num, Fixed64), v)
}

// UvarintLen is how many bytes v takes as a varint.
func UvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// BytesLen is how many bytes a Bytes field num with n bytes of content takes, its tag included.
func BytesLen(num int32, n int) int {
	return UvarintLen(uint64(num)<<3) + UvarintLen(uint64(n)) + n
}

// Mark is where the content of a message that is being written begins.
type Mark struct{ start, width int }

// OpenMessage appends the tag of field num and room for the length of a message of about size bytes. The caller appends
// the content and then calls CloseMessage with the returned mark. The better the guess, the less has to be moved: nothing
// where the length takes as many bytes as that of size. 0 will do where little is known and the content is small.
func OpenMessage(dst []byte, num int32, size int) ([]byte, Mark) {
	dst = binary.AppendUvarint(AppendTag(dst, num, Bytes), uint64(size))
	return dst, Mark{start: len(dst), width: UvarintLen(uint64(size))}
}

// CloseMessage sets the length of the message opened at m, which ends with dst. Where the guess was wrong it moves the
// content by the one to four bytes that the length takes more or less: one memmove inside a cache is cheaper than walking
// the content twice to size it.
func CloseMessage(dst []byte, m Mark) []byte {
	n := len(dst) - m.start
	width := UvarintLen(uint64(n))
	if width != m.width {
		start := m.start - m.width + width
		for len(dst) < start+n {
			dst = append(dst, 0)
		}
		copy(dst[start:start+n], dst[m.start:m.start+n])
		dst = dst[:start+n]
	}
	binary.PutUvarint(dst[m.start-m.width:], uint64(n))
	return dst
}
