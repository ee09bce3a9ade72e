package otlp_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// TestTakenAgain: what was taken from the last span is taken from the next one only if that has the same attributes and the
// Reducer says the same of it. Attribute do says what is to go ("+" comes); names are what span has, "name=" without a value, which no rule sees.
func TestTakenAgain(t *testing.T) {
	change := labels.Change{Keep: make([]uint64, 1)}
	item := func(set *labels.Set) (*labels.Change, ingest.Verdict) {
		do := set.All[set.Find("do")].Value
		if do == "nothing" {
			return nil, ingest.Pass
		}
		change.Keep[0], change.Add = ^uint64(0), nil
		for _, name := range strings.Fields(do) {
			if add, ok := strings.CutPrefix(name, "+"); ok {
				change.Add = append(change.Add, labels.Label{Name: add, Value: "new"})
			} else if i := set.Find(name); i >= 0 {
				change.Keep[0] &^= 1 << i
			}
		}
		return &change, ingest.Pass
	}
	f := func(scopes ...[][2]string) {
		t.Helper()
		td := ptrace.NewTraces()
		var want []string
		for n, spans := range scopes {
			scope := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
			scope.Scope().SetName(strings.Repeat("s", n%2)) // with or without a label more
			for _, s := range spans {
				span := scope.Spans().AppendEmpty()
				span.SetTraceID(pcommon.TraceID{1})
				span.SetSpanID(pcommon.SpanID{1})
				span.Attributes().PutStr("do", s[0])
				left := pcommon.NewMap()
				left.PutStr("do", s[0])
				for _, name := range strings.Fields(s[1]) {
					name, blank := strings.CutSuffix(name, "=")
					value := "v"
					if blank {
						value = ""
					}
					span.Attributes().PutStr(name, value)
					if fields := strings.Fields(s[0]); (blank || !slices.Contains(fields, name)) && !slices.Contains(fields, "+"+name) {
						left.PutStr(name, value)
					}
				}
				for _, name := range strings.Fields(s[0]) {
					if add, ok := strings.CutPrefix(name, "+"); ok {
						left.PutStr(add, "new")
					}
				}
				want = append(want, fmt.Sprint(left.AsRaw()))
			}
		}
		raw := must(ptraceotlp.NewExportRequestFromTraces(td).MarshalProto())
		b, err := references["traces"].http.Decode(raw, ingest.Content{})
		if err == nil {
			err = b.Reduce(&ingest.Reducer{Item: item})
		}
		if err != nil {
			t.Fatal(err)
		}
		req := ptraceotlp.NewExportRequest()
		if err = req.UnmarshalProto(encode(t, references["traces"].http, b, nil, raw, ingest.Content{})); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, rs := range req.Traces().ResourceSpans().All() {
			for _, span := range rs.ScopeSpans().At(0).Spans().All() {
				got = append(got, fmt.Sprint(span.Attributes().AsRaw()))
			}
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%v:\ngot  %v\nwant %v", scopes, got, want)
		}
	}
	f([][2]string{{"b", "a b c"}, {"b", "a b c"}, {"c", "a b c"}, {"nothing", "a b c"}, {"b", "a b c"}})
	f([][2]string{{"b", "a b c"}, {"b", "b a c"}, {"b", "a c"}, {"b", "a b c d"}})
	f([][2]string{{"b +x", "a b c"}, {"b", "a b c"}, {"b +x", "a b c"}, {"b +x", "a b c x="}, {"b", "a b c x="}, {"b", "a b= c"}, {"b", "a b c"}})
	f([][2]string{{"x", "a b c"}, {"x", "a b c"}, {"x a", "a b c"}, {"x a", "x a b c"}})
	f([][2]string{{"b", "a b z"}, {"b", "a b z"}}, [][2]string{{"b", "a b z"}, {"z", "a b z"}}, [][2]string{{"z", "a b z"}})
}
