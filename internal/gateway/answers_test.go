package gateway

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.opentelemetry.io/collector/pdata/testdata"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// cause is one row of the answers table: what upstream does, and what becomes of it.
type cause struct {
	name  string
	fault fakecloud.Fault
	http  int // what HTTP doors answer
	grpc  codes.Code
	retry bool   // Retry-After, RetryInfo
	code  string // under which items are booked as failed
	text  string // that the answer must hold
}

func answer4xx(status int) fakecloud.Fault {
	return fakecloud.Fault{Status: status, Body: "words of upstream"}
}

// causes are the rows that upstream is the cause of.
var causes = []cause{
	{"400", answer4xx(400), 400, codes.InvalidArgument, false, "400", "words of upstream"},
	{"409", answer4xx(409), 409, codes.InvalidArgument, false, "409", "words of upstream"},
	{"413", answer4xx(413), 413, codes.ResourceExhausted, false, "413", "words of upstream"},
	{"422", answer4xx(422), 422, codes.InvalidArgument, false, "422", "words of upstream"},
	{"429", fakecloud.TooMany(7), 429, codes.ResourceExhausted, true, "429", ""},
	{"401", answer4xx(401), 503, codes.Unavailable, true, "401", "credential of the gateway"},
	{"403", answer4xx(403), 503, codes.Unavailable, true, "403", "credential of the gateway"},
	{"404", answer4xx(404), 503, codes.Unavailable, true, "404", "url"},
	{"405", answer4xx(405), 503, codes.Unavailable, true, "405", "url"},
	{"418", answer4xx(418), 503, codes.Unavailable, true, "418", "url"},
	{"redirect", fakecloud.Redirect("http://127.0.0.1:1/elsewhere"), 503, codes.Unavailable, true, "302", "redirects"},
	{"login page", fakecloud.LoginPage(), 503, codes.Unavailable, true, "200", "web page"},
	{"500", answer4xx(500), 503, codes.Unavailable, true, "500", ""},
	{"501", answer4xx(501), 503, codes.Unavailable, true, "501", ""},
	{"503", answer4xx(503), 503, codes.Unavailable, true, "503", ""},
	{"599", answer4xx(599), 503, codes.Unavailable, true, "599", ""},
	{"reset before the body", fakecloud.Fault{Break: fakecloud.ResetBeforeBody}, 502, codes.Unavailable, true, "unreachable", ""},
	{"reset", fakecloud.Fault{Break: fakecloud.ResetAfterBody}, 502, codes.Unavailable, true, "unreachable", "reset"},
	{"closed", fakecloud.Fault{Break: fakecloud.CloseAfterBody}, 502, codes.Unavailable, true, "unreachable", "closed"},
	{"half an answer", fakecloud.Fault{Break: fakecloud.Truncate}, 502, codes.Unavailable, true, "unreachable", "closed"},
	{"hang", fakecloud.Fault{Hang: true}, 504, codes.Unavailable, true, "timeout", "timeout="},
}

// TestAnswers drives each cell of the answers table that upstream is the cause of, through every HTTP door.
func TestAnswers(t *testing.T) {
	g := start(t, strings.ReplaceAll(defaultServer+defaultEnvironment, "timeout: 2s", "timeout: 300ms"))
	for door, s := range samples() {
		for _, c := range causes {
			t.Run(door+"/"+c.name, func(t *testing.T) {
				// A v2 push that upstream has never taken is tried again as v1 on some of these: not what is tested here.
				if door == "remote_write_v2" {
					g.state.Load().environments["prod"].exits["prometheus"].tookV2.Store(true)
				}
				g.t = t
				failed := g.metric("gateway_items_failed_total", "code", c.code)
				o := g.cloud.Fail(s.exit, c.fault)
				a := g.post(s.path, s.header, s.body)
				o.Clear()
				if a.StatusCode != c.http {
					t.Fatalf("answer %d %q, want %d", a.StatusCode, a.body, c.http)
				}
				if o.Hits() != 1 {
					t.Errorf("upstream was asked %d times", o.Hits())
				}
				checkRetryAfter(t, a, c)
				text := a.body
				if strings.HasPrefix(door, "otlp") {
					text = statusOf(t, s, a, c).Message
				} else if strings.Count(text, "\n") > 1 {
					t.Errorf("the answer is more than one line: %q", text)
				}
				if !strings.Contains(text, c.text) || !strings.Contains(text, "environment prod") {
					t.Errorf("answer %q, want %q and the environment in it", text, c.text)
				}
				if n := g.metric("gateway_items_failed_total", "code", c.code) - failed; int(n) != s.items {
					t.Errorf("%v items failed with code %s, want %d", n, c.code, s.items)
				}
			})
		}
	}
}

