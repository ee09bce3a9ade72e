package main

import (
	"bytes"
	"io"
	"syscall"
	"time"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/generate"
)

// floor is how many items a CPU-second could forward if nothing were done but what must be: decompress a push, walk it to
// count its items, and, where a rule changes it, compress it again. HTTP is not in it: for large pushes it is small beside
// the rest, for tiny ones it is all there is.
func floor(w *generate.Work, spec generate.Spec) float64 {
	var p generate.Push
	w.Push(0, time.Now(), &p)
	if w.IdentityOnly || spec.Kind == generate.LokiJSON || spec.Kind == generate.TracesJSON {
		return 0 // it leaves in another form than it came in
	}
	undo, redo := codec(p.Encoding)
	const never = 1 << 62 // no millisecond is checked: counting alone
	cost := cpuOf(func() {
		raw := undo(p.Body)
		if _, err := w.Walk(raw, never); err != nil {
			panic("BUG: loadtest: " + err.Error())
		}
		if spec.Change.Labels != nil || spec.Change.Move != "" || spec.Change.Delete != "" {
			redo(raw)
		}
	})
	return float64(p.Items) / cost.Seconds()
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
		begin := ownCPU()
		for range rounds {
			do()
		}
		best = min(best, (ownCPU()-begin)/rounds)
	}
	return max(best, time.Microsecond)
}

// ownCPU is what this process has used. Nothing else happens in it while a floor is measured.
func ownCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it cannot fail with these arguments
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
