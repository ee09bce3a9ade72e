package ingest

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	stdflate "compress/flate"
	stdgzip "compress/gzip"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/zstd"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// readUpTo reads r to its end and returns one byte more than max of it at most. What is both too long and cut short behind
// that is an error: decoders read ahead, and so may tell one or the other.
func readUpTo(r io.Reader, max int) ([]byte, error) {
	plain, err := io.ReadAll(io.LimitReader(r, int64(max)+1))
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	return plain, err
}

// decodeReference undoes c with the library that upstreams use. taken: it accepts the whole body.
func decodeReference(c Codec, body []byte, max int) (plain []byte, taken bool) {
	switch c {
	case Snappy:
		n, err := snappy.DecodedLen(body)
		// The length takes five bytes at most; snappy's own C++ says so, its Go does not look.
		if _, bytes := binary.Uvarint(body); err != nil || bytes > 5 {
			return nil, false
		}
		if n > max {
			return make([]byte, max+1), true
		}
		plain, err = snappy.Decode(nil, body)
		return plain, err == nil
	case Gzip:
		zr, err := stdgzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, false
		}
		plain, err = readUpTo(zr, max)
		return plain, err == nil && !reservedFlags(body)
	case Deflate:
		src := bytes.NewReader(body)
		plain, err := readUpTo(stdflate.NewReader(src), max)
		return plain, err == nil && src.Len() == 0
	default:
		zr, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, false
		}
		defer zr.Close()
		plain, err = zr.DecodeAll(body, nil)
		return plain, err == nil
	}
}

// reservedFlags says whether a gzip member may have a flag that RFC 1952 (2.3.1.2) tells decoders to refuse. We do; the
// standard library does not.
func reservedFlags(body []byte) bool {
	for {
		i := bytes.Index(body, []byte{0x1f, 0x8b, 8})
		if i < 0 || len(body) < i+4 {
			return false
		}
		if body[i+3]>>5 != 0 {
			return true
		}
		body = body[i+3:]
	}
}

// FuzzDecompress holds every codec to its reference: what that takes we take, with the same bytes, and (snappy but for S2's
// element) nothing else. Whatever comes, the account holds what is returned and then nothing.
func FuzzDecompress(f *testing.F) {
	for i, c := range allCodecs {
		for _, plain := range contents() {
			if body := reference(f, c, plain); len(body) < 4096 {
				f.Add(byte(i), body)
				f.Add(byte(i), body[:len(body)/2])
				f.Add(byte(i), append(bytes.Clone(body), body...))
			}
		}
	}
	f.Add(byte(2), []byte{0x03, 0x02, 0x00})
	f.Add(byte(3), skippable(3, "abc"))
	f.Add(byte(3), single(2, []byte("hi")))
	f.Add(byte(3), append(frame(windowOf1K, nil, []byte("hi")), frame(windowOf8M, nil, []byte("hi"))...))
	var p Pool
	l := Limits{BodyBytes: 1 << 20, DecodedBytes: 256 << 10}
	f.Fuzz(func(t *testing.T, which byte, body []byte) {
		c := allCodecs[int(which)%len(allCodecs)]
		plain, taken := decodeReference(c, body, l.DecodedBytes)
		var acc books
		b, err := p.Decompress(body, []Codec{c}, l, acc.charge)
		acc.wantHeld(t, c.String(), b)
		switch {
		case err != nil && taken && len(plain) <= l.DecodedBytes:
			t.Fatalf("%s: %v, the reference takes %d bytes", c, err, len(plain))
		case err != nil:
			if k := fault.From(err).Kind; k != fault.Malformed && k != fault.TooLarge {
				t.Fatalf("%s: %v", c, err)
			}
			if taken {
				wantKind(t, c.String(), err, fault.TooLarge)
			}
		case !taken && c != Snappy && !(c == Gzip && reservedFlags(body)):
			t.Fatalf("%s: taken, %d bytes, the reference refuses it", c, len(b.B))
		case taken && !bytes.Equal(b.B, plain):
			t.Fatalf("%s: %d bytes, the reference has %d, or others", c, len(b.B), len(plain))
		}
		p.Return(b, acc.charge)
		acc.wantHeld(t, "returned")
	})
}
