package wire

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// TestNext holds fields of every type, well formed and not, to what they must become.
func TestNext(t *testing.T) {
	f := func(name string, msg []byte, want Field, rest int, wantErr error) {
		t.Helper()
		var got Field
		left, err := Next(msg, &got)
		if !errors.Is(err, wantErr) {
			t.Fatalf("%s: error %v, want %v", name, err, wantErr)
		}
		if err != nil {
			return
		}
		if got.Num != want.Num || got.Type != want.Type || got.Int != want.Int || !bytes.Equal(got.Data, want.Data) {
			t.Fatalf("%s: got %+v, want %+v", name, got, want)
		}
		if len(left) != rest || !bytes.Equal(got.Raw, msg[:len(msg)-rest]) {
			t.Fatalf("%s: raw %x and %d bytes left, want %x and %d", name, got.Raw, len(left), msg[:len(msg)-rest], rest)
		}
	}
	f("varint", []byte{0x08, 0x96, 0x01, 0x10}, Field{Num: 1, Type: Varint, Int: 150}, 1, nil)
	f("largest varint", append([]byte{0x08}, append(bytes.Repeat([]byte{0xff}, 9), 0x01)...), Field{Num: 1, Int: math.MaxUint64}, 0, nil)
	f("varint that is longer than it need be", []byte{0x08, 0x80, 0x80, 0x00}, Field{Num: 1}, 0, nil)
	f("tag that is longer than it need be", []byte{0x88, 0x80, 0x00, 0x07}, Field{Num: 1, Int: 7}, 0, nil)
	f("length that is longer than it need be", []byte{0x0a, 0x81, 0x00, 'x', 'y'}, Field{Num: 1, Type: Bytes, Data: []byte("x")}, 1, nil)
	f("ten bytes that are zero", append([]byte{0x08}, append(bytes.Repeat([]byte{0x80}, 9), 0x00)...), Field{Num: 1}, 0, nil)
	f("varint over 64 bits", append([]byte{0x08}, append(bytes.Repeat([]byte{0xff}, 9), 0x02)...), Field{}, 0, ErrVarint)
	f("varint of eleven bytes", append([]byte{0x08}, append(bytes.Repeat([]byte{0x80}, 10), 0x01)...), Field{}, 0, ErrVarint)
	f("varint that ends early", []byte{0x08, 0x96}, Field{}, 0, ErrTruncated)
	f("varint that is not there", []byte{0x08}, Field{}, 0, ErrTruncated)
	f("fixed64", []byte{0x11, 1, 2, 3, 4, 5, 6, 7, 8}, Field{Num: 2, Type: Fixed64, Int: 0x0807060504030201}, 0, nil)
	f("fixed64 that ends early", []byte{0x11, 1, 2, 3, 4, 5, 6, 7}, Field{}, 0, ErrTruncated)
	f("fixed32", []byte{0x1d, 1, 2, 3, 4, 9}, Field{Num: 3, Type: Fixed32, Int: 0x04030201}, 1, nil)
	f("fixed32 that ends early", []byte{0x1d, 1, 2, 3}, Field{}, 0, ErrTruncated)
	f("no bytes", []byte{0x22, 0}, Field{Num: 4, Type: Bytes}, 0, nil)
	f("bytes", []byte{0x22, 2, 'h', 'i', 'x'}, Field{Num: 4, Type: Bytes, Data: []byte("hi")}, 1, nil)
	f("bytes that end early", []byte{0x22, 3, 'h', 'i'}, Field{}, 0, ErrTruncated)
	f("length of 2^63", append([]byte{0x22}, append(bytes.Repeat([]byte{0x80}, 9), 0x01)...), Field{}, 0, ErrTruncated)
	f("length of 2^64-1", append([]byte{0x22}, append(bytes.Repeat([]byte{0xff}, 9), 0x01)...), Field{}, 0, ErrTruncated)
	f("field number 0", []byte{0x00, 0x01}, Field{}, 0, ErrTag)
	f("largest field number", append(protowire.AppendTag(nil, protowire.MaxValidNumber, protowire.VarintType), 5),
		Field{Num: 1<<29 - 1, Int: 5}, 0, nil)
	f("field number too large", append(protowire.AppendTag(nil, protowire.MaxValidNumber+1, protowire.VarintType), 5), Field{}, 0, ErrTag)
	f("field number over 32 bits", append(protowire.AppendVarint(nil, (1<<32|1)<<3), 5), Field{}, 0, ErrTag)
	f("wire type 6", []byte{0x0e, 0x01}, Field{}, 0, ErrTag)
	f("wire type 7", []byte{0x0f, 0x01}, Field{}, 0, ErrTag)
	f("group", []byte{0x0b, 0x10, 0x01, 0x0c, 0x77}, Field{Num: 1, Type: StartGroup}, 1, nil)
	f("groups in a group", []byte{0x0b, 0x13, 0x1b, 0x1c, 0x14, 0x0c}, Field{Num: 1, Type: StartGroup}, 0, nil)
	f("end of a group alone", []byte{0x0c}, Field{}, 0, ErrTag)
	f("group that does not end", []byte{0x0b, 0x10, 0x01}, Field{}, 0, ErrTruncated)
	f("group that another ends", []byte{0x0b, 0x14}, Field{}, 0, ErrTag)
	f("groups that cross", []byte{0x0b, 0x13, 0x0c, 0x14}, Field{}, 0, ErrTag)
	f("group that ends with its number plus 2^32", protowire.AppendVarint([]byte{0x0b}, (1<<32|1)<<3|4), Field{}, 0, ErrTag)
	f("field number 0 in a group", []byte{0x0b, 0x00, 0x01, 0x0c}, Field{}, 0, ErrTag)
	f("group number 0 in a group", []byte{0x0b, 0x03, 0x04, 0x0c}, Field{}, 0, ErrTag)
	f("bad varint in a group", append([]byte{0x0b}, bytes.Repeat([]byte{0xff}, 11)...), Field{}, 0, ErrVarint)
	f("no tag", nil, Field{}, 0, ErrTruncated)
}

