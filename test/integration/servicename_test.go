package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// A service.name that is missing, or that an SDK made up, is counted, and becomes the client's name where that is asked
// for.
func TestServiceNames(t *testing.T) {
	f := func(fill bool, service, want string, counted float64) {
		t.Helper()
		for door, push := range traceDoors {
			x := newTraceExit(t, "otlp", "grpc", fmt.Sprintf("    traces: {fill_service_name: %v}\n", fill))
			push(t, x.gateway, tracesOf(service, traceIDs(3)...))
			eachSpan(x.take(), func(resource pcommon.Map, _ ptrace.Span) {
				if got := serviceOf(resource); got != want {
					t.Errorf("%s: %q arrived as %q, want %q", door, service, got, want)
				}
			})
			if got := x.unnamed(t, "app"); got != counted {
				t.Errorf("%s: the status API counts %g spans of %q without a service.name, want %g", door, got, service, counted)
			}
		}
	}
	f(false, "checkout", "checkout", 0)
	f(true, "checkout", "checkout", 0)
	f(false, "unknown_service:java", "unknown_service:java", 3)
	f(true, "unknown_service:java", "app", 3)
	f(false, "", "", 3)
	f(true, "", "app", 3)
}

// unnamed is the status API's count of spans without a service.name.
func (g *gateway) unnamed(t testing.TB, client string) float64 {
	t.Helper()
	status, body := httpGet("http://" + g.admin + "/api/v1/status/environments")
	var answer struct {
		Data []struct {
			Clients []struct {
				Name    string  `json:"name"`
				Unnamed float64 `json:"spans_without_service_name"`
			} `json:"clients"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(body), &answer); status != http.StatusOK || err != nil {
		t.Fatalf("status API: %d %v", status, err)
	}
	for _, c := range answer.Data[0].Clients {
		if c.Name == client {
			return c.Unnamed
		}
	}
	t.Fatalf("the status API does not know %s: %s", client, body)
	return 0
}
