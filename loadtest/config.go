package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/drive"
)

// gatewayConfig is what differs from one scenario to the next in the configuration of the gateway.
type gatewayConfig struct {
	// sink is the URL of all upstreams; grpc: those for OTLP are called over gRPC.
	sink string
	grpc bool
	// environments are e0, e1, ...; each has so many clients. 0: one of each.
	environments, clients int
	// tls: push ports and upstreams use the certificate in the folder.
	tls bool
	// server, metrics, logs and traces are more lines of YAML there.
	server, metrics, logs, traces string
}

func token(environment, client int) string {
	return fmt.Sprintf("token-e%d-c%d-0123456789abcdef", environment, client)
}

// clientsOf are the senders of a gatewayConfig, such that neighbours belong to different environments.
func clientsOf(environments, clients int) (list []drive.Client) {
	for c := range max(1, clients) {
		for e := range max(1, environments) {
			list = append(list, drive.Client{Token: token(e, c), User: fmt.Sprintf("e%d", e)})
		}
	}
	return list
}

// write writes the configuration and its secrets into dir, and returns its path.
func (g gatewayConfig) write(dir string) (path string, err error) {
	secret := func(name, value string) {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), []byte(value+"\n"), 0o600)
		}
	}
	secret("cloud", "glc_0123456789abcdef")
	var b strings.Builder
	b.WriteString("server:\n  http_listen: [\"127.0.0.1:0\"]\n  grpc_listen: [\"127.0.0.1:0\"]\n  admin_listen: \"127.0.0.1:0\"\n  drain_delay: 0s\n")
	verify := ""
	if g.tls {
		b.WriteString("  tls: {cert_file: cert.pem, key_file: key.pem}\n")
		verify = ", tls_config: {ca_file: cert.pem}"
	}
	b.WriteString(g.server + "environments:\n")
	for e := range max(1, g.environments) {
		fmt.Fprintf(&b, "  e%d:\n    clients:\n", e)
		for c := range max(1, g.clients) {
			name := fmt.Sprintf("client-%d-%d", e, c)
			secret(name, token(e, c))
			fmt.Fprintf(&b, "      c%d: {bearer_token_file: %s}\n", c, name)
		}
		auth := fmt.Sprintf(", basic_auth: {username: e%d, password_file: cloud}%s}\n", e, verify)
		otlp := g.sink + "/otlp"
		if g.grpc {
			otlp = g.sink + ", transport: grpc"
		}
		b.WriteString("    upstreams:\n      prometheus: {url: " + g.sink + "/api/prom/push" + auth +
			"      loki: {url: " + g.sink + "/loki/api/v1/push" + auth + "      otlp: {url: " + otlp + auth)
		for _, signal := range []struct{ key, yaml string }{{"metrics", g.metrics}, {"logs", g.logs}, {"traces", g.traces}} {
			if signal.yaml != "" {
				b.WriteString("    " + signal.key + ":\n" + signal.yaml)
			}
		}
	}
	path = filepath.Join(dir, "gateway.yaml")
	if err == nil {
		err = os.WriteFile(path, []byte(b.String()), 0o600)
	}
	return path, err
}

// writeCertificate writes a certificate for 127.0.0.1 that is its own authority into dir.
func writeCertificate(dir string) (certFile, keyFile string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "loadtest"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		return "", "", err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", "", err
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	err = os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
	if err == nil {
		err = os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600)
	}
	return certFile, keyFile, err
}
