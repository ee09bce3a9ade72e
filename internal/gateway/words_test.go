package gateway

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// What upstream says in a partial success comes from outside as much as an error does: no secret of ours in it may reach
// a sender, over HTTP or gRPC.
func TestPartialSuccessIsCleaned(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	g.cloud.Fail(fakecloud.OTLPTraces, fakecloud.Fault{Reject: 1, Message: "span 2 of " + cloudToken + "\x1b[31m is bad"})
	s := samples()["otlp traces"]
	a := g.post(s.path, s.header, s.body)
	res := ptraceotlp.NewExportResponse()
	if err := res.UnmarshalProto([]byte(a.body)); err != nil || a.StatusCode != 200 {
		t.Fatal(a.StatusCode, err)
	}
	over, err := ptraceotlp.NewGRPCClient(g.dial()).Export(authorized(t), ptraceotlp.NewExportRequestFromTraces(traces(2)))
	if err != nil {
		t.Fatal(err)
	}
	for how, p := range map[string]ptraceotlp.ExportPartialSuccess{"HTTP": res.PartialSuccess(), "gRPC": over.PartialSuccess()} {
		if p.RejectedSpans() != 1 || !strings.Contains(p.ErrorMessage(), "span 2 of <secret>") || strings.Contains(p.ErrorMessage(), "\x1b") {
			t.Errorf("over %s: %d rejected, %q", how, p.RejectedSpans(), p.ErrorMessage())
		}
	}
	if n := g.metric("gateway_items_failed_total", "code", "partial"); n != 2 {
		t.Errorf("%v items are booked as refused by upstream, want 2", n)
	}
}

// OTLP upstreams pack their words in a google.rpc.Status: the sender reads the words and not the packing.
func TestStatusOfUpstreamIsUnpacked(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	s := samples()["otlp traces"]
	said := &spb.Status{Code: 3, Message: "span 7 has no trace id"}
	for contentType, body := range map[string][]byte{
		"application/x-protobuf": must(proto.Marshal(said)),
		"application/json":       must(protojson.Marshal(said)),
		"text/plain":             []byte(said.Message),
	} {
		o := g.cloud.Fail(fakecloud.OTLPTraces, fakecloud.Fault{Status: 400, Header: http.Header{"Content-Type": {contentType}}, Body: string(body)})
		a := g.post(s.path, s.header, s.body)
		o.Clear()
		st := new(spb.Status)
		if err := proto.Unmarshal([]byte(a.body), st); err != nil {
			t.Fatal(err)
		}
		if want := "environment prod: upstream otlp refused the data (HTTP 400): span 7 has no trace id"; st.Message != want {
			t.Errorf("%s: the sender reads %q, want %q", contentType, st.Message, want)
		}
	}
}

// With example_values: false neither upstream's words about the data nor our own reach a sender or a log.
func TestNoExampleValues(t *testing.T) {
	g := start(t, strings.Replace(defaultServer+defaultEnvironment, "drain_delay: 0s", "drain_delay: 0s\n  example_values: false", 1))
	const words = `series {user="alice"} is out of order`
	g.cloud.Fail(fakecloud.Prometheus, fakecloud.Fault{Status: 400, Body: words})
	s := samples()["remote_write_v1"]
	if a := g.post(s.path, s.header, s.body); a.StatusCode != 400 || strings.Contains(a.body, "alice") {
		t.Errorf("answer %d %q", a.StatusCode, a.body)
	}
	if strings.Contains(g.logs.String(), "alice") || strings.Contains(fmt.Sprint(g.statusEnvironments()), "alice") {
		t.Error("a label value shows in the log or the status")
	}
	// A reload opens it again.
	g.configure(defaultServer + defaultEnvironment)
	if err := g.Reload("test"); err != nil {
		t.Fatal(err)
	}
	if a := g.post(s.path, s.header, s.body); !strings.Contains(a.body, "alice") {
		t.Errorf("after a reload: %q", a.body)
	}
}

