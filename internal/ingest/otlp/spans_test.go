package otlp_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/otlp"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// edited is what leaves of raw.
func edited(t testing.TB, raw []byte, c ingest.Content, stamps []labels.Label, rules *ingest.TraceRules) ([]byte, ingest.Result) {
	t.Helper()
	p := otlp.TracesHTTP
	b, err := p.Decode(raw, c)
	if err != nil {
		t.Fatal(err)
	}
	return encodeEdit(t, p, b, ingest.Edit{Form: p.Forms[0], Stamps: stamps, Traces: rules}, raw, c)
}

var (
	trace16 = wire.AppendString(nil, 1, "0123456789abcdef")
	span8   = wire.AppendString(nil, 2, "01234567")
)

// TestInvalidIDs: a span with bad ids goes alone, with the envelopes that it leaves empty; all else stays as it came.
func TestInvalidIDs(t *testing.T) {
	newer := wire.AppendString(nil, 2000, "newer")
	f := func(text string, fields ...[]byte) {
		t.Helper()
		bad := sub(2, append(fields, wire.AppendString(nil, 5, "GET"), newer)...)
		good := sub(2, newer, spanIDs, wire.AppendString(nil, 5, "POST"))
		named := sub(1, attr(1, "service.name", "cart"))
		raw := slices.Concat(
			unknown(3),
			sub(1, unknown(4), named, sub(2, unknown(5), good, bad, good, unknown(6)), sub(2, bad, bad), sub(2, unknown(7)), unknown(8)),
			sub(1, named, sub(2, bad)),
			sub(1, named, sub(1000, bad), sub(1000, bad, good)),
			sub(1, named, sub(2, bad), sub(1000, good)), // what is in 1000 does not count beside a 2
			sub(1, named, unknown(9)),
			unknown(10))
		want := slices.Concat(
			unknown(3),
			sub(1, unknown(4), named, sub(2, unknown(5), good, good, unknown(6)), sub(2, unknown(7)), unknown(8)),
			sub(1, named, sub(1000, good)),
			sub(1, named, unknown(9)),
			unknown(10))
		for _, rules := range []*ingest.TraceRules{nil, {Ratio: 1, FillServiceName: "x"}} {
			out, r := edited(t, raw, ingest.Content{}, nil, rules)
			if !bytes.Equal(out, want) {
				t.Errorf("%s:\n got %q\nwant %q", text, out, want)
			}
			refused := []ingest.Refusal{{Reason: "invalid_id", Items: 7, Text: `span "GET" of service "cart": ` + text}}
			if !slices.Equal(r.Refused, refused) || len(r.Dropped) > 0 || r.Sent.Items != 3 {
				t.Errorf("%s: %+v", text, r)
			}
		}
		if err := ptraceotlp.NewExportRequest().UnmarshalProto(want); err != nil {
			t.Errorf("%s: what is left does not decode: %v", text, err)
		}
		// What is bad has to be: pdata, which Tempo receives with, refuses all of it or has no id.
		for _, s := range spansOrNone(sub(1, sub(2, bad))) {
			if !s.TraceID().IsEmpty() && !s.SpanID().IsEmpty() {
				t.Errorf("%s: it has good ids", text)
			}
		}
	}
	const trace, span = "trace_id must be 16 bytes, not all zero", "span_id must be 8 bytes, not all zero"
	f(trace)
	f(trace, span8)
	f(trace, span8, sub(1))
	f(trace, span8, sub(1, make([]byte, 16)))
	f(trace, span8, sub(1, make([]byte, 8)))
	f(trace, span8, wire.AppendString(nil, 1, "01234567"))
	f(trace, span8, wire.AppendString(nil, 1, "0123456789abcdef0"))
	f(trace, span8, wire.AppendVarint(nil, 1, 7))
	f(trace, span8, wire.AppendString(nil, 1, "x"), trace16)
	f(trace, span8, trace16, sub(1))
	f(span, trace16)
	f(span, trace16, sub(2, make([]byte, 8)))
	f(span, trace16, wire.AppendString(nil, 2, "0123456789abcdef"))
	f(span, wire.AppendString(nil, 2, "1"), spanIDs)
	f("parent_span_id must be 8 bytes or none", spanIDs, wire.AppendString(nil, 4, "0123456"))
	f("the ids of a link must be 16 and 8 bytes", spanIDs, sub(13, span8), sub(13, trace16, wire.AppendString(nil, 2, "0")))

	// Neither a parent nor a link has to have ids that mean something.
	fine := sub(1, sub(2, sub(2, sub(1), spanIDs, sub(4, make([]byte, 8)), sub(4), sub(13), sub(13, sub(1, make([]byte, 16)), sub(2)))))
	if _, r := edited(t, fine, ingest.Content{}, nil, nil); !r.Unchanged || len(spansOrNone(fine)) != 1 {
		t.Errorf("%+v", r)
	}

	name := wire.AppendString(nil, 5, strings.Repeat("ü", 80)+"\xff")
	_, r := edited(t, sub(1, sub(2, sub(2, name))), ingest.Content{}, nil, nil)
	if want := `span "` + strings.Repeat("ü", 50) + `" of service "": ` + trace; len(r.Refused) != 1 || r.Refused[0].Text != want {
		t.Errorf("%+v, want %q", r.Refused, want)
	}
}

