package config

import (
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	promconfig "github.com/prometheus/common/config"
	"golang.org/x/net/http/httpguts"

	"github.com/telemetry-gateway/telemetry-gateway/internal/secret"
)

// belongs lists the keys that not every exit has.
var belongs = map[string][]string{
	"remote_write_version": {"prometheus"},
	"compression":          {"otlp", "tempo"},
	"transport":            {"otlp", "tempo"},
}

func (v *validator) upstream(at, name string, u *Upstream) {
	for _, k := range slices.Sorted(maps.Keys(belongs)) {
		if exits := belongs[k]; v.has(at+"."+k) && !slices.Contains(exits, name) {
			v.refuse(at+"."+k, "does not apply to %s, only to %s; take it out", name, strings.Join(exits, " and "))
		}
	}
	u.setDefaults(name)
	if k := at + ".enable_http2"; u.Transport == "grpc" && v.has(k) {
		v.refuse(k, "makes no sense with transport: grpc, which is always HTTP/2; take it out")
	}
	if v.has(at+".timeout") && time.Duration(u.Timeout) >= time.Duration(v.c.Server.RequestTimeout) {
		v.warn(at+".timeout", "%s is not below server.request_timeout, %s, which will end the push first",
			v.show(at+".timeout", u.Timeout), v.show("server.request_timeout", v.c.Server.RequestTimeout))
	}
	v.upstreamURL(at+".url", name, u)
	v.headers(at, u)
	v.httpClient(at, u)
}

func (v *validator) upstreamURL(at, name string, u *Upstream) {
	if u.URL == "" {
		v.lacks(parent(at), []string{"url"}, "needs a url")
		return
	}
	parsed, err := url.Parse(u.URL)
	switch {
	// The URL is never quoted: the most likely mistake is a password in it.
	case err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Hostname() == "":
		v.refuse(at, "wants a whole URL, https://host/path or http://host/path")
		return
	case parsed.User != nil:
		v.refuse(at, "credentials do not belong into a URL, where logs would show them; use basic_auth or authorization")
	case parsed.RawQuery != "" || parsed.ForceQuery || parsed.Fragment != "":
		v.refuse(at, "a push carries no query string and no fragment; take away what follows ? or #")
	case parsed.Port() != "" && !validPort(parsed.Port()):
		v.refuse(at, "the port is not between 1 and 65535")
	case u.Transport == "grpc" && strings.Trim(parsed.Path, "/") != "":
		v.refuse(at, "with transport: grpc a url has no path, since the method is the path; write https://host:443, or transport: http")
	}
	switch p := strings.TrimSuffix(parsed.Path, "/"); name {
	case "otlp", "tempo":
		if base := path.Base(p); strings.HasSuffix(p, "/v1/"+base) && slices.Contains([]string{"traces", "metrics", "logs"}, base) {
			v.refuse(at, "/v1/%s is appended to the url; take it away", base)
		}
	case "prometheus", "loki":
		if p == "" {
			v.warn(at, "has no path; pushes usually go to %s", map[string]string{"prometheus": "/api/prom/push or /api/v1/write", "loki": "/loki/api/v1/push"}[name])
		}
	}
	h := &u.HTTPClientConfig
	if parsed.Scheme == "http" && !loopback(parsed.Hostname()) &&
		(h.BasicAuth != nil || h.Authorization != nil || h.OAuth2 != nil || h.BearerToken != "" || h.BearerTokenFile != "" || len(u.Headers) > 0 || h.HTTPHeaders != nil) {
		v.warn(at, "credentials or headers are sent over plain http; use https")
	}
}

func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// headers checks `headers` and `http_headers`, which are two ways to say the same.
func (v *validator) headers(at string, u *Upstream) {
	seen := map[string]string{}
	check := func(path, name string, values ...string) {
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			v.refuse(path, "not a header name")
		case reservedHeader(canonical):
			v.refuse(path, "the gateway sets or leaves out this header itself; take it out (credentials go into basic_auth or authorization)")
		case seen[canonical] != "":
			v.refuse(path, "the same header as %s; header names have no case", seen[canonical])
		}
		seen[canonical] = path
		for _, value := range values {
			if value == "" || !httpguts.ValidHeaderFieldValue(value) {
				v.refuse(path, "the value is empty or has characters that a header cannot have")
			}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(u.Headers)) {
		check(join(at+".headers", n), n, string(u.Headers[n]))
	}
	if u.HTTPClientConfig.HTTPHeaders == nil {
		return
	}
	for _, n := range slices.Sorted(maps.Keys(u.HTTPClientConfig.HTTPHeaders.Headers)) {
		p, h := join(at+".http_headers", n), u.HTTPClientConfig.HTTPHeaders.Headers[n]
		values := slices.Clone(h.Values)
		for _, s := range h.Secrets {
			values = append(values, string(s))
		}
		if len(values)+len(h.Files) == 0 {
			v.lacks(p, []string{"values", "secrets", "files"}, "needs values, secrets or files")
		}
		check(p, n, values...)
		for i := range h.Files {
			fp := p + ".files[" + strconv.Itoa(i) + "]"
			v.resolve(&h.Files[i])
			v.upstreamSecret(fp, h.Files[i])
		}
	}
}

