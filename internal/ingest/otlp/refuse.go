package otlp

import (
	"net/http"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// maxStatusBytes bounds the message of a Status: over gRPC it travels in a trailer, twice, and in base64 the second
// time, where clients allow 8 KiB and more for all headers together.
const maxStatusBytes = 2000

// Status is e as google.rpc.Status: the body of a refusal over HTTP, and grpc-status-details-bin over gRPC. RetryInfo
// goes with it if a retry is to wait; over gRPC, RESOURCE_EXHAUSTED is retried only with it.
func Status(e *fault.Error) *spb.Status {
	s := &spb.Status{Code: int32(e.Code()), Message: clip(e.Public, maxStatusBytes)}
	if e.After > 0 {
		info, err := anypb.New(&errdetails.RetryInfo{RetryDelay: durationpb.New(e.After)})
		if err != nil {
			panic("BUG: a RetryInfo cannot be marshaled: " + err.Error())
		}
		s.Details = append(s.Details, info)
	}
	return s
}

// refuseHTTP answers a Status in the request's encoding. To a request of a type that OTLP does not have (or of none)
// the answer is plain text, as the Collector's is: whoever reads it is a person, or an agent that logs what it gets.
func refuseHTTP(h http.Header, e *fault.Error) ingest.Reply {
	r := ingest.Reply{Status: e.HTTPStatus()}
	var err error
	switch ingest.MediaType(h) {
	case typeProtobuf:
		r.ContentType = typeProtobuf
		r.Body, err = proto.Marshal(Status(e))
	case typeJSON:
		r.ContentType = typeJSON
		r.Body, err = protojson.Marshal(Status(e))
	default:
		r.ContentType = "text/plain; charset=utf-8"
		r.Body = append([]byte(clip(e.Public, maxStatusBytes)), '\n')
	}
	if err != nil {
		panic("BUG: a Status cannot be marshaled: " + err.Error())
	}
	return r
}

// refusalText is the message of the google.rpc.Status that OTLP servers answer refusals with, in either encoding. What is
// none is taken as it is: proxies on the way answer in plain text.
func refusalText(h http.Header, body []byte) []byte {
	st := new(spb.Status)
	switch ingest.MediaType(h) {
	case typeJSON:
		if protojson.Unmarshal(body, st) != nil {
			return body
		}
	case typeProtobuf:
		if proto.Unmarshal(body, st) != nil {
			return body
		}
	}
	if st.Message == "" {
		return body
	}
	return []byte(st.Message)
}
