package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/jaeger"
	"github.com/telemetry-gateway/telemetry-gateway/internal/tenant"
)

// door is the handler of one push port. It turns an HTTP request into a push and a Reply into a response.
type door struct {
	*Gateway
	listener *pushListener
}

// ServeHTTP implements http.Handler.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer d.notice()
	d.age(w, r)
	if isGRPC(r) {
		d.serveGRPC(w, r)
		return
	}
	protocol := d.routes.find(r.URL.Path, r.Header)
	if protocol != nil && r.Method == http.MethodPost {
		d.handle(w, r, protocol)
		return
	}
	// What is no push needs no body and gets no time for one.
	if !discard(w, r, maxHeaderBytes) {
		w.Header().Set("Connection", "close")
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	switch r.URL.Path {
	case "/-/healthy", "/-/ready":
		d.serveHealth(w, r)
		return
	case jaeger.StrategyRoute, "/api" + jaeger.StrategyRoute: // as an agent has it on 5778, and a collector on 14268
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(jaeger.StrategyJSON())
		return
	}
	switch {
	case protocol == nil && d.routes.grpc[r.URL.Path] != nil:
		plain(w, http.StatusUnsupportedMediaType, "this is a gRPC method: Content-Type must be application/grpc over HTTP/2")
		return
	case protocol == nil:
		plain(w, http.StatusNotFound, "no door at this path; see the chapter Doors of the README")
		return
	default:
		w.Header().Set("Allow", http.MethodPost)
		plain(w, http.StatusMethodNotAllowed, "pushes are POST")
	}
}

// notice makes a panic loud. net/http ends the one connection; all others go on.
func (g *Gateway) notice() {
	if v := recover(); v != nil && v != http.ErrAbortHandler {
		g.log.Error("BUG: panic while handling a push", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		panic(http.ErrAbortHandler)
	}
}

// handle walks one push along the road and, whatever became of it, answers once, counts once and logs once.
func (d *door) handle(w http.ResponseWriter, r *http.Request, protocol *ingest.Protocol) {
	p := d.newPush(w, r, protocol)
	answer, err := d.serve(p)
	if err == nil {
		reply := protocol.Accept(p.content, answer)
		d.record(p, reply.Status, nil)
		d.write(p, w, reply)
		return
	}
	e := p.fault(err)
	reply := protocol.Refuse(r.Header, e)
	d.record(p, reply.Status, e)
	// What is left of a body that was late is not waited for once more.
	if !p.whole && (errors.Is(e, os.ErrDeadlineExceeded) || !discard(w, r, int64(d.state.Load().bounds.BodyBytes))) {
		// Where the body does not end, the next request cannot be found behind it.
		w.Header().Set("Connection", "close")
	}
	if e.Kind == fault.Unauthenticated {
		w.Header()["Www-Authenticate"] = []string{`Basic realm="telemetry gateway"`, `Bearer realm="telemetry gateway"`}
	}
	if e.After > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds(e.After)))
	}
	d.write(p, w, reply)
}

func (d *door) newPush(w http.ResponseWriter, r *http.Request, protocol *ingest.Protocol) *push {
	p := &push{
		ctx: r.Context(), protocol: protocol, header: r.Header,
		credentials: tenant.Credentials{Authorization: r.Header["Authorization"], TLS: r.TLS, Pinned: d.listener.pinned(d.state.Load())},
		reader:      r.Body, declared: r.ContentLength, start: time.Now(), pool: &d.pool, conn: *http.NewResponseController(w),
	}
	p.built = p.chargeBuilt
	_ = p.conn.SetReadDeadline(p.start.Add(d.state.Load().requestTimeout))
	return p
}

// write sends a reply. That the sender may be gone by now changes nothing: what became of the push is decided.
func (d *door) write(p *push, w http.ResponseWriter, reply ingest.Reply) {
	h := w.Header()
	if d.phase.Load() != serving {
		// The push may have begun before the gateway was told to leave. A connection that it left open would be closed
		// unused at the end of drain_delay, perhaps under the sender's next push.
		h.Set("Connection", "close")
	}
	for _, f := range reply.Header {
		h.Set(f.Name, f.Value)
	}
	if reply.Status != http.StatusNoContent {
		h["Content-Type"] = nil // no sniffing
		if reply.ContentType != "" {
			h.Set("Content-Type", reply.ContentType)
		}
		h.Set("Content-Length", strconv.Itoa(len(reply.Body)))
	}
	_ = p.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	w.WriteHeader(reply.Status)
	_, _ = w.Write(reply.Body)
}

// writeTimeout is how long a sender may take to read an answer.
const writeTimeout = 10 * time.Second

// seconds is d as Retry-After says it: whole, rounded up, at least 1.
func seconds(d time.Duration) int { return max(1, int((d+time.Second-1)/time.Second)) }

// discardTime is how long a refused body is read and thrown away, so that its sender reads the answer and not a reset.
const discardTime = 2 * time.Second

// discard reads what is left of r's body, at most limit bytes and discardTime, into nothing. It reports whether the body
// is at its end, so that the connection can carry another request. HTTP/2 needs none of this: a stream ends alone.
func discard(w http.ResponseWriter, r *http.Request, limit int64) bool {
	if r.ProtoMajor != 1 || r.ContentLength == 0 {
		return true
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(discardTime)) // net/http reads on when we do not
	if r.Header.Get("Expect") != "" {
		return false // it waits for a 100 that it does not get: nothing is on its way
	}
	_, err := io.CopyN(io.Discard, r.Body, max(limit, limit+1))
	return errors.Is(err, io.EOF)
}

// plain answers what is no push.
func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}

func (g *Gateway) serveHealth(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/-/ready" && g.phase.Load() != serving {
		plain(w, http.StatusServiceUnavailable, "shutting down")
		return
	}
	plain(w, http.StatusOK, "ok")
}

// connection is what is known of a connection, for its age. It is the one context value of the push ports: net/http has
// no other way to tell a handler which connection a request came on.
type connection struct{ closeAt time.Time }

type connectionKey struct{}

// age tells connections to close that are old, or all of them while the gateway is leaving. Over HTTP/2 net/http makes a
// GOAWAY of it.
func (d *door) age(w http.ResponseWriter, r *http.Request) {
	c, _ := r.Context().Value(connectionKey{}).(*connection)
	if d.phase.Load() != serving || c != nil && !c.closeAt.IsZero() && time.Now().After(c.closeAt) {
		w.Header().Set("Connection", "close")
	}
}

// withConnection notes when a new connection is to be closed. The age is spread, so that connections that
// were opened together do not come back together.
func withConnection(ctx context.Context, maxAge time.Duration) context.Context {
	c := new(connection)
	if maxAge > 0 {
		c.closeAt = time.Now().Add(fault.About(maxAge))
	}
	return context.WithValue(ctx, connectionKey{}, c)
}
