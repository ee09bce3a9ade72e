// Package egress carries one push to its upstream and turns what upstream says into a fault. It builds every request
// from an allow-list and sets the upstream's credential; it never follows a redirect, never sees a sender's headers but
// those it is handed, and never sends again within a call what upstream may have looked at: only what did not leave, or what
// upstream itself says that it has not processed (HTTP/2). The road calls it.
package egress

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	promconfig "github.com/prometheus/common/config"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// Options describe an upstream. Credentials in HTTP are inline: who reads files calls Prepare when one changes.
type Options struct {
	Environment, Name string // prod, prometheus
	URL               string
	Headers           map[string]promconfig.Secret
	Timeout           time.Duration
	HTTP              promconfig.HTTPClientConfig
	// UserAgent is appended to the sender's own.
	UserAgent string
	// Quiet keeps upstream's words about the data from senders and logs: they quote label values.
	Quiet bool
	// GRPC: pushes are unary gRPC calls of Request.Method. URL then has no path: https://host:443, http://host:4317.
	GRPC bool
}

// Upstream is one exit of one environment. It is safe for concurrent use.
type Upstream struct {
	Environment, Name string
	Timeout           time.Duration
	url               *url.URL
	headers           []header
	userAgent         string
	grpc              bool
	quiet             bool                        // see Options.Quiet
	credentials       atomic.Pointer[credentials] // swapped whole when a credential or certificate changes
}

// credentials are what depends on secrets: how an upstream is told who we are, and the connections on which it was told.
type credentials struct {
	transport *transport
	// http is what transport was built from.
	http promconfig.HTTPClientConfig
	// authorization is the header's one value; nil where the transport makes its own (oauth2) or there is none.
	authorization []string
	secrets       secrets
}

// header is a configured header line. All pushes share values, which nobody can append to.
type header struct {
	name   string
	values []string
}

// New returns an Upstream. It opens no connection.
func New(o Options) (*Upstream, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("parse url of upstream %s: %w", o.Name, err)
	}
	up := &Upstream{Environment: o.Environment, Name: o.Name, Timeout: o.Timeout, url: u, userAgent: o.UserAgent, grpc: o.GRPC, quiet: o.Quiet}
	if o.GRPC && strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("url of upstream %s has a path, which transport: grpc has no use for: the method is the path", o.Name)
	}
	for n, v := range o.Headers {
		if err := harmless(n); err != nil {
			return nil, fmt.Errorf("headers of upstream %s: %w", o.Name, err)
		}
		up.headers = append(up.headers, header{http.CanonicalHeaderKey(n), []string{string(v)}})
	}
	use, err := up.Prepare(o.HTTP)
	if err != nil {
		return nil, err
	}
	use()
	return up, nil
}

// Prepare builds what new credentials or certificates need and returns the func that puts them to use. Requests under
// way finish with the old ones. Connections are kept when only basic_auth or authorization differ.
func (u *Upstream) Prepare(cfg promconfig.HTTPClientConfig) (use func(), err error) {
	if cfg.HTTPHeaders != nil {
		for n := range cfg.HTTPHeaders.Headers {
			if err := harmless(n); err != nil {
				return nil, fmt.Errorf("http_headers of upstream %s: %w", u.Name, err)
			}
		}
	}
	c := &credentials{secrets: u.secretsOf(cfg)}
	if value := authorization(cfg); value != "" {
		c.authorization = []string{value}
	}
	// The header is set by us, once a change and not once a push; the rest is the library's.
	cfg.BasicAuth, cfg.Authorization, cfg.BearerToken = nil, nil, ""
	cfg.FollowRedirects = false
	c.http = cfg
	old := u.credentials.Load()
	if old != nil && reflect.DeepEqual(old.http, cfg) {
		c.transport = old.transport
		return func() { u.credentials.Store(c) }, nil
	}
	var rt http.RoundTripper
	if u.grpc {
		rt, err = grpcTransport(cfg, u.url.Scheme)
	} else {
		rt, err = httpTransport(cfg, u.Environment+"/"+u.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("http client of upstream %s: %w", u.Name, err)
	}
	c.transport = &transport{RoundTripper: rt}
	return func() {
		u.credentials.Store(c)
		if old != nil {
			old.transport.retire()
		}
	}, nil
}

// httpTransport is the library's client.
func httpTransport(cfg promconfig.HTTPClientConfig, name string) (http.RoundTripper, error) {
	rt, err := promconfig.NewRoundTripperFromConfig(cfg, name,
		promconfig.WithDialContextFunc(dial), promconfig.WithIdleConnTimeout(90*time.Second))
	// Where nothing has to be added to requests the library returns its transport as it is. It dials through a wrapper then
	// that counts connections, which nobody reads here, and that would hide what a conn can do.
	if t, ok := rt.(*http.Transport); ok {
		useConns(t, cfg.EnableHTTP2)
	}
	return rt, err
}

// dial gives up by itself: net/http lets go of a dial when the push that wanted it is over, and an upstream that swallows
// packets would collect one socket a push for as long as the kernel goes on trying.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext(ctx, network, address)
}

