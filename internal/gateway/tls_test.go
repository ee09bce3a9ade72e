package gateway

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t}
	a.cert, a.key, a.pem = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

// sign makes a certificate; an authority that has none yet signs its own.
func (a *authority) sign(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, string) {
	a.t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	c.SerialNumber = must(rand.Int(rand.Reader, big.NewInt(1<<62)))
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := c, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der := must(x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer))
	return must(x509.ParseCertificate(der)), key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// leaf is a certificate for names, as the two files that hold it.
func (a *authority) leaf(names ...string) (cert, key string) {
	a.t.Helper()
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: "leaf"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	for _, n := range names {
		if u := must(url.Parse(n)); u.Scheme != "" {
			c.URIs = append(c.URIs, u)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	_, k, cert := a.sign(c)
	der := must(x509.MarshalECPrivateKey(k))
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

// tlsClient trusts a and presents the certificate in cert and key, if any.
func (a *authority) tlsClient(cert, key string) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	c := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if cert != "" {
		pair := must(tls.X509KeyPair([]byte(cert), []byte(key)))
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return c
}

const withTLS = defaultServer + `  tls: {cert_file: tls/cert, key_file: tls/key, client_ca_file: tls/ca}
environments:
  prod:
    clients:
      app: {bearer_token_file: secrets/app}
      edge: {client_cert: edge.example.com}
      mesh: {client_cert: "spiffe://example.com/mesh"}
    upstreams:
      prometheus: {url: $CLOUD/api/prom/push, basic_auth: {username: "1001", password_file: secrets/cloud}}
      otlp: {url: $CLOUD/otlp, basic_auth: {username: "1003", password_file: secrets/cloud}}
`

// pushTLS pushes five samples over TLS and returns the status and the HTTP version; 0: no answer.
func (g *gatewayTest) pushTLS(c *tls.Config, token string, http2 bool) (code, version int) {
	g.t.Helper()
	tr := &http.Transport{TLSClientConfig: c, Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP1(!http2)
	tr.Protocols.SetHTTP2(http2)
	defer tr.CloseIdleConnections()
	s := samples()["remote_write_v1"]
	req := must(http.NewRequest(http.MethodPost, "https://"+g.addr.HTTP[0]+s.path, bytes.NewReader(s.body)))
	req.Header = as(token, s.header)
	if token == "" {
		req.Header.Del("Authorization")
	}
	res, err := (&http.Client{Transport: tr, Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return 0, 0
	}
	res.Body.Close()
	return res.StatusCode, res.ProtoMajor
}

func TestTLS(t *testing.T) {
	servers, clients, strangers := newAuthority(t, "servers"), newAuthority(t, "clients"), newAuthority(t, "strangers")
	cert, key := servers.leaf()
	g := start(t, withTLS, "tls/cert", cert, "tls/key", key, "tls/ca", clients.pem)
	f := func(what string, c *tls.Config, token string, want int) {
		t.Helper()
		for version, http2 := range map[int]bool{1: false, 2: true} {
			if code, v := g.pushTLS(c.Clone(), token, http2); code != want || code != 0 && v != version {
				t.Errorf("%s: %d over HTTP/%d, want %d over HTTP/%d", what, code, v, want, version)
			}
		}
	}
	none := servers.tlsClient("", "")
	f("a token and no certificate", none, clientToken, 200)
	f("neither", none, "", 401)
	edge := servers.tlsClient(clients.leaf("edge.example.com"))
	f("a certificate", edge, "", 200)
	f("a certificate and a token, which decides", edge, clientToken, 200)
	f("a certificate and a wrong token", edge, "wrong", 401)
	f("a URI", servers.tlsClient(clients.leaf("spiffe://example.com/mesh")), "", 200)
	f("a certificate of nobody", servers.tlsClient(clients.leaf("nobody.example.com")), "", 401)
	f("a certificate of two", servers.tlsClient(clients.leaf("edge.example.com", "spiffe://example.com/mesh")), "", 401)
	f("a certificate of another authority", servers.tlsClient(strangers.leaf("edge.example.com")), "", 0)
	old := none.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	f("TLS 1.1", old, clientToken, 0)
	for client, want := range map[string]float64{"app": 20, "edge": 10, "mesh": 10} {
		if n := g.metric("gateway_items_received_total", "client", client); n != want {
			t.Errorf("%v samples of %s, want %v", n, client, want)
		}
	}

	export := func(c *tls.Config) error {
		conn := must(grpc.NewClient(g.addr.GRPC[0], grpc.WithTransportCredentials(credentials.NewTLS(c))))
		defer conn.Close()
		_, err := ptraceotlp.NewGRPCClient(conn).Export(deadline(t), spansOf(1))
		return err
	}
	if err := export(edge.Clone()); err != nil {
		t.Errorf("gRPC with a certificate: %v", err)
	}
	if err := export(none.Clone()); status.Code(err) != codes.Unauthenticated {
		t.Errorf("gRPC without: %v", err)
	}
}

// Certificates and authorities that change on disk hold for the next handshake; a bad one changes nothing.
func TestTLSRotation(t *testing.T) {
	before, after, clients := newAuthority(t, "before"), newAuthority(t, "after"), newAuthority(t, "clients")
	cert, key := before.leaf()
	g := start(t, withTLS, "tls/cert", cert, "tls/key", key, "tls/ca", clients.pem)
	trusts := func(a *authority) bool {
		code, _ := g.pushTLS(a.tlsClient("", ""), clientToken, true)
		return code == 200
	}
	if !trusts(before) || trusts(after) {
		t.Fatal("the first certificate is not in use")
	}
	g.file("tls/cert", "-----BEGIN NONSENSE-----\n")
	eventually(t, "the bad certificate to be told of", func() bool { return g.metric("gateway_secret_stale") > 0 })
	if !trusts(before) {
		t.Error("a bad certificate took the good one's place")
	}
	// The two files of a pair change one after the other; they count when they fit.
	cert, key = after.leaf()
	g.file("tls/cert", cert)
	g.file("tls/key", key)
	eventually(t, "the new certificate", func() bool { return trusts(after) })
	if trusts(before) {
		t.Error("the old certificate is still in use")
	}
	eventually(t, "nothing to be stale", func() bool { return g.metric("gateway_secret_stale") == 0 })

	others := newAuthority(t, "others")
	edge := after.tlsClient(others.leaf("edge.example.com"))
	if code, _ := g.pushTLS(edge.Clone(), "", true); code != 0 {
		t.Errorf("a certificate of an authority that is not known yet: %d", code)
	}
	g.file("tls/ca", clients.pem+others.pem)
	eventually(t, "the new authority", func() bool {
		code, _ := g.pushTLS(edge.Clone(), "", true)
		return code == 200
	})
}
