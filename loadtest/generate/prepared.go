package generate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/digest"
)

// preparedPushes is how many different pushes there are of kinds that are made once.
const preparedPushes = 32

// made is a push before compression, and as it is expected to arrive, in the protocol in which it arrives.
type made struct {
	body, arrives []byte
	items         int
}

// form is what all pushes of a kind have in common.
type form struct {
	path, contentType, method string
	items                     int
	make                      func(s Spec, n int) (made, error)
	walk                      digest.Walk
	identityOnly              bool
}

const otlpMethod = "/opentelemetry.proto.collector."

var forms = map[Kind]form{
	LokiJSON:   {"/loki/api/v1/push", "application/json", "", 5000, linesJSON, digest.Loki, false},
	Traces:     {"/v1/traces", "application/x-protobuf", otlpMethod + "trace.v1.TraceService/Export", 500, spans, digest.Traces, false},
	TracesJSON: {"/v1/traces", "application/json", "", 500, spansJSON, digest.Traces, false},
	Metrics:    {"/v1/metrics", "application/x-protobuf", otlpMethod + "metrics.v1.MetricsService/Export", 1000, points, digest.Metrics, false},
	Logs:       {"/v1/logs", "application/x-protobuf", otlpMethod + "logs.v1.LogsService/Export", 1000, records, digest.Logs, false},
	Zipkin:     {"/api/v2/spans", "application/json", "", 100, zipkin, digest.Traces, true},
	Jaeger:     {"/api/traces", "application/x-thrift", "", 100, jaeger, digest.Traces, true},
}

func newPrepared(s Spec) (*Work, error) {
	f := forms[s.Kind]
	s.Items = or(s.Items, f.items)
	list := make([]Push, max(1, or(s.Series, preparedPushes*s.Items)/s.Items))
	w := &Work{Parts: len(list), IdentityOnly: f.identityOnly, Walk: f.walk}
	for i := range list {
		m, err := f.make(s, i)
		if err != nil {
			return nil, err
		}
		sum, err := f.walk(m.arrives, s.Every)
		if err != nil {
			return nil, err
		}
		body, err := compress(m.body, s.Codec)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			w.Raw = m.body
		}
		list[i] = Push{f.path, f.contentType, s.Codec, f.method, body, m.items, sum}
	}
	w.push = func(n uint64, _ time.Time, p *Push) { *p = list[n%uint64(len(list))] }
	return w, nil
}

// compress writes body as codec, with the levels that senders use.
func compress(body []byte, codec string) ([]byte, error) {
	var b bytes.Buffer
	switch codec {
	case "", "identity":
		return body, nil
	case "gzip":
		w := gzip.NewWriter(&b)
		_, _ = w.Write(body) // a buffer takes everything
		err := w.Close()
		return b.Bytes(), err
	case "zstd":
		w, err := zstd.NewWriter(nil)
		if err != nil {
			return nil, err
		}
		return w.EncodeAll(body, nil), nil
	}
	return nil, fmt.Errorf("no such codec: %q", codec)
}

// linesJSON is a push of lines as JSON, and as protobuf, in which it leaves.
func linesJSON(s Spec, n int) (made, error) {
	type stream struct {
		Stream map[string]string `json:"stream"`
		Values [][2]string       `json:"values"`
	}
	var doc struct {
		Streams []stream `json:"streams"`
	}
	var out []byte
	r := dice(s.Seed, uint64(n))
	ns := int64(1_790_000_000_300_000_000)
	for i := range min(streamsOfPush, s.Items) {
		set := streamLabels(i)
		st := stream{Stream: map[string]string{}}
		for _, l := range set {
			st.Stream[l.Name] = l.Value
		}
		msg := wire.AppendString(nil, 1, selector(set))
		for range linesOfStream(s.Items, i) {
			ns += betweenLines
			text := line(r)
			st.Values = append(st.Values, [2]string{strconv.FormatInt(ns, 10), text})
			stamp := wire.AppendVarint(wire.AppendVarint(nil, 1, uint64(ns/1e9)), 2, uint64(ns%1e9))
			msg = wire.AppendBytes(msg, 2, wire.AppendString(wire.AppendBytes(nil, 1, stamp), 2, text))
		}
		doc.Streams = append(doc.Streams, st)
		out = wire.AppendBytes(out, 1, msg)
	}
	body, err := json.Marshal(doc)
	return made{body, out, s.Items}, err
}