// Close closes all connections as soon as no push uses one. Pushes that come all the same are still sent.
func (u *Upstream) Close() { u.credentials.Load().transport.retire() }

// URL is where pushes go, without anything secret.
func (u *Upstream) URL() string { return u.url.Redacted() }

// harmless refuses the headers that tell the transport that it may send a push twice.
func harmless(name string) error {
	switch n := http.CanonicalHeaderKey(name); n {
	case "Idempotency-Key", "X-Idempotency-Key":
		return fmt.Errorf("%s would let a push be sent twice", n)
	}
	return nil
}

func authorization(cfg promconfig.HTTPClientConfig) string {
	switch {
	case cfg.BasicAuth != nil:
		pair := cfg.BasicAuth.Username + ":" + string(cfg.BasicAuth.Password)
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
	case cfg.Authorization != nil:
		kind := cfg.Authorization.Type
		if kind == "" {
			kind = "Bearer"
		}
		return strings.TrimSpace(kind + " " + string(cfg.Authorization.Credentials))
	case cfg.BearerToken != "":
		return "Bearer " + string(cfg.BearerToken)
	}
	return ""
}

// Request is a push on its way out.
type Request struct {
	// Path is appended to the upstream's url, if that is not gRPC.
	Path string
	// Method is called if the upstream is gRPC: /opentelemetry.proto.collector.trace.v1.TraceService/Export.
	Method          string
	ContentType     string
	ContentEncoding string // empty: none
	// UserAgent and RetryAttempt are the sender's own; empty: it sent none.
	UserAgent    string
	RetryAttempt string
	// Header are the lines that the form demands.
	Header []HeaderField
	Body   []byte
	// Text returns upstream's words in the body of a refusal. Nil: the body is the text.
	Text func(h http.Header, body []byte) []byte
	// Hold and Release frame the time in which the transport may read Body, which can end after the answer.
	Hold, Release func()
}

// HeaderField is one header line.
type HeaderField struct{ Name, Value string }

// Response is upstream's answer to a push.
type Response struct {
	// Status of a gRPC answer is the HTTP status of the same meaning, and it has no Header.
	Status int
	Header http.Header
	// Body is at most maxAnswerBytes of it; of a gRPC answer it is the message alone, decompressed.
	Body []byte
	// Later: upstream has said that it cannot take the push for now, and so has not taken it.
	Later bool
	text  func(h http.Header, body []byte) []byte // Request.Text
}

// maxAnswerBytes bounds what is read of a refusal: one line, or a page. A success may be as long as OTLP allows: cut, it
// would be none, and the push would be sent and stored again.
const (
	maxAnswerBytes  = 64 << 10
	maxSuccessBytes = 4 << 20
)

// Send posts r. On any HTTP answer the Response is returned, with a fault when it is not a success.
// ctx ends the call when the sender goes away; the caller sets the deadline.
func (u *Upstream) Send(ctx context.Context, r *Request) (*Response, error) {
	c := u.credentials.Load()
	c.transport.enter()
	defer c.transport.leave()
	if u.grpc {
		return u.call(ctx, c, r)
	}
	bodies := &bodies{r: r}
	res, err := c.transport.RoundTrip(u.request(ctx, c, r, bodies))
	if err != nil {
		// Not every round tripper on the way closes the body when it fails (prometheus/common does not where a file of
		// tls_config, oauth2 or http_headers cannot be read): the buffer would never go back.
		bodies.close()
		return nil, u.noAnswer(ctx, c, err)
	}
	defer res.Body.Close()
	bodies.settle()
	body, err := readAnswer(res)
	if err != nil {
		// The status is known, but not whether what was said after it mattered (partial success): not an answer.
		return nil, u.noAnswer(ctx, c, fmt.Errorf("read answer: %w", err))
	}
	out := &Response{Status: res.StatusCode, Header: res.Header, Body: body, text: r.Text}
	return out, u.judge(c, out)
}

// readAnswer reads what follows the headers of an answer.
func readAnswer(res *http.Response) ([]byte, error) {
	limit := int64(maxAnswerBytes)
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols:
		return nil, nil // what follows is another protocol and has no end, and no deadline reaches it
	case res.Body == http.NoBody:
		return nil, nil
	case res.StatusCode/100 == 2:
		limit = maxSuccessBytes
	}
	return io.ReadAll(io.LimitReader(res.Body, limit))
}

