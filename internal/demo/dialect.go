package demo

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/golang/snappy"
	"github.com/grafana/loki/pkg/push"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/promql/parser"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// dialect is a protocol in one of its encodings.
type dialect struct {
	name, signal string
	// path is the gateway's door; empty: gRPC.
	path     string
	endpoint string
	header   map[string]string
	// compose makes the message of n items, numbered from first on. The sender's id is in each of them.
	compose func(p *fakecloud.Push, id string, first uint64, n int, at time.Time)
	// encode makes the body of an HTTP push.
	encode func(p *fakecloud.Push) ([]byte, error)
}

// dialects returns all by the names that clients use.
func dialects() map[string]dialect {
	proto := map[string]string{"Content-Type": "application/x-protobuf"}
	return map[string]dialect{
		"rw1":       remoteWriteV1(service),
		"rw1-users": remoteWriteV1(careless),
		"rw1-twins": remoteWriteV1(twins),
		"rw2": {
			"RW 2.0", "metrics", "/api/v1/write", fakecloud.Prometheus,
			map[string]string{
				"Content-Type":     "application/x-protobuf;proto=io.prometheus.write.v2.Request",
				"Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "2.0.0",
			},
			composeV2, func(p *fakecloud.Push) ([]byte, error) { return snapped(p.V2.Marshal()) },
		},
		"loki": {
			"Loki", "logs", "/loki/api/v1/push", fakecloud.Loki, proto,
			composeLoki, func(p *fakecloud.Push) ([]byte, error) { return snapped(p.Logs.Marshal()) },
		},
		"loki-json": {
			"Loki JSON", "logs", "/loki/api/v1/push", fakecloud.Loki,
			map[string]string{"Content-Type": "application/json"}, composeLoki, lokiJSON,
		},
		"metrics-http": {
			"OTLP", "metrics", "/v1/metrics", fakecloud.OTLPMetrics,
			map[string]string{"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"},
			composeMetrics, func(p *fakecloud.Push) ([]byte, error) {
				return gzipped(pmetricotlp.NewExportRequestFromMetrics(p.Metrics).MarshalProto())
			},
		},
		"traces-json": {
			"OTLP JSON", "traces", "/v1/traces", fakecloud.OTLPTraces,
			map[string]string{"Content-Type": "application/json"},
			composeTraces, func(p *fakecloud.Push) ([]byte, error) {
				return ptraceotlp.NewExportRequestFromTraces(p.Traces).MarshalJSON()
			},
		},
		"traces-grpc": {"OTLP gRPC", "traces", "", fakecloud.OTLPTraces, nil, composeTraces, nil},
		"logs-grpc":   {"OTLP gRPC", "logs", "", fakecloud.OTLPLogs, nil, composeRecords, nil},
	}
}

// route gives items a few series and span names each.
func route(seq uint64) string { return "/api/v" + strconv.FormatUint(seq%5, 10) }

// remoteWriteV1 is remote_write v1 of series that labelsOf makes: of item number seq, which is number i of its push.
func remoteWriteV1(labelsOf func(id string, i, seq uint64) []prompb.Label) dialect {
	return dialect{
		"RW 1.0", "metrics", "/api/v1/push", fakecloud.Prometheus,
		map[string]string{
			"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
			"X-Prometheus-Remote-Write-Version": "0.1.0",
		},
		func(p *fakecloud.Push, id string, first uint64, n int, at time.Time) {
			p.V1 = &prompb.WriteRequest{}
			for seq := first; seq < first+uint64(n); seq++ {
				p.V1.Timeseries = append(p.V1.Timeseries, prompb.TimeSeries{
					Labels:  labelsOf(id, seq-first, seq),
					Samples: []prompb.Sample{{Value: float64(seq), Timestamp: at.UnixMilli()}},
				})
			}
		},
		func(p *fakecloud.Push) ([]byte, error) { return snapped(p.V1.Marshal()) },
	}
}

// service is what a service says of itself, and now and then something that nobody looks at.
func service(id string, i, seq uint64) []prompb.Label {
	instance := strconv.FormatUint(i, 10)
	if i%8 == 7 {
		return []prompb.Label{{Name: "__name__", Value: uselessMetric}, {Name: "instance", Value: instance}, {Name: "job", Value: id}, {Name: uselessLabel, Value: uid(i)}}
	}
	return []prompb.Label{
		{Name: "__name__", Value: "http_requests_total"}, {Name: "instance", Value: instance}, {Name: "job", Value: id},
		{Name: "path", Value: route(seq)}, {Name: uselessLabel, Value: uid(i)},
	}
}

// careless is a service with a release that put the user into a label.
func careless(id string, i, seq uint64) []prompb.Label {
	if i%3 == 0 {
		return []prompb.Label{
			{Name: "__name__", Value: "http_requests_total"}, {Name: "instance", Value: strconv.FormatUint(i, 10)}, {Name: "job", Value: id}, {Name: "path", Value: route(seq)},
		}
	}
	return []prompb.Label{{Name: "__name__", Value: "orders_total"}, {Name: "job", Value: id}, {Name: carelessLabel, Value: "u-" + strconv.FormatUint(seq, 10)}}
}

// twins are series that only neededLabel tells apart.
func twins(id string, i, _ uint64) []prompb.Label {
	return []prompb.Label{
		{Name: "__name__", Value: "jobs_done_total"}, {Name: "instance", Value: strconv.FormatUint(i/2, 10)}, {Name: "job", Value: id}, {Name: neededLabel, Value: "ab"[i%2 : i%2+1]},
	}
}

