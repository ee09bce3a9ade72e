// Package gateway is the road: the one function that every push of every protocol walks, and what it needs around it:
// the list of doors, one environment's parts, listeners, drain, reload, the admin port and the books. It decides nothing
// that a room decides (who speaks, how much, what it says, where it goes) and knows no wire format. cmd/gateway calls it.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/egress"
	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/limits"
	"github.com/telemetry-gateway/telemetry-gateway/internal/secret"
	"github.com/telemetry-gateway/telemetry-gateway/internal/tenant"
)

// Gateway forwards pushes. New makes one, Run serves until its context ends.
type Gateway struct {
	log      *slog.Logger
	version  string
	routes   *routes
	pool     ingest.Pool
	inflight *limits.InFlight
	books    *ledger
	metrics  *metrics
	throttle throttle
	secrets  *secret.Store

	// state is the configuration in force, compiled. It is swapped whole; a push keeps the one it began with.
	state atomic.Pointer[state]
	// directory says who a credential belongs to. It changes more often than state: also when a secret file does.
	directory atomic.Pointer[tenant.Directory]

	// tls is what handshakes on the push ports use; nil: plain text.
	tls atomic.Pointer[tls.Config]

	phase atomic.Int32 // serving, unready or draining

	mu        sync.Mutex // one reload at a time; guards what follows
	lastFault string     // why the last reload failed, so that a file that stays bad is not told of again and again
}

// The phases of a gateway's life, in their order.
const (
	serving  = iota
	unready  // SIGTERM came: load balancers are told to go elsewhere, pushes are still taken
	draining // what is in flight is finished, new pushes are refused
)

// serve is the road. It returns what became of the push; only handle answers, counts and logs.
func (g *Gateway) serve(p *push) (ingest.Answer, error) {
	var none ingest.Answer
	// Who speaks, and may they?
	if err := g.identify(p); err != nil {
		return none, err
	}
	// Where does it leave, and can its body be read at all?
	exit, err := p.environment.exit(p.protocol)
	if err != nil {
		return none, err
	}
	if err := p.open(); err != nil {
		return none, err
	}
	// Is there room? From here on every buffer is charged before it grows.
	p.account = g.inflight.Open(p.client.share, exit.share)
	defer p.close()
	if err := g.admit(p); err != nil {
		return none, err
	}
	// Bytes in, bounded as sent and decoded.
	if p.body, err = g.pool.Receive(p.reader, p.declared, p.bounds(), p.charge); err != nil {
		return none, err
	}
	p.received()
	if p.plain, err = g.pool.Decompress(p.body.B, p.content.Codecs, p.bounds(), p.charge); err != nil {
		return none, err
	}
	// What does it say?
	batch, err := p.decode()
	if err != nil {
		return none, err
	}
	p.entry.received = batch.Items()
	// Away, in the form that upstream wants; once more in another, if upstream turns out not to speak it.
	form := exit.form(p.protocol, p.start)
	answer, err := g.forward(p, exit, batch, form)
	if errors.Is(err, errOtherForm) {
		if answer, err = g.forward(p, exit, batch, version(p.protocol, 1)); err == nil {
			g.rememberV1(p, exit)
		}
	}
	return answer, err
}

// errOtherForm is returned by forward when upstream did not understand the form and the push can leave in another.
var errOtherForm = errors.New("upstream does not speak remote_write v2")

// identify finds out whose push it is.
func (g *Gateway) identify(p *push) error {
	who, reason := g.directory.Load().Identify(p.start, p.credentials)
	if reason != "" {
		g.metrics.authFailures.WithLabelValues(p.protocol.Name, string(reason)).Inc()
		return reason.Fault()
	}
	if !p.assign(g.state.Load(), who) {
		// A push that began with the directory of a client that a reload has just removed.
		g.metrics.authFailures.WithLabelValues(p.protocol.Name, string(tenant.UnknownCredential)).Inc()
		return tenant.UnknownCredential.Fault()
	}
	if status := who.Disabled; status != 0 {
		e := fault.New(fault.Disabled, "environment %s: client %s is switched off by its key disabled: %d", who.Environment, who.Name, status)
		e.Status = status
		if status == http.StatusServiceUnavailable {
			e.After = 30 * time.Second
		}
		return e
	}
	p.client.lastPush.Store(p.start.Unix())
	return nil
}

// admit refuses what need not be read: a declared length over the bound, no room at all, a gateway that is leaving.
func (g *Gateway) admit(p *push) error {
	if g.phase.Load() == draining {
		return fault.New(fault.Overloaded, "this gateway is shutting down").WithAfter(fault.Soon())
	}
	// The smallest buffer: nothing smaller could be read into.
	if err := p.account.Add(1); err != nil {
		return err
	}
	return nil
}

