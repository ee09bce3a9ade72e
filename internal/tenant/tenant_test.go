package tenant

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/secret"
)

var (
	payments  = &Client{Environment: "prod", Name: "payments"}
	billing   = &Client{Environment: "prod", Name: "billing"}
	edge      = &Client{Environment: "prod", Name: "edge"}
	mesh      = &Client{Environment: "prod", Name: "mesh"}
	oldCI     = &Client{Environment: "dev", Name: "old-ci", Disabled: http.StatusForbidden}
	devBill   = &Client{Environment: "dev", Name: "billing"}
	anonymous = &Client{Environment: "dev", Name: "anonymous"}
	legacy    = &Client{Environment: "dev", Name: "legacy"}
)

const (
	payToken  = "pay-0123456789abcdef"
	payToken2 = "pay-rotated-89abcdef"
	billPass  = "pass:with:colons"
)

func lines(values ...secret.Value) []secret.Line {
	var ls []secret.Line
	for i, v := range values {
		ls = append(ls, secret.Line{Number: 2*i + 1, Value: v})
	}
	return ls
}

func specs() []Spec {
	return []Spec{
		{Client: payments, Kind: Bearer, File: "secrets/payments", Secrets: lines(payToken, payToken2)},
		{Client: oldCI, Kind: Bearer, File: "secrets/old-ci", Secrets: lines("ci-token")},
		{Client: billing, Kind: Basic, Username: "billing", File: "secrets/billing", Secrets: lines(billPass)},
		{Client: devBill, Kind: Basic, Username: "billing", File: "secrets/dev-billing", Secrets: lines("dev-pass")},
		{Client: edge, Kind: Cert, CertName: "Edge.prod.example.com"},
		{Client: mesh, Kind: Cert, CertName: "spiffe://example.com/ns/prod/mesh"},
	}
}

