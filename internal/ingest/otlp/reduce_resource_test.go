package otlp_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/otlp"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/reducetest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// TestReducedBytes holds what is written to the byte: all that no rule is about stays as it stands.
func TestReducedBytes(t *testing.T) {
	f := func(c *itemCase, raw, want []byte) {
		t.Helper()
		got, r := c.reduce(t, "traces", raw, ingest.Content{})
		if !bytes.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		if r.Unchanged != bytes.Equal(raw, want) {
			t.Errorf("unchanged: %t", r.Unchanged)
		}
	}
	a, b, secret := attr(9, "a", "1"), attr(9, "b", "2"), attr(9, "secret", "x")
	named := wire.AppendString(nil, 5, "GET")
	spanOf := func(parts ...[]byte) []byte { return sub(2, append([][]byte{unknown(9), spanIDs}, parts...)...) }
	res := func(parts ...[]byte) []byte { return sub(1, parts...) }
	drop := &itemCase{rules: reducetest.Rules(t, `[{action: labeldrop, regex: secret}]`)}

	plain := slices.Concat(unknown(3), sub(1, unknown(4), res(attr(1, "r", "1")), sub(2, unknown(5), spanOf(a, named, b), unknown(6)), unknown(7)))
	f(drop, plain, plain)
	f(drop, nil, nil)
	f(drop,
		slices.Concat(plain, sub(1, sub(2, unknown(5), spanOf(a), spanOf(secret, a, secret, unknown(8)), spanOf(b), unknown(6)), unknown(7)), plain),
		slices.Concat(plain, sub(1, sub(2, unknown(5), spanOf(a), spanOf(a, unknown(8)), spanOf(b), unknown(6)), unknown(7)), plain))
	// Field 1000 does not count beside a 2, and does alone.
	f(drop, sub(1, sub(1000, spanOf(secret)), sub(2, spanOf(secret))), sub(1, sub(1000, spanOf(secret)), sub(2, spanOf())))
	f(drop, sub(1, sub(1000, spanOf(secret, a))), sub(1, sub(1000, spanOf(a))))
	// Events and links are left alone.
	f(drop, sub(1, sub(2, spanOf(sub(11, attr(3, "secret", "x")), secret))), sub(1, sub(2, spanOf(sub(11, attr(3, "secret", "x"))))))

	gone := &itemCase{rules: reducetest.Rules(t, `[{action: drop, source_labels: [secret], regex: .+}]`)}
	f(gone, slices.Concat(plain, sub(1, sub(2, spanOf(secret)), sub(2, unknown(5))), sub(1, sub(2, spanOf(secret), spanOf(secret)))),
		slices.Concat(plain, sub(1, sub(2, unknown(5)))))
	f(gone, sub(1, sub(2, spanOf(secret))), nil)

	// An empty value is no label, and is written over.
	write := &itemCase{rules: reducetest.Rules(t, `[{target_label: a, replacement: "9"}]`)}
	f(write, sub(1, sub(2, spanOf(attr(9, "a", ""), b))), sub(1, sub(2, spanOf(b, attr(9, "a", "9")))))
	rename := &itemCase{rules: reducetest.Rules(t, `[{target_label: __name__, source_labels: [b]}]`)}
	f(rename, sub(1, sub(2, spanOf(named, b, named))), sub(1, sub(2, spanOf(b, wire.AppendString(nil, 5, "2")))))
	f(rename, sub(1, sub(2, spanOf(named, a))), sub(1, sub(2, spanOf(named, a))))
	f(rename, sub(1, sub(2, spanOf(b))), sub(1, sub(2, spanOf(b, wire.AppendString(nil, 5, "2")))))

	// The parts of a resource are one where rules change it, and stay apart where they do not.
	ra, rb := attr(1, "a", "1"), attr(1, "b", "2")
	parts := func(ps ...[]byte) []byte { return sub(1, append(ps, sub(2, spanOf(a)))...) }
	dropA := &itemCase{resource: reducetest.Rules(t, `[{action: labeldrop, regex: a}]`)}
	f(dropA, parts(res(unknown(8), rb), res(rb)), parts(res(unknown(8), rb), res(rb)))
	f(dropA, parts(res(unknown(8), ra), res(rb, ra)), parts(res(unknown(8), rb)))
	f(dropA, parts(res(ra)), parts(res()))
	make1 := &itemCase{resource: reducetest.Rules(t, `[{target_label: a, replacement: "1"}]`)}
	f(make1, parts(), parts(res(ra)))
	f(make1, sub(1), sub(1, res(ra)))
	f(make1, sub(1, res(ra)), sub(1, res(ra)))
	// The resource stands behind what it is about.
	f(dropA, sub(1, sub(2, spanOf(a)), res(ra, rb)), sub(1, res(rb), sub(2, spanOf(a))))

	// What rules make of stamps is not stamped again, and the resources before are stamped like those behind.
	env := attr(1, "environment", "prod")
	stamped := &itemCase{stamps: stamps[:1], resource: reducetest.Rules(t, `[{action: drop, source_labels: [b], regex: .+},
		{source_labels: [a], regex: "1", target_label: environment, replacement: ""}]`)}
	f(stamped, slices.Concat(parts(res(unknown(8))), parts(res(rb)), parts(res(ra), res(attr(1, "environment", "dev"))), parts()),
		slices.Concat(parts(res(unknown(8), env)), parts(res(ra)), parts(res(env))))
}