func checkRetryAfter(t *testing.T, a answer, c cause) {
	t.Helper()
	ra := a.Header.Get("Retry-After")
	if !c.retry {
		if ra != "" {
			t.Errorf("Retry-After %s on an answer that no retry can mend", ra)
		}
		return
	}
	n, err := strconv.Atoi(ra)
	if err != nil || n < 1 || n > 120 {
		t.Errorf("Retry-After %q, want whole seconds from 1 to 120", ra)
	}
	if c.name == "429" && n != 7 {
		t.Errorf("Retry-After %d, want upstream's own 7", n)
	}
}

// statusOf reads the google.rpc.Status of an OTLP answer, in the encoding of the request.
func statusOf(t *testing.T, s sample, a answer, c cause) *spb.Status {
	t.Helper()
	if got, want := a.Header.Get("Content-Type"), s.header.Get("Content-Type"); got != want {
		t.Fatalf("Content-Type %q, want that of the request, %q", got, want)
	}
	st := new(spb.Status)
	err := proto.Unmarshal([]byte(a.body), st)
	if s.header.Get("Content-Type") == "application/json" {
		err = protojson.Unmarshal([]byte(a.body), st)
	}
	if err != nil {
		t.Fatalf("the answer is no Status: %v", err)
	}
	if codes.Code(st.Code) != c.grpc {
		t.Errorf("status code %v, want %v", codes.Code(st.Code), c.grpc)
	}
	return st
}

// TestAnswersGRPC drives the same table through the gRPC door with grpc-go's client.
func TestAnswersGRPC(t *testing.T) {
	g := start(t, strings.ReplaceAll(defaultServer+defaultEnvironment, "timeout: 2s", "timeout: 300ms"))
	client := ptraceotlp.NewGRPCClient(g.dial())
	req := ptraceotlp.NewExportRequestFromTraces(testdata.GenerateTraces(4))
	for _, c := range causes {
		t.Run(c.name, func(t *testing.T) {
			g.t = t
			o := g.cloud.Fail(fakecloud.OTLPTraces, c.fault)
			_, err := client.Export(authorized(t), req)
			o.Clear()
			st := status.Convert(err)
			if st.Code() != c.grpc {
				t.Fatalf("answer %v %q, want %v", st.Code(), st.Message(), c.grpc)
			}
			if !strings.Contains(st.Message(), c.text) {
				t.Errorf("answer %q, want %q in it", st.Message(), c.text)
			}
			var info *errdetails.RetryInfo
			for _, d := range st.Details() {
				if i, ok := d.(*errdetails.RetryInfo); ok {
					info = i
				}
			}
			if (info != nil) != c.retry {
				t.Errorf("RetryInfo %v, want one: %v", info, c.retry)
			}
			if c.name == "429" && info.GetRetryDelay().AsDuration() != 7*time.Second {
				t.Errorf("RetryInfo %v, want upstream's own 7 s", info)
			}
		})
	}
	if _, err := client.Export(authorized(t), req); err != nil {
		t.Errorf("after all faults: %v", err)
	}
}

