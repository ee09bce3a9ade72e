package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/internal/egress"
	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// ProbeResult is what one upstream says to an empty push.
type ProbeResult struct {
	Environment, Upstream string
	URL                   string
	// As is who the gateway is to upstream, without anything secret: user 53715.
	As   string
	OK   bool
	Text string
}

// String is the result on one line.
func (r ProbeResult) String() string {
	word := "ok    "
	if !r.OK {
		word = "FAILED"
	}
	return fmt.Sprintf("%s %s/%s %s as %s: %s", word, r.Environment, r.Upstream, r.URL, r.As, r.Text)
}

// Probe sends an empty push to every upstream of cfg, once for each signal that leaves by it, all at the same time: an
// upstream that does not answer takes its whole timeout. It fails only where cfg cannot be compiled; what upstreams say
// is in the results.
func Probe(ctx context.Context, cfg *config.Config, version string) ([]ProbeResult, error) {
	g, err := New(cfg, Options{Log: slog.New(slog.DiscardHandler), Version: version})
	if err != nil {
		return nil, err
	}
	st := g.state.Load()
	var all sync.WaitGroup
	var results []*ProbeResult
	for _, name := range sortedKeys(st.environments) {
		env := st.environments[name]
		cfg.Environments[name].Upstreams.Each(func(exit string, _ *config.Upstream) {
			for _, f := range env.forms(exit) {
				r := new(ProbeResult)
				results = append(results, r)
				all.Go(func() { *r = g.probe(ctx, env.exits[exit], f) })
			}
		})
	}
	all.Wait()
	list := make([]ProbeResult, len(results))
	for i, r := range results {
		list[i] = *r
	}
	for _, env := range st.environments {
		for _, x := range env.exits {
			x.Close()
		}
	}
	return list, nil
}

// forms are the forms in which pushes leave by the upstream called name, one for each path. Signals that leave by
// another upstream of the environment (traces, where it has tempo) are not asked for. Of remote_write's versions it is
// the first, which every upstream takes, unless the second is forced.
func (e *environment) forms(name string) (forms []*ingest.Form) {
	seen := make(map[string]bool)
	for _, p := range protocols {
		x, err := e.exit(p)
		if err != nil || x.Name != name {
			continue
		}
		f := p.Forms[len(p.Forms)-1]
		if x.cfg.RemoteWriteVersion == "2" {
			f = formOf(p, 2)
		}
		if !seen[f.Path] {
			seen[f.Path] = true
			forms = append(forms, f)
		}
	}
	return forms
}

func (g *Gateway) probe(ctx context.Context, x *exit, f *ingest.Form) ProbeResult {
	r := ProbeResult{Environment: x.Environment, Upstream: x.Name, URL: x.URL(), As: x.identity()}
	if x.cfg.Transport == "grpc" {
		r.URL = strings.TrimSuffix(r.URL, "/") + f.Method
	} else if f.Path != "" {
		r.URL = strings.TrimSuffix(r.URL, "/") + f.Path
	}
	ctx, cancel := context.WithTimeout(ctx, x.Timeout)
	defer cancel()
	codec := x.codec(f, nil)
	body, err := g.pool.Compress(nil, codec, func(int) *fault.Error { return nil })
	if err != nil {
		r.Text = err.Error()
		return r
	}
	req := request(f, codec, nil)
	if body != nil {
		req.Body = body.B
	}
	began := time.Now()
	res, err := x.Send(ctx, req)
	took := time.Since(began).Round(time.Millisecond)
	if res == nil {
		e := fault.From(err)
		r.Text = fmt.Sprintf("%s (%v, after %s)", x.silence(e), e.Err, took)
		return r
	}
	r.OK, r.Text = x.verdict(res, err)
	r.Text += fmt.Sprintf(" (HTTP %d, %s)", res.Status, took)
	return r
}

// identity says who the gateway is to upstream.
func (x *exit) identity() string {
	switch c := x.cfg.HTTPClientConfig; {
	case c.BasicAuth != nil && c.BasicAuth.Username == "":
		return "the user of username_file"
	case c.BasicAuth != nil:
		return fmt.Sprintf("user %q", c.BasicAuth.Username)
	case c.Authorization != nil, c.BearerToken != "", c.BearerTokenFile != "":
		return "bearer of a token"
	case c.OAuth2 != nil:
		return "oauth2 client"
	case c.TLSConfig.CertFile != "", c.TLSConfig.Cert != "":
		return "owner of a certificate"
	case len(x.cfg.Headers) > 0 || c.HTTPHeaders != nil:
		return "nobody but for configured headers"
	}
	return "nobody"
}

