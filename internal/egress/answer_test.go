package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	promconfig "github.com/prometheus/common/config"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// TestAnswers holds every class of status to the table of answers in README.md.
func TestAnswers(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		drained(r)
		q := r.Header.Get("X-Answer")
		var status int
		fmt.Sscan(q, &status)
		if status/100 == 3 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
		if status != 204 && status != 304 {
			io.WriteString(w, "own\nwords")
		}
	})
	f := func(status int, k fault.Kind, answer int, after time.Duration, told bool) {
		t.Helper()
		u := upstreamAt(t, srv.URL, func(o *Options) {
			o.Headers = map[string]promconfig.Secret{"X-Answer": promconfig.Secret(fmt.Sprint(status))}
		})
		res, err := send(t, u, "push")
		if res == nil || res.Status != status {
			t.Fatalf("%d: response %+v", status, res)
		}
		e := wantFault(t, err, k)
		if e.HTTPStatus() != answer || e.Upstream != status {
			t.Errorf("%d: answered %d with upstream %d, want %d", status, e.HTTPStatus(), e.Upstream, answer)
		}
		if e.After < after*4/5 || e.After > after*6/5 {
			t.Errorf("%d: retry after %s, want about %s", status, e.After, after)
		}
		if !strings.HasPrefix(e.Public, "environment prod: upstream loki ") || !strings.Contains(e.Public, fmt.Sprintf("(HTTP %d)", status)) {
			t.Errorf("%d: %q", status, e.Public)
		}
		if strings.Contains(e.Public, "own words") != told || strings.Contains(e.Public, "127.0.0.1") {
			t.Errorf("%d: the sender reads %q", status, e.Public)
		}
		if !told && status != 304 && !strings.Contains(e.Error(), "own words") {
			t.Errorf("%d: the log does not say what upstream said: %q", status, e.Error())
		}
	}
	const none, failed, ours = 0, 5 * time.Second, 30 * time.Second
	for _, s := range []int{400, 409, 413, 422} {
		f(s, fault.Rejected, s, none, true)
	}
	f(429, fault.RateLimited, 429, failed, true)
	for _, s := range []int{500, 501, 502, 503, 504, 505, 529, 599} {
		f(s, fault.UpstreamFailed, 503, failed, true)
	}
	for _, s := range []int{300, 301, 302, 303, 304, 307, 308, 401, 402, 403, 404, 405, 406, 407, 408, 410, 411, 412, 415, 421, 431, 451, 499} {
		f(s, fault.Misconfigured, 503, ours, false)
	}

	for _, status := range []int{200, 201, 202, 204} {
		u := upstreamAt(t, srv.URL, func(o *Options) {
			o.Headers = map[string]promconfig.Secret{"X-Answer": promconfig.Secret(fmt.Sprint(status))}
		})
		res, err := send(t, u, "push")
		if err != nil || res.Status != status || status != 204 && string(res.Body) != "own\nwords" {
			t.Errorf("%d: %+v, %v", status, res, err)
		}
	}
}

// A redirect would take the credential to another place.
func TestRedirectsAreNotFollowed(t *testing.T) {
	asked := make(chan string, 10)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	_, err := send(t, upstreamAt(t, srv.URL+"/push", withHTTP(promconfig.HTTPClientConfig{FollowRedirects: true})), "push")
	wantFault(t, err, fault.Misconfigured)
	if n := len(asked); n != 1 || <-asked != "/push" {
		t.Errorf("%d requests came", n)
	}
}

