package otlp_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// stricter are the ways in which the doors are stricter than pdata on purpose; the package comment lists them.
var stricter = []string{wire.ErrTag.Error(), wire.ErrVarint.Error(), "a group, which OTLP has none of", "values nested over 64"}

// stricterJSON are those for JSON.
var stricterJSON = []string{"json: not well formed", "json: nested over 64", "json: a field without a name", "of empty objects"}

func fuzzProto(f *testing.F, name string) {
	ref := references[name]
	r := rand.New(rand.NewPCG(3, 4))
	if name == "traces" {
		for n := range 6 {
			f.Add(must(ptraceotlp.NewExportRequestFromTraces(randomSpans(r, n)).MarshalProto()))
		}
	}
	for n := range 4 {
		proto, _ := ref.random(r, n*3)
		f.Add(proto)
		f.Add(ref.example(n))
		f.Add(proto[:len(proto)*2/3])
	}
	value := wire.AppendString(nil, 1, "x")
	for range 70 {
		value = sub(5, sub(1, value))
	}
	f.Add(sub(1, sub(1, sub(1, sub(2, value)))))
	f.Add(slices.Concat(ref.example(1), unknown(1)))
	f.Add(sub(1, sub(1, attr(1, "environment", "dev")), sub(1, attr(1, "environment", "dev")), sub(1000, sub(2))))
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add([]byte{0x0b, 0x12, 0x00, 0x0c})
	f.Add(wire.AppendVarint(nil, 1, 1))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := ref.http.Decode(raw, ingest.Content{})
		want, items, pdataErr := ref.view(raw, nil)
		if err != nil {
			if pdataErr == nil && !slices.ContainsFunc(stricter, func(s string) bool { return strings.HasSuffix(err.Error(), s) }) {
				t.Fatalf("pdata takes what is refused here: %v", err)
			}
			return
		}
		plain := ingest.Edit{Form: ref.http.Forms[0]}
		out, r := encodeEdit(t, ref.http, b, plain, raw, ingest.Content{})
		if len(r.Refused) == 0 && !r.Unchanged {
			t.Fatal("without stamps another push leaves")
		}
		sent := r.Sent.Items
		out = encode(t, ref.http, b, stamps, raw, ingest.Content{})
		again, err := ref.http.Decode(out, ingest.Content{})
		if err != nil || again.Items() != sent {
			t.Fatalf("stamped it is another push: %v", err)
		}
		if name == "traces" {
			fuzzRules(t, raw)
		}
		if pdataErr != nil {
			return // a scalar that upstream will not like
		}
		if b.Items() != items {
			t.Fatalf("%d items, pdata has %d", b.Items(), items)
		}
		if want, _, _ = ref.view(raw, stamps); !bytes.Equal(viewOf(t, ref, out), want) {
			t.Fatal("pdata sees another push than one that it stamped itself")
		}
	})
}

// fuzzedRules are some of each.
var fuzzedRules = []*ingest.TraceRules{
	nil,
	{Ratio: .5},
	{Ratio: .1, KeepErrors: true, FillServiceName: "filled"},
	{Ratio: 0, KeepErrors: true},
	{Ratio: 1, Services: []ingest.ServiceRatio{{Service: "cart", Ratio: .25}, {Service: "prod", Ratio: .75}}, FillServiceName: "cart"},
}

// fuzzRules has rules on a push that Decode takes.
func fuzzRules(t *testing.T, raw []byte) {
	for _, rules := range fuzzedRules {
		for _, stamps := range [][]labels.Label{nil, stamps, {{Name: "service.name", Value: "prod"}}} {
			out, r := edited(t, raw, ingest.Content{}, stamps, rules)
			b, err := references["traces"].http.Decode(out, ingest.Content{})
			if err != nil || b.Items() != r.Sent.Items {
				t.Fatalf("%d items are said to leave, what leaves has others: %v", r.Sent.Items, err)
			}
			if _, again := edited(t, out, ingest.Content{}, nil, nil); len(again.Refused) > 0 {
				t.Fatalf("what leaves has bad ids: %+v", again.Refused)
			}
			want, o, err := expect(raw, stamps, rules)
			// pkg/sampling refuses 32 members, which W3C allows.
			if err != nil || bytes.Count(raw, []byte(",")) > 30 {
				continue
			}
			if got := outcomeOf(r); got != o {
				t.Fatalf("%+v, %v: %+v, want %+v", rules, stamps, got, o)
			}
			view := ptraceotlp.NewExportRequest()
			if err := view.UnmarshalProto(out); err != nil {
				t.Fatal(err)
			}
			if got := must(view.MarshalProto()); !bytes.Equal(got, want) {
				t.Fatalf("%+v, %v: pdata and pkg/sampling make something else of it", rules, stamps)
			}
		}
	}
}

