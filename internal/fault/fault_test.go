package fault

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

// TestKinds is the answers table of README.md.
func TestKinds(t *testing.T) {
	f := func(k Kind, status int, code codes.Code, reason string) {
		t.Helper()
		e := New(k, "x")
		if e.HTTPStatus() != status || e.Code() != code || e.Reason() != reason {
			t.Errorf("kind %d: %d %s %s, want %d %s %s", k, e.HTTPStatus(), e.Code(), e.Reason(), status, code, reason)
		}
	}
	f(Internal, 503, codes.Unavailable, "internal")
	f(Unauthenticated, 401, codes.Unauthenticated, "unauthenticated")
	f(Disabled, 403, codes.PermissionDenied, "disabled")
	f(NoExit, 404, codes.Unimplemented, "no_exit")
	f(Unsupported, 415, codes.Unimplemented, "unsupported")
	f(Malformed, 400, codes.InvalidArgument, "malformed")
	f(TooLarge, 413, codes.ResourceExhausted, "too_large")
	f(RateLimited, 429, codes.ResourceExhausted, "rate_limit")
	f(Overloaded, 503, codes.Unavailable, "overloaded")
	f(Rejected, 400, codes.InvalidArgument, "rejected")
	f(Misconfigured, 503, codes.Unavailable, "misconfigured")
	f(UpstreamFailed, 503, codes.Unavailable, "upstream_failed")
	f(Unreachable, 502, codes.Unavailable, "unreachable")
	f(Timeout, 504, codes.Unavailable, "timeout")
	f(Canceled, 499, codes.Canceled, "canceled")
	if int(Canceled)+1 != len(kinds) {
		t.Errorf("%d kinds, %d rows", Canceled+1, len(kinds))
	}
	seen := map[string]bool{}
	for k, row := range kinds {
		if row.reason == "" || row.status == 0 || row.code == codes.OK || seen[row.reason] {
			t.Errorf("kind %d: row %+v is empty or doubled", k, row)
		}
		seen[row.reason] = true
		// OTLP clients drop on a 500: none of our causes may be one.
		if row.status == http.StatusInternalServerError {
			t.Errorf("kind %d answers 500", k)
		}
	}
}

func TestStatusOverrides(t *testing.T) {
	f := func(k Kind, status int, code codes.Code) {
		t.Helper()
		e := &Error{Kind: k, Status: status}
		if e.HTTPStatus() != status || e.Code() != code {
			t.Errorf("kind %d status %d: %d %s, want %s", k, status, e.HTTPStatus(), e.Code(), code)
		}
	}
	f(Rejected, 400, codes.InvalidArgument)
	f(Rejected, 409, codes.InvalidArgument)
	f(Rejected, 413, codes.ResourceExhausted)
	f(Rejected, 422, codes.InvalidArgument)
	f(Disabled, 403, codes.PermissionDenied)
	f(Disabled, 503, codes.Unavailable)
	f(RateLimited, 429, codes.ResourceExhausted)
	f(RateLimited, 503, codes.Unavailable)
}

// Backpressure changes the answer and not the cause: what is refused is still booked as over a rate limit.
func TestBackpressure(t *testing.T) {
	e := New(RateLimited, "x").WithAfter(time.Second).Backpressure()
	if e.Kind != RateLimited || e.Reason() != "rate_limit" || e.HTTPStatus() != 503 || e.Code() != codes.Unavailable || e.After != time.Second {
		t.Errorf("%+v answers %d %s", e, e.HTTPStatus(), e.Code())
	}
}

// What is not a fault becomes one that shows nothing of it.
func TestFrom(t *testing.T) {
	cause := errors.New("open /etc/secret: denied")
	e := From(cause)
	if e.Kind != Internal || strings.Contains(e.Public, "secret") || !errors.Is(e, cause) || e.After <= 0 {
		t.Errorf("got %+v", e)
	}
	own := New(TooLarge, "%d over %d", 2, 1).WithErr(cause).WithAfter(time.Second)
	if got := From(fmt.Errorf("decode: %w", own)); got != own {
		t.Errorf("got %+v, want the wrapped one", got)
	}
	if want := "2 over 1: open /etc/secret: denied"; own.Error() != want {
		t.Errorf("error %q, want %q", own.Error(), want)
	}
	if own.Public != "2 over 1" || own.After != time.Second {
		t.Errorf("got %+v", own)
	}
	if got := New(NoExit, "none").Error(); got != "none" {
		t.Errorf("error %q without a private half", got)
	}
}
