// Package fault names what can go wrong with a push and what that means to its sender: an HTTP status, a gRPC code,
// whether a retry can help, and how long to wait. It never writes to a sender, logs or counts: the road does.
// Every stage of the road returns a *fault.Error, or an error that the road takes for Internal.
package fault

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"
)

// Kind is the cause of a failure. It alone decides the answer (see HTTPStatus and Code), so that every door gives the
// same answer to the same cause.
type Kind uint8

// The causes, in the order of the answers table in README.md.
const (
	// Internal is a defect of the gateway itself. Senders keep the push and try again.
	Internal Kind = iota
	// Unauthenticated: no credential, or one that is not known.
	Unauthenticated
	// Disabled: the client is switched off by its `disabled` key.
	Disabled
	// NoExit: the environment has no upstream for this signal.
	NoExit
	// Unsupported: Content-Type or Content-Encoding that the door does not take.
	Unsupported
	// Malformed: not well formed, or not valid for the protocol.
	Malformed
	// TooLarge: over server.max_body_bytes or server.max_decoded_bytes.
	TooLarge
	// RateLimited: over a rate limit of the environment or the client, or of upstream. See Backpressure.
	RateLimited
	// Overloaded: no room in flight, draining, or a body that did not arrive in time.
	Overloaded
	// Rejected: upstream judged the data and refused it for good (400, 409, 413, 422).
	Rejected
	// Misconfigured: upstream refuses *us* (401, 403, 404, 3xx, any other 4xx). The sender's data is kept by a retry.
	Misconfigured
	// UpstreamFailed: upstream answered 5xx, or a success that is none.
	UpstreamFailed
	// Unreachable: no HTTP answer from upstream (DNS, dial, TLS, reset, EOF).
	Unreachable
	// Timeout: upstream did not answer within its `timeout`.
	Timeout
	// Canceled: the sender went away before the answer.
	Canceled
)

// Error is a failed push, in two halves: what the sender reads and what we log.
type Error struct {
	Kind Kind
	// Status overrides Kind's HTTP status where upstream's own code is passed on (Rejected) or it is configured (Disabled,
	// and RateLimited by Backpressure). 0: Kind's.
	Status int
	// Upstream is upstream's HTTP status, 0 if it gave none. It is the `code` under which items are counted as failed.
	Upstream int
	// Public is sent to the sender: one line that names the environment, the cause, the config key and both numbers.
	Public string
	// Err is logged and never sent. May be nil.
	Err error
	// After is what Retry-After says. Not positive: no such header.
	After time.Duration
}

// Soon is when a sender should come back that met a lack of room: in 1 or 2 s, so that not all come at once.
func Soon() time.Duration { return time.Duration(1+rand.IntN(2)) * time.Second }

// About is d, a fifth more or less: senders that failed together do not come back together.
func About(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)*0.4*float64(d))
}

// New returns an Error of kind k whose public text is built from format.
func New(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Public: fmt.Sprintf(format, args...)}
}

// WithAfter sets what Retry-After says, in whole seconds rounded up, and returns e.
func (e *Error) WithAfter(d time.Duration) *Error {
	// A second too early is a second refusal.
	e.After = (d + time.Second - 1).Truncate(time.Second)
	return e
}

// Backpressure makes e, which is RateLimited, a 503 for senders that drop what is answered 429 (on_rate_limit:
// backpressure), and returns it. Its Kind and Reason stay.
func (e *Error) Backpressure() *Error {
	e.Status = http.StatusServiceUnavailable
	return e
}

// WithErr sets the half that is only logged and returns e.
func (e *Error) WithErr(err error) *Error {
	e.Err = err
	return e
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Public
	}
	return e.Public + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// From returns err as an *Error. What is none becomes Internal, with nothing of its text in the public half.
func From(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: Internal, Public: "internal error of the gateway", Err: err, After: About(5 * time.Second).Round(time.Second)}
}

// HTTPStatus is the status that HTTP doors answer.
func (e *Error) HTTPStatus() int {
	if e.Status != 0 {
		return e.Status
	}
	return kinds[e.Kind].status
}

// Code is the gRPC code that gRPC doors answer. Whether RetryInfo goes with it is decided by After alone.
func (e *Error) Code() codes.Code {
	switch {
	case e.Kind == Rejected && e.Status == http.StatusRequestEntityTooLarge:
		return codes.ResourceExhausted
	case (e.Kind == Disabled || e.Kind == RateLimited) && e.HTTPStatus() == http.StatusServiceUnavailable:
		return codes.Unavailable
	}
	return kinds[e.Kind].code
}

// Reason is the cause as a short fixed word, for log throttling and for gateway_auth_failures_total.
func (e *Error) Reason() string { return kinds[e.Kind].reason }

var kinds = [...]struct {
	reason string
	status int
	code   codes.Code
}{
	// A defect of ours must not cost the sender its data: 500 would (OTLP clients drop on it).
	Internal:        {"internal", http.StatusServiceUnavailable, codes.Unavailable},
	Unauthenticated: {"unauthenticated", http.StatusUnauthorized, codes.Unauthenticated},
	Disabled:        {"disabled", http.StatusForbidden, codes.PermissionDenied},
	NoExit:          {"no_exit", http.StatusNotFound, codes.Unimplemented},
	Unsupported:     {"unsupported", http.StatusUnsupportedMediaType, codes.Unimplemented},
	Malformed:       {"malformed", http.StatusBadRequest, codes.InvalidArgument},
	TooLarge:        {"too_large", http.StatusRequestEntityTooLarge, codes.ResourceExhausted},
	RateLimited:     {"rate_limit", http.StatusTooManyRequests, codes.ResourceExhausted},
	Overloaded:      {"overloaded", http.StatusServiceUnavailable, codes.Unavailable},
	Rejected:        {"rejected", http.StatusBadRequest, codes.InvalidArgument},
	Misconfigured:   {"misconfigured", http.StatusServiceUnavailable, codes.Unavailable},
	UpstreamFailed:  {"upstream_failed", http.StatusServiceUnavailable, codes.Unavailable},
	Unreachable:     {"unreachable", http.StatusBadGateway, codes.Unavailable},
	Timeout:         {"timeout", http.StatusGatewayTimeout, codes.Unavailable},
	Canceled:        {"canceled", 499, codes.Canceled},
}
