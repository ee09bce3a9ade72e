package egress

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// stranger serves h over HTTP/2 without TLS: a proxy in front of Tempo, or something that pretends to be one.
func stranger(t *testing.T, h http.HandlerFunc) *Upstream {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	return upstreamAt(t, srv.URL, overGRPC)
}

func TestGRPCStrangers(t *testing.T) {
	f := func(status int, contentType, body string, k fault.Kind, told string) {
		t.Helper()
		u := stranger(t, func(w http.ResponseWriter, r *http.Request) {
			drained(r)
			if contentType != "" {
				w.Header().Set("Content-Type", contentType)
			}
			w.WriteHeader(status)
			io.WriteString(w, body)
		})
		res, err := export(u, []byte("push"))
		e := wantFault(t, err, k)
		if res == nil || res.Status != status || e.Upstream != status || !strings.Contains(e.Public, told) {
			t.Errorf("%d %s: %+v, %q (%v)", status, contentType, res, e.Public, e.Err)
		}
	}
	f(401, "application/json", `{"error":"invalid token"}`, fault.Misconfigured, "refuses the credential of the gateway (HTTP 401)")
	f(403, "text/plain", "no", fault.Misconfigured, "refuses the credential")
	f(404, "text/plain", "no", fault.Misconfigured, "does not take pushes")
	f(302, "text/html", "moved", fault.Misconfigured, "redirects")
	f(400, "text/plain", "bad request", fault.Misconfigured, "does not understand gRPC")
	f(422, "text/plain", "bad request", fault.Misconfigured, "does not understand gRPC")
	f(415, "", "", fault.Misconfigured, "does not take pushes")
	f(413, "text/html", "<h1>too large</h1>", fault.Rejected, "refused the data")
	f(429, "text/plain", "slow down", fault.RateLimited, "slow down")
	f(502, "text/html", "<h1>bad gateway</h1>", fault.UpstreamFailed, "failed (HTTP 502)")
	f(503, "", "", fault.UpstreamFailed, "failed (HTTP 503)")
	f(200, "text/html", "<form>", fault.UpstreamFailed, "web page")
	f(200, "application/json", "{}", fault.UpstreamFailed, "without speaking gRPC")
	f(204, "", "", fault.UpstreamFailed, "without speaking gRPC")
	f(200, "application/grpc-web", "", fault.UpstreamFailed, "without speaking gRPC")
	f(200, "application/grpcish", "", fault.UpstreamFailed, "without speaking gRPC")
	f(200, "text/plain", strings.Repeat("x", 3*maxAnswerBytes), fault.UpstreamFailed, "without speaking gRPC")
	// A proxy that speaks gRPC but only in HTTP's words.
	f(503, "application/grpc", "", fault.UpstreamFailed, "failed (HTTP 503)")
	f(401, "application/grpc", "", fault.Misconfigured, "refuses the credential")
}

