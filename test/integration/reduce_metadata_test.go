package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/loki/pkg/push"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

const movedLabels = "structured_metadata: [pod, request_id]"

// Labels become structured metadata of every entry: streams that then are one are merged by time, and nothing is lost.
func TestStructuredMetadataLoki(t *testing.T) {
	t.Parallel()
	at := time.Unix(1700000000, 0)
	entry := func(second int, line string, metadata ...string) push.Entry {
		e := push.Entry{Timestamp: at.Add(time.Duration(second) * time.Second), Line: line}
		for i := 0; i < len(metadata); i += 2 {
			e.StructuredMetadata = append(e.StructuredMetadata, push.LabelAdapter{Name: metadata[i], Value: metadata[i+1]})
		}
		return e
	}
	streams := []push.Stream{
		{Labels: `{app="a", pod="p1"}`, Entries: []push.Entry{entry(1, "1"), entry(4, "4", "trace_id", "ü\""), entry(7, "7 a"), entry(7, "7 b")}},
		{Labels: `{app="a", pod="p2"}`, Entries: []push.Entry{entry(2, "2"), entry(5, "5"), entry(8, "8")}},
		{Labels: `{app="b"}`, Entries: []push.Entry{entry(3, "b", "pod", "own")}},
		{Labels: `{app="a", pod="p1", request_id="r1"}`, Entries: []push.Entry{entry(0, "0"), entry(3, "3", "pod", "other"), entry(6, "6", "pod", "p1")}},
		{Labels: `{pod="p9"}`, Entries: []push.Entry{entry(9, "9")}},
	}
	merged := []push.Entry{
		entry(0, "0", "pod", "p1", "request_id", "r1"), entry(1, "1", "pod", "p1"), entry(2, "2", "pod", "p2"),
		entry(3, "3", "pod", "other", "pod_extracted", "p1", "request_id", "r1"), entry(4, "4", "pod", "p1", "trace_id", "ü\""),
		entry(5, "5", "pod", "p2"), entry(6, "6", "pod", "p1", "request_id", "r1"), entry(7, "7 a", "pod", "p1"), entry(7, "7 b", "pod", "p1"),
		entry(8, "8", "pod", "p2"),
	}
	f := func(rest string, want []push.Stream, addedBytes int) {
		t.Helper()
		g, rc := newLokiGateway(t, rest)
		lines := 0
		for _, s := range streams {
			lines += len(s.Entries)
		}
		for i := range 2 { // streams that come first, and again
			for _, encoding := range []string{"protobuf", "JSON"} {
				if encoding == "JSON" {
					pushLoki(t, g, encoding, "application/json", "", lokiJSON(t, streams))
				} else {
					pushLoki(t, g, encoding, "application/x-protobuf", "", lokiProtobuf(t, streams))
				}
				checkLines(t, fmt.Sprintf("%s, %s, push %d", rest, encoding, i), streamLines(t, want), streamLines(t, rc.takeStreams()))
			}
		}
		if n := g.metric("gateway_structured_metadata_added_bytes_total"); int(n) != 4*addedBytes {
			t.Errorf("%s: %g bytes of metadata were added, want %d", rest, n, 4*addedBytes)
		}
		if n := g.metric("gateway_active_series"); int(n) != len(want) {
			t.Errorf("%s: %g active streams, want %d", rest, n, len(want))
		}
		g.checkBooks(map[string]float64{})
		if n := g.metric("gateway_items_forwarded_total"); int(n) != 4*lines {
			t.Errorf("%s: %g lines were forwarded, want %d", rest, n, 4*lines)
		}
	}
	const pod, request = len("podp1"), len("request_idr1")
	moved := 7*pod + 3*(pod+request) - pod + len("_extracted") // one entry had its pod already, one had another
	f("    logs: {"+movedLabels+"}\n", []push.Stream{
		{Labels: `{app="a"}`, Entries: merged},
		{Labels: `{app="b"}`, Entries: streams[2].Entries},
		{Labels: `{pod="p9"}`, Entries: streams[4].Entries}, // a stream's last label stays
	}, moved)
	f("    logs: {labels: {env: prod}, "+movedLabels+"}\n", []push.Stream{
		{Labels: `{app="a", env="prod"}`, Entries: merged},
		{Labels: `{app="b", env="prod"}`, Entries: streams[2].Entries},
		{Labels: `{env="prod"}`, Entries: []push.Entry{entry(9, "9", "pod", "p9")}},
	}, moved+pod)
}

// streamLines is a text for every line of each stream in its order, the streams by their labels.
func streamLines(t testing.TB, streams []push.Stream) (out []string) {
	t.Helper()
	slices.SortFunc(streams, func(a, b push.Stream) int { return strings.Compare(a.Labels, b.Labels) })
	for _, s := range streams {
		for i := range s.Entries {
			slices.SortFunc(s.Entries[i].StructuredMetadata, func(a, b push.LabelAdapter) int { return strings.Compare(a.Name, b.Name) })
		}
		out = append(out, fmt.Sprintf("%d entries", len(s.Entries)))
		out = append(out, renderStreams(t, []push.Stream{s})...)
	}
	return out
}

// Attributes of an OTLP resource move to each of its records.
func TestStructuredMetadataOTLP(t *testing.T) {
	t.Parallel()
	g, _, rc := newOTLPGateway(t, "", "    logs: {structured_metadata: [k8s.pod.name, port]}\n")
	ld := plog.NewLogs()
	for i := range 4 {
		rl := ld.ResourceLogs().AppendEmpty()
		rl.Resource().Attributes().PutStr("service.name", "checkout")
		if i > 0 {
			rl.Resource().Attributes().PutStr("k8s.pod.name", fmt.Sprintf("pod-%d", i))
			rl.Resource().Attributes().PutInt("port", 8080)
		}
		for n := range 6 {
			r := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
			r.Body().SetStr(fmt.Sprintf("line %d of %d", n, i))
			r.SetTimestamp(pcommon.Timestamp(100 + n))
			if n == 2 {
				r.Attributes().PutStr("k8s.pod.name", "own")
			}
			if n == 3 {
				r.Attributes().PutStr("k8s.pod.name", fmt.Sprintf("pod-%d", i))
			}
		}
	}
	var want []string
	for _, it := range logItems(t, ld) {
		for _, name := range []string{"k8s.pod.name", "port"} {
			v, ok := it.resource.Attributes().Get(name)
			if !ok {
				continue
			}
			own, has := it.attrs.Get(name)
			switch {
			case !has:
				v.CopyTo(it.attrs.PutEmpty(name))
			case !own.Equal(v):
				v.CopyTo(it.attrs.PutEmpty(name + "_extracted"))
			}
			it.resource.Attributes().Remove(name)
		}
		want = append(want, it.render(t))
	}
	slices.Sort(want)
	for _, transport := range []string{"http", "grpc"} {
		rc.reset()
		if err := newCollector(t, g, transport, "gzip").logs.ConsumeLogs(background(t), ld); err != nil {
			t.Fatal(err)
		}
		checkLines(t, transport, want, rendered(t, logItems(t, rc.logs.AllLogs()[0])))
	}
	g.checkBooks(map[string]float64{})
}
