package otlp_test

import (
	"errors"
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/otlp"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

func header(contentType string) http.Header {
	h := http.Header{}
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	return h
}

func TestRead(t *testing.T) {
	f := func(status int, contentType, body string, want ingest.Answer) {
		t.Helper()
		want.Status = status
		got, err := otlp.MetricsHTTP.Forms[0].Read(status, header(contentType), []byte(body))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%d %s %q: %+v, %v, want %+v", status, contentType, body, got, err, want)
		}
	}
	const pb, js = "application/x-protobuf", "application/json"
	response := func(rejected int64, text string) string {
		r := pmetricotlp.NewExportResponse()
		r.PartialSuccess().SetRejectedDataPoints(rejected)
		r.PartialSuccess().SetErrorMessage(text)
		return string(must(r.MarshalProto()))
	}
	f(200, pb, "", ingest.Answer{})
	f(204, "", "", ingest.Answer{})
	f(202, js, "", ingest.Answer{})
	f(200, "", response(0, ""), ingest.Answer{})
	f(200, pb, response(3, "too old"), ingest.Answer{Rejected: 3, Message: "too old"})
	f(200, "", response(3, "too old"), ingest.Answer{Rejected: 3, Message: "too old"})
	f(200, pb, response(0, "a warning"), ingest.Answer{Message: "a warning"})
	f(200, pb, response(-3, "less than none"), ingest.Answer{Message: "less than none"})
	f(200, pb, response(math.MaxInt64, "all"), ingest.Answer{Rejected: math.MaxInt32, Message: "all"})
	f(200, pb, response(3, strings.Repeat("ä", 600)), ingest.Answer{Rejected: 3, Message: strings.Repeat("ä", 500)})
	f(200, pb, response(3, "a\xffb"), ingest.Answer{Rejected: 3, Message: "ab"})
	f(200, pb, response(3, "a")+response(0, "b")+string(unknown(1)), ingest.Answer{Rejected: 3, Message: "b"})
	f(200, js, `{}`, ingest.Answer{})
	f(200, "application/json; charset=utf-8", ` {"partialSuccess":{},"newer":1}`, ingest.Answer{})
	f(200, js, `{"partialSuccess":null}`, ingest.Answer{})
	f(200, js, `{"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"too old"}}`, ingest.Answer{Rejected: 3, Message: "too old"})
	f(200, js, `{"partialSuccess":{"rejectedDataPoints":3,"rejectedSpans":4}}`, ingest.Answer{Rejected: 3})
	f(200, js, `{"partialSuccess":{"rejectedDataPoints":null,"errorMessage":null}}`, ingest.Answer{})

	bad := func(contentType, body string) {
		t.Helper()
		_, err := otlp.MetricsHTTP.Forms[0].Read(200, header(contentType), []byte(body))
		var e *fault.Error
		if !errors.As(err, &e) || e.Kind != fault.UpstreamFailed || e.HTTPStatus() != http.StatusServiceUnavailable {
			t.Errorf("%s %q: %v", contentType, body, err)
		}
	}
	bad("text/html; charset=utf-8", "")
	bad("text/html", "<html>sign in</html>")
	bad("", "<html>sign in</html>")
	bad(pb, "ok")
	bad(pb, "{}")
	bad(pb, string(wire.AppendVarint(nil, 1, 1)))
	bad(pb, string(sub(1, wire.AppendVarint(nil, 2, 1))))
	bad(pb, response(3, "too old")[:5])
	bad(js, response(3, "too old"))
	bad(js, `{"partialSuccess":3}`)
	bad(js, `{"partialSuccess":{"rejectedDataPoints":"many"}}`)
	bad(js, `{"partialSuccess":{"rejectedDataPoints":1.5}}`)
	bad(js, `{} {}`)
}

