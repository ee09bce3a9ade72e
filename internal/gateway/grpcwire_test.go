package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"golang.org/x/net/http2"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/klauspost/compress/gzip"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

const exportSpans = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

// h2c is an HTTP client that speaks HTTP/2 without TLS, as gRPC does.
func h2c(t *testing.T) *http.Client {
	tr := new(http.Transport)
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 15 * time.Second}
}

// frame puts the prefix of a gRPC message before it.
func frame(flag byte, msg []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flag}, uint32(len(msg))), msg...)
}

// call makes one gRPC call by hand, such as no library would, and returns how it ended.
func (g *gatewayTest) call(method string, h http.Header, body io.ReadCloser) *spb.Status {
	g.t.Helper()
	req := must(http.NewRequest(http.MethodPost, "http://"+g.addr.GRPC[0]+method, body))
	req.Header = h.Clone()
	if req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/grpc")
	}
	req.Header.Set("Te", "trailers")
	res, err := h2c(g.t).Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadAll(res.Body); err != nil {
		g.t.Fatal(err)
	}
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/grpc" {
		g.t.Errorf("HTTP %d %s, want 200 application/grpc", res.StatusCode, res.Header.Get("Content-Type"))
	}
	code, err := strconv.Atoi(res.Trailer.Get("Grpc-Status"))
	if err != nil {
		g.t.Fatalf("trailers %v have no grpc-status", res.Trailer)
	}
	message, err := url.PathUnescape(res.Trailer.Get("Grpc-Message"))
	if err != nil {
		g.t.Errorf("grpc-message %q: %v", res.Trailer.Get("Grpc-Message"), err)
	}
	st := &spb.Status{Code: int32(code), Message: message}
	if details := res.Trailer.Get("Grpc-Status-Details-Bin"); details != "" {
		same := new(spb.Status)
		if err := proto.Unmarshal(must(base64.RawStdEncoding.DecodeString(details)), same); err != nil {
			g.t.Errorf("grpc-status-details-bin: %v", err)
		}
		if same.Code != st.Code || same.Message != st.Message {
			g.t.Errorf("details say %v, the status %v", same, st)
		}
		st = same
	}
	return st
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func TestGRPCHostileCalls(t *testing.T) {
	g := start(t, defaultServer+`  max_body_bytes: 1MiB
  max_decoded_bytes: 1MiB
`+defaultEnvironment)
	msg := must(ptraceotlp.NewExportRequestFromTraces(traces(3)).MarshalProto())
	f := func(what, method string, h http.Header, body []byte, want codes.Code, text string) {
		t.Helper()
		st := g.call(method, h, io.NopCloser(bytes.NewReader(body)))
		if codes.Code(st.Code) != want || !strings.Contains(st.Message, text) {
			t.Errorf("%s: %v %q, want %v with %q", what, codes.Code(st.Code), st.Message, want, text)
		}
		if len(st.Details) > 0 {
			t.Errorf("%s: details %v on what no retry mends", what, st.Details)
		}
	}
	gz, plain := header("Grpc-Encoding", "gzip"), header()
	f("good", exportSpans, plain, frame(0, msg), codes.OK, "")
	f("gzip", exportSpans, gz, frame(1, gzipped(msg)), codes.OK, "")
	f("uncompressed in spite of grpc-encoding", exportSpans, gz, frame(0, msg), codes.OK, "")
	f("application/grpc+proto", exportSpans, header("Content-Type", "application/grpc+proto"), frame(0, msg), codes.OK, "")
	f("empty message", exportSpans, plain, frame(0, nil), codes.OK, "")
	f("no message", exportSpans, plain, nil, codes.InvalidArgument, "ends before")
	f("half a prefix", exportSpans, plain, []byte{0, 0, 0}, codes.InvalidArgument, "ends before")
	f("half a message", exportSpans, plain, frame(0, msg)[:40], codes.InvalidArgument, "ends before")
	f("two messages", exportSpans, plain, append(frame(0, msg), frame(0, msg)...), codes.InvalidArgument, "more than one message")
	f("two empty messages", exportSpans, plain, append(frame(0, nil), frame(0, nil)...), codes.InvalidArgument, "more than one message")
	f("unknown flag", exportSpans, plain, frame(2, msg), codes.InvalidArgument, "flag 2")
	f("compressed with nothing", exportSpans, plain, frame(1, msg), codes.InvalidArgument, "no grpc-encoding")
	f("not gzip", exportSpans, gz, frame(1, msg), codes.InvalidArgument, "gzip")
	f("no protobuf", exportSpans, plain, frame(0, []byte{0xff, 0xff}), codes.InvalidArgument, "")
	f("unknown compressor", exportSpans, header("Grpc-Encoding", "lz4"), frame(1, msg), codes.Unimplemented, "lz4")
	f("unknown subtype", exportSpans, header("Content-Type", "application/grpc+json"), frame(0, msg), codes.Unimplemented, "json")
	f("unknown method", "/some.Service/Call", plain, frame(0, msg), codes.Unimplemented, "/some.Service/Call")
	f("bomb", exportSpans, gz, frame(1, gzipped(make([]byte, 8<<20))), codes.ResourceExhausted, "server.max_decoded_bytes=1048576")
	f("a length that is a lie", exportSpans, plain, append([]byte{0, 0xff, 0xff, 0xff, 0xff}, msg...), codes.ResourceExhausted, "server.max_body_bytes")
	if n := g.cloud.Stats(otlpUser, "").Items; n != 4*3 {
		t.Errorf("%d spans arrived, want 12", n)
	}
}

