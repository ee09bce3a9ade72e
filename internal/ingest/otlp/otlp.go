// Package otlp is the OTLP doors: traces, metrics and logs, each over HTTP and over gRPC. It counts the items of a push
// by walking its protobuf in place, stamps labels by copying all that it does not change as bytes, and puts answers into
// OTLP's words. JSON pushes become protobuf here. Spans it also samples, refuses for bad ids and gives a service.name. What
// an ingest.Reducer says of points, spans, records and resources it carries out: it takes them out, or changes their
// attributes and names. It never builds a push of structs (JSON alone goes through pdata), never drops or renames anything
// else, knows no rule, and nothing of gRPC's envelope: the road takes that off.
// internal/gateway lists its doors and uses Status for gRPC's failures; doors that translate to OTLP use FromTraces.
//
// What upstream makes of odd but well-formed input decides how it is counted, and upstream is built on pdata:
//
//   - Of a Metric's data (gauge, sum, histogram, ...) the last one counts, also where one kind comes twice: pdata does
//     not merge those. Stamps go to all of them.
//   - Field 1000 of ResourceSpans and its kin (what scope_spans was called before 0.15) counts where there is no field 2.
//   - A field that ought to be a message and is not is malformed, not unknown.
//
// It is stricter than pdata where pdata would read something else than protobuf says, since what only upstream sees
// would be neither counted nor stamped: field numbers over 2^29-1 (pdata cuts them to 32 bits), varints over 64 bits,
// and groups, unknown ones too (pdata takes what is in them for fields of the message around them). Values nested over
// 64 are malformed as well. It is looser where nothing depends on it: scalars, strings and the ids of log records are not
// looked at, and upstream judges them.
//
// A span whose ids upstream would refuse the whole push for is refused alone: a trace or span id of all zeros or of the
// wrong length, which also a parent's and a link's must not have. Envelopes that lose all their spans go with them;
// those that came empty stay.
//
// Source: https://opentelemetry.io/docs/specs/otlp/
package otlp

import "github.com/telemetry-gateway/telemetry-gateway/internal/ingest"

// The doors.
var (
	TracesHTTP  = traces.http()
	TracesGRPC  = traces.grpc()
	MetricsHTTP = metrics.http()
	MetricsGRPC = metrics.grpc()
	LogsHTTP    = logs.http()
	LogsGRPC    = logs.grpc()
)

// signal is all that tells one signal from another. Everything else is shared.
type signal struct {
	signal ingest.Signal
	// request is the message that a push is.
	request kind
	// path is where it is sent over HTTP, below the base URL; method is its gRPC method.
	path, method string
	exits        []string
	// rejected is the JSON name of partial_success' field 1.
	rejected string
	// fromJSON makes protobuf of JSON that checkJSON has let pass.
	fromJSON func(body []byte) ([]byte, error)
	form     *ingest.Form
}

var (
	traces = withForm(&signal{
		signal:   ingest.Traces,
		request:  tracesRequest,
		path:     "/v1/traces",
		method:   "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
		exits:    []string{"tempo", "otlp"},
		rejected: "rejectedSpans",
		fromJSON: tracesFromJSON,
	})
	metrics = withForm(&signal{
		signal:   ingest.Metrics,
		request:  metricsRequest,
		path:     "/v1/metrics",
		method:   "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
		exits:    []string{"otlp"},
		rejected: "rejectedDataPoints",
		fromJSON: metricsFromJSON,
	})
	logs = withForm(&signal{
		signal:   ingest.Logs,
		request:  logsRequest,
		path:     "/v1/logs",
		method:   "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
		exits:    []string{"otlp"},
		rejected: "rejectedLogRecords",
		fromJSON: logsFromJSON,
	})
)

// withForm gives s the one form in which its pushes leave. The compression is the upstream's affair.
func withForm(s *signal) *signal {
	s.form = &ingest.Form{
		Name:        "otlp",
		ContentType: typeProtobuf,
		Path:        s.path,
		Method:      s.method,
		Codec:       ingest.Identity,
		Text:        refusalText,
		Read:        s.read,
	}
	return s
}

func (s *signal) http() *ingest.Protocol {
	return &ingest.Protocol{
		Name:   "otlp_http",
		Signal: s.signal,
		Routes: []string{s.path, "/otlp" + s.path},
		Exits:  s.exits,
		Forms:  []*ingest.Form{s.form},
		Open:   openHTTP,
		Decode: s.decode,
		Accept: s.acceptHTTP,
		Refuse: refuseHTTP,
	}
}

func (s *signal) grpc() *ingest.Protocol {
	return &ingest.Protocol{
		Name:   "otlp_grpc",
		Signal: s.signal,
		Method: s.method,
		Exits:  s.exits,
		Forms:  []*ingest.Form{s.form},
		Open:   openGRPC,
		Decode: s.decode,
		Accept: s.acceptGRPC,
	}
}