// spansOrNone are the spans that pdata finds.
func spansOrNone(proto []byte) (spans []ptrace.Span) {
	req := ptraceotlp.NewExportRequest()
	if req.UnmarshalProto(proto) != nil || req.Traces().SpanCount() == 0 {
		return nil
	}
	ss := req.Traces().ResourceSpans().At(0).ScopeSpans().At(0)
	for _, s := range ss.Spans().All() {
		spans = append(spans, s)
	}
	return spans
}

// TestInvalidIDsInJSON: pdata refuses a whole push for an id of the wrong length, or for one that is not hexadecimal.
func TestInvalidIDsInJSON(t *testing.T) {
	const ids = `"traceId":"30313233343536373839616263646566","spanId":"3031323334353637"`
	f := func(refused, sent int, spans string) {
		t.Helper()
		body := `{"newer":{"traceId":"x"},"resourceSpans":[{"scopeSpans":[{"spans":[` + spans + `]}]}]}`
		out, r := edited(t, []byte(body), ingest.Content{JSON: true}, nil, nil)
		if o := outcomeOf(r); o.refused != refused || o.sent != sent || len(spansOf(t, out)) != sent {
			t.Errorf("%s: %+v", spans, o)
		}
	}
	good := `{` + ids + `,"name":"good"}`
	f(0, 1, good)
	f(1, 2, good+`, {"traceId":"0102","spanId":"3031323334353637"} , `+good)
	f(1, 1, `{`+ids+`,"traceId":"`+strings.Repeat("g", 32)+`"},`+good)
	f(1, 1, `{"trace_id":"MDEyMzQ1Njc4OWFiY2RlZg==","span_id":"MDEyMzQ1Njc=", "attributes":[{"key":"a","value":{"stringValue":"}]{\"["}}]},`+good)
	f(1, 1, `{`+ids+`,"parentSpanId":"1" },`+good)
	f(1, 1, `{"links":[{},{"traceId":"30313233343536373839616263646566","spanId":"1"},{"trace_id":"2"}],`+ids+`},`+good)
	f(2, 1, `{"spanId":"1"},{"spanId":"2"},`+good)
	f(1, 1, `{"spanId":"1"},{`+ids+`,"attributes":[{"key":"a","traceId":"1","value":{"kvlistValue":{"values":[{"spanId":"2"}]}}}]}`)
}

