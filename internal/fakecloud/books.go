package fakecloud

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
)

// Stats is what arrived at endpoints, and what became of it.
type Stats struct {
	// Requests arrived, whatever came of them.
	Requests int
	// Codes counts the answers by HTTP status; a gRPC call counts as 200 if it was OK, else under its code, 1 to 16.
	// 0: the connection ended without an answer.
	Codes map[int]int
	// Pushes were stored with Items in them, whatever was answered. Bytes are their bodies as they came.
	Pushes, Items, Bytes int
	// Header is that of the last request, credential included.
	Header http.Header
}

// Violation is a rule of a protocol that a push broke.
type Violation struct{ User, Endpoint, Text string }

func (v Violation) String() string { return v.Endpoint + " as " + v.User + ": " + v.Text }

// maxViolations is how many are kept: the first tell the story.
const maxViolations = 1000

// books are all that a cloud remembers.
type books struct {
	mu         sync.Mutex // guards what follows
	stats      map[account]*Stats
	keep       int
	pushes     []*Push // the newest, oldest first
	violations []Violation
	changed    chan struct{} // closed and replaced when a number changes
}

type account struct{ user, path string }

func (b *books) init(keep int) {
	b.keep = keep
	b.stats = map[account]*Stats{}
	b.changed = make(chan struct{})
}

// of returns the account's numbers; b.mu is held.
func (b *books) of(user, path string) *Stats {
	s := b.stats[account{user, path}]
	if s == nil {
		s = &Stats{Codes: map[int]int{}}
		b.stats[account{user, path}] = s
	}
	return s
}

// change wakes up who waits; b.mu is held.
func (b *books) change() {
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *books) arrived(user, path string, h http.Header) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.of(user, path)
	s.Requests++
	s.Header = h.Clone()
	b.change()
}

func (b *books) answered(user, path string, status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.of(user, path).Codes[status]++
	b.change()
}

func (b *books) breached(user, path string, texts []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range texts {
		if len(b.violations) < maxViolations {
			b.violations = append(b.violations, Violation{user, path, t})
		}
	}
}

// store keeps the push.
func (b *books) store(p *Push) {
	if b.keep < 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.pushes) >= b.keep {
		copy(b.pushes, b.pushes[1:])
		b.pushes = b.pushes[:len(b.pushes)-1]
	}
	b.pushes = append(b.pushes, p)
}

// stored counts the push.
func (b *books) stored(p *Push) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.of(p.Instance.User, p.Endpoint)
	s.Pushes++
	s.Items += p.Items - p.Rejected
	s.Bytes += p.WireBytes
	b.change()
}

// sum adds up what fits; b.mu is held.
func (b *books) sum(user, endpoint string) Stats {
	out := Stats{Codes: map[int]int{}}
	for a, s := range b.stats {
		if user != "" && a.user != user || !strings.HasPrefix(a.path, endpoint) {
			continue
		}
		out.Requests += s.Requests
		out.Pushes += s.Pushes
		out.Items += s.Items
		out.Bytes += s.Bytes
		for code, n := range s.Codes {
			out.Codes[code] += n
		}
		if out.Header == nil {
			out.Header = maps.Clone(s.Header)
		}
	}
	return out
}

// Stats returns the numbers of a user at an endpoint; "" is all users, all endpoints. Of several endpoints Header is
// that of any one.
func (c *Cloud) Stats(user, endpoint string) Stats {
	c.books.mu.Lock()
	defer c.books.mu.Unlock()
	return c.books.sum(user, endpoint)
}

// Pushes returns the stored pushes of a user at an endpoint, oldest first, as far as Options.Keep reaches.
func (c *Cloud) Pushes(user, endpoint string) []*Push {
	c.books.mu.Lock()
	defer c.books.mu.Unlock()
	var out []*Push
	for _, p := range c.books.pushes {
		if (user == "" || p.Instance.User == user) && strings.HasPrefix(p.Endpoint, endpoint) {
			out = append(out, p)
		}
	}
	return out
}

// Violations returns what pushes broke so far, the first 1000: rules of the protocols, and headers that must not leave
// a gateway. A test of a correct sender asks for none.
func (c *Cloud) Violations() []Violation {
	c.books.mu.Lock()
	defer c.books.mu.Unlock()
	return append([]Violation(nil), c.books.violations...)
}

// WaitItems waits until at least n items of a user are stored at an endpoint, and OnPush has returned for them.
func (c *Cloud) WaitItems(ctx context.Context, user, endpoint string, n int) error {
	return c.wait(ctx, user, endpoint, n, "items stored", func(s Stats) int { return s.Items })
}

// WaitRequests waits until at least n requests of a user arrived at an endpoint, answered or not.
func (c *Cloud) WaitRequests(ctx context.Context, user, endpoint string, n int) error {
	return c.wait(ctx, user, endpoint, n, "requests arrived", func(s Stats) int { return s.Requests })
}

func (c *Cloud) wait(ctx context.Context, user, endpoint string, n int, what string, count func(Stats) int) error {
	for {
		c.books.mu.Lock()
		have, changed := count(c.books.sum(user, endpoint)), c.books.changed
		c.books.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for %d %s at %q as %q: %d so far: %w", n, what, endpoint, user, have, ctx.Err())
		}
	}
}