func directory(t testing.TB, anonymous *Client) *Directory {
	t.Helper()
	d, err := NewDirectory(specs(), anonymous, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestAuthorization(t *testing.T) {
	d := directory(t, nil)
	f := func(header string, want *Client, reason Reason) {
		t.Helper()
		got, r := d.Identify(time.Now(), Credentials{Authorization: []string{header}})
		if got != want || r != reason {
			t.Errorf("%.60q: got %v, %q; want %v, %q", header, got, r, want, reason)
		}
	}
	f("Bearer "+payToken, payments, "")
	f("bearer "+payToken, payments, "")
	f("BEARER   "+payToken+" \t", payments, "")
	f("Bearer "+payToken2, payments, "")
	f("Bearer ci-token", oldCI, "") // disabled, and identified
	f(basic("billing", billPass), billing, "")
	f(basic("billing", "dev-pass"), devBill, "") // one user name in two environments
	f(strings.Replace(basic("billing", billPass), "Basic", "bAsIC", 1), billing, "")

	f("Bearer "+payToken[1:], nil, UnknownCredential)
	f("Bearer "+payToken[:len(payToken)-1], nil, UnknownCredential)
	f("Bearer "+payToken+"x", nil, UnknownCredential)
	f("Bearer "+strings.ToUpper(payToken), nil, UnknownCredential)
	f("Bearer "+payToken+" "+payToken2, nil, UnknownCredential)
	f("Bearer "+payToken+", Bearer "+payToken, nil, UnknownCredential)
	f("Bearer billing:"+billPass, nil, UnknownCredential) // right, but of the other kind
	f(basic("", payToken), nil, UnknownCredential)
	f(basic("payments", payToken), nil, UnknownCredential)
	f(basic("billing", ""), nil, UnknownCredential)
	f(basic("billing", billPass+" "), nil, UnknownCredential)
	f(basic("Billing", billPass), nil, UnknownCredential)
	f(basic("billing:pass", "with:colons")+"A", nil, Malformed)
	f(basic("other", billPass), nil, UnknownCredential)
	f(basic("", ""), nil, UnknownCredential)

	f("Bearer", nil, Malformed)
	f("Bearer \t ", nil, Malformed)
	f("Basic", nil, Malformed)
	f("Basic !!!!", nil, Malformed)
	f("Basic billing:"+billPass, nil, Malformed)
	f("Basic "+base64.RawURLEncoding.EncodeToString([]byte("billing:\xff\xfe\xfd?")), nil, Malformed)
	f("Basic "+base64.StdEncoding.EncodeToString([]byte("billing")), nil, Malformed)
	f("", nil, UnsupportedScheme)
	f("   ", nil, UnsupportedScheme)
	f(payToken, nil, UnsupportedScheme)
	f("Bearer:"+payToken, nil, UnsupportedScheme)
	f("Digest username=billing", nil, UnsupportedScheme)
	f("Negotiate abc", nil, UnsupportedScheme)
	f("\x00\xff", nil, UnsupportedScheme)

	f("Bearer "+strings.Repeat("x", maxHeaderBytes-len("Bearer ")), nil, UnknownCredential)
	f("Bearer "+strings.Repeat("x", maxHeaderBytes-len("Bearer ")+1), nil, Malformed)
	f("Bearer "+payToken+strings.Repeat(" ", maxHeaderBytes), nil, Malformed)
}

// authority signs certificates of clients.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t}
	pair := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "clients"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	a.cert, a.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// sign makes a certificate from tmpl, signed by itself as long as a has none.
func (a *authority) sign(tmpl *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl.SerialNumber = big.NewInt(time.Now().UnixNano())
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// client makes a client's certificate with names as SANs: with a colon a URI, else DNS.
func (a *authority) client(names ...string) tls.Certificate {
	a.t.Helper()
	tmpl := &x509.Certificate{
		Subject: pkix.Name{CommonName: "edge.prod.example.com"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, n := range names {
		if !strings.Contains(n, ":") {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
			continue
		}
		u, err := url.Parse(n)
		if err != nil {
			a.t.Fatal(err)
		}
		tmpl.URIs = append(tmpl.URIs, u)
	}
	return a.sign(tmpl)
}

// state is what a listener sees of a certificate that it has verified.
func (a *authority) state(names ...string) *tls.ConnectionState {
	leaf := a.client(names...).Leaf
	return &tls.ConnectionState{
		PeerCertificates: []*x509.Certificate{leaf},
		VerifiedChains:   [][]*x509.Certificate{{leaf, a.cert}},
	}
}

func TestCertificate(t *testing.T) {
	d, a := directory(t, nil), newAuthority(t)
	f := func(state *tls.ConnectionState, want *Client, reason Reason) {
		t.Helper()
		got, r := d.Identify(time.Now(), Credentials{TLS: state})
		if got != want || r != reason {
			t.Errorf("got %v, %q; want %v, %q", got, r, want, reason)
		}
	}
	const uri = "spiffe://example.com/ns/prod/mesh"
	f(a.state("edge.prod.example.com"), edge, "")
	f(a.state("EDGE.prod.example.COM"), edge, "")
	f(a.state(uri), mesh, "")
	f(a.state("other.example.com", "edge.prod.example.com", "spiffe://example.com/other"), edge, "")
	f(a.state("edge.prod.example.com", "EDGE.prod.example.com"), edge, "")
	f(a.state("edge.prod.example.com", uri), nil, AmbiguousCertificate)
	f(a.state(uri, "edge.prod.example.com", uri), nil, AmbiguousCertificate)
	f(a.state("other.example.com"), nil, UnknownCertificate)
	f(a.state("*.prod.example.com"), nil, UnknownCertificate)
	f(a.state("x.edge.prod.example.com"), nil, UnknownCertificate)
	f(a.state(uri+"/more"), nil, UnknownCertificate)
	f(a.state("spiffe://example.com/ns/prod/Mesh"), nil, UnknownCertificate)
	f(a.state(), nil, UnknownCertificate) // its common name is edge.prod.example.com, and does not count
	f(&tls.ConnectionState{}, nil, NoCredentials)
	f(nil, nil, NoCredentials)

	unverified := a.state("edge.prod.example.com")
	unverified.VerifiedChains = nil
	f(unverified, nil, UnknownCertificate)
	unverified.VerifiedChains = [][]*x509.Certificate{{}}
	f(unverified, nil, UnknownCertificate)
}

// Every combination of what a push can present, against the words of the contract.
func TestPrecedence(t *testing.T) {
	a := newAuthority(t)
	headers := map[string][]string{
		"no header":      nil,
		"good header":    {"Bearer " + payToken},
		"bad header":     {"Bearer nobody"},
		"broken header":  {"Basic ?"},
		"empty header":   {""},
		"other scheme":   {"Digest x"},
		"two headers":    {"Bearer " + payToken, "Bearer " + payToken},
		"no/good header": {"", "Bearer " + payToken},
	}
	certs := map[string]*tls.ConnectionState{
		"plain text": nil, "no cert": {},
		"good cert": a.state("edge.prod.example.com"), "unknown cert": a.state("nobody.example.com"),
		"ambiguous cert":  a.state("edge.prod.example.com", "spiffe://example.com/ns/prod/mesh"),
		"unverified cert": {PeerCertificates: a.state("edge.prod.example.com").PeerCertificates},
	}
	want := func(header, cert string, pinned, anon *Client) *Client {
		switch {
		case header == "good header":
			return payments
		case header != "no header":
			return nil
		case cert == "good cert":
			return edge
		case cert != "plain text" && cert != "no cert":
			return nil
		case pinned != nil:
			return pinned
		}
		return anon
	}
	cases := 0
	for _, anon := range []*Client{nil, anonymous} {
		d := directory(t, anon)
		for header, h := range headers {
			for cert, state := range certs {
				for _, pinned := range []*Client{nil, legacy} {
					cases++
					got, reason := d.Identify(time.Now(), Credentials{Authorization: h, TLS: state, Pinned: pinned})
					if w := want(header, cert, pinned, anon); got != w || (w == nil) != (reason != "") {
						t.Errorf("%s, %s, pinned %v, anonymous %v: got %v, %q; want %v", header, cert, pinned, anon, got, reason, w)
					}
				}
			}
		}
	}
	if cases != 8*6*2*2 {
		t.Errorf("%d cases", cases)
	}
}

// A real listener with verify-if-given, as the push ports have.
func TestOverTLS(t *testing.T) {
	d, a := directory(t, anonymous), newAuthority(t)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, reason := d.Identify(time.Now(), Credentials{Authorization: r.Header["Authorization"], TLS: r.TLS})
		if c == nil {
			http.Error(w, string(reason), reason.Fault().HTTPStatus())
			return
		}
		_, _ = io.WriteString(w, c.String())
	}))
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	srv.TLS = &tls.Config{ClientCAs: roots, ClientAuth: tls.VerifyClientCertIfGiven}
	srv.StartTLS()
	defer srv.Close()

	f := func(cert *tls.Certificate, header, want string) {
		t.Helper()
		tr := srv.Client().Transport.(*http.Transport).Clone()
		defer tr.CloseIdleConnections()
		if cert != nil {
			tr.TLSClientConfig.Certificates = []tls.Certificate{*cert}
		}
		req, _ := http.NewRequest(http.MethodPost, srv.URL, nil)
		if header != "" {
			req.Header.Set("Authorization", header)
		}
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		if got := fmt.Sprint(res.StatusCode, " ", strings.TrimSpace(string(body))); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	edgeCert, nobody := a.client("edge.prod.example.com"), a.client("nobody.example.com")
	f(nil, "", "200 dev/anonymous")
	f(&edgeCert, "", "200 prod/edge")
	f(&nobody, "", "401 unknown_certificate")
	f(&edgeCert, "Bearer wrong", "401 unknown_credential")
	f(&nobody, "Bearer "+payToken, "200 prod/payments")
}

func TestReasonsAreFaults(t *testing.T) {
	texts := map[string]Reason{}
	for _, r := range Reasons() {
		e := r.Fault()
		if e.Kind != fault.Unauthenticated || e.HTTPStatus() != http.StatusUnauthorized {
			t.Errorf("%s is %d", r, e.HTTPStatus())
		}
		if other, ok := texts[e.Public]; ok || strings.Contains(e.Public, "\n") {
			t.Errorf("%s says %q, as %q does", r, e.Public, other)
		}
		texts[e.Public] = r
	}
	if len(texts) != 7 {
		t.Errorf("%d reasons, want 7", len(texts))
	}
	if e := Reason("").Fault(); e.Kind != fault.Unauthenticated {
		t.Errorf("the fault of no reason lets in: %v", e)
	}
	if got := errors.Unwrap(Malformed.Fault()); got != nil {
		t.Errorf("a fault carries %v", got)
	}
}
