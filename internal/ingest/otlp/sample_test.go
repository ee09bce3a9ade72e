package otlp_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/sampling"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/otlp"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// outcome is what became of a push.
type outcome struct {
	sent, sampled, refused, unnamed int
}

func outcomeOf(r ingest.Result) outcome {
	return outcome{r.Sent.Items, itemsOf(r.Dropped), itemsOf(r.Refused), r.Unnamed}
}

// expect is what should become of the push raw, made with pdata and pkg/sampling.
func expect(raw []byte, stamps []labels.Label, rules *ingest.TraceRules) (view []byte, o outcome, err error) {
	req := ptraceotlp.NewExportRequest()
	if err := req.UnmarshalProto(raw); err != nil {
		return nil, o, err
	}
	if rules == nil {
		rules = &ingest.TraceRules{Ratio: 1}
	}
	thresholds := make(map[ptrace.ResourceSpans]sampling.Threshold)
	for _, rs := range req.Traces().ResourceSpans().All() {
		all := stamps
		if name := nameOf(rs); name == "" || strings.HasPrefix(name, "unknown_service") {
			for _, ss := range rs.ScopeSpans().All() {
				o.unnamed += ss.Spans().Len()
			}
			stamped := slices.ContainsFunc(stamps, func(l labels.Label) bool { return l.Name == "service.name" })
			if rules.FillServiceName != "" && !stamped {
				all = append(slices.Clone(stamps), labels.Label{Name: "service.name", Value: rules.FillServiceName})
			}
		}
		stampMap(rs.Resource().Attributes(), all)
		ratio := rules.Ratio
		if i := slices.IndexFunc(rules.Services, func(s ingest.ServiceRatio) bool { return s.Service == nameOf(rs) }); i >= 0 {
			ratio = rules.Services[i].Ratio
		}
		thresholds[rs] = thresholdOf(ratio)
	}
	removeSpans(req.Traces(), func(rs ptrace.ResourceSpans, s ptrace.Span) bool {
		if s.TraceID().IsEmpty() || s.SpanID().IsEmpty() {
			o.refused++
			return true
		}
		t := thresholds[rs]
		if t == sampling.AlwaysSampleThreshold {
			return false
		}
		if keep, state := sampleSpan(s, t, rules.KeepErrors); keep {
			s.TraceState().FromRaw(state)
			return false
		}
		o.sampled++
		return true
	})
	o.sent = req.Traces().SpanCount()
	view, err = req.MarshalProto()
	return view, o, err
}

func nameOf(rs ptrace.ResourceSpans) string {
	if v, ok := rs.Resource().Attributes().Get("service.name"); ok && v.Type() == pcommon.ValueTypeStr {
		return v.Str()
	}
	return ""
}

func thresholdOf(ratio float64) sampling.Threshold {
	if ratio <= 0 {
		return sampling.NeverSampleThreshold
	}
	if !(ratio < 1) {
		return sampling.AlwaysSampleThreshold
	}
	t, err := sampling.ProbabilityToThreshold(max(ratio, sampling.MinSamplingProbability))
	if err != nil {
		panic(err)
	}
	return t
}

// sampleSpan is one decision by pkg/sampling, and the tracestate that it leaves.
func sampleSpan(s ptrace.Span, t sampling.Threshold, keepErrors bool) (keep bool, state string) {
	raw := s.TraceState().AsRaw()
	random := sampling.TraceIDToRandomness(s.TraceID())
	w3c, err := sampling.NewW3CTraceState(raw)
	ot := w3c.OTelValue()
	th, hasTh := ot.TValueThreshold()
	if rv, ok := ot.RValueRandomness(); ok && err == nil {
		random = rv
	}
	kept := t.ShouldSample(random)
	if !kept && !(keepErrors && s.Status().Code() == ptrace.StatusCodeError) {
		return false, ""
	}
	switch {
	case err != nil:
		return true, raw
	case !kept, hasTh && !th.ShouldSample(random):
		if !hasTh {
			return true, raw
		}
		ot.ClearTValue()
	case hasTh && !sampling.ThresholdGreater(t, th):
		return true, raw
	default:
		if err := ot.UpdateTValueWithSampling(t); err != nil {
			panic(err)
		}
		var b strings.Builder
		if err := ot.Serialize(&b); err != nil {
			panic(err)
		}
		otBytes := b.Len()
		b.Reset()
		if err := w3c.Serialize(&b); err != nil {
			panic(err)
		}
		if otBytes <= 256 && (b.Len() <= 512 || b.Len() <= len(raw)) {
			break
		}
		if !hasTh {
			return true, raw
		}
		ot.ClearTValue() // there is no room to say the truth
	}
	var b strings.Builder
	if err := w3c.Serialize(&b); err != nil {
		panic(err)
	}
	return true, b.String()
}