// A call that is refused before its message is read: its sender gets the status although it has not sent all.
func TestGRPCEarlyRefusal(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	st := g.call(exportSpans, header("Authorization", "Bearer nobody"), io.NopCloser(bytes.NewReader(frame(0, make([]byte, 8<<20)))))
	if codes.Code(st.Code) != codes.Unauthenticated {
		t.Errorf("8 MiB without a credential: %v", st)
	}
}

// A message that does not come in time is no fault of the data: its sender is told to come back.
func TestGRPCSlowSender(t *testing.T) {
	g := start(t, defaultServer+"  request_timeout: 300ms\n"+defaultEnvironment)
	f := func(what string, sent []byte) {
		t.Helper()
		r, w := io.Pipe()
		defer w.Close()
		go func() { _, _ = w.Write(sent) }() // ends when the client closes r
		st := g.call(exportSpans, header(), r)
		if codes.Code(st.Code) != codes.Unavailable || len(st.Details) != 1 {
			t.Errorf("%s: %v, want UNAVAILABLE with RetryInfo", what, st)
		}
	}
	f("nothing", nil)
	f("half a prefix", []byte{0, 0})
	f("half a message", []byte{0, 0, 0, 0, 100, 10})
}

// Clients may ping as often as they like, also without a call open: what looks like misuse elsewhere is how agents keep
// load balancers from forgetting their connection.
func TestGRPCPings(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	conn, err := net.Dial("tcp", g.addr.GRPC[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	fr := http2.NewFramer(conn, conn)
	if err := fr.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	const pings = 100
	for acks := 0; acks < pings; {
		frame, err := fr.ReadFrame()
		if err != nil {
			t.Fatalf("after %d pings: %v", acks, err)
		}
		switch frame := frame.(type) {
		case *http2.GoAwayFrame:
			t.Fatalf("after %d pings: GOAWAY %v %s", acks, frame.ErrCode, frame.DebugData())
		case *http2.SettingsFrame:
			if frame.IsAck() {
				continue
			}
			n, _ := frame.Value(http2.SettingMaxConcurrentStreams)
			if n != maxStreams {
				t.Errorf("%d streams are offered, want %d", n, maxStreams)
			}
			if err := fr.WriteSettingsAck(); err != nil {
				t.Fatal(err)
			}
			if err := fr.WritePing(false, [8]byte{1}); err != nil {
				t.Fatal(err)
			}
		case *http2.PingFrame:
			if acks++; frame.IsAck() {
				if err := fr.WritePing(false, [8]byte{1}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if n := g.cloud.Stats("", fakecloud.OTLP).Requests; n != 0 {
		t.Errorf("upstream saw %d requests", n)
	}
}
