package remotewrite

import (
	"log/slog"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/reducetest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/reduce"
	loadmeasure "github.com/telemetry-gateway/telemetry-gateway/loadtest/measure"
)

// benchSets is over how many pushes the series of the benchmarks below are spread: 100,000 live series.
const benchSets = 50

// benchRules are two labels dropped, one replaced by a regular expression and one rule that drops series.
const benchRules = `
- {action: labeldrop, regex: image|endpoint}
- {source_labels: [pod], regex: '(.+)-[0-9a-f]+-.+', target_label: workload}
- {action: drop, source_labels: [__name__], regex: 'container_network_receive_packets_(3|13)_total'}
`

// benchEngine is a push from the snappy block that came to the bytes that leave, not compressed yet, with the real Reducer and
// every series known.
func benchEngine(b *testing.B, p *ingest.Protocol, pushes [][]byte, rules string, stamps []labels.Label) {
	e := reduce.New(reduce.Options{Log: slog.New(slog.DiscardHandler), MaxSeries: 1 << 20})
	policy := e.Policy(reduce.Settings{
		Environment: "prod", Client: "app", Signal: ingest.Metrics, Stamps: stamps, Rules: reducetest.Rules(b, rules),
	})
	edit := ingest.Edit{Form: p.Forms[0], Stamps: stamps, Charge: func(int) *fault.Error { return nil }}
	dst, plain := make([]byte, 0, 2*len(pushes[0])), make([]byte, 2*len(pushes[0]))
	compressed := make([][]byte, len(pushes))
	for i, raw := range pushes {
		compressed[i] = s2.EncodeSnappy(nil, raw)
	}
	now := time.Now()
	push := func(body []byte) {
		raw, err := s2.Decode(plain, body)
		if err != nil {
			b.Fatal(err)
		}
		r := policy.Begin(now, reduce.Plain, edit.Charge)
		batch, err := p.Decode(raw, ingest.Content{Reducer: &r.Reducer})
		if err == nil {
			err = batch.Reduce(&r.Reducer)
		}
		if err == nil {
			batch.Bound(edit)
			_, err = batch.Encode(dst, edit)
		}
		if err != nil {
			b.Fatal(err)
		}
		r.Outcome()
		r.Close()
	}
	for _, body := range compressed {
		push(body)
	}
	i, before := 0, loadmeasure.OwnCPU()
	b.ReportAllocs()
	for b.Loop() {
		push(compressed[i%len(compressed)])
		i++
	}
	b.ReportMetric(float64(loadmeasure.OwnCPU()-before)/float64(b.N*benchSeries), "cpu-ns/sample")
}

// manyPushes are benchSets pushes of benchSeries series each, all different.
func manyPushes(p *ingest.Protocol) (all [][]byte) {
	whole := k8sSeries(benchSets * benchSeries)
	for i := range whole {
		// Every ninth value is 0, which proto3 leaves out.
		if i%9 == 0 {
			whole[i].Samples[0].Value = 0
		}
	}
	for ; len(whole) > 0; whole = whole[benchSeries:] {
		if p == V1 {
			all = append(all, v1Of(whole[:benchSeries]))
		} else {
			all = append(all, symbolized(whole[:benchSeries]))
		}
	}
	return all
}

func BenchmarkEngine(b *testing.B) {
	for _, p := range []*ingest.Protocol{V1, V2} {
		pushes := manyPushes(p)
		b.Run(p.Name+"/count", func(b *testing.B) { benchEngine(b, p, pushes, "", nil) })
		b.Run(p.Name+"/stamp", func(b *testing.B) { benchEngine(b, p, pushes, "", stampSets[1]) })
		b.Run(p.Name+"/rules", func(b *testing.B) { benchEngine(b, p, pushes, benchRules, nil) })
	}
}