func TestAWebPageIsNoAnswer(t *testing.T) {
	f := func(status int, contentType string, k fault.Kind) {
		t.Helper()
		srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			io.WriteString(w, "<html>please log in</html>")
		})
		_, err := send(t, upstreamAt(t, srv.URL), "push")
		e := wantFault(t, err, k)
		if strings.Contains(e.Public, "html") || !strings.Contains(e.Error(), "please log in") || e.Upstream != status {
			t.Errorf("%d %s: the sender reads %q, the log %q", status, contentType, e.Public, e.Error())
		}
	}
	f(200, "text/html", fault.UpstreamFailed)
	f(200, "Text/HTML; charset=utf-8", fault.UpstreamFailed)
	f(202, "text/html;;", fault.UpstreamFailed)
	f(503, "text/html", fault.UpstreamFailed)
	f(429, "TEXT/HTML", fault.RateLimited)
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 500e6, time.UTC)
	f := func(value string, want time.Duration) {
		t.Helper()
		if got := retryAfter(http.Header{"Retry-After": {value}}, 7*time.Second, now); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
	about := func(value string) {
		t.Helper()
		got := retryAfter(http.Header{"Retry-After": {value}}, 10*time.Second, now)
		if got < 8*time.Second || got > 12*time.Second {
			t.Errorf("%q: %s, want about 10s", value, got)
		}
	}
	f("1", time.Second)
	f("17", 17*time.Second)
	f("0", time.Second)
	f("-0", time.Second)
	f("0.2", time.Second)
	f("2.5", 3*time.Second)
	f("120", 120*time.Second)
	f("121", 120*time.Second)
	f("86400", 120*time.Second)
	f("99999999999999999999999", 120*time.Second)
	f("1e300", 120*time.Second)
	f("Sun, 22 Nov 2026 12:00:30 GMT", 30*time.Second) // 29.5 s, rounded up
	f("Sun, 22 Nov 2026 12:00:01 GMT", time.Second)
	f("Sun, 22 Nov 2026 11:00:00 GMT", time.Second)
	f("Thu, 01 Jan 1970 00:00:00 GMT", time.Second)
	f("Sun, 22 Nov 2026 13:00:00 GMT", 120*time.Second)
	f("Fri, 31 Dec 9999 23:59:59 GMT", 120*time.Second)
	about("")
	about("soon")
	about("-1")
	about("-99999")
	about("NaN")
	about("12 seconds")
	if got := retryAfter(http.Header{}, 10*time.Second, now); got < 8*time.Second || got > 12*time.Second {
		t.Errorf("without the header: %s", got)
	}
}

func TestRetryAfterIsPassedOn(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "42")
		w.WriteHeader(429)
	})
	_, err := send(t, upstreamAt(t, srv.URL), "push")
	if e := wantFault(t, err, fault.RateLimited); e.After != 42*time.Second {
		t.Errorf("retry after %s", e.After)
	}
}

// wantUnreachable fails the test unless err says cause and nothing that the sender should not read.
func wantUnreachable(t *testing.T, err error, cause, base string) {
	t.Helper()
	e := wantFault(t, err, fault.Unreachable)
	if want := "environment prod: upstream loki gave no HTTP answer: " + cause; e.Public != want {
		t.Errorf("%q, want %q (%v)", e.Public, want, e.Err)
	}
	if e.Err == nil || e.After < 4*time.Second || e.Upstream != 0 || e.HTTPStatus() != 502 {
		t.Errorf("%+v", e)
	}
	at, _ := url.Parse(base)
	if strings.Contains(e.Public, at.Hostname()) || strings.Contains(e.Error(), "hunter22") {
		t.Errorf("told: %q, logged: %q", e.Public, e.Error())
	}
}

func TestNoAnswer(t *testing.T) {
	auth := withHTTP(promconfig.HTTPClientConfig{BasicAuth: &promconfig.BasicAuth{Username: "1", Password: "hunter22"}})
	f := func(cause string, handle func(c *net.TCPConn, r *http.Request)) {
		t.Helper()
		base := listen(t, func(c *net.TCPConn) {
			r, err := http.ReadRequest(bufio.NewReader(c))
			if err != nil {
				return
			}
			drained(r)
			handle(c, r)
		})
		_, err := send(t, upstreamAt(t, base, auth), "push")
		wantUnreachable(t, err, cause, base)
	}
	const cut = "connection closed before the answer was whole"
	f(cut, func(*net.TCPConn, *http.Request) {})
	f(cut, func(c *net.TCPConn, _ *http.Request) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n") })
	f(cut, func(c *net.TCPConn, _ *http.Request) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
	})
	f(cut, func(c *net.TCPConn, _ *http.Request) {
		io.WriteString(c, "HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf")
	})
	f("connection reset", func(c *net.TCPConn, _ *http.Request) { _ = c.SetLinger(0) })
	f("connection failed", func(c *net.TCPConn, _ *http.Request) { io.WriteString(c, "SSH-2.0-OpenSSH_9.2 hunter22\r\n\r\n") })

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + l.Addr().String()
	l.Close()
	_, err = send(t, upstreamAt(t, base, auth), "push")
	wantUnreachable(t, err, "connection refused", base)

	if got := cause(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "logs.example.com", IsNotFound: true}}); got != "its host name does not resolve" {
		t.Errorf("unknown host: %q", got)
	}
	if got := cause(&net.OpError{Op: "dial", Err: context.DeadlineExceeded}); got != "no connection" {
		t.Errorf("dial: %q", got)
	}
}