// Only a whole message and the status OK acknowledge a push.
func TestGRPCBrokenAnswers(t *testing.T) {
	message := func(flag byte, claims int, body string) string {
		return string(binary.BigEndian.AppendUint32([]byte{flag}, uint32(claims))) + body
	}
	f := func(header, trailer map[string]string, body string, k fault.Kind, told string) {
		t.Helper()
		u := stranger(t, func(w http.ResponseWriter, r *http.Request) {
			drained(r)
			w.Header().Set("Content-Type", "application/grpc")
			for n, v := range header {
				w.Header().Set(n, v)
			}
			io.WriteString(w, body)
			for n, v := range trailer {
				w.Header().Set(http.TrailerPrefix+n, v)
			}
		})
		res, err := export(u, []byte("push"))
		if k == fault.Internal {
			if err != nil || res.Status != 200 || string(res.Body) != told {
				t.Errorf("%v %v %q: %+v, %v", header, trailer, body, res, err)
			}
			return
		}
		if e := wantFault(t, err, k); !strings.Contains(e.Public, told) {
			t.Errorf("%v %v %q: %q, want %q", header, trailer, body, e.Public, told)
		}
	}
	type h = map[string]string
	const success, lost = fault.Internal, fault.UpstreamFailed
	ok, gzipped := h{"Grpc-Status": "0"}, h{"Grpc-Encoding": "gzip"}
	whole := message(0, 5, "hello")
	f(nil, ok, whole, success, "hello")
	f(nil, ok, message(0, 0, ""), success, "")
	f(h{"Content-Type": "application/grpc+proto"}, ok, whole, success, "hello")
	f(h{"Content-Type": "Application/GRPC; x=y"}, ok, whole, success, "hello")
	z := string(zip([]byte("hello")))
	f(gzipped, ok, message(1, len(z), z), success, "hello")
	f(gzipped, ok, whole, success, "hello")
	f(nil, ok, message(0, maxSuccessBytes, strings.Repeat("x", maxSuccessBytes)), success, strings.Repeat("x", maxSuccessBytes))

	f(nil, nil, whole, lost, "acknowledges nothing (gRPC no status)")
	f(nil, nil, "", lost, "acknowledges nothing (gRPC no status)")
	f(nil, h{"Grpc-Status": ""}, whole, lost, "no status")
	f(nil, ok, "", lost, "acknowledges nothing (gRPC OK): there is no message in it")
	f(ok, nil, "", lost, "there is no message in it")
	f(nil, ok, whole[:4], lost, "there is no message in it")
	f(nil, ok, whole[:7], lost, "its message has 2 bytes and claims 5")
	f(nil, ok, whole+whole, lost, "its message has 15 bytes and claims 5")
	f(nil, ok, message(0, 1<<32-1, "hello"), lost, "claims 4294967295")
	f(nil, ok, message(1, 5, "hello"), lost, `flag 1 and encoding ""`)
	f(h{"Grpc-Encoding": "br"}, ok, message(1, 5, "hello"), lost, `flag 1 and encoding "br"`)
	f(nil, ok, message(7, 5, "hello"), lost, "flag 7")
	f(gzipped, ok, message(1, 5, "hello"), lost, "decompress its message")
	f(gzipped, ok, message(1, len(z)-3, z[:len(z)-3]), lost, "decompress its message")
	bomb := string(zip(make([]byte, 10<<20)))
	f(gzipped, ok, message(1, len(bomb), bomb), lost, "its message is over 4194304 bytes")
	f(nil, ok, message(0, maxSuccessBytes+1, strings.Repeat("x", maxSuccessBytes+1)), lost, "its message is over 4194304 bytes")
	for _, code := range []string{"17", "255", "256", "-1", "99999999999999999999", "OK", "0x0", " 0 0"} {
		f(nil, h{"Grpc-Status": code}, whole, lost, "failed (gRPC UNKNOWN)")
	}
	f(nil, h{"Grpc-Status": "00"}, whole, lost, "acknowledges nothing (gRPC OK)")
	// Of both, the trailers have the last word.
	f(h{"Grpc-Status": "0"}, h{"Grpc-Status": "3", "Grpc-Message": "bad%20span"}, whole, fault.Rejected, "refused the data (gRPC INVALID_ARGUMENT): bad span")
	for _, details := range []string{"!", "AAAA", "////", "CAgSAQ", strings.Repeat("A", 5000)} {
		f(nil, h{"Grpc-Status": "8", "Grpc-Status-Details-Bin": details}, "", fault.Rejected, "RESOURCE_EXHAUSTED")
	}
	// Headers without end are not read to theirs.
	huge := h{"Grpc-Status": "0", "X-Padding": strings.Repeat("x", 2*maxTrailerBytes)}
	u := stranger(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		for n, v := range huge {
			w.Header().Set(n, v)
		}
		io.WriteString(w, whole)
	})
	if _, err := export(u, []byte("push")); err == nil {
		t.Error("headers of any length are read")
	}
}

// The wire as it has to be, whatever grpc-go would also take.
func TestGRPCRequestOnTheWire(t *testing.T) {
	got := make(chan *http.Request, 1)
	var body []byte
	u := stranger(t, func(w http.ResponseWriter, r *http.Request) {
		body = drained(r)
		got <- r
	})
	u.headers = []header{{"X-Scope-Orgid", []string{"team"}}}
	f := func(r Request, want http.Header, prefix string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		r.Method, r.Path, r.ContentType, r.Body = traceExport, "/v1/traces", "application/x-protobuf", []byte("hello")
		_, _ = u.Send(ctx, &r)
		in := <-got
		if in.Method != "POST" || in.URL.RequestURI() != traceExport || in.ProtoMajor != 2 || in.Host != u.url.Host || len(in.Trailer) > 0 {
			t.Errorf("%s %s %s to %s, trailers %v", in.Method, in.RequestURI, in.Proto, in.Host, in.Trailer)
		}
		var left int
		if n, err := fmt.Sscanf(in.Header.Get("Grpc-Timeout"), "%dm", &left); n != 1 || err != nil || left > int(patience/time.Millisecond) || left < int(patience/time.Millisecond)-5000 {
			t.Errorf("grpc-timeout %q", in.Header.Get("Grpc-Timeout"))
		}
		in.Header.Del("Grpc-Timeout")
		want.Set("Content-Type", "application/grpc")
		want.Set("Te", "trailers")
		want.Set("Grpc-Accept-Encoding", "gzip")
		want.Set("Content-Length", "10")
		want.Set("X-Scope-Orgid", "team")
		if fmt.Sprint(in.Header) != fmt.Sprint(want) {
			t.Errorf("got  %v\nwant %v", in.Header, want)
		}
		if string(body) != prefix+"hello" {
			t.Errorf("body %q", body)
		}
	}
	f(Request{}, http.Header{"User-Agent": {"telemetry-gateway/1"}}, "\x00\x00\x00\x00\x05")
	f(Request{UserAgent: "otel", ContentEncoding: "gzip"}, http.Header{"User-Agent": {"otel telemetry-gateway/1"}, "Grpc-Encoding": {"gzip"}}, "\x01\x00\x00\x00\x05")
}

