package otlp_test

import (
	"fmt"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/reducetest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/zipkin"
)

// TestReduceZipkin: rules see a Zipkin push as the spans that it becomes, with stamps, and what they leave is sampled.
func TestReduceZipkin(t *testing.T) {
	span := func(name, id, tag string) string {
		return fmt.Sprintf(`{"traceId":"463ac35c9f6413ad48485a3953bb6124","id":%q,"name":%q,"timestamp":1,"duration":2,
			"localEndpoint":{"serviceName":"cart"},"tags":{"user":%q,"http.method":"GET"}}`, id, name, tag)
	}
	raw := "[" + span("get", "0000000000000001", "1") + "," + span("health", "0000000000000002", "2") + "," + span("put", "0000000000000003", "3") +
		`,{"traceId":"463ac35c9f6413ad48485a3953bb6124","id":"0000000000000000"}]`
	rules := `[{action: drop, source_labels: [__name__], regex: health}, {action: labeldrop, regex: user},
		{source_labels: [resource.environment, resource.service.name], target_label: from}]`
	f := func(ratio float64, sent int) {
		t.Helper()
		b, err := zipkin.V2.Decode([]byte(raw), ingest.Content{JSON: true})
		if err != nil {
			t.Fatal(err)
		}
		r := reducetest.New(t, stamps, reducetest.Rules(t, rules), nil)
		if err := b.Reduce(r.Reducer); err != nil {
			t.Fatal(err)
		}
		e := ingest.Edit{Form: zipkin.V2.Forms[0], Stamps: stamps, Traces: &ingest.TraceRules{Ratio: ratio}}
		bound := b.Bound(e)
		res, err := b.Encode(nil, e)
		if err != nil || len(res.Body) > bound || res.Sent.Items != sent || r.Dropped != 1 ||
			res.Sent.Items+r.Dropped+itemsOf(res.Refused)+itemsOf(res.Dropped) != b.Items() {
			t.Fatalf("of %d items: %+v, rules dropped %d, bound %d for %d bytes (%v)", b.Items(), res, r.Dropped, bound, len(res.Body), err)
		}
		req := ptraceotlp.NewExportRequest()
		if err := req.UnmarshalProto(res.Body); err != nil || req.Traces().SpanCount() != sent {
			t.Fatalf("%d spans (%v)", req.Traces().SpanCount(), err)
		}
		for _, s := range spansOf(t, res.Body) {
			_, user := s.Attributes().Get("user")
			from, _ := s.Attributes().Get("from")
			if user || from.AsString() != "prod;cart" {
				t.Errorf("span %q has %v", s.Name(), s.Attributes().AsRaw())
			}
		}
	}
	f(1, 2)
	f(0, 0)
}
