package egress

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	promconfig "github.com/prometheus/common/config"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

const (
	maxTextBytes       = 1000 // of upstream's own words that a sender gets to read
	maxRetryAfter      = 120 * time.Second
	retryFailed        = 5 * time.Second  // upstream failed and did not say when to come back
	retryMisconfigured = 30 * time.Second // somebody has to mend our configuration first
)

// judge says whether r is a success, and if not, whose fault it is and what the sender should do.
func (u *Upstream) judge(c *credentials, r *Response) error {
	switch s := r.Status; {
	case s/100 == 2:
		// A login page or a captive portal answers 200 too. Nothing was stored.
		if webPage(r.Header) {
			return u.failed(fault.UpstreamFailed, c, r, "answered with a web page, which acknowledges nothing")
		}
		return nil
	case s == http.StatusBadRequest, s == http.StatusConflict, s == http.StatusRequestEntityTooLarge, s == http.StatusUnprocessableEntity:
		e := u.failed(fault.Rejected, c, r, "refused the data")
		e.Status, e.After = s, 0
		return e
	case s == http.StatusTooManyRequests:
		return u.failed(fault.RateLimited, c, r, "is over its own limit")
	case s/100 == 5:
		r.Later = s == http.StatusBadGateway || s == http.StatusServiceUnavailable
		return u.failed(fault.UpstreamFailed, c, r, "failed")
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		return u.failed(fault.Misconfigured, c, r, "refuses the credential of the gateway")
	case s/100 == 3:
		return u.failed(fault.Misconfigured, c, r, "redirects, which is never followed: its url is wrong")
	}
	return u.failed(fault.Misconfigured, c, r, "does not take pushes at its url")
}

func (u *Upstream) failed(k fault.Kind, c *credentials, r *Response, what string) *fault.Error {
	after := retryFailed
	if k == fault.Misconfigured {
		after = retryMisconfigured
	}
	e := u.faultf(k, "%s (HTTP %d)", what, r.Status)
	body, page := r.Body, webPage(r.Header)
	if r.text != nil && !page {
		body = r.text(r.Header, r.Body)
	}
	words := c.secrets.clean(body, len(r.Body) == maxAnswerBytes)
	if u.quiet && k == fault.Rejected {
		words = "" // they quote what is wrong with which series
	}
	quote(e, words, page)
	e.Upstream = r.Status
	return e.WithAfter(retryAfter(r.Header, after, time.Now()))
}

// quote adds upstream's own words to e. Those of an upstream that refuses us are for the operator, and so is a web page;
// those about the data are for who sent it.
func quote(e *fault.Error, text string, page bool) {
	switch {
	case text == "":
	case e.Kind == fault.Misconfigured, page:
		e.Err = errors.New(text)
	default:
		e.Public += ": " + text
	}
}

func webPage(h http.Header) bool {
	t, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return t == "text/html"
}

// noAnswer names why there is no HTTP answer.
func (u *Upstream) noAnswer(ctx context.Context, c *credentials, err error) error {
	logged := errors.New(c.secrets.clean([]byte(err.Error()), false))
	over(ctx)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return u.faultf(fault.Timeout, "did not answer in time, timeout=%s", u.Timeout).WithErr(logged).WithAfter(fault.About(retryFailed))
	case ctx.Err() != nil:
		return u.faultf(fault.Canceled, "was not waited for: the sender went away").WithErr(logged)
	}
	return u.faultf(fault.Unreachable, "gave no HTTP answer: %s", cause(err)).WithErr(logged).WithAfter(fault.About(retryFailed))
}

// over says whether nobody waits for the push any more. A gRPC upstream is told of the deadline, and what it does then can
// be here before our own timer has fired: that is waited for.
func over(ctx context.Context) bool {
	if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) {
		<-ctx.Done()
	}
	return ctx.Err() != nil
}

// cause is a short name for err that holds no address and no secret.
func cause(err error) string {
	var dns *net.DNSError
	var op *net.OpError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	switch {
	case errors.As(err, &dns):
		return "its host name does not resolve"
	case errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &invalid), errors.As(err, &record), errors.As(err, &alert):
		return "TLS failed"
	case errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error"):
		return "TLS failed" // crypto/tls marks alerts so; their own type is not exported
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed before the answer was whole"
	case errors.As(err, &op) && op.Op == "dial":
		return "no connection"
	}
	return "connection failed"
}

// retryAfter is upstream's own wish, in whole seconds and bounded; without one it is about otherwise.
func retryAfter(h http.Header, otherwise time.Duration, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	d := time.Duration(0)
	if s, err := strconv.ParseFloat(v, 64); err == nil && s >= 0 {
		d = time.Duration(min(s, maxRetryAfter.Seconds()) * float64(time.Second))
	} else if t, err := http.ParseTime(v); err == nil {
		d = t.Sub(now)
	} else {
		return fault.About(otherwise)
	}
	return wholeSeconds(d)
}

