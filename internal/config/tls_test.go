package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
)

// certificate writes a self-signed certificate and its key.
func certificate(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	write(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certificate(t, filepath.Join(dir, "cert"), filepath.Join(dir, "key"))
	certificate(t, filepath.Join(dir, "cert2"), filepath.Join(dir, "key2"))
	write(t, filepath.Join(dir, "web"), "tls_server_config: {cert_file: cert, key_file: key}\n")
	write(t, filepath.Join(dir, "web-bad"), "tls_server_config: {cert_file: cert, key_file: this-must-not-be-shown}\n")
	f := func(server, upstream, want string) {
		t.Helper()
		content := "server: {" + server + "}\nenvironments: {a: {clients: {c: {client_cert: edge.example.com}}, upstreams: {loki: {url: 'https://x/', " + upstream + "}}}}"
		c, err := parse(filepath.Join(dir, "gateway.yaml"), []byte(content), lookup)
		if want == "" && err == nil {
			if c.Server.TLS.CertFile != filepath.Join(dir, "cert") {
				t.Errorf("%+v", c.Server.TLS)
			}
			return
		}
		if want == "" || err == nil || strings.Count(err.Error(), "\n") > 0 || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), planted) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	const good = "tls: {cert_file: cert, key_file: key, client_ca_file: cert2}"
	f(good, "", "")
	f(good+", admin_web_config_file: web", "tls_config: {ca_file: cert, cert_file: cert, key_file: key, min_version: TLS13}", "")
	f("tls: {cert_file: cert, key_file: key2, client_ca_file: cert2}", "", "server.tls.cert_file: is no certificate that goes with key_file")
	f("tls: {cert_file: cert, key_file: key, client_ca_file: key}", "", "server.tls.client_ca_file: has no PEM certificate")
	f("tls: {cert_file: cert, key_file: key}", "", "client_cert: needs server.tls.client_ca_file")
	f("tls: {client_ca_file: cert}", "", "client_ca_file: needs cert_file and key_file")
	f(good+", admin_web_config_file: web-bad", "", "server.admin_web_config_file: not a valid exporter-toolkit file")
	f(good, "tls_config: {cert_file: cert, key_file: key2}", "upstreams.loki.tls_config: unable to use")
	f(good, "tls_config: {key: this-must-not-be-shown, cert_file: cert}", "upstreams.loki.tls_config: unable to use")
}
