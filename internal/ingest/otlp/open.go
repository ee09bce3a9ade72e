package otlp

import (
	"net/http"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

const (
	typeProtobuf = "application/x-protobuf"
	typeJSON     = "application/json"
)

func openHTTP(h http.Header) (ingest.Content, error) {
	var c ingest.Content
	switch ingest.MediaType(h) {
	case typeProtobuf:
	case typeJSON:
		c.JSON, c.Weight = true, jsonWeight
	default:
		return c, fault.New(fault.Unsupported, "Content-Type %q: OTLP over HTTP takes %s and %s", h.Get("Content-Type"), typeProtobuf, typeJSON)
	}
	var err error
	c.Codecs, err = ingest.Encoding(h, "Content-Encoding", ingest.Gzip, ingest.Zstd)
	return c, err
}

// openGRPC reads the headers of a call. Whether a message is compressed at all, its own flag says; with which codec, this.
func openGRPC(h http.Header) (ingest.Content, error) {
	var c ingest.Content
	switch ingest.MediaType(h) {
	case "application/grpc", "application/grpc+proto", "": // the envelope saw to it that it is a gRPC call
	default:
		return c, fault.New(fault.Unsupported, "Content-Type %q: OTLP over gRPC takes application/grpc and application/grpc+proto", h.Get("Content-Type"))
	}
	var err error
	c.Codecs, err = ingest.Encoding(h, "Grpc-Encoding", ingest.Gzip, ingest.Zstd)
	return c, err
}
