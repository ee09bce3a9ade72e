// Package jaeger is the Jaeger doors: POST /api/traces (a Batch in Thrift's binary protocol) and gRPC's
// CollectorService.PostSpans, as Jaeger's clients and agents send them. Spans are translated to OTLP by the translators
// of the Collector, so that a push becomes what the Collector's jaeger receiver makes of it; a span that cannot be read
// is refused alone. What agents ask of SamplingManager has one answer (see StrategyJSON).
// It never looks at ?format= and never changes an id.
// internal/gateway lists HTTP and GRPC and drives them.
//
// What has no place in OTLP is dropped, as the Collector does: the debug flag, warnings, process_id, and what a client
// says of its own losses (seqNo, stats).
//
// Sources: jaegertracing/jaeger-idl thrift/jaeger.thrift, proto/api_v2/model.proto and collector.proto. Thrift's TagType
// and protobuf's ValueType have the same names and other numbers.
package jaeger

import (
	"fmt"
	"net/http"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/otlp"
)

// HTTP is the door for Thrift.
var HTTP = &ingest.Protocol{
	Name:   "jaeger_http",
	Signal: ingest.Traces,
	Routes: []string{"/api/traces"},
	Exits:  otlp.TracesHTTP.Exits,
	Forms:  otlp.TracesHTTP.Forms,
	Again:  true,
	Open:   openHTTP,
	Decode: decodeThrift,
	Accept: acceptHTTP,
	Refuse: func(_ http.Header, e *fault.Error) ingest.Reply { return ingest.TextReply(e.HTTPStatus(), e.Public) },
}

// GRPC is the door for protobuf.
var GRPC = &ingest.Protocol{
	Name:   "jaeger_grpc",
	Signal: ingest.Traces,
	Method: "/jaeger.api_v2.CollectorService/PostSpans",
	Exits:  otlp.TracesGRPC.Exits,
	Forms:  otlp.TracesGRPC.Forms,
	Again:  true,
	Open:   openGRPC,
	Decode: decodeProto,
	Accept: acceptGRPC,
}

// What decoding holds for each byte of the body: the spans in Jaeger's model, in the Collector's, and as protobuf.
// Measured with spans as clients send them; TestWeight holds it to that, and the density limit bounds what is made to
// break it.
const (
	thriftWeight = 9
	protoWeight  = 15
)

// What a push can be made of to weigh the most: next to empty structs. density is how many bytes by this reckoning a
// byte may weigh, densitySlack lets small pushes be as dense as they like.
const (
	spanBytes    = 800
	structBytes  = 200
	density      = 24
	densitySlack = 64 << 10
)

// maxTags bounds the tags of a span, a log or a process. The translators look through all attributes for each that they
// put: a span of a million tags would take hours.
const maxTags = 1024

// tooDense is the error of a push of n bytes that would take weight bytes of memory, if that is out of all proportion.
func tooDense(n, weight int) error {
	if limit := density*n + densitySlack; weight > limit {
		return fmt.Errorf("%d bytes that would take %d bytes of memory, over %d", n, weight, limit)
	}
	return nil
}

func openHTTP(h http.Header) (ingest.Content, error) {
	c := ingest.Content{Weight: thriftWeight}
	switch ingest.MediaType(h) {
	case "application/x-thrift", "application/vnd.apache.thrift.binary":
	default:
		return c, fault.New(fault.Unsupported, "Content-Type %.60q: /api/traces takes application/x-thrift and application/vnd.apache.thrift.binary", h.Get("Content-Type"))
	}
	var err error
	c.Codecs, err = ingest.Encoding(h, "Content-Encoding", ingest.Gzip)
	return c, err
}

// openGRPC reads the headers of a call, which the envelope has found to be gRPC.
func openGRPC(h http.Header) (ingest.Content, error) {
	c := ingest.Content{Weight: protoWeight}
	switch ingest.MediaType(h) {
	case "application/grpc", "application/grpc+proto", "":
	default:
		return c, fault.New(fault.Unsupported, "Content-Type %.60q: PostSpans takes application/grpc and application/grpc+proto", h.Get("Content-Type"))
	}
	var err error
	c.Codecs, err = ingest.Encoding(h, "Grpc-Encoding", ingest.Gzip)
	return c, err
}

// acceptHTTP answers 202 and nothing, as Jaeger does, also where a rule dropped all. Spans that were refused are a 400
// though the rest was taken: there is no partial success, and clients do not send again.
func acceptHTTP(_ ingest.Content, a ingest.Answer) ingest.Reply {
	if len(a.Refused) > 0 {
		return ingest.TextReply(http.StatusBadRequest, ingest.RefusalText(a.Refused))
	}
	return ingest.Reply{Status: http.StatusAccepted}
}

// acceptGRPC answers an empty PostSpansResponse, which is no bytes at all.
func acceptGRPC(_ ingest.Content, a ingest.Answer) ingest.Reply {
	if len(a.Refused) > 0 {
		return ingest.Reply{Status: http.StatusBadRequest, Body: []byte(ingest.RefusalText(a.Refused))}
	}
	return ingest.Reply{Status: http.StatusOK}
}

// refusals are the spans that cannot be read, by reason.
type refusals []ingest.Refusal

// add counts items spans. The sender is told of the first of each reason.
func (rs *refusals) add(reason string, items int, text string) {
	if items == 0 {
		return
	}
	for i := range *rs {
		if (*rs)[i].Reason == reason {
			(*rs)[i].Items += items
			return
		}
	}
	*rs = append(*rs, ingest.Refusal{Reason: reason, Items: items, Text: text})
}

// The reasons.
const (
	badID   = "invalid_id"
	badItem = "invalid_item"
)

// blankText is why the translators leave a span out: all of it is zero.
const blankText = "a span without ids, names or anything else"
