package otlp

import (
	"net/http"
	"strings"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

const (
	typeProtobuf = "application/x-protobuf"
	typeJSON     = "application/json"
)

// mediaType is the Content-Type without its parameters.
func mediaType(h http.Header) string {
	t, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}

func openHTTP(h http.Header) (ingest.Content, error) {
	var c ingest.Content
	switch mediaType(h) {
	case typeProtobuf:
	case typeJSON:
		c.JSON, c.Weight = true, jsonWeight
	default:
		return c, fault.New(fault.Unsupported, "Content-Type %q: OTLP over HTTP takes %s and %s", h.Get("Content-Type"), typeProtobuf, typeJSON)
	}
	var err error
	c.Codecs, err = codecs(h, "Content-Encoding")
	return c, err
}

// openGRPC reads the headers of a call. Whether a message is compressed at all, its own flag says; with which codec, this.
func openGRPC(h http.Header) (ingest.Content, error) {
	var c ingest.Content
	switch mediaType(h) {
	case "application/grpc", "application/grpc+proto", "": // the envelope saw to it that it is a gRPC call
	default:
		return c, fault.New(fault.Unsupported, "Content-Type %q: OTLP over gRPC takes application/grpc and application/grpc+proto", h.Get("Content-Type"))
	}
	var err error
	c.Codecs, err = codecs(h, "Grpc-Encoding")
	return c, err
}

// codecs reads the header that names the compression. More than one is none that is known.
func codecs(h http.Header, name string) ([]ingest.Codec, error) {
	v := strings.Join(h.Values(name), ",")
	switch strings.ToLower(strings.TrimSpace(v)) {
	case "", "identity":
		return nil, nil
	case "gzip":
		return []ingest.Codec{ingest.Gzip}, nil
	case "zstd":
		return []ingest.Codec{ingest.Zstd}, nil
	}
	return nil, fault.New(fault.Unsupported, "%s %q: OTLP takes identity, gzip and zstd", name, v)
}
