package integration

import (
	"encoding/binary"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/sampling"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc/codes"
)

// traceIDs are n random ones, the same at every run.
func traceIDs(n int) []pcommon.TraceID {
	rnd := rand.New(rand.NewPCG(1, 2))
	ids := make([]pcommon.TraceID, n)
	for i := range ids {
		binary.BigEndian.PutUint64(ids[i][:8], rnd.Uint64()|1) // what becomes the span id, never 0
		binary.BigEndian.PutUint64(ids[i][8:], rnd.Uint64())
	}
	return ids
}

// shouldKeep is what contrib's pkg/sampling decides.
func shouldKeep(t testing.TB, ratio float64, id pcommon.TraceID) bool {
	t.Helper()
	th, err := sampling.ProbabilityToThreshold(ratio)
	if err != nil {
		t.Fatal(err)
	}
	return th.ShouldSample(sampling.TraceIDToRandomness(id))
}

// Every replica keeps the same traces, by whatever door they come; the sender sees success.
func TestSampling(t *testing.T) {
	const traces, ratio = 4000, 0.25
	config := "    traces: {sample_ratio: 0.25}\n"
	replicas := []*traceExit{newTraceExit(t, "tempo", "grpc", config), newTraceExit(t, "otlp", "http", config)}
	ids := traceIDs(traces)
	want := map[pcommon.TraceID]bool{}
	for _, id := range ids {
		if shouldKeep(t, ratio, id) {
			want[id] = true
		}
	}
	if off, most := math.Abs(float64(len(want))-traces*ratio), 4*math.Sqrt(traces*ratio*(1-ratio)); off > most {
		t.Errorf("%d of %d traces are kept, %g away from the ratio, over %g", len(want), traces, off, most)
	}
	for i, x := range replicas {
		for door, push := range traceDoors {
			for len(ids) > 0 {
				if a := push(t, x.gateway, tracesOf("checkout", ids[:500]...)); a.grpc && a.code != codes.OK || !a.grpc && a.status/100 != 2 || a.refused != 0 || a.text != "" {
					t.Fatalf("%s: answered %s, want success and nothing said", door, a)
				}
				ids = ids[500:]
			}
			ids = traceIDs(traces)
			got := map[pcommon.TraceID]bool{}
			eachSpan(x.take(), func(_ pcommon.Map, s ptrace.Span) {
				got[s.TraceID()] = true
				if state := s.TraceState().AsRaw(); state != "ot=th:c" {
					t.Fatalf("%s: a span arrived with the tracestate %q, want ot=th:c", door, state)
				}
			})
			if !maps.Equal(got, want) {
				t.Errorf("replica %d, %s: kept %d traces, want the %d that pkg/sampling keeps", i, door, len(got), len(want))
			}
		}
		received, forwarded, dropped, _ := x.books("app", "traces")
		pushed, kept := float64(traces*len(traceDoors)), float64(len(want)*len(traceDoors))
		if received != pushed || forwarded != kept || dropped != x.metric("gateway_items_dropped_total", `reason="sampled"`) {
			t.Errorf("replica %d: received %g, forwarded %g, dropped %g in all; want %g, %g, and only for sampled", i, received, forwarded, dropped, pushed, kept)
		}
	}
}

// The tracestate says with what probability a span is here, and with what randomness to decide.
func TestSamplingTraceState(t *testing.T) {
	x := newTraceExit(t, "otlp", "grpc", "    traces: {sample_ratio: 0.25}\n")
	// A ratio of 0.25 keeps randomness of c and more.
	low, middle, high := pcommon.TraceID{0: 1, 9: 0x01}, pcommon.TraceID{0: 1, 9: 0xd0}, pcommon.TraceID{0: 1, 9: 0xff}
	f := func(id pcommon.TraceID, state string, kept bool, want string) {
		t.Helper()
		for _, door := range []string{"OTLP/HTTP", "OTLP/gRPC"} {
			td := tracesOf("checkout", id)
			td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).TraceState().FromRaw(state)
			traceDoors[door](t, x.gateway, td)
			n := 0
			eachSpan(x.take(), func(_ pcommon.Map, s ptrace.Span) {
				if n++; s.TraceState().AsRaw() != want {
					t.Errorf("%s: %q arrived as %q, want %q", door, state, s.TraceState().AsRaw(), want)
				}
			})
			if (n == 1) != kept {
				t.Errorf("%s: %q: %d spans arrived, want it kept: %v", door, state, n, kept)
			}
		}
	}
	f(high, "", true, "ot=th:c")
	f(low, "", false, "")
	// Sampled here to less than before, and before to less than here.
	f(high, "ot=th:8", true, "ot=th:c")
	f(high, "ot=th:e", true, "ot=th:e")
	// rv decides, not the id.
	f(low, "ot=rv:ff000000000000", true, "ot=rv:ff000000000000;th:c")
	f(high, "ot=rv:01000000000000", false, "")
	// By its th it should not be here at all, so that nobody knows with what probability it is.
	f(middle, "ot=th:e", true, "")
	// What others say stays.
	f(high, "congo=t61,ot=th:8;x:y,rojo=1", true, "ot=th:c;x:y,congo=t61,rojo=1")
}

func TestSamplingKeepErrors(t *testing.T) {
	const n = 400
	x := newTraceExit(t, "otlp", "grpc", "    traces: {sample_ratio: 0.1, keep_errors: true}\n")
	for door, push := range traceDoors {
		td := tracesOf("checkout", traceIDs(n)...)
		want, failed := 0, 0
		eachSpan([]ptrace.Traces{td}, func(_ pcommon.Map, s ptrace.Span) {
			fails := s.TraceID()[1]%2 == 0
			if fails {
				s.Status().SetCode(ptrace.StatusCodeError)
				failed++
			}
			if fails || shouldKeep(t, 0.1, s.TraceID()) {
				want++
			}
		})
		push(t, x.gateway, td)
		got := 0
		eachSpan(x.take(), func(_ pcommon.Map, s ptrace.Span) {
			got++
			// What is here for another reason than its randomness says nothing of a probability.
			if sampled := s.TraceState().AsRaw() != ""; sampled != shouldKeep(t, 0.1, s.TraceID()) {
				t.Errorf("%s: a span arrived with the tracestate %q", door, s.TraceState().AsRaw())
			}
			if s.Status().Code() == ptrace.StatusCodeError {
				failed--
			}
		})
		if got != want || failed != 0 {
			t.Errorf("%s: %d spans arrived, want %d; %d with an error are missing", door, got, want, failed)
		}
	}
}

func TestSamplingByService(t *testing.T) {
	x := newTraceExit(t, "tempo", "http", "    traces: {sample_ratio: 0.5, sampling: [{service: checkout, ratio: 0.25}, {service: probe, ratio: 0}, {service: checkout, ratio: 1}]}\n")
	ids := traceIDs(400)
	f := func(service string, ratio float64) {
		t.Helper()
		want := 0
		for _, id := range ids {
			if ratio > 0 && shouldKeep(t, ratio, id) {
				want++
			}
		}
		for door, push := range traceDoors {
			if a := push(t, x.gateway, tracesOf(service, ids...)); a.grpc && a.code != codes.OK || !a.grpc && a.status > http.StatusAccepted {
				t.Errorf("%s: answered %s", door, a)
			}
			if got := len(spanNames(x.take())); got != want {
				t.Errorf("%s of %s: %d spans arrived, want %d", door, service, got, want)
			}
		}
	}
	f("checkout", 0.25)
	f("probe", 0)
	f("other", 0.5)
}