// sample compares what leaves of raw with what should.
func sample(t testing.TB, raw []byte, c ingest.Content, stamps []labels.Label, rules *ingest.TraceRules) (out []byte, o outcome) {
	t.Helper()
	source := raw
	if c.JSON {
		var err error
		if source, _, err = references["traces"].viewJSON(raw); err != nil {
			t.Fatal(err)
		}
	}
	want, wantOutcome, err := expect(source, stamps, rules)
	if err != nil {
		t.Fatal(err)
	}
	p := otlp.TracesHTTP
	b, err := p.Decode(raw, c)
	if err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(raw)
	out, r := encodeEdit(t, p, b, ingest.Edit{Form: p.Forms[0], Stamps: stamps, Traces: rules}, raw, c)
	if !bytes.Equal(raw, before) {
		t.Fatal("what was received was written to")
	}
	if o = outcomeOf(r); o != wantOutcome {
		t.Fatalf("%+v, want %+v", o, wantOutcome)
	}
	view := ptraceotlp.NewExportRequest()
	if err := view.UnmarshalProto(out); err != nil {
		t.Fatal(err)
	}
	if got := must(view.MarshalProto()); !bytes.Equal(got, want) {
		t.Fatal("pdata and pkg/sampling make something else of it")
	}
	return out, o
}

// randomState makes tracestates of all kinds.
func randomState(r *rand.Rand) string {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	digits := func(n int) string { return fmt.Sprintf("%014x", r.Uint64()>>8)[:n] }
	field := func() string {
		switch r.IntN(14) {
		case 0, 1, 2:
			return "th:" + digits(1+r.IntN(14))
		case 3:
			return "th:" + pick("0", "8", "c", "C", "e6666666666666", "fffffffffffff")
		case 4, 5, 6:
			return "rv:" + digits(14)
		case 7:
			return pick("th:", "th:x", "th:123456789012345", "rv:1", "rv:", "rv:1234567890123_", "th", ":", "", "A:b", "th:+1", "a b:c", "th:8:9")
		case 8:
			return "x:" + strings.Repeat("y", r.IntN(250))
		}
		return pick("p:8", "r:62", "a:", "k1:A.b_c-d", "thx:8", "rvx:1")
	}
	member := func() string {
		switch r.IntN(12) {
		case 0, 1, 2, 3, 4:
			fields := make([]string, 1+r.IntN(4))
			for i := range fields {
				fields[i] = field()
			}
			return "ot=" + strings.Join(fields, ";")
		case 5:
			return pick("", " ", "\t", "ot=", "=x", "x", "A=b", "a=b=c", "a=ä", "a= b", "@a=b", "a@=b", "a@1=b", "a=\x7f", "ot =th:8", "9=x")
		case 6:
			return "long=" + strings.Repeat("z", r.IntN(258))
		}
		return pick("congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7", "tenant1@system=x y", "a/b*c=1", "ott=th:8", "x@ot=th:4")
	}
	if r.IntN(4) == 0 {
		return ""
	}
	members := make([]string, 1+r.IntN(5))
	if r.IntN(20) == 0 {
		members = make([]string, 26+r.IntN(5)) // up to 30: with 32 the reference refuses what W3C allows
	}
	for i := range members {
		members[i] = pick("", "", "", " ", "\t") + member() + pick("", "", "", " ")
	}
	return strings.Join(members, ",")
}

