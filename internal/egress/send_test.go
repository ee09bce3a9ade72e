package egress

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	promconfig "github.com/prometheus/common/config"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// dump answers 204 to one request and returns it as it stood on the wire: first line and sorted headers, then the body.
func dump(t *testing.T, change func(*Options), r *Request) (head []string, body string) {
	t.Helper()
	type request struct {
		head []string
		body string
	}
	got := make(chan request, 1)
	base := listen(t, func(c *net.TCPConn) {
		in := bufio.NewReader(c)
		var head []string
		length := 0
		for {
			line, err := in.ReadString('\n')
			if line = strings.TrimRight(line, "\r\n"); err != nil || line == "" {
				break
			}
			fmt.Sscanf(line, "Content-Length: %d", &length)
			head = append(head, line)
		}
		body := make([]byte, length)
		_, _ = io.ReadFull(in, body)
		slices.Sort(head[1:])
		got <- request{head, string(body)}
		io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
	})
	u := upstreamAt(t, base+"/api/prom/push", change)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := u.Send(ctx, r); err != nil {
		t.Fatal(err)
	}
	q := <-got
	return q.head, q.body
}

// Only what is on the allow-list travels: the raw request holds exactly these lines.
func TestRequestOnTheWire(t *testing.T) {
	f := func(change func(*Options), r *Request, first string, want ...string) {
		t.Helper()
		head, body := dump(t, change, r)
		if head[0] != first {
			t.Errorf("%q, want %q", head[0], first)
		}
		want = append(want, fmt.Sprintf("Content-Length: %d", len(r.Body)))
		slices.Sort(want)
		got := slices.DeleteFunc(slices.Clone(head[1:]), func(l string) bool { return strings.HasPrefix(l, "Host: 127.0.0.1:") })
		if len(got) != len(head)-2 || !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(head[1:], "\n"), strings.Join(want, "\n"))
		}
		if body != string(r.Body) {
			t.Errorf("body %q, want %q", body, r.Body)
		}
	}
	const push = "POST /api/prom/push HTTP/1.1"
	f(func(*Options) {}, &Request{ContentType: "application/json", Body: []byte("{}")}, push,
		"Content-Type: application/json", "User-Agent: telemetry-gateway/1")
	f(func(o *Options) {
		o.Headers = map[string]promconfig.Secret{"x-scope-orgid": "team"}
		o.HTTP.BasicAuth = &promconfig.BasicAuth{Username: "53715", Password: "hunter22"}
		o.HTTP.HTTPHeaders = &promconfig.Headers{Headers: map[string]promconfig.Header{"X-Other": {Values: []string{"v"}}}}
	}, &Request{
		Path: "/v1/traces", ContentType: "application/x-protobuf", ContentEncoding: "snappy", UserAgent: "Prometheus/3.0", RetryAttempt: "2",
		Header: []HeaderField{{"X-Prometheus-Remote-Write-Version", "0.1.0"}}, Body: []byte("protobuf"),
	}, "POST /api/prom/push/v1/traces HTTP/1.1",
		"Content-Type: application/x-protobuf", "Content-Encoding: snappy", "User-Agent: Prometheus/3.0 telemetry-gateway/1", "Retry-Attempt: 2",
		"X-Prometheus-Remote-Write-Version: 0.1.0", "X-Scope-Orgid: team", "X-Other: v", "Authorization: Basic NTM3MTU6aHVudGVyMjI=")
	bearer := "Authorization: Bearer token"
	for _, change := range []func(*Options){
		func(o *Options) { o.HTTP.Authorization = &promconfig.Authorization{Credentials: "token"} },
		func(o *Options) {
			o.HTTP.Authorization = &promconfig.Authorization{Type: "Bearer", Credentials: "token"}
		},
		func(o *Options) { o.HTTP.BearerToken = "token" },
	} {
		f(change, &Request{ContentType: "a/b", Body: []byte("x")}, push, "Content-Type: a/b", "User-Agent: telemetry-gateway/1", bearer)
	}
	// No byte is a length too, and not a chunk.
	f(func(*Options) {}, &Request{ContentType: "a/b"}, push, "Content-Type: a/b", "User-Agent: telemetry-gateway/1")
	f(func(*Options) {}, &Request{ContentType: "a/b", Body: []byte{}}, push, "Content-Type: a/b", "User-Agent: telemetry-gateway/1")
}

