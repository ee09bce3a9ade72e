package limits

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// Rates are rate limits as a configuration names them. A limit that is 0 is none.
type Rates struct {
	// Key is the section they stand in: environments.prod.metrics.limits.
	Key string
	// KeyOf, if not nil, is the whole key of a limit such as requests_per_second, where not all stand in one section.
	KeyOf func(limit string) string

	RequestsPerSecond float64
	// BytesPerSecond counts decoded bytes.
	BytesPerSecond float64
	// ItemsPerSecond counts what the signal is measured in, and ItemsKey is its name: samples_per_second.
	ItemsPerSecond float64
	ItemsKey       string
	// BurstSeconds is how many seconds of a rate may come at once. 0: 10. One request may always.
	BurstSeconds float64
	// Backpressure: what is over a limit is refused with 503, not with 429.
	Backpressure bool
}

// kind is what a limit counts.
type kind = int

const (
	requests kind = iota
	bytes
	items
	kinds
)

// names are the keys of limits. Those of items differ: Rates.ItemsKey.
var names = [kinds]string{requests: "requests_per_second", bytes: "bytes_per_second"}

// limit returns limit k and its whole key.
func (r *Rates) limit(k kind) (perSecond float64, key string) {
	name := names[k]
	if k == items {
		name = r.ItemsKey
	}
	key = r.Key + "." + name
	if r.KeyOf != nil {
		key = r.KeyOf(name)
	}
	return [kinds]float64{r.RequestsPerSecond, r.BytesPerSecond, r.ItemsPerSecond}[k], key
}

// Meter is what one client may send of one signal: the buckets of its environment and its own. The road holds one and
// asks it twice a push. A nil Meter has no limits.
type Meter struct {
	environment    *environment
	pool           *pool
	client, signal string
	limited        atomic.Bool // false: there is no bucket to look at, and no lock to take
	own            [kinds]*bucket
	ownItems       bucket
	next           *terms // noted and not yet in force; nil: none
	slot           int    // in pool.active; -1: not there
	seen           float64
}

// environment holds all buckets of one environment.
type environment struct {
	name string

	mu      sync.Mutex       // guards what follows, and what changes of every Meter and pool of this environment
	epoch   time.Time        // of the first push: from when its clock counts
	pools   map[string]*pool // by signal
	clients map[string]*client
}

// clock is now in seconds since the first push: numbers, since a short bucket reckons with the times of all shares.
func (e *environment) clock(now time.Time) float64 {
	if e.epoch.IsZero() {
		return 0
	}
	return now.Sub(e.epoch).Seconds()
}

// client holds the buckets that a client has over all signals.
type client struct {
	requests, bytes bucket
	meters          map[string]*Meter // by signal
}

// Lease is what a push has taken. One goroutine owns it; the zero value has taken nothing and never will.
type Lease struct {
	m    *Meter
	took [kinds]float64
}

// Request takes one request of every bucket or of none. Its error is RateLimited.
func (m *Meter) Request(now time.Time) (Lease, *fault.Error) {
	if m == nil || !m.limited.Load() {
		return Lease{}, nil
	}
	l := Lease{m: m}
	return l, l.take(now, [kinds]float64{requests: 1})
}

// Items takes the push's decoded bytes and its items, of every bucket or of none. Its error is RateLimited.
func (l *Lease) Items(now time.Time, decodedBytes, n int) *fault.Error {
	if l.m == nil {
		return nil
	}
	return l.take(now, [kinds]float64{bytes: float64(decodedBytes), items: float64(n)})
}

// Return gives back all that was taken, once: upstream did not take the push.
func (l *Lease) Return() {
	if l.took == [kinds]float64{} {
		return
	}
	m := l.m
	m.environment.mu.Lock()
	defer m.environment.mu.Unlock()
	for k, n := range l.took {
		m.pool.give(k, m, n)
		m.own[k].give(n)
	}
	l.took = [kinds]float64{}
}