// Groups may nest to a bound; what lies beyond is an error and not a deep stack.
func TestNextGroupDepth(t *testing.T) {
	f := func(depth int, want error) {
		t.Helper()
		msg := append(bytes.Repeat([]byte{0x0b}, depth), bytes.Repeat([]byte{0x0c}, depth)...)
		var got Field
		rest, err := Next(msg, &got)
		if !errors.Is(err, want) {
			t.Fatalf("depth %d: error %v, want %v", depth, err, want)
		}
		if err == nil && (len(rest) != 0 || len(got.Raw) != len(msg)) {
			t.Fatalf("depth %d: %d bytes left, %d raw", depth, len(rest), len(got.Raw))
		}
	}
	f(1, nil)
	f(maxGroupDepth, nil)
	f(maxGroupDepth+1, ErrNesting)
	f(1<<20, ErrNesting)
}

// What a caller appends to Raw or Data must not run into the field behind it.
func TestNextSlicesEndWhereTheFieldEnds(t *testing.T) {
	msg := []byte{0x0a, 1, 'a', 0x12, 1, 'b'}
	var f Field
	if _, err := Next(msg, &f); err != nil {
		t.Fatal(err)
	}
	_, _ = append(f.Raw, 'X'), append(f.Data, 'X')
	if want := []byte{0x0a, 1, 'a', 0x12, 1, 'b'}; !bytes.Equal(msg, want) {
		t.Fatalf("the message became %x", msg)
	}
}

// depthOf is how deep the groups of a well-formed field nest, by protowire's own walk.
func depthOf(msg []byte) (deepest int) {
	depth := 0
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return deepest
		}
		msg = msg[n:]
		switch typ {
		case protowire.StartGroupType:
			depth++
			deepest = max(deepest, depth)
			continue
		case protowire.EndGroupType:
			depth--
			continue
		}
		if n = protowire.ConsumeFieldValue(num, typ, msg); n < 0 {
			return deepest
		}
		msg = msg[n:]
	}
	return deepest
}

// numbersFit says whether all field numbers of a well-formed field are valid. protowire lets numbers to 2^31 pass because of
// MessageSet and leaves it to its callers to refuse them, which proto.Unmarshal does; so do we.
func numbersFit(msg []byte) bool {
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return true
		}
		if num > protowire.MaxValidNumber && typ != protowire.EndGroupType {
			return false
		}
		msg = msg[n:]
		if typ == protowire.StartGroupType || typ == protowire.EndGroupType {
			continue
		}
		if n = protowire.ConsumeFieldValue(num, typ, msg); n < 0 {
			return true
		}
		msg = msg[n:]
	}
	return true
}