func TestPathIsAppended(t *testing.T) {
	f := func(base, path, want string) {
		t.Helper()
		u := upstreamAt(t, base)
		if got := u.request(context.Background(), u.credentials.Load(), &Request{Path: path}, &bodies{}).URL.String(); got != want {
			t.Errorf("%s + %s: %s, want %s", base, path, got, want)
		}
	}
	f("https://h/otlp", "/v1/traces", "https://h/otlp/v1/traces")
	f("https://h/otlp/", "/v1/traces", "https://h/otlp/v1/traces")
	f("https://h", "/v1/traces", "https://h/v1/traces")
	f("https://h/push/", "", "https://h/push/")
	f("https://h", "", "https://h")
	f("https://h/a%2Fb", "/v1/logs", "https://h/a%2Fb/v1/logs")
	f("https://h/a%2Fb/", "", "https://h/a%2Fb/")
	f("https://h/push?x=1", "/v1/logs", "https://h/push/v1/logs?x=1")
}

// The transport may send a push twice that carries such a header: net/http takes it for idempotent.
func TestIdempotencyKeyIsRefused(t *testing.T) {
	for _, name := range []string{"Idempotency-Key", "idempotency-key", "X-Idempotency-Key"} {
		o := Options{Name: "loki", URL: "http://127.0.0.1:1", Headers: map[string]promconfig.Secret{name: "1"}}
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), "sent twice") {
			t.Errorf("headers %s: %v", name, err)
		}
		o = Options{Name: "loki", URL: "http://127.0.0.1:1"}
		o.HTTP.HTTPHeaders = &promconfig.Headers{Headers: map[string]promconfig.Header{name: {Values: []string{"1"}}}}
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), "sent twice") {
			t.Errorf("http_headers %s: %v", name, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Options{Name: "loki", URL: "http://a b"}); err == nil {
		t.Error("no error for a bad URL")
	}
	o := Options{Name: "loki", URL: "http://127.0.0.1:1"}
	o.HTTP.TLSConfig.CA = "no certificate"
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "loki") {
		t.Errorf("bad CA: %v", err)
	}
	if got := upstreamAt(t, "http://user:hunter22@127.0.0.1:1/x").URL(); strings.Contains(got, "hunter22") {
		t.Errorf("URL is %s", got)
	}
}

// rotate gives u other HTTP keys.
func rotate(t *testing.T, u *Upstream, cfg promconfig.HTTPClientConfig) {
	t.Helper()
	use, err := u.Prepare(cfg)
	if err != nil {
		t.Fatal(err)
	}
	use()
}

