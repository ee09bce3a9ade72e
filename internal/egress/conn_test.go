package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	promconfig "github.com/prometheus/common/config"
)

// pipe is a conn and its other end.
func pipe(t *testing.T) (*conn, *net.TCPConn) {
	t.Helper()
	accepted := make(chan *net.TCPConn, 1)
	base := listen(t, func(c *net.TCPConn) {
		accepted <- c
		<-t.Context().Done()
	})
	c, err := dial(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	peer := <-accepted
	_ = peer.SetDeadline(time.Now().Add(patience))
	return &conn{Conn: c}, peer
}

func TestHeadAndBodyLeaveTogether(t *testing.T) {
	c, peer := pipe(t)
	f := func(parts []string, body string) {
		t.Helper()
		l := lend(t, 0)
		l.data = []byte(body)
		bs := &bodies{r: &Request{Body: l.data, Hold: l.Hold, Release: l.Release}}
		b := bs.open()
		c.next = b
		want := strings.Join(parts, "") + body
		for _, p := range parts {
			if n, err := c.Write([]byte(p)); n != len(p) || err != nil {
				t.Fatalf("%d of %d bytes, %v", n, len(p), err)
			}
		}
		// The body is with the peer before it was asked for.
		got := make([]byte, len(want))
		if _, err := io.ReadFull(peer, got); err != nil || string(got) != want {
			t.Fatalf("%q, %v", got, err)
		}
		if n, err := c.ReadFrom(io.LimitReader(b, int64(len(body)))); n != int64(len(body)) || err != nil {
			t.Fatalf("%d of %d bytes, %v", n, len(body), err)
		}
		for _, p := range c.parts {
			if p != nil {
				t.Error("the connection keeps bytes that will be another push's")
			}
		}
		_ = b.Close()
		l.Release()
		l.wantSettled()
	}
	f([]string{"POST / HTTP/1.1\r\nA: b\r\n\r\n"}, "body")
	f([]string{"POST / HTTP/1.1\r\nA: ", "b\r\n", "C: d\r\n\r\n"}, strings.Repeat("body", 5000))

	// What was not announced is written as it comes, also if it looks the same.
	for _, p := range []string{"POST / HTTP/1.1\r\n\r\n", "x"} {
		if n, err := c.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	if n, err := c.ReadFrom(io.LimitReader(strings.NewReader("more"), 4)); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	got := make([]byte, len("POST / HTTP/1.1\r\n\r\nxmore"))
	if _, err := io.ReadFull(peer, got); err != nil || !bytes.HasSuffix(got, []byte("\r\n\r\nxmore")) {
		t.Fatalf("%q, %v", got, err)
	}
}

// Whether a push may go over another connection depends on what Write says of its head.
func TestAClosedConnectionTakesNothing(t *testing.T) {
	c, _ := pipe(t)
	l := lend(t, 1000)
	bs := &bodies{r: &Request{Body: l.data, Hold: l.Hold, Release: l.Release}}
	c.next = bs.open()
	_ = c.Close()
	if n, err := c.Write([]byte("POST / HTTP/1.1\r\n\r\n")); n != 0 || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	bs.close()
	l.Release()
	l.wantSettled()
}

// Who gives up does not wait for a write that blocks, and the buffer stays whole for as long as that goes on.
func TestCloseDoesNotWaitForAWrite(t *testing.T) {
	c, peer := pipe(t)
	const head, size = "POST / HTTP/1.1\r\n\r\n", 16 << 20 // more than sockets hold
	l := lend(t, size)
	bs := &bodies{r: &Request{Body: l.data, Hold: l.Hold, Release: l.Release}}
	b := bs.open()
	c.next = b
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write([]byte(head))
		wrote <- err
	}()
	if _, err := io.CopyN(io.Discard, peer, int64(len(head))); err != nil { // the write is under way
		t.Fatal(err)
	}
	_ = b.Close()
	l.Release()
	got, err := io.ReadAll(io.LimitReader(peer, size))
	if err != nil || len(got) != size || bytes.IndexByte(got, 'X') >= 0 {
		t.Errorf("%d bytes, %v, or bytes of another push", len(got), err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	l.wantSettled()

	// A body that was closed first is not written at all.
	c.next = b
	if n, err := c.Write([]byte(head)); n != len(head) || err != nil {
		t.Error(n, err)
	}
	_ = c.Close()
	if rest, err := io.ReadAll(peer); err != nil || string(rest) != head {
		t.Errorf("%q, %v", rest, err)
	}
}

// Over TLS a small push is one record, which is what a Read of crypto/tls returns.
func TestASmallPushIsOneRecord(t *testing.T) {
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	reads := make(chan string, 1)
	base := listen(t, func(c *net.TCPConn) {
		secure, buf := tls.Server(c, srv.TLS), make([]byte, 64<<10)
		n, _ := secure.Read(buf)
		reads <- string(buf[:n])
		_, _ = io.WriteString(secure, took)
	})
	cfg := trusting(srv)
	cfg.TLSConfig.ServerName = "example.com" // a name in the certificate of httptest
	u := upstreamAt(t, strings.Replace(base, "http:", "https:", 1), withHTTP(cfg))
	l := lend(t, 1000)
	if _, err := l.push(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if got := <-reads; !strings.HasSuffix(got, "\r\n\r\n"+strings.Repeat("a", 1000)) {
		t.Errorf("%.100q… of %d bytes came first", got, len(got))
	}
	l.wantSettled()
}

// A small push is one packet, on the first connection and on one that waited; a head over net/http's buffer is several.
func TestAPushIsOneWrite(t *testing.T) {
	reads := make(chan string, 1)
	u := upstreamAt(t, listen(t, func(c *net.TCPConn) {
		buf := make([]byte, 64<<10)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			reads <- string(buf[:n])
			if _, err := io.WriteString(c, took); err != nil {
				return
			}
		}
	}))
	for range 10 {
		l := lend(t, 1000)
		if _, err := l.push(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		if got := <-reads; !strings.HasPrefix(got, "POST / HTTP/1.1\r\n") || !strings.HasSuffix(got, "\r\n\r\n"+strings.Repeat("a", 1000)) {
			t.Fatalf("%.100q… of %d bytes came first", got, len(got))
		}
		l.wantSettled()
	}
}

// agents make heads of many lengths: short, longer than net/http's buffer, and so that the buffer is full somewhere in the
// empty line that ends the head, whose two halves then come apart.
func agents() []string {
	agents := []string{"", strings.Repeat("a", 4<<10), strings.Repeat("a", 9<<10)}
	for n := range 12 {
		const others = len("POST / HTTP/1.1\r\nHost: 127.0.0.1:65535\r\nUser-Agent: telemetry-gateway/1\r\nContent-Length: 5000\r\nContent-Type: \r\n\r\n")
		agents = append(agents, strings.Repeat("a", 4<<10-others-8+n))
	}
	return agents
}

// A body is announced once: where the end of a head was not seen, the next head on that connection must not bring the body.
func TestAHeadInHalves(t *testing.T) {
	c, peer := pipe(t)
	l := lend(t, 1000)
	bs := &bodies{r: &Request{Body: l.data, Hold: l.Hold, Release: l.Release}}
	b := bs.open()
	c.next = b
	want := "POST / HTTP/1.1\r\n\r\n" + string(l.data) + "GET / HTTP/1.1\r\n\r\n"
	for _, p := range []string{"POST / HTTP/1.1\r\n", "\r\n"} {
		if n, err := c.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	if n, err := c.ReadFrom(io.LimitReader(b, 1000)); n != 1000 || err != nil {
		t.Fatal(n, err)
	}
	if c.next != nil || c.ahead != nil {
		t.Error("the connection keeps a body that was sent")
	}
	if _, err := c.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if got, err := io.ReadAll(peer); err != nil || string(got) != want {
		t.Errorf("%d bytes came, want %d: %v", len(got), len(want), err)
	}
	bs.close()
	l.Release()
	l.wantSettled()
}

// A handshake that nobody answers ends by its own deadline, which is not taken for the push's, and leaves no socket behind.
func TestAHandshakeEnds(t *testing.T) {
	closed := make(chan error, 1)
	silent := listen(t, func(c *net.TCPConn) {
		_, err := io.Copy(io.Discard, c)
		closed <- err
	})
	_, err := dialTLS(t.Context(), "tcp", strings.TrimPrefix(silent, "http://"), new(tls.Config), 10*time.Millisecond)
	if err == nil || !strings.HasPrefix(err.Error(), "TLS handshake: ") {
		t.Errorf("%v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}

	srv := httptest.NewTLSServer(nil)
	t.Cleanup(srv.Close)
	cfg := srv.Client().Transport.(*http.Transport).TLSClientConfig
	c, err := dialTLS(t.Context(), "tcp", srv.Listener.Addr().String(), cfg, 0)
	if err != nil {
		t.Fatalf("without a deadline: %v", err)
	}
	_ = c.Close()
}

// Bodies arrive once and whole, however long heads and bodies are and whatever stands between.
func TestBodiesArriveWhole(t *testing.T) {
	lengths := make(chan int64, 1)
	count := func(_ http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || n != r.ContentLength {
			t.Errorf("%d bytes of %d, %v", n, r.ContentLength, err)
		}
		lengths <- n
	}
	srv := serve(t, count)
	proxy, _ := url.Parse(srv.URL)
	direct := upstreamAt(t, srv.URL)
	proxied := upstreamAt(t, "http://upstream.invalid/push", withHTTP(promconfig.HTTPClientConfig{
		ProxyConfig: promconfig.ProxyConfig{ProxyURL: promconfig.URL{URL: proxy}},
	}))
	secure := httptest.NewTLSServer(http.HandlerFunc(count))
	t.Cleanup(secure.Close)
	for _, u := range []*Upstream{direct, proxied, upstreamAt(t, secure.URL, withHTTP(trusting(secure)))} {
		for _, agent := range agents() {
			for _, size := range []int{0, 1, 5000, 3 << 20} {
				l := lend(t, size)
				_, err := u.Send(t.Context(), &Request{UserAgent: agent, Body: l.data, Hold: l.Hold, Release: l.Release})
				l.Release()
				if err != nil {
					t.Fatal(err)
				}
				if n := <-lengths; n != int64(size) {
					t.Errorf("%d bytes came of %d", n, size)
				}
				l.wantSettled()
			}
		}
	}
}

// A configured Expect means that the body waits for upstream's word.
func TestExpectIsWaitedFor(t *testing.T) {
	rest := make(chan []byte, 1)
	base := listen(t, func(c *net.TCPConn) {
		buf := make([]byte, 64<<10)
		n, _ := c.Read(buf)
		_, _ = io.WriteString(c, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		_ = c.CloseWrite()
		more, _ := io.ReadAll(c)
		rest <- append(buf[:n], more...)
	})
	u := upstreamAt(t, base, func(o *Options) { o.Headers = map[string]promconfig.Secret{"Expect": "100-continue"} })
	l := lend(t, 1000)
	if res, _ := l.push(context.Background(), u); res == nil || res.Status != http.StatusExpectationFailed {
		t.Errorf("%+v", res)
	}
	l.wantSettled()
	if got := <-rest; !bytes.HasSuffix(got, []byte("\r\n\r\n")) {
		t.Errorf("%q came", got)
	}
}
