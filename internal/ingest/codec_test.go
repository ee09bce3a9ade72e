package ingest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	stdflate "compress/flate"
	stdgzip "compress/gzip"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

var allCodecs = []Codec{Snappy, Gzip, Deflate, Zstd}

// reference compresses with the library that real senders use.
func reference(t testing.TB, c Codec, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch c {
	case Snappy:
		return snappy.Encode(nil, plain)
	case Gzip:
		w = stdgzip.NewWriter(&out)
	case Deflate:
		fw, err := stdflate.NewWriter(&out, 6)
		if err != nil {
			t.Fatal(err)
		}
		w = fw
	case Zstd:
		zw, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true))
		if err != nil {
			t.Fatal(err)
		}
		w = zw
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// noise does not compress.
func noise(n int) []byte {
	rnd := rand.New(rand.NewPCG(7, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// contents are plain bodies of every sort.
func contents() map[string][]byte {
	return map[string][]byte{
		"empty": {}, "one byte": {'x'}, "text": []byte(strings.Repeat("http_requests_total{job=\"x\"} ", 500)),
		"noise": noise(100 << 10), "zeros": make([]byte, 300<<10), "at the limit": pattern(1 << 20),
	}
}

func TestDecompress(t *testing.T) {
	var p Pool
	for _, c := range allCodecs {
		for name, plain := range contents() {
			what := c.String() + " of " + name
			var acc books
			b, err := p.Decompress(reference(t, c, plain), []Codec{c}, bodyLimits, acc.charge)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if !bytes.Equal(b.B, plain) {
				t.Fatalf("%s: %d bytes, want %d, or others", what, len(b.B), len(plain))
			}
			acc.wantHeld(t, what, b)
			p.Return(b, acc.charge)
			acc.wantHeld(t, what+", returned")
		}
	}
}

func TestDecompressNothing(t *testing.T) {
	var p Pool
	var acc books
	for _, codecs := range [][]Codec{nil, {}} {
		b, err := p.Decompress(pattern(1<<20), codecs, bodyLimits, acc.charge)
		if b != nil || err != nil {
			t.Errorf("got %v, %v", b, err)
		}
		_, err = p.Decompress(pattern(1<<20+1), codecs, bodyLimits, acc.charge)
		e := wantKind(t, "plain body over the limit", err, fault.TooLarge)
		if want := "body of 1048577 bytes decoded, over server.max_decoded_bytes=1048576"; e.Public != want {
			t.Errorf("%q, want %q", e.Public, want)
		}
	}
	acc.wantHeld(t, "plain")
	mustPanic(t, "identity to be undone", func() { _, _ = p.Decompress(nil, []Codec{Identity}, bodyLimits, acc.charge) })
}

// Loki's JSON-age clients send gzip(snappy(protobuf)).
func TestDecompressChain(t *testing.T) {
	var p Pool
	for name, plain := range contents() {
		var acc books
		body := reference(t, Gzip, reference(t, Snappy, plain))
		b, err := p.Decompress(body, []Codec{Gzip, Snappy}, Limits{1 << 20, 2 << 20}, acc.charge)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(b.B, plain) {
			t.Fatalf("%s: other bytes", name)
		}
		acc.wantHeld(t, name, b)
		p.Return(b, acc.charge)
		acc.wantHeld(t, name+", returned")
	}
	var acc books
	_, err := p.Decompress(reference(t, Gzip, []byte("no snappy")), []Codec{Gzip, Snappy}, bodyLimits, acc.charge)
	wantKind(t, "gzip of no snappy", err, fault.Malformed)
	acc.wantHeld(t, "gzip of no snappy")
	_, err = p.Decompress(reference(t, Snappy, []byte("no gzip")), []Codec{Gzip, Snappy}, bodyLimits, acc.charge)
	wantKind(t, "snappy without gzip", err, fault.Malformed)
	acc.wantHeld(t, "snappy without gzip")
}

func TestDecompressRefuses(t *testing.T) {
	var p Pool
	f := func(what string, c Codec, body []byte, k fault.Kind) {
		t.Helper()
		var acc books
		b, err := p.Decompress(body, []Codec{c}, bodyLimits, acc.charge)
		e := wantKind(t, c.String()+", "+what, err, k)
		if b != nil {
			t.Errorf("%s, %s: a buffer came with the error", c, what)
		}
		if k == fault.Malformed && !strings.Contains(e.Public, "decode "+c.String()) {
			t.Errorf("%s, %s: %q does not name the codec", c, what, e.Public)
		}
		acc.wantHeld(t, c.String()+", "+what)
	}
	plain := []byte(strings.Repeat("some content ", 1000))
	for _, c := range allCodecs {
		body := reference(t, c, plain)
		for cut := range len(body) {
			if c == Zstd && cut == 0 {
				continue // see TestDecompressEmptyBody
			}
			f(fmt.Sprintf("cut to %d of %d", cut, len(body)), c, body[:cut], fault.Malformed)
		}
		for _, tail := range []string{"\x00", "x", "\x00\x00\x00\x00", "garbage behind it"} {
			f(fmt.Sprintf("then %q", tail), c, append(bytes.Clone(body), tail...), fault.Malformed)
		}
		f("text", c, []byte("{\"streams\": []}"), fault.Malformed)
		f("one byte over the limit", c, reference(t, c, make([]byte, 1<<20+1)), fault.TooLarge)
		f("one byte of noise over the limit", c, reference(t, c, noise(1<<20+1)), fault.TooLarge)
	}
	broken := reference(t, Gzip, plain)
	broken[len(broken)-5] ^= 1
	f("wrong checksum", Gzip, broken, fault.Malformed)
	broken = reference(t, Zstd, plain)
	broken[len(broken)-1] ^= 1
	f("wrong checksum", Zstd, broken, fault.Malformed)
	member := reference(t, Gzip, plain)
	for _, tail := range [][]byte{member[:1], member[:9], member[:10], {0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0}, {0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0, 'n'}} {
		f(fmt.Sprintf("second member cut to %x", tail), Gzip, append(bytes.Clone(member), tail...), fault.Malformed)
	}
	f("reserved flag", Gzip, []byte{0x1f, 0x8b, 8, 0x20, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0}, fault.Malformed)
	f("no last block", Deflate, []byte("ZX022"), fault.Malformed)
	f("zlib header", Deflate, append([]byte{0x78, 0x9c}, reference(t, Deflate, plain)...), fault.Malformed)
}

// An empty body is no gzip, deflate or snappy. It is zstd of no frames: the encoder that the collector uses writes nothing
// for nothing, and an empty export is valid.
func TestDecompressEmptyBody(t *testing.T) {
	var p Pool
	for _, c := range []Codec{Snappy, Gzip, Deflate} {
		var acc books
		_, err := p.Decompress(nil, []Codec{c}, bodyLimits, acc.charge)
		wantKind(t, c.String(), err, fault.Malformed)
		acc.wantHeld(t, c.String())
	}
	var acc books
	b, err := p.Decompress(nil, []Codec{Zstd}, bodyLimits, acc.charge)
	if err != nil || len(b.B) != 0 {
		t.Fatalf("zstd: %v", err)
	}
	p.Return(b, acc.charge)
	acc.wantHeld(t, "zstd")
}

// Small bodies that become large ones are refused at the limit and cost little more than it on the way.
func TestBombs(t *testing.T) {
	var p Pool
	l := Limits{BodyBytes: 1 << 20, DecodedBytes: 4 << 20}
	f := func(what string, body []byte, c Codec, k fault.Kind, mostBytes int) {
		t.Helper()
		var acc books
		_, err := p.Decompress(body, []Codec{c}, l, acc.charge)
		wantKind(t, what, err, k)
		acc.wantHeld(t, what)
		if acc.peak > mostBytes {
			t.Errorf("%s: %d bytes were charged, want at most %d", what, acc.peak, mostBytes)
		}
	}
	zeros := make([]byte, 32<<20)
	// The last growth holds 4 MiB and 8 MiB together.
	f("gzip 1000:1", reference(t, Gzip, zeros), Gzip, fault.TooLarge, 12<<20)
	f("deflate 1000:1", reference(t, Deflate, zeros), Deflate, fault.TooLarge, 12<<20)
	f("zstd 10000:1", reference(t, Zstd, zeros), Zstd, fault.TooLarge, 21<<20)
	f("zstd, one block repeated", frame(windowOf1K, bytes.Repeat([]byte{0x02, 0x00, 0x10, 'x'}, 3), nil), Zstd, fault.Malformed, 64<<10)
	f("snappy that declares 4 GiB", binary.AppendUvarint(nil, 1<<32-1), Snappy, fault.TooLarge, 0)
	f("snappy over 32 bits", binary.AppendUvarint(nil, 1<<32), Snappy, fault.Malformed, 0)
	f("snappy of 10 bytes that declares the limit", append(binary.AppendUvarint(nil, 4<<20), "0123456"...), Snappy, fault.Malformed, 0)
	f("snappy that declares one byte more than it has", append(binary.AppendUvarint(nil, 4), 2<<2, 'a', 'b', 'c'), Snappy, fault.Malformed, 4<<10)
	f("snappy that declares one byte less than it has", append(binary.AppendUvarint(nil, 2), 2<<2, 'a', 'b', 'c'), Snappy, fault.Malformed, 4<<10)

	// The steepest block there can be still passes: nothing valid is taken for a lie.
	steep := []byte{}
	steep = binary.AppendUvarint(steep, 1+64*1000)
	steep = append(steep, 0<<2, 'x')
	for range 1000 {
		steep = append(steep, 63<<2|2, 1, 0)
	}
	want, err := snappy.Decode(nil, steep)
	if err != nil {
		t.Fatal(err)
	}
	var acc books
	b, err := p.Decompress(steep, []Codec{Snappy}, l, acc.charge)
	if err != nil || !bytes.Equal(b.B, want) {
		t.Errorf("steepest block: %v", err)
	}
}

// A body of many small parts is one body, and takes time in proportion.
func TestManyMembers(t *testing.T) {
	var p Pool
	f := func(what string, c Codec, part []byte, times int, want []byte) {
		t.Helper()
		var acc books
		start := time.Now()
		b, err := p.Decompress(bytes.Repeat(part, times), []Codec{c}, bodyLimits, acc.charge)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if !bytes.Equal(b.B, want) {
			t.Errorf("%s: %d bytes, want %d", what, len(b.B), len(want))
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: took %s", what, took)
		}
		p.Return(b, acc.charge)
		acc.wantHeld(t, what)
	}
	f("members", Gzip, reference(t, Gzip, []byte("abc")), 1000, bytes.Repeat([]byte("abc"), 1000))
	f("empty members", Gzip, reference(t, Gzip, nil), 20000, nil)
	f("frames", Zstd, reference(t, Zstd, []byte("abc")), 1000, bytes.Repeat([]byte("abc"), 1000))
	f("empty frames", Zstd, reference(t, Zstd, nil), 20000, nil)
	var acc books
	part := reference(t, Gzip, make([]byte, 1<<19))
	_, err := p.Decompress(bytes.Repeat(part, 3), []Codec{Gzip}, bodyLimits, acc.charge)
	wantKind(t, "members that are too large together", err, fault.TooLarge)
	part = reference(t, Zstd, make([]byte, 1<<19))
	_, err = p.Decompress(bytes.Repeat(part, 3), []Codec{Zstd}, bodyLimits, acc.charge)
	wantKind(t, "frames that are too large together", err, fault.TooLarge)
	acc.wantHeld(t, "too large together")
}

const (
	windowOf1K  = 0
	windowOf8M  = 13 << 3
	windowOver8 = 13<<3 | 1
)

// frame is a zstd frame that asks for window (a Window_Descriptor) and holds blocks, then content as a last raw block.
func frame(window byte, blocks, content []byte) []byte {
	b := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, window}, blocks...)
	b = append(b, byte(len(content)<<3|1), byte(len(content)>>5), byte(len(content)>>13))
	return append(b, content...)
}

// single is a zstd frame without a window that declares size bytes and holds content as one raw block.
func single(size uint64, content []byte) []byte {
	b := binary.LittleEndian.AppendUint64([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0}, size)
	b = append(b, byte(len(content)<<3|1), byte(len(content)>>5), byte(len(content)>>13))
	return append(b, content...)
}

func skippable(size uint32, content string) []byte {
	return append(binary.LittleEndian.AppendUint32([]byte{0x5a, 0x2a, 0x4d, 0x18}, size), content...)
}

// What a zstd body makes its decoder remember is charged, whichever frame asks for it and however, and bounded.
func TestZstdWindows(t *testing.T) {
	var p Pool
	l := Limits{BodyBytes: 1 << 20, DecodedBytes: 64 << 20}
	hi := []byte("hi")
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	taken := func(what string, body []byte, want string, atLeast, atMost int) {
		t.Helper()
		var acc books
		b, err := p.Decompress(body, []Codec{Zstd}, l, acc.charge)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if string(b.B) != want {
			t.Errorf("%s: %q, want %q", what, b.B, want)
		}
		if acc.peak < atLeast || acc.peak > atMost {
			t.Errorf("%s: %d bytes were charged, want %d to %d", what, acc.peak, atLeast, atMost)
		}
		acc.wantHeld(t, what, b)
		p.Return(b, acc.charge)
		acc.wantHeld(t, what+", returned")
	}
	refused := func(what string, body []byte, k fault.Kind) {
		t.Helper()
		var acc books
		_, err := p.Decompress(body, []Codec{Zstd}, l, acc.charge)
		wantKind(t, what, err, k)
		if acc.peak > 64<<10 {
			t.Errorf("%s: %d bytes were charged for a refusal", what, acc.peak)
		}
		acc.wantHeld(t, what)
	}
	taken("small window", frame(windowOf1K, nil, hi), "hi", 4<<10, 8<<10)
	taken("largest window", frame(windowOf8M, nil, hi), "hi", 8<<20, 9<<20)
	taken("largest window behind a small one", join(frame(windowOf1K, nil, hi), frame(windowOf8M, nil, hi)), "hihi", 8<<20, 9<<20)
	taken("largest window behind a skippable frame", join(skippable(3, "abc"), frame(windowOf8M, nil, hi)), "hi", 8<<20, 9<<20)
	taken("window behind content", join(frame(windowOf1K, []byte{3 << 3, 0, 0, 'a', 'b', 'c'}, hi), frame(windowOf8M, nil, hi)), "abchihi", 8<<20, 9<<20)
	taken("single segment", single(2, hi), "hi", 4<<10, 8<<10)
	taken("skippable frames around", join(skippable(0, ""), frame(windowOf1K, nil, hi), skippable(2, "ab"), single(2, hi), skippable(1, "x")), "hihi", 4<<10, 8<<10)
	taken("skippable frame alone", skippable(3, "abc"), "", 4<<10, 8<<10)

	refused("window over 8 MiB", frame(windowOver8, nil, hi), fault.TooLarge)
	refused("window over 8 MiB behind a small one", join(frame(windowOf1K, nil, hi), frame(windowOver8, nil, hi)), fault.TooLarge)
	refused("single segment over 8 MiB", single(8<<20+1, hi), fault.TooLarge)
	refused("single segment of 2^64-1", single(1<<64-1, hi), fault.TooLarge)
	refused("skippable frame that is too short", skippable(4, "abc"), fault.Malformed)
	refused("skippable frame of 4 GiB", skippable(1<<32-1, "abc"), fault.Malformed)
	refused("block that is too short", join(frame(windowOf1K, nil, hi)[:10]), fault.Malformed)
	refused("single segment that declares more", single(3, hi), fault.Malformed)
	refused("single segment that declares less", single(1, hi), fault.Malformed)
	refused("reserved block", []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0, 7, 0, 0}, fault.Malformed)
	refused("dictionary", []byte{0x28, 0xb5, 0x2f, 0xfd, 0x01, 0, 77, 1, 0, 0}, fault.Malformed)
	refused("checksum that is missing", []byte{0x28, 0xb5, 0x2f, 0xfd, 0x04, 0, 1, 0, 0}, fault.Malformed)
	refused("frame without blocks", []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0}, fault.Malformed)

	// The single segment that is really that long is decoded, and its window charged as well.
	var acc books
	plain := noise(3 << 20)
	enc, err := zstd.NewWriter(nil, zstd.WithSingleSegment(true), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Decompress(enc.EncodeAll(plain, nil), []Codec{Zstd}, l, acc.charge)
	if err != nil || !bytes.Equal(b.B, plain) {
		t.Fatalf("3 MiB in a single segment: %v", err)
	}
	if acc.peak < cap(b.B)+3<<20 {
		t.Errorf("3 MiB in a single segment: %d bytes were charged", acc.peak)
	}
}

