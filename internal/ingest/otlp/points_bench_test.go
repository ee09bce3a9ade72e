package otlp_test

import (
	"fmt"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/measure"
)

// knownPoints is a Reducer that knows every series: the table at its best. change is what it says of each.
func knownPoints(stamps []labels.Label, items int, change *labels.Change) *ingest.Reducer {
	room := make([]ingest.Series, items)
	return &ingest.Reducer{
		Stamps: stamps,
		Keys:   labels.NewHasher(labels.NewSeed(), labels.Key{}, stamps).Use(labels.NewMemo(1 << 16)),
		Judge: func(ss []ingest.Series, _ func(int, *labels.Set)) {
			for i := range ss {
				ss[i].Change = change
			}
		},
		Room: func(_ []ingest.Series, n int) ([]ingest.Series, *fault.Error) { clear(room[:n]); return room[:n], nil },
	}
}

// oneAttributeDropped is the Change that drops attribute 0 of a typical point with stamps: the second label of its Set.
func oneAttributeDropped() *labels.Change {
	keep := ^uint64(0)
	keep &^= 1 << 4 // __name__, environment, http.attribute.number_3, k8s.attribute.name_0, ...
	return &labels.Change{Keep: []uint64{keep}}
}

// varied is a typical push in which two attributes of each point have values of their own.
func varied(t testing.TB, items int) []byte {
	raw, _ := typical("metrics", items)
	req := pmetricotlp.NewExportRequest()
	if err := req.UnmarshalProto(raw); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, rm := range req.Metrics().ResourceMetrics().All() {
		for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
			eachPoint(m, func(attrs pcommon.Map) {
				n++
				attrs.PutStr("k8s.attribute.name_1", fmt.Sprint("some-value-", n%10))
				attrs.PutInt("http.attribute.number_3", int64(n))
			})
		}
	}
	return must(req.MarshalProto())
}

func BenchmarkPoints(b *testing.B) {
	const items = 1000
	raw := varied(b, items)
	p := references["metrics"].http
	run := func(name string, stamps []labels.Label, change *labels.Change, views bool) {
		b.Run(name, func(b *testing.B) {
			r := knownPoints(stamps, items, change)
			if name == "forgotten" {
				r.Keys.Use(nil)
			}
			var set labels.Set
			if views {
				r.Judge = func(ss []ingest.Series, view func(int, *labels.Set)) {
					for i := range ss {
						set.Reset()
						view(i, &set)
					}
				}
			}
			e := ingest.Edit{Form: p.Forms[0], Stamps: stamps}
			dst := make([]byte, 0, 2*len(raw))
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			var pool ingest.Pool
			began, rounds := measure.OwnCPU(), 0
			for b.Loop() {
				if rounds++; rounds == 1 {
					began = measure.OwnCPU()
				}
				c := ingest.Content{Stock: pool.Stock(), Reducer: r}
				batch, err := p.Decode(raw, c)
				if err != nil {
					b.Fatal(err)
				}
				if err = batch.Reduce(r); err != nil {
					b.Fatal(err)
				}
				batch.Bound(e)
				if _, err = batch.Encode(dst, e); err != nil {
					b.Fatal(err)
				}
				pool.Restock(c.Stock)
			}
			b.ReportMetric(float64(measure.OwnCPU()-began)/float64(rounds*items), "cpu-ns/item")
		})
	}
	run("known", nil, nil, false)
	run("forgotten", nil, nil, false)
	run("known, stamped", stamps, nil, false)
	run("one attribute dropped", nil, oneAttributeDropped(), false)
	run("one attribute dropped, stamped", stamps, oneAttributeDropped(), false)
	run("all new", nil, nil, true)
}