// The sender is told which limit of time it was.
func TestTimeoutNamesItsKey(t *testing.T) {
	g := start(t, strings.Replace(defaultServer+defaultEnvironment, "drain_delay: 0s", "drain_delay: 0s\n  request_timeout: 300ms", 1))
	o := g.cloud.Fail("", fakecloud.Fault{Hang: true})
	defer o.Clear()
	s := samples()["loki"]
	if a := g.post(s.path, s.header, s.body); a.StatusCode != 504 || !strings.Contains(a.body, "server.request_timeout=300ms") {
		t.Errorf("answer %d %q", a.StatusCode, a.body)
	}
}

// The status is read while configurations come and go.
func TestStatusWhileReloading(t *testing.T) {
	with := defaultServer + defaultEnvironment
	without := strings.Replace(with, "app:", "other:", 1)
	g := start(t, with)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					g.statusEnvironments()
				}
			}
		})
	}
	for i := range 40 {
		g.configure([]string{without, with}[i%2])
		if err := g.Reload("test"); err != nil {
			t.Error(err)
		}
	}
	close(done)
	readers.Wait()
}

// The operator sees which upstream fails, and that it does so no more.
func TestStatusOfUpstreams(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	s := samples()["loki"]
	of := func() upstreamStatus {
		for _, u := range g.statusEnvironments()[0].Upstreams {
			if u.Name == "loki" {
				return u
			}
		}
		t.Fatal("no status of loki")
		return upstreamStatus{}
	}
	if u := of(); u.LastSuccess != nil || u.LastFailure != nil || u.Failing() {
		t.Errorf("before any push: %+v", u)
	}
	o := g.cloud.Fail(fakecloud.Loki, fakecloud.Fault{Status: 401, Body: "invalid token " + cloudToken})
	g.post(s.path, s.header, s.body)
	o.Clear()
	u := of()
	if u.LastFailure == nil || u.LastFailure.Code != "401" || !u.Failing() || strings.Contains(u.LastFailure.Text, cloudToken) {
		t.Errorf("after a refusal: %+v", u.LastFailure)
	}
	eventually(t, "a success after the failure", func() bool {
		g.post(s.path, s.header, s.body)
		return !of().Failing()
	})
	if u := of(); u.LastSuccess == nil || time.Since(*u.LastSuccess) > time.Minute {
		t.Errorf("after a success: %+v", u)
	}
}

// A push that arrives empty is forwarded, also where it has to be written anew.
func TestEmptyPushes(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment+"    logs: {labels: {environment: prod}}\n    traces: {labels: {environment: prod}}\n")
	json, proto := header("Content-Type", "application/json"), header("Content-Type", "application/x-protobuf")
	f := func(path string, h http.Header, body, exit string) {
		t.Helper()
		before := g.cloud.Stats("", exit).Requests
		if a := g.post(path, h, []byte(body)); a.StatusCode/100 != 2 {
			t.Errorf("%s %q: %d %q", path, body, a.StatusCode, a.body)
		}
		if n := g.cloud.Stats("", exit).Requests - before; n != 1 {
			t.Errorf("%s %q: upstream was asked %d times", path, body, n)
		}
	}
	for _, signal := range []string{"traces", "metrics", "logs"} {
		for _, body := range []string{"{}", "null", `{"x":1}`} {
			f("/v1/"+signal, json, body, fakecloud.OTLP)
		}
		f("/v1/"+signal, proto, "", fakecloud.OTLP)
	}
	f("/api/v1/push", proto, "\x00", fakecloud.Prometheus)
}

// Who is no push gets no time: a body that never ends holds neither a connection nor a drain.
func TestNoTimeForWhatIsNoPush(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	for _, line := range []string{"POST /nothing", "GET /api/v1/push", "POST /-/ready"} {
		c, err := net.Dial("tcp", g.addr.HTTP[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc", line)
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if b, err := io.ReadAll(c); err != nil || !strings.Contains(string(b), "Connection: close") {
			t.Errorf("%s: %q, %v", line, b, err)
		}
	}
}