// checkAgainstProtowire walks msg with Next and with protowire and fails where they differ without a reason.
func checkAgainstProtowire(t *testing.T, msg []byte) {
	t.Helper()
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeField(msg)
		f := Field{}
		rest, err := Next(msg, &f)
		if err != nil {
			if n < 0 || num > protowire.MaxValidNumber || !numbersFit(msg[:n]) || errors.Is(err, ErrNesting) && depthOf(msg[:n]) > maxGroupDepth {
				return
			}
			t.Fatalf("%x: error %v, protowire takes %d bytes", msg, err, n)
		}
		if n < 0 {
			t.Fatalf("%x: taken as %+v, protowire says %v", msg, f, protowire.ParseError(n))
		}
		if f.Num != int32(num) || f.Type != Type(typ) || len(f.Raw) != n || len(rest) != len(msg)-n || !bytes.Equal(f.Raw, msg[:n]) {
			t.Fatalf("%x: got %+v with %d left, protowire %d/%d of %d bytes", msg, f, len(rest), num, typ, n)
		}
		_, _, m := protowire.ConsumeTag(msg)
		switch typ {
		case protowire.VarintType:
			if v, _ := protowire.ConsumeVarint(msg[m:]); v != f.Int {
				t.Fatalf("%x: varint %d, protowire %d", msg, f.Int, v)
			}
		case protowire.Fixed32Type:
			if v, _ := protowire.ConsumeFixed32(msg[m:]); uint64(v) != f.Int {
				t.Fatalf("%x: fixed32 %d, protowire %d", msg, f.Int, v)
			}
		case protowire.Fixed64Type:
			if v, _ := protowire.ConsumeFixed64(msg[m:]); v != f.Int {
				t.Fatalf("%x: fixed64 %d, protowire %d", msg, f.Int, v)
			}
		case protowire.BytesType:
			if v, _ := protowire.ConsumeBytes(msg[m:]); !bytes.Equal(v, f.Data) {
				t.Fatalf("%x: bytes %x, protowire %x", msg, f.Data, v)
			}
		}
		msg = rest
	}
}

// checkRun fails where Run takes other fields than Next does, or what Next does not take.
func checkRun(t *testing.T, msg []byte) {
	t.Helper()
	const tag = 1<<3 | byte(Bytes)
	fields, size := Run(msg, tag)
	rest := msg
	for i := range fields {
		var f Field
		var err error
		if rest, err = Next(rest, &f); err != nil || f.Num != 1 || f.Type != Bytes {
			t.Fatalf("%x: field %d of a run of %d is %+v: %v", msg, i, fields, f, err)
		}
	}
	if len(msg)-len(rest) != size {
		t.Fatalf("%x: a run of %d fields takes %d bytes, Next takes %d", msg, fields, size, len(msg)-len(rest))
	}
}

// A run ends before what has another tag, a length of three bytes, or an end that is not there.
func TestRun(t *testing.T) {
	f := func(msg string, fields, size int) {
		t.Helper()
		checkRun(t, []byte(msg))
		if n, at := Run([]byte(msg), 0x0a); n != fields || at != size {
			t.Errorf("%q: %d fields in %d bytes, want %d in %d", msg, n, at, fields, size)
		}
	}
	long := "\x0a\xac\x02" + strings.Repeat("x", 300)
	f("", 0, 0)
	f("\x0a", 0, 0)
	f("\x0a\x00", 1, 2)
	f("\x0a\x02hi\x0a\x01x\x12\x01x\x0a\x00", 2, 7)
	f(long+"\x0a\x00", 2, len(long)+2)
	f("\x0a\x00"+long[:len(long)-1], 1, 2)
	f("\x0a\x00\x0a\x81", 1, 2)
	f("\x0a\x81\x00x", 1, 4)
	f("\x0a\x81\x80\x00x", 0, 0)
	f("\x0a\x02h", 0, 0)
}