// refusal is why tokens were not there: of which bucket, how it stood, and how long that lasts.
type refusal struct {
	bucket
	kind    kind
	want    float64
	left    float64 // what the client could have taken
	seconds float64
	clients int // that share the bucket; 0: it is the client's own
}

func (l *Lease) take(now time.Time, want [kinds]float64) *fault.Error {
	if r := l.m.take(now, &want); r.seconds > 0 {
		return l.m.refuse(&r)
	}
	for k, n := range want {
		l.took[k] += n
	}
	return nil
}

// take takes of every bucket or of none; then it returns the bucket that takes longest to have enough.
func (m *Meter) take(at time.Time, want *[kinds]float64) (r refusal) {
	m.environment.mu.Lock()
	defer m.environment.mu.Unlock()
	if m.environment.epoch.IsZero() {
		m.environment.epoch = at
	}
	p, now := m.pool, m.environment.clock(at)
	p.touch(m, now)
	var free [kinds]float64
	for k, n := range want {
		if n <= 0 {
			continue
		}
		if b := &p.buckets[k]; b.limit > 0 {
			b.advance(now)
			rate, reserve := p.parts(k)
			p.shares[k][m.slot].advance(now, rate, reserve)
			b.ask(n)
			var seconds float64
			if seconds, free[k] = p.wait(k, m, now, n); seconds > r.seconds {
				r = refusal{bucket: *b, kind: k, want: n, left: free[k], seconds: seconds, clients: len(p.active)}
			}
		}
		if b := m.own[k]; b.limit > 0 {
			b.advance(now)
			b.ask(n)
			if seconds := b.wait(n); seconds > r.seconds {
				r = refusal{bucket: *b, kind: k, want: n, left: b.level, seconds: seconds}
			}
		}
	}
	if r.seconds > 0 {
		return r
	}
	for k, n := range want {
		if n <= 0 {
			continue
		}
		if p.buckets[k].limit > 0 {
			p.take(k, m, n, free[k])
		}
		if b := m.own[k]; b.limit > 0 {
			b.level -= n
		}
	}
	return r
}

// refuse tells the sender. It is not called under the lock: a flood of refusals must not slow down those who may send.
func (m *Meter) refuse(r *refusal) *fault.Error {
	unit := "request" // always one
	switch r.kind {
	case bytes:
		unit = "decoded bytes"
	case items:
		unit = strings.TrimSuffix(r.name(), "_per_second")
	}
	shared, left := "", "left"
	if r.clients > 1 {
		shared, left = fmt.Sprintf(", which %d active clients share,", r.clients), "left for it"
	}
	after := retryAfter(r.seconds)
	e := fault.New(fault.RateLimited, "environment %s: client %s is over a rate limit: this push wants %s %s, and %s=%s%s has %s of %s %s; "+
		"%s a second were asked for lately; try again in %d s", m.environment.name, m.client, number(r.want), unit,
		r.key, strconv.FormatFloat(r.limit, 'f', -1, 64), shared, number(max(0, r.left)), number(r.capacity), left,
		number(r.asked), after/time.Second).WithAfter(after)
	if r.backpressure {
		return e.Backpressure()
	}
	return e
}

// number is x as people read it: no fraction where it does not matter, no exponent.
func number(x float64) string {
	if math.Abs(x) < 100 {
		x = math.Round(x*100) / 100
	} else {
		x = math.Round(x)
	}
	return strconv.FormatFloat(x, 'f', -1, 64)
}

// maxAfter is the longest Retry-After, in seconds.
const maxAfter = 60

// retryAfter is when a sender should come back whose push fits in so many seconds: then or a little later, so that not all
// come at once, since earlier is another refusal. Where it is another refusal anyway, the longest wait is varied downward.
func retryAfter(seconds float64) time.Duration {
	if seconds >= maxAfter {
		return time.Duration(maxAfter-rand.IntN(maxAfter/5)) * time.Second
	}
	s := max(1, int(math.Ceil(seconds)))
	return time.Duration(min(maxAfter, s+rand.IntN(2+s/5))) * time.Second
}
