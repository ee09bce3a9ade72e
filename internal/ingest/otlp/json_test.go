package otlp_test

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// TestJSON compares pushes with the protobuf they mean, written by hand.
func TestJSON(t *testing.T) {
	f := func(name, body string, want []byte) {
		t.Helper()
		ref := references[name]
		b, err := ref.http.Decode([]byte(body), ingest.Content{JSON: true})
		if err != nil {
			t.Errorf("%s: %v", body, err)
			return
		}
		if got := encode(t, ref.http, b, nil, []byte(body), ingest.Content{JSON: true}); !bytes.Equal(got, viewOf(t, ref, want)) {
			t.Errorf("%s\n got %q\nwant %q", body, got, viewOf(t, ref, want))
		}
	}
	span := func(fields ...[]byte) []byte { return sub(1, sub(2, sub(2, append(fields, spanIDs)...))) }
	spans := func(s string) string { return `{"resourceSpans":[{"scopeSpans":[{"spans":[` + s + `]}]}]}` }
	const ids = `"traceId":"30313233343536373839616263646566","spanId":"3031323334353637"`
	parent := []byte{0xab, 0xcd, 0xef, 1, 2, 3, 4, 5}
	f("traces", spans(`{`+ids+`}`), span())
	f("traces", spans(`{"parentSpanId":"ABCDEF0102030405",`+ids+`}`), span(sub(4, parent)))
	f("traces", spans(`{`+ids+`,"parentSpanId":"abcdef0102030405","newer":{"a":[1,{"b":null}]},"kind":2}`), span(sub(4, parent), []byte{0x30, 2}))
	f("traces", spans(`{"startTimeUnixNano":"1",`+ids+`}`), span([]byte{0x39, 1, 0, 0, 0, 0, 0, 0, 0}))
	f("traces", spans(`{"startTimeUnixNano":1,`+ids+`}`), span([]byte{0x39, 1, 0, 0, 0, 0, 0, 0, 0}))
	f("traces", spans(`{"attributes":[{"key":"a","value":{"stringValue":"\u00e4\""}}],`+ids+`}`), span(attr(9, "a", "ä\"")))
	f("traces", " \n{ \"resourceSpans\" : [ ] }\t", nil)
	f("logs", `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"bytesValue":"AAE="},"severityNumber":9}]}]}]}`,
		sub(1, sub(2, sub(2, []byte{0x10, 9}, sub(5, sub(7, []byte{0, 1}))))))
	f("metrics", `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{"asInt":"-1"}]}}]}]}]}`,
		sub(1, sub(2, sub(2, sub(5, sub(1, []byte{0x31, 255, 255, 255, 255, 255, 255, 255, 255}))))))

	bad := func(body, text string) {
		t.Helper()
		_, err := references["traces"].http.Decode([]byte(body), ingest.Content{JSON: true})
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%.80s: %v, want %q", body, err, text)
		}
	}
	bad("", "not well formed")
	bad(`{} {}`, "not well formed")
	bad(`{}x`, "not well formed")
	bad(`{"resourceSpans":[}`, "not well formed")
	bad(`{"a":"`, "not well formed")
	bad(`{"a":"\`, "not well formed")
	bad(`{"resourceSpans":{}}`, "ReadArray")
	bad(`[]`, "ReadObject")
	bad(`{"":1,"resourceSpans":[{}]}`, "without a name")
	bad(`{"resourceSpans":[{"" : [{}]}]}`, "without a name")
	bad(spans(`{"spanId":"abcd","kind":{}}`), "length mismatch")
	bad(spans(`{"spanId":1}`), "spanId")
	bad(`{"a":`+strings.Repeat("[", 64)+strings.Repeat("]", 64)+`}`, "nested over 64")
	bad(strings.Repeat("[", 1<<20), "nested over 64")
	bad(spans(strings.Repeat("{},", 1e5)+"{}"), "empty objects")
	bad(spans(strings.Repeat("null,", 1e5)+"{}"), "empty objects")
	f("traces", `{"a":`+strings.Repeat("[", 63)+strings.Repeat("]", 63)+`,"b":["","{}",":"]}`, nil)
}

// TestJSONDensity: what is dense but says something is taken, in no more memory than is charged for it.
func TestJSONDensity(t *testing.T) {
	f := func(name, before, element, after string, weight float64) {
		t.Helper()
		body := []byte(before + strings.Repeat(element+",", 50000) + element + after)
		var start, end runtime.MemStats
		runtime.ReadMemStats(&start)
		if _, err := references[name].http.Decode(body, ingest.Content{JSON: true}); err != nil {
			t.Errorf("%s: %v", element, err)
		}
		runtime.ReadMemStats(&end)
		// Everything ever allocated: garbage of slices that grew counts too, so this is on the safe side.
		if got := float64(end.TotalAlloc-start.TotalAlloc) / float64(len(body)); got > weight {
			t.Errorf("%s takes %.1f bytes for each byte, want at most %.1f", element, got, weight)
		}
	}
	spans, end := `{"resourceSpans":[{"scopeSpans":[{"spans":[`, `]}]}]}`
	// Where garbage is most of it, the limit is over the 8 that are charged.
	f("traces", spans, `{"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708","name":"a","startTimeUnixNano":"1760000000000000000"}`, end, 8)
	f("traces", spans+`{"attributes":[`, `{"key":"az","value":{"stringValue":"b"}}`, `]}`+end, 10)
	f("traces", spans+`{"attributes":[{"key":"a","value":{"arrayValue":{"values":[`, `{"intValue":1}`, `]}}}]}`+end, 10)
	f("logs", `{"resourceLogs":[{"scopeLogs":[{"logRecords":[`, `{"timeUnixNano":"1760000000000000000","body":{"stringValue":"a"}}`, end, 8)
	f("metrics", `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[`, `{"timeUnixNano":"1760000000000000000","asInt":1}`, `]}}`+end, 8)

	for name := range references {
		_, json := typical(name, 1000)
		var start, end runtime.MemStats
		runtime.ReadMemStats(&start)
		if _, err := references[name].http.Decode(json, ingest.Content{JSON: true}); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&end)
		if got := float64(end.TotalAlloc-start.TotalAlloc) / float64(len(json)); got > 4 {
			t.Errorf("%s as agents send them take %.1f bytes for each byte, want at most 4", name, got)
		}
	}
}