func FuzzNext(f *testing.F) {
	for _, s := range []string{
		"", "\x08\x96\x01", "\x0a\x02hi", "\x0b\x10\x01\x0c", "\x0c", "\x0b\x14", "\x11\x01\x02\x03\x04\x05\x06\x07\x08",
		"\x1d\x01\x02\x03\x04", "\x00\x01", "\x0e", "\x08\x80\x80\x00", "\xff\xff\xff\xff\x0f\x01", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"\x0b\x8c\x80\x80\x80\x80\x80\x01", "\x0b\x13\x1b\x1c\x14\x0c", "\xf8\xff\xff\xff\x0f\x05", "\x0b\xfb\xff\xff\xff\x7f\xfc\xff\xff\xff\x7f\x0c",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		checkAgainstProtowire(t, msg)
		checkRun(t, msg)
	})
}

// Every short message there is over the bytes that matter to the format.
func TestNextAgreesWithProtowireOnAllShortMessages(t *testing.T) {
	alphabet := []byte{0x00, 0x01, 0x02, 0x08, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x13, 0x14, 0x7f, 0x80, 0xff}
	var msg [5]byte
	var walk func(n int)
	walk = func(n int) {
		checkAgainstProtowire(t, msg[:n])
		checkRun(t, msg[:n])
		if n == len(msg) {
			return
		}
		for _, b := range alphabet {
			msg[n] = b
			walk(n + 1)
		}
	}
	walk(0)
}

func TestUvarint(t *testing.T) {
	for _, v := range boundaries() {
		b := protowire.AppendVarint(nil, v)
		if len(b) != UvarintLen(v) {
			t.Errorf("%d: length %d, want %d", v, UvarintLen(v), len(b))
		}
		if got, n := Uvarint(append(slices.Clone(b), 0xff)); got != v || n != len(b) {
			t.Errorf("%d: got %d of %d bytes", v, got, n)
		}
		for cut := range b {
			if _, n := Uvarint(b[:cut]); n != 0 {
				t.Errorf("%d cut to %d bytes: n=%d, want 0", v, cut, n)
			}
		}
	}
	for _, b := range [][]byte{bytes.Repeat([]byte{0xff}, 11), append(bytes.Repeat([]byte{0x80}, 9), 0x02)} {
		if _, n := Uvarint(b); n >= 0 {
			t.Errorf("%x is over 64 bits: n=%d, want negative", b, n)
		}
	}
}

// boundaries are the values around which a varint changes its length.
func boundaries() []uint64 {
	vs := []uint64{0, 1, math.MaxUint64}
	for shift := 7; shift < 64; shift += 7 {
		vs = append(vs, 1<<shift-1, 1<<shift)
	}
	return vs
}

func TestAppendEqualsProtowire(t *testing.T) {
	pre := []byte("before")
	f := func(what string, got, want []byte) {
		t.Helper()
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %x, protowire %x", what, got, want)
		}
	}
	for _, num := range []int32{1, 15, 16, 2047, 2048, 1<<29 - 1} {
		pn := protowire.Number(num)
		for _, typ := range []Type{Varint, Fixed64, Bytes, Fixed32} {
			f("AppendTag", AppendTag(slices.Clone(pre), num, typ), protowire.AppendTag(slices.Clone(pre), pn, protowire.Type(typ)))
		}
		for _, v := range boundaries() {
			f("AppendVarint", AppendVarint(slices.Clone(pre), num, v), protowire.AppendVarint(protowire.AppendTag(slices.Clone(pre), pn, protowire.VarintType), v))
			f("AppendFixed64", AppendFixed64(slices.Clone(pre), num, v), protowire.AppendFixed64(protowire.AppendTag(slices.Clone(pre), pn, protowire.Fixed64Type), v))
		}
		for _, n := range sizes {
			data := bytes.Repeat([]byte{'x'}, n)
			want := protowire.AppendBytes(protowire.AppendTag(slices.Clone(pre), pn, protowire.BytesType), data)
			f("AppendBytes", AppendBytes(slices.Clone(pre), num, data), want)
			f("AppendString", AppendString(slices.Clone(pre), num, string(data)), want)
			if got := BytesLen(num, n); got != len(want)-len(pre) {
				t.Errorf("BytesLen(%d, %d) = %d, want %d", num, n, got, len(want)-len(pre))
			}
		}
	}
}

