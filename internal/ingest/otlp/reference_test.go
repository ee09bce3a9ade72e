package otlp_test

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.opentelemetry.io/collector/pdata/testdata"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/otlp"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// reference is a signal as pdata has it: what the doors are compared with.
type reference struct {
	http, grpc *ingest.Protocol
	// view returns what pdata makes of a push, stamped and without spans that have no ids: its own encoding of it, and the
	// number of items that came.
	view func(proto []byte, stamps []labels.Label) (encoded []byte, items int, err error)
	// viewJSON is view for JSON.
	viewJSON func(body []byte) (encoded []byte, items int, err error)
	// random makes a push, as protobuf and as JSON.
	random func(r *rand.Rand, items int) (proto, json []byte)
	// example is a push with some of everything.
	example func(items int) []byte
}

var references = map[string]reference{
	"traces": {
		http: otlp.TracesHTTP, grpc: otlp.TracesGRPC,
		view: func(b []byte, stamps []labels.Label) ([]byte, int, error) {
			r := ptraceotlp.NewExportRequest()
			if err := r.UnmarshalProto(b); err != nil {
				return nil, 0, err
			}
			items := r.Traces().SpanCount()
			removeSpans(r.Traces(), func(_ ptrace.ResourceSpans, s ptrace.Span) bool { return s.TraceID().IsEmpty() || s.SpanID().IsEmpty() })
			for _, rs := range r.Traces().ResourceSpans().All() {
				stampMap(rs.Resource().Attributes(), stamps)
			}
			out, err := r.MarshalProto()
			return out, items, err
		},
		viewJSON: func(b []byte) ([]byte, int, error) {
			r := ptraceotlp.NewExportRequest()
			if err := r.UnmarshalJSON(b); err != nil {
				return nil, 0, err
			}
			out, err := r.MarshalProto()
			return out, r.Traces().SpanCount(), err
		},
		random: func(r *rand.Rand, items int) ([]byte, []byte) {
			req := ptraceotlp.NewExportRequestFromTraces(randomTraces(r, items))
			return must(req.MarshalProto()), must(req.MarshalJSON())
		},
		example: func(items int) []byte {
			return must(ptraceotlp.NewExportRequestFromTraces(testdata.GenerateTraces(items)).MarshalProto())
		},
	},
	"metrics": {
		http: otlp.MetricsHTTP, grpc: otlp.MetricsGRPC,
		view: func(b []byte, stamps []labels.Label) ([]byte, int, error) {
			r := pmetricotlp.NewExportRequest()
			if err := r.UnmarshalProto(b); err != nil {
				return nil, 0, err
			}
			for _, rm := range r.Metrics().ResourceMetrics().All() {
				for _, sm := range rm.ScopeMetrics().All() {
					for _, m := range sm.Metrics().All() {
						eachPoint(m, func(attrs pcommon.Map) { stampMap(attrs, stamps) })
					}
				}
			}
			out, err := r.MarshalProto()
			return out, r.Metrics().DataPointCount(), err
		},
		viewJSON: func(b []byte) ([]byte, int, error) {
			r := pmetricotlp.NewExportRequest()
			if err := r.UnmarshalJSON(b); err != nil {
				return nil, 0, err
			}
			out, err := r.MarshalProto()
			return out, r.Metrics().DataPointCount(), err
		},
		random: func(r *rand.Rand, items int) ([]byte, []byte) {
			req := pmetricotlp.NewExportRequestFromMetrics(randomMetrics(r, items))
			return must(req.MarshalProto()), must(req.MarshalJSON())
		},
		example: func(items int) []byte {
			return must(pmetricotlp.NewExportRequestFromMetrics(testdata.GenerateMetrics(items)).MarshalProto())
		},
	},
	"logs": {
		http: otlp.LogsHTTP, grpc: otlp.LogsGRPC,
		view: func(b []byte, stamps []labels.Label) ([]byte, int, error) {
			r := plogotlp.NewExportRequest()
			if err := r.UnmarshalProto(b); err != nil {
				return nil, 0, err
			}
			for _, rl := range r.Logs().ResourceLogs().All() {
				stampMap(rl.Resource().Attributes(), stamps)
			}
			out, err := r.MarshalProto()
			return out, r.Logs().LogRecordCount(), err
		},
		viewJSON: func(b []byte) ([]byte, int, error) {
			r := plogotlp.NewExportRequest()
			if err := r.UnmarshalJSON(b); err != nil {
				return nil, 0, err
			}
			out, err := r.MarshalProto()
			return out, r.Logs().LogRecordCount(), err
		},
		random: func(r *rand.Rand, items int) ([]byte, []byte) {
			req := plogotlp.NewExportRequestFromLogs(randomLogs(r, items))
			return must(req.MarshalProto()), must(req.MarshalJSON())
		},
		example: func(items int) []byte {
			return must(plogotlp.NewExportRequestFromLogs(testdata.GenerateLogs(items)).MarshalProto())
		},
	},
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// stampMap is what a stamp means, in pdata's words: the first attribute of that key has its value, others of that key
// are gone, and where there was none it comes last.
func stampMap(m pcommon.Map, stamps []labels.Label) {
	seen := map[string]bool{}
	m.RemoveIf(func(k string, _ pcommon.Value) bool {
		stamped := slices.ContainsFunc(stamps, func(l labels.Label) bool { return l.Name == k })
		again := stamped && seen[k]
		seen[k] = true
		return again
	})
	for _, l := range stamps {
		m.PutStr(l.Name, l.Value)
	}
}

// removeSpans removes what remove says, and what is left empty by that.
func removeSpans(td ptrace.Traces, remove func(ptrace.ResourceSpans, ptrace.Span) bool) {
	td.ResourceSpans().RemoveIf(func(rs ptrace.ResourceSpans) bool {
		scopes := rs.ScopeSpans().Len()
		rs.ScopeSpans().RemoveIf(func(ss ptrace.ScopeSpans) bool {
			spans := ss.Spans().Len()
			ss.Spans().RemoveIf(func(s ptrace.Span) bool { return remove(rs, s) })
			return spans > 0 && ss.Spans().Len() == 0
		})
		return scopes > 0 && rs.ScopeSpans().Len() == 0
	})
}

func eachPoint(m pmetric.Metric, f func(pcommon.Map)) {
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		for _, p := range m.Gauge().DataPoints().All() {
			f(p.Attributes())
		}
	case pmetric.MetricTypeSum:
		for _, p := range m.Sum().DataPoints().All() {
			f(p.Attributes())
		}
	case pmetric.MetricTypeHistogram:
		for _, p := range m.Histogram().DataPoints().All() {
			f(p.Attributes())
		}
	case pmetric.MetricTypeExponentialHistogram:
		for _, p := range m.ExponentialHistogram().DataPoints().All() {
			f(p.Attributes())
		}
	case pmetric.MetricTypeSummary:
		for _, p := range m.Summary().DataPoints().All() {
			f(p.Attributes())
		}
	}
}

