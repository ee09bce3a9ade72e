package gateway

import (
	"fmt"

	promconfig "github.com/prometheus/common/config"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/internal/secret"
)

// fileKey is one key of Prometheus' HTTP client configuration that names a file, and the key beside it that holds the
// same content inline.
type fileKey struct {
	path *string
	put  func(content string)
	raw  bool // a certificate, not a secret on one line
}

// fileKeys copies what cfg points to and returns the copy's keys that name a file. The library would read those files
// again at every push; here they are read once, put inline, and put inline anew when they change.
func fileKeys(cfg *promconfig.HTTPClientConfig) []fileKey {
	var keys []fileKey
	add := func(path *string, raw bool, put func(string)) {
		if *path != "" {
			keys = append(keys, fileKey{path, put, raw})
		}
	}
	addTLS := func(t *promconfig.TLSConfig) {
		add(&t.CAFile, true, func(s string) { t.CA = s })
		add(&t.CertFile, true, func(s string) { t.Cert = s })
		add(&t.KeyFile, true, func(s string) { t.Key = promconfig.Secret(s) })
	}
	if cfg.BasicAuth != nil {
		a := *cfg.BasicAuth
		cfg.BasicAuth = &a
		add(&a.UsernameFile, false, func(s string) { cfg.BasicAuth.Username = s })
		add(&a.PasswordFile, false, func(s string) { cfg.BasicAuth.Password = promconfig.Secret(s) })
	}
	if cfg.Authorization != nil {
		a := *cfg.Authorization
		cfg.Authorization = &a
		add(&a.CredentialsFile, false, func(s string) { cfg.Authorization.Credentials = promconfig.Secret(s) })
	}
	if cfg.OAuth2 != nil {
		o := *cfg.OAuth2
		cfg.OAuth2 = &o
		add(&o.ClientSecretFile, false, func(s string) { cfg.OAuth2.ClientSecret = promconfig.Secret(s) })
		add(&o.ClientCertificateKeyFile, true, func(s string) { cfg.OAuth2.ClientCertificateKey = promconfig.Secret(s) })
		addTLS(&o.TLSConfig)
	}
	if cfg.HTTPHeaders != nil {
		headers := make(map[string]promconfig.Header, len(cfg.HTTPHeaders.Headers))
		for name, h := range cfg.HTTPHeaders.Headers {
			files := h.Files
			h.Files = nil
			headers[name] = h
			for i := range files {
				add(&files[i], false, func(s string) {
					h := headers[name]
					h.Secrets = append(h.Secrets[:len(h.Secrets):len(h.Secrets)], promconfig.Secret(s))
					headers[name] = h
				})
			}
		}
		cfg.HTTPHeaders = &promconfig.Headers{Headers: headers}
	}
	add(&cfg.BearerTokenFile, false, func(s string) { cfg.BearerToken = promconfig.Secret(s) })
	addTLS(&cfg.TLSConfig)
	return keys
}

// getter returns what a secret file holds: what is in force, or what an offer would put in force.
type getter func(path string) (secret.Content, error)

// inline returns cfg with the content of its files in place of their names.
func inline(cfg promconfig.HTTPClientConfig, get getter) (promconfig.HTTPClientConfig, error) {
	for _, k := range fileKeys(&cfg) {
		content, err := get(*k.path)
		if err != nil {
			return cfg, err
		}
		if k.raw {
			k.put(string(content))
		} else {
			one, err := secret.One(content)
			if err != nil {
				return cfg, fmt.Errorf("%s: %w", *k.path, err)
			}
			k.put(one.Reveal())
		}
	}
	for _, k := range fileKeys(&cfg) {
		*k.path = ""
	}
	return cfg, nil
}

// filesOf are the paths that cfg reads.
func filesOf(cfg promconfig.HTTPClientConfig) []string {
	var paths []string
	for _, k := range fileKeys(&cfg) {
		paths = append(paths, *k.path)
	}
	return paths
}

// files are all paths that cfg reads while it is in force.
func files(cfg *config.Config) []string {
	paths := append(clientFiles(cfg), tlsFiles(cfg)...)
	for _, e := range cfg.Environments {
		e.Upstreams.Each(func(_ string, u *config.Upstream) { paths = append(paths, filesOf(u.HTTPClientConfig)...) })
	}
	return paths
}