// FuzzTraceState compares one tracestate at a time with pkg/sampling.
func FuzzTraceState(f *testing.F) {
	r := rand.New(rand.NewPCG(13, 14))
	for range 50 {
		f.Add(randomState(r), r.Uint64(), r.Float64(), r.IntN(2) == 0)
	}
	f.Fuzz(func(t *testing.T, state string, random uint64, ratio float64, failed bool) {
		if strings.Count(state, ",") == 31 {
			return // pkg/sampling refuses 32 members, which W3C allows
		}
		id := [16]byte{1}
		binary.BigEndian.PutUint64(id[8:], random)
		sample(t, oneSpan(id, state, failed, "cart"), ingest.Content{}, nil, &ingest.TraceRules{Ratio: ratio, KeepErrors: true})
	})
}

func FuzzTraces(f *testing.F)  { fuzzProto(f, "traces") }
func FuzzMetrics(f *testing.F) { fuzzProto(f, "metrics") }
func FuzzLogs(f *testing.F)    { fuzzProto(f, "logs") }

func FuzzJSON(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for name, ref := range references {
		for range 4 {
			_, json := ref.random(r, 3)
			f.Add(name, string(json))
			f.Add(name, string(json[:len(json)/2]))
		}
	}
	for _, s := range []string{
		`{}`, `null`, `[]`, `1`, `{} x`, `{"":1,"resourceSpans":[{}]}`, `{"resourceSpans":[{"":[{}]}]}`, `{"resourceSpans":null}`, `{"resourceSpans":{}}`,
		`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"\"","spanId":"00"}]}]}]}`, `{"a":[[[[[[[[]]]]]]]]}`,
		`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"1","links":[{"spanId":"x"}]},{"parent_span_id":"00"},{"spans":[{"spanId":"1"}]}]}]}]}`,
		`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":1e3,"severityNumber":"x"}]}]}]}`,
		`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"sum":{"dataPoints":[{"asInt":"1"}]},"gauge":{"dataPoints":[]}}]}]}]}`,
	} {
		for name := range references {
			f.Add(name, s)
		}
	}
	f.Fuzz(func(t *testing.T, name, body string) {
		ref, ok := references[name]
		if !ok {
			return
		}
		raw := []byte(body)
		c := ingest.Content{JSON: true}
		b, err := ref.http.Decode(raw, c)
		if err != nil {
			deliberate := func(s string) bool { return strings.Contains(err.Error(), s) }
			if slices.ContainsFunc(stricterJSON, deliberate) || slices.ContainsFunc(stricter, deliberate) {
				return
			}
			if _, _, pdataErr := ref.viewJSON(raw); pdataErr == nil {
				t.Fatalf("pdata takes what is refused here: %v", err)
			}
			return
		}
		source, _, err := ref.viewJSON(raw)
		if err != nil && name == "traces" && strings.Contains(err.Error(), "ID.UnmarshalJSONIter") {
			if _, r := encodeEdit(t, ref.http, b, ingest.Edit{Form: ref.http.Forms[0]}, raw, c); len(r.Refused) == 0 {
				t.Fatalf("pdata refuses an id that is taken here: %v", err)
			}
			return
		}
		if err != nil {
			t.Fatalf("pdata refuses what is taken here: %v", err)
		}
		want, items, err := ref.view(source, nil)
		if err != nil || b.Items() != items {
			t.Fatalf("%d items, pdata has %d (%v)", b.Items(), items, err)
		}
		if got := encode(t, ref.http, b, nil, raw, c); !bytes.Equal(viewOf(t, ref, got), want) {
			t.Fatal("pdata sees another push")
		}
		encode(t, ref.http, b, stamps, raw, c)
	})
}
