package egress

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	promconfig "github.com/prometheus/common/config"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// A gRPC exit is an envelope over net/http's HTTP/2 client and not grpc-go's: that one wants to marshal and to compress by
// itself, where the bytes that came in can leave as they are. A unary call is a prefix of five bytes and a message, there
// and back, and three trailers.
// Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md

// prefixBytes is the length of what stands before a message: one byte for "compressed", four for its length.
const prefixBytes = 5

// A connection that is silent is asked whether it lives, and is given up after pingAfter + pingTimeout: pushes that wait
// on a dead one would else time out one by one for as long as TCP goes on trying. grpc-go servers end a connection, with
// the calls on it, at the fourth ping since they last sent headers or data (keepalive.EnforcementPolicy's default). So one
// that was idle for long enough is closed: what is left until the fourth ping is more than a call may take.
const (
	pingAfter       = 20 * time.Second
	pingTimeout     = 5 * time.Second
	grpcIdleTimeout = 40 * time.Second
)

// maxTrailerBytes bounds what a call's status may take: maxAnswerBytes of text, percent-encoded, and its details.
const maxTrailerBytes = 8 * maxAnswerBytes

// grpcTransport is a client that speaks HTTP/2 alone: by ALPN over TLS, with prior knowledge over plain TCP. It is built
// here because prometheus/common's always offers HTTP/1.1 too and cannot speak HTTP/2 without TLS. All else is as there:
// proxies are those of cfg, never the process's environment unless cfg says so.
func grpcTransport(cfg promconfig.HTTPClientConfig, scheme string) (http.RoundTripper, error) {
	if p := cfg.ProxyURL.URL; scheme == "http" && (cfg.ProxyFromEnvironment || p != nil && strings.HasPrefix(p.Scheme, "http")) {
		return nil, errors.New("gRPC without TLS does not pass an HTTP proxy: use https, or a socks5 proxy_url")
	}
	tlsConfig, err := promconfig.NewTLSConfig(&cfg.TLSConfig)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		Proxy:              cfg.Proxy(),
		ProxyConnectHeader: cfg.GetProxyConnectHeader(),
		DialContext:        dial,
		TLSClientConfig:    tlsConfig, TLSHandshakeTimeout: 10 * time.Second,
		// More connections are opened when the peer's limit of streams is reached, and each may be kept.
		MaxIdleConnsPerHost: 1000, IdleConnTimeout: grpcIdleTimeout,
		DisableCompression: true, MaxResponseHeaderBytes: maxTrailerBytes,
		HTTP2:     &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: pingAfter},
		Protocols: new(http.Protocols),
	}
	if scheme == "https" {
		t.Protocols.SetHTTP2(true)
	} else {
		t.Protocols.SetUnencryptedHTTP2(true)
	}
	var rt http.RoundTripper = t
	if cfg.OAuth2 != nil {
		secret := cfg.OAuth2.ClientSecret
		if cfg.OAuth2.ClientCertificateKey != "" {
			secret = cfg.OAuth2.ClientCertificateKey
		}
		rt = promconfig.NewOAuth2RoundTripper(promconfig.NewInlineSecret(string(secret)), cfg.OAuth2, rt)
	}
	if cfg.HTTPHeaders != nil {
		rt = promconfig.NewHeadersRoundTripper(cfg.HTTPHeaders, rt)
	}
	return rt, nil
}

// call is Send for a gRPC upstream.
func (u *Upstream) call(ctx context.Context, c *credentials, r *Request) (*Response, error) {
	bodies := &bodies{r: r, prefix: make([]byte, prefixBytes)}
	if r.ContentEncoding != "" {
		bodies.prefix[0] = 1
	}
	binary.BigEndian.PutUint32(bodies.prefix[1:], uint32(len(r.Body)))
	for try := 0; ; try++ {
		res, err := c.transport.RoundTrip(u.callRequest(ctx, c, r, bodies))
		if err == nil {
			defer res.Body.Close()
			return u.readCall(ctx, c, res)
		}
		again := try < maxRefusals && bodies.unprocessed(err)
		bodies.close()
		if !again || !pause(ctx, try) {
			return nil, u.noAnswer(ctx, c, err)
		}
	}
}

func (u *Upstream) callRequest(ctx context.Context, c *credentials, r *Request, bodies *bodies) *http.Request {
	if r.Method == "" {
		panic("BUG: a push for the gRPC upstream " + u.Name + " has no Method")
	}
	h := u.header(c, r, bodies)
	h["Content-Type"] = []string{"application/grpc"}
	h["Te"] = []string{"trailers"} // proxies that would lose the status say so, and are then refused
	if r.ContentEncoding != "" {
		h["Grpc-Encoding"] = []string{r.ContentEncoding}
	}
	h["Grpc-Accept-Encoding"] = []string{"gzip"} // grpc-go answers as it was asked, whether or not this allows it
	if d, ok := ctx.Deadline(); ok {
		h["Grpc-Timeout"] = []string{grpcTimeout(time.Until(d))}
	}
	target := *u.url
	target.Path, target.RawPath = r.Method, ""
	// Without GetBody: given it, net/http also sends again what the peer has reset with PROTOCOL_ERROR, at which time it may
	// have been processed (https://go.dev/issue/47635). See unprocessed.
	return (&http.Request{
		Method: http.MethodPost, URL: &target, Host: target.Host, Header: h,
		Proto: "HTTP/2.0", ProtoMajor: 2,
		Body: bodies.open(), ContentLength: int64(prefixBytes + len(r.Body)),
	}).WithContext(ctx)
}