func TestTLSFailures(t *testing.T) {
	f := func(what, base string, cfg promconfig.HTTPClientConfig) {
		t.Helper()
		_, err := send(t, upstreamAt(t, base, withHTTP(cfg)), "push")
		e := wantFault(t, err, fault.Unreachable)
		if !strings.HasSuffix(e.Public, "TLS failed") {
			t.Errorf("%s: %q (%v)", what, e.Public, e.Err)
		}
	}
	nothing := func(http.ResponseWriter, *http.Request) {}
	quiet := func(change func(*httptest.Server)) *httptest.Server {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(nothing))
		change(srv)
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return srv
	}
	srv := quiet(func(*httptest.Server) {})
	f("unknown authority", srv.URL, promconfig.HTTPClientConfig{})
	named := trusting(srv)
	named.TLSConfig.ServerName = "logs.somewhere.example"
	f("other name", srv.URL, named)
	srv = quiet(func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}
	})
	f("client certificate wanted", srv.URL, trusting(srv))
	srv = quiet(func(s *httptest.Server) {
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	})
	old := trusting(srv)
	old.TLSConfig.MaxVersion = promconfig.TLSVersion(tls.VersionTLS12)
	f("no version in common", srv.URL, old)
	plain := serve(t, nothing)
	f("no TLS there", strings.Replace(plain.URL, "http://", "https://", 1), promconfig.HTTPClientConfig{})
}

