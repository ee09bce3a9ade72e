package egress

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// callStatus is how a call ended, in upstream's words.
type callStatus struct {
	code    string // grpc-status; empty: there was none
	message string
	// retry is the delay of RetryInfo, where asked says that there is one.
	retry time.Duration
	asked bool
}

// statusOf reads the trailers; of an answer without a message they are its only headers.
func statusOf(res *http.Response) callStatus {
	h := res.Trailer
	if h.Get("Grpc-Status") == "" {
		h = res.Header
	}
	s := callStatus{code: h.Get("Grpc-Status"), message: percentDecode(h.Get("Grpc-Message"))}
	s.retry, s.asked = retryInfo(h.Get("Grpc-Status-Details-Bin"))
	return s
}

// percentDecode undoes grpc-message's %XX. What is not well formed stays as it is: the specification forbids to fail on it.
func percentDecode(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(c)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// retryInfo finds google.rpc.RetryInfo in the details of a status.
func retryInfo(details string) (time.Duration, bool) {
	if details == "" {
		return 0, false
	}
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(details, "="))
	if err != nil {
		return 0, false
	}
	var st spb.Status
	if proto.Unmarshal(raw, &st) != nil {
		return 0, false
	}
	for _, d := range st.Details {
		var info errdetails.RetryInfo
		if d.MessageIs(&info) && d.UnmarshalTo(&info) == nil {
			return info.RetryDelay.AsDuration(), true // a delay that is missing is none
		}
	}
	return 0, false
}

// meaning is what a code of upstream is to us.
type meaning struct {
	name string
	kind fault.Kind
	// status is the HTTP status of the same meaning, under which items are counted as failed.
	status int
	what   string
}

// meanings follows the OTLP specification in what may be sent again ("OTLP/gRPC Throttling"), and else the rule that data
// is only given up where upstream has judged the data.
var meanings = [...]meaning{
	// Never looked up for an answer that has its message; without one, nothing was acknowledged.
	codes.OK: {"OK", fault.UpstreamFailed, http.StatusInternalServerError, "answered in a way that acknowledges nothing"},
	// Not by us, or nobody would read this. Retryable.
	codes.Canceled: {"CANCELLED", fault.UpstreamFailed, http.StatusServiceUnavailable, "gave the call up"},
	// What a handler says that failed without saying how. OTLP clients drop on it, but nothing says that the data is bad: it
	// is the gRPC form of HTTP 500, and is answered like that.
	codes.Unknown:         {"UNKNOWN", fault.UpstreamFailed, http.StatusInternalServerError, "failed"},
	codes.InvalidArgument: {"INVALID_ARGUMENT", fault.Rejected, http.StatusBadRequest, "refused the data"},
	// Upstream's own time or that of a hop behind it, or ours, seen there first (judgeCall). Retryable.
	codes.DeadlineExceeded: {"DEADLINE_EXCEEDED", fault.UpstreamFailed, http.StatusGatewayTimeout, "ran out of time"},
	// A push is sent to no place that could be missing but the service itself, or the tenant.
	codes.NotFound: {"NOT_FOUND", fault.Misconfigured, http.StatusNotFound, "does not take pushes at its url"},
	// It has the data, or will not have it beside what it has: to send it again cannot help.
	codes.AlreadyExists:    {"ALREADY_EXISTS", fault.Rejected, http.StatusConflict, "refused the data"},
	codes.PermissionDenied: {"PERMISSION_DENIED", fault.Misconfigured, http.StatusForbidden, "refuses the credential of the gateway"},
	// Without RetryInfo (else judgeCall makes it a rate limit) it is a message over upstream's size limit, and not retryable.
	codes.ResourceExhausted: {"RESOURCE_EXHAUSTED", fault.Rejected, http.StatusRequestEntityTooLarge, "refused the data"},
	// By definition not to be sent again until somebody has changed something. Not retryable.
	codes.FailedPrecondition: {"FAILED_PRECONDITION", fault.Rejected, http.StatusBadRequest, "refused the data"},
	codes.Aborted:            {"ABORTED", fault.UpstreamFailed, http.StatusServiceUnavailable, "gave the call up"},
	// Other than INVALID_ARGUMENT this one may pass later, says its definition. Retryable.
	codes.OutOfRange: {"OUT_OF_RANGE", fault.UpstreamFailed, http.StatusServiceUnavailable, "cannot take the data now"},
	// The service, or the compression. The sender's data is not at fault.
	codes.Unimplemented: {"UNIMPLEMENTED", fault.Misconfigured, http.StatusNotFound, "does not take pushes at its url"},
	// As UNKNOWN.
	codes.Internal:    {"INTERNAL", fault.UpstreamFailed, http.StatusInternalServerError, "failed"},
	codes.Unavailable: {"UNAVAILABLE", fault.UpstreamFailed, http.StatusServiceUnavailable, "failed"},
	// Upstream has lost it, we have it still. Retryable.
	codes.DataLoss:        {"DATA_LOSS", fault.UpstreamFailed, http.StatusServiceUnavailable, "lost the data"},
	codes.Unauthenticated: {"UNAUTHENTICATED", fault.Misconfigured, http.StatusUnauthorized, "refuses the credential of the gateway"},
}

// means looks the code up. What is no code, or not one of those that there are, is UNKNOWN; a missing one acknowledges
// nothing.
func (s callStatus) means() meaning {
	if s.code == "" {
		return meanings[codes.OK]
	}
	n, err := strconv.ParseUint(s.code, 10, 8)
	if err != nil || n >= uint64(len(meanings)) {
		return meanings[codes.Unknown]
	}
	m := meanings[n]
	if n == uint64(codes.ResourceExhausted) && s.asked {
		m.kind, m.status, m.what = fault.RateLimited, http.StatusTooManyRequests, "is over its own limit"
	}
	return m
}

// judgeCall says whose fault a call is that was no success, and what the sender should do.
func (u *Upstream) judgeCall(ctx context.Context, c *credentials, s callStatus) (*Response, error) {
	m := s.means()
	if n := m.name; over(ctx) && (n == "DEADLINE_EXCEEDED" || n == "CANCELLED") {
		return nil, u.noAnswer(ctx, c, errors.New("the call ended with "+n))
	}
	code := m.name
	if s.code == "" {
		code = "no status"
	}
	e := u.faultf(m.kind, "%s (gRPC %s)", m.what, code)
	words := c.secrets.clean([]byte(s.message), false)
	if u.quiet && m.kind == fault.Rejected {
		words = ""
	}
	quote(e, words, false)
	e.Upstream = m.status
	switch {
	case m.kind == fault.Rejected:
		e.Status = m.status
	case s.asked:
		e.After = wholeSeconds(s.retry)
	case m.kind == fault.Misconfigured:
		e.After = fault.About(retryMisconfigured)
	default:
		e.After = fault.About(retryFailed)
	}
	// Of the codes that may be tried again only this one says that nothing was done.
	return &Response{Status: m.status, Later: m.name == "UNAVAILABLE"}, e
}
