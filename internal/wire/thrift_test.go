package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

func TestThrift(t *testing.T) {
	// What is walked, how many structs it has, what is left of it, and the lists in it as depth/field/length.
	f := func(msg []byte, structs int, rest, lists string, want error) {
		t.Helper()
		var got string
		w := wire.Thrift{List: func(depth int, field int16, n int) error {
			got += fmt.Sprintf("%d/%d/%d ", depth, field, n)
			return nil
		}}
		left, err := w.Struct(msg)
		if !errors.Is(err, want) || err == nil && (w.Structs != structs || string(left) != rest || got != lists) {
			t.Errorf("% x: %d structs, rest %q, lists %q, %v, want %d, %q, %q, %v", msg, w.Structs, left, got, err, structs, rest, lists, want)
		}
	}
	stop := []byte{0}
	f(stop, 1, "", "", nil)
	f([]byte("\x00after"), 1, "after", "", nil)
	f([]byte("\x02\x00\x01\x01\x03\x00\x02\x09\x06\x00\x03ab\x08\x00\x04abcd\x0a\x00\x05abcdefgh\x04\x00\x06abcdefgh\x0b\x00\x07\x00\x00\x00\x02hi\x00"), 1, "", "", nil)
	f([]byte("\x0c\x00\x01\x00\x00"), 2, "", "", nil)
	f([]byte("\x0f\x00\x02\x0c\x00\x00\x00\x02\x00\x0f\x00\x0a\x0c\x00\x00\x00\x01\x00\x00\x00"), 4, "", "0/2/2 1/10/1 ", nil)

	f(nil, 0, "", "", wire.ErrThriftTruncated)
	f([]byte("\x0b\x00"), 0, "", "", wire.ErrThriftTruncated)
	f([]byte("\x0b\x00\x01\x00\x00\x00\x02h"), 0, "", "", wire.ErrThriftTruncated)
	f([]byte("\x0b\x00\x01\xff\xff\xff\xffh"), 0, "", "", wire.ErrThriftTruncated)
	f([]byte("\x0a\x00\x01abcdefg"), 0, "", "", wire.ErrThriftTruncated)
	f([]byte("\x0f\x00\x01\x0c\x7f\xff\xff\xff\x00"), 0, "", "", wire.ErrThriftTruncated)
	f([]byte("\x0f\x00\x01\x0c\x80\x00\x00\x00\x00"), 0, "", "", wire.ErrThriftTruncated)
	f([]byte("\x0f\x00\x01\x03\x00\x00\x00\x01a\x00"), 0, "", "", wire.ErrThriftType)
	f([]byte("\x0d\x00\x01\x03\x03\x00\x00\x00\x00\x00"), 0, "", "", wire.ErrThriftType)
	f([]byte("\x0e\x00\x01\x03\x00\x00\x00\x00\x00"), 0, "", "", wire.ErrThriftType)
	nested := func(n int) []byte {
		return append(bytes.Repeat([]byte("\x0c\x00\x63"), n-1), make([]byte, n)...)
	}
	f(nested(64), 64, "", "", nil)
	f(nested(65), 0, "", "", wire.ErrThriftNesting)
	f(bytes.Repeat([]byte("\x0c\x00\x63"), 1<<20), 0, "", "", wire.ErrThriftNesting)
}

func TestThriftElements(t *testing.T) {
	f := func(msg string, n, structs int, rest string, want error) {
		t.Helper()
		var w wire.Thrift
		got, left, err := w.Elements([]byte(msg))
		if !errors.Is(err, want) || got != n || err == nil && (string(left) != rest || w.Structs != structs) {
			t.Errorf("%q: %d elements, rest %q, %v", msg, got, left, err)
		}
	}
	f("\x0c\x00\x00\x00\x00", 0, 0, "", nil)
	f("\x0c\x00\x00\x00\x02\x00\x0c\x00\x01\x00\x00x", 2, 3, "x", nil)
	f("\x0c\x00\x00\x00\x02\x00", 0, 0, "", wire.ErrThriftTruncated)
	f("\x0c\x00\x00\x00", 0, 0, "", wire.ErrThriftTruncated)
	f("\x0a\x00\x00\x00\x01abcdefgh", 0, 0, "", wire.ErrThriftType)
}

func TestThriftListRefuses(t *testing.T) {
	no := errors.New("no")
	w := wire.Thrift{List: func(int, int16, int) error { return no }}
	if _, err := w.Struct([]byte("\x0f\x00\x02\x0c\x00\x00\x00\x01\x00\x00")); !errors.Is(err, no) {
		t.Errorf("%v, want what List said", err)
	}
}