func TestDeadlineAndCancel(t *testing.T) {
	// One hangs before the answer, one inside it.
	before := listen(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	inside := listen(t, func(c *net.TCPConn) {
		answer(c, bufio.NewReader(c), "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
		_, _ = io.Copy(io.Discard, c)
	})
	for _, base := range []string{before, inside} {
		u := upstreamAt(t, base)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		start := time.Now()
		_, err := u.Send(ctx, &Request{Body: []byte("push")})
		cancel()
		e := wantFault(t, err, fault.Timeout)
		if !strings.Contains(e.Public, "timeout=8s") || e.HTTPStatus() != 504 || e.After <= 0 || time.Since(start) > patience/2 {
			t.Errorf("%+v after %s", e, time.Since(start))
		}
		ctx, cancel = context.WithCancel(context.Background())
		time.AfterFunc(50*time.Millisecond, cancel)
		_, err = u.Send(ctx, &Request{Body: []byte("push")})
		wantFault(t, err, fault.Canceled)
		_, err = u.Send(ctx, &Request{Body: []byte("push")})
		wantFault(t, err, fault.Canceled)
	}
}

const (
	password = "p4ss w\"rd&<1>\xe9"
	token    = "very-secret-bearer-token"
)

// everySecret is an upstream that has been given secrets in every way there is.
func everySecret(t *testing.T, base string) *Upstream {
	t.Helper()
	proxy, err := url.Parse("http://user:proxy-password@127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	u := upstreamAt(t, base, func(o *Options) {
		o.Headers = map[string]promconfig.Secret{"X-Api-Key": "configured-header-value"}
		o.HTTP.BasicAuth = &promconfig.BasicAuth{Username: "53715", Password: promconfig.Secret(password)}
		o.HTTP.Authorization = &promconfig.Authorization{Credentials: token}
		o.HTTP.HTTPHeaders = &promconfig.Headers{Headers: map[string]promconfig.Header{"X-Other": {Secrets: []promconfig.Secret{"other-header-value"}}}}
		o.HTTP.ProxyConfig = promconfig.ProxyConfig{ProxyURL: promconfig.URL{URL: proxy}}
	})
	return u
}

func TestSecretsAreRemovedFromText(t *testing.T) {
	s := everySecret(t, "http://127.0.0.1:1").credentials.Load().secrets
	pair := base64.StdEncoding.EncodeToString([]byte("53715:" + password))
	f := func(text, want string) {
		t.Helper()
		if got := s.clean([]byte(text), false); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	f("user 53715 says "+password+"!", "user 53715 says <secret>!")
	f("Authorization: Basic "+pair, "Authorization: Basic <secret>")
	f("Bearer "+token+token, "Bearer <secret><secret>")
	f("key=configured-header-value other=other-header-value proxy=proxy-password", "key=<secret> other=<secret> proxy=<secret>")
	f(`quoted "p4ss w\"rd&<1>\xe9" by Go`, `quoted "<secret>" by Go`)
	f(`in a URL: `+url.QueryEscape(password)+` or `+url.PathEscape(password), "in a URL: <secret> or <secret>")
	f("as HTML: p4ss w&#34;rd&amp;&lt;1&gt;\xe9.", "as HTML: <secret>.")
	f("token glc_eyJvIjoiMTIzNCJ9+/=_- of Cloud", "token <secret> of Cloud")
	f("token glsa_abcDEF123_45 of Grafana", "token <secret> of Grafana")
	f("key eyJrIjoiT0tTcG1pUlY2 of old", "key <secret> of old")
	f("glc_a,glsa_b;eyJrIjoi.", "<secret>,<secret>;<secret>.")
	f("nothing of glc and eyJhbGciOi is secret", "nothing of glc and eyJhbGciOi is secret")
}

func TestTextIsOnePrintableBoundedLine(t *testing.T) {
	s := secrets{replace: strings.NewReplacer("topsecret", "<secret>"), longest: 9}
	f := func(text, want string) {
		t.Helper()
		if got := s.clean([]byte(text), false); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	f("", "")
	f("  \r\n\t ", "")
	f("two\r\nlines\tand  spaces\n", "two lines and spaces")
	f("bell\a, escape\x1b[31m, null\x00, rtl\u202e, nbsp\u00a0.", "bell , escape [31m, null , rtl , nbsp .")
	f("caf\xc3\xa9 caf\xe9", "café caf?")
	for _, text := range []string{
		strings.Repeat("x", 5000), strings.Repeat("é", 5000), strings.Repeat("日本", 5000), "x" + strings.Repeat("日本", 5000),
		strings.Repeat("x", 995) + "topsecret", strings.Repeat("x", 999) + "topsecret", strings.Repeat("x", 998) + " glc_abcdef",
		strings.Repeat("\xffa", 5000), strings.Repeat("a\n", 5000),
	} {
		got := s.clean([]byte(text), false)
		if len(got) > maxTextBytes || len(got) < maxTextBytes-3 || !utf8.ValidString(got) {
			t.Errorf("%.20q…: %d bytes, valid: %v", text, len(got), utf8.ValidString(got))
		}
		if strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%.20q…: not printable", text)
		}
		if strings.Contains(got, "top") || strings.Contains(got, "glc") {
			t.Errorf("%.20q…: ends in %q", text, got[len(got)-12:])
		}
	}
}

// What is read of an answer ends somewhere; a secret that lies across that end must not show its first half. White space in
// front of it collapses, so that it would come within what is passed on.
func TestASecretIsNotCutInHalf(t *testing.T) {
	for kept := 1; kept < len(token); kept++ {
		srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			io.WriteString(w, "sorry,"+strings.Repeat(" ", maxAnswerBytes-kept-len("sorry,"))+token+" and more")
		})
		u := upstreamAt(t, srv.URL, withHTTP(promconfig.HTTPClientConfig{Authorization: &promconfig.Authorization{Credentials: token}}))
		_, err := send(t, u, "push")
		if e := wantFault(t, err, fault.UpstreamFailed); !strings.HasSuffix(e.Public, ": sorry,") {
			t.Fatalf("%d bytes of the secret before the end: %q", kept, e.Public)
		}
		srv.Close()
	}
}