// TestServiceNames: which names are none, and what fills them.
func TestServiceNames(t *testing.T) {
	span := sub(2, sub(2, spanIDs))
	fill := &ingest.TraceRules{Ratio: 1, FillServiceName: "client"}
	filled := attr(1, "service.name", "client")
	f := func(unnamed bool, want []byte, rs ...[]byte) {
		t.Helper()
		n := 0
		if unnamed {
			n = 2
		}
		raw := sub(1, append(rs, span, span)...)
		if _, r := edited(t, raw, ingest.Content{}, nil, nil); r.Unnamed != n || !r.Unchanged {
			t.Errorf("%q: without rules %+v", raw, r)
		}
		out, r := edited(t, raw, ingest.Content{}, nil, fill)
		if r.Unnamed != n || r.Unchanged == unnamed || !bytes.Equal(out, sub(1, want, span, span)) {
			t.Errorf("%q: %+v\n got %q\nwant %q", raw, r, out, sub(1, want, span, span))
		}
		// The same with stamps, which come before and win.
		stamp := []labels.Label{{Name: "service.name", Value: "unknown_service"}}
		if out, _ = edited(t, raw, ingest.Content{}, stamp, fill); bytes.Contains(out, []byte("client")) || !bytes.Contains(out, []byte(stamp[0].Value)) {
			t.Errorf("%q, stamped: %q", raw, out)
		}
	}
	other := attr(1, "host.name", "h")
	f(true, sub(1, filled))
	f(true, sub(1, filled), sub(1))
	f(true, sub(1, other, unknown(1), filled), sub(1, other, unknown(1)))
	f(true, sub(1, filled, other), sub(1, attr(1, "service.name", ""), other))
	f(true, sub(1, other, filled), sub(1, other, attr(1, "service.name", "unknown_service")))
	f(true, sub(1, other, filled), sub(1, other, attr(1, "service.name", "unknown_service:java"), attr(1, "service.name", "cart")))
	f(true, sub(1, filled), sub(1, sub(1, wire.AppendString(nil, 1, "service.name"), sub(2, wire.AppendVarint(nil, 3, 5)))))
	f(true, sub(1, filled), sub(1, sub(1, wire.AppendString(nil, 1, "service.name"))))
	f(true, sub(1, filled), sub(1, sub(1, wire.AppendString(nil, 1, "service.name"), sub(2, wire.AppendString(nil, 1, "x"), wire.AppendVarint(nil, 2, 1)))))
	f(true, slices.Concat(sub(1, other), sub(1, other, filled)), sub(1, other), sub(1, other))
	for _, named := range [][]byte{
		sub(1, attr(1, "service.name", "unknown")),
		sub(1, other, attr(1, "service.name", "cart"), attr(1, "service.name", "unknown_service")),
		slices.Concat(sub(1, other), sub(1, attr(1, "service.name", "my_unknown_service"))),
		sub(1, sub(1, sub(2, wire.AppendString(nil, 1, "x")), wire.AppendString(nil, 1, "a"), wire.AppendString(nil, 1, "service.name"))),
	} {
		f(false, named, named)
	}
}

// randomTraceIDs is a push of n spans with random ids in resources of a few spans each.
func randomTraceIDs(r *rand.Rand, n int) ptrace.Traces {
	td := ptrace.NewTraces()
	var ss ptrace.ScopeSpans
	for i := range n {
		if i%50 == 0 {
			rs := td.ResourceSpans().AppendEmpty()
			rs.Resource().Attributes().PutStr("service.name", []string{"checkout", "cart"}[i/50%2])
			ss = rs.ScopeSpans().AppendEmpty()
		}
		s := ss.Spans().AppendEmpty()
		trace, id := randomIDs(r)
		s.SetTraceID(trace)
		s.SetSpanID(id)
	}
	return td
}

func keptOf(t *testing.T, td ptrace.Traces, rules *ingest.TraceRules) (kept map[pcommon.TraceID]string, out []byte) {
	t.Helper()
	out, r := edited(t, must(ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()), ingest.Content{}, nil, rules)
	kept = map[pcommon.TraceID]string{}
	for _, s := range spansOf(t, out) {
		kept[s.TraceID()] = s.TraceState().AsRaw()
	}
	if len(kept) != r.Sent.Items {
		t.Fatalf("%d spans left, %d are said to be", len(kept), r.Sent.Items)
	}
	return kept, out
}

// TestShares: as many are kept as should be, those of a small ratio are among those of a greater one, and however often
// and wherever spans are sampled, the least ratio counts.
func TestShares(t *testing.T) {
	const n = 100_000
	td := randomTraceIDs(rand.New(rand.NewPCG(9, 10)), n)
	var last map[pcommon.TraceID]string
	for _, ratio := range []float64{0, .001, .01, .1, .2, .25, 1. / 3, .5, .9, .999, 1} {
		rules := &ingest.TraceRules{Ratio: ratio}
		kept, _ := keptOf(t, td, rules)
		if sigma := math.Sqrt(n * ratio * (1 - ratio)); math.Abs(float64(len(kept))-n*ratio) > 4*sigma {
			t.Errorf("ratio %v: %d of %d kept", ratio, len(kept), n)
		}
		for id := range last {
			if _, ok := kept[id]; !ok {
				t.Fatalf("%v is kept at a smaller ratio but not at %v", id, ratio)
			}
		}
		last = kept
	}

	half, quarter := &ingest.TraceRules{Ratio: .5}, &ingest.TraceRules{Ratio: .25}
	want, _ := keptOf(t, td, quarter)
	for _, order := range [][2]*ingest.TraceRules{{half, quarter}, {quarter, half}, {quarter, quarter}} {
		_, once := keptOf(t, td, order[0])
		req := ptraceotlp.NewExportRequest()
		if err := req.UnmarshalProto(once); err != nil {
			t.Fatal(err)
		}
		if twice, _ := keptOf(t, req.Traces(), order[1]); !equalMaps(twice, want) {
			t.Errorf("%v, then %v: %d kept, want %d", order[0].Ratio, order[1].Ratio, len(twice), len(want))
		}
	}
}

