package otlp

import (
	"slices"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// translated is a push of spans that came in another protocol.
type translated struct {
	ingest.Batch
	// proto is the push as OTLP, which is never what was received.
	proto []byte
	// refused are the spans that could not be translated.
	refused []ingest.Refusal
	items   int
}

// FromTraces returns td as a batch of the traces door, for doors that translate to it. The batch does not keep td.
// refused are items of the push that td does not hold: they count as received and as refused.
func FromTraces(td ptrace.Traces, refused []ingest.Refusal) (ingest.Batch, error) {
	proto, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		return nil, ingest.Malformed("otlp traces", err)
	}
	b, err := traces.decode(proto, ingest.Content{})
	if err != nil {
		return nil, err
	}
	t := &translated{Batch: b, proto: proto, refused: refused, items: b.Items()}
	for _, r := range refused {
		t.items += r.Items
	}
	return t, nil
}

// Items counts the refused ones too.
func (t *translated) Items() int { return t.items }

// Bound is never 0: what was received cannot leave as it is, also where nothing is in it.
func (t *translated) Bound(e ingest.Edit) int { return max(t.Batch.Bound(e), len(t.proto), 1) }

// Encode always writes.
func (t *translated) Encode(dst []byte, e ingest.Edit) (ingest.Result, error) {
	r, err := t.Batch.Encode(dst, e)
	if err != nil {
		return r, err
	}
	if r.Unchanged {
		r.Unchanged, r.Body = false, append(dst, t.proto...)
	}
	r.Refused = slices.Concat(t.refused, r.Refused)
	return r, nil
}
