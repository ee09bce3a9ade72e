// Package limits decides whether an environment may send more right now.
// It counts and refuses; it never waits, logs or drops. The road calls it.
package limits

import (
	"sync/atomic"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// InFlight bounds the memory that all pushes hold together: server.max_inflight_bytes. No client and no upstream may
// hold more than half of it, so that one sender's flood or one dead upstream leaves room for the others.
type InFlight struct {
	max  atomic.Int64
	used atomic.Int64
}

// Share is what one client, or the pushes towards one upstream, hold of it.
type Share struct {
	// Name is told to the sender: `client "payments"`, `upstream "loki"`.
	Name string
	used atomic.Int64
}

// NewInFlight returns an InFlight of maxBytes.
func NewInFlight(maxBytes int64) *InFlight {
	f := new(InFlight)
	f.SetMax(maxBytes)
	return f
}

// SetMax changes the bound. Pushes in flight keep what they hold.
func (f *InFlight) SetMax(maxBytes int64) { f.max.Store(maxBytes) }

// Used is how many bytes all pushes hold now.
func (f *InFlight) Used() int64 { return f.used.Load() }

// Account is what one push holds. One goroutine owns it; the zero value holds nothing and cannot.
type Account struct {
	f                *InFlight
	client, upstream *Share
	held             int64
}

// Open returns the account of a push of client towards upstream; either may be nil.
func (f *InFlight) Open(client, upstream *Share) Account {
	return Account{f: f, client: client, upstream: upstream}
}

// Add takes n bytes, or gives them back when n is negative. It takes all or nothing; its error is Overloaded.
// Giving back never fails, also when SetMax has lowered the bound below what is held.
func (a *Account) Add(n int) *fault.Error {
	d := int64(n)
	if d <= 0 {
		a.give(-d)
		return nil
	}
	// The narrowest first: who is over its own half is told so, and never stands in the way of the others meanwhile.
	limit := a.f.max.Load()
	if alone := a.held + d; alone > limit/2 && (a.client != nil || a.upstream != nil) {
		// No retry can mend this, and still it is not the sender who has to: the key can be raised while it retries.
		return fault.New(fault.Overloaded, "no room in flight: this push alone needs %d bytes, over half of server.max_inflight_bytes=%d, "+
			"and can never pass: raise the key, or send smaller pushes", alone, limit/2).WithAfter(fault.Soon())
	}
	if s := a.client; s != nil {
		if used, ok := take(&s.used, d, limit/2); !ok {
			return overloaded(s.Name+" holds", used, limit/2, "half of server.max_inflight_bytes")
		}
	}
	if s := a.upstream; s != nil {
		if used, ok := take(&s.used, d, limit/2); !ok {
			giveShare(a.client, d)
			return overloaded("pushes for "+s.Name+" hold", used, limit/2, "half of server.max_inflight_bytes")
		}
	}
	if used, ok := take(&a.f.used, d, limit); !ok {
		giveShare(a.client, d)
		giveShare(a.upstream, d)
		return overloaded("all pushes together hold", used, limit, "server.max_inflight_bytes")
	}
	a.held += d
	return nil
}

// Close gives everything back.
func (a *Account) Close() {
	if a.held != 0 {
		a.give(a.held)
	}
}

func (a *Account) give(d int64) {
	a.f.used.Add(-d)
	giveShare(a.client, d)
	giveShare(a.upstream, d)
	a.held -= d
}

func giveShare(s *Share, d int64) {
	if s != nil {
		s.used.Add(-d)
	}
}

// take adds d to used unless that passes limit, and returns the sum either way. It compares and swaps: to add first and
// take back after would show others, for a moment, memory that nobody holds, and refuse them for it.
func take(used *atomic.Int64, d, limit int64) (sum int64, ok bool) {
	for {
		old := used.Load()
		if sum = old + d; sum > limit {
			return sum, false
		}
		if used.CompareAndSwap(old, sum) {
			return sum, true
		}
	}
}

func overloaded(who string, used, limit int64, key string) *fault.Error {
	return fault.New(fault.Overloaded, "no room in flight: %s %d bytes with this push, over %s=%d", who, used, key, limit).
		WithAfter(fault.Soon())
}
