package gateway

import (
	"net/http"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/jaeger"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/loki"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/otlp"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/remotewrite"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/zipkin"
)

// protocols is the list of doors. Where two share a route, the first that claims a push has it.
var protocols = []*ingest.Protocol{
	remotewrite.V2, remotewrite.V1,
	loki.Push,
	otlp.TracesHTTP, otlp.MetricsHTTP, otlp.LogsHTTP,
	otlp.TracesGRPC, otlp.MetricsGRPC, otlp.LogsGRPC,
	zipkin.V2, zipkin.V1,
	jaeger.HTTP, jaeger.GRPC,
}

// routes finds the door of a request. It never changes after newRoutes.
type routes struct {
	http map[string][]*ingest.Protocol // by path
	grpc map[string]*ingest.Protocol   // by method, which is a path too
}

func newRoutes(list []*ingest.Protocol) *routes {
	rs := &routes{http: make(map[string][]*ingest.Protocol), grpc: make(map[string]*ingest.Protocol)}
	for _, p := range list {
		for _, path := range p.Routes {
			rs.http[path] = append(rs.http[path], p)
		}
		if p.Method != "" {
			rs.grpc[p.Method] = p
		}
	}
	return rs
}

// find returns the door for path and headers, nil if there is none.
func (rs *routes) find(path string, h http.Header) *ingest.Protocol {
	for _, p := range rs.http[path] {
		if p.Claims == nil || p.Claims(h) {
			return p
		}
	}
	return nil
}
