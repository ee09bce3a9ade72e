package ingest

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// maxWindow bounds what a zstd frame may ask the decoder to remember (RFC 8878 section 3.1.1.1.2 recommends 8 MiB).
const maxWindow = 8 << 20

// maxBlock is the most that one zstd block yields (RFC 8878 section 3.1.1.2.4).
const maxBlock = 128 << 10

// snappyRatio is more than any snappy block can grow: its best element is a copy of 3 bytes that yields 64.
// A block that declares more is refused before memory is taken for it.
const snappyRatio = 22

// Decompress undoes codecs on src, one after the other, bounded by l.DecodedBytes, and returns the plain content in a
// buffer of p. Its errors are TooLarge, Overloaded and Malformed. Without codecs it returns nil: src is plain already.
func (p *Pool) Decompress(src []byte, codecs []Codec, l Limits, charge Charge) (*Buffer, error) {
	var b *Buffer
	for _, c := range codecs {
		next, err := p.decompress(src, c, l, charge)
		p.Return(b, charge)
		if err != nil {
			return nil, err
		}
		b, src = next, next.B
	}
	if b == nil && len(src) > l.DecodedBytes {
		return nil, tooLarge(int64(len(src)), l.DecodedBytes, "server.max_decoded_bytes", "decoded")
	}
	return b, nil
}

func (p *Pool) decompress(src []byte, c Codec, l Limits, charge Charge) (*Buffer, error) {
	switch c {
	case Snappy:
		return p.unsnappy(src, l, charge)
	case Gzip:
		return p.gunzip(src, l, charge)
	case Deflate:
		return p.inflate(src, l, charge)
	case Zstd:
		return p.unzstd(src, l, charge)
	}
	panic(fmt.Sprintf("BUG: no decompression of %s", c))
}

// unsnappy reads S2 blocks as well, which hold one element that snappy does not have. Upstream refuses those, as it would
// without us; what is snappy decodes to the same bytes.
func (p *Pool) unsnappy(src []byte, l Limits, charge Charge) (*Buffer, error) {
	n, err := s2.DecodedLen(src)
	if err != nil {
		return nil, Malformed("snappy", err)
	}
	if n > l.DecodedBytes {
		return nil, tooLarge(int64(n), l.DecodedBytes, "server.max_decoded_bytes", "decoded")
	}
	if n > snappyRatio*len(src) {
		return nil, Malformed("snappy", fmt.Errorf("%d bytes declare %d, more than any block of that size can hold", len(src), n))
	}
	b, err := p.Lend(n, charge)
	if err != nil {
		return nil, err
	}
	out, err := s2.Decode(b.B[:n], src)
	if err != nil {
		p.Return(b, charge)
		return nil, Malformed("snappy", err)
	}
	b.B = out
	return b, nil
}

// The codecs below keep tables of tens of KiB that are dear to make. What they read and write they must not keep: it is
// lent, and would be pinned, or seen by the next push. So each is pooled together with its source or sink, which is
// emptied before the codec goes back.
var (
	gzipReaders  sync.Pool // of *gzipReader
	flateReaders sync.Pool // of *flateReader
	zstdReaders  sync.Pool // of *zstd.Decoder, which lets go of its source itself
	gzipWriters  sync.Pool // of *gzipWriter
)

type gzipReader struct {
	gzip.Reader
	src bytes.Reader
}

// next begins the next member. Members are told apart here, because the library takes one whose header is cut short for
// the end of the body.
func (z *gzipReader) next() error {
	if err := z.Reset(&z.src); err != nil {
		return unexpected(err)
	}
	z.Multistream(false)
	return nil
}

// Read reads all members as one body. What is no member behind the last one is an error.
func (z *gzipReader) Read(dst []byte) (n int, err error) {
	for n == 0 && err == nil {
		if n, err = z.Reader.Read(dst); err == io.EOF && z.src.Len() > 0 {
			err = z.next()
		}
	}
	return n, err
}

func (p *Pool) gunzip(src []byte, l Limits, charge Charge) (*Buffer, error) {
	zr, ok := gzipReaders.Get().(*gzipReader)
	if !ok {
		zr = new(gzipReader)
	}
	zr.src.Reset(src)
	defer func() {
		zr.src.Reset(nil)
		gzipReaders.Put(zr)
	}()
	if err := zr.next(); err != nil {
		return nil, Malformed("gzip", err)
	}
	return p.drain(zr, len(src), "gzip", l, charge)
}

// flateReader is the standard library's: klauspost's takes some streams that are cut short for whole ones (it forgets that
// the last block is missing), and deflate has no checksum that would tell. Under gzip the checksum does.
type flateReader struct {
	io.ReadCloser // from flate, so it is a flate.Resetter too
	src           bytes.Reader
}

func (p *Pool) inflate(src []byte, l Limits, charge Charge) (*Buffer, error) {
	zr, ok := flateReaders.Get().(*flateReader)
	if !ok {
		zr = new(flateReader)
		zr.ReadCloser = flate.NewReader(&zr.src)
	}
	zr.src.Reset(src)
	defer func() {
		zr.src.Reset(nil)
		flateReaders.Put(zr)
	}()
	if err := zr.ReadCloser.(flate.Resetter).Reset(&zr.src, nil); err != nil {
		return nil, Malformed("deflate", err)
	}
	b, err := p.drain(zr, len(src), "deflate", l, charge)
	if err == nil && zr.src.Len() > 0 {
		p.Return(b, charge)
		return nil, Malformed("deflate", fmt.Errorf("%d bytes after the end of the stream", zr.src.Len()))
	}
	return b, err
}