// wholeSeconds is d as Retry-After says it. It is rounded up: a second too early is a second refusal. It is bounded before
// it is rounded: a date can be centuries away.
func wholeSeconds(d time.Duration) time.Duration {
	d = min(max(d, time.Second), maxRetryAfter)
	return (d + time.Second - 1).Truncate(time.Second)
}

// Clean makes words of upstream that came in an answer fit for a sender and a log.
func (u *Upstream) Clean(text string) string {
	if u.quiet || text == "" {
		return ""
	}
	return u.credentials.Load().secrets.clean([]byte(text), false)
}

// tokenShapes are Grafana Cloud's: access policy tokens, service account tokens, old API keys.
var tokenShapes = regexp.MustCompile(`gl(?:c|sa)_[A-Za-z0-9+/=_-]+|eyJrIjoi[A-Za-z0-9+/=_-]*`)

// authorizations are Authorization values, also those that we never held: an access token of oauth2 is the library's.
var authorizations = regexp.MustCompile(`(?i)\b(bearer|basic) +[A-Za-z0-9+/=._~-]{16,}`)

// secrets are what must not come back in upstream's text.
type secrets struct {
	replace *strings.Replacer
	longest int // bytes of the longest
}

// clean makes text of upstream fit for a sender and a log: known secrets and token shapes out, one printable line, bounded.
// cut says that text goes on where we stopped reading: its end may be the first half of a secret, which nothing would
// recognise, so as much as the longest secret has is left out. (Half a token still has a token's shape.)
func (s secrets) clean(text []byte, cut bool) string {
	if cut {
		text = text[:max(0, len(text)-s.longest)]
	}
	// Secrets first: one that is no UTF-8 is not found after mending.
	t := strings.ToValidUTF8(s.replace.Replace(string(text)), "?")
	t = tokenShapes.ReplaceAllString(t, "<secret>")
	t = authorizations.ReplaceAllString(t, "$1 <secret>")
	t = strings.Join(strings.FieldsFunc(t, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if len(t) > maxTextBytes {
		end := maxTextBytes
		for !utf8.RuneStart(t[end]) {
			end--
		}
		t = t[:end]
	}
	return t
}

// secretsOf lists the secrets of cfg and the configured headers. What is shorter than four bytes would tear ordinary words.
// Each is known as it is and as JSON, a URL and HTML would write it.
func (u *Upstream) secretsOf(cfg promconfig.HTTPClientConfig) secrets {
	var known []string
	add := func(values ...string) {
		for _, s := range values {
			if len(s) >= 4 {
				inJSON, _ := json.Marshal(s) // of a string: cannot fail
				inGo := strconv.Quote(s)
				known = append(known, s, string(inJSON[1:len(inJSON)-1]), inGo[1:len(inGo)-1],
					url.QueryEscape(s), url.PathEscape(s), html.EscapeString(s))
			}
		}
	}
	if a := cfg.BasicAuth; a != nil {
		add(string(a.Password), base64.StdEncoding.EncodeToString([]byte(a.Username+":"+string(a.Password))))
	}
	if cfg.Authorization != nil {
		add(string(cfg.Authorization.Credentials))
	}
	if cfg.OAuth2 != nil {
		o := cfg.OAuth2
		add(string(o.ClientSecret), string(o.ClientCertificateKey), base64.StdEncoding.EncodeToString([]byte(o.ClientID+":"+string(o.ClientSecret))))
		for _, v := range o.EndpointParams {
			add(v)
		}
	}
	if cfg.ProxyURL.URL != nil {
		if p, ok := cfg.ProxyURL.User.Password(); ok {
			add(p)
		}
	}
	if cfg.HTTPHeaders != nil {
		for _, h := range cfg.HTTPHeaders.Headers {
			for _, s := range h.Secrets {
				add(string(s))
			}
		}
	}
	for _, values := range cfg.ProxyConnectHeader {
		for _, v := range values {
			add(string(v))
		}
	}
	add(string(cfg.BearerToken))
	for _, h := range u.headers {
		add(h.values...)
	}
	// The longest first: a secret that holds another must not leave its rest behind.
	slices.SortFunc(known, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	known = slices.Compact(known)
	out := secrets{}
	pairs := make([]string, 0, 2*len(known))
	for _, s := range known {
		out.longest = max(out.longest, len(s))
		pairs = append(pairs, s, "<secret>")
	}
	out.replace = strings.NewReplacer(pairs...)
	return out
}
