package config

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/telemetry-gateway/telemetry-gateway/internal/secret"
)

func (v *validator) environment(path, envName string, e *Environment) {
	pinned := slices.ContainsFunc(slices.Concat(v.c.Server.HTTPListen, v.c.Server.GRPCListen), func(l Listener) bool { return l.Environment == envName })
	if len(e.Clients) == 0 && !e.Anonymous && !pinned && !v.under(v.bad, path) {
		v.warn(path, "nobody can push here: it has no clients and is not anonymous")
	}
	for _, n := range slices.Sorted(maps.Keys(e.Clients)) {
		p := join(path+".clients", n)
		v.named(p, n)
		v.client(p, envName+"/"+n, e.Clients[n])
	}
	exits := 0
	e.Upstreams.Each(func(n string, u *Upstream) {
		exits++
		v.upstream(path+".upstreams."+n, n, u)
	})
	if exits == 0 && !v.under(v.bad, path) {
		v.warn(path, "it has no upstreams: every push will be answered 404")
	}
	v.stamps(path+".metrics.labels", e.Metrics.Labels, true)
	v.stamps(path+".logs.labels", e.Logs.Labels, true)
	v.stamps(path+".traces.labels", e.Traces.Labels, false)
	v.sampling(path+".traces", &e.Traces)
	v.misplaced(path+".metrics.limits", "metrics", logsOnly, tracesOnly)
	v.misplaced(path+".logs.limits", "logs", metricsOnly, tracesOnly)
	v.misplaced(path+".traces.limits", "traces", metricsOnly, logsOnly, []string{"active_series"})
	v.rules(path, e)
	v.limits(path, e)
}

// sampling checks the shares of traces that are kept.
func (v *validator) sampling(path string, t *TracesConfig) {
	share := func(at string, ratio float64) {
		if ratio > 1 {
			v.refuse(at, "wants a share from 0 to 1, not %s", v.show(at, ratio))
		}
	}
	share(path+".sample_ratio", t.SampleRatio)
	for i, r := range t.Sampling {
		at := fmt.Sprintf("%s.sampling[%d]", path, i)
		share(at+".ratio", r.Ratio)
		if r.Service == "" {
			v.lacks(at, []string{"service"}, "needs a service, the service.name whose traces it is about")
		}
		if !v.has(at + ".ratio") {
			v.lacks(at, []string{"ratio"}, "needs a ratio, the share of the service's traces that is kept, 0 to 1")
		}
	}
}

// misplaced refuses limits that have no meaning for a signal.
func (v *validator) misplaced(path, signal string, keys ...[]string) {
	for _, k := range slices.Concat(keys...) {
		if v.has(path + "." + k) {
			v.refuse(path+"."+k, "does not apply to %s; take it out", signal)
		}
	}
}

// client checks one sender. who names it in faults of other clients: prod/billing.
func (v *validator) client(path, who string, c *Client) {
	v.stamps(path+".labels", c.Labels, true)
	if c.Disabled != 0 && c.Disabled != 403 && c.Disabled != 503 {
		v.refuse(path+".disabled", "wants 403 or 503, the answer that the client gets")
	}
	var found []string
	credentials := []string{"bearer_token_file", "basic_auth", "client_cert"}
	for _, k := range credentials {
		if v.has(path + "." + k) {
			found = append(found, k)
		}
	}
	const all = "bearer_token_file, basic_auth and client_cert"
	switch {
	case len(found) == 0 && !v.isPinned(who):
		v.lacks(path, credentials, "no credential; give it one of %s, or pin a listener to it", all)
	case len(found) > 1:
		v.refuse(path, "has %s; a client has exactly one of %s", strings.Join(found, " and "), all)
	}
	if v.has(path + ".bearer_token_file") {
		v.resolve(&c.BearerTokenFile)
		for _, token := range v.clientSecrets(path+".bearer_token_file", c.BearerTokenFile, tokenRune) {
			v.own(path+".bearer_token_file", who, "token\x00"+token, "a token")
		}
	}
	if c.BasicAuth != nil {
		v.clientBasicAuth(path+".basic_auth", who, c.BasicAuth)
	}
	if v.has(path + ".client_cert") {
		v.clientCert(path+".client_cert", who, c.ClientCert)
	}
}

