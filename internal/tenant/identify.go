package tenant

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"
)

// Identify says who presents c, or why nobody known does. An Authorization header decides alone; else a certificate
// does; a listener's client and the anonymous one are for those who present neither.
func (d *Directory) Identify(now time.Time, c Credentials) (*Client, Reason) {
	switch {
	case len(c.Authorization) > 1:
		return nil, SeveralHeaders
	case len(c.Authorization) == 1:
		return d.byHeader(now, c.Authorization[0])
	case c.TLS != nil && len(c.TLS.PeerCertificates)+len(c.TLS.VerifiedChains) > 0:
		return d.byCertificate(now, c)
	case c.Pinned != nil:
		return c.Pinned, ""
	case d.anonymous != nil:
		return d.anonymous, ""
	}
	return nil, NoCredentials
}

// byHeader hashes what is presented once, and whole, whether it is right, nearly right or not at all, and looks the
// digest up. To learn from the time of that lookup, one would have to know the key.
func (d *Directory) byHeader(now time.Time, header string) (*Client, Reason) {
	if len(header) > maxHeaderBytes {
		return nil, Malformed
	}
	scheme, rest, _ := strings.Cut(strings.Trim(header, " \t"), " ")
	rest = strings.TrimLeft(rest, " \t")
	var room [512]byte // on the stack; a longer credential costs one allocation
	var message []byte
	switch {
	case strings.EqualFold(scheme, "bearer"):
		if rest == "" {
			return nil, Malformed
		}
		message = append(d.keyed(room[:0], Bearer), rest...)
	case strings.EqualFold(scheme, "basic"):
		var err error
		message = d.keyed(room[:0], Basic)
		begin := len(message)
		message, err = base64.StdEncoding.AppendDecode(message, []byte(rest))
		// The user name ends at the first colon; a configured one has none, so user:password needs no parting.
		if err != nil || !slices.Contains(message[begin:], ':') {
			return nil, Malformed
		}
	default:
		return nil, UnsupportedScheme
	}
	e := d.secrets[sha256.Sum256(message)]
	if e == nil {
		return nil, UnknownCredential
	}
	return e.use(now), ""
}

// byCertificate finds the one client that a verified certificate names. Its names are no secret.
func (d *Directory) byCertificate(now time.Time, c Credentials) (*Client, Reason) {
	if len(c.TLS.VerifiedChains) == 0 || len(c.TLS.VerifiedChains[0]) == 0 {
		return nil, UnknownCertificate // presented, but nobody vouches for it
	}
	leaf := c.TLS.VerifiedChains[0][0]
	var found *entry
	several := false
	match := func(name string) {
		if e := d.names[name]; e != nil {
			several = several || found != nil && !found.same(e)
			found = e
		}
	}
	for _, name := range leaf.DNSNames {
		match(strings.ToLower(name))
	}
	for _, u := range leaf.URIs {
		match(u.String())
	}
	switch {
	case found == nil:
		return nil, UnknownCertificate
	case several:
		return nil, AmbiguousCertificate
	}
	return found.use(now), ""
}

// use notes that e has identified its client, at most once a second: its cache line is every core's.
func (e *entry) use(now time.Time) *Client {
	if s := now.Unix(); e.used.Load() < s {
		e.used.Store(s)
	}
	return e.client
}
