package remotewrite

import (
	"errors"
	"fmt"

	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// Field numbers that the code names. The rest is in the shapes below.
const (
	v1Series   = 1 // WriteRequest
	v1Metadata = 3
	v2Symbols  = 4 // Request
	v2Series   = 5

	// Mimir reads these two in either version: they switch off its validation of labels. A client may not.
	skipLabelValidation      = 1000
	skipLabelCountValidation = 1001

	v1Labels     = 1 // TimeSeries of v1
	v1Samples    = 2
	v1Exemplars  = 3
	v1Histograms = 4

	v2Refs       = 1 // TimeSeries of v2
	v2Samples    = 2
	v2Histograms = 3
	v2Exemplars  = 4
	v2Metadata   = 5
	v2Created    = 6 // until 2.0-rc.3; later Sample 3 and Histogram 17

	labelName  = 1
	labelValue = 2

	exemplarLabels = 1 // in both versions, as messages or as refs
	exemplarLast   = 3

	sampleValue = 1
	sampleTime  = 2
	sampleLast  = 2 // what v1 knows of a sample
	sampleStart = 3

	histogramSum    = 3
	histogramSchema = 4
	histogramTime   = 15
	histogramLast   = 15 // what remote_write 1.0 allows of a histogram
	histogramCustom = 16
	histogramStart  = 17

	metadataType   = 1
	v1MetadataName = 2
	v1MetadataHelp = 4
	v1MetadataUnit = 5
	v2MetadataHelp = 3
	v2MetadataUnit = 4

	// customBuckets is the schema of a histogram with bounds of its own (NHCB), which remote_write 1.0 forbids.
	customBuckets = -53
)

// maxLabels bounds the labels of one series or exemplar, so that sorting one takes 1 MiB at most. Upstream takes 30 to 80.
const maxLabels = 1 << 13

// What is wrong with a push, besides what package wire says.
var (
	errWireType = errors.New("protobuf: a known field has another wire type")
	errPacked   = errors.New("protobuf: a packed field ends inside a value")
	errLabels   = fmt.Errorf("over %d labels", maxLabels)
	errV2Body   = fmt.Errorf("a field of remote_write 2.0 in a 1.0 push: the Content-Type of 2.0 has proto=%s", protoV2)
	errV1Body   = fmt.Errorf("a field of remote_write 1.0 in a 2.0 push: the Content-Type of 1.0 has no proto=%s", protoV2)
	errSymbols  = errors.New("the symbol table does not begin with the empty string")
)

// kind is what a field holds.
type kind uint8

const (
	unknown  kind = iota // any wire type, content not looked at
	varint               // one number
	fixed64              // one double
	bytes_               // a string
	varints              // repeated numbers, packed or not
	fixed64s             // repeated doubles, packed or not
	span                 // a BucketSpan
)

// shape is the fields of a message by number. What is beyond its end is unknown.
type shape []kind

var (
	sampleV1   = shape{1: fixed64, 2: varint}
	sampleV2   = shape{1: fixed64, 2: varint, 3: varint}
	labelShape = shape{1: bytes_, 2: bytes_}
	// exemplarShape is what an exemplar has besides its labels.
	exemplarShape = shape{2: fixed64, 3: varint}
	spanShape     = shape{1: varint, 2: varint}
	metadataV1    = shape{1: varint, 2: bytes_, 4: bytes_, 5: bytes_}
	metadataV2    = shape{1: varint, 3: varint, 4: varint}
	histogramV1   = shape{
		1: varint, 2: fixed64, 3: fixed64, 4: varint, 5: fixed64, 6: varint, 7: fixed64,
		8: span, 9: varints, 10: fixed64s, 11: span, 12: varints, 13: fixed64s, 14: varint, 15: varint, 16: fixed64s,
	}
	histogramV2 = append(histogramV1[:17:17], varint)
)

// check says whether msg is a well-formed message of shape s, and adds to unknowns the fields that s does not know.
func check(msg []byte, s shape, unknowns *int) (err error) {
	var f wire.Field
	for len(msg) > 0 {
		if msg, err = wire.Next(msg, &f); err != nil {
			return err
		}
		if err = s.check(&f, unknowns); err != nil {
			return err
		}
	}
	return nil
}

// check checks one field of a message of shape s.
func (s shape) check(f *wire.Field, unknowns *int) error {
	if int(f.Num) >= len(s) || s[f.Num] == unknown {
		*unknowns++
		return nil
	}
	return checkField(f, s[f.Num])
}

func checkField(f *wire.Field, k kind) error {
	want := wire.Bytes
	switch k {
	case varint:
		want = wire.Varint
	case fixed64:
		want = wire.Fixed64
	case varints:
		if f.Type == wire.Bytes {
			_, err := countVarints(f.Data)
			return err
		}
		want = wire.Varint
	case fixed64s:
		if f.Type == wire.Bytes {
			if len(f.Data)%8 != 0 {
				return errPacked
			}
			return nil
		}
		want = wire.Fixed64
	}
	if f.Type != want {
		return errWireType
	}
	if k == span {
		var kept int // both versions have the same spans
		return check(f.Data, spanShape, &kept)
	}
	return nil
}

// countVarints is how many numbers a packed field holds.
func countVarints(b []byte) (n int, err error) {
	for ; len(b) > 0; n++ {
		_, l := wire.Uvarint(b)
		switch {
		case l == 0:
			return n, errPacked
		case l < 0:
			return n, wire.ErrVarint
		}
		b = b[l:]
	}
	return n, nil
}

// plainLabel reads a label that is written as every sender does, name then value and both under 128 bytes.
func plainLabel(b []byte) (name, value []byte, ok bool) {
	if len(b) < 4 || b[0] != labelName<<3|2 {
		return nil, nil, false
	}
	at := 2 + int(b[1]) // a longer length has its high bit set, and then at is beyond 129
	if b[1] >= 0x80 || at+2 > len(b) || b[at] != labelValue<<3|2 || b[at+1] >= 0x80 || at+2+int(b[at+1]) != len(b) {
		return nil, nil, false
	}
	return b[2:at:at], b[at+2:], true
}

// readLabel reads a label of a push that has been checked.
func readLabel(b []byte) (name, value []byte) {
	if name, value, ok := plainLabel(b); ok {
		return name, value
	}
	var f wire.Field
	for len(b) > 0 {
		b = next(b, &f)
		switch f.Num {
		case labelName:
			name = f.Data
		case labelValue:
			value = f.Data
		}
	}
	return name, value
}

// plainSample says whether b is a sample as every sender writes it: value, then a timestamp of up to nine bytes.
func plainSample(b []byte) bool {
	if len(b) < 11 || len(b) > 19 || b[0] != 1<<3|1 || b[9] != 2<<3 {
		return false
	}
	last := len(b) - 1
	for _, c := range b[10:last] {
		if c < 0x80 {
			return false
		}
	}
	return b[last] < 0x80
}

// next reads a field of a push that has been checked.
func next(msg []byte, f *wire.Field) []byte {
	rest, err := wire.Next(msg, f)
	if err != nil {
		panic("BUG: a push that was decoded is not well formed: " + err.Error())
	}
	return rest
}

// nextSeries is next, quicker where the field is a series.
func nextSeries(msg []byte, f *wire.Field) []byte {
	rest, err := nextField(msg, f)
	if err != nil {
		panic("BUG: a push that was decoded is not well formed: " + err.Error())
	}
	return rest
}

// shortField reads the field that msg begins with, if it has this tag, which is of Bytes, and a length of one byte. end is 0 where
// it is anything else.
func shortField(msg []byte, tag byte) (data []byte, end int) {
	if len(msg) < 2 || msg[0] != tag || msg[1] >= 0x80 || int(msg[1]) > len(msg)-2 {
		return nil, 0
	}
	end = 2 + int(msg[1])
	return msg[2:end:end], end
}

// nextField is wire.Next, quicker where the field is a series.
func nextField(msg []byte, f *wire.Field) (rest []byte, err error) {
	if msg[0] == v1Series<<3|2 || msg[0] == v2Series<<3|2 {
		n, at, ok := uint64(0), 3, true
		if len(msg) > 2 && msg[1] >= 0x80 && msg[2] < 0x80 {
			n = uint64(msg[1]&0x7f) | uint64(msg[2])<<7
		} else {
			n, at, ok = shortUvarint(msg, 1)
		}
		if ok && n <= uint64(len(msg)-at) {
			end := at + int(n)
			f.Num, f.Type, f.Data, f.Raw = int32(msg[0]>>3), wire.Bytes, msg[at:end:end], msg[:end:end]
			return msg[end:], nil
		}
	}
	return wire.Next(msg, f)
}

// appendUpTo appends the fields of msg with numbers up to last: what the other version knows too.
func appendUpTo(dst, msg []byte, last int32) []byte {
	var f wire.Field
	for len(msg) > 0 {
		if msg = next(msg, &f); f.Num <= last {
			dst = append(dst, f.Raw...)
		}
	}
	return dst
}