func TestRotation(t *testing.T) {
	type seen struct{ remote, authorization string }
	asked := make(chan seen, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		drained(r)
		asked <- seen{r.RemoteAddr, r.Header.Get("Authorization")}
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // it is not trusted in the end
	srv.StartTLS()
	t.Cleanup(srv.Close)
	basic := func(password promconfig.Secret) promconfig.HTTPClientConfig {
		cfg := trusting(srv)
		cfg.BasicAuth = &promconfig.BasicAuth{Username: "1", Password: password}
		return cfg
	}
	u := upstreamAt(t, srv.URL, withHTTP(basic("first")))
	push := func() seen {
		t.Helper()
		if _, err := send(t, u, "push"); err != nil {
			t.Fatal(err)
		}
		return <-asked
	}
	first := push()
	rotate(t, u, basic("second"))
	second := push()
	if second.remote != first.remote || second.authorization == first.authorization {
		t.Errorf("first %+v, second %+v: want the same connection and another credential", first, second)
	}
	bearer := trusting(srv)
	bearer.Authorization = &promconfig.Authorization{Credentials: "third"}
	rotate(t, u, bearer)
	third := push()
	if third.remote != first.remote || third.authorization != "Bearer third" {
		t.Errorf("third %+v: want the same connection and a bearer token", third)
	}
	other := bearer
	other.TLSConfig.MinVersion = promconfig.TLSVersion(0x0304)
	rotate(t, u, other)
	fourth := push()
	if fourth.remote == first.remote || fourth.authorization != "Bearer third" {
		t.Errorf("fourth %+v: want a new connection", fourth)
	}
	bad := other
	bad.TLSConfig.CA = "no certificate"
	if _, err := u.Prepare(bad); err == nil {
		t.Error("a bad CA was taken")
	}
	if fifth := push(); fifth != fourth {
		t.Errorf("after a bad configuration %+v, want %+v", fifth, fourth)
	}
	other.TLSConfig.CA = ""
	rotate(t, u, other)
	if _, err := send(t, u, "push"); err == nil {
		t.Error("the CA was taken away and the server is trusted still")
	}
	// What is prepared and not used changes nothing.
	if _, err := u.Prepare(bearer); err != nil {
		t.Fatal(err)
	}
	if _, err := send(t, u, "push"); err == nil {
		t.Error("a configuration came into use that was only prepared")
	}
}

// Pushes go on while credentials change, and each carries one that was valid.
func TestRotationUnderLoad(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		drained(r)
		if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer token-") {
			w.WriteHeader(401)
		}
	})
	cfg := func(n int) promconfig.HTTPClientConfig {
		return promconfig.HTTPClientConfig{Authorization: &promconfig.Authorization{Credentials: promconfig.Secret(fmt.Sprint("token-", n))}, EnableHTTP2: n%10 == 0}
	}
	u := upstreamAt(t, srv.URL, withHTTP(cfg(0)))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if _, err := send(t, u, "push"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for n := range 50 {
		rotate(t, u, cfg(n))
	}
	wg.Wait()
}

func TestHTTP2(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := drained(r)
		fmt.Fprintf(w, "HTTP/%d, %d bytes of %d", r.ProtoMajor, len(body), r.ContentLength)
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	f := func(enable bool, n int, want string) {
		t.Helper()
		cfg := trusting(srv)
		cfg.EnableHTTP2 = enable
		l := lend(t, n)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		res, err := l.push(ctx, upstreamAt(t, srv.URL, withHTTP(cfg)))
		if err != nil {
			t.Fatal(err)
		}
		if string(res.Body) != want {
			t.Errorf("%q, want %q", res.Body, want)
		}
		l.wantSettled()
	}
	f(true, 1<<20, "HTTP/2, 1048576 bytes of 1048576")
	f(true, 0, "HTTP/2, 0 bytes of 0")
	f(false, 1<<20, "HTTP/1, 1048576 bytes of 1048576")
}

// bodyServers are upstreams by how they treat a body; each in HTTP/1, with and without TLS, and HTTP/2.
func bodyServers(t *testing.T, h http.HandlerFunc) map[string]*Upstream {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	h2 := trusting(srv)
	h2.EnableHTTP2 = true
	return map[string]*Upstream{
		"plain":  upstreamAt(t, serve(t, h).URL),
		"HTTP/1": upstreamAt(t, srv.URL, withHTTP(trusting(srv))),
		"HTTP/2": upstreamAt(t, srv.URL, withHTTP(h2)),
	}
}

// Whatever upstream does with a body, its buffer comes back exactly once and is not read after.
func TestBodyIsReleasedOnce(t *testing.T) {
	const large = 8 << 20
	f := func(what string, n int, h http.HandlerFunc) {
		t.Helper()
		for version, u := range bodyServers(t, h) {
			for range 5 {
				l := lend(t, n)
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				_, _ = l.push(ctx, u)
				cancel()
				l.wantSettled()
				if held := l.held.Load(); n > 0 && held < 1 {
					t.Errorf("%s, %s: held %d times", what, version, held)
				}
			}
		}
	}
	f("read whole", large, func(w http.ResponseWriter, r *http.Request) {
		if b := drained(r); bytes.IndexByte(b, 'X') >= 0 {
			t.Error("the body was overwritten while it was sent")
		}
	})
	f("answered at once", large, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) })
	f("answered in the middle", large, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, large/2)
		w.WriteHeader(429)
	})
	f("connection cut", large, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, large/2)
		panic(http.ErrAbortHandler)
	})
	f("small, answered at once", 10, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) })
	f("none", 0, func(http.ResponseWriter, *http.Request) {})
}