// Every growth of every codec may be refused, and nothing is left in the account then.
func TestDecompressFailedCharge(t *testing.T) {
	var p Pool
	plain := make([]byte, 1<<20) // small as sent, so that there is growth
	for _, c := range allCodecs {
		body := reference(t, c, plain)
		failEachTaking(t, "decompress "+c.String(), func(charge Charge) error {
			b, err := p.Decompress(body, []Codec{c}, bodyLimits, charge)
			p.Return(b, charge)
			return err
		})
	}
	body := reference(t, Gzip, reference(t, Snappy, plain))
	failEachTaking(t, "decompress gzip(snappy)", func(charge Charge) error {
		b, err := p.Decompress(body, []Codec{Gzip, Snappy}, bodyLimits, charge)
		p.Return(b, charge)
		return err
	})
}

func TestCompress(t *testing.T) {
	var p Pool
	for name, plain := range contents() {
		for _, c := range []Codec{Snappy, Gzip} {
			what := c.String() + " of " + name
			var acc books
			b, err := p.Compress(plain, c, acc.charge)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			acc.wantHeld(t, what, b)
			var got []byte
			if c == Snappy {
				got, err = snappy.Decode(nil, b.B)
			} else if zr, zerr := stdgzip.NewReader(bytes.NewReader(b.B)); zerr != nil {
				err = zerr
			} else {
				got, err = io.ReadAll(zr)
			}
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s: the reference reads %d bytes, want %d: %v", what, len(got), len(plain), err)
			}
			p.Return(b, acc.charge)
			acc.wantHeld(t, what+", returned")
			failEachTaking(t, "compress "+what, func(charge Charge) error {
				b, err := p.Compress(plain, c, charge)
				p.Return(b, charge)
				return err
			})
		}
	}
	var acc books
	if b, err := p.Compress([]byte("x"), Identity, acc.charge); b != nil || err != nil {
		t.Errorf("identity: %v, %v", b, err)
	}
	mustPanic(t, "compression to zstd", func() { _, _ = p.Compress(nil, Zstd, acc.charge) })
	acc.wantHeld(t, "identity")
}