// raw is an HTTP/2 peer that answers each call as answer says. Calls are counted when their message is whole.
type raw struct {
	url   string
	whole atomic.Int32
	conns atomic.Int32
}

func rawPeer(t *testing.T, answer func(call int32, id uint32, f *http2.Framer) (more bool)) *raw {
	t.Helper()
	p := &raw{}
	p.url = listen(t, func(c *net.TCPConn) {
		p.conns.Add(1)
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(c, preface); err != nil {
			return
		}
		f := http2.NewFramer(c, c)
		_ = f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch frame := frame.(type) {
			case *http2.SettingsFrame:
				if !frame.IsAck() {
					_ = f.WriteSettingsAck()
				}
			case *http2.PingFrame:
				if !frame.IsAck() {
					_ = f.WritePing(true, frame.Data)
				}
			case *http2.DataFrame:
				if frame.StreamEnded() && !answer(p.whole.Add(1), frame.StreamID, f) {
					return
				}
			}
		}
	})
	return p
}

// succeed answers a call with an empty message.
func succeed(id uint32, f *http2.Framer) {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	block := func(fields ...string) []byte {
		b.Reset()
		for i := 0; i < len(fields); i += 2 {
			_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		return b.Bytes()
	}
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, BlockFragment: block(":status", "200", "content-type", "application/grpc")})
	_ = f.WriteData(id, false, make([]byte, prefixBytes))
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: true, BlockFragment: block("grpc-status", "0")})
}

// A call is made again only when upstream says that it has not looked at it; after any other end it may have been processed.
func TestGRPCIsNotSentTwice(t *testing.T) {
	f := func(what string, calls int32, k fault.Kind, first func(id uint32, f *http2.Framer) bool) {
		t.Helper()
		p := rawPeer(t, func(call int32, id uint32, f *http2.Framer) bool {
			if call == 1 {
				return first(id, f)
			}
			succeed(id, f)
			return true
		})
		u := upstreamAt(t, p.url, overGRPC)
		l := lend(t, 1000)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err := u.Send(ctx, &Request{Method: traceExport, Body: l.data, Hold: l.Hold, Release: l.Release})
		l.Release()
		l.wantSettled()
		if k == fault.Internal {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		} else if e := wantFault(t, err, k); e.HTTPStatus() != 502 || e.Upstream != 0 {
			t.Errorf("%s: %+v", what, e)
		}
		if n := p.whole.Load(); n != calls {
			t.Errorf("%s: %d calls, want %d", what, n, calls)
		}
	}
	reset := func(code http2.ErrCode) func(uint32, *http2.Framer) bool {
		return func(id uint32, f *http2.Framer) bool { return f.WriteRSTStream(id, code) == nil }
	}
	const success, lost = fault.Internal, fault.Unreachable
	f("REFUSED_STREAM", 2, success, reset(http2.ErrCodeRefusedStream))
	f("PROTOCOL_ERROR", 1, lost, reset(http2.ErrCodeProtocol))
	f("INTERNAL_ERROR", 1, lost, reset(http2.ErrCodeInternal))
	f("CANCEL", 1, lost, reset(http2.ErrCodeCancel))
	f("NO_ERROR", 1, lost, reset(http2.ErrCodeNo))
	f("ENHANCE_YOUR_CALM", 1, lost, reset(http2.ErrCodeEnhanceYourCalm))
	f("close", 1, lost, func(uint32, *http2.Framer) bool { return false })
	f("GOAWAY before the call", 2, success, func(id uint32, f *http2.Framer) bool { return f.WriteGoAway(id-1, http2.ErrCodeNo, nil) == nil })
	f("GOAWAY after the call, and close", 1, lost, func(id uint32, f *http2.Framer) bool { _ = f.WriteGoAway(id, http2.ErrCodeNo, nil); return false })
	f("GOAWAY with an error", 1, lost, func(id uint32, f *http2.Framer) bool {
		_ = f.WriteGoAway(id, http2.ErrCodeEnhanceYourCalm, []byte("http2: Transport: cannot retry err [stream error: stream ID 1; REFUSED_STREAM; x"))
		return false
	})
	f("GOAWAY, then the answer", 1, success, func(id uint32, f *http2.Framer) bool {
		_ = f.WriteGoAway(id, http2.ErrCodeNo, nil)
		succeed(id, f)
		return true
	})
}