func TestAccept(t *testing.T) {
	f := func(a ingest.Answer, rejected int64, message, json string) {
		t.Helper()
		r := otlp.MetricsHTTP.Accept(ingest.Content{}, a)
		if r.Status != 200 || r.ContentType != "application/x-protobuf" || (len(r.Body) == 0) != (json == "{}") {
			t.Errorf("%+v: %+v", a, r)
		}
		if g := otlp.MetricsGRPC.Accept(ingest.Content{}, a); string(g.Body) != string(r.Body) {
			t.Errorf("%+v: gRPC %q, HTTP %q", a, g.Body, r.Body)
		}
		j := otlp.MetricsHTTP.Accept(ingest.Content{JSON: true}, a)
		if j.Status != 200 || j.ContentType != "application/json" || json != "" && string(j.Body) != json {
			t.Errorf("%+v: %+v, body %s", a, j, j.Body)
		}
		// As a client reads it.
		fromProto, fromJSON := pmetricotlp.NewExportResponse(), pmetricotlp.NewExportResponse()
		if err := errors.Join(fromProto.UnmarshalProto(r.Body), fromJSON.UnmarshalJSON(j.Body)); err != nil {
			t.Errorf("%+v: %v", a, err)
		}
		for _, p := range []pmetricotlp.ExportPartialSuccess{fromProto.PartialSuccess(), fromJSON.PartialSuccess()} {
			if p.RejectedDataPoints() != rejected || p.ErrorMessage() != message || !utf8.ValidString(p.ErrorMessage()) {
				t.Errorf("%+v: a client reads %d %q", a, p.RejectedDataPoints(), p.ErrorMessage())
			}
		}
	}
	refused := []ingest.Refusal{{Reason: "active_series", Items: 2, Text: "over active_series"}, {Reason: "invalid_id", Items: 1, Text: "no <id>"}}
	f(ingest.Answer{Status: 204}, 0, "", "{}")
	f(ingest.Answer{Status: 200, Message: "a warning"}, 0, "a warning", `{"partialSuccess":{"errorMessage":"a warning"}}`)
	f(ingest.Answer{Status: 200, Rejected: 3, Message: "too old"}, 3, "too old", "")
	f(ingest.Answer{Refused: refused}, 3, "over active_series; no <id>", "")
	f(ingest.Answer{Status: 200, Rejected: 3, Message: "too old", Refused: refused}, 6, "too old; over active_series; no <id>", "")
	f(ingest.Answer{Rejected: -1}, 0, "", "{}")
	f(ingest.Answer{Rejected: 1, Message: strings.Repeat("x", 999) + "ä"}, 1, strings.Repeat("x", 999), "")
}

func TestRefuse(t *testing.T) {
	f := func(contentType string, e *fault.Error, status int, code codes.Code, message string) {
		t.Helper()
		r := otlp.LogsHTTP.Refuse(header(contentType), e)
		var s spb.Status
		var err error
		want := "application/x-protobuf"
		if strings.Contains(contentType, "json") {
			want = "application/json"
			err = protojson.Unmarshal(r.Body, &s)
		} else {
			err = proto.Unmarshal(r.Body, &s)
		}
		if err != nil || r.Status != status || r.ContentType != want || codes.Code(s.Code) != code || s.Message != message {
			t.Errorf("%s %v: %+v, %v, %v", contentType, e, r, &s, err)
		}
		if !proto.Equal(&s, otlp.Status(e)) {
			t.Errorf("the body says %v, Status %v", &s, otlp.Status(e))
		}
		if (len(s.Details) == 1) != (e.After > 0) {
			t.Fatalf("%d details with Retry-After %v", len(s.Details), e.After)
		}
		if e.After > 0 {
			var info errdetails.RetryInfo
			if err := s.Details[0].UnmarshalTo(&info); err != nil || info.RetryDelay.AsDuration() != e.After {
				t.Errorf("RetryInfo %v, %v", &info, err)
			}
		}
	}
	for _, kind := range []string{"application/x-protobuf", "application/json; charset=utf-8"} {
		f(kind, fault.New(fault.Malformed, "decode logs"), 400, codes.InvalidArgument, "decode logs")
		f(kind, fault.New(fault.RateLimited, "%d", 5).WithAfter(1500*time.Millisecond), 429, codes.ResourceExhausted, "5")
		f(kind, fault.New(fault.TooLarge, "a\xff<b>"), 413, codes.ResourceExhausted, "a<b>")
		f(kind, fault.New(fault.Unsupported, "lz4").WithErr(errors.New("secret")), 415, codes.Unimplemented, "lz4")
		f(kind, fault.New(fault.Unreachable, "%s", strings.Repeat("x", 5000)), 502, codes.Unavailable, strings.Repeat("x", 2000))
	}
	for _, kind := range []string{"", "text/xml", "application/protobuf"} {
		r := otlp.TracesHTTP.Refuse(header(kind), fault.New(fault.Unsupported, "no such type").WithErr(errors.New("secret")))
		if r.Status != 415 || r.ContentType != "text/plain; charset=utf-8" || string(r.Body) != "no such type\n" {
			t.Errorf("%q: %+v %s", kind, r, r.Body)
		}
	}
}