// forward sends the push in form f and reads upstream's answer.
func (g *Gateway) forward(p *push, x *exit, batch ingest.Batch, f *ingest.Form) (ingest.Answer, error) {
	edit := ingest.Edit{Form: f, Stamps: p.client.stamps[p.protocol.Signal], Charge: p.chargeBuilt}
	if p.protocol.Signal == ingest.Traces {
		edit.Traces = p.client.traces
	}
	out, err := g.pack(p, x, batch, edit)
	if err != nil {
		return ingest.Answer{}, err
	}
	p.heldBack(out.result)
	if batch.Items() > 0 && out.result.Sent.Items == 0 && len(p.entry.dropped) > 0 {
		return ingest.Answer{Refused: out.result.Refused}, nil
	}
	// Only a v2 push can come back here for another try; all others need only what is being sent.
	if f.Version != 2 {
		p.keepOnly(out.buffer)
	}
	deadline := p.deadline(x.Timeout)
	res, err := g.send(p, x, out, deadline)
	if p.protocol.Again && mayGoAgain(res, err) {
		res, err = g.send(p, x, out, deadline)
	}

	var answer ingest.Answer
	if err == nil {
		answer, err = out.result.Form.Read(res.Status, res.Header, res.Body)
	}
	if out.result.Form.Version == 2 && res != nil && x.notUnderstood(res.Status, errors.Is(err, ingest.ErrOtherForm)) {
		return answer, errOtherForm
	}
	if err != nil {
		return answer, x.blame(err, res)
	}
	if out.result.Form.Version == 2 {
		x.tookV2.Store(true)
	} else {
		answer.Written = out.result.Sent
	}
	answer.Rejected = min(answer.Rejected, out.result.Sent.Items) // upstream's word, but no more than there was
	p.forwarded(out, answer.Rejected)
	g.lost(out.result.Lost)
	answer.Refused = out.result.Refused
	return answer, nil
}

// mayGoAgain says whether a push whose sender never retries is sent a second time: where upstream gave no answer, or one
// that it gives when it could not take the push for now.
func mayGoAgain(res *egress.Response, err error) bool {
	if res != nil {
		return res.Status == http.StatusBadGateway || res.Status == http.StatusServiceUnavailable
	}
	return err != nil && fault.From(err).Kind == fault.Unreachable
}

// send makes one call to upstream.
func (g *Gateway) send(p *push, x *exit, out packed, deadline time.Time) (*egress.Response, error) {
	ctx, cancel := context.WithDeadline(p.ctx, deadline)
	defer cancel()
	req := request(out.result.Form, out.codec, out.buffer.B)
	req.UserAgent, req.RetryAttempt = p.header.Get("User-Agent"), p.header.Get("Retry-Attempt")
	req.Hold, req.Release = out.buffer.Retain, out.buffer.Release
	began := time.Now()
	res, err := x.Send(ctx, req)
	g.metrics.upstreamDuration.WithLabelValues(x.Environment, x.Name, upstreamCode(res, err)).Observe(time.Since(began).Seconds())
	return res, err
}

// request is body on its way out in form f, compressed with codec.
func request(f *ingest.Form, codec ingest.Codec, body []byte) *egress.Request {
	r := &egress.Request{Path: f.Path, Method: f.Method, ContentType: f.ContentType, ContentEncoding: encoding(codec), Body: body}
	for _, h := range f.Header {
		r.Header = append(r.Header, egress.HeaderField(h))
	}
	return r
}

func encoding(c ingest.Codec) string {
	if c == ingest.Identity {
		return ""
	}
	return c.String()
}

// upstreamCode is the code label of one upstream call.
func upstreamCode(res *egress.Response, err error) string {
	if res != nil {
		return strconv.Itoa(res.Status)
	}
	return fault.From(err).Reason()
}

// blame completes the fault of a form's reader, which does not know whose upstream it reads.
func (x *exit) blame(err error, res *egress.Response) error {
	e := fault.From(err)
	if e.Upstream == 0 && res != nil {
		e.Upstream = res.Status
		e.Public = "environment " + x.Environment + ": upstream " + x.Name + ": " + e.Public
	}
	if e.Kind == fault.UpstreamFailed && e.After == 0 {
		e.After = 5 * time.Second
	}
	return e
}

// lost counts what a conversion could not carry.
func (g *Gateway) lost(losses []ingest.Loss) {
	for _, l := range losses {
		g.metrics.conversionLosses.WithLabelValues(l.What).Add(float64(l.N))
	}
}

// rememberV1 uses v1 for an upstream that took as v1 what it did not understand as v2.
func (g *Gateway) rememberV1(p *push, x *exit) {
	if x.rememberV1(p.start) {
		g.log.Warn("upstream does not speak remote_write v2; v1 is used for an hour",
			"environment", x.Environment, "upstream", x.Name, "key", "remote_write_version")
	}
}