// A codec that failed in the middle of one push serves the next as if nothing had been.
func TestCodecsServeAgainAfterAFailure(t *testing.T) {
	var p Pool
	secret := []byte(strings.Repeat("secret of the first push ", 4000))
	next := []byte(strings.Repeat("what the second push says ", 3000))
	for _, c := range allCodecs {
		body := reference(t, c, secret)
		for range 20 {
			var acc books
			_, err := p.Decompress(body[:len(body)-3], []Codec{c}, bodyLimits, acc.charge)
			wantKind(t, c.String(), err, fault.Malformed)
			b, err := p.Decompress(reference(t, c, next), []Codec{c}, bodyLimits, acc.charge)
			if err != nil || !bytes.Equal(b.B, next) {
				t.Fatalf("%s after a failure: %v", c, err)
			}
			p.Return(b, acc.charge)
		}
	}
	for range 20 {
		acc := books{failAt: 3}
		_, err := p.Compress(noise(1<<20), Gzip, acc.charge)
		wantKind(t, "compress", err, fault.Overloaded)
		b, err := p.Compress(next, Gzip, acc.charge)
		if err != nil {
			t.Fatal(err)
		}
		back, err := p.Decompress(b.B, []Codec{Gzip}, bodyLimits, (&books{}).charge)
		if err != nil || !bytes.Equal(back.B, next) {
			t.Fatalf("gzip after a failure: %v", err)
		}
	}
}

