package ingest_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

func TestEncoding(t *testing.T) {
	f := func(values []string, want []ingest.Codec, ok bool) {
		t.Helper()
		got, err := ingest.Encoding(http.Header{"Content-Encoding": values}, "Content-Encoding", ingest.Gzip, ingest.Zstd)
		if !slices.Equal(got, want) || (err == nil) != ok {
			t.Errorf("%q: %v, %v", values, got, err)
		}
		if err != nil && fault.From(err).Kind != fault.Unsupported {
			t.Errorf("%q: %v", values, err)
		}
	}
	f(nil, nil, true)
	f([]string{""}, nil, true)
	f([]string{"identity"}, nil, true)
	f([]string{" GZIP "}, []ingest.Codec{ingest.Gzip}, true)
	f([]string{"zstd"}, []ingest.Codec{ingest.Zstd}, true)
	f([]string{"snappy"}, nil, false)
	f([]string{"gzip", "gzip"}, nil, false)
	f([]string{"gzip, identity"}, nil, false)
}

func TestTextsAreOneLine(t *testing.T) {
	refused := []ingest.Refusal{{Reason: "a", Items: 2, Text: "one\ntwo"}, {Reason: "b", Items: 1, Text: "three\x1b"}}
	if got, want := ingest.RefusalText(refused), "2 items refused (a): one two; 1 items refused (b): three "; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if r := ingest.TextReply(400, "a\r\nb"); string(r.Body) != "a  b\n" || r.Status != 400 || r.ContentType != "text/plain; charset=utf-8" {
		t.Errorf("%+v", r)
	}
}
