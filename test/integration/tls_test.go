package integration

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const edgeName = "edge.prod.example.com"

// newTLSGateway serves TLS on both push ports and has a client with a certificate, edge, beside the one with a token.
func newTLSGateway(t testing.TB) (*gateway, *authority) {
	t.Helper()
	ca := newAuthority(t, "the gateway's authority")
	rc := newIDReceiver(t, 0)
	up := newUpstream(t, rc)
	g := newGateway(t, "  tls: {cert_file: tls/server.crt, key_file: tls/server.key, client_ca_file: tls/ca.crt}\n",
		prod("      edge: {client_cert: "+edgeName+"}\n    upstreams:\n"+up.yaml("loki", "/loki/api/v1/push", "")+up.yaml("otlp", "", "")))
	writeFile(t, g.path("tls", "ca.crt"), string(ca.pem))
	ca.writeServer(t, g)
	g.start()
	return g, ca
}

// credentialCases are all the ways of saying who one is; an Authorization header decides alone.
func credentialCases(t testing.TB, ca *authority) []credentialCase {
	edge, stranger := ca.client(t, edgeName), ca.client(t, "stranger.example.com")
	foreign := newAuthority(t, "another authority").client(t, edgeName)
	return []credentialCase{
		{"certificate", &edge, "", credentialTaken},
		{"token without a certificate", nil, "Bearer " + clientToken, credentialTaken},
		{"certificate and token", &edge, "Bearer " + clientToken, credentialTaken},
		{"stranger's certificate and token", &stranger, "Bearer " + clientToken, credentialTaken},
		{"nothing", nil, "", credentialRefused},
		{"certificate and a wrong token", &edge, "Bearer wrong", credentialRefused},
		{"stranger's certificate", &stranger, "", credentialRefused},
		{"another authority's certificate", &foreign, "", handshakeRefused},
		{"another authority's certificate and token", &foreign, "Bearer " + clientToken, handshakeRefused},
	}
}

type credentialCase struct {
	name          string
	cert          *tls.Certificate
	authorization string
	want          string
}

const (
	credentialTaken   = "taken"
	credentialRefused = "refused"
	handshakeRefused  = "no connection"
)

func TestClientCertificatesHTTP(t *testing.T) {
	g, ca := newTLSGateway(t)
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		for _, c := range credentialCases(t, ca) {
			got := pushHTTPS(t, g, ca, c, proto)
			if got != c.want {
				t.Errorf("%s with %s: %s, want %s", proto, c.name, got, c.want)
			}
		}
	}
	if n := g.metric("gateway_items_received_total", `client="edge"`); n != 2 {
		t.Errorf("client edge sent %g items, want 2", n)
	}
}

func pushHTTPS(t testing.TB, g *gateway, ca *authority, c credentialCase, proto string) string {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: ca.clientConfig(c.cert), ForceAttemptHTTP2: proto == "HTTP/2.0"}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(background(t), http.MethodPost, "https://"+g.http+"/loki/api/v1/push",
		bytes.NewReader(lokiProtobuf(t, lokiStreams()[1:2])))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	if c.authorization != "" {
		req.Header.Set("Authorization", c.authorization)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return handshakeRefused
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.Proto != proto {
		t.Errorf("%s: spoke %s, want %s", c.name, resp.Proto, proto)
	}
	switch resp.StatusCode {
	case http.StatusNoContent:
		return credentialTaken
	case http.StatusUnauthorized:
		if len(resp.Header.Values("WWW-Authenticate")) == 0 {
			t.Errorf("%s: 401 without WWW-Authenticate", c.name)
		}
		return credentialRefused
	}
	return resp.Status
}

func TestClientCertificatesGRPC(t *testing.T) {
	g, ca := newTLSGateway(t)
	for _, c := range credentialCases(t, ca) {
		conn, err := grpc.NewClient("passthrough:///"+g.grpc, grpc.WithTransportCredentials(credentials.NewTLS(ca.clientConfig(c.cert))))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if c.authorization != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", c.authorization)
		}
		got := map[codes.Code]string{
			codes.OK: credentialTaken, codes.Unauthenticated: credentialRefused, codes.Unavailable: handshakeRefused,
		}[status.Code(exportRaw(ctx, conn, otlpLog(t, "hello")))]
		cancel()
		conn.Close()
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if n := g.metric("gateway_items_received_total", `client="edge"`); n != 1 {
		t.Errorf("client edge sent %g items, want 1", n)
	}
}

// A certificate that is renewed on disk is served to new connections without a reload.
func TestServerCertificateRenewed(t *testing.T) {
	t.Parallel()
	g, ca := newTLSGateway(t)
	f := func(addr string) {
		t.Helper()
		before := servedSerial(t, addr, ca)
		ca.writeServer(t, g)
		eventually(t, 15*time.Second, "the new certificate is served on "+addr, func() bool {
			return servedSerial(t, addr, ca).Cmp(before) != 0
		})
	}
	f(g.http)
	f(g.grpc)
}

func servedSerial(t testing.TB, addr string, ca *authority) *big.Int {
	t.Helper()
	cfg := ca.clientConfig(nil)
	cfg.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber
}

// HTTP/2 without TLS is what comes through a balancer that ends TLS.
func TestH2C(t *testing.T) {
	rc := newIDReceiver(t, 0)
	g := startGateway(t, "    upstreams:\n"+newUpstream(t, rc).yaml("loki", "/loki/api/v1/push", ""))
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	for range 3 {
		req, err := http.NewRequestWithContext(background(t), http.MethodPost, "http://"+g.http+"/loki/api/v1/push",
			bytes.NewReader(lokiProtobuf(t, lokiStreams())))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-protobuf")
		req.Header.Set("Authorization", "Bearer "+clientToken)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent || resp.Proto != "HTTP/2.0" {
			t.Errorf("answered %s by %s, want 204 by HTTP/2.0", resp.Status, resp.Proto)
		}
	}
}

// authority signs the certificates of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
	pool *x509.CertPool
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	ca := &authority{key: newKey(t), pool: x509.NewCertPool()}
	template := certTemplate(t, name)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, &ca.key.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	ca.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	ca.pool.AddCert(ca.cert)
	return ca
}

func (ca *authority) sign(t testing.TB, template *x509.Certificate) (certPEM, keyPEM []byte) {
	t.Helper()
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

// writeServer puts a new certificate beside the gateway's config, key first, as a renewal would.
func (ca *authority) writeServer(t testing.TB, g *gateway) {
	t.Helper()
	template := certTemplate(t, "gateway")
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	cert, key := ca.sign(t, template)
	writeFile(t, g.path("tls", "server.key"), string(key))
	writeFile(t, g.path("tls", "server.crt"), string(cert))
}

func (ca *authority) client(t testing.TB, name string) tls.Certificate {
	t.Helper()
	template := certTemplate(t, name)
	template.DNSNames = []string{name}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	certPEM, keyPEM := ca.sign(t, template)
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// clientConfig presents cert whatever authorities the server names, as a client that is configured wrongly would.
func (ca *authority) clientConfig(cert *tls.Certificate) *tls.Config {
	cfg := &tls.Config{RootCAs: ca.pool, MinVersion: tls.VersionTLS12}
	if cert != nil {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	return cfg
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func certTemplate(t testing.TB, name string) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}
