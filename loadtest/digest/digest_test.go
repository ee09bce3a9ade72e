package digest

import (
	"math/rand/v2"
	"testing"

	lokipush "github.com/grafana/loki/pkg/push"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.opentelemetry.io/collector/pdata/testdata"

	"time"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// write is a push of n series, whose i-th differs as change says.
func write(n int, change func(i int, ts *prompb.TimeSeries)) []byte {
	req := new(prompb.WriteRequest)
	for i := range n {
		ts := prompb.TimeSeries{
			Labels:  []prompb.Label{{Name: "__name__", Value: "up"}, {Name: "host", Value: string(rune('a' + i))}},
			Samples: []prompb.Sample{{Value: float64(i), Timestamp: 1_790_000_000_000 + int64(i)}},
		}
		if change != nil {
			change(i, &ts)
		}
		req.Timeseries = append(req.Timeseries, ts)
	}
	return must(req.Marshal())
}

func TestOrderDoesNotMatter(t *testing.T) {
	req := new(prompb.WriteRequest)
	if err := req.Unmarshal(write(20, nil)); err != nil {
		t.Fatal(err)
	}
	want := must(RemoteWriteV1(write(20, nil), 1))
	for range 5 {
		rand.Shuffle(len(req.Timeseries), func(i, k int) {
			req.Timeseries[i], req.Timeseries[k] = req.Timeseries[k], req.Timeseries[i]
		})
		var got Sum
		half := &prompb.WriteRequest{Timeseries: req.Timeseries[:7]}
		got.Add(must(RemoteWriteV1(must(half.Marshal()), 1)))
		half.Timeseries = req.Timeseries[7:]
		got.Add(must(RemoteWriteV1(must(half.Marshal()), 1)))
		if got != want || got.Items != 20 || got.Checked != 20 {
			t.Fatalf("shuffled and split: %+v, want %+v", got, want)
		}
	}
}

func TestWhatIsWrongIsSeen(t *testing.T) {
	want := must(RemoteWriteV1(write(20, nil), 1))
	f := func(what string, same bool, push []byte) {
		t.Helper()
		if got := must(RemoteWriteV1(push, 1)); (got == want) != same {
			t.Errorf("%s: %+v, before %+v", what, got, want)
		}
	}
	at := func(n int, change func(ts *prompb.TimeSeries)) []byte {
		return write(20, func(i int, ts *prompb.TimeSeries) {
			if i == n {
				change(ts)
			}
		})
	}
	f("nothing", true, at(3, func(*prompb.TimeSeries) {}))
	f("labels in another order", true, at(3, func(ts *prompb.TimeSeries) { ts.Labels[0], ts.Labels[1] = ts.Labels[1], ts.Labels[0] }))
	f("one lost", false, write(19, nil))
	f("one doubled", false, at(3, func(ts *prompb.TimeSeries) { ts.Samples = append(ts.Samples, ts.Samples[0]) }))
	f("a value", false, at(3, func(ts *prompb.TimeSeries) { ts.Samples[0].Value++ }))
	f("a time", false, at(3, func(ts *prompb.TimeSeries) { ts.Samples[0].Timestamp++ }))
	f("a label's value", false, at(3, func(ts *prompb.TimeSeries) { ts.Labels[1].Value = "z" }))
	f("a label's name", false, at(3, func(ts *prompb.TimeSeries) { ts.Labels[1].Name = "hots" }))
	f("a label lost", false, at(3, func(ts *prompb.TimeSeries) { ts.Labels = ts.Labels[:1] }))
	f("a label doubled", false, at(3, func(ts *prompb.TimeSeries) { ts.Labels = append(ts.Labels, ts.Labels[0]) }))
	f("labels of two series swapped", false, write(20, func(i int, ts *prompb.TimeSeries) {
		if i < 2 {
			ts.Labels[1].Value = string(rune('a' + 1 - i))
		}
	}))
	f("one lost, another doubled", false, at(3, func(ts *prompb.TimeSeries) {
		ts.Labels[1].Value = "a"
		ts.Samples[0] = prompb.Sample{Timestamp: 1_790_000_000_000}
	}))
}

// TestVersionsAgree: a series of version 2 without metadata is that of version 1.
func TestVersionsAgree(t *testing.T) {
	v2 := &writev2.Request{Symbols: []string{"", "__name__", "up", "host"}}
	for i := range 20 {
		v2.Symbols = append(v2.Symbols, string(rune('a'+i)))
		v2.Timeseries = append(v2.Timeseries, writev2.TimeSeries{
			LabelsRefs: []uint32{1, 2, 3, uint32(4 + i)},
			Samples:    []writev2.Sample{{Value: float64(i), Timestamp: 1_790_000_000_000 + int64(i)}},
		})
	}
	// gogo writes an empty metadata message, which says nothing.
	got, want := must(RemoteWriteV2(must(v2.Marshal()), 1)), must(RemoteWriteV1(write(20, nil), 1))
	if got.Identity != want.Identity || got.Items != want.Items {
		t.Errorf("%+v, want %+v", got, want)
	}
	v2.Timeseries[3].Metadata.HelpRef = 2
	if other := must(RemoteWriteV2(must(v2.Marshal()), 1)); other.Content == got.Content {
		t.Error("other metadata, same content")
	}
	v2.Timeseries[3].LabelsRefs[1] = 999
	if _, err := RemoteWriteV2(must(v2.Marshal()), 1); err == nil {
		t.Error("a symbol that does not exist is read")
	}
}

func TestPartIsChecked(t *testing.T) {
	all, part := must(RemoteWriteV1(write(20, nil), 1)), must(RemoteWriteV1(write(20, nil), 4))
	if part.Items != all.Items || part.Checked == 0 || part.Checked >= all.Checked {
		t.Errorf("each fourth: %+v, of %+v", part, all)
	}
}

func TestLoki(t *testing.T) {
	push := func(labels, line, meta string) Sum {
		entry := lokipush.Entry{Timestamp: time.Unix(1_790_000_000, 5), Line: line}
		if meta != "" {
			entry.StructuredMetadata = lokipush.LabelsAdapter{{Name: meta, Value: "1"}}
		}
		req := &lokipush.PushRequest{Streams: []lokipush.Stream{{Labels: labels, Entries: []lokipush.Entry{entry}}}}
		return must(Loki(must(req.Marshal()), 1))
	}
	want := push(`{a="b", c="d"}`, "x", "")
	f := func(same bool, labels, line, meta string) {
		t.Helper()
		if got := push(labels, line, meta); (got == want) != same {
			t.Errorf("%s %s %s: %+v, before %+v", labels, line, meta, got, want)
		}
	}
	f(true, `{c="d",a="b"}`, "x", "")
	f(true, `{ c="d" , a="\u0062"}`, "x", "")
	f(false, `{a="b"}`, "x", "")
	f(false, `{a="b", c="e"}`, "x", "")
	f(false, `{a="b", c="d"}`, "y", "")
	f(false, `{a="b", c="d"}`, "x", "m")
	f(false, `{a="b", c=d}`, "x", "")
}

// TestOTLPSeesEveryAttribute changes one thing at a time in pdata's own samples of each signal.
func TestOTLPSeesEveryAttribute(t *testing.T) {
	td := testdata.GenerateTraces(4)
	spans := func() Sum { return must(Traces(must(ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()), 1)) }
	rs := td.ResourceSpans().At(0)
	f := func(what string, sum func() Sum, items uint64, change ...func()) {
		t.Helper()
		seen := map[uint64]bool{sum().Content: true}
		for i, c := range change {
			c()
			s := sum()
			if seen[s.Content] || s.Items != items {
				t.Errorf("%s, change %d is not seen: %+v", what, i, s)
			}
			seen[s.Content] = true
		}
	}
	f("traces", spans, 4,
		func() { rs.Resource().Attributes().PutStr("more", "x") },
		func() { rs.ScopeSpans().At(0).Scope().SetName("other") },
		func() { rs.SetSchemaUrl("https://example.com") },
		func() { rs.ScopeSpans().At(0).Spans().At(0).SetName("other") },
		func() { rs.ScopeSpans().At(0).Spans().At(0).Attributes().PutInt("n", 1) },
		func() { rs.ScopeSpans().At(0).Spans().At(1).Status().SetMessage("no") },
	)
	md := testdata.GenerateMetrics(12)
	points := func() Sum { return must(Metrics(must(pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()), 1)) }
	metric := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0)
	f("metrics", points, uint64(md.DataPointCount()),
		func() { metric.SetName("other") },
		func() { metric.SetUnit("other") },
		func() { metric.Gauge().DataPoints().At(0).SetTimestamp(7) },
		func() { metric.Gauge().DataPoints().At(0).Attributes().PutStr("more", "x") },
	)
	ld := testdata.GenerateLogs(3)
	records := func() Sum { return must(Logs(must(plogotlp.NewExportRequestFromLogs(ld).MarshalProto()), 1)) }
	record := ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
	f("logs", records, 3,
		func() { record.Body().SetStr("other") },
		func() { record.SetSeverityText("other") },
		func() { record.Attributes().PutStr("more", "x") },
	)
}

func TestWhatIsNotWellFormedIsAnError(t *testing.T) {
	for name, walk := range map[string]Walk{"v1": RemoteWriteV1, "v2": RemoteWriteV2, "loki": Loki, "traces": Traces, "metrics": Metrics, "logs": Logs} {
		if _, err := walk([]byte{0x0a, 0x7f, 1}, 1); err == nil {
			t.Errorf("%s: a message that ends too early is read", name)
		}
		if s, err := walk(nil, 1); err != nil || s != (Sum{}) {
			t.Errorf("%s: an empty push is %+v, %v", name, s, err)
		}
	}
}