// A body that copies from before its own beginning must not get what an earlier push has left there.
func TestNothingOfAnEarlierPushCanBeReached(t *testing.T) {
	var p Pool
	var acc books
	secret := []byte(strings.Repeat("secret", 1000))
	reach := map[Codec][]byte{
		// A block with fixed codes: copy 3 bytes from 1 back; end.
		Deflate: {0x03, 0x02, 0x00},
		Gzip:    append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 0x03, 0x02, 0x00}, make([]byte, 8)...),
		// 8 bytes declared: copy 8 from 4 back.
		Snappy: {8, (8-4)<<2 | 1, 4},
		// No literals, one sequence, all tables in RLE mode: the offset lies before the frame.
		Zstd: frame(windowOf8M, append([]byte{7<<3 | 4, 0, 0}, 0x00, 0x01, 0x54, 0, 5, 0, 0xff), nil),
	}
	for _, c := range allCodecs {
		for range 10 {
			b, err := p.Decompress(reference(t, c, secret), []Codec{c}, bodyLimits, acc.charge)
			if err != nil {
				t.Fatal(err)
			}
			p.Return(b, acc.charge)
			b, err = p.Decompress(reach[c], []Codec{c}, bodyLimits, acc.charge)
			if err == nil {
				t.Fatalf("%s: taken, gives %q", c, b.B)
			}
			wantKind(t, c.String(), err, fault.Malformed)
		}
	}
	acc.wantHeld(t, "all returned")
}

