package otlp_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// typical is a push as an agent sends it: 10 resources with 12 attributes, items spread over them. It comes as protobuf and as JSON.
func typical(name string, items int) (proto, json []byte) {
	attrs := func(m pcommon.Map, n int) {
		for i := range n {
			if i%4 == 3 {
				m.PutInt(fmt.Sprintf("http.attribute.number_%d", i), int64(i)*1000)
			} else {
				m.PutStr(fmt.Sprintf("k8s.attribute.name_%d", i), fmt.Sprintf("some-value-of-attribute-%d", i))
			}
		}
	}
	id := [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	const now = pcommon.Timestamp(1_760_000_000_000_000_000)
	switch name {
	case "traces":
		td := ptrace.NewTraces()
		for range 10 {
			rs := td.ResourceSpans().AppendEmpty()
			attrs(rs.Resource().Attributes(), 12)
			ss := rs.ScopeSpans().AppendEmpty()
			ss.Scope().SetName("go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp")
			for range items / 10 {
				s := ss.Spans().AppendEmpty()
				s.SetTraceID(id)
				s.SetSpanID([8]byte(id[:8]))
				s.SetParentSpanID([8]byte(id[8:]))
				s.SetName("GET /api/v1/carts/{id}")
				s.SetKind(ptrace.SpanKindServer)
				s.SetStartTimestamp(now)
				s.SetEndTimestamp(now + 1e6)
				attrs(s.Attributes(), 10)
			}
		}
		r := ptraceotlp.NewExportRequestFromTraces(td)
		return must(r.MarshalProto()), must(r.MarshalJSON())
	case "logs":
		ld := plog.NewLogs()
		for range 10 {
			rl := ld.ResourceLogs().AppendEmpty()
			attrs(rl.Resource().Attributes(), 12)
			sl := rl.ScopeLogs().AppendEmpty()
			for range items / 10 {
				l := sl.LogRecords().AppendEmpty()
				l.SetTimestamp(now)
				l.SetObservedTimestamp(now)
				l.SetSeverityNumber(plog.SeverityNumberInfo)
				l.SetSeverityText("INFO")
				l.SetTraceID(id)
				l.Body().SetStr("level=info ts=2026-01-01T00:00:00Z caller=cart.go:128 msg=\"cart updated\" items=3 took=12ms")
				attrs(l.Attributes(), 5)
			}
		}
		r := plogotlp.NewExportRequestFromLogs(ld)
		return must(r.MarshalProto()), must(r.MarshalJSON())
	}
	md := pmetric.NewMetrics()
	for range 10 {
		rm := md.ResourceMetrics().AppendEmpty()
		attrs(rm.Resource().Attributes(), 12)
		sm := rm.ScopeMetrics().AppendEmpty()
		m := pmetric.NewMetric()
		for i := range items / 10 {
			if i%5 == 0 {
				m = sm.Metrics().AppendEmpty()
				m.SetName("http.server.request.duration")
				m.SetUnit("s")
				switch i / 5 % 3 {
				case 0:
					m.SetEmptyGauge()
				case 1:
					m.SetEmptySum().SetIsMonotonic(true)
				case 2:
					m.SetEmptyHistogram()
				}
			}
			switch i / 5 % 3 {
			case 2:
				p := m.Histogram().DataPoints().AppendEmpty()
				p.SetTimestamp(now)
				p.SetStartTimestamp(now)
				p.SetCount(100)
				p.SetSum(5)
				p.BucketCounts().FromRaw(make([]uint64, 15))
				p.ExplicitBounds().FromRaw(make([]float64, 14))
				attrs(p.Attributes(), 6)
			default:
				ps := pmetric.NumberDataPointSlice{}
				if i/5%3 == 0 {
					ps = m.Gauge().DataPoints()
				} else {
					ps = m.Sum().DataPoints()
				}
				p := ps.AppendEmpty()
				p.SetTimestamp(now)
				p.SetStartTimestamp(now)
				p.SetDoubleValue(1.5)
				attrs(p.Attributes(), 6)
			}
		}
	}
	r := pmetricotlp.NewExportRequestFromMetrics(md)
	return must(r.MarshalProto()), must(r.MarshalJSON())
}

// spread gives typical spans ids of their own, so that sampling keeps its share of them.
func spread(t testing.TB, proto []byte) []byte {
	req := ptraceotlp.NewExportRequest()
	if err := req.UnmarshalProto(proto); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(15, 16))
	for _, rs := range req.Traces().ResourceSpans().All() {
		for i, s := range rs.ScopeSpans().At(0).Spans().All() {
			id, _ := randomIDs(r)
			s.SetTraceID(id)
			if i%2 == 0 {
				s.TraceState().FromRaw("ot=th:0;rv:0123456789abcd,congo=t61rcWkgMzE")
			}
			if i%4 == 0 {
				s.TraceState().FromRaw("ot=th:0,congo=t61rcWkgMzE")
			}
		}
	}
	return must(req.MarshalProto())
}