// A sender that goes away while its body is being written must not leave the transport reading a buffer that is lent again.
func TestBodyIsNotReadAfterCancel(t *testing.T) {
	gone := make(chan struct{})
	us := bodyServers(t, func(_ http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 1<<10)
		for {
			n, err := r.Body.Read(buf)
			if bytes.IndexByte(buf[:n], 'X') >= 0 {
				t.Error("what another push wrote was sent")
			}
			if err != nil {
				return
			}
			select {
			case <-gone:
				return
			default:
			}
		}
	})
	defer close(gone)
	for version, u := range us {
		for i := range 60 {
			l := lend(t, 4<<20)
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Duration(i)*200*time.Microsecond, cancel)
			if _, err := l.push(ctx, u); err != nil {
				wantFault(t, err, fault.Canceled)
			}
			cancel()
			l.wantSettled()
			if t.Failed() {
				t.Fatalf("%s, round %d", version, i)
			}
		}
	}
}

// A read and a close at the same time, as a transport that gives up does it.
func TestBodyCloseWaitsForRead(t *testing.T) {
	for range 200 {
		l := lend(t, 64<<10)
		bs := &bodies{r: &Request{Body: l.data, Hold: l.Hold, Release: l.Release}}
		b := bs.open()
		var wg sync.WaitGroup
		wg.Go(func() {
			got, err := io.ReadAll(b)
			if bytes.IndexByte(got, 'X') >= 0 {
				t.Error("read after the release")
			}
			if err != nil && err != http.ErrBodyReadAfterClose {
				t.Error(err)
			}
		})
		wg.Go(func() { bs.close() })
		l.Release()
		wg.Wait()
		_ = b.Close()
		l.wantSettled()
	}
}

// Where nothing answers, or a file is not there, the body comes back as well.
func TestBodyIsReleasedWithoutAConnection(t *testing.T) {
	missing := t.TempDir() + "/missing"
	f := func(what string, cfg promconfig.HTTPClientConfig) {
		t.Helper()
		l := lend(t, 1<<10)
		_, err := l.push(context.Background(), upstreamAt(t, "http://127.0.0.1:1", withHTTP(cfg)))
		wantFault(t, err, fault.Unreachable)
		l.wantSettled()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		l = lend(t, 1<<10)
		_, err = l.push(ctx, upstreamAt(t, "http://127.0.0.1:1", withHTTP(cfg)))
		wantFault(t, err, fault.Canceled)
		l.wantSettled()
	}
	f("refused", promconfig.HTTPClientConfig{})
	f("no header file", promconfig.HTTPClientConfig{HTTPHeaders: &promconfig.Headers{Headers: map[string]promconfig.Header{"X-A": {Files: []string{missing}}}}})
	f("no token", promconfig.HTTPClientConfig{OAuth2: &promconfig.OAuth2{ClientID: "a", ClientSecret: "b", TokenURL: "http://127.0.0.1:1/token"}})
	u := upstreamAt(t, "http://127.0.0.1:1")
	l := lend(t, 10)
	_, err := u.Send(context.Background(), &Request{UserAgent: "no\nheader", Body: l.data, Hold: l.Hold, Release: l.Release})
	l.Release()
	wantFault(t, err, fault.Unreachable)
	l.wantSettled()
}

// answer reads one request from c and answers it; false: none came.
func answer(c net.Conn, in *bufio.Reader, answers string) bool {
	r, err := http.ReadRequest(in)
	if err != nil {
		return false
	}
	drained(r)
	io.WriteString(c, answers)
	return true
}

