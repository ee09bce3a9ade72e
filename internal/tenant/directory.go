package tenant

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// maxHeaderBytes bounds an Authorization header that is looked into. All headers together may have 16 KiB.
	maxHeaderBytes = 8 << 10
	// maxSecretBytes bounds a credential (with its user name) such that its base64 fits into maxHeaderBytes.
	maxSecretBytes = 4 << 10
)

// digest stands for a credential. It is SHA-256 over a secret key, the kind and the credential. HMAC would be no
// better: it guards against who sees digests and extends them, and no digest leaves the process.
type digest [sha256.Size]byte

// Directory knows every client's credentials by their digests.
type Directory struct {
	// key is random, and the same for all Directories that follow each other, so that digests can be carried over. It is
	// a func since fmt shows no more than the address of one; it shows what a pointer points to if the verb is wrong.
	key       func() [32]byte
	secrets   map[digest]*entry
	names     map[string]*entry // certificate names, normalized
	anonymous *Client
	entries   []*entry
}

// entry is one credential of a client: a line of its file, or a certificate name.
type entry struct {
	client *Client
	file   string
	line   int
	used   *atomic.Int64 // Unix seconds; 0: never. Shared with the same credential of the Directories before and after.
}

// Problem is a fault in the specs that the files' content is at least half to blame for, if there are Files.
type Problem struct {
	// Files hold what is wrong. Whoever watches them can keep their last good content.
	Files []string
	Text  string
}

// Problems are all that was found. They never quote a credential.
type Problems []Problem

func (ps Problems) Error() string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.Text
	}
	return strings.Join(texts, "; ")
}

// Refusals returns the problems by file, in the form in which secret.Store takes them.
func (ps Problems) Refusals() map[string]error {
	refused := map[string]error{}
	for _, p := range ps {
		for _, f := range p.Files {
			if refused[f] == nil {
				refused[f] = Problems{p}
			}
		}
	}
	return refused
}

// NewDirectory returns a Directory of specs. Who presents nothing is anonymous, if that is not nil. From previous, which
// may be nil, it takes when credentials were last used. Its error is of type Problems.
func NewDirectory(specs []Spec, anonymous *Client, previous *Directory) (*Directory, error) {
	d := &Directory{
		secrets:   map[digest]*entry{},
		names:     map[string]*entry{},
		anonymous: anonymous,
	}
	if previous != nil {
		d.key = previous.key
	} else {
		var key [32]byte
		_, _ = rand.Read(key[:]) // ends the process rather than fail
		d.key = func() [32]byte { return key }
	}
	var problems Problems
	for i := range specs {
		if specs[i].Kind == Cert {
			problems = append(problems, d.addName(&specs[i], previous)...)
		} else {
			problems = append(problems, d.addSecrets(&specs[i], previous)...)
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	slices.SortStableFunc(d.entries, func(a, b *entry) int {
		return cmp.Or(
			cmp.Compare(a.client.Environment, b.client.Environment), cmp.Compare(a.client.Name, b.client.Name),
			cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line))
	})
	return d, nil
}

// addSecrets adds every line of a client's file.
func (d *Directory) addSecrets(s *Spec, previous *Directory) Problems {
	if s.Kind == Basic && (s.Username == "" || strings.Contains(s.Username, ":")) {
		return Problems{{Text: fmt.Sprintf("username of %s is empty or has a colon", s.Client)}}
	}
	if len(s.Secrets) == 0 {
		return Problems{{[]string{s.File}, fmt.Sprintf("%s of %s holds no secret, want one a line", s.File, s.Client)}}
	}
	var problems Problems
	for _, line := range s.Secrets {
		plain := line.Value.Reveal()
		if s.Kind == Basic {
			plain = s.Username + ":" + plain
		}
		if len(plain) > maxSecretBytes {
			problems = append(problems, Problem{[]string{s.File}, fmt.Sprintf("%s:%d of %s has %d bytes, over the %d of a credential",
				s.File, line.Number, s.Client, len(plain), maxSecretBytes)})
			continue
		}
		e := &entry{client: s.Client, file: s.File, line: line.Number, used: new(atomic.Int64)}
		k := digest(sha256.Sum256(append(d.keyed(nil, s.Kind), plain...)))
		if other := d.secrets[k]; other == nil {
			if previous != nil {
				e.keep(previous.secrets[k])
			}
			d.secrets[k] = e
		} else if !other.same(e) {
			problems = append(problems, Problem{[]string{other.file, e.file}, fmt.Sprintf(
				"%s:%d of %s has the same credential as %s:%d of %s, want one of its own for each client",
				e.file, e.line, e.client, other.file, other.line, other.client)})
			continue
		} else {
			e.used = other.used // the same line twice in one file does no harm
		}
		d.entries = append(d.entries, e)
	}
	return problems
}

// addName adds a client's certificate name.
func (d *Directory) addName(s *Spec, previous *Directory) Problems {
	name := normalize(s.CertName)
	e := &entry{client: s.Client, used: new(atomic.Int64)}
	switch other := d.names[name]; {
	case name == "":
		return Problems{{Text: fmt.Sprintf("client_cert of %s is empty", s.Client)}}
	case other != nil && !other.same(e):
		return Problems{{Text: fmt.Sprintf("client_cert of %s is that of %s too, want one of its own for each client",
			s.Client, other.client)}}
	case other != nil:
		return nil
	}
	if previous != nil {
		e.keep(previous.names[name])
	}
	d.names[name] = e
	d.entries = append(d.entries, e)
	return nil
}

// same says that both credentials are of one client.
func (e *entry) same(o *entry) bool {
	return e.client.Environment == o.client.Environment && e.client.Name == o.client.Name
}

// keep takes over when the same credential of the same client was last used. Pushes that began with the old Directory
// still count, since both share the number.
func (e *entry) keep(old *entry) {
	if old != nil && old.same(e) {
		e.used = old.used
	}
}

// keyed appends what goes into a digest before the credential.
func (d *Directory) keyed(dst []byte, k Kind) []byte {
	key := d.key()
	return append(append(dst, key[:]...), byte(k))
}

// LastUsed returns every line of every client's file, and every certificate name, by environment, client, file and line.
func (d *Directory) LastUsed() []Use {
	uses := make([]Use, len(d.entries))
	for i, e := range d.entries {
		uses[i] = Use{Environment: e.client.Environment, Client: e.client.Name, File: e.file, Line: e.line}
		if s := e.used.Load(); s > 0 {
			uses[i].At = time.Unix(s, 0)
		}
	}
	return uses
}

// normalize writes a certificate name as byCertificate looks it up: a DNS name in lower case, a URI as net/url does.
// A DNS name is none of a URI's, since it has no colon.
func normalize(name string) string {
	if !strings.Contains(name, ":") {
		return strings.ToLower(name)
	}
	if u, err := url.Parse(name); err == nil {
		return u.String()
	}
	return name
}
