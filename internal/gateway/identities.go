package gateway

import (
	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/internal/secret"
	"github.com/telemetry-gateway/telemetry-gateway/internal/tenant"
)

// newDirectory reads the credentials of all clients of st. What previous knows of their last use is taken over.
func newDirectory(st *state, get getter, previous *tenant.Directory) (*tenant.Directory, error) {
	var specs []tenant.Spec
	var nobody *tenant.Client
	for _, env := range sortedKeys(st.cfg.Environments) {
		ec := st.cfg.Environments[env]
		for _, name := range sortedKeys(ec.Clients) {
			s := tenant.Spec{Client: st.identities[clientKey{env, name}]}
			switch c := ec.Clients[name]; {
			case c.BearerTokenFile != "":
				s.Kind, s.File = tenant.Bearer, c.BearerTokenFile
			case c.BasicAuth != nil:
				s.Kind, s.Username, s.File = tenant.Basic, c.BasicAuth.Username, c.BasicAuth.PasswordFile
			case c.ClientCert != "":
				s.Kind, s.CertName = tenant.Cert, c.ClientCert
			default:
				continue // only what comes in by a listener that is pinned to it
			}
			if s.File != "" {
				content, err := get(s.File)
				if err != nil {
					return nil, err
				}
				s.Secrets = secret.Lines(content)
			}
			specs = append(specs, s)
		}
		if ec.Anonymous {
			nobody = st.identities[clientKey{env, anonymous}]
		}
	}
	return tenant.NewDirectory(specs, nobody, previous)
}

// clientFiles are the secret files of all clients.
func clientFiles(cfg *config.Config) []string {
	var paths []string
	for _, e := range cfg.Environments {
		for _, c := range e.Clients {
			if c.BearerTokenFile != "" {
				paths = append(paths, c.BearerTokenFile)
			}
			if c.BasicAuth != nil {
				paths = append(paths, c.BasicAuth.PasswordFile)
			}
		}
	}
	return paths
}

// secretStatus is what the status API says of secret files: which line was used last when, and which files are stale.
type secretStatus struct {
	Stale []secret.Stale `json:"stale"`
	Lines []tenant.Use   `json:"lines"`
}

func (g *Gateway) statusSecrets() secretStatus {
	// A list without entries is [] in JSON, not null.
	return secretStatus{Stale: append([]secret.Stale{}, g.secrets.Stale()...), Lines: g.directory.Load().LastUsed()}
}
