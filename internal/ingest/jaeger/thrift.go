package jaeger

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/apache/thrift/lib/go/thrift"
	jaegerthrift "github.com/jaegertracing/jaeger-idl/thrift-gen/jaeger"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/jaeger"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/otlp"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// decodeThrift reads a Batch. The library is given only what the walk has found to be whole, shallow and of a size.
func decodeThrift(raw []byte, _ ingest.Content) (ingest.Batch, error) {
	batch, err := readThrift(raw)
	if err != nil {
		return nil, ingest.Malformed("jaeger batch", err)
	}
	var refused refusals
	n := 0
	batch.Spans = slices.DeleteFunc(batch.Spans, func(s *jaegerthrift.Span) bool {
		n++
		if !manyTags(s) {
			return false
		}
		refused.add(badItem, 1, fmt.Sprintf("span %d of the batch: over %d tags", n, maxTags))
		return true
	})
	td, err := jaeger.ThriftToTraces(batch)
	if err != nil {
		return nil, ingest.Malformed("jaeger batch", err)
	}
	refused.add(badID, len(batch.Spans)-td.SpanCount(), blankText)
	return otlp.FromTraces(td, refused)
}

func readThrift(raw []byte) (*jaegerthrift.Batch, error) {
	var w wire.Thrift
	rest, err := w.Struct(raw)
	switch {
	case err != nil:
	case len(rest) > 0:
		err = fmt.Errorf("%d bytes after the end of the batch", len(rest))
	default:
		err = tooDense(len(raw), w.Structs*structBytes)
	}
	if err != nil {
		return nil, err
	}
	conf := &thrift.TConfiguration{MaxMessageSize: int32(min(len(raw), math.MaxInt32))}
	batch := jaegerthrift.NewBatch()
	in := thrift.NewTBinaryProtocolConf(&thrift.TMemoryBuffer{Buffer: bytes.NewBuffer(raw)}, conf)
	if err := batch.Read(context.Background(), in); err != nil {
		return nil, err
	}
	if n := len(batch.Process.Tags); n > maxTags {
		return nil, fmt.Errorf("a process of %d tags, over %d", n, maxTags)
	}
	return batch, nil
}

func manyTags(s *jaegerthrift.Span) bool {
	return len(s.Tags) > maxTags || slices.ContainsFunc(s.Logs, func(l *jaegerthrift.Log) bool { return len(l.Fields) > maxTags })
}
