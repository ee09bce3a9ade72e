package main

import (
	"bytes"
	"io"
	"time"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/generate"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/measure"
)

// floor is what a push takes if nothing is done but what must be: decompress it, walk it to count its items, and, where a rule
// changes it, compress it again. HTTP is not in it: for large pushes it is small beside the rest, for tiny ones it is all there is.
type floor struct {
	items                      int
	decompress, walk, compress time.Duration
}

// floorOf measures it. It is zero for what leaves in another form than it came in.
func floorOf(w *generate.Work, spec generate.Spec) (f floor) {
	var p generate.Push
	w.Push(0, time.Now(), &p)
	if w.IdentityOnly || spec.Kind == generate.LokiJSON || spec.Kind == generate.TracesJSON {
		return f
	}
	f.items = p.Items
	undo, redo := codec(p.Encoding)
	raw := undo(p.Body)
	if p.Encoding != "" && p.Encoding != "identity" {
		f.decompress = cpuOf(func() { undo(p.Body) })
		if spec.Change.Labels != nil || spec.Change.Move != "" || spec.Change.Delete != "" {
			f.compress = cpuOf(func() { redo(raw) })
		}
	}
	const never = 1 << 62 // no millisecond is checked: counting alone
	f.walk = cpuOf(func() {
		if _, err := w.Walk(raw, never); err != nil {
			panic("BUG: loadtest: " + err.Error())
		}
	})
	return f
}

// perSecond is how many items a CPU-second could forward; 0: not known.
func (f floor) perSecond() float64 {
	if f.items == 0 {
		return 0
	}
	return float64(f.items) / (f.decompress + f.walk + f.compress).Seconds()
}

// of is the floor of a part; 0: there is none.
func (f floor) of(part string) time.Duration {
	switch part {
	case partDecompress:
		return f.decompress
	case partWalk:
		return f.walk
	case partCompress:
		return f.compress
	}
	return 0
}

// codec returns what undoes a compression and what does it, both with memory that is used again.
func codec(name string) (undo func([]byte) []byte, redo func([]byte)) {
	var plain, packed []byte
	var buffer bytes.Buffer
	switch name {
	case "snappy":
		return func(b []byte) []byte { plain, _ = snappy.Decode(plain[:cap(plain)], b); return plain },
			func(b []byte) { packed = snappy.Encode(packed[:cap(packed)], b) }
	case "gzip":
		var r gzip.Reader
		w, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // the level exists
		return func(b []byte) []byte {
				_ = r.Reset(bytes.NewReader(b)) // the generator made it
				buffer.Reset()
				_, _ = buffer.ReadFrom(&r)
				return buffer.Bytes()
			}, func(b []byte) {
				w.Reset(io.Discard)
				_, _ = w.Write(b)
				_ = w.Close()
			}
	case "zstd":
		r, _ := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
		w, _ := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		return func(b []byte) []byte { plain, _ = r.DecodeAll(b, plain[:0]); return plain },
			func(b []byte) { packed = w.EncodeAll(b, packed[:0]) }
	}
	return func(b []byte) []byte { return b }, func([]byte) {}
}

// cpuOf is the CPU time that do takes: the best of several rounds, since other work shares the caches.
func cpuOf(do func()) time.Duration {
	best := time.Hour
	for range 5 {
		const rounds = 50
		begin := measure.OwnCPU()
		for range rounds {
			do()
		}
		best = min(best, (measure.OwnCPU()-begin)/rounds)
	}
	return max(best, time.Microsecond)
}