// TestAllocations: what a push costs does not depend on how many items, resources or attributes it has.
func TestAllocations(t *testing.T) {
	for name, ref := range references {
		for _, items := range []int{10, 2000} {
			raw, _ := typical(name, items)
			p := ref.http
			plain, stamped := ingest.Edit{Form: p.Forms[0]}, ingest.Edit{Form: p.Forms[0], Stamps: stamps}
			b, err := p.Decode(raw, ingest.Content{})
			if err != nil {
				t.Fatal(err)
			}
			dst := make([]byte, 0, b.Bound(stamped))
			f := func(what string, most float64, g func()) {
				t.Helper()
				if n := testing.AllocsPerRun(10, g); n > most {
					t.Errorf("%s, %d items: %s allocates %v times, want at most %v", name, items, what, n, most)
				}
			}
			f("decode", 1, func() { _, _ = p.Decode(raw, ingest.Content{}) })
			f("bound", 0, func() { b.Bound(stamped) })
			f("encode", 0, func() { _, _ = b.Encode(nil, plain) })
			f("encode with stamps", 2, func() { _, _ = b.Encode(dst, stamped) })
			if name != "traces" {
				continue
			}
			rules := &ingest.TraceRules{Ratio: .5, KeepErrors: true, FillServiceName: "client", Services: []ingest.ServiceRatio{{Service: "client", Ratio: .3}}}
			sampled := ingest.Edit{Form: p.Forms[0], Stamps: stamps, Traces: rules}
			if b, err = p.Decode(spread(t, raw), ingest.Content{}); err != nil {
				t.Fatal(err)
			}
			dst = make([]byte, 0, b.Bound(sampled))
			f("bound with rules", 0, func() { b.Bound(sampled) })
			f("encode with rules", 8, func() { _, _ = b.Encode(dst, sampled) })
			rules = &ingest.TraceRules{Ratio: 1, Services: []ingest.ServiceRatio{{Service: "other", Ratio: .3}}}
			f("encode with rules for others", 0, func() { _, _ = b.Encode(nil, ingest.Edit{Form: p.Forms[0], Traces: rules}) })
		}
	}
}

type namedEdit struct {
	name string
	edit ingest.Edit
}

// benchmarkEdits are what happens to spans besides stamps.
func benchmarkEdits(signal string, stamp ingest.Edit) []namedEdit {
	if signal != "traces" {
		return nil
	}
	with := func(stamps []labels.Label, rules ingest.TraceRules) ingest.Edit {
		return ingest.Edit{Form: stamp.Form, Stamps: stamps, Traces: &rules}
	}
	return []namedEdit{
		{"unchanged", with(nil, ingest.TraceRules{Ratio: 1, Services: []ingest.ServiceRatio{{Service: "other", Ratio: .5}}})},
		{"sample 0.5", with(nil, ingest.TraceRules{Ratio: .5})},
		{"sample 0.01", with(nil, ingest.TraceRules{Ratio: .01})},
		{"stamp and sample 0.5", with(stamp.Stamps, ingest.TraceRules{Ratio: .5, FillServiceName: "client"})},
	}
}

func BenchmarkOTLP(b *testing.B) {
	for _, c := range []struct {
		name  string
		items int
	}{{"traces", 500}, {"metrics", 1000}, {"logs", 1000}} {
		proto, json := typical(c.name, c.items)
		p := references[c.name].http
		run := func(what string, body []byte, f func(b *testing.B)) {
			b.Run(c.name+"/"+what, func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					f(b)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c.items), "ns/item")
			})
		}
		decode := func(b *testing.B, raw []byte, c ingest.Content) ingest.Batch {
			batch, err := p.Decode(raw, c)
			if err != nil {
				b.Fatal(err)
			}
			return batch
		}
		run("decode", proto, func(b *testing.B) { decode(b, proto, ingest.Content{}) })
		batch, err := p.Decode(proto, ingest.Content{})
		if err != nil {
			b.Fatal(err)
		}
		edit := ingest.Edit{Form: p.Forms[0], Stamps: stamps}
		dst := make([]byte, 0, batch.Bound(edit))
		run("stamp", proto, func(b *testing.B) {
			if _, err := batch.Encode(dst, edit); err != nil {
				b.Fatal(err)
			}
		})
		for _, e := range benchmarkEdits(c.name, edit) {
			name, edit := e.name, e.edit
			spans := spread(b, proto)
			if batch, err = p.Decode(spans, ingest.Content{}); err != nil {
				b.Fatal(err)
			}
			dst = make([]byte, 0, max(1, batch.Bound(edit)))
			run(name, spans, func(b *testing.B) {
				batch.Bound(edit)
				if _, err := batch.Encode(dst, edit); err != nil {
					b.Fatal(err)
				}
			})
		}
		run("json", json, func(b *testing.B) { decode(b, json, ingest.Content{JSON: true}) })
		run("pdata", proto, func(b *testing.B) {
			if _, _, err := references[c.name].view(proto, stamps); err != nil {
				b.Fatal(err)
			}
		})
	}
}