// uid is an id as orchestrators give it: another one for each instance, and no use to anybody who asks by instance.
func uid(i uint64) string { return fmt.Sprintf("%08x", i*2654435761&0xffffffff) }

func composeV2(p *fakecloud.Push, id string, first uint64, n int, at time.Time) {
	symbols := writev2.NewSymbolTable()
	p.V2 = &writev2.Request{}
	for seq := first; seq < first+uint64(n); seq++ {
		ls := labels.FromStrings("__name__", "http_requests_total", "instance", strconv.FormatUint(seq-first, 10), "job", id, "path", route(seq), uselessLabel, uid(seq-first))
		p.V2.Timeseries = append(p.V2.Timeseries, writev2.TimeSeries{
			LabelsRefs: symbols.SymbolizeLabels(ls, nil),
			Samples:    []writev2.Sample{{Value: float64(seq), Timestamp: at.UnixMilli()}},
			Metadata:   writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: symbols.Symbolize("Requests served.")},
		})
	}
	p.V2.Symbols = symbols.Symbols()
}

func composeLoki(p *fakecloud.Push, id string, first uint64, n int, at time.Time) {
	p.Logs = &push.PushRequest{Streams: make([]push.Stream, 4)}
	for i := range p.Logs.Streams {
		p.Logs.Streams[i].Labels = labels.FromStrings("job", id, "level", []string{"info", "warn"}[i%2], streamLabel, []string{"a", "b"}[i/2]).String()
	}
	for seq := first; seq < first+uint64(n); seq++ {
		s := &p.Logs.Streams[seq%4]
		s.Entries = append(s.Entries, push.Entry{
			Timestamp:          at.Add(time.Duration(seq-first) * time.Microsecond),
			Line:               fmt.Sprintf(`seq=%d msg="served" path=%s`, seq, route(seq)),
			StructuredMetadata: push.LabelsAdapter{{Name: "trace_id", Value: fmt.Sprintf("%032x", seq+1)}},
		})
	}
}

func composeMetrics(p *fakecloud.Push, id string, first uint64, n int, at time.Time) {
	p.Metrics = pmetric.NewMetrics()
	rm := p.Metrics.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", id)
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("queue.depth")
	points := m.SetEmptyGauge().DataPoints()
	for seq := first; seq < first+uint64(n); seq++ {
		d := points.AppendEmpty()
		d.SetTimestamp(pcommon.NewTimestampFromTime(at))
		d.SetIntValue(int64(seq))
		d.Attributes().PutStr("queue", strconv.FormatUint(seq-first, 10))
	}
}

func composeTraces(p *fakecloud.Push, id string, first uint64, n int, at time.Time) {
	p.Traces = ptrace.NewTraces()
	rs := p.Traces.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", id)
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	// Trace ids have to differ between senders, not only between spans.
	h := fnv.New64a()
	h.Write([]byte(id))
	var trace [16]byte
	binary.BigEndian.PutUint64(trace[:], h.Sum64()|1)
	binary.BigEndian.PutUint64(trace[8:], first+1)
	for seq := first; seq < first+uint64(n); seq++ {
		s := spans.AppendEmpty()
		var span [8]byte
		binary.BigEndian.PutUint64(span[:], seq+1)
		s.SetTraceID(trace)
		s.SetSpanID(span)
		s.SetName("GET " + route(seq))
		s.SetKind(ptrace.SpanKindServer)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(at))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(at.Add(3 * time.Millisecond)))
		s.Attributes().PutInt("seq", int64(seq))
	}
}

func composeRecords(p *fakecloud.Push, id string, first uint64, n int, at time.Time) {
	p.Records = plog.NewLogs()
	rl := p.Records.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("service.name", id)
	records := rl.ScopeLogs().AppendEmpty().LogRecords()
	for seq := first; seq < first+uint64(n); seq++ {
		r := records.AppendEmpty()
		r.SetTimestamp(pcommon.NewTimestampFromTime(at))
		r.SetSeverityNumber(plog.SeverityNumberInfo)
		r.Body().SetStr("job " + route(seq) + " done")
		r.Attributes().PutInt("seq", int64(seq))
	}
}

func lokiJSON(p *fakecloud.Push) ([]byte, error) {
	type stream struct {
		Stream map[string]string `json:"stream"`
		Values [][]any           `json:"values"`
	}
	var out struct {
		Streams []stream `json:"streams"`
	}
	syntax := parser.NewParser(parser.Options{})
	for _, s := range p.Logs.Streams {
		ls, err := syntax.ParseMetric(s.Labels)
		if err != nil {
			return nil, err
		}
		to := stream{Stream: ls.Map()}
		for _, e := range s.Entries {
			meta := map[string]string{}
			for _, m := range e.StructuredMetadata {
				meta[m.Name] = m.Value
			}
			to.Values = append(to.Values, []any{strconv.FormatInt(e.Timestamp.UnixNano(), 10), e.Line, meta})
		}
		out.Streams = append(out.Streams, to)
	}
	return json.Marshal(out)
}

func snapped(b []byte, err error) ([]byte, error) { return snappy.Encode(nil, b), err }

func gzipped(b []byte, err error) ([]byte, error) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, werr := w.Write(b)
	if werr == nil {
		werr = w.Close()
	}
	if err == nil {
		err = werr
	}
	return z.Bytes(), err
}
