package gateway

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/egress"
	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// forward sends the push in form f and reads upstream's answer.
func (g *Gateway) forward(p *push, x *exit, batch ingest.Batch, f *ingest.Form) (ingest.Answer, error) {
	edit := ingest.Edit{Form: f, Stamps: p.client.stamps[p.protocol.Signal], Charge: p.built}
	if p.protocol.Signal == ingest.Traces {
		edit.Traces = p.client.traces
	}
	written, err := g.encode(p, batch, edit)
	if err != nil {
		return ingest.Answer{}, err
	}
	p.heldBack(written)
	if batch.Items() > 0 && written.Sent.Items == 0 && len(p.entry.dropped) > 0 {
		return ingest.Answer{Refused: p.told(), Written: written.Held}, nil
	}
	out, err := g.pack(p, x, written)
	if err != nil {
		return ingest.Answer{}, err
	}
	form := out.result.Form
	until := p.deadline(x.Timeout)
	res, err := g.send(p, x, out, until)
	if p.protocol.Again && mayGoAgain(res, err) {
		res, err = g.send(p, x, out, until)
	}

	var answer ingest.Answer
	if err == nil {
		answer, err = form.Read(res.Status, res.Header, res.Body)
	}
	if form.Version == 2 && res != nil && x.notUnderstood(res.Status, errors.Is(err, ingest.ErrOtherForm)) {
		return answer, errOtherForm
	}
	if err != nil {
		return answer, p.pushBack(x.blame(err, res, until))
	}
	if form.Version == 2 {
		g.rememberV2(x)
	} else {
		answer.Written = out.result.Sent
	}
	answer.Written = answer.Written.Add(out.result.Held)
	g.metrics.metadataBytes.WithLabelValues(x.Environment).Add(float64(out.result.MetadataBytes))
	answer.Message = x.Clean(answer.Message)
	answer.Rejected = min(answer.Rejected, out.result.Sent.Items) // upstream's word, but no more than there was
	p.forwarded(out, answer.Rejected)
	g.lost(out.result.Lost)
	answer.Refused = p.told()
	return answer, nil
}

// mayGoAgain says whether a push whose sender never retries is sent a second time: where upstream gave no answer, or one
// that it gives when it could not take the push for now.
func mayGoAgain(res *egress.Response, err error) bool {
	if res != nil {
		return res.Later
	}
	return err != nil && fault.From(err).Kind == fault.Unreachable
}

// send makes one call to upstream.
func (g *Gateway) send(p *push, x *exit, out packed, until limit) (*egress.Response, error) {
	ctx, cancel := context.WithDeadline(p.ctx, until.at)
	defer cancel()
	req := request(out.result.Form, out.codec, out.buffer.B)
	req.UserAgent, req.RetryAttempt = p.header.Get("User-Agent"), p.header.Get("Retry-Attempt")
	req.Hold, req.Release = out.buffer.Retain, out.buffer.Release
	began := time.Now()
	res, err := x.Send(ctx, req)
	code := upstreamCode(res, err)
	g.metrics.upstreamDuration.WithLabelValues(x.Environment, x.Name, code).Observe(time.Since(began).Seconds())
	x.note(began, code, err)
	return res, err
}

// request is body on its way out in form f, compressed with codec.
func request(f *ingest.Form, codec ingest.Codec, body []byte) *egress.Request {
	r := &egress.Request{Path: f.Path, Method: f.Method, ContentType: f.ContentType, ContentEncoding: encoding(codec), Body: body, Text: f.Text}
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

// blame completes a fault that does not know all of its cause: which limit of time it was, or whose upstream it is.
func (x *exit) blame(err error, res *egress.Response, until limit) error {
	e := fault.From(err)
	switch {
	case e.Kind == fault.Timeout:
		e.Public = fmt.Sprintf("environment %s: upstream %s did not answer in time, %s=%s", x.Environment, x.Name, until.key, until.after)
	case e.Upstream == 0 && res != nil:
		e.Upstream = res.Status
		e.Public = fmt.Sprintf("environment %s: upstream %s: %s", x.Environment, x.Name, strings.TrimPrefix(e.Public, "upstream "))
	}
	if e.Kind == fault.UpstreamFailed && e.After == 0 {
		return e.WithAfter(fault.About(5 * time.Second))
	}
	return e
}

// lost counts what a conversion could not carry.
func (g *Gateway) lost(losses []ingest.Loss) {
	for _, l := range losses {
		g.metrics.conversionLosses.WithLabelValues(l.What).Add(float64(l.N))
	}
}

// errOtherForm is returned by forward when upstream did not understand the form and the push can leave in another.
var errOtherForm = errors.New("upstream does not speak remote_write v2")

// forwardAsV1 sends a push once more, as v1, to an upstream that did not understand v2, and remembers it if that works.
func (g *Gateway) forwardAsV1(p *push, x *exit) (ingest.Answer, error) {
	batch, err := p.read()
	if err != nil {
		return ingest.Answer{}, err
	}
	if err := p.reduce(batch); err != nil {
		return ingest.Answer{}, err
	}
	answer, err := g.forward(p, x, batch, formOf(p.protocol, 1))
	if err == nil && x.rememberV1(p.start) {
		g.log.Warn("upstream does not speak remote_write v2; v1 is used for an hour",
			"environment", x.Environment, "upstream", x.Name, "key", "remote_write_version")
	}
	return answer, err
}

// rememberV2 notes that upstream has taken a v2 push.
func (g *Gateway) rememberV2(x *exit) {
	x.tookV2.Store(true)
	if x.v1Until.Load() != 0 && x.v1Until.Swap(0) != 0 {
		g.log.Info("upstream speaks remote_write v2 again", "environment", x.Environment, "upstream", x.Name)
	}
}
