package integration

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc/codes"
)

// A span with an id of zeros, for which Tempo refuses a whole batch, is refused alone, by the door's partial answer.
func TestBadIDs(t *testing.T) {
	g, up := newTempoGateway(t, "", "")
	td := tracesOf("checkout", pcommon.TraceID{0: 1, 15: 1}, pcommon.TraceID{0: 2, 15: 2}, pcommon.TraceID{0: 3, 15: 3}, pcommon.TraceID{0: 4, 15: 4})
	spans := td.ResourceSpans().At(0).ScopeSpans().At(0).Spans()
	spans.At(1).SetSpanID(pcommon.SpanID{})
	spans.At(2).SetTraceID(pcommon.TraceID{})
	for _, s := range spans.All() {
		s.SetName("span " + string('0'+s.TraceID()[0]))
	}
	n := 0
	for door, push := range traceDoors {
		n++
		checkPartly(t, g, up, door, push(t, g, td), 2, []string{"span 1", "span 4"})
	}
	received, forwarded, dropped, _ := g.books("app", "traces")
	if received != float64(4*n) || forwarded != float64(2*n) || dropped != g.metric("gateway_items_dropped_total", `reason="invalid_id"`) {
		t.Errorf("received %g, forwarded %g, dropped %g in all, want %d, %d, and only for invalid_id", received, forwarded, dropped, 4*n, 2*n)
	}
}

// Ids of a wrong length, which only some formats can have. Zipkin's short ones are padded, as Zipkin does.
func TestIDsOfWrongLength(t *testing.T) {
	g, up := newTempoGateway(t, "", "")
	span := func(trace, id string) string {
		return `{"traceId":"` + trace + `","spanId":"` + id + `","name":"` + id + `"}`
	}
	const trace, good = "5982fe77008310cc80f1da5e10147517", "90394f6bcffb5d13"
	body := `{"resourceSpans":[{"scopeSpans":[{"spans":[` + strings.Join([]string{
		span(trace, good), span(trace, "90394f6bcffb5d"), span("80f1da5e10147517", "67fae42571535f60"), span(trace+"00", "67fae42571535f61"),
	}, ",") + `]}]}]}`
	a := pushBytes(t, "http://"+g.http+"/v1/traces", "application/json", []byte(body))
	if a.status != http.StatusOK || !strings.Contains(a.text, `"rejectedSpans":"3"`) {
		t.Errorf("OTLP JSON: answered %s, want 200 and 3 spans rejected", a)
	}
	if got := spanNames(up.traces.AllTraces()); !slices.Equal(got, []string{good}) {
		t.Errorf("OTLP JSON: %q arrived, want %q", got, good)
	}

	up.reset()
	short := `[{"traceId":"` + trace + `","id":"90394f6bcffb5d","name":"short"},{"traceId":"` + trace + `","id":"no hex","name":"none"}]`
	checkPartly(t, g, up, "Zipkin JSON", pushZipkin(t, g, []byte(short)), 1, []string{"short"})
}

// checkPartly checks a partial answer in the door's words, and what arrived.
func checkPartly(t testing.TB, g *gateway, up *grpcUpstream, door string, a answer, refused int64, want []string) {
	t.Helper()
	switch {
	case strings.HasPrefix(door, "OTLP"):
		if a.grpc && a.code != codes.OK || !a.grpc && a.status != http.StatusOK || a.refused != refused || a.text == "" {
			t.Errorf("%s: answered %s with %d spans rejected, want success with %d and why", door, a, a.refused, refused)
		}
	case a.grpc && a.code != codes.InvalidArgument, !a.grpc && a.status != http.StatusBadRequest, !strings.Contains(a.text, "invalid_id"):
		t.Errorf("%s: answered %s, want 400 or InvalidArgument, and invalid_id", door, a)
	}
	if got := spanNames(up.traces.AllTraces()); !slices.Equal(got, want) {
		t.Errorf("%s: %q arrived, want %q", door, got, want)
	}
	up.reset()
}

func spanNames(all []ptrace.Traces) []string {
	var names []string
	eachSpan(all, func(_ pcommon.Map, s ptrace.Span) { names = append(names, s.Name()) })
	slices.Sort(names)
	return names
}