// randomSpans is randomTraces with more to sample: tracestates, names of services, missing ids.
func randomSpans(r *rand.Rand, items int) ptrace.Traces {
	td := randomTraces(r, items)
	for _, rs := range td.ResourceSpans().All() {
		switch name := []string{"checkout", "cart", "", "unknown_service", "unknown_service:java", "unknown"}[r.IntN(6)]; r.IntN(5) {
		case 0:
		case 1:
			rs.Resource().Attributes().PutInt("service.name", 5)
		default:
			rs.Resource().Attributes().PutStr("service.name", name)
		}
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				s.TraceState().FromRaw(randomState(r))
				switch r.IntN(30) {
				case 0:
					s.SetTraceID([16]byte{})
				case 1:
					s.SetSpanID([8]byte{})
				}
			}
		}
	}
	return td
}

func randomRules(r *rand.Rand) (choice []labels.Label, rules *ingest.TraceRules) {
	ratio := func() float64 { return []float64{0, 1, .5, .25, .1, 1. / 3, .9, 1e-3, r.Float64()}[r.IntN(9)] }
	rules = &ingest.TraceRules{Ratio: ratio(), KeepErrors: r.IntN(2) == 0}
	for range r.IntN(3) {
		rules.Services = append(rules.Services, ingest.ServiceRatio{Service: []string{"checkout", "cart", "filled", "", "stamped"}[r.IntN(5)], Ratio: ratio()})
	}
	if r.IntN(2) == 0 {
		rules.FillServiceName = "filled"
	}
	choice = [][]labels.Label{nil, stamps, {{Name: "service.name", Value: "stamped"}}}[r.IntN(3)]
	if r.IntN(8) == 0 {
		rules = nil
	}
	return choice, rules
}

// TestSampling: whatever comes, it is what pdata and pkg/sampling make of it, as protobuf and as JSON.
func TestSampling(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	var sum outcome
	for range 500 {
		req := ptraceotlp.NewExportRequestFromTraces(randomSpans(r, r.IntN(40)))
		stamps, rules := randomRules(r)
		proto, o := sample(t, must(req.MarshalProto()), ingest.Content{}, stamps, rules)
		json, _ := sample(t, must(req.MarshalJSON()), ingest.Content{JSON: true}, stamps, rules)
		if !bytes.Equal(viewOf(t, references["traces"], proto), viewOf(t, references["traces"], json)) {
			t.Fatal("JSON is sampled otherwise than protobuf")
		}
		sum.sent, sum.sampled, sum.refused, sum.unnamed = sum.sent+o.sent, sum.sampled+o.sampled, sum.refused+o.refused, sum.unnamed+o.unnamed
	}
	if sum.sent < 1000 || sum.sampled < 1000 || sum.refused < 100 || sum.unnamed < 1000 {
		t.Errorf("%+v: too little of something to mean anything", sum)
	}
}

// oneSpan is a push of one span.
func oneSpan(id [16]byte, state string, failed bool, service string) []byte {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	if service != "" {
		rs.Resource().Attributes().PutStr("service.name", service)
	}
	s := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	s.SetTraceID(id)
	s.SetSpanID([8]byte{1})
	s.SetName("GET /cart")
	s.TraceState().FromRaw(state)
	if failed {
		s.Status().SetCode(ptrace.StatusCodeError)
	}
	return must(ptraceotlp.NewExportRequestFromTraces(td).MarshalProto())
}

// spansOf are the spans of a push.
func spansOf(t testing.TB, proto []byte) (spans []ptrace.Span) {
	t.Helper()
	req := ptraceotlp.NewExportRequest()
	if err := req.UnmarshalProto(proto); err != nil {
		t.Fatal(err)
	}
	for _, rs := range req.Traces().ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				spans = append(spans, s)
			}
		}
	}
	return spans
}

