package integration

import (
	"net/http"
	"testing"
)

// What the OTLP senders do with the gateway's answers: 503 and UNAVAILABLE bring them back, 400 and INVALID_ARGUMENT
// do not. (500 would: no OTLP sender retries it, so the gateway never says it.)

// otlpSenders are the four real senders; each pushes one batch of one signal and returns the sender's verdict.
var otlpSenders = []struct {
	name string
	send func(t testing.TB, g *gateway, d *sdkData) error
}{
	{"sdk http traces", func(t testing.TB, g *gateway, d *sdkData) error {
		return newSDK(t, "http", g.http).traces.ExportSpans(background(t), d.spans)
	}},
	{"sdk grpc traces", func(t testing.TB, g *gateway, d *sdkData) error {
		return newSDK(t, "grpc", g.grpc).traces.ExportSpans(background(t), d.spans)
	}},
	{"sdk http metrics", func(t testing.TB, g *gateway, d *sdkData) error {
		return newSDK(t, "http", g.http).metrics.Export(background(t), &d.metrics)
	}},
	{"sdk grpc metrics", func(t testing.TB, g *gateway, d *sdkData) error {
		return newSDK(t, "grpc", g.grpc).metrics.Export(background(t), &d.metrics)
	}},
	{"sdk http logs", func(t testing.TB, g *gateway, d *sdkData) error {
		return newSDK(t, "http", g.http).logs.Export(background(t), d.records)
	}},
	{"sdk grpc logs", func(t testing.TB, g *gateway, d *sdkData) error {
		return newSDK(t, "grpc", g.grpc).logs.Export(background(t), d.records)
	}},
	{"collector http", func(t testing.TB, g *gateway, _ *sdkData) error {
		return newCollector(t, g, "http", "gzip").ConsumeTraces(background(t), generateTraces(5))
	}},
	{"collector grpc", func(t testing.TB, g *gateway, _ *sdkData) error {
		return newCollector(t, g, "grpc", "gzip").ConsumeTraces(background(t), generateTraces(5))
	}},
}

func TestOTLPRetries(t *testing.T) {
	d := newSDKData(t)
	for i, s := range otlpSenders {
		// Upstream's 500 is not retried by OTLP senders; the gateway has to turn it into 503.
		status := []int{http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway}[i/2]
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			g, up, rc := newOTLPGateway(t, "", "")
			up.setFault(func(n int, _ *http.Request) (int, int) {
				if n == 1 {
					return status, 1
				}
				return 0, 0
			})
			if err := s.send(t, g, d); err != nil {
				t.Fatalf("upstream answered %d once: the sender gave up: %v", status, err)
			}
			if n := rc.traces.SpanCount() + rc.metrics.DataPointCount() + rc.logs.LogRecordCount(); n == 0 {
				t.Error("nothing arrived")
			}
			if got := up.answered(); len(got) != 2 || got[0] != status || got[1] != http.StatusOK {
				t.Errorf("upstream answered %v, want %d and 200", got, status)
			}
		})
	}
}

func TestOTLPBadDataIsNotRetried(t *testing.T) {
	d := newSDKData(t)
	g, up, _ := newOTLPGateway(t, "", "")
	up.setFault(func(int, *http.Request) (int, int) { return http.StatusBadRequest, 0 })
	for i, s := range otlpSenders {
		if err := s.send(t, g, d); err == nil {
			t.Errorf("%s: the sender thinks that the push was taken", s.name)
		}
		if n := len(up.answered()); n != i+1 {
			t.Fatalf("%s: upstream saw %d pushes in all, want %d", s.name, n, i+1)
		}
	}
}
