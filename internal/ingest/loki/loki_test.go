package loki

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

func TestOpen(t *testing.T) {
	const (
		snappy, gzip, deflate = ingest.Snappy, ingest.Gzip, ingest.Deflate
	)
	f := func(contentType, encoding string, json bool, codecs ...ingest.Codec) {
		t.Helper()
		h := http.Header{}
		if contentType != "" {
			h.Set("Content-Type", contentType)
		}
		if encoding != "" {
			h.Set("Content-Encoding", encoding)
		}
		c, err := open(h)
		if err != nil {
			t.Fatalf("%q, %q: %v", contentType, encoding, err)
		}
		if c.JSON != json || !slices.Equal(c.Codecs, codecs) || c.Weight != 0 {
			t.Errorf("%q, %q: got %+v", contentType, encoding, c)
		}
	}
	f("", "", false, snappy)
	f("application/x-protobuf", "", false, snappy)
	f("application/x-protobuf", "snappy", false, snappy)
	f("application/protobuf; proto=logproto.PushRequest", "Snappy", false, snappy)
	f("application/x-protobuf", "gzip", false, gzip, snappy)
	f("", "deflate", false, deflate, snappy)
	f("application/json", "", true)
	f("Application/JSON; charset=utf-8", "snappy", true)
	f("application/json", "gzip", true, gzip)
	f("application/json", "deflate", true, deflate)

	refused := func(h http.Header) {
		t.Helper()
		_, err := open(h)
		var e *fault.Error
		if !errors.As(err, &e) || e.HTTPStatus() != http.StatusUnsupportedMediaType {
			t.Errorf("%v: got %v, want 415", h, err)
		}
	}
	refused(http.Header{"Content-Type": {"text/plain"}})
	refused(http.Header{"Content-Type": {"application/json; charset"}})
	refused(http.Header{"Content-Type": {"/"}})
	refused(http.Header{"Content-Encoding": {"zstd"}})
	refused(http.Header{"Content-Encoding": {"gzip, snappy"}})
	refused(http.Header{"Content-Encoding": {"gzip", "snappy"}})
}

func TestAnswers(t *testing.T) {
	for _, status := range []int{200, 204, 260} {
		a, err := form.Read(status, nil, nil)
		if err != nil || a.Status != status {
			t.Fatalf("read %d: %+v, %v", status, a, err)
		}
		if r := accept(ingest.Content{}, a); r.Status != status || r.Body != nil {
			t.Errorf("accept %d: %+v", status, r)
		}
	}
	if r := accept(ingest.Content{}, ingest.Answer{}); r.Status != http.StatusNoContent {
		t.Errorf("nothing sent: %+v", r)
	}
	r := accept(ingest.Content{}, ingest.Answer{Status: 204, Refused: []ingest.Refusal{{Reason: "invalid_item", Items: 3, Text: "stream 1:\nbad"}}})
	if r.Status != http.StatusBadRequest || string(r.Body) != "3 items refused (invalid_item): stream 1: bad\n" {
		t.Errorf("refused: %d %q", r.Status, r.Body)
	}
	r = refuse(nil, fault.New(fault.TooLarge, "2 over 1"))
	if r.Status != http.StatusRequestEntityTooLarge || string(r.Body) != "2 over 1\n" || !strings.HasPrefix(r.ContentType, "text/plain") {
		t.Errorf("refuse: %+v %q", r, r.Body)
	}
}

func TestDecodeIsMalformed(t *testing.T) {
	f := func(body string, c ingest.Content) {
		t.Helper()
		_, err := Push.Decode([]byte(body), c)
		var e *fault.Error
		if !errors.As(err, &e) || e.HTTPStatus() != http.StatusBadRequest || strings.Contains(e.Public, "\n") {
			t.Errorf("%q: got %v, want 400", body, err)
		}
	}
	f("\x0a\x05", ingest.Content{})
	f(`{"streams":`, ingest.Content{JSON: true})
}