func (v *validator) clientBasicAuth(path, who string, a *ClientBasicAuth) {
	v.resolve(&a.PasswordFile)
	switch {
	case a.Username == "":
		v.lacks(path, []string{"username"}, "needs a username")
	case strings.ContainsRune(a.Username, ':') || strings.ContainsFunc(a.Username, unicode.IsControl) || !utf8.ValidString(a.Username):
		v.refuse(path+".username", "a user name cannot have a colon or control characters in HTTP basic authentication")
	}
	if a.PasswordFile == "" {
		v.lacks(path, []string{"password_file"}, "needs a password_file, with one password a line")
		return
	}
	for _, password := range v.clientSecrets(path+".password_file", a.PasswordFile, passwordRune) {
		v.own(path+".password_file", who, "basic\x00"+a.Username+"\x00"+password, "a user name with the same password")
	}
}

func (v *validator) clientCert(path, who, san string) {
	switch {
	case san == "":
		v.refuse(path, "is empty; name a DNS or URI SAN of the certificate")
		return
	case strings.ContainsFunc(san, unicode.IsSpace) || strings.ContainsFunc(san, unicode.IsControl):
		v.refuse(path, "a DNS or URI SAN has no spaces")
		return
	}
	if v.c.Server.TLS.ClientCAFile == "" {
		v.refuse(path, "needs server.tls.client_ca_file, which verifies the certificates of clients")
	}
	if u, err := url.Parse(san); err != nil || u.Scheme == "" {
		san = strings.ToLower(san) // DNS names have no case
	}
	v.own(path, who, "cert\x00"+san, "a certificate name")
}

// own gives a credential to client who, unless another has it: then a push would belong to both.
func (v *validator) own(path, who, credential, what string) {
	if owner, taken := v.owners[credential]; taken && owner != who {
		v.refuse(path, "%s of client %s belongs to client %s too; every credential belongs to one client", what, who, owner)
		return
	}
	v.owners[credential] = who
}

// minSecretBytes is the length below which a secret is worth a warning.
const minSecretBytes = 16

// clientSecrets returns the secrets of a client's file, or notes what is wrong with them. No value is ever shown.
func (v *validator) clientSecrets(path, file string, valid func(rune) bool) (secrets []string) {
	if file == "" {
		v.refuse(path, "is empty; name a file with one secret a line")
		return nil
	}
	content, ok := v.read(path, file, maxSecretBytes)
	if !ok {
		return nil
	}
	lines := secret.Lines(content)
	if len(lines) == 0 {
		v.refuse(path, "the file has no secret; write one secret a line, blank lines and # comments do not count")
	}
	for _, l := range lines {
		s := l.Value.Reveal()
		if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !valid(r) }) {
			v.refuse(path, "line %d of the file has a character that cannot be sent; a file has one secret a line and nothing else in that line", l.Number)
		}
		if len(s) < minSecretBytes {
			v.warn(path, "the secret on line %d of the file has %d bytes; %d at least are hard to guess", l.Number, len(s), minSecretBytes)
		}
		secrets = append(secrets, s)
	}
	return secrets
}

func tokenRune(r rune) bool    { return r > ' ' && r < 0x7f }
func passwordRune(r rune) bool { return !unicode.IsControl(r) }

var legacyLabel = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// stamps checks labels that are put on pushes. legacy: remote_write v1 and Loki must be able to carry the names.
func (v *validator) stamps(path string, stamps map[string]string, legacy bool) {
	for _, n := range slices.Sorted(maps.Keys(stamps)) {
		p := join(path, n)
		switch {
		case n == "" || !utf8.ValidString(n):
			v.refuse(p, "a label name is not empty and valid UTF-8")
		case slices.Contains([]string{"__name__", "__replica__", "le", "quantile"}, n):
			v.refuse(p, "stamping %s would corrupt series; take it out", n)
		case legacy && !legacyLabel.MatchString(n):
			v.refuse(p, "remote_write v1 and Loki cannot carry this label name; use letters, digits and _, not a digit first")
		}
		switch {
		case stamps[n] == "":
			v.refuse(p, "an empty value is no label; write a value or take the label out")
		case !utf8.ValidString(stamps[n]):
			v.refuse(p, "the value is not valid UTF-8")
		}
	}
}