// reservedHeader says whether a header is the gateway's own business: those that travel, those of the connection, and the
// two that would make net/http send a push again by itself.
func reservedHeader(canonical string) bool {
	_, prometheus := promconfig.ReservedHeaders[canonical]
	return prometheus || strings.HasPrefix(canonical, "Content-") || strings.HasPrefix(canonical, "Proxy-") ||
		slices.Contains([]string{"Expect", "Idempotency-Key", "Retry-Attempt", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "X-Idempotency-Key"}, canonical)
}

// httpClient checks Prometheus' keys: first what we know better than Prometheus, then what Prometheus says.
func (v *validator) httpClient(at string, u *Upstream) {
	h := &u.HTTPClientConfig
	if h.FollowRedirects {
		v.refuse(at+".follow_redirects", "a redirected push would take its credentials to another place; take the key out")
	}
	h.SetDirectory(v.dir)
	if a := h.BasicAuth; a != nil {
		if a.Username == "" && a.UsernameFile == "" {
			v.lacks(at+".basic_auth", []string{"username", "username_file"}, "needs a username")
		}
		if a.Password == "" && a.PasswordFile == "" {
			v.lacks(at+".basic_auth", []string{"password", "password_file"}, "needs a password_file")
		}
		v.upstreamSecret(at+".basic_auth.username_file", a.UsernameFile)
		v.upstreamSecret(at+".basic_auth.password_file", a.PasswordFile)
		v.short(at+".basic_auth.password", string(a.Password))
	}
	if a := h.Authorization; a != nil {
		if a.Credentials == "" && a.CredentialsFile == "" {
			v.lacks(at+".authorization", []string{"credentials", "credentials_file"}, "needs a credentials_file")
		}
		v.upstreamSecret(at+".authorization.credentials_file", a.CredentialsFile)
		v.short(at+".authorization.credentials", string(a.Credentials))
	}
	v.upstreamSecret(at+".bearer_token_file", h.BearerTokenFile)
	v.short(at+".bearer_token", string(h.BearerToken))
	if h.OAuth2 != nil {
		v.oauth2(at+".oauth2", h.OAuth2)
	}
	v.clientTLS(at+".tls_config", &h.TLSConfig)
	v.proxy(at+".proxy_url", &h.ProxyConfig)
	if err := h.Validate(); err != nil {
		v.refuse(at, "%v", err)
	}
}

func (v *validator) oauth2(at string, o *promconfig.OAuth2) {
	v.resolve(&o.ClientCertificateKeyFile) // OAuth2.SetDirectory leaves this one out
	v.upstreamSecret(at+".client_secret_file", o.ClientSecretFile)
	v.short(at+".client_secret", string(o.ClientSecret))
	if o.ClientCertificateKeyFile != "" {
		v.read(at+".client_certificate_key_file", o.ClientCertificateKeyFile, maxSecretBytes)
	}
	if o.TokenURL != "" {
		u, err := url.Parse(o.TokenURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
			v.refuse(at+".token_url", "wants a whole URL without credentials, https://host/path")
		} else if u.Scheme == "http" && !loopback(u.Hostname()) {
			v.warn(at+".token_url", "the client secret is sent over plain http; use https")
		}
	}
	v.clientTLS(at+".tls_config", &o.TLSConfig)
	v.proxy(at+".proxy_url", &o.ProxyConfig)
	if err := o.ProxyConfig.Validate(); err != nil {
		v.refuse(at, "%v", err)
	}
}

// proxy checks a proxy's URL, which may have credentials and is never shown.
func (v *validator) proxy(at string, p *promconfig.ProxyConfig) {
	if u := p.ProxyURL.URL; u != nil && (!slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) || u.Hostname() == "") {
		v.refuse(at, "wants http://host:port, https://host:port or socks5://host:port")
	}
}

// clientTLS checks that certificates and keys can be loaded.
func (v *validator) clientTLS(at string, t *promconfig.TLSConfig) {
	if err := t.Validate(); err != nil {
		v.refuse(at, "%v", err)
		return
	}
	ok := true
	for _, f := range []struct{ key, file string }{{".ca_file", t.CAFile}, {".cert_file", t.CertFile}, {".key_file", t.KeyFile}} {
		if f.file != "" {
			_, read := v.read(at+f.key, f.file, maxSecretBytes)
			ok = ok && read
		}
	}
	if !ok {
		return
	}
	if _, err := promconfig.NewTLSConfig(t); err != nil {
		if v.under(v.env, at) {
			v.refuse(at, "a certificate or key cannot be used")
			return
		}
		v.refuse(at, "%v", err)
	}
	if t.InsecureSkipVerify {
		v.warn(at+".insecure_skip_verify", "anyone can pose as this upstream and read its credentials; use ca_file")
	}
}

// upstreamSecret checks a file that holds exactly one secret.
func (v *validator) upstreamSecret(at, file string) {
	if file == "" {
		return
	}
	content, ok := v.read(at, file, maxSecretBytes)
	if !ok {
		return
	}
	one, err := secret.One(content)
	switch {
	case err != nil:
		v.refuse(at, "the file of an upstream holds exactly one secret and nothing else, but it %v", err)
	case !httpguts.ValidHeaderFieldValue(one.Reveal()):
		v.refuse(at, "the secret has a character that cannot be sent")
	case !strings.HasSuffix(at, ".username_file") && !strings.Contains(at, ".http_headers."):
		v.short(at, one.Reveal())
	}
}

func (v *validator) short(at, secret string) {
	if secret != "" && len(secret) < minSecretBytes {
		v.warn(at, "the secret has %d bytes; %d at least are hard to guess", len(secret), minSecretBytes)
	}
}