// TestMovedMetadata: attributes of a resource move to its records.
func TestMovedMetadata(t *testing.T) {
	type m = map[string]any
	f := func(c *itemCase, resource, record m, wantResource, wantRecord m, bytes int) {
		t.Helper()
		ld := plog.NewLogs()
		rl := ld.ResourceLogs().AppendEmpty()
		l := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		if err := rl.Resource().Attributes().FromRaw(resource); err != nil {
			t.Fatal(err)
		}
		if err := l.Attributes().FromRaw(record); err != nil {
			t.Fatal(err)
		}
		l.CopyTo(rl.ScopeLogs().At(0).LogRecords().AppendEmpty())
		raw := must(plogotlp.NewExportRequestFromLogs(ld).MarshalProto())
		r := c.check(t, "logs", raw, ingest.Content{})
		if r.MetadataBytes != 2*bytes {
			t.Errorf("%d bytes moved, want twice %d", r.MetadataBytes, bytes)
		}
		out, _ := c.reduce(t, "logs", raw, ingest.Content{})
		req := plogotlp.NewExportRequest()
		if err := req.UnmarshalProto(out); err != nil {
			t.Fatal(err)
		}
		rl = req.Logs().ResourceLogs().At(0)
		same := func(got pcommon.Map, want m) {
			t.Helper()
			w := pcommon.NewMap()
			if err := w.FromRaw(want); err != nil {
				t.Fatal(err)
			}
			if !got.Equal(w) {
				t.Errorf("got %v, want %v", got.AsRaw(), want)
			}
		}
		same(rl.Resource().Attributes(), wantResource)
		for _, l := range rl.ScopeLogs().At(0).LogRecords().All() {
			same(l.Attributes(), wantRecord)
		}
	}
	pod := &itemCase{metadata: []string{"pod", "n"}}
	f(pod, m{"app": "x"}, m{"k": "v"}, m{"app": "x"}, m{"k": "v"}, 0)
	f(pod, m{"app": "x", "pod": "p-1"}, m{"k": "v"}, m{"app": "x"}, m{"k": "v", "pod": "p-1"}, 6)
	f(pod, m{"app": "x", "pod": "p-1", "n": 17}, m{}, m{"app": "x"}, m{"pod": "p-1", "n": 17}, 9)
	f(pod, m{"pod": "p-1"}, m{}, m{"pod": "p-1"}, m{}, 0) // a resource's last one stays
	f(pod, m{"n": 17, "pod": "p-1"}, m{}, m{"n": 17}, m{"pod": "p-1"}, 6)
	f(pod, m{"app": "x", "pod": "p-1"}, m{"pod": "p-1"}, m{"app": "x"}, m{"pod": "p-1"}, 0)
	f(pod, m{"app": "x", "pod": "p-1"}, m{"pod": ""}, m{"app": "x"}, m{"pod": "p-1"}, 6)
	f(pod, m{"app": "x", "pod": "p-1"}, m{"pod": "q"}, m{"app": "x"}, m{"pod": "q", "pod_extracted": "p-1"}, 16)
	f(pod, m{"app": "x", "pod": "p-1"}, m{"pod": "q", "pod_extracted": "p-1"}, m{"app": "x"}, m{"pod": "q", "pod_extracted": "p-1"}, 0)
	f(pod, m{"app": "x", "pod": "p-1"}, m{"pod": "q", "pod_extracted": "r"}, m{"app": "x"},
		m{"pod": "q", "pod_extracted": "r", "pod_extracted_extracted": "p-1"}, 26)
	f(pod, m{"app": "x", "n": true}, m{"n": "true"}, m{"app": "x"}, m{"n": "true"}, 0)
	f(pod, m{"app": "x", "n": true}, m{"n": "false"}, m{"app": "x"}, m{"n": "false", "n_extracted": true}, 15)
	both := &itemCase{metadata: []string{"pod", "pod_extracted"}}
	f(both, m{"app": "x", "pod": "1", "pod_extracted": "2"}, m{"pod": "3"}, m{"app": "x"},
		m{"pod": "3", "pod_extracted": "1", "pod_extracted_extracted": "2"}, 14+24)
	// Rules come first: of resources, which see stamps; then of records, which see what moves as the resource's.
	all := &itemCase{stamps: stamps[:1], metadata: []string{"pod"}, resource: reducetest.Rules(t, `[{source_labels: [instance], target_label: pod}, {action: labeldrop, regex: instance}]`),
		rules: reducetest.Rules(t, `[{source_labels: [resource.pod, resource.environment], target_label: from}, {action: labeldrop, regex: pod}]`)}
	f(all, m{"instance": "i"}, m{"pod": "q"}, m{"environment": "prod"}, m{"from": "i;prod", "pod": "i"}, 4)
}

