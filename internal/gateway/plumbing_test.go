package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// oneLine is a push that can be typed.
const oneLine = `{"streams":[{"stream":{"app":"shop"},"values":[["1","a"]]}]}`

// wire is a connection on which a test says byte by byte what goes over it.
type wire struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func (g *gatewayTest) wire() *wire {
	g.t.Helper()
	conn, err := net.Dial("tcp", g.addr.HTTP[0])
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
	return &wire{conn, g.t, bufio.NewReader(conn)}
}

func (w *wire) send(text string) *wire {
	w.t.Helper()
	if _, err := io.WriteString(w.Conn, text); err != nil {
		w.t.Fatalf("send: %v", err)
	}
	return w
}

// read reads one answer.
func (w *wire) read() answer {
	w.t.Helper()
	res, err := http.ReadResponse(w.r, nil)
	if err != nil {
		w.t.Fatalf("read answer: %v", err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatalf("read answer: %v", err)
	}
	return answer{res, string(body)}
}

// want reads one answer and checks its status and whether the connection stays.
func (w *wire) want(what string, status int, closes bool) answer {
	w.t.Helper()
	a := w.read()
	if a.StatusCode != status || a.Close != closes {
		w.t.Errorf("%s: %d %q, closes %v; want %d, closes %v", what, a.StatusCode, a.body, a.Close, status, closes)
	}
	return a
}

// ends checks that the gateway has closed the connection.
func (w *wire) ends(what string) {
	w.t.Helper()
	if b, err := w.r.ReadByte(); err != io.EOF {
		w.t.Errorf("%s: read %q, %v, want the end of the connection", what, b, err)
	}
}

// typed is a Loki push as it goes over the wire. lines are header lines; without Authorization it gets the right one.
func typed(body string, lines ...string) string {
	head := strings.Join(lines, "\r\n")
	if !strings.Contains(head, "Authorization") {
		lines = append(lines, "Authorization: Bearer "+clientToken)
	}
	if !strings.Contains(head, "Content-Length") && !strings.Contains(head, "Transfer-Encoding") {
		lines = append(lines, fmt.Sprintf("Content-Length: %d", len(body)))
	}
	if !strings.Contains(head, "Content-Type") {
		lines = append(lines, "Content-Type: application/json")
	}
	return "POST /loki/api/v1/push HTTP/1.1\r\nHost: gateway\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

const nobody = "Authorization: Bearer nobody"

func TestHTTPBodies(t *testing.T) {
	g := start(t, defaultServer+"  max_body_bytes: 1MiB\n"+defaultEnvironment)
	chunked := fmt.Sprintf("%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", 10, oneLine[:10], len(oneLine)-10, oneLine[10:])
	g.wire().send(typed(chunked, "Transfer-Encoding: chunked")).want("without a length", 204, false)

	w := g.wire().send(typed(oneLine, "Content-Length: 1000"))
	_ = w.Conn.(*net.TCPConn).CloseWrite()
	if a := w.read(); a.StatusCode != 400 || !strings.Contains(a.body, "ends before its declared length") {
		t.Errorf("shorter than declared: %d %q", a.StatusCode, a.body)
	}
	w = g.wire().send(typed(chunked[:30], "Transfer-Encoding: chunked"))
	_ = w.Conn.(*net.TCPConn).CloseWrite()
	if a := w.read(); a.StatusCode != 400 {
		t.Errorf("chunks that end: %d %q", a.StatusCode, a.body)
	}
	g.wire().send(typed(oneLine, "Content-Length: 20")).want("longer than declared", 400, false)
	g.wire().send(typed("", "Content-Length: 2000000")).want("over the bound before a byte came", 413, true)
	g.wire().send(typed(oneLine, "Content-Length: 60", "Content-Length: 61")).want("two lengths", 400, true)
	g.wire().send(typed("zz\r\n", "Transfer-Encoding: chunked")).want("no chunk", 400, true)

	// What is not announced is bounded all the same.
	big := strings.Repeat("x", 1<<20+1)
	g.wire().send(typed(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(big), big), "Transfer-Encoding: chunked")).want("over the bound in chunks", 413, false)
	if n := g.cloud.Stats("", "").Items; n != 1 {
		t.Errorf("%d lines arrived, want 1", n)
	}
}

func TestHTTPExpect(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	expect := "Expect: 100-continue"
	length := fmt.Sprintf("Content-Length: %d", len(oneLine))
	w := g.wire()
	for range 2 {
		w.send(typed("", expect, length)).want("expect", 100, false)
		w.send(oneLine).want("then the body", 204, false)
	}
	g.cloud.Fail(fakecloud.Loki, answer4xx(400).For(1))
	w.send(typed("", expect, length)).want("expect", 100, false)
	w.send(oneLine).want("refused by upstream, when all was read", 400, false)
	w.send(typed("", nobody, expect, length)).want("refused before a byte of the body", 401, true)
	w.ends("refused before a byte of the body")
}

func TestHTTPConnections(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	w := g.wire()
	w.send(typed(oneLine)).want("first", 204, false)
	w.send(typed(oneLine)).want("second on the same connection", 204, false)
	w.send(typed(oneLine, nobody)).want("refused", 401, false)
	w.send(typed(strings.Repeat("x", 1<<20), nobody)).want("refused with a MiB that is thrown away", 401, false)
	w.send(typed("no json")).want("malformed", 400, false)
	w.send(typed(oneLine, "Content-Type: text/html")).want("unsupported", 415, false)
	w.send(typed(oneLine)).want("after all refusals", 204, false)

	w.send(typed(oneLine) + typed(oneLine, nobody) + typed(oneLine))
	w.want("first of the pipeline", 204, false)
	w.want("second", 401, false)
	w.want("third", 204, false)

	w.send(strings.Replace(typed(oneLine), "HTTP/1.1", "HTTP/1.0", 1)).want("HTTP/1.0", 204, true)
	w.ends("HTTP/1.0")
	line, err := g.wire().send(typed(oneLine, "X-Large: "+strings.Repeat("x", 64<<10))).r.ReadString('\n')
	if err != nil || !strings.Contains(line, " 431 ") {
		t.Errorf("headers over 16 KiB: %q, %v", line, err)
	}
	if n := g.cloud.Stats("", "").Items; n != 6 {
		t.Errorf("%d lines arrived, want 6", n)
	}
}

// A sender that writes all before it reads must find the answer, and not a connection that was reset under it.
func TestHTTPEarlyRefusal(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	large := strings.Repeat("x", 8<<20)
	for range 3 {
		g.wire().send(typed(large, nobody)).want("8 MiB without a credential", 401, false)
		g.wire().send(typed(large, "Content-Type: text/html")).want("8 MiB of a wrong type", 415, false)
	}
	f := func(what string, client *http.Client) {
		t.Helper()
		req := must(http.NewRequest(http.MethodPost, "http://"+g.addr.HTTP[0]+"/api/v1/push", strings.NewReader(large)))
		res, err := client.Do(req)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		defer res.Body.Close()
		if _, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 401 {
			t.Errorf("%s: %d, %v, want 401", what, res.StatusCode, err)
		}
	}
	f("HTTP/1", http.DefaultClient)
	f("HTTP/2", h2c(t))
	if n := g.metric("gateway_pushes_total", "code", "401", "environment", "", "client", ""); n != 5 {
		t.Errorf("%v pushes are counted as 401, want 5", n)
	}
}

// A body that does not come in time is no fault of the data.
func TestHTTPSlowSender(t *testing.T) {
	g := start(t, defaultServer+"  request_timeout: 300ms\n"+defaultEnvironment)
	began := time.Now()
	w := g.wire().send(typed(oneLine[:20], fmt.Sprintf("Content-Length: %d", len(oneLine))))
	a := w.want("half a body", 503, true)
	if ra := a.Header.Get("Retry-After"); ra != "1" && ra != "2" || !strings.Contains(a.body, "server.request_timeout") {
		t.Errorf("half a body: Retry-After %q, %q", a.Header.Get("Retry-After"), a.body)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("answered after %s, though nothing more can be made of this body", took)
	}
	w.ends("half a body")
	// The time for the body must not end a push whose body is there.
	o := g.cloud.Fail(fakecloud.Loki, fakecloud.Fault{Hang: true})
	w = g.wire().send(typed(oneLine))
	a = w.want("upstream that hangs for longer than the request may take", 504, false)
	o.Clear()
	w.send(typed(oneLine)).want("the next on that connection", 204, false)
	if n := g.failed("timeout"); n != 1 {
		t.Errorf("%v lines failed by timeout, want 1: %q", n, a.body)
	}
}

func TestHTTPSlowHeaders(t *testing.T) {
	t.Parallel()
	g := start(t, defaultServer+defaultEnvironment)
	began := time.Now()
	w := g.wire().send("POST /loki/api/v1/push HTTP/1.1\r\nHost: gateway\r\nX-Slow: ")
	_, _ = io.Copy(io.Discard, w.r)
	if took := time.Since(began); took < headerTimeout-time.Second || took > headerTimeout+5*time.Second {
		t.Errorf("the connection was closed after %s, want %s", took, headerTimeout)
	}
}

func TestHTTPConnectionAge(t *testing.T) {
	g := start(t, defaultServer+"  max_connection_age: 100ms\n"+defaultEnvironment)
	w := g.wire()
	w.send(typed(oneLine)).want("a young connection", 204, false)
	<-time.After(120 * time.Millisecond)
	w.send(typed(oneLine)).want("an old one", 204, true)
	w.ends("an old one")
}

func TestHTTPMaxConnections(t *testing.T) {
	g := start(t, defaultServer+"  max_connections: 2\n"+defaultEnvironment)
	one, two := g.wire(), g.wire()
	one.send(typed(oneLine)).want("first", 204, false)
	two.send(typed(oneLine)).want("second", 204, false)
	three := g.wire().send(typed(oneLine))
	_ = three.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if _, err := three.r.Peek(1); err == nil {
		t.Error("a third connection was served, max_connections is 2")
	}
	_ = one.Close()
	_ = three.SetReadDeadline(time.Now().Add(10 * time.Second))
	three.want("once there is room", 204, false)
}

// The doors share one port, whichever protocol it was opened for.
func TestHTTP2WithoutTLS(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	for name, s := range samples() {
		for _, port := range []string{g.addr.HTTP[0], g.addr.GRPC[0]} {
			req := must(http.NewRequest(http.MethodPost, "http://"+port+s.path, bytes.NewReader(s.body)))
			req.Header = s.header.Clone()
			res, err := h2c(t).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode/100 != 2 || res.ProtoMajor != 2 {
				t.Errorf("%s: %s %d", name, res.Proto, res.StatusCode)
			}
		}
	}
}

func TestHTTPDoubledHeaders(t *testing.T) {
	g := start(t, defaultServer+defaultEnvironment)
	f := func(what, sampleName, name string, values []string, want int) {
		t.Helper()
		s := samples()[sampleName]
		h := s.header.Clone()
		h[name] = values
		if a := g.post(s.path, h, s.body); a.StatusCode != want {
			t.Errorf("%s: %d %q, want %d", what, a.StatusCode, a.body, want)
		}
	}
	proto := "application/x-protobuf"
	for _, name := range []string{"remote_write_v1", "loki", "otlp traces"} {
		f(name+", two encodings", name, "Content-Encoding", []string{"snappy", "gzip"}, 415)
		f(name+", a list of encodings", name, "Content-Encoding", []string{"gzip, gzip"}, 415)
		f(name+", two credentials", name, "Authorization", []string{"Bearer " + clientToken, "Bearer " + clientToken}, 401)
		f(name+", two bad types", name, "Content-Type", []string{"%%%", "\x80"}, 415)
	}
	if n := g.cloud.Stats("", "").Requests; n != 0 {
		t.Errorf("upstream saw %d requests", n)
	}
	// Of two types the first decides, if one has to; what upstream is told is made anew and is one.
	f("remote_write, two types", "remote_write_v1", "Content-Type", []string{proto, "application/json"}, 415)
	f("loki, two types", "loki", "Content-Type", []string{proto, "application/json"}, 204)
	f("otlp, two types", "otlp traces", "Content-Type", []string{proto, "application/json"}, 200)
	if v := g.cloud.Violations(); len(v) > 0 {
		t.Errorf("upstream got what breaks its rules: %v", v)
	}
}

// What a sender says beside its data does not reach upstream, but for a short list.
func TestWhatTravels(t *testing.T) {
	got := make(chan *http.Request, 1)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r
		w.WriteHeader(http.StatusNoContent)
	}))
	defer upstream.Close()
	g := start(t, strings.ReplaceAll(defaultServer+defaultEnvironment, "$CLOUD", upstream.URL))
	s := samples()["remote_write_v1"]
	h := s.header.Clone()
	for _, name := range []string{"X-Scope-OrgID", "Cookie", "Idempotency-Key", "X-Idempotency-Key", "X-Mimir-SkipLabelNameValidation",
		"X-Mimir-SkipLabelCountValidation", "X-Loki-Backfill-Shard", "X-Forwarded-For", "X-Forwarded-Client-Cert", "Forwarded", "Via",
		"Referer", "Origin", "X-Anything", "Accept", "Proxy-Authorization", "Traceparent", "Baggage"} {
		h.Set(name, "from the sender")
	}
	h.Set("User-Agent", "Prometheus/3.16.0")
	h.Set("Retry-Attempt", "3")
	h.Set("X-Prometheus-Remote-Write-Version", "9.9.9")
	if a := g.post(s.path+"?skip=all", h, s.body); a.StatusCode != 204 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	r := <-got
	want := map[string]string{
		"Authorization": r.Header.Get("Authorization"), "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
		"User-Agent": "Prometheus/3.16.0 telemetry-gateway/test", "Retry-Attempt": "3", "X-Prometheus-Remote-Write-Version": "0.1.0",
		"Content-Length": fmt.Sprint(len(s.body)),
	}
	for name, values := range r.Header {
		if len(values) != 1 || want[name] != values[0] {
			t.Errorf("upstream got %s: %q, want %q", name, values, want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("upstream did not get %v", want)
	}
	if user, password, _ := r.BasicAuth(); user != metricsUser || password != cloudToken {
		t.Errorf("upstream got the credential of %q", user)
	}
	if r.URL.RequestURI() != "/api/prom/push" || len(r.Trailer) > 0 {
		t.Errorf("upstream got %s with trailers %v", r.URL.RequestURI(), r.Trailer)
	}
}