func equalMaps(a, b map[pcommon.TraceID]string) bool {
	for id, state := range a {
		if b[id] != state || state == "" {
			return false
		}
	}
	return len(a) == len(b)
}

// TestSplitting: it does not matter in which pushes spans come, or by which door.
func TestSplitting(t *testing.T) {
	td := randomTraceIDs(rand.New(rand.NewPCG(11, 12)), 1000)
	rules := &ingest.TraceRules{Ratio: .3, Services: []ingest.ServiceRatio{{Service: "checkout", Ratio: .1}, {Service: "checkout", Ratio: 1}}}
	want, _ := keptOf(t, td, rules)
	got := map[pcommon.TraceID]string{}
	shares := map[string]int{}
	for i, rs := range td.ResourceSpans().All() {
		one := ptrace.NewTraces()
		rs.CopyTo(one.ResourceSpans().AppendEmpty())
		c := ingest.Content{JSON: i%2 == 0}
		raw := must(ptraceotlp.NewExportRequestFromTraces(one).MarshalProto())
		if c.JSON {
			raw = must(ptraceotlp.NewExportRequestFromTraces(one).MarshalJSON())
		}
		out, _ := edited(t, raw, c, nil, rules)
		for _, s := range spansOf(t, out) {
			got[s.TraceID()] = s.TraceState().AsRaw()
			shares[nameOf(rs)]++
		}
	}
	if !equalMaps(got, want) {
		t.Errorf("%d kept, together %d", len(got), len(want))
	}
	if shares["checkout"] == 0 || shares["checkout"] > shares["cart"]*2/3 {
		t.Errorf("500 spans of either: %v", shares)
	}
}

// TestSamplingBytes: what is not changed stays as it came, and empty envelopes stay where they came empty.
func TestSamplingBytes(t *testing.T) {
	id := func(first byte) []byte {
		return slices.Concat(sub(1, []byte{15: 1, 9: first}), span8)
	}
	const low, mid = 0x10, 0x90
	half := &ingest.TraceRules{Ratio: .5}
	state := func(s string) []byte { return wire.AppendString(nil, 3, s) }
	f := func(dropped int, raw, want []byte) {
		t.Helper()
		out, r := edited(t, raw, ingest.Content{}, nil, half)
		if !bytes.Equal(out, want) || itemsOf(r.Dropped) != dropped || dropped > 0 && r.Dropped[0].Reason != "sampled" {
			t.Errorf("%+v\n got %q\nwant %q", r, out, want)
		}
	}
	away := sub(2, id(low), unknown(1))
	f(3,
		slices.Concat(unknown(2), sub(1, sub(2, away), sub(2, unknown(3), away, sub(2, id(mid), unknown(4)), away, unknown(5)), sub(2), unknown(6)), sub(1)),
		slices.Concat(unknown(2), sub(1, sub(2, unknown(3), sub(2, id(mid), unknown(4), state("ot=th:8")), unknown(5)), sub(2), unknown(6)), sub(1)))
	f(1, sub(1, sub(2, away)), nil)
	f(1, sub(1, unknown(1), sub(2, away), sub(1000, away)), nil)
	f(1, sub(1, sub(2), sub(2, away)), sub(1, sub(2)))
	f(0, sub(1, sub(2)), sub(1, sub(2)))
	f(0,
		sub(1, sub(2, sub(2, state("ot=p:1"), unknown(7), id(mid)))),
		sub(1, sub(2, sub(2, state("ot=th:8;p:1"), unknown(7), id(mid)))))
	// Where there are two, the last one counts.
	f(0,
		sub(1, sub(2, sub(2, state("ot=rv:00000000000000"), id(mid), state("a=b"), unknown(7)))),
		sub(1, sub(2, sub(2, state("ot=rv:00000000000000"), id(mid), state("ot=th:8,a=b"), unknown(7)))))
	f(0,
		sub(1, sub(2, sub(2, state("ot=th:1"), id(mid), state("ot=th:a"), unknown(7)))),
		sub(1, sub(2, sub(2, state("ot=th:1"), id(mid), state(""), unknown(7)))))

	// Errors may be in a status of two parts, and a code may be negative.
	keep := func(want bool, status ...[]byte) {
		t.Helper()
		raw := sub(1, sub(2, sub(2, append(status, id(low))...)))
		if _, r := edited(t, raw, ingest.Content{}, nil, &ingest.TraceRules{KeepErrors: true}); r.Sent.Items > 0 != want {
			t.Errorf("%q: %+v", raw, r)
		}
	}
	code := func(n uint64) []byte { return sub(15, wire.AppendVarint(nil, 3, n)) }
	keep(true, code(2))
	keep(true, code(2), sub(15, wire.AppendString(nil, 2, "no")))
	keep(true, code(2+1<<32))
	keep(false, code(2), code(1))
	keep(false, code(math.MaxUint64))
	keep(false)

	// 32 members are what W3C allows; pkg/sampling takes 31.
	members := func(n int) string { return strings.Repeat("a=b,", n-1) + "a=b" }
	span := func(s string) []byte { return sub(1, sub(2, sub(2, state(s), id(mid)))) }
	f(0, span(members(31)), span("ot=th:8,"+members(31)))
	f(0, span(members(32)), span(members(32)))
	f(0, span(members(33)), span(members(33)))
	f(0, span(members(31)+",ot=th:4"), span("ot=th:8,"+members(31)))
	f(0, span(members(32)+",ot=rv:00000000000000"), span(members(32)+",ot=rv:00000000000000"))
}