// A codec that waits for its next push must hold nothing of the last: the body is lent and may be large.
func TestPooledCodecsLetGo(t *testing.T) {
	for _, c := range allCodecs {
		gone := make(chan struct{})
		func() {
			body := bytes.Clone(reference(t, c, noise(64<<10)))
			runtime.AddCleanup(&body[0], func(gone chan struct{}) { close(gone) }, gone)
			b, err := new(Pool).Decompress(body, []Codec{c}, bodyLimits, (&books{}).charge)
			if err != nil {
				t.Fatal(err)
			}
			b.Release()
		}()
		runtime.GC() // one: what is in a sync.Pool outlives it
		select {
		case <-gone:
		case <-time.After(5 * time.Second):
			t.Errorf("%s: the body is still held", c)
		}
	}
	for range 20 {
		var p Pool
		b, err := p.Compress(noise(64<<10), Gzip, (&books{}).charge)
		if err != nil {
			t.Fatal(err)
		}
		b.Release()
		if zw, ok := gzipWriters.Get().(*gzipWriter); ok && (zw.sink.p != nil || zw.sink.b != nil || zw.sink.charge != nil) {
			t.Fatal("gzip writer: the buffer is still held")
		}
	}
}

// Many pushes at once share the pools and nothing else.
func TestCodecsConcurrently(t *testing.T) {
	var p Pool
	var acc books
	var wg sync.WaitGroup
	for i := range 8 {
		plain := append(bytes.Repeat([]byte{byte('a' + i)}, 50<<10), noise(1000+i)...)
		bodies := make([][]byte, len(allCodecs))
		for j, c := range allCodecs {
			bodies[j] = reference(t, c, plain)
		}
		wg.Go(func() {
			for n := range 40 {
				c := allCodecs[n%len(allCodecs)]
				b, err := p.Decompress(bodies[n%len(allCodecs)], []Codec{c}, bodyLimits, acc.charge)
				if err != nil || !bytes.Equal(b.B, plain) {
					t.Errorf("%s: %v, or other bytes", c, err)
					return
				}
				out, err := p.Compress(b.B, []Codec{Gzip, Snappy}[n%2], acc.charge)
				if err != nil {
					t.Error(err)
					return
				}
				p.Return(b, acc.charge)
				back, err := p.Decompress(out.B, []Codec{[]Codec{Gzip, Snappy}[n%2]}, bodyLimits, acc.charge)
				if err != nil || !bytes.Equal(back.B, plain) {
					t.Errorf("round trip: %v, or other bytes", err)
					return
				}
				p.Return(out, acc.charge)
				p.Return(back, acc.charge)
			}
		})
	}
	wg.Wait()
	acc.wantHeld(t, "all returned")
}