// dial connects a real gRPC client to the first gRPC port.
func (g *gatewayTest) dial() *grpc.ClientConn {
	g.t.Helper()
	conn, err := grpc.NewClient(g.addr.GRPC[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func authorized(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+clientToken)
}

// TestSuccess pushes through every door: what upstream stored, and what the sender is told.
func TestSuccess(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	for door, s := range samples() {
		t.Run(door, func(t *testing.T) {
			g.t = t
			before := g.cloud.Stats(s.user, s.exit)
			a := g.post(s.path, s.header, s.body)
			if a.StatusCode/100 != 2 {
				t.Fatalf("answer %d %s", a.StatusCode, a.body)
			}
			after := g.cloud.Stats(s.user, s.exit)
			if n := after.Items - before.Items; n != s.items {
				t.Errorf("%d items arrived, want %d", n, s.items)
			}
			written := a.Header.Get("X-Prometheus-Remote-Write-Samples-Written")
			if want := map[bool]string{true: "5", false: ""}[door == "remote_write_v2"]; written != want {
				t.Errorf("Samples-Written %q, want %q", written, want)
			}
			if strings.HasPrefix(door, "otlp") {
				want := map[string]string{"application/x-protobuf": "", "application/json": "{}"}[s.header.Get("Content-Type")]
				if a.StatusCode != 200 || a.body != want || a.Header.Get("Content-Type") != s.header.Get("Content-Type") {
					t.Errorf("answer %d %s %q, want 200 and %q", a.StatusCode, a.Header.Get("Content-Type"), a.body, want)
				}
			}
		})
	}
	for _, v := range g.cloud.Violations() {
		t.Errorf("upstream got what breaks its rules: %v", v)
	}
}

// TestOwnRefusals drives the rows that the gateway itself is the cause of.
func TestOwnRefusals(t *testing.T) {
	g := start(t, defaultServer+`  max_body_bytes: 64KiB
  max_decoded_bytes: 1MiB
environments:
  prod:
    clients:
      app: {bearer_token_file: secrets/app}
    upstreams:
      prometheus: {url: $CLOUD/api/prom/push, basic_auth: {username: "1001", password_file: secrets/cloud}}
`)
	all := samples()
	rw := all["remote_write_v1"]
	f := func(what, path string, h http.Header, body []byte, want int) {
		t.Helper()
		if a := g.post(path, h, body); a.StatusCode != want {
			t.Errorf("%s: %d %q, want %d", what, a.StatusCode, a.body, want)
		}
	}
	without := rw.header.Clone()
	without.Del("Authorization")
	f("no credential", rw.path, without, rw.body, 401)
	f("wrong credential", rw.path, header("Authorization", "Bearer nobody"), rw.body, 401)
	f("no exit for logs", all["loki"].path, all["loki"].header, all["loki"].body, 404)
	f("no exit for traces", all["otlp traces"].path, all["otlp traces"].header, all["otlp traces"].body, 404)
	f("zstd of vmagent", rw.path, header("Content-Type", "application/x-protobuf", "Content-Encoding", "zstd"), rw.body, 415)
	f("wrong type", rw.path, header("Content-Type", "text/html"), rw.body, 415)
	f("unknown proto", rw.path, header("Content-Type", "application/x-protobuf;proto=other"), rw.body, 415)
	f("no snappy", rw.path, rw.header, []byte("not snappy at all"), 400)
	f("too large as sent", rw.path, rw.header, make([]byte, 65<<10), 413)
	f("too large decoded", rw.path, rw.header, []byte{0x80, 0x80, 0x80, 0x01, 0}, 413)
	vmagent := rw.header.Clone()
	vmagent.Set("X-VictoriaMetrics-Remote-Write-Version", "1")
	f("too large for vmagent, which retries 413 for ever", rw.path, vmagent, make([]byte, 65<<10), 400)
	f("unknown path", "/api/v1/elsewhere", rw.header, rw.body, 404)
	f("gRPC path without gRPC", "/opentelemetry.proto.collector.trace.v1.TraceService/Export", rw.header, rw.body, 415)

	if a := g.post(rw.path, without, rw.body); len(a.Header["Www-Authenticate"]) != 2 {
		t.Errorf("WWW-Authenticate %q, want Basic and Bearer", a.Header["Www-Authenticate"])
	}
	res, err := http.Get("http://" + g.addr.HTTP[0] + rw.path)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 405 || res.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %d, Allow %q", res.StatusCode, res.Header.Get("Allow"))
	}
	if n := g.cloud.Stats("", "").Requests; n != 0 {
		t.Errorf("upstream saw %d requests of refused pushes", n)
	}
	_, err = ptraceotlp.NewGRPCClient(g.dial()).Export(authorized(t), ptraceotlp.NewExportRequestFromTraces(testdata.GenerateTraces(1)))
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("no exit over gRPC: %v", err)
	}
	_, err = ptraceotlp.NewGRPCClient(g.dial()).Export(context.Background(), ptraceotlp.NewExportRequest())
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("no credential over gRPC: %v", err)
	}
	if n := g.metric("gateway_auth_failures_total"); n != 4 {
		t.Errorf("%v authentication failures are counted, want 4", n)
	}
}
