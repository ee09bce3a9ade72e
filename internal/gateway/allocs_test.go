package gateway

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/golang/snappy"
	lokipush "github.com/grafana/loki/pkg/push"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.opentelemetry.io/collector/pdata/testdata"
)

// v2Push is a remote_write v2 push of n series.
func v2Push(n int) []byte {
	req := &writev2.Request{Symbols: []string{"", "__name__", "up", "instance"}}
	for i := range n {
		req.Symbols = append(req.Symbols, fmt.Sprintf("host-%d", i))
		req.Timeseries = append(req.Timeseries, writev2.TimeSeries{
			LabelsRefs: []uint32{1, 2, 3, uint32(4 + i)}, Samples: []writev2.Sample{{Value: float64(i), Timestamp: 1_700_000_000_000}},
		})
	}
	return snappy.Encode(nil, must(req.Marshal()))
}

// linesPush is a Loki push of n lines in ten streams.
func linesPush(n int) []byte {
	req := &lokipush.PushRequest{Streams: make([]lokipush.Stream, 10)}
	for i := range req.Streams {
		req.Streams[i].Labels = fmt.Sprintf(`{app="shop", pod="checkout-%d"}`, i)
	}
	for i := range n {
		s := &req.Streams[i%10]
		s.Entries = append(s.Entries, lokipush.Entry{Timestamp: time.Unix(1_700_000_000, int64(i)), Line: fmt.Sprintf("line %d of the shop", i)})
	}
	return snappy.Encode(nil, must(req.Marshal()))
}

// TestAllocations holds the road to its promise: what a push costs in allocations does not depend on how many series,
// lines or spans are in it. One allocation for an item would make the difference that is bounded here ten times as large
// as it may be; what remains of it is larger bodies going through more reads, and pools that the collector has emptied.
func TestAllocations(t *testing.T) {
	const few, many = 10, 2000
	const most = (many - few) / 10
	proto := "application/x-protobuf"
	rw := header("Content-Type", proto, "Content-Encoding", "snappy")
	pushes := []struct {
		name, path string
		header     http.Header
		body       func(n int) []byte
	}{
		{"remote_write v1", "/api/v1/push", rw, k8sPush},
		{"remote_write v2", "/api/v1/push", header("Content-Type", proto+";proto=io.prometheus.write.v2.Request", "Content-Encoding", "snappy"), v2Push},
		{"loki", "/loki/api/v1/push", header("Content-Type", proto), linesPush},
		{"otlp traces", "/v1/traces", header("Content-Type", proto), func(n int) []byte {
			return must(ptraceotlp.NewExportRequestFromTraces(testdata.GenerateTraces(n)).MarshalProto())
		}},
		{"otlp metrics", "/v1/metrics", header("Content-Type", proto), func(n int) []byte {
			return must(pmetricotlp.NewExportRequestFromMetrics(testdata.GenerateMetrics(n)).MarshalProto())
		}},
		{"otlp logs, gzip", "/v1/logs", header("Content-Type", proto, "Content-Encoding", "gzip"), func(n int) []byte {
			return gzipped(must(plogotlp.NewExportRequestFromLogs(testdata.GenerateLogs(n)).MarshalProto()))
		}},
	}
	for what, labels := range map[string]string{"unchanged": "", "stamped": "environment: prod"} {
		d := benchDoor(t, labels)
		for _, p := range pushes {
			if what == "stamped" && p.path != "/api/v1/push" && p.path != "/v1/metrics" {
				continue // the stamps of benchDoor are those of metrics
			}
			count := func(n int) float64 {
				body := p.body(n)
				return testing.AllocsPerRun(30, func() {
					r := httptest.NewRequest(http.MethodPost, p.path, bytes.NewReader(body))
					r.Header = p.header
					w := httptest.NewRecorder()
					d.ServeHTTP(w, r)
					if w.Code/100 != 2 {
						t.Fatalf("%s: %d %s", p.name, w.Code, w.Body)
					}
				})
			}
			small, large := count(few), count(many)
			if large-small > most {
				t.Errorf("%s, %s: %v allocations for %d items, %v for %d, want at most %d more", p.name, what, small, few, large, many, most)
			}
			t.Logf("%s, %s: %v allocations for %d items, %v for %d", p.name, what, small, few, large, many)
		}
	}
}