// sizes are those around which the length of a message takes one more byte.
var sizes = []int{0, 1, 126, 127, 128, 129, 16382, 16383, 16384, 16385, 1<<21 - 1, 1 << 21}

// Messages that were opened before their size was known are what protowire writes, inside one another too, whatever their
// size was taken for.
func TestOpenAndCloseMessage(t *testing.T) {
	f := func(n, guess int) {
		t.Helper()
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(i * 7)
		}
		want := protowire.AppendBytes(protowire.AppendTag([]byte("pre"), 9, protowire.BytesType), data)
		dst, mark := OpenMessage([]byte("pre"), 9, guess)
		if dst = CloseMessage(append(dst, data...), mark); !bytes.Equal(dst, want) {
			t.Errorf("%d bytes taken for %d: not what protowire writes", n, guess)
		}

		nested := protowire.AppendBytes(protowire.AppendTag(nil, 3, protowire.BytesType), want[3:])
		nested = append(nested, "after"...)
		dst, outer := OpenMessage(nil, 3, guess)
		dst, inner := OpenMessage(dst, 9, guess)
		dst = CloseMessage(append(dst, data...), inner)
		dst = append(CloseMessage(dst, outer), "after"...)
		if !bytes.Equal(dst, nested) {
			t.Errorf("%d bytes taken for %d, inside another: not what protowire writes", n, guess)
		}
	}
	for _, n := range sizes {
		for _, guess := range append(sizes, 1<<28) {
			f(n, guess)
		}
	}
}

// A guess of as many digits moves nothing and needs no more room than the message takes; no guess needs more than the
// five bytes of the longest length beyond it.
func TestOpenMessageRoom(t *testing.T) {
	f := func(n, guess, spare int) {
		t.Helper()
		room := make([]byte, 0, BytesLen(9, n)+spare)
		dst, mark := OpenMessage(room, 9, guess)
		dst = CloseMessage(append(dst, make([]byte, n)...), mark)
		if &dst[0] != &room[:1][0] {
			t.Errorf("%d bytes taken for %d: %d bytes were no room", n, guess, cap(room))
		}
	}
	f(0, 0, 0)
	f(127, 0, 0)
	f(128, 0, 0)
	f(300, 16000, 0)
	f(100_000, 1, 0)
	f(100, 128, 1)
	f(1, 1<<28, 4)
}

// No walk and no write allocates: pushes have a million of these.
func TestNoAllocations(t *testing.T) {
	msg := AppendString(nil, 1, "name")
	msg = AppendVarint(msg, 2, 1<<40)
	msg = AppendFixed64(msg, 3, 7)
	msg = append(msg, 0x2d, 1, 2, 3, 4)
	msg = append(msg, 0x33, 0x3b, 0x08, 0x01, 0x3c, 0x34)
	data := bytes.Repeat([]byte{'x'}, 200)
	dst := make([]byte, 0, 4096)
	f := func(what string, fn func()) {
		t.Helper()
		if n := testing.AllocsPerRun(100, fn); n != 0 {
			t.Errorf("%s allocates %v times", what, n)
		}
	}
	f("Next", func() {
		var fd Field
		for rest := msg; len(rest) > 0; {
			var err error
			if rest, err = Next(rest, &fd); err != nil {
				t.Fatal(err)
			}
		}
	})
	f("Append", func() {
		out, mark := OpenMessage(dst, 1, 5000)
		out = AppendString(AppendBytes(AppendFixed64(AppendVarint(out, 1, 1<<50), 2, 3), 4, data), 5, "text")
		if out = CloseMessage(out, mark); len(out) < 200 {
			t.Fatal("nothing written")
		}
	})
	f("Next of what is not well formed", func() {
		var fd Field
		if _, err := Next(msg[:3], &fd); err == nil {
			t.Fatal("no error")
		}
	})
}

func BenchmarkNext(b *testing.B) {
	var msg []byte
	for range 1000 {
		msg = AppendString(msg, 1, "http_requests_total")
		msg = AppendVarint(msg, 2, 1700000000000)
	}
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	var f Field
	for b.Loop() {
		for rest := msg; len(rest) > 0; {
			rest, _ = Next(rest, &f)
		}
	}
}
