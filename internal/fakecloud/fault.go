package fakecloud

import (
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
)

// Fault is one way to fail: when, and how. Its zero value does nothing to every push until it is cleared.
// Pushes with a wrong credential meet no fault.
type Fault struct {
	// User limits the fault to one instance. "": to none.
	User string
	// Times is how many pushes meet the fault. 0: all until it is cleared.
	Times int
	// Probability that a push meets the fault, between 0 and 1, by the dice of Options.Seed. 0: every push does.
	Probability float64

	// Delay holds the answer back. Alone it is a slow answer, not a wrong one.
	Delay time.Duration
	// Hang holds the answer back until the fault is cleared, or the sender goes away.
	Hang bool
	// Stored: the push is stored before it fails. What is lost is the answer.
	Stored bool

	// Status is answered instead of a success, with Header and Body. 0: no such answer.
	Status int
	Header http.Header
	Body   string
	// Break is how the connection breaks.
	Break Break

	// Code is what a gRPC call is answered with instead of OK, Body being its message; Status stands for HTTP alone then.
	// OK: no such answer, but that of the code which stands for Status.
	Code codes.Code
	// RetryDelay goes along with Code in a RetryInfo. Negative: in one that names no delay. 0: there is no RetryInfo.
	RetryDelay time.Duration

	// Reject is how many items OTLP answers to have rejected (partial_success); they count as not stored.
	Reject int
	// Message goes with Reject; alone it is a warning.
	Message string
	// NoWritten: a remote_write v2 push is stored, but the answer carries no Written headers.
	NoWritten bool

	cleared <-chan struct{}
}

// Break is a way in which a connection ends before its time.
type Break uint8

// The ways.
const (
	// Intact: it does not.
	Intact Break = iota
	// ResetBeforeBody resets the connection when the headers were read.
	ResetBeforeBody
	// ResetAfterBody resets it when all was read.
	ResetAfterBody
	// CloseAfterBody closes it in order, but without an answer: the sender sees EOF.
	CloseAfterBody
	// Truncate answers (Status, or 200) with a body that is shorter than its Content-Length.
	Truncate
)

// LoginPage is a success that is none: what a POST gets that was redirected to a web page.
func LoginPage() Fault {
	return Fault{
		Status: http.StatusOK,
		Header: http.Header{"Content-Type": {"text/html; charset=utf-8"}},
		Body:   "<!doctype html><title>Sign in</title><form action=/login></form>",
	}
}

// Redirect answers 302 with a Location.
func Redirect(location string) Fault {
	return Fault{Status: http.StatusFound, Header: http.Header{"Location": {location}}}
}

// TooMany answers 429 and asks to wait.
func TooMany(seconds int) Fault {
	return Fault{
		Status: http.StatusTooManyRequests,
		Header: http.Header{"Retry-After": {strconv.Itoa(seconds)}},
		Body:   "the request has been rejected because the tenant exceeded the ingestion rate limit (err-mimir-tenant-max-ingestion-rate)",
	}
}

// For returns the fault limited to the next n pushes.
func (f Fault) For(n int) Fault {
	f.Times = n
	return f
}

// Of returns the fault limited to one instance.
func (f Fault) Of(user string) Fault {
	f.User = user
	return f
}

// Outage is a fault that was set.
type Outage struct {
	f       *faults
	fault   Fault
	path    string
	cleared chan struct{}

	// guarded by faults.mu
	left int
	hits int
	over bool
}

// Fail lets pushes to an endpoint fail from now on. Of several faults that fit, the one set first is met.
func (c *Cloud) Fail(endpoint string, fault Fault) *Outage {
	return c.faults.add(endpoint, fault)
}

// Heal clears all faults.
func (c *Cloud) Heal() {
	for _, o := range c.faults.all() {
		o.Clear()
	}
}

// Clear ends the fault and lets go what hangs by it: those pushes are then treated as the rest of the fault says.
func (o *Outage) Clear() {
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	if !o.over {
		o.over = true
		close(o.cleared)
	}
}

// Hits is how many pushes met the fault so far.
func (o *Outage) Hits() int {
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	return o.hits
}

// faults are the outages of a cloud, in the order they were set.
type faults struct {
	mu   sync.Mutex // guards what follows, and the outages' own state
	list []*Outage
	dice *rand.Rand
}

func (fs *faults) init(seed uint64) { fs.dice = rand.New(rand.NewPCG(seed, 0)) }

func (fs *faults) add(path string, f Fault) *Outage {
	o := &Outage{f: fs, fault: f, path: path, cleared: make(chan struct{}), left: f.Times}
	o.fault.cleared = o.cleared
	fs.mu.Lock()
	defer fs.mu.Unlock()
	// What is over is dropped here, so that a demo of days does not collect it. A hang that no further push meets is
	// kept: those that hang by it are still to be let go by Heal.
	kept := fs.list[:0]
	for _, old := range fs.list {
		if !old.over && !(old.spent() && !old.fault.Hang) {
			kept = append(kept, old)
		}
	}
	clear(fs.list[len(kept):])
	fs.list = append(kept, o)
	return o
}

func (fs *faults) all() []*Outage {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return append([]*Outage(nil), fs.list...)
}

// claim returns the fault that a push meets; the zero Fault is none.
func (fs *faults) claim(path, user string) Fault {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, o := range fs.list {
		if o.spent() || !strings.HasPrefix(path, o.path) || o.fault.User != "" && o.fault.User != user {
			continue
		}
		if p := o.fault.Probability; p > 0 && fs.dice.Float64() >= p {
			continue
		}
		o.hits++
		o.left--
		return o.fault
	}
	return Fault{}
}

// spent says whether no more pushes meet the fault.
func (o *Outage) spent() bool { return o.over || o.fault.Times > 0 && o.left <= 0 }

// ends says whether the push gets no ordinary answer.
func (f Fault) ends() bool { return f.Status != 0 || f.Break != Intact }

// end answers or breaks as the fault says.
func (f Fault) end(w *recorder) {
	switch f.Break {
	case ResetBeforeBody, ResetAfterBody:
		reset(w)
	case CloseAfterBody:
		panic(http.ErrAbortHandler)
	}
	for k, vs := range f.Header {
		w.Header()[http.CanonicalHeaderKey(k)] = vs
	}
	n := len(f.Body)
	if f.Break == Truncate {
		n += 64
	}
	w.Header().Set("Content-Length", strconv.Itoa(n))
	status := f.Status
	if status == 0 {
		status = http.StatusOK
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(f.Body))
	if f.Break == Truncate {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// reset ends the connection with RST, at once. It does not return.
func reset(w *recorder) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: the stream is reset
	}
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = conn.Close()
	panic(http.ErrAbortHandler)
}
