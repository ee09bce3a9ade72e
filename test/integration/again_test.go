package integration

import (
	"net/http"
	"testing"
	"time"

	"github.com/jaegertracing/jaeger-idl/proto-gen/api_v2"
	"github.com/openzipkin/zipkin-go/reporter"
	jaeger "github.com/uber/jaeger-client-go"
	"github.com/uber/jaeger-client-go/transport"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Zipkin's and Jaeger's clients drop what is not taken at once, so the gateway sends it a second time for them.
func TestSentAgain(t *testing.T) {
	senders := map[string]func(url string){
		"zipkin-go": func(url string) { sendZipkinGo(t, url, reporter.JSONSerializer{}) },
		"the SDK":   func(url string) { sendOTelZipkin(t, url) },
		"Jaeger": func(url string) {
			sendJaegerClient(t, url+"/api/traces", transport.HTTPHeaders(map[string]string{"Authorization": "Bearer " + clientToken}))
		},
	}
	rc := newOTLPReceiver(t)
	up := newUpstream(t, rc.proxy())
	byHTTP := startTraceGateway(t, up.yaml("otlp", "", ""), "")
	byGRPC, tempo := newTempoGateway(t, "", "")
	f := func(name string, g *gateway, rc *otlpReceiver) {
		t.Helper()
		for sender, send := range senders {
			rc.reset()
			before, _, _, _ := g.books("app", "traces")
			send("http://" + g.http)
			received, _, _, failed := g.books("app", "traces")
			if n := rc.traces.SpanCount(); n == 0 || float64(n) != received-before || failed != 0 {
				t.Errorf("%s, %s: %d of %g spans arrived, %g failed", name, sender, n, received-before, failed)
			}
		}
	}
	// Every other request fails; one at a time, that is each push once.
	up.setFault(func(n int, _ *http.Request) (int, int) { return n % 2 * http.StatusServiceUnavailable, 0 })
	f("503", byHTTP, rc)
	up.setFault(func(n int, _ *http.Request) (int, int) { return n % 2 * http.StatusBadGateway, 0 })
	f("502", byHTTP, rc)
	up.setFault(func(n int, _ *http.Request) (int, int) {
		if n%2 == 1 {
			panic(http.ErrAbortHandler) // the connection ends without an answer
		}
		return 0, 0
	})
	f("reset", byHTTP, rc)
	tempo.setFault(func(n int) error {
		if n%2 == 1 {
			return status.Error(codes.Unavailable, "no ingester")
		}
		return nil
	})
	f("UNAVAILABLE", byGRPC, tempo.otlpReceiver)
}

// Twice is all: a push that fails again is refused, and what upstream judged is not sent again. Nor is what an OTLP
// sender pushed, which comes back by itself.
func TestNotSentAgain(t *testing.T) {
	up := newUpstream(t, newOTLPReceiver(t).proxy())
	g := startTraceGateway(t, up.yaml("otlp", "", ""), "")
	f := func(door string, fault, want, calls int) {
		t.Helper()
		up.setFault(func(int, *http.Request) (int, int) { return fault, 0 })
		before := len(up.answered())
		if a := traceDoors[door](t, g, generateTraces(2)); a.status != want {
			t.Errorf("upstream says %d, %s: answered %s, want %d", fault, door, a, want)
		}
		if n := len(up.answered()) - before; n != calls {
			t.Errorf("upstream says %d, %s: %d calls, want %d", fault, door, n, calls)
		}
	}
	f("Zipkin", http.StatusServiceUnavailable, http.StatusServiceUnavailable, 2)
	f("Jaeger/HTTP", http.StatusServiceUnavailable, http.StatusServiceUnavailable, 2)
	f("Zipkin", http.StatusBadRequest, http.StatusBadRequest, 1)
	f("Jaeger/HTTP", http.StatusTooManyRequests, http.StatusTooManyRequests, 1)
	f("OTLP/HTTP", http.StatusServiceUnavailable, http.StatusServiceUnavailable, 1)
}

// Jaeger's clients and agents ask what to sample: everything, because the gateway samples.
func TestSamplingStrategy(t *testing.T) {
	g, _ := newTempoGateway(t, "", "")
	for _, path := range []string{"/sampling", "/api/sampling"} { // an agent's, a collector's
		complaints := &complaints{}
		sampler := jaeger.NewRemotelyControlledSampler("checkout", jaeger.SamplerOptions.SamplingServerURL("http://"+g.http+path),
			jaeger.SamplerOptions.InitialSampler(jaeger.NewConstSampler(false)), jaeger.SamplerOptions.SamplingRefreshInterval(time.Hour),
			jaeger.SamplerOptions.Logger(complaints))
		defer sampler.Close()
		sampler.UpdateSampler()
		if p, ok := sampler.Sampler().(*jaeger.ProbabilisticSampler); !ok || p.SamplingRate() != 1 {
			t.Errorf("%s: Jaeger's client samples by %v, want all; it says %q", path, sampler.Sampler(), complaints.String())
		}
	}

	conn := dialGRPC(t, g.grpc)
	defer conn.Close()
	resp, err := api_v2.NewSamplingManagerClient(conn).GetSamplingStrategy(background(t), &api_v2.SamplingStrategyParameters{ServiceName: "checkout"})
	if err != nil {
		t.Fatal(err)
	}
	if resp.GetStrategyType() != api_v2.SamplingStrategyType_PROBABILISTIC || resp.GetProbabilisticSampling().GetSamplingRate() != 1 {
		t.Errorf("gRPC answers %v, want probabilistic with rate 1", resp)
	}
}
