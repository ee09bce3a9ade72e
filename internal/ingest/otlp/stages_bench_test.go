package otlp_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/measure"
)

// BenchmarkStages holds what the doors do with a push, one stage at a time, beside the least that could be done:
//
//   - walk is Decode; its floor steps over every field down to the attributes by wire.Next, and checks and counts nothing.
//   - reduce is Reduce, with a Reducer that answers at once: of spans and records one attribute goes, points are known.
//     Its floor reads the name and the value of every attribute of an item by wire.Next.
//   - walk and reduce is both as the road has them: Decode knows the Reducer, which has met all points before.
//   - encode is Encode with two stamps. Its floor copies the push.
//   - gunzip and gzip are what comes before and after, which are no doings of the doors: floors alone.
func BenchmarkStages(b *testing.B) {
	for _, s := range []struct {
		name  string
		items int
		attrs int32 // the field that holds the attributes of an item
		depth int   // of an item in the push
		drops bool
	}{{"traces", 500, 9, 3, true}, {"metrics", 1000, 0, 5, false}, {"logs", 1000, 6, 3, true}} {
		raw, _ := typical(s.name, s.items)
		if s.name == "metrics" {
			raw = varied(b, s.items)
		}
		p := references[s.name].http
		run := func(stage string, f func(stop, start func())) {
			b.Run(s.name+"/"+stage, func(b *testing.B) {
				b.ReportAllocs()
				began, rounds, before := measure.OwnCPU(), 0, time.Duration(0)
				for b.Loop() {
					if rounds++; rounds == 1 {
						began = measure.OwnCPU()
					}
					f(func() { before -= measure.OwnCPU(); b.StopTimer() }, func() { before += measure.OwnCPU(); b.StartTimer() })
				}
				items := float64(rounds * s.items)
				b.ReportMetric(float64(measure.OwnCPU()-began-before)/items, "cpu-ns/item")
				b.ReportMetric(float64(len(raw))/float64(s.items), "B/item")
			})
		}
		reducer := func() *ingest.Reducer {
			if s.drops {
				return without("k8s.attribute.name_1", nil)
			}
			return knownPoints(nil, s.items, nil)
		}
		decode := func(c ingest.Content) ingest.Batch {
			batch, err := p.Decode(raw, c)
			if err != nil {
				b.Fatal(err)
			}
			return batch
		}
		run("walk/ours", func(_, _ func()) { decode(ingest.Content{}) })
		run("walk/floor", func(_, _ func()) { bareWalk(raw, s.depth, nil) })

		var pool ingest.Pool
		r := reducer()
		run("reduce/ours", func(stop, start func()) {
			stop()
			c := ingest.Content{Stock: pool.Stock()}
			batch := decode(c)
			start()
			if err := batch.Reduce(r); err != nil {
				b.Fatal(err)
			}
			pool.Restock(c.Stock)
		})
		run("walk and reduce/ours", func(_, _ func()) {
			c := ingest.Content{Stock: pool.Stock(), Reducer: r}
			if err := decode(c).Reduce(r); err != nil {
				b.Fatal(err)
			}
			pool.Restock(c.Stock)
		})
		run("reduce/floor", func(_, _ func()) {
			bareWalk(raw, s.depth, func(num int32, data []byte) {
				if num == s.attrs || s.attrs == 0 && (num == 7 || num == 9) && len(data) > 0 && data[0] != 0 {
					bareWalk(data, 0, nil)
				}
			})
		})

		batch := decode(ingest.Content{})
		edit := ingest.Edit{Form: p.Forms[0], Stamps: []labels.Label{{Name: "environment", Value: "prod"}, {Name: "team", Value: "shop"}}}
		dst := make([]byte, 0, batch.Bound(edit))
		run("encode/ours", func(_, _ func()) {
			if _, err := batch.Encode(dst, edit); err != nil {
				b.Fatal(err)
			}
		})
		run("encode/floor", func(_, _ func()) { dst = append(dst[:0], raw...) })

		var packed, plain bytes.Buffer
		zw, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed) // the level exists
		var zr gzip.Reader
		pack := func() {
			packed.Reset()
			zw.Reset(&packed)
			_, _ = zw.Write(raw)
			_ = zw.Close()
		}
		run("gzip/floor", func(_, _ func()) { pack() })
		pack()
		run("gunzip/floor", func(_, _ func()) {
			plain.Reset()
			_ = zr.Reset(bytes.NewReader(packed.Bytes()))
			_, _ = plain.ReadFrom(&zr)
		})
	}
}

// bareWalk steps over the fields of msg, which is well formed, going down depth times into all that is bytes and numbered 1, 2,
// 5, 7 or 9, as envelopes are; what bytes are at the bottom it shows to at, if there is one.
func bareWalk(msg []byte, depth int, at func(num int32, data []byte)) (fields int) {
	var f wire.Field
	for len(msg) > 0 {
		var err error
		if msg, err = wire.Next(msg, &f); err != nil {
			return fields // a text that was taken for a message
		}
		fields++
		switch {
		case f.Type != wire.Bytes:
		case depth > 0 && (f.Num == 1 || f.Num == 2 || f.Num == 5 || f.Num == 7 || f.Num == 9):
			fields += bareWalk(f.Data, depth-1, at)
		case depth == 0 && at != nil:
			at(f.Num, f.Data)
		}
	}
	return fields
}
