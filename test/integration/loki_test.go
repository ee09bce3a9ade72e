package integration

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/grafana/loki/pkg/push"
	"github.com/prometheus/prometheus/promql/parser"
)

// lokiReceiver decodes pushes with Loki's own types and answers as Loki does.
type lokiReceiver struct {
	t testing.TB

	mu      sync.Mutex    // guards what follows
	lines   []string      // one a log line, rendered
	streams []push.Stream // as they came
}

func (rc *lokiReceiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/loki/api/v1/push" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		rc.t.Errorf("upstream saw %s as %q", r.URL.Path, r.Header.Get("Content-Type"))
	}
	// As Loki reads it: gzip and deflate come off first, and what is under them is always snappy.
	in := r.Body
	switch enc := r.Header.Get("Content-Encoding"); enc {
	case "", "snappy":
	case "gzip":
		var err error
		if in, err = gzip.NewReader(r.Body); err != nil {
			rc.t.Errorf("upstream saw gzip that does not decode: %v", err)
			return
		}
	default:
		rc.t.Errorf("upstream saw Content-Encoding %q", enc)
	}
	body, err := io.ReadAll(in)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var req push.PushRequest
	if body, err = snappy.Decode(nil, body); err == nil {
		err = req.Unmarshal(body)
	}
	if err != nil {
		rc.t.Errorf("upstream saw a body that does not decode: %v", err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	rc.mu.Lock()
	rc.lines = append(rc.lines, renderStreams(rc.t, req.Streams)...)
	rc.streams = append(rc.streams, req.Streams...)
	rc.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// take returns what arrived since the last call, sorted.
func (rc *lokiReceiver) take() []string {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	out := rc.lines
	rc.lines, rc.streams = nil, nil
	slices.Sort(out)
	return out
}

// takeStreams returns the streams that arrived since the last call, in their order.
func (rc *lokiReceiver) takeStreams() []push.Stream {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	out := rc.streams
	rc.lines, rc.streams = nil, nil
	return out
}

// renderStreams is one text a line: two spellings of one stream's labels are one stream, as in Loki.
func renderStreams(t testing.TB, streams []push.Stream) []string {
	var out []string
	for _, s := range streams {
		ls, err := parser.NewParser(parser.Options{}).ParseMetric(s.Labels)
		if err != nil {
			t.Errorf("stream labels %s: %v", s.Labels, err)
		}
		for _, e := range s.Entries {
			out = append(out, renderLine(ls.String(), e.Timestamp, e.Line, e.StructuredMetadata))
		}
	}
	return out
}

func renderLine(labels string, at time.Time, line string, metadata push.LabelsAdapter) string {
	return fmt.Sprintf("%s %d %q %v", labels, at.UnixNano(), line, metadata)
}

func newLokiGateway(t testing.TB, rest string) (*gateway, *lokiReceiver) {
	t.Helper()
	rc := &lokiReceiver{t: t}
	up := newUpstream(t, rc)
	return startGateway(t, "    upstreams:\n"+up.yaml("loki", "/loki/api/v1/push", "")+rest), rc
}

// lokiStreams has what is hard to carry: nanoseconds, several lines at one time, quotes in labels and bytes in lines.
func lokiStreams() []push.Stream {
	at := time.Unix(1700000000, 123456789)
	entry := func(i int, line string, metadata ...push.LabelAdapter) push.Entry {
		return push.Entry{Timestamp: at.Add(time.Duration(i)), Line: line, StructuredMetadata: metadata}
	}
	return []push.Stream{
		{Labels: `{app="checkout", env="dev"}`, Entries: []push.Entry{
			entry(0, "first"), entry(0, "second of the same nanosecond"), entry(1, ""),
			entry(2, "with metadata", push.LabelAdapter{Name: "trace_id", Value: "0242ac120002"}, push.LabelAdapter{Name: "user", Value: "ü \"quoted\""}),
		}},
		{Labels: `{path="/a\"b\\c", app="checkout"}`, Entries: []push.Entry{entry(3, "ü\n\ttabs and \"quotes\" {} \u2028")}},
		{Labels: "{ app=`back ticks`,level='info' }", Entries: []push.Entry{entry(4, strings.Repeat("long ", 20000))}},
	}
}

func lokiProtobuf(t testing.TB, streams []push.Stream) []byte {
	t.Helper()
	body, err := (&push.PushRequest{Streams: streams}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return snappy.Encode(nil, body)
}

// lokiJSON writes the streams as Loki's clients do.
func lokiJSON(t testing.TB, streams []push.Stream) []byte {
	t.Helper()
	type stream struct {
		Stream map[string]string `json:"stream"`
		Values [][]any           `json:"values"`
	}
	var doc struct {
		Streams []stream `json:"streams"`
	}
	for _, s := range streams {
		ls, err := parser.NewParser(parser.Options{}).ParseMetric(s.Labels)
		if err != nil {
			t.Fatal(err)
		}
		out := stream{Stream: ls.Map()}
		for _, e := range s.Entries {
			v := []any{strconv.FormatInt(e.Timestamp.UnixNano(), 10), e.Line}
			if len(e.StructuredMetadata) > 0 {
				m := map[string]string{}
				for _, p := range e.StructuredMetadata {
					m[p.Name] = p.Value
				}
				v = append(v, m)
			}
			out.Values = append(out.Values, v)
		}
		doc.Streams = append(doc.Streams, out)
	}
	body, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestLoki(t *testing.T) {
	streams := lokiStreams()
	g, rc := newLokiGateway(t, "")
	f := func(name, contentType, encoding string, body []byte) {
		t.Helper()
		want := renderStreams(t, streams)
		slices.Sort(want)
		pushLoki(t, g, name, contentType, encoding, body)
		checkLines(t, name, want, rc.take())
	}
	f("protobuf", "application/x-protobuf", "", lokiProtobuf(t, streams))
	f("protobuf that says snappy", "application/x-protobuf", "snappy", lokiProtobuf(t, streams))
	f("protobuf in gzip", "application/x-protobuf", "gzip", gzipped(t, lokiProtobuf(t, streams)))
	f("json", "application/json", "", lokiJSON(t, streams))
	f("json with charset", "application/json; charset=utf-8", "", lokiJSON(t, streams))
	f("json in gzip", "application/json", "gzip", gzipped(t, lokiJSON(t, streams)))
	f("json in deflate", "application/json", "deflate", deflated(t, lokiJSON(t, streams)))
	g.checkNoSecrets()
}

// Loki takes label values of any kind as their literal text, and skips nulls.
func TestLokiLenientJSON(t *testing.T) {
	g, rc := newLokiGateway(t, "")
	body := `{"streams":[
		{"stream":{"app":"checkout","port":8080,"ratio":0.10,"on":true,"k8s":{"pod":"a","n":1}},"values":[
			["1700000000123456789","line",{"user":"ü"}], null, ["1700000000123456790","ünïcode \u00fc \ud83d\ude00"]]},
		{"stream":{"app":"empty"},"values":null}]}`
	pushLoki(t, g, "lenient", "application/json", "", []byte(body))
	labels := `{app="checkout", k8s="{\"pod\":\"a\",\"n\":1}", on="true", port="8080", ratio="0.10"}`
	checkLines(t, "lenient", []string{
		renderLine(labels, time.Unix(0, 1700000000123456789), "line", push.LabelsAdapter{{Name: "user", Value: "ü"}}),
		renderLine(labels, time.Unix(0, 1700000000123456790), "ünïcode ü 😀", nil),
	}, rc.take())
}

func TestLokiStamps(t *testing.T) {
	g, rc := newLokiGateway(t, "    logs: {labels: {env: prod}}\n")
	want := renderStreams(t, []push.Stream{
		{Labels: `{app="checkout", env="prod"}`, Entries: lokiStreams()[0].Entries},
		{Labels: `{app="checkout", env="prod", path="/a\"b\\c"}`, Entries: lokiStreams()[1].Entries},
		{Labels: "{app=`back ticks`, env='prod', level='info'}", Entries: lokiStreams()[2].Entries},
	})
	slices.Sort(want)
	pushLoki(t, g, "protobuf", "application/x-protobuf", "", lokiProtobuf(t, lokiStreams()))
	checkLines(t, "protobuf", want, rc.take())
	pushLoki(t, g, "json", "application/json", "", lokiJSON(t, lokiStreams()))
	checkLines(t, "json", want, rc.take())
}

func pushLoki(t testing.TB, g *gateway, name, contentType, encoding string, body []byte) {
	t.Helper()
	headers := map[string]string{"Content-Type": contentType, "Authorization": "Bearer " + clientToken}
	if encoding != "" {
		headers["Content-Encoding"] = encoding
	}
	if resp, answer := post(t, "http://"+g.http+"/loki/api/v1/push?leak=query", body, headers); resp.StatusCode != http.StatusNoContent {
		t.Errorf("%s: answered %d %q, want 204", name, resp.StatusCode, answer)
	}
}

func checkLines(t testing.TB, where string, want, got []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d lines arrived, want %d", where, len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if got[i] == want[i] {
			continue
		}
		same := 0 // long lines are shown from where they differ
		for same < min(len(got[i]), len(want[i])) && got[i][same] == want[i][same] {
			same++
		}
		same = max(0, same-200)
		t.Errorf("%s: line %d, from byte %d\n got %.500s\nwant %.500s", where, i, same, got[i][same:], want[i][same:])
		return
	}
}
