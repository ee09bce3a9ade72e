package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
)

// newTLS returns the TLS configuration of the push ports, nil for plain text. A client's certificate is verified if one
// is given: whether one is needed is for identity to decide, not for the handshake.
func newTLS(cfg *config.Config, get getter) (*tls.Config, error) {
	c := cfg.Server.TLS
	if c.CertFile == "" {
		return nil, nil
	}
	cert, err := get(c.CertFile)
	if err != nil {
		return nil, err
	}
	key, err := get(c.KeyFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("server.tls: %w", err)
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
	if c.ClientCAFile == "" {
		return t, nil
	}
	authorities, err := get(c.ClientCAFile)
	if err != nil {
		return nil, err
	}
	t.ClientCAs = x509.NewCertPool()
	if !t.ClientCAs.AppendCertsFromPEM(authorities) {
		return nil, fmt.Errorf("server.tls.client_ca_file: %s holds no certificate", c.ClientCAFile)
	}
	t.ClientAuth = tls.VerifyClientCertIfGiven
	return t, nil
}

// tlsConfig gives each handshake the certificates in force.
func (g *Gateway) tlsConfig(*tls.ClientHelloInfo) (*tls.Config, error) { return g.tls.Load(), nil }

func tlsFiles(cfg *config.Config) []string {
	var paths []string
	for _, p := range []string{cfg.Server.TLS.CertFile, cfg.Server.TLS.KeyFile, cfg.Server.TLS.ClientCAFile} {
		if p != "" {
			paths = append(paths, p)
		}
	}
	return paths
}