// TestUnchanged: what no rule touches leaves as it came.
func TestUnchanged(t *testing.T) {
	raw := oneSpan([16]byte{1}, "ot=th:4", false, "cart")
	f := func(unchanged bool, stamps []labels.Label, rules ingest.TraceRules) {
		t.Helper()
		if _, r := edited(t, raw, ingest.Content{}, stamps, &rules); r.Unchanged != unchanged {
			t.Errorf("%+v: unchanged %t", rules, r.Unchanged)
		}
	}
	f(true, nil, ingest.TraceRules{Ratio: 1, KeepErrors: true, FillServiceName: "x"})
	f(true, nil, ingest.TraceRules{Ratio: 1, Services: []ingest.ServiceRatio{{Service: "other", Ratio: 0}}})
	f(true, nil, ingest.TraceRules{Ratio: 0, Services: []ingest.ServiceRatio{{Service: "cart", Ratio: 1}}})
	f(false, nil, ingest.TraceRules{Ratio: 1, Services: []ingest.ServiceRatio{{Service: "cart", Ratio: .5}}})
	f(false, nil, ingest.TraceRules{Ratio: .5})
	f(false, []labels.Label{{Name: "service.name", Value: "other"}}, ingest.TraceRules{Ratio: 1, Services: []ingest.ServiceRatio{{Service: "other", Ratio: 0}}})
	if _, r := edited(t, nil, ingest.Content{}, stamps, &ingest.TraceRules{FillServiceName: "x"}); !r.Unchanged {
		t.Errorf("an empty push: %+v", r)
	}
}

// TestSamplingBound has the growth of spans push every message around it over the next size: encodeEdit compares.
func TestSamplingBound(t *testing.T) {
	id := slices.Concat(sub(1, bytes.Repeat([]byte{0xff}, 16)), span8)
	rules := &ingest.TraceRules{Ratio: .1, FillServiceName: "client"}
	for _, around := range []int{128, 16384, 1 << 21} {
		for size := max(0, around-110); size < around+3; size++ {
			for _, state := range []string{"", "ot=p:8", "ot=th:0", "a=" + strings.Repeat("b", 100), "a=" + strings.Repeat("b", 120)} {
				span := sub(2, id, wire.AppendString(nil, 99, string(make([]byte, max(0, size-len(state))))), wire.AppendString(nil, 3, state))
				for _, stamps := range [][]labels.Label{nil, stamps} {
					for _, n := range []int{1, 60} {
						if n > 1 && (around > 1<<14 || around > 128 && size%8 > 0) {
							continue // a megabyte each
						}
						raw := sub(1, bytes.Repeat(sub(2, span), n))
						out, r := edited(t, raw, ingest.Content{}, stamps, rules)
						if r.Sent.Items != n || bytes.Count(out, []byte("th:e6666666666666")) != n {
							t.Fatalf("%+v", outcomeOf(r))
						}
					}
				}
			}
			if around > 1<<20 {
				size += 100 // each round takes megabytes
			}
		}
	}
}