func (u *Upstream) request(ctx context.Context, c *credentials, r *Request, bodies *bodies) *http.Request {
	h := u.header(c, r, bodies)
	h["Content-Type"] = bodies.value(r.ContentType)
	if r.ContentEncoding != "" {
		h["Content-Encoding"] = bodies.value(r.ContentEncoding)
	}
	if len(r.Body) > 0 && h["Expect"] == nil { // who sends that wants to wait with the body
		ctx = bodies.announcing(ctx)
	}
	req := (&http.Request{
		Method: http.MethodPost, URL: u.target(r.Path), Host: u.url.Host, Header: h,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: int64(len(r.Body)),
	}).WithContext(ctx)
	// A body of no bytes is none: the transport would wait for its first byte and then send it in chunks.
	req.Body = http.NoBody
	if len(r.Body) > 0 {
		// GetBody lets the transport use another connection when not one byte went out on a stale one, or when the peer
		// says that it has not looked at the stream (HTTP/2). It replays nothing else: a POST without Idempotency-Key is
		// not replayable (net/http, Request.isReplayable).
		req.Body, req.GetBody = bodies.open(), func() (io.ReadCloser, error) { return bodies.open(), nil }
	}
	return req
}

// target is where a push goes whose form appends path to the url.
func (u *Upstream) target(path string) *url.URL {
	if path == "" {
		return u.url // net/http only reads it
	}
	target := *u.url
	target.Path = strings.TrimSuffix(target.Path, "/") + path
	if target.RawPath != "" {
		target.RawPath = strings.TrimSuffix(target.RawPath, "/") + path
	}
	return &target
}

// header is what HTTP and gRPC have in common.
func (u *Upstream) header(c *credentials, r *Request, bodies *bodies) http.Header {
	h := make(http.Header, maxOwnHeaders+len(r.Header)+len(u.headers))
	agent := u.userAgent
	if r.UserAgent != "" {
		agent = strings.TrimSpace(r.UserAgent + " " + agent)
	}
	h["User-Agent"] = bodies.value(agent)
	if r.RetryAttempt != "" {
		h["Retry-Attempt"] = bodies.value(r.RetryAttempt)
	}
	for _, f := range r.Header {
		h[f.Name] = bodies.value(f.Value)
	}
	for _, f := range u.headers {
		h[f.name] = f.values
	}
	if c.authorization != nil {
		h["Authorization"] = c.authorization
	}
	return h
}

// maxOwnHeaders is how many headers request and header set at most, besides those of Request.Header and the configured.
const maxOwnHeaders = 5

// bodies are the readers of one push, one for each connection that was tried, and what else lives as long as its request.
type bodies struct {
	r *Request
	// prefix is read before r.Body.
	prefix []byte
	opened []*body
	trace  httptrace.ClientTrace // see announcing

	// Room for what nearly every push needs, so that one allocation does: a first reader, and the values of its headers.
	first  body
	room   [1]*body
	values [maxOwnHeaders + 1]string
	used   int // of values
}

// value returns s as the one value of a header.
func (bs *bodies) value(s string) []string {
	if bs.used == len(bs.values) {
		return []string{s}
	}
	bs.values[bs.used] = s
	bs.used++
	return bs.values[bs.used-1 : bs.used : bs.used]
}

func (bs *bodies) open() *body {
	if bs.r.Hold != nil {
		bs.r.Hold()
	}
	var b *body
	if bs.opened == nil {
		b, bs.opened = &bs.first, bs.room[:0]
	} else {
		b = new(body)
	}
	b.prefix, b.rest, b.hold, b.release = bs.prefix, bs.r.Body, bs.r.Hold, bs.r.Release
	bs.opened = append(bs.opened, b)
	return b
}

// settle closes all readers but the one in use: net/http forgets one that it has opened for an HTTP/2 connection which it
// then did not find.
func (bs *bodies) settle() {
	for i := 0; i < len(bs.opened)-1; i++ {
		_ = bs.opened[i].Close()
	}
}

func (bs *bodies) close() {
	for _, b := range bs.opened {
		_ = b.Close()
	}
}

// body is a request body that says when the transport is done with it.
type body struct {
	hold, release func() // may be nil

	mu     sync.Mutex // guards what follows: a transport that gives up closes the body while its writer may be reading
	prefix []byte
	rest   []byte
	closed bool
	begun  bool // a byte was read
}

// Read copies under the lock: once Close has returned, the bytes belong to another push.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	if len(b.prefix)+len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.prefix)
	m := copy(p[n:], b.rest)
	b.prefix, b.rest = b.prefix[n:], b.rest[m:]
	b.begun = b.begun || n+m > 0
	return n + m, nil
}

// lend hands out all that is left, to be written as it is. It stays whole until giveBack, also if the body is closed
// meanwhile: a write that blocks must not block who gives up. ok is false for a body that was closed before.
func (b *body) lend() (prefix, rest []byte, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, nil, false
	}
	if b.hold != nil {
		b.hold()
	}
	prefix, rest = b.prefix, b.rest
	b.prefix, b.rest, b.begun = nil, nil, true
	return prefix, rest, true
}

func (b *body) giveBack() {
	if b.release != nil {
		b.release()
	}
}

func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed, b.rest = true, nil
		if b.release != nil {
			b.release()
		}
	}
	return nil
}

// faultf returns a fault whose public text names the environment and the upstream.
func (u *Upstream) faultf(k fault.Kind, format string, args ...any) *fault.Error {
	return fault.New(k, "environment %s: upstream %s %s", u.Environment, u.Name, fmt.Sprintf(format, args...))
}
