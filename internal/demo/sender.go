package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// verdict is what a sender takes an answer for.
type verdict uint8

const (
	accepted  verdict = iota
	refused           // for good: a retry cannot help
	retryable         // the push is kept and sent again
	partly            // what is said to be refused is, for good; the rest is accepted
)

// answer is an answer as the sender reads it.
type answer struct {
	code    string // 200, OK, or why there was none
	verdict verdict
	after   time.Duration // what Retry-After or RetryInfo says
	text    string
	refused int // items, of a push of which the rest was taken
}

// sender pushes like a well-behaved client: one push at a time, again and again until it is answered for good, waiting
// as long as it is told to.
type sender struct {
	id      string // prod/payments; in every item
	token   string
	items   int
	dialect dialect
	effects effects
	books   *books

	url    string // of the door
	client *http.Client
	conn   *grpc.ClientConn // nil but for gRPC

	complained bool // an event told of a refusal; only run's goroutine looks at it
}

// pushTimeout is a sender's own patience. It must be longer than the gateway's timeouts.
const pushTimeout = 40 * time.Second

// When the demo ends, a push is tried lastTries times more, with lastPause between.
const (
	lastTries = 5
	lastPause = 50 * time.Millisecond
)

// senders builds all that the stack has clients for.
func (d *demo) senders() ([]*sender, error) {
	speak := dialects()
	var out []*sender
	for _, e := range d.stack.envs {
		for _, c := range e.clients {
			id := e.name + "/" + c.name
			s := &sender{id: id, token: d.stack.clients[id], items: c.items, dialect: speak[c.speak], effects: e.effects, books: d.books}
			if s.dialect.path == "" {
				conn, err := grpc.NewClient("passthrough:///"+d.gateway.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
				if err != nil {
					return nil, fmt.Errorf("dial %s: %w", d.gateway.GRPC, err)
				}
				s.conn = conn
			} else {
				s.url = "http://" + d.gateway.HTTP + s.dialect.path
				s.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
			}
			d.books.enter(id, e.name, c.name, s.dialect)
			out = append(out, s)
		}
	}
	return out, nil
}

func (s *sender) close() {
	if s.conn != nil {
		_ = s.conn.Close()
		return
	}
	s.client.CloseIdleConnections()
}

// run sends until ctx is done, and then what is still under way.
func (s *sender) run(ctx context.Context, pace time.Duration, chance *rand.Rand) {
	for first := uint64(0); ; first += uint64(s.items) {
		if !wait(ctx, time.Duration(float64(pace)*(0.5+chance.Float64()))) {
			return
		}
		p := &fakecloud.Push{Endpoint: s.dialect.endpoint}
		// Whole milliseconds: what remote_write can carry.
		s.dialect.compose(p, s.id, first, s.items, time.Now().Truncate(time.Millisecond))
		s.books.begin(s.id, sightings(p, s.effects))
		s.books.finish(s.id, s.deliver(ctx, p))
	}
}

// deliver tries until there is an answer for good. When ctx is done it waits no longer, and gives up after lastTries.
func (s *sender) deliver(ctx context.Context, p *fakecloud.Push) answer {
	left := lastTries
	backoff := 250 * time.Millisecond
	for tries := 1; ; tries++ {
		began := time.Now()
		a := s.push(context.WithoutCancel(ctx), p, tries)
		s.books.attempt(s.id, a, time.Since(began))
		if a.verdict != retryable {
			s.tell(a, tries)
			return a
		}
		s.books.say(bad, fmt.Sprintf("%s: %s%s: %s", s.id, a.code, afterText(a.after), a.text))
		d := backoff
		if a.after > 0 {
			d = a.after
		}
		if !wait(ctx, d) {
			if left--; left < 0 {
				return a
			}
			wait(context.WithoutCancel(ctx), lastPause)
		}
		backoff = min(2*backoff, 5*time.Second)
		s.books.retry(s.id)
	}
}

// tell makes an event of an answer for good, where it is worth one.
func (s *sender) tell(a answer, tries int) {
	switch {
	case a.verdict == accepted && tries > 1:
		s.books.say(good, fmt.Sprintf("%s: delivered at try %d", s.id, tries))
	case (a.verdict == refused || a.verdict == partly) && !s.complained:
		s.complained = true // once: it will be so again and again
		s.books.say(bad, fmt.Sprintf("%s: %s: %s", s.id, a.code, a.text))
	}
}

func (s *sender) push(ctx context.Context, p *fakecloud.Push, try int) answer {
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	if s.conn != nil {
		return s.export(ctx, p)
	}
	return s.post(ctx, p, try)
}

// post pushes over HTTP.
func (s *sender) post(ctx context.Context, p *fakecloud.Push, try int) answer {
	body, err := s.dialect.encode(p)
	if err != nil {
		panic("BUG: demo: " + s.id + ": encode: " + err.Error())
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		panic("BUG: demo: " + s.id + ": " + err.Error())
	}
	// Go's transport would send a push again by itself when an idle connection breaks; then the books would not know.
	r.GetBody = nil
	for k, v := range s.dialect.header {
		r.Header.Set(k, v)
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	r.Header.Set("User-Agent", "demo/"+s.id)
	if try > 1 && p.Endpoint == fakecloud.Prometheus {
		r.Header.Set("Retry-Attempt", strconv.Itoa(try-1))
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return answer{code: "broken", verdict: retryable, text: err.Error()}
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // only for show
	a := answer{code: strconv.Itoa(resp.StatusCode), text: line(string(text))}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		a.after = time.Duration(n) * time.Second
	}
	switch {
	case resp.StatusCode/100 == 2:
		// A v2 sender believes only in counts.
		if p.V2 != nil && resp.Header.Get("X-Prometheus-Remote-Write-Samples-Written") != strconv.Itoa(s.items) {
			a.code, a.verdict = "no count", refused
		}
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode/100 == 5:
		a.verdict = retryable
	default:
		a.verdict = refused
		if n, err := fmt.Sscanf(a.text, "%d items refused", &a.refused); n == 1 && err == nil {
			a.verdict = partly
		}
	}
	return a
}

// export pushes over gRPC.
func (s *sender) export(ctx context.Context, p *fakecloud.Push) answer {
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+s.token)
	var err error
	if p.Endpoint == fakecloud.OTLPTraces {
		_, err = ptraceotlp.NewGRPCClient(s.conn).Export(ctx, ptraceotlp.NewExportRequestFromTraces(p.Traces))
	} else {
		_, err = plogotlp.NewGRPCClient(s.conn).Export(ctx, plogotlp.NewExportRequestFromLogs(p.Records))
	}
	st := status.Convert(err)
	a := answer{code: shortCode(st.Code()), text: line(st.Message()), verdict: refused}
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			a.after = info.GetRetryDelay().AsDuration()
		}
	}
	switch st.Code() { // the table of the OTLP specification
	case codes.OK:
		a.verdict = accepted
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss:
		a.verdict = retryable
	case codes.ResourceExhausted:
		if a.after > 0 {
			a.verdict = retryable
		}
	}
	return a
}

// shortCode is a gRPC code in a table's words.
func shortCode(c codes.Code) string {
	switch c {
	case codes.ResourceExhausted:
		return "EXHAUST"
	case codes.Unauthenticated:
		return "UNAUTH"
	case codes.Unavailable:
		return "UNAVAIL"
	case codes.DeadlineExceeded:
		return "DEADLINE"
	}
	return strings.ToUpper(c.String())
}

func afterText(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return fmt.Sprintf(" (wait %v)", d.Round(time.Second))
}

// wait is false if ctx was done first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// line is the first line of a text.
func line(text string) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	return text
}