func (p *Pool) unzstd(src []byte, l Limits, charge Charge) (*Buffer, error) {
	window, err := zstdWindow(src)
	if err != nil {
		return nil, Malformed("zstd", err)
	}
	if window > maxWindow {
		return nil, fault.New(fault.TooLarge, "zstd window of %d bytes, over %d", window, maxWindow)
	}
	// The decoder remembers a window besides what it gives out, and a block of it that has not been moved on yet.
	held := int(window + min(window, maxBlock))
	if err := charge(held); err != nil {
		return nil, err
	}
	defer func() { _ = charge(-held) }()
	zr, ok := zstdReaders.Get().(*zstd.Decoder)
	if !ok {
		// One goroutine: ours. No Close is needed then.
		zr, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
	}
	if err := zr.Reset(bytes.NewReader(src)); err != nil {
		return nil, Malformed("zstd", unexpected(err))
	}
	b, err := p.drain(zr, len(src), "zstd", l, charge)
	// It goes back with its window, whatever that is: senders that stream ask for 8 MiB also for a small body, and a new
	// window for each push costs a hundred times what decoding it does. What waits here is at most one for each processor.
	if zr.Reset(nil) == nil {
		zstdReaders.Put(zr)
	}
	return b, err
}

// zstdWindow walks over the frames of src without decoding them and returns the largest window that one asks for. Every
// frame counts: a small first one says nothing about those behind it. It refuses what is cut short and what is no frame.
func zstdWindow(src []byte) (window uint64, err error) {
	for len(src) > 0 {
		var h zstd.Header
		if src, err = h.DecodeAndStrip(src); err != nil {
			return 0, err
		}
		if h.Skippable {
			if src, err = skip(src, int(h.SkippableSize)); err != nil {
				return 0, err
			}
			continue
		}
		window = max(window, h.WindowSize)
		if h.SingleSegment {
			window = max(window, h.FrameContentSize) // such a frame names no window: it is its content
		}
		for last := false; !last; {
			if len(src) < 3 {
				return 0, io.ErrUnexpectedEOF
			}
			block := int(src[0]) | int(src[1])<<8 | int(src[2])<<16
			last = block&1 != 0
			size := block >> 3
			if block>>1&3 == 1 { // one byte, repeated size times
				size = 1
			}
			if src, err = skip(src[3:], size); err != nil {
				return 0, err
			}
		}
		if h.HasCheckSum {
			if src, err = skip(src, 4); err != nil {
				return 0, err
			}
		}
	}
	return window, nil
}

func skip(src []byte, n int) ([]byte, error) {
	if n > len(src) {
		return nil, io.ErrUnexpectedEOF
	}
	return src[n:], nil
}

// drain reads r to its end into a buffer that grows as content comes, and is charged before it grows.
func (p *Pool) drain(r io.Reader, size int, what string, l Limits, charge Charge) (*Buffer, error) {
	b, err := p.Lend(min(4*size, l.DecodedBytes)+1, charge)
	if err != nil {
		return nil, err
	}
	for {
		if len(b.B) == cap(b.B) {
			if b, err = p.grow(b, 2*cap(b.B), charge); err != nil {
				p.Return(b, charge)
				return nil, err
			}
		}
		n, err := r.Read(b.B[len(b.B):cap(b.B)])
		b.B = b.B[:len(b.B)+n]
		if len(b.B) > l.DecodedBytes {
			p.Return(b, charge)
			return nil, tooLarge(int64(len(b.B)), l.DecodedBytes, "server.max_decoded_bytes", "decoded")
		}
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			p.Return(b, charge)
			return nil, Malformed(what, unexpected(err))
		}
	}
}

// unexpected names the end of input where a reader only says EOF.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Compress writes src in codec c into a buffer of p. Identity returns nil: src can leave as it is.
func (p *Pool) Compress(src []byte, c Codec, charge Charge) (*Buffer, error) {
	switch c {
	case Identity:
		return nil, nil
	case Snappy:
		b, err := p.Lend(s2.MaxEncodedLen(len(src)), charge)
		if err != nil {
			return nil, err
		}
		b.B = s2.EncodeSnappy(b.B[:cap(b.B)], src)
		return b, nil
	case Gzip:
		return p.gzip(src, charge)
	}
	panic(fmt.Sprintf("BUG: no compression to %s", c))
}

// gzip compresses at level 1: four times cheaper than the default level, for about a tenth more bytes.
func (p *Pool) gzip(src []byte, charge Charge) (*Buffer, error) {
	b, err := p.Lend(len(src)/4+512, charge)
	if err != nil {
		return nil, err
	}
	zw, ok := gzipWriters.Get().(*gzipWriter)
	if !ok {
		zw = new(gzipWriter)
		if zw.Writer, err = gzip.NewWriterLevel(nil, gzip.BestSpeed); err != nil {
			panic("BUG: gzip does not know its own level")
		}
	}
	zw.sink = growing{p: p, b: b, charge: charge}
	zw.Reset(&zw.sink)
	if _, err = zw.Write(src); err == nil {
		err = zw.Close()
	}
	b, zw.sink = zw.sink.b, growing{}
	gzipWriters.Put(zw)
	if err != nil {
		p.Return(b, charge)
		return nil, err
	}
	return b, nil
}

type gzipWriter struct {
	*gzip.Writer
	sink growing
}

// growing is a writer into a buffer that is charged before it grows.
type growing struct {
	p      *Pool
	b      *Buffer
	charge Charge
}

func (g *growing) Write(data []byte) (int, error) {
	if need := len(g.b.B) + len(data); need > cap(g.b.B) {
		b, err := g.p.grow(g.b, max(need, 2*cap(g.b.B)), g.charge)
		if err != nil {
			return 0, err
		}
		g.b = b
	}
	g.b.B = append(g.b.B, data...)
	return len(data), nil
}
