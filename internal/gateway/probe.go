package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/internal/egress"
	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/secret"
)

// ProbeResult is what one upstream says to an empty push.
type ProbeResult struct {
	Environment, Upstream string
	URL, User             string
	OK                    bool
	Text                  string
}

// String is the result on one line.
func (r ProbeResult) String() string {
	word := "ok     "
	if !r.OK {
		word = "FAILED "
	}
	return fmt.Sprintf("%s %s/%s %s user %q: %s", word, r.Environment, r.Upstream, r.URL, r.User, r.Text)
}

// Probe sends an empty push to every upstream of cfg, once for each form it is there for. It fails only where cfg cannot
// be compiled; what upstreams say is in the results.
func Probe(ctx context.Context, cfg *config.Config, version string) ([]ProbeResult, error) {
	g := &Gateway{version: version, books: newLedger(), secrets: secret.New(slog.New(slog.DiscardHandler))}
	st, err := g.compile(cfg, nil)
	if err != nil {
		return nil, err
	}
	var results []ProbeResult
	for _, env := range sortedKeys(st.environments) {
		st.cfg.Environments[env].Upstreams.Each(func(name string, _ *config.Upstream) {
			x := st.environments[env].exits[name]
			for _, f := range formsOf(name) {
				results = append(results, g.probe(ctx, x, f))
			}
			x.Close()
		})
	}
	return results, nil
}

// formsOf are the forms in which pushes leave by the upstream called name; of several versions the first.
func formsOf(name string) (forms []*ingest.Form) {
	seen := make(map[string]bool)
	for _, p := range protocols {
		f := p.Forms[len(p.Forms)-1]
		if p.Exits[0] != name && p.Exits[len(p.Exits)-1] != name || seen[f.Path] {
			continue
		}
		seen[f.Path] = true
		forms = append(forms, f)
	}
	return forms
}

func (g *Gateway) probe(ctx context.Context, x *exit, f *ingest.Form) ProbeResult {
	r := ProbeResult{Environment: x.Environment, Upstream: x.Name, URL: x.URL() + f.Path}
	if a := x.cfg.HTTPClientConfig.BasicAuth; a != nil {
		r.User = a.Username
	}
	ctx, cancel := context.WithTimeout(ctx, x.Timeout)
	defer cancel()
	codec := x.codec(f, nil)
	body, err := g.pool.Compress(nil, codec, func(int) *fault.Error { return nil })
	if err != nil {
		r.Text = err.Error()
		return r
	}
	req := &egress.Request{Path: f.Path, ContentType: f.ContentType, ContentEncoding: encoding(codec)}
	if body != nil {
		req.Body = body.B
	}
	for _, h := range f.Header {
		req.Header = append(req.Header, egress.HeaderField(h))
	}
	began := time.Now()
	res, err := x.Send(ctx, req)
	took := time.Since(began).Round(time.Millisecond)
	if res == nil {
		e := fault.From(err)
		r.Text = fmt.Sprintf("%s (%v, after %s)", e.Public, e.Err, took)
		return r
	}
	r.OK, r.Text = verdict(res, err)
	r.Text += fmt.Sprintf(" (HTTP %d, %s)", res.Status, took)
	return r
}

// verdict says what an answer to an empty push means.
func verdict(res *egress.Response, err error) (ok bool, text string) {
	switch s := res.Status; {
	case s/100 == 2 && err == nil:
		return true, "takes pushes"
	case s == http.StatusBadRequest, s == http.StatusUnprocessableEntity:
		// Loki has no use for a push without streams; that it says so means that it knows us.
		return true, "knows the credential; an empty push is refused, as some do"
	case s == http.StatusTooManyRequests:
		return true, "knows the credential, and is over its limit"
	case s == http.StatusUnauthorized:
		return false, "refuses the credential: check basic_auth.username (the instance id of this signal) and the token"
	case s == http.StatusForbidden:
		return false, "knows the credential but the token lacks the scope for this signal, or belongs to another realm"
	case s == http.StatusNotFound, s == http.StatusMethodNotAllowed:
		return false, "takes no pushes at this path: check url"
	case s/100 == 3:
		to := "elsewhere"
		if u, e := url.Parse(res.Header.Get("Location")); e == nil && u.Host != "" {
			to = "to " + u.Scheme + "://" + u.Host + u.Path
		}
		return false, "redirects " + to + ", which is never followed: check url"
	case s/100 == 2:
		return false, "answers with a web page: check url"
	}
	return false, "failed"
}
