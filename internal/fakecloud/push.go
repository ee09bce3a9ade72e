package fakecloud

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang/snappy"
	"github.com/grafana/loki/pkg/push"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// Push is one push that was stored. It is shared by all who look at it and is not to be changed.
type Push struct {
	Endpoint string
	Instance Instance
	Header   http.Header
	// Arrived is when the headers were read.
	Arrived time.Time

	// WireBytes is the length of the body as it came. Body is the body decompressed.
	WireBytes int
	Body      []byte
	// Items are samples and histograms, data points, lines or spans; Rejected of them were not stored (Fault.Reject).
	Items, Rejected int

	// Exactly one of these is set. The pdata messages are valid for their Endpoint alone.
	V1      *prompb.WriteRequest
	V2      *writev2.Request
	Logs    *push.PushRequest
	Traces  ptrace.Traces
	Metrics pmetric.Metrics
	Records plog.Logs

	json bool
	// grpc: the body came in a gRPC message, which is binary and decompressed already.
	grpc bool
	// mistaken: a v2 push that was read as v1 (V2TakenForV1). There is nothing in it to check or to store.
	mistaken bool
}

// statusError is a refusal with a status of its own; other errors are 400.
type statusError struct {
	status int
	text   string
	// innocent: the push breaks no rule, this receiver is only too old for it.
	innocent bool
}

func (e *statusError) Error() string { return e.text }

func unsupported(format string, args ...any) error {
	return &statusError{status: http.StatusUnsupportedMediaType, text: fmt.Sprintf(format, args...)}
}

// readBody reads at most max bytes, and says so when the body ends early.
func readBody(r *http.Request, max int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r.Body, max+1))
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	if int64(len(b)) > max {
		return nil, fmt.Errorf("body over %d bytes", max)
	}
	return b, nil
}

// decode decompresses and decodes the body as the receiver behind the endpoint would.
func (p *Push) decode(body []byte, mode V2Mode, max int64) error {
	switch p.Endpoint {
	case Prometheus:
		return p.decodeRemoteWrite(body, mode, max)
	case Loki:
		return p.decodeLoki(body, max)
	}
	return p.decodeOTLP(body, max)
}

