package integration

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"io"
	"testing"
)

func gzipped(t testing.TB, body []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	return compressed(t, &buf, gzip.NewWriter(&buf), body)
}

// deflated is raw DEFLATE, which is what Loki means by deflate.
func deflated(t testing.TB, body []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	return compressed(t, &buf, w, body)
}

func compressed(t testing.TB, buf *bytes.Buffer, w io.WriteCloser, body []byte) []byte {
	t.Helper()
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}