func TestLongLines(t *testing.T) {
	line := func(parts ...[]byte) []byte { return sub(2, parts...) }
	text := func(n int) []byte { return sub(5, wire.AppendString(nil, 1, strings.Repeat("y", n))) }
	number := sub(5, wire.AppendVarint(nil, 3, 1<<60))
	list := sub(5, sub(5, sub(1, wire.AppendString(nil, 1, strings.Repeat("z", 20)))))
	f := func(refuse bool, want []int, records ...[]byte) {
		t.Helper()
		raw := sub(1, sub(2, records...))
		b, err := otlp.LogsHTTP.Decode(raw, ingest.Content{})
		if err != nil {
			t.Fatal(err)
		}
		var told []int
		r := &ingest.Reducer{LongestLine: 10, TooLong: func(n int) bool { told = append(told, n); return refuse }}
		if err := b.Reduce(r); err != nil || !slices.Equal(told, want) {
			t.Errorf("told of %v, want %v (%v)", told, want, err)
		}
		res, err := b.Encode(nil, ingest.Edit{})
		left := len(records)
		if refuse {
			left -= len(want)
		}
		if err != nil || res.Sent.Items != left || res.Unchanged != (left == len(records)) {
			t.Errorf("%d items left, want %d: %+v, %v", res.Sent.Items, left, res, err)
		}
	}
	for _, refuse := range []bool{true, false} {
		f(refuse, nil, line(text(10)), line(), line(number), line(text(0)))
		f(refuse, []int{11, 26}, line(text(11)), line(text(3)), line(list))
		f(refuse, []int{30}, line(text(30)))
		f(refuse, nil, line(text(30), text(4)))
		f(refuse, []int{30}, line(text(4), text(30)))
	}
}

