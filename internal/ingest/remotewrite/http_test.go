package remotewrite

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

func TestOpen(t *testing.T) {
	// f: version 0 is 415 with text.
	f := func(contentType, encoding string, version int, text string) {
		t.Helper()
		h := http.Header{}
		if contentType != "" {
			h.Set("Content-Type", contentType)
		}
		if encoding != "" {
			h.Set("Content-Encoding", encoding)
		}
		// What the version header says decides nothing.
		h.Set("X-Prometheus-Remote-Write-Version", "2.0.0")
		if V1.Claims(h) == V2.Claims(h) {
			t.Fatalf("%q: both doors claim it, or none", contentType)
		}
		if V2.Claims(h) != (version == 2) && version != 0 {
			t.Errorf("%q: taken for another version than %d", contentType, version)
		}
		c, err := V1.Open(h)
		if version == 0 {
			if e := fault.From(err); e.HTTPStatus() != http.StatusUnsupportedMediaType || !strings.Contains(e.Public, text) {
				t.Errorf("%q %q: %v", contentType, encoding, err)
			}
			return
		}
		if err != nil || len(c.Codecs) != 1 || c.Codecs[0] != ingest.Snappy || c.JSON || c.Weight != 0 {
			t.Errorf("%q %q: %+v %v", contentType, encoding, c, err)
		}
	}
	f("", "", 1, "")
	f("application/x-protobuf", "snappy", 1, "")
	f("Application/X-Protobuf", "Snappy", 1, "")
	f("application/x-protobuf;proto=prometheus.WriteRequest", "snappy", 1, "")
	f("application/x-protobuf;proto=io.prometheus.write.v2.Request", "snappy", 2, "")
	f(`application/x-protobuf; Proto="io.prometheus.write.v2.Request"; charset=utf-8`, "snappy", 2, "")
	f("application/x-protobuf;proto=io.prometheus.write.v3.Request", "snappy", 0, "io.prometheus.write.v2.Request")
	f("application/x-protobuf;proto=io.prometheus.write.v2.Request;proto=x", "snappy", 0, "duplicate")
	f("application/json", "", 0, "/loki/api/v1/push")
	f("text/plain", "", 0, "want application/x-protobuf")
	f("application/x-protobuf", "zstd", 0, "want snappy")
	f("application/x-protobuf", "gzip", 0, `"gzip", want snappy`)
	f("application/x-protobuf", "snappy, snappy", 0, "want snappy")
}

func TestForms(t *testing.T) {
	f := func(form *ingest.Form, contentType, version string) {
		t.Helper()
		if form.ContentType != contentType || len(form.Header) != 1 || form.Header[0] != (ingest.HeaderField{Name: "X-Prometheus-Remote-Write-Version", Value: version}) || form.Codec != ingest.Snappy {
			t.Errorf("%+v", form)
		}
	}
	f(formV1, "application/x-protobuf", "0.1.0")
	f(formV2, "application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0")
	if V1.Forms[0] != formV1 || V2.Forms[0] != formV2 || len(V1.Routes) != 5 {
		t.Error("a door's own form is not its first")
	}
}

func TestRead(t *testing.T) {
	f := func(form *ingest.Form, h http.Header, want ingest.Count, err error) {
		t.Helper()
		a, got := form.Read(204, h, nil)
		if !errors.Is(got, err) || a.Status != 204 || a.Written != want {
			t.Errorf("%v: %+v, %v", h, a, got)
		}
	}
	header := func(kv ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			h.Set("X-Prometheus-Remote-Write-"+kv[i]+"-Written", kv[i+1])
		}
		return h
	}
	f(formV1, header(), ingest.Count{}, nil)
	f(formV2, header(), ingest.Count{}, ingest.ErrOtherForm)
	f(formV2, header("Samples", "x", "Histograms", "-1"), ingest.Count{}, ingest.ErrOtherForm)
	f(formV2, header("Samples", "0"), ingest.Count{}, nil)
	f(formV2, header("Samples", "7", "Histograms", "2", "Exemplars", "3"), ingest.Count{Items: 9, Samples: 7, Histograms: 2, Exemplars: 3}, nil)
}

func TestAcceptAndRefuse(t *testing.T) {
	f := func(r ingest.Reply, status int, body string, written ...string) {
		t.Helper()
		if r.Status != status || string(r.Body) != body || (body != "") != (r.ContentType != "") || len(r.Header) != len(written) {
			t.Fatalf("%+v %q", r, r.Body)
		}
		for i, name := range []string{"Samples", "Histograms", "Exemplars"}[:len(written)] {
			if r.Header[i] != (ingest.HeaderField{Name: "X-Prometheus-Remote-Write-" + name + "-Written", Value: written[i]}) {
				t.Errorf("%+v", r.Header)
			}
		}
	}
	a := ingest.Answer{Status: 202, Written: ingest.Count{Items: 9, Samples: 7, Histograms: 2, Exemplars: 3}}
	f(V1.Accept(ingest.Content{}, a), 202, "")
	f(V2.Accept(ingest.Content{}, a), 202, "", "7", "2", "3")
	f(V1.Accept(ingest.Content{}, ingest.Answer{}), 204, "")
	f(V2.Accept(ingest.Content{}, ingest.Answer{}), 204, "", "0", "0", "0")
	a.Refused = []ingest.Refusal{{Reason: "invalid_item", Items: 2, Text: "series 3:\nbad"}, {Reason: "unconvertible", Items: 1, Text: "x"}}
	f(V1.Accept(ingest.Content{}, a), 400, "2 items refused (invalid_item): series 3: bad; 1 items refused (unconvertible): x\n")
	f(V2.Accept(ingest.Content{}, a), 400, "2 items refused (invalid_item): series 3: bad; 1 items refused (unconvertible): x\n", "7", "2", "3")

	e := fault.New(fault.TooLarge, "over")
	vmagent := http.Header{"X-Victoriametrics-Remote-Write-Version": {"1"}}
	f(V1.Refuse(http.Header{}, e), 413, "over\n")
	f(V1.Refuse(vmagent, e), 400, "over\n")
	f(V1.Refuse(vmagent, fault.New(fault.Unsupported, "zstd")), 415, "zstd\n")
	f(V2.Refuse(http.Header{}, e), 413, "over\n", "0", "0", "0")
}