// TestTraceState writes down what th becomes.
func TestTraceState(t *testing.T) {
	const gone = "gone"
	half, tenth := &ingest.TraceRules{Ratio: .5}, &ingest.TraceRules{Ratio: .1}
	f := func(rules *ingest.TraceRules, random uint64, failed bool, state, want string) {
		t.Helper()
		id := [16]byte{0xff, 8: 0xff} // neither is part of the randomness
		binary.BigEndian.PutUint64(id[8:], 0xff<<56|random)
		out, _ := sample(t, oneSpan(id, state, failed, "cart"), ingest.Content{}, nil, rules)
		got := gone
		if spans := spansOf(t, out); len(spans) == 1 {
			got = spans[0].TraceState().AsRaw()
		}
		if got != want {
			t.Errorf("ratio %v, randomness %014x, %q: %q, want %q", rules.Ratio, random, state, got, want)
		}
	}
	const low, mid, top = 0x7fffffffffffff, 0x80000000000000, 0xffffffffffffff
	f(half, mid, false, "", "ot=th:8")
	f(half, low, false, "", gone)
	f(tenth, top, false, "", "ot=th:e6666666666666")
	f(tenth, 0xe6666666666665, false, "", gone)
	f(&ingest.TraceRules{Ratio: 1}, 0, false, "a=b,ot=th:0", "a=b,ot=th:0")
	f(&ingest.TraceRules{Ratio: 0}, top, false, "", gone)
	f(&ingest.TraceRules{Ratio: 1e-30}, top, false, "", "ot=th:ffffffffffffff")
	f(&ingest.TraceRules{Ratio: math.NaN()}, 0, false, "", "")

	f(half, mid, false, "ot=th:0", "ot=th:8")
	f(half, mid, false, "ot=th:8", "ot=th:8")
	f(half, top, false, "a=b , ot=th:c", "a=b , ot=th:c") // nothing is touched where nothing changes
	f(half, mid, false, "a=b , ot=p:8;th:4;rv:c0000000000000;k1:x,, c=d", "ot=rv:c0000000000000;th:8;p:8;k1:x,a=b,c=d")
	f(half, mid, false, "a=b,c@d=e", "ot=th:8,a=b,c@d=e")
	f(half, low, false, "ot=rv:80000000000000", "ot=rv:80000000000000;th:8")
	f(half, top, false, "ot=rv:7fffffffffffff", gone)

	f(half, mid, false, "a=b,ot=th:9", "a=b") // a th that randomness contradicts
	f(half, mid, false, "ot=th:9;p:8", "ot=p:8")
	f(half, mid, false, "ot=th:9", "")
	f(half, low, false, "ot=th:9", gone)

	errors := &ingest.TraceRules{Ratio: .5, KeepErrors: true}
	f(errors, low, true, "ot=th:4;p:8", "ot=p:8")
	f(errors, low, true, "", "")
	f(errors, low, true, "a=b", "a=b")
	f(errors, low, false, "", gone)
	f(errors, mid, true, "", "ot=th:8")
	f(&ingest.TraceRules{KeepErrors: true}, top, true, "ot=th:4", "")

	for _, malformed := range []string{"ot=th:g", "ot=th:123456789012345", "ot=rv:123", "OT=th:8", "ot=th:8;", "ot", "a=ä", strings.Repeat("a=b,", 257)} {
		f(half, mid, false, malformed, malformed)
		f(half, low, false, malformed, gone)
		f(errors, low, true, malformed, malformed)
	}

	// Where there is no room for the truth, nothing is said.
	long := func(n int) string { return "x:" + strings.Repeat("y", n-2) }
	f(tenth, top, false, "ot="+long(238), "ot=th:e6666666666666;"+long(238))
	f(tenth, top, false, "ot="+long(239), "ot="+long(239))
	f(tenth, top, false, "ot="+long(239)+";th:8", "ot="+long(239))
	big := "a=" + strings.Repeat("b", 200) + ",c=" + strings.Repeat("d", 250)
	f(half, mid, false, big+",e="+strings.Repeat("f", 45), "ot=th:8,"+big+",e="+strings.Repeat("f", 45))
	f(half, mid, false, big+",e="+strings.Repeat("f", 47), big+",e="+strings.Repeat("f", 47))
	f(half, mid, false, "ot=th:4,"+big+",e="+strings.Repeat("f", 99), "ot=th:8,"+big+",e="+strings.Repeat("f", 99))
	f(tenth, top, false, "ot=th:4,"+big+",e="+strings.Repeat("f", 99), big+",e="+strings.Repeat("f", 99))
}
