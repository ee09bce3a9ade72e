package remotewrite

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/reducetest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/reduce"
)

// stage is a part of the way of a push, and the least that such a part could do.
type stage struct {
	name        string
	ours, floor func(*passage)
}

// passage is a push on its way through the stages.
type passage struct {
	door      *ingest.Protocol
	edit      ingest.Edit
	policy    *reduce.Policy
	now       time.Time
	body, raw []byte
	push      *reduce.Push
	batch     ingest.Batch
	out       []byte
	plain     []byte // room for what the floors make
	dst, wire []byte
	touched   int
	table     []uint64
	err       error
}

func stages() []stage {
	unpack := func(p *passage) { p.raw, p.err = s2.Decode(p.plain, p.body) }
	copied := func(p *passage) { p.dst = append(p.dst[:0], p.raw...) }
	pack := func(p *passage) { p.wire = s2.EncodeSnappy(p.wire[:cap(p.wire)], p.out) }
	return []stage{
		{"decode", unpack, copied},
		{"walk", func(p *passage) {
			p.push = p.policy.Begin(p.now, reduce.Plain, p.edit.Charge)
			p.batch, p.err = p.door.Decode(p.raw, ingest.Content{Reducer: &p.push.Reducer})
		}, func(p *passage) { p.touched += countFields(p.raw, v1Series) + countFields(p.raw, v2Series) }},
		{"judge", func(p *passage) { p.err = p.batch.Reduce(&p.push.Reducer) }, func(p *passage) {
			for range benchSeries { // one place of a large table for each series
				p.touched = p.touched*25214903917 + 11
				p.touched += int(p.table[uint(p.touched)>>20%uint(len(p.table))])
			}
		}},
		{"rewrite", func(p *passage) {
			p.batch.Bound(p.edit)
			var res ingest.Result
			if res, p.err = p.batch.Encode(p.dst[:0], p.edit); res.Unchanged {
				p.out = p.raw
			} else {
				p.out = res.Body
			}
		}, copied},
		{"compress", pack, pack},
	}
}

// BenchmarkStages says what each stage of a push takes whose series are all known, in the median push, and beside it what the
// least takes that it could do: copy, count the series, look at one place for each, compress.
func BenchmarkStages(b *testing.B) {
	for _, door := range []*ingest.Protocol{V1, V2} {
		pushes := manyPushes(door)
		for at, s := range stages() {
			b.Run(door.Name+"/"+s.name+"/ours", func(b *testing.B) { benchStage(b, door, pushes, at, nil) })
			b.Run(door.Name+"/"+s.name+"/floor", func(b *testing.B) { benchStage(b, door, pushes, at, s.floor) })
		}
	}
}

// benchStage sends pushes through all stages, and times stage at, or its floor.
func benchStage(b *testing.B, door *ingest.Protocol, pushes [][]byte, at int, floor func(*passage)) {
	e := reduce.New(reduce.Options{Log: slog.New(slog.DiscardHandler), MaxSeries: 1 << 20})
	size := 2 * len(pushes[0])
	p := &passage{
		door: door, now: time.Now(), plain: make([]byte, size), dst: make([]byte, 0, size), wire: make([]byte, size), table: make([]uint64, 1<<20),
		edit:   ingest.Edit{Form: door.Forms[0], Charge: func(int) *fault.Error { return nil }},
		policy: e.Policy(reduce.Settings{Environment: "prod", Client: "app", Signal: ingest.Metrics, Rules: reducetest.Rules(b, benchRules)}),
	}
	bodies := make([][]byte, len(pushes))
	for i, raw := range pushes {
		bodies[i] = s2.EncodeSnappy(nil, raw)
	}
	all := stages()
	var took []time.Duration
	pass := func(body []byte) {
		p.body = body
		for i := range all {
			if i != at {
				all[i].ours(p)
				continue
			}
			begin := time.Now()
			if floor == nil {
				all[i].ours(p)
				took = append(took, time.Since(begin))
				continue
			}
			floor(p)
			took = append(took, time.Since(begin))
			all[i].ours(p)
		}
		if p.err != nil {
			b.Fatal(p.err)
		}
		p.push.Outcome()
		p.push.Close()
	}
	for range 2 {
		for _, body := range bodies {
			pass(body)
		}
	}
	took = took[:0]
	i := 0
	for b.Loop() {
		pass(bodies[i%len(bodies)])
		i++
	}
	slices.Sort(took)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/benchSeries, "ns/sample")
	b.ReportMetric(float64(len(p.raw))/benchSeries, "B/sample")
}
