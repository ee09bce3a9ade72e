package jaeger

import (
	"errors"
	"fmt"

	"github.com/jaegertracing/jaeger-idl/model/v1"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/jaeger"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/otlp"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

var errField = errors.New("protobuf: a field of another type than Jaeger's")

// decodeProto reads a PostSpansRequest: {1: Batch {1: spans, 2: process}}. The library is given each span by itself, so
// that one which it refuses is alone in that, and after a walk, for it takes memory by what a push declares.
func decodeProto(raw []byte, _ ingest.Content) (ingest.Batch, error) {
	r := reader{size: len(raw)}
	if err := r.request(raw); err != nil {
		return nil, ingest.Malformed("jaeger spans", err)
	}
	td, err := jaeger.ProtoToTraces([]*model.Batch{&r.batch})
	if err != nil {
		return nil, ingest.Malformed("jaeger spans", err)
	}
	r.refused.add(badID, len(r.batch.Spans)-td.SpanCount(), blankText)
	return otlp.FromTraces(td, r.refused)
}

type reader struct {
	batch   model.Batch
	refused refusals
	n       int // spans so far
	size    int // of the push
	held    int
	field   wire.Field
}

// each calls f for the fields of msg that are messages or bytes; only is what other fields may not be.
func (r *reader) each(msg []byte, f func(num int32, data []byte) error, only ...int32) error {
	for len(msg) > 0 {
		rest, err := wire.Next(msg, &r.field)
		if err != nil {
			return err
		}
		msg = rest
		num, data := r.field.Num, r.field.Data
		if r.field.Type == wire.Bytes {
			if err := f(num, data); err != nil {
				return err
			}
			continue
		}
		for _, o := range only {
			if num == o {
				return errField
			}
		}
	}
	return nil
}

func (r *reader) charge(n int) error {
	r.held += n
	return tooDense(r.size, r.held)
}

func (r *reader) request(msg []byte) error {
	return r.each(msg, func(num int32, data []byte) error {
		if num != 1 {
			return nil
		}
		return r.each(data, r.inBatch, 1, 2)
	}, 1)
}

// inBatch reads a field of the Batch.
func (r *reader) inBatch(num int32, data []byte) error {
	switch num {
	case 1:
		return r.span(data)
	case 2:
		if err := r.process(data); err != nil {
			return err
		}
		if r.batch.Process == nil {
			r.batch.Process = new(model.Process)
		}
		if err := r.batch.Process.Unmarshal(data); err != nil { // what comes twice merges
			return err
		}
		if n := len(r.batch.Process.Tags); n > maxTags {
			return tagsError("a process", n)
		}
	}
	return nil
}

// tagsError is the error of something that has too many tags.
func tagsError(what string, n int) error {
	return fmt.Errorf("%s of %d tags, over %d", what, n, maxTags)
}

// errAlone is why a span is refused while the rest is taken.
type errAlone struct{ reason, why string }

func (e *errAlone) Error() string { return e.why }

// span reads a Span and adds it to the batch, or refuses it.
func (r *reader) span(msg []byte) error {
	r.n++
	if err := r.charge(spanBytes); err != nil {
		return err
	}
	err := r.walkSpan(msg)
	var alone *errAlone
	if err == nil {
		s := new(model.Span)
		if err := s.Unmarshal(msg); err == nil {
			r.batch.Spans = append(r.batch.Spans, s)
			return nil
		}
		alone = &errAlone{badItem, "a field that is not as Jaeger's protobuf has it"}
	} else if !errors.As(err, &alone) {
		return err
	}
	r.refused.add(alone.reason, 1, fmt.Sprintf("span %d of the batch: %s", r.n, alone.why))
	return nil
}

// walkSpan reckons what the messages in a Span weigh, and looks at what would make the library refuse it.
func (r *reader) walkSpan(msg []byte) error {
	tags := 0
	err := r.each(msg, func(num int32, data []byte) error {
		switch num {
		case 1:
			if len(data) != 8 && len(data) != 16 {
				return &errAlone{badID, "trace_id is not 8 or 16 bytes"}
			}
		case 2:
			if len(data) != 8 {
				return &errAlone{badID, "span_id is not 8 bytes"}
			}
		case 8:
			tags++
			return r.charge(structBytes)
		case 9:
			if err := r.charge(structBytes); err != nil {
				return err
			}
			return r.tagged(data, 2, "a log")
		case 10:
			return r.process(data)
		case 4, 12: // references, warnings
			return r.charge(structBytes)
		}
		return nil
	})
	if err == nil && tags > maxTags {
		err = &errAlone{badItem, tagsError("a span", tags).Error()}
	}
	return err
}

func (r *reader) process(msg []byte) error { return r.tagged(msg, 2, "a process") }

// tagged walks a message whose field holds tags.
func (r *reader) tagged(msg []byte, field int32, what string) error {
	tags := 0
	err := r.each(msg, func(num int32, _ []byte) error {
		if num == field {
			tags++
		}
		return r.charge(structBytes)
	})
	if err == nil && tags > maxTags {
		err = &errAlone{badItem, tagsError(what, tags).Error()}
	}
	return err
}