// randomAttrs fills m with up to n attributes; "environment" and "team" are among them at times, for stamps to meet.
func randomAttrs(r *rand.Rand, m pcommon.Map, n int) {
	for i := range r.IntN(n + 1) {
		key := fmt.Sprintf("attribute.%d", i)
		switch r.IntN(12) {
		case 0:
			key = "environment"
		case 1:
			key = "team"
		case 2:
			key = ""
		}
		randomValue(r, m.PutEmpty(key), 3)
	}
}

func randomValue(r *rand.Rand, v pcommon.Value, depth int) {
	switch r.IntN(8 + min(depth, 2)) {
	case 0:
		v.SetBool(r.IntN(2) == 0)
	case 1:
		v.SetInt(r.Int64() - r.Int64())
	case 2:
		v.SetDouble(r.NormFloat64())
	case 3:
		v.SetEmptyBytes().FromRaw([]byte{0, 1, 255}[:r.IntN(4)])
	case 4: // empty
	case 8:
		s := v.SetEmptySlice()
		for range r.IntN(4) {
			randomValue(r, s.AppendEmpty(), depth-1)
		}
	case 9:
		randomAttrs(r, v.SetEmptyMap(), 3)
	default:
		v.SetStr("värde-"[:r.IntN(3)*2] + fmt.Sprint(r.Uint64()))
	}
}

func randomIDs(r *rand.Rand) (t pcommon.TraceID, s pcommon.SpanID) {
	for i := range t {
		t[i] = byte(r.Uint32())
	}
	copy(s[:], t[3:])
	return t, s
}

func randomScope(r *rand.Rand, s pcommon.InstrumentationScope) {
	if r.IntN(2) == 0 {
		s.SetName("scope")
		s.SetVersion("1.2.3")
		randomAttrs(r, s.Attributes(), 2)
	}
}

func randomTraces(r *rand.Rand, items int) ptrace.Traces {
	td := ptrace.NewTraces()
	for items > 0 || r.IntN(4) == 0 {
		rs := td.ResourceSpans().AppendEmpty()
		rs.SetSchemaUrl("https://opentelemetry.io/schemas/1.30.0"[:r.IntN(2)*39])
		randomAttrs(r, rs.Resource().Attributes(), 12)
		for range r.IntN(4) {
			ss := rs.ScopeSpans().AppendEmpty()
			randomScope(r, ss.Scope())
			for range r.IntN(8) {
				items--
				sp := ss.Spans().AppendEmpty()
				trace, id := randomIDs(r)
				sp.SetTraceID(trace)
				sp.SetSpanID(id)
				sp.TraceState().FromRaw("ot=th:8"[:r.IntN(2)*7])
				sp.SetName("GET /cart")
				sp.SetKind(ptrace.SpanKind(r.IntN(6)))
				sp.SetStartTimestamp(pcommon.Timestamp(r.Uint64()))
				sp.SetEndTimestamp(pcommon.Timestamp(r.Uint64()))
				sp.SetFlags(r.Uint32())
				sp.Status().SetCode(ptrace.StatusCode(r.IntN(3)))
				sp.Status().SetMessage("no")
				randomAttrs(r, sp.Attributes(), 10)
				for range r.IntN(3) {
					e := sp.Events().AppendEmpty()
					e.SetName("exception")
					randomAttrs(r, e.Attributes(), 3)
				}
				for range r.IntN(3) {
					l := sp.Links().AppendEmpty()
					l.SetTraceID(trace)
					randomAttrs(r, l.Attributes(), 3)
				}
			}
		}
	}
	return td
}