// A peer that goes on refusing is left alone after a while.
func TestGRPCRefusedForEver(t *testing.T) {
	p := rawPeer(t, func(_ int32, id uint32, f *http2.Framer) bool {
		return f.WriteRSTStream(id, http2.ErrCodeRefusedStream) == nil
	})
	u := upstreamAt(t, p.url, overGRPC)
	l := lend(t, 1000)
	_, err := u.Send(context.Background(), &Request{Method: traceExport, Body: l.data, Hold: l.Hold, Release: l.Release})
	l.Release()
	l.wantSettled()
	wantFault(t, err, fault.Unreachable)
	if n := p.whole.Load(); n != maxRefusals+1 || l.held.Load() != n {
		t.Errorf("%d calls and %d holds, want %d", n, l.held.Load(), maxRefusals+1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err = u.Send(ctx, &Request{Method: traceExport, Body: []byte("x")})
	wantFault(t, err, fault.Timeout)
}

// Connections end in every way there is while pushes are under way: each push is stored at most once for each time it was
// sent, every one that was acknowledged is stored, and every buffer comes back.
func TestGRPCLosesNothing(t *testing.T) {
	f := func(what string, g fakecloud.GRPCOptions, most int, disturb func(*fakecloud.Cloud)) {
		t.Helper()
		var mu sync.Mutex // guards stored
		stored := map[string]int{}
		c, u := tempo(t, fakecloud.Options{Keep: -1, OnPush: func(p *fakecloud.Push) {
			mu.Lock()
			defer mu.Unlock()
			stored[p.Traces.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Name()]++
		}}, g)
		const workers, each = 12, 50
		var acknowledged sync.Map
		var failed atomic.Int32
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := range each {
					name := fmt.Sprintf("push %03d", w*each+i)
					l := lend(t, 0)
					l.data = named(t, name, 1, 2000*(i%3))
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					_, err := u.Send(ctx, &Request{Method: traceExport, Body: l.data, Hold: l.Hold, Release: l.Release})
					cancel()
					l.Release()
					l.wantSettled()
					if err == nil {
						acknowledged.Store(name, true)
						continue
					}
					failed.Add(1)
					if e := fault.From(err); e.Kind != fault.Unreachable {
						t.Errorf("%s: %s: %v", what, name, e)
					}
				}
			})
		}
		for i := range 6 {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			_ = c.WaitRequests(ctx, tempoUser, "", (i+1)*workers*each/8)
			cancel()
			disturb(c)
		}
		wg.Wait()
		if n := int(failed.Load()); n > most {
			t.Errorf("%s: %d pushes failed, at most %d may", what, n, most)
		}
		mu.Lock()
		defer mu.Unlock()
		for name, n := range stored {
			if n > 1 {
				t.Errorf("%s: %s was stored %d times", what, name, n)
			}
		}
		acknowledged.Range(func(name, _ any) bool {
			if stored[name.(string)] != 1 {
				t.Errorf("%s: %s was acknowledged and stored %d times", what, name, stored[name.(string)])
			}
			return true
		})
		t.Logf("%s: %d stored, %d failed, %d connections", what, len(stored), failed.Load(), c.GRPCConnections())
	}
	// A reset can overtake a GOAWAY when the server closes the connection on what is still coming. Whether a call was
	// looked at is not known then, so it fails and its sender tries again. That is rare.
	const few, all = 600 / 20, 600
	f("GOAWAY", fakecloud.GRPCOptions{}, few, (*fakecloud.Cloud).RestartGRPC)
	f("GOAWAY at the limit of streams", fakecloud.GRPCOptions{MaxStreams: 2}, few, (*fakecloud.Cloud).RestartGRPC)
	f("GOAWAY by age", fakecloud.GRPCOptions{MaxConnectionAge: 30 * time.Millisecond, MaxStreams: 3}, few, func(*fakecloud.Cloud) {})
	f("reset of all", fakecloud.GRPCOptions{}, all, (*fakecloud.Cloud).BreakGRPC)
	f("reset of some", fakecloud.GRPCOptions{MaxStreams: 4}, all, func(c *fakecloud.Cloud) {
		c.Fail("", fakecloud.Fault{Break: fakecloud.ResetAfterBody, Stored: true, Times: 3})
		c.Fail("", fakecloud.Fault{Break: fakecloud.CloseAfterBody, Times: 3})
		c.Fail("", fakecloud.Fault{Break: fakecloud.ResetBeforeBody, Times: 3})
	})
}