const took = "HTTP/1.1 204 No Content\r\n\r\n"

// Upstream closed a connection that waited: the push goes over another and is not lost.
func TestAStaleConnectionLosesNothing(t *testing.T) {
	var requests atomic.Int32
	noticed := make(chan struct{}, 10)
	base := listen(t, func(c *net.TCPConn) {
		in := bufio.NewReader(c)
		if answer(c, in, took) {
			requests.Add(1)
		}
		_ = c.CloseWrite()
		// The other side closes when it has seen our end.
		_, _ = io.Copy(io.Discard, in)
		noticed <- struct{}{}
	})
	u := upstreamAt(t, base)
	for i := range 5 {
		l := lend(t, 1000)
		if _, err := l.push(context.Background(), u); err != nil {
			t.Fatalf("push %d: %v", i, err)
		}
		l.wantSettled()
		<-noticed
	}
	if n := requests.Load(); n != 5 {
		t.Errorf("%d requests came", n)
	}
}

// The same without waiting: each push is taken once or fails, never twice.
func TestAConnectionThatClosesAsWeWrite(t *testing.T) {
	var requests atomic.Int32
	base := listen(t, func(c *net.TCPConn) {
		if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			drained(r)
			requests.Add(1) // first: who has the answer looks at the number
			_, _ = io.WriteString(c, took)
		}
	})
	u := upstreamAt(t, base)
	good := 0
	for range 100 {
		l := lend(t, 1000)
		if _, err := l.push(context.Background(), u); err == nil {
			good++
		} else {
			wantFault(t, err, fault.Unreachable)
		}
		l.wantSettled()
	}
	if n := int(requests.Load()); n != good || good == 0 {
		t.Errorf("%d requests came, %d were answered", n, good)
	}
}

// Upstream read the push and closed without a word: it may have stored it. Only the sender may decide to send it again.
func TestNeverSentTwice(t *testing.T) {
	var requests atomic.Int32
	base := listen(t, func(c *net.TCPConn) {
		in := bufio.NewReader(c)
		for requests.Load() < 1 {
			if !answer(c, in, took) {
				return
			}
			requests.Add(1)
		}
		if r, err := http.ReadRequest(in); err == nil {
			drained(r)
			requests.Add(1)
		}
	})
	u := upstreamAt(t, base)
	if _, err := send(t, u, "first"); err != nil {
		t.Fatal(err)
	}
	l := lend(t, 1000)
	_, err := l.push(context.Background(), u)
	wantFault(t, err, fault.Unreachable)
	l.wantSettled()
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests came, want 2", n)
	}
}

// An answer without end is read to its bound.
func TestAnswerIsBounded(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		chunk := bytes.Repeat([]byte("x"), 64<<10)
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	res, err := send(t, upstreamAt(t, srv.URL), "push")
	if err != nil || len(res.Body) != maxSuccessBytes {
		t.Errorf("%v, or another length than %d", err, maxSuccessBytes)
	}
}

// After 101 the connection is another protocol's: nothing more is read of it, and no push waits for it.
func TestSwitchingProtocols(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	held := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = http.ReadRequest(bufio.NewReader(c))
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n")
		held <- c // open for as long as the test
	}()
	res, err := send(t, upstreamAt(t, "http://"+l.Addr().String()), "push")
	if res == nil || fault.From(err).Kind != fault.Misconfigured || res.Status != http.StatusSwitchingProtocols {
		t.Errorf("%+v %v", res, err)
	}
	(<-held).Close()
}

// An access token is the library's, and what stands behind Bearer or Basic is never for a sender.
func TestForeignCredentialsAreRemoved(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, "invalid token Bearer ACCESSTOK1234567890 of basic authentication")
	})
	_, err := send(t, upstreamAt(t, srv.URL), "push")
	if text := fault.From(err).Public; strings.Contains(text, "ACCESSTOK") || !strings.Contains(text, "basic authentication") {
		t.Error(text)
	}
}