func randomLogs(r *rand.Rand, items int) plog.Logs {
	ld := plog.NewLogs()
	for items > 0 || r.IntN(4) == 0 {
		rl := ld.ResourceLogs().AppendEmpty()
		randomAttrs(r, rl.Resource().Attributes(), 12)
		for range r.IntN(4) {
			sl := rl.ScopeLogs().AppendEmpty()
			randomScope(r, sl.Scope())
			for range r.IntN(8) {
				items--
				lr := sl.LogRecords().AppendEmpty()
				trace, id := randomIDs(r)
				lr.SetTraceID(trace)
				lr.SetSpanID(id)
				lr.SetTimestamp(pcommon.Timestamp(r.Uint64()))
				lr.SetObservedTimestamp(pcommon.Timestamp(r.Uint64()))
				lr.SetSeverityNumber(plog.SeverityNumber(r.IntN(25)))
				lr.SetSeverityText("INFO")
				lr.SetEventName("event")
				lr.SetFlags(plog.LogRecordFlags(r.Uint32()))
				randomValue(r, lr.Body(), 4)
				randomAttrs(r, lr.Attributes(), 6)
			}
		}
	}
	return ld
}

func randomMetrics(r *rand.Rand, items int) pmetric.Metrics {
	md := pmetric.NewMetrics()
	for items > 0 || r.IntN(4) == 0 {
		rm := md.ResourceMetrics().AppendEmpty()
		randomAttrs(r, rm.Resource().Attributes(), 12)
		for range r.IntN(4) {
			sm := rm.ScopeMetrics().AppendEmpty()
			randomScope(r, sm.Scope())
			for range r.IntN(6) {
				m := sm.Metrics().AppendEmpty()
				m.SetName("http.server.request.duration")
				m.SetUnit("s")
				randomAttrs(r, m.Metadata(), 2)
				n := r.IntN(5)
				items -= n
				randomPoints(r, m, n)
			}
		}
	}
	return md
}

// randomPoints gives m data of any kind, none at times, with n points.
func randomPoints(r *rand.Rand, m pmetric.Metric, n int) {
	exemplars := func(es pmetric.ExemplarSlice) {
		for range r.IntN(3) {
			e := es.AppendEmpty()
			e.SetDoubleValue(r.Float64())
			randomAttrs(r, e.FilteredAttributes(), 2)
		}
	}
	numbers := func(ps pmetric.NumberDataPointSlice) {
		for range n {
			p := ps.AppendEmpty()
			p.SetTimestamp(pcommon.Timestamp(r.Uint64()))
			if r.IntN(2) == 0 {
				p.SetIntValue(r.Int64())
			} else {
				p.SetDoubleValue(r.NormFloat64())
			}
			exemplars(p.Exemplars())
			randomAttrs(r, p.Attributes(), 6)
		}
	}
	switch r.IntN(6) {
	case 0:
		numbers(m.SetEmptyGauge().DataPoints())
	case 1:
		m.SetEmptySum().SetIsMonotonic(true)
		numbers(m.Sum().DataPoints())
	case 2:
		for range n {
			p := m.SetEmptyHistogram().DataPoints().AppendEmpty()
			p.BucketCounts().FromRaw([]uint64{1, 2, 300, r.Uint64()})
			p.ExplicitBounds().FromRaw([]float64{.1, 1, 10})
			p.SetSum(1)
			exemplars(p.Exemplars())
			randomAttrs(r, p.Attributes(), 6)
		}
	case 3:
		for range n {
			p := m.SetEmptyExponentialHistogram().DataPoints().AppendEmpty()
			p.SetScale(int32(r.IntN(20) - 10))
			p.Positive().BucketCounts().FromRaw([]uint64{1, 2, 300})
			p.Negative().SetOffset(-3)
			exemplars(p.Exemplars())
			randomAttrs(r, p.Attributes(), 6)
		}
	case 4:
		for range n {
			p := m.SetEmptySummary().DataPoints().AppendEmpty()
			p.QuantileValues().AppendEmpty().SetQuantile(.99)
			randomAttrs(r, p.Attributes(), 6)
		}
	}
}