func (p *Push) decodeRemoteWrite(body []byte, mode V2Mode, max int64) (err error) {
	v2, err := isV2(p.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	if v2 {
		switch mode {
		case V2Refuse415:
			return &statusError{http.StatusUnsupportedMediaType, "remote write 2.0 is not supported", true}
		case V2Refuse400:
			return &statusError{http.StatusBadRequest, "unknown protobuf message in the content type", true}
		}
	}
	// Mimir decompresses whatever Content-Encoding says.
	if p.Body, err = unsnappy(body, max); err != nil {
		return err
	}
	if v2 && mode == V2Accept {
		p.V2 = &writev2.Request{}
		if err := p.V2.Unmarshal(p.Body); err != nil {
			return fmt.Errorf("decode remote_write v2: %w", err)
		}
		for i := range p.V2.Timeseries {
			p.Items += len(p.V2.Timeseries[i].Samples) + len(p.V2.Timeseries[i].Histograms)
		}
		return nil
	}
	p.V1, p.mistaken = &prompb.WriteRequest{}, v2
	if err := p.V1.Unmarshal(p.Body); err != nil {
		return fmt.Errorf("decode remote_write v1: %w", err)
	}
	for i := range p.V1.Timeseries {
		p.Items += len(p.V1.Timeseries[i].Samples) + len(p.V1.Timeseries[i].Histograms)
	}
	return nil
}

// isV2 reads the content type as Mimir does: by splitting, so that "; proto=" with a space is not seen at all.
func isV2(contentType string) (bool, error) {
	parts := strings.Split(contentType, ";")
	if parts[0] != "application/x-protobuf" {
		return false, nil
	}
	for _, part := range parts[1:] {
		name, value, _ := strings.Cut(part, "=")
		switch {
		case name != "proto", value == "prometheus.WriteRequest":
		case value == "io.prometheus.write.v2.Request":
			return true, nil
		default:
			return false, fmt.Errorf("unknown protobuf message %q", value)
		}
	}
	return false, nil
}

func (p *Push) decodeLoki(body []byte, max int64) (err error) {
	switch enc := p.Header.Get("Content-Encoding"); enc {
	case "", "snappy":
	case "gzip":
		if body, err = gunzip(body, max); err != nil {
			return err
		}
	case "deflate": // raw, as Loki has it
		if body, err = readAll(flate.NewReader(bytes.NewReader(body)), max); err != nil {
			return err
		}
	default:
		return fmt.Errorf("content encoding %q not supported", enc)
	}
	p.Logs = &push.PushRequest{}
	if strings.HasPrefix(p.Header.Get("Content-Type"), "application/json") {
		p.json = true
		p.Body = body
		err = decodeLokiJSON(body, p.Logs)
	} else if p.Body, err = unsnappy(body, max); err == nil {
		err = p.Logs.Unmarshal(p.Body)
	}
	if err != nil {
		return fmt.Errorf("decode loki push: %w", err)
	}
	if len(p.Logs.Streams) == 0 {
		return &statusError{status: http.StatusUnprocessableEntity, text: "at least one valid stream is required for ingestion"}
	}
	for i := range p.Logs.Streams {
		p.Items += len(p.Logs.Streams[i].Entries)
	}
	return nil
}

// decodeLokiJSON reads Loki's JSON of version 1.
func decodeLokiJSON(body []byte, to *push.PushRequest) error {
	var req struct {
		Streams []struct {
			Stream map[string]any      `json:"stream"`
			Values [][]json.RawMessage `json:"values"`
		} `json:"streams"`
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&req); err != nil {
		return err
	}
	for _, s := range req.Streams {
		var pairs []string
		for n, v := range s.Stream {
			pairs = append(pairs, n+"="+strconv.Quote(fmt.Sprint(v)))
		}
		slices.Sort(pairs)
		out := push.Stream{Labels: "{" + strings.Join(pairs, ", ") + "}"}
		for _, v := range s.Values {
			var e push.Entry
			var ts string
			if len(v) < 2 || json.Unmarshal(v[0], &ts) != nil || json.Unmarshal(v[1], &e.Line) != nil {
				return fmt.Errorf("value that is not [timestamp, line]")
			}
			ns, err := strconv.ParseInt(ts, 10, 64)
			if err != nil {
				return fmt.Errorf("timestamp: %w", err)
			}
			e.Timestamp = time.Unix(0, ns)
			if len(v) > 2 {
				if err := e.StructuredMetadata.UnmarshalJSON(v[2]); err != nil {
					return fmt.Errorf("structured metadata: %w", err)
				}
			}
			out.Entries = append(out.Entries, e)
		}
		to.Streams = append(to.Streams, out)
	}
	return nil
}

func (p *Push) decodeOTLP(body []byte, max int64) (err error) {
	if p.grpc {
		return p.decodeExport(body)
	}
	switch enc := p.Header.Get("Content-Encoding"); enc {
	case "":
	case "gzip":
		if body, err = gunzip(body, max); err != nil {
			return err
		}
	default:
		return unsupported("unsupported compression %q: only gzip or none", enc)
	}
	switch ct := p.Header.Get("Content-Type"); ct {
	case "application/x-protobuf":
	case "application/json":
		p.json = true
	default:
		return unsupported("unsupported content type %q", ct)
	}
	return p.decodeExport(body)
}

func (p *Push) decodeExport(body []byte) (err error) {
	p.Body = body
	switch p.Endpoint {
	case OTLPTraces:
		req := ptraceotlp.NewExportRequest()
		err = unmarshal(p.json, body, req.UnmarshalJSON, req.UnmarshalProto)
		p.Traces = req.Traces()
		p.Items = p.Traces.SpanCount()
	case OTLPMetrics:
		req := pmetricotlp.NewExportRequest()
		err = unmarshal(p.json, body, req.UnmarshalJSON, req.UnmarshalProto)
		p.Metrics = req.Metrics()
		p.Items = p.Metrics.DataPointCount()
	case OTLPLogs:
		req := plogotlp.NewExportRequest()
		err = unmarshal(p.json, body, req.UnmarshalJSON, req.UnmarshalProto)
		p.Records = req.Logs()
		p.Items = p.Records.LogRecordCount()
	}
	if err != nil {
		return fmt.Errorf("decode otlp push: %w", err)
	}
	return nil
}

func unmarshal(isJSON bool, body []byte, fromJSON, fromProto func([]byte) error) error {
	if isJSON {
		return fromJSON(body)
	}
	return fromProto(body)
}

func unsnappy(body []byte, max int64) ([]byte, error) {
	n, err := snappy.DecodedLen(body)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	if int64(n) > max {
		return nil, fmt.Errorf("decompress: %d bytes, over %d", n, max)
	}
	out, err := snappy.Decode(nil, body)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return out, nil
}

func gunzip(body []byte, max int64) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return readAll(z, max)
}

func readAll(r io.Reader, max int64) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(r, max+1))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	if int64(len(out)) > max {
		return nil, fmt.Errorf("decompress: over %d bytes", max)
	}
	return out, nil
}
