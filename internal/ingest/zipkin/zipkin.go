// Package zipkin is the Zipkin doors: POST /api/v2/spans (JSON and protobuf) and /api/v1/spans (JSON and Thrift), as
// Zipkin's own reporters, Brave, Spring, Envoy, Linkerd and OpenTelemetry's exporter send them. Spans are translated to
// OTLP by the translators of the Collector, so that a push becomes what the Collector's zipkin receiver makes of it; a
// span that cannot be read is refused alone. It never merges the two halves of a shared span, never changes an id but
// for the zeros that make 128 bits of 64, never guesses types of tags and never follows a `b3` or traceparent header.
// internal/gateway lists V1 and V2 and drives them.
//
// Where the Collector refuses a push or loses a part of it that Zipkin's server stores, it is stored here:
//
//   - Tags that are numbers or booleans are taken as their text, times with a fraction are cut to microseconds, addresses
//     that are none are left out. In v1 JSON an annotation `sa`, `ca` or `ma` that is true becomes what v2's
//     remoteEndpoint does; in Thrift it is the Collector's to read.
//   - Trace ids of 8 bytes in protobuf, and ids with fewer digits than they should have, are padded on the left.
//   - A v1 span of a service without a name stays without one, so that it is counted and can be given the client's.
//   - An annotation with a | in it is one event with that name, unless it is how OpenTelemetry's exporter writes events.
//
// The debug flag, of a span or as X-B3-Flags, has no place in OTLP: it tells a tracer to record, and that was done.
//
// Sources: openzipkin/zipkin-api zipkin.proto, zipkin2-api.yaml and zipkinCore.thrift; zipkin2.internal.V2SpanReader;
// OpenTelemetry's specification, trace/sdk_exporters/zipkin.md
package zipkin

import (
	"fmt"
	"net/http"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/otlp"
)

// The doors.
var (
	V2 = door("/api/v2/spans", decodeV2, typeProtobuf, protoWeight)
	V1 = door("/api/v1/spans", decodeV1, typeThrift, thriftWeight)
)

const (
	typeJSON     = "application/json"
	typeProtobuf = "application/x-protobuf"
	typeThrift   = "application/x-thrift"
)

// What decoding holds for each byte of the body: the spans in Zipkin's model, in the Collector's, and as protobuf.
// Measured with spans as reporters send them; TestWeight holds it to that, and the density limits bound what is made to
// break it.
const (
	jsonWeight   = 13
	protoWeight  = 18
	thriftWeight = 11
)

// door makes one of the two: JSON, or binary of type other.
func door(route string, decode func([]byte, ingest.Content) (ingest.Batch, error), other string, weight int) *ingest.Protocol {
	return &ingest.Protocol{
		Name:   "zipkin",
		Signal: ingest.Traces,
		Routes: []string{route},
		Exits:  otlp.TracesHTTP.Exits,
		Forms:  otlp.TracesHTTP.Forms,
		Again:  true,
		Open: func(h http.Header) (ingest.Content, error) {
			c := ingest.Content{Weight: weight}
			switch ingest.MediaType(h) {
			case "", typeJSON:
				c.JSON, c.Weight = true, jsonWeight
			case other:
			default:
				return c, fault.New(fault.Unsupported, "Content-Type %.60q: %s takes %s and %s", h.Get("Content-Type"), route, typeJSON, other)
			}
			var err error
			c.Codecs, err = ingest.Encoding(h, "Content-Encoding", ingest.Gzip)
			return c, err
		},
		Decode: decode,
		Accept: accept,
		Refuse: refuse,
	}
}

func decodeV2(raw []byte, c ingest.Content) (ingest.Batch, error) {
	var l list
	err := error(nil)
	if c.JSON {
		err = l.readJSON(raw)
	} else {
		err = l.readProto(raw)
	}
	if err != nil {
		return nil, ingest.Malformed("zipkin v2", err)
	}
	td, err := l.traces()
	if err != nil {
		return nil, ingest.Malformed("zipkin v2", err)
	}
	return otlp.FromTraces(td, l.refused)
}

func decodeV1(raw []byte, c ingest.Content) (ingest.Batch, error) {
	read := thriftToTraces
	if c.JSON {
		read = jsonToTraces
	}
	td, refused, err := read(raw)
	if err != nil {
		return nil, ingest.Malformed("zipkin v1", err)
	}
	return otlp.FromTraces(td, refused)
}

// refusals are the spans that cannot be read, by reason.
type refusals []ingest.Refusal

// add counts a span, the n-th of the push. The sender is told of the first of each reason, by its place: what is in it
// stays out of answers and logs.
func (rs *refusals) add(reason string, n int, why string) {
	for i := range *rs {
		if (*rs)[i].Reason == reason {
			(*rs)[i].Items++
			return
		}
	}
	*rs = append(*rs, ingest.Refusal{Reason: reason, Items: 1, Text: fmt.Sprintf("span %d of the list: %s", n, why)})
}

// The reasons.
const (
	badID   = "invalid_id"
	badItem = "invalid_item"
)

// accept answers 202 and nothing, as Zipkin does, also where a rule dropped all. Spans that were refused are a 400 though
// the rest was taken: there is no partial success, and reporters do not send again.
func accept(_ ingest.Content, a ingest.Answer) ingest.Reply {
	if len(a.Refused) > 0 {
		return ingest.TextReply(http.StatusBadRequest, ingest.RefusalText(a.Refused))
	}
	return ingest.Reply{Status: http.StatusAccepted}
}

func refuse(_ http.Header, e *fault.Error) ingest.Reply {
	return ingest.TextReply(e.HTTPStatus(), e.Public)
}
