package sink

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/prompb"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.opentelemetry.io/collector/pdata/testdata"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func write() []byte {
	req := &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels: []prompb.Label{{Name: "__name__", Value: "up"}}, Samples: []prompb.Sample{{Value: 1, Timestamp: 2}, {Value: 3, Timestamp: 4}},
	}}}
	return snappy.Encode(nil, must(req.Marshal()))
}

func spans() []byte {
	return must(ptraceotlp.NewExportRequestFromTraces(testdata.GenerateTraces(3)).MarshalProto())
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

// post pushes to a sink and returns the status.
func post(s *Sink, path, encoding string, body []byte) int {
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	r.SetBasicAuth("prod", "secret")
	r.Header.Set("Content-Encoding", encoding)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code
}

func TestPushesAreAddedUp(t *testing.T) {
	f := func(path, encoding string, body []byte, status int, key string, items uint64) {
		t.Helper()
		s := new(Sink)
		if got := post(s, path, encoding, body); got != status {
			t.Errorf("%s %s: %d, want %d: %s", path, encoding, got, status, s.State().Error)
		}
		if got := s.State().Sums[key].Items; got != items {
			t.Errorf("%s %s: %d items, want %d", path, encoding, got, items)
		}
	}
	f("/api/prom/push", "snappy", write(), 204, "prod/metrics", 2)
	f("/api/v1/write", "", write(), 204, "prod/metrics", 2)
	f("/otlp/v1/traces", "", spans(), 200, "prod/traces", 3)
	f("/v1/traces", "gzip", gzipped(spans()), 200, "prod/traces", 3)
	enc := must(zstd.NewWriter(nil))
	f("/v1/traces", "zstd", enc.EncodeAll(spans(), nil), 200, "prod/traces", 3)
	f("/v1/traces", "br", spans(), 400, "prod/traces", 0)
	f("/v1/traces", "gzip", spans(), 400, "prod/traces", 0)
	f("/api/prom/push", "snappy", []byte("nonsense"), 400, "prod/metrics", 0)
	f("/elsewhere", "", nil, 404, "prod/metrics", 0)
}

func TestStateAndReset(t *testing.T) {
	s := new(Sink)
	post(s, "/api/prom/push", "snappy", write())
	post(s, "/v1/traces", "", spans())
	post(s, "/v1/traces", "gzip", spans())
	st := s.State()
	if st.Pushes != 2 || st.Unreadable != 1 || st.Error == "" || st.Total().Items != 5 {
		t.Errorf("%+v", st)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, ResetPath, strings.NewReader("null")))
	var before State
	if err := json.Unmarshal(w.Body.Bytes(), &before); err != nil || before.Pushes != 2 {
		t.Errorf("reset says %s", w.Body)
	}
	if st := s.State(); st.Pushes != 0 || len(st.Sums) != 0 {
		t.Errorf("after reset: %+v", st)
	}
}

func TestFaults(t *testing.T) {
	s := new(Sink)
	f := func(fault string, status int, pushes, failed uint64) {
		t.Helper()
		s.Reset()
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, FaultPath, strings.NewReader(fault)))
		if w.Code != http.StatusOK {
			t.Fatalf("%s: %d", fault, w.Code)
		}
		got := post(s, "/api/prom/push", "snappy", write())
		if st := s.State(); got != status || st.Pushes != pushes || st.Failed != failed {
			t.Errorf("%s: %d, %+v", fault, got, st)
		}
	}
	f(`{"status":503}`, 503, 0, 1)
	f(`{"status":503,"user":"dev"}`, 204, 1, 0)
	f(`{"delay":1000}`, 204, 1, 0)
	f(`{}`, 204, 1, 0)
	s.SetFault(Fault{Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	r := httptest.NewRequest(http.MethodPost, "/api/prom/push", bytes.NewReader(write())).WithContext(ctx)
	s.ServeHTTP(httptest.NewRecorder(), r) // returns when the sender is gone
	if st := s.State(); st.Failed != 1 || st.Pushes != 1 {
		t.Errorf("after one that hung: %+v", st)
	}
}

// raw sends bytes as a gRPC message.
type raw struct{}

func (raw) Name() string                    { return "proto" }
func (raw) Marshal(v any) ([]byte, error)   { return *v.(*[]byte), nil }
func (raw) Unmarshal(b []byte, v any) error { *v.(*[]byte) = b; return nil }

// TestGRPC asks the sink with grpc-go.
func TestGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := new(Sink)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l, nil) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	c, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in, out := spans(), []byte("untouched")
	const method = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
	if err := c.Invoke(t.Context(), method, &in, &out); err != nil || len(out) != 0 {
		t.Errorf("%v, %q", err, out)
	}
	if st := s.State(); st.Total().Items != 3 {
		t.Errorf("%+v", st)
	}
	s.SetFault(Fault{Status: 503})
	if err := c.Invoke(t.Context(), method, &in, &out); status.Code(err) != codes.Unavailable {
		t.Errorf("on failure: %v", err)
	}
}

// TestCutPushIsNotUnreadable: a sender that is killed leaves a piece of a push, which is nobody's fault.
func TestCutPushIsNotUnreadable(t *testing.T) {
	s := new(Sink)
	r := httptest.NewRequest(http.MethodPost, "/api/v1/push", io.MultiReader(strings.NewReader("a piece"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	s.ServeHTTP(httptest.NewRecorder(), r)
	if st := s.State(); st.Cut != 1 || st.Unreadable != 0 || st.Pushes != 0 {
		t.Errorf("%+v", st)
	}
}