// grpcTimeout writes d as grpc-timeout has it: at most eight digits and a unit. It is rounded up, so that upstream does not
// give up before we do.
func grpcTimeout(d time.Duration) string {
	ms := (max(d, time.Millisecond) + time.Millisecond - 1) / time.Millisecond
	return strconv.FormatInt(int64(min(ms, 99999999)), 10) + "m"
}

// maxRefusals is how often a call is made again that upstream has not looked at: a second or so in all.
const maxRefusals = 8

// unprocessed says whether upstream cannot have processed the call that ended with err. Either its connection was found to
// be closing before a byte of the message was read, and net/http, which closes the body even so, could not go on by itself.
// Or upstream has refused the stream, or its GOAWAY says that the call came too late.
// net/http has no types for these. Should its words change, a sender is asked to try again, which is safe.
func (bs *bodies) unprocessed(err error) bool {
	last := bs.opened[len(bs.opened)-1]
	last.mu.Lock()
	defer last.mu.Unlock()
	if !last.begun && (errors.Is(err, http.ErrBodyReadAfterClose) || err.Error() == "net/http: cannot rewind body after connection loss") {
		return true
	}
	text, ok := strings.CutPrefix(err.Error(), "http2: Transport: cannot retry err [")
	return ok && (strings.HasPrefix(text, "stream error:") && strings.Contains(text, "; REFUSED_STREAM;") ||
		strings.HasPrefix(text, "http2: Transport received Server's graceful shutdown GOAWAY]"))
}

// pause waits before a call is made again: not at all the first time, when another connection will do, then longer and
// longer. It is false when nobody waits for the call any more.
func pause(ctx context.Context, try int) bool {
	if try == 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(fault.About(min(5*time.Millisecond<<try, 250*time.Millisecond)))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// readCall reads the answer to a call. Nothing but a message and the status OK is a success.
func (u *Upstream) readCall(ctx context.Context, c *credentials, res *http.Response) (*Response, error) {
	const limit = prefixBytes + maxSuccessBytes
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return nil, u.noAnswer(ctx, c, fmt.Errorf("read answer: %w", err))
	}
	s := statusOf(res)
	switch {
	case !speaksGRPC(res.Header), s.code == "" && res.StatusCode != http.StatusOK:
		return u.judgeStranger(c, &Response{Status: res.StatusCode, Header: res.Header, Body: body[:min(len(body), maxAnswerBytes)]})
	case len(body) > limit:
		s = callStatus{message: fmt.Sprintf("its message is over %d bytes", maxSuccessBytes)}
	case s.code == "0":
		msg, err := readMessage(body, res.Header.Get("Grpc-Encoding"))
		if err == nil {
			return &Response{Status: http.StatusOK, Body: msg}, nil
		}
		s.message = err.Error()
	}
	return u.judgeCall(ctx, c, s)
}

// readMessage returns the one message of an answer, decompressed.
func readMessage(b []byte, encoding string) ([]byte, error) {
	if len(b) < prefixBytes {
		return nil, errors.New("there is no message in it")
	}
	flag, n, msg := b[0], binary.BigEndian.Uint32(b[1:]), b[prefixBytes:]
	switch {
	case int64(n) != int64(len(msg)):
		return nil, fmt.Errorf("its message has %d bytes and claims %d", len(msg), n)
	case flag == 0:
		return msg, nil
	case flag != 1 || encoding != "gzip":
		return nil, fmt.Errorf("its message has flag %d and encoding %q", flag, encoding)
	}
	z, err := gzip.NewReader(bytes.NewReader(msg))
	if err != nil {
		return nil, fmt.Errorf("decompress its message: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxSuccessBytes+1))
	if err != nil {
		return nil, fmt.Errorf("decompress its message: %w", err)
	}
	if len(plain) > maxSuccessBytes {
		return nil, fmt.Errorf("its message is over %d bytes", maxSuccessBytes)
	}
	return plain, nil
}

// speaksGRPC tells a gRPC answer from that of a proxy on the way.
func speaksGRPC(h http.Header) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(h.Get("Content-Type")), "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// judgeStranger judges an answer that is no gRPC: HTTP's rules hold, but for two.
func (u *Upstream) judgeStranger(c *credentials, r *Response) (*Response, error) {
	switch s := r.Status; {
	case s/100 == 2 && !webPage(r.Header):
		return r, u.failed(fault.UpstreamFailed, c, r, "answered without speaking gRPC, which acknowledges nothing")
	case s == http.StatusBadRequest, s == http.StatusConflict, s == http.StatusUnprocessableEntity:
		// About the data a gRPC server speaks in gRPC. What says this has not understood the call.
		return r, u.failed(fault.Misconfigured, c, r, "does not understand gRPC at its url")
	}
	return r, u.judge(c, r)
}
