// Package tenant says who speaks: it maps the credentials of a push to a client of an environment. A Directory is
// immutable and keeps no credential, only keyed digests, so that nothing can leak one and no answer takes longer because
// more of a guess was right. It never reads files, never writes to a sender and never logs; whether a client may send is
// for the road to decide. internal/gateway builds a Directory from the configuration and asks it once a push.
package tenant

import (
	"crypto/tls"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/secret"
)

// Client is an authenticated sender inside an environment. It does not change once it is in a Directory.
type Client struct {
	Environment, Name string
	// Disabled is the HTTP status that all its pushes get, 403 or 503; 0: it is served. It is identified either way.
	Disabled int
}

// String is environment/name, as logs and errors write it.
func (c *Client) String() string { return c.Environment + "/" + c.Name }

// Kind is how a client proves who it is.
type Kind uint8

// The kinds.
const (
	// Bearer: Authorization: Bearer, with one of Secrets.
	Bearer Kind = iota + 1
	// Basic: Authorization: Basic, with Username and one of Secrets.
	Basic
	// Cert: a verified certificate with the subject alternative name CertName.
	Cert
)

// Spec is one client's way to prove who it is.
type Spec struct {
	Client *Client
	Kind   Kind
	// Username is for Basic.
	Username string
	// File is where Secrets come from, as errors and the status name it.
	File    string
	Secrets []secret.Line
	// CertName is a DNS name, or a URI such as spiffe://example.com/edge.
	CertName string
}

// Credentials is what a push presents.
type Credentials struct {
	// Authorization has every header (or gRPC metadata value) of that name.
	Authorization []string
	// TLS is the state of the connection; nil on plain text.
	TLS *tls.ConnectionState
	// Pinned is the client of the listener that the push came in by, if its configuration names one.
	Pinned *Client
}

// Reason is why a sender was not identified: one of a fixed list, for gateway_auth_failures_total. Empty: it was.
type Reason string

// The reasons.
const (
	// NoCredentials: none were presented where some are needed.
	NoCredentials Reason = "no_credentials"
	// UnknownCredential: a token, or a user name and password, that no client has.
	UnknownCredential Reason = "unknown_credential"
	// UnknownCertificate: a certificate that is not verified or whose names no client has.
	UnknownCertificate Reason = "unknown_certificate"
	// AmbiguousCertificate: a verified certificate with names of several clients.
	AmbiguousCertificate Reason = "ambiguous_certificate"
	// SeveralHeaders: more than one Authorization header.
	SeveralHeaders Reason = "several_headers"
	// UnsupportedScheme: Authorization is neither Bearer nor Basic.
	UnsupportedScheme Reason = "unsupported_scheme"
	// Malformed: Authorization cannot be read.
	Malformed Reason = "malformed"
)

// Reasons returns all reasons, so that their counters can begin at 0.
func Reasons() []Reason {
	return []Reason{
		NoCredentials, UnknownCredential, UnknownCertificate, AmbiguousCertificate,
		SeveralHeaders, UnsupportedScheme, Malformed,
	}
}

// Fault is the answer to a sender that was not identified for reason r. It says what is wrong and repeats nothing of
// what was presented: answers end up in senders' logs.
func (r Reason) Fault() *fault.Error {
	text := "not identified"
	switch r {
	case NoCredentials:
		text = "no credentials: send Authorization: Bearer or Basic, or a client certificate"
	case UnknownCredential:
		text = "unknown credential: no client has this token, or this user name and password"
	case UnknownCertificate:
		text = "unknown certificate: no client has a name in it as its client_cert"
	case AmbiguousCertificate:
		text = "ambiguous certificate: several clients have a name in it as their client_cert, want 1"
	case SeveralHeaders:
		text = "several Authorization headers, want 1"
	case UnsupportedScheme:
		text = "unsupported Authorization scheme, want Bearer or Basic"
	case Malformed:
		text = "malformed Authorization header: want Bearer and a token, or Basic and base64 of user:password"
	}
	return &fault.Error{Kind: fault.Unauthenticated, Public: text}
}

// Use is when a credential last identified its client.
type Use struct {
	Environment string `json:"environment"`
	Client      string `json:"client"`
	// File and Line are where it stands. A certificate name has neither.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	// At is zero if it has not been used since this process began.
	At time.Time `json:"at,omitzero"`
}