// silence says why there was no HTTP answer, and what to check.
func (x *exit) silence(e *fault.Error) string {
	what, _ := strings.CutPrefix(e.Public, "environment "+x.Environment+": upstream "+x.Name+" ")
	switch {
	case e.Kind == fault.Canceled:
		return "was not waited for" // here that is no sender's doing
	case e.Err == nil, e.Kind != fault.Unreachable:
		return what
	}
	switch why := e.Err.Error(); {
	case strings.Contains(why, "proxyconnect"), x.proxyRefused(why):
		// Whatever is wrong, it is wrong between us and the proxy.
		return "was not asked, for the proxy gives no way to it; check proxy_url"
	case strings.Contains(why, "server gave HTTP response to HTTPS client"), strings.Contains(why, "does not look like a TLS handshake"):
		return "speaks plain http at this port; check https and the port in url"
	case strings.Contains(why, "x509: "), strings.Contains(why, "certificate"):
		return what + "; check the host in url, and tls_config (ca_file, server_name)"
	case strings.HasPrefix(x.URL(), "http:") && !strings.Contains(why, "dial "):
		// Many servers that expect TLS hang up.
		return what + "; check whether url needs https"
	}
	return what + "; check url"
}

// proxyRefused says whether why is what net/http makes of a proxy that answers CONNECT with an error: its status, in
// words and alone.
func (x *exit) proxyRefused(why string) bool {
	c := x.cfg.HTTPClientConfig
	if c.ProxyURL.URL == nil && !c.ProxyFromEnvironment {
		return false
	}
	for status := 300; status < 600; status++ {
		if why != "" && why == http.StatusText(status) {
			return true
		}
	}
	return false
}

// verdict says what an answer to an empty push means, and quotes upstream where that helps.
func (x *exit) verdict(res *egress.Response, err error) (ok bool, text string) {
	ok, text = x.meaning(res, err)
	if said := x.said(err); !ok && said != "" && !strings.Contains(res.Header.Get("Content-Type"), "html") {
		text += "; it says: " + said
	}
	return ok, text
}

func (x *exit) meaning(res *egress.Response, err error) (ok bool, text string) {
	switch s := res.Status; {
	case s/100 == 2 && err == nil:
		return true, "takes pushes"
	case s == http.StatusBadRequest && spokenToInPlain(res):
		return false, "wants TLS at this port; check whether url needs https"
	case s == http.StatusBadRequest && strings.Contains(res.Header.Get("Content-Type"), "html"):
		return false, "answers with a web page; check url"
	case s == http.StatusBadRequest, s == http.StatusUnprocessableEntity:
		// Loki has no use for a push without streams; that it says so means that it knows us.
		return true, "knows the credential; it refuses the push only because it is empty"
	case s == http.StatusTooManyRequests:
		return true, "knows the credential, and is over its limit"
	case s == http.StatusUnauthorized:
		return false, "refuses the credential; check basic_auth.username (the instance id of this signal) and the token"
	case s == http.StatusForbidden:
		return false, "knows the credential but the token lacks the scope for this signal, or belongs to another realm"
	case s == http.StatusNotFound, s == http.StatusMethodNotAllowed:
		return false, "takes no pushes at this path; check url"
	case s == http.StatusProxyAuthRequired:
		return false, "was not asked, the proxy wants credentials; check proxy_url"
	case s/100 == 3:
		return false, "redirects to " + x.target(res) + ", which is never followed; check url"
	case s/100 == 2:
		return false, "answers with a web page; check url"
	}
	return false, "failed"
}

// spokenToInPlain: servers that expect TLS answer 400 to plain http, each in its own words, before they look at anything.
func spokenToInPlain(res *egress.Response) bool {
	return strings.Contains(string(res.Body), "HTTPS")
}

// target is where res redirects to: without its query, which may hold what nobody should see, and in one printable line.
func (x *exit) target(res *egress.Response) string {
	from, err := url.Parse(x.URL())
	if err != nil {
		panic("BUG: an upstream has a url that does not parse: " + err.Error())
	}
	to, err := from.Parse(res.Header.Get("Location"))
	if err != nil || to.Host == "" {
		return "nowhere"
	}
	shown := url.URL{Scheme: to.Scheme, Host: to.Host}
	if path := to.EscapedPath(); len(path) < 100 {
		return shown.String() + path
	}
	return shown.String()
}

// said are upstream's own words about a refusal, as egress has cleaned them.
func (x *exit) said(err error) string {
	var e *fault.Error
	if !errors.As(err, &e) {
		return ""
	}
	said := ""
	if e.Err != nil {
		said = e.Err.Error()
	} else if _, after, found := strings.Cut(e.Public, fmt.Sprintf("(HTTP %d): ", e.Upstream)); found {
		said = after
	}
	if len(said) > 200 {
		said = strings.ToValidUTF8(said[:200], "") + "..."
	}
	return said
}
