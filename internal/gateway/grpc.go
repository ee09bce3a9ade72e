package gateway

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/jaeger"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/otlp"
)

// gRPC is an envelope onto the same road, read by net/http's HTTP/2 server and not by grpc-go's: that one receives and
// decompresses a message whole before anybody can ask who sends it or charge for it, and throws the compressed bytes
// away that could be forwarded as they came. A unary call is a prefix of five bytes, a message and three trailers.
// Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md

// prefixBytes is the length of what stands before a message: one byte for "compressed", four for its length.
const prefixBytes = 5

const healthCheck = "/grpc.health.v1.Health/Check"

func isGRPC(r *http.Request) bool {
	t := r.Header.Get("Content-Type")
	return r.ProtoMajor == 2 && strings.HasPrefix(t, "application/grpc") && !strings.HasPrefix(t, "application/grpc-web")
}

// serveGRPC answers one unary call.
func (d *door) serveGRPC(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case healthCheck:
		d.serveGRPCHealth(w, r)
		return
	case jaeger.StrategyMethod:
		writeMessage(w, jaeger.StrategyMessage())
		return
	}
	protocol := d.routes.grpc[r.URL.Path]
	if protocol == nil {
		writeStatus(w, fault.New(fault.NoExit, "unknown method %s", r.URL.Path))
		return
	}
	p := d.newPush(w, r, protocol)
	p.declared = -1
	if t, ok := grpcTimeout(r.Header.Get("Grpc-Timeout")); ok {
		p.callerLimit = p.start.Add(t)
	}
	p.begin = func(c *ingest.Content) error { return p.readPrefix(r.Body, c) }
	answer, err := d.serve(p)
	if err != nil {
		e := p.fault(err)
		d.record(p, e.HTTPStatus(), e)
		writeStatus(w, e)
		return
	}
	reply := protocol.Accept(p.content, answer)
	d.record(p, reply.Status, nil)
	if reply.Status/100 != 2 {
		// Partly refused, in a protocol that has no word for it.
		writeStatus(w, fault.New(fault.Rejected, "%s", reply.Body))
		return
	}
	writeMessage(w, reply.Body)
}

// readPrefix reads what stands before the message and leaves the push to read the message alone.
func (p *push) readPrefix(body io.Reader, c *ingest.Content) error {
	var prefix [prefixBytes]byte
	switch _, err := io.ReadFull(body, prefix[:]); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fault.New(fault.Malformed, "read gRPC message: it ends before its length").WithErr(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		// Late, not wrong: who is told that its data is bad drops it.
		return fault.New(fault.Overloaded, "the message did not arrive within server.request_timeout").WithErr(err).WithAfter(fault.Soon())
	case err != nil:
		return fault.New(fault.Canceled, "the sender went away while sending").WithErr(err)
	}
	switch prefix[0] {
	case 0:
		c.Codecs = nil // a sender may leave single messages uncompressed, whatever grpc-encoding says
	case 1:
		if len(c.Codecs) == 0 {
			return fault.New(fault.Malformed, "read gRPC message: it is marked as compressed but there is no grpc-encoding")
		}
	default:
		return fault.New(fault.Malformed, "read gRPC message: flag %d in its prefix is unknown", prefix[0])
	}
	p.declared = int64(binary.BigEndian.Uint32(prefix[1:]))
	p.reader = &message{r: body, left: p.declared}
	return nil
}

// message reads one message and insists that the call ends with it.
type message struct {
	r    io.Reader
	left int64
}

func (m *message) Read(b []byte) (int, error) {
	if m.left == 0 {
		var one [1]byte
		switch n, err := m.r.Read(one[:]); {
		case n > 0:
			return 0, fault.New(fault.Malformed, "read gRPC message: more than one message in a unary call")
		case err == nil:
			return 0, nil
		default:
			return 0, err
		}
	}
	n, err := m.r.Read(b[:min(int64(len(b)), m.left)])
	m.left -= int64(n)
	if errors.Is(err, io.EOF) && m.left > 0 {
		return n, io.ErrUnexpectedEOF
	}
	if errors.Is(err, io.EOF) && n > 0 {
		err = nil
	}
	return n, err
}

// grpcTimeout parses the header grpc-timeout: at most eight digits and a unit.
func grpcTimeout(s string) (time.Duration, bool) {
	if len(s) < 2 || len(s) > 9 {
		return 0, false
	}
	unit, ok := map[byte]time.Duration{
		'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
	}[s[len(s)-1]]
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
	if !ok || err != nil {
		return 0, false
	}
	const most = time.Duration(1<<63 - 1)
	if time.Duration(n) > most/unit {
		return most, true
	}
	return time.Duration(n) * unit, true
}

// writeMessage answers a call with a message and status OK.
func writeMessage(w http.ResponseWriter, msg []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/grpc")
	h.Set(http.TrailerPrefix+"Grpc-Status", "0")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	var prefix [prefixBytes]byte
	binary.BigEndian.PutUint32(prefix[1:], uint32(len(msg)))
	_, _ = w.Write(append(prefix[:], msg...))
}

// writeStatus answers a call with a failure. RetryInfo goes along where the sender may come back.
func writeStatus(w http.ResponseWriter, e *fault.Error) {
	st := otlp.Status(e)
	h := w.Header()
	h.Set("Content-Type", "application/grpc")
	h.Set(http.TrailerPrefix+"Grpc-Status", strconv.Itoa(int(st.Code)))
	h.Set(http.TrailerPrefix+"Grpc-Message", percentEncode(st.Message))
	if e.Kind == fault.Unsupported {
		h.Set("Grpc-Accept-Encoding", "identity,gzip,zstd") // what a sender may fall back to
	}
	if len(st.Details) > 0 {
		if b, err := proto.Marshal(st); err == nil {
			h.Set(http.TrailerPrefix+"Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString(b))
		}
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	w.WriteHeader(http.StatusOK)
}

// percentEncode writes text as grpc-message wants it: printable ASCII as it is, all else as %XX.
func percentEncode(s string) string {
	// PathEscape escapes more than has to be, which every client undoes.
	return strings.NewReplacer("%20", " ").Replace(url.PathEscape(s))
}

// serveGRPCHealth answers the one method of the health protocol that has no stream.
func (d *door) serveGRPCHealth(w http.ResponseWriter, r *http.Request) {
	status := healthpb.HealthCheckResponse_SERVING
	if d.phase.Load() != serving {
		status = healthpb.HealthCheckResponse_NOT_SERVING
	}
	msg, err := proto.Marshal(&healthpb.HealthCheckResponse{Status: status})
	if err != nil {
		writeStatus(w, fault.From(err))
		return
	}
	writeMessage(w, msg)
}