// TestAskedOnce: rules that are about an item are asked once, and not about spans that are refused.
func TestAskedOnce(t *testing.T) {
	bad := sub(2, trace16)
	good := sub(2, spanIDs)
	raw := slices.Concat(sub(1, sub(2, good, bad, good), sub(2, bad), sub(1000, good)), sub(1, sub(1000, good, bad)), sub(1), sub(1, sub(2, bad)))
	var resources []int
	items := 0
	r := &ingest.Reducer{
		Item: func(*labels.Set) (*labels.Change, ingest.Verdict) { items++; return nil, ingest.Pass },
		Resource: func(_ *labels.Set, n int) (*labels.Change, ingest.Verdict) {
			resources = append(resources, n)
			return nil, ingest.Pass
		},
	}
	b, err := otlp.TracesHTTP.Decode(raw, ingest.Content{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Reduce(r); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		b.Bound(ingest.Edit{})
		if res, err := b.Encode(nil, ingest.Edit{}); err != nil || res.Sent.Items != 3 || itemsOf(res.Refused) != 4 {
			t.Errorf("%+v, %v", res, err)
		}
	}
	if items != 3 || !slices.Equal(resources, []int{2, 1, 0, 0}) {
		t.Errorf("asked about %d spans, and resources with %v", items, resources)
	}
}

// TestReduceTranslated: pushes that came in another protocol are reduced as those of spans are.
func TestReduceTranslated(t *testing.T) {
	td := randomTraces(rand.New(rand.NewPCG(61, 62)), 30)
	f := func(rules string, left func(items int) int) {
		t.Helper()
		b, err := otlp.FromTraces(td, []ingest.Refusal{{Reason: ingest.ReasonInvalidItem, Items: 2}})
		if err != nil {
			t.Fatal(err)
		}
		r := reducetest.New(t, nil, reducetest.Rules(t, rules), nil)
		if err := b.Reduce(r.Reducer); err != nil {
			t.Fatal(err)
		}
		e := ingest.Edit{Form: otlp.TracesHTTP.Forms[0]}
		bound := b.Bound(e)
		res, err := b.Encode(nil, e)
		items := td.SpanCount()
		if err != nil || res.Unchanged || bound < max(1, len(res.Body)) || res.Sent.Items != left(items) ||
			res.Sent.Items+itemsOf(res.Refused)+r.Dropped != b.Items() || b.Items() != items+2 {
			t.Fatalf("%s: of %d items: %+v, rules dropped %d, bound %d (%v)", rules, b.Items(), res, r.Dropped, bound, err)
		}
		req := ptraceotlp.NewExportRequest()
		if err := req.UnmarshalProto(res.Body); err != nil || req.Traces().SpanCount() != left(items) {
			t.Fatalf("%d spans left (%v)", req.Traces().SpanCount(), err)
		}
	}
	f(`[{action: keep, source_labels: [nothing], regex: ""}]`, func(n int) int { return n })
	f(`[{action: labeldrop, regex: "attribute.*"}]`, func(n int) int { return n })
	f(`[{action: drop, source_labels: [nothing], regex: ""}]`, func(int) int { return 0 })
}

// TestReduceIsBooked: what is written anew is booked, and without room there is none.
func TestReduceIsBooked(t *testing.T) {
	for _, signal := range []string{"traces", "logs"} {
		raw, _ := typical(signal, 500)
		f := func(rules string, least, most int) {
			t.Helper()
			for _, room := range []int{1 << 30, most, least, least / 4, 100} {
				b, err := references[signal].http.Decode(raw, ingest.Content{})
				if err != nil {
					t.Fatal(err)
				}
				booked := 0
				r := reducetest.New(t, stamps, reducetest.Rules(t, rules), reducetest.Rules(t, `[{target_label: extra, replacement: given}]`))
				r.Charge = func(n int) *fault.Error {
					if booked += n; booked > room {
						return fault.New(fault.Overloaded, "no room")
					}
					return nil
				}
				err = b.Reduce(r.Reducer)
				if (err == nil) != (room >= most) {
					t.Errorf("%s: with room for %d bytes: %v", signal, room, err)
				}
				if err == nil && (booked < least || booked > most) {
					t.Errorf("%s: %d bytes booked, want %d to %d", signal, booked, least, most)
				}
			}
		}
		f(`[{action: labeldrop, regex: "k8s.attribute.name_1"}]`, len(raw)*9/10, len(raw)*11/10+32<<10)
		f(`[{target_label: k8s.more, replacement: "`+strings.Repeat("m", 2000)+`"}]`, len(raw)+500*2000, 4*(len(raw)+500*2000))
	}
}