// The decoder reads S2's blocks too: snappy plus a copy with the last offset, which is no snappy. What it makes of valid
// snappy is the same; an S2 block that a sender labels snappy is refused by upstream, as without us.
func TestSnappyIsASubsetOfWhatIsTaken(t *testing.T) {
	var p Pool
	n := string(noise(100))
	body := s2.Encode(nil, []byte(n+n[:50]+"z"+n[51:]+n[:50]+"y"+n[51:]))
	if _, err := snappy.Decode(nil, body); err == nil {
		t.Fatal("the block is snappy after all: the test says nothing")
	}
	if _, err := p.Decompress(body, []Codec{Snappy}, bodyLimits, (&books{}).charge); err != nil {
		t.Errorf("S2 block: %v", err)
	}
}

func BenchmarkDecompress(b *testing.B) {
	var p Pool
	plain := []byte(strings.Repeat("http_requests_total{job=\"x\",instance=\"10.0.0.1:9090\"} ", 4000))
	for _, c := range allCodecs {
		body := reference(b, c, plain)
		charge := (&books{}).charge
		b.Run(c.String(), func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for b.Loop() {
				out, err := p.Decompress(body, []Codec{c}, bodyLimits, charge)
				if err != nil {
					b.Fatal(err)
				}
				p.Return(out, charge)
			}
		})
	}
}