func TestGRPCConnectionLostMidCall(t *testing.T) {
	c, u := tempo(t, fakecloud.Options{}, fakecloud.GRPCOptions{})
	hang := c.Fail("", fakecloud.Fault{Hang: true, Times: 10})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			_, err := export(u, spans(t, 1, 0))
			if e := fault.From(err); e.Kind != fault.Unreachable || e.HTTPStatus() != 502 || e.After <= 0 {
				t.Error(err)
			}
		})
	}
	waitHits(t, hang, 10)
	c.BreakGRPC()
	wg.Wait()
	if _, err := export(u, spans(t, 1, 0)); err != nil {
		t.Errorf("after the loss: %v", err)
	}
	if s := c.Stats(tempoUser, ""); s.Requests != 11 {
		t.Errorf("%d calls, want 11", s.Requests)
	}
}

// A server that takes ten calls at once on a connection gets more connections, also from a standing start.
func TestGRPCManyAtOnce(t *testing.T) {
	c, u := tempo(t, fakecloud.Options{}, fakecloud.GRPCOptions{MaxStreams: 10})
	hang := c.Fail("", fakecloud.Fault{Hang: true})
	var wg sync.WaitGroup
	errs := make(chan error, 100)
	for range cap(errs) {
		wg.Go(func() {
			l := lend(t, 0)
			l.data = spans(t, 1, 100)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			_, err := u.Send(ctx, &Request{Method: traceExport, Body: l.data, Hold: l.Hold, Release: l.Release})
			l.Release()
			l.wantSettled()
			errs <- err
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.WaitRequests(ctx, tempoUser, "", 100); err != nil {
		t.Error(err)
	}
	hang.Clear()
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if s := c.Stats(tempoUser, ""); s.Requests != 100 || s.Pushes != 100 || c.GRPCConnections() < 10 {
		t.Errorf("%d requests, %d pushes over %d connections", s.Requests, s.Pushes, c.GRPCConnections())
	}
	t.Logf("%d connections", c.GRPCConnections())
}

// One slow upstream is no other's business.
func TestGRPCUpstreamsAreApart(t *testing.T) {
	slow, one := tempo(t, fakecloud.Options{}, fakecloud.GRPCOptions{})
	_, other := tempo(t, fakecloud.Options{}, fakecloud.GRPCOptions{})
	slow.Fail("", fakecloud.Fault{Hang: true})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { _, _ = one.Send(ctx, &Request{Method: traceExport, Body: spans(t, 1, 0)}) })
	}
	if err := slow.WaitRequests(t.Context(), tempoUser, "", 20); err != nil {
		t.Error(err)
	}
	if _, err := export(other, spans(t, 1, 0)); err != nil {
		t.Error(err)
	}
	cancel()
	wg.Wait()
}

// An answer that comes before the message was read leaves nothing behind.
func TestGRPCAnsweredEarly(t *testing.T) {
	c, u := tempo(t, fakecloud.Options{}, fakecloud.GRPCOptions{})
	f := func(send *Upstream, method string, kind fault.Kind) {
		t.Helper()
		l := lend(t, 8<<20)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err := send.Send(ctx, &Request{Method: method, Body: l.data, Hold: l.Hold, Release: l.Release})
		l.Release()
		l.wantSettled()
		wantFault(t, err, kind)
	}
	f(u, "/no.such.Service/Export", fault.Misconfigured)
	early := stranger(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", fmt.Sprint(int(codes.Unavailable)))
	})
	f(early, traceExport, fault.UpstreamFailed)
	f(stranger(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), traceExport, fault.Unreachable)
	if c.Stats(tempoUser, "").Requests != 0 {
		t.Error("a call came through")
	}
}
