package gateway

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/limits"
	"github.com/telemetry-gateway/telemetry-gateway/internal/reduce"
	"github.com/telemetry-gateway/telemetry-gateway/internal/tenant"
)

// push is one request on its way along the road. One goroutine owns it.
type push struct {
	// What the envelope (HTTP or gRPC) hands over.
	ctx         context.Context
	protocol    *ingest.Protocol
	header      http.Header
	credentials tenant.Credentials
	reader      io.Reader
	declared    int64 // length of the body as announced, -1 if it was not
	start       time.Time
	callerLimit time.Time // when the caller gives up; zero if it did not say
	conn        http.ResponseController
	// begin, where set, is called once the sender is known and before a byte of the body is read. It reads the gRPC prefix.
	begin func(*ingest.Content) error

	// What the stages find out.
	state       *state
	who         *tenant.Client
	environment *environment
	client      *client
	policy      *policy
	lease       limits.Lease
	leased      bool         // lease holds something
	reduction   *reduce.Push // until the push is packed; nil: nothing is reduced
	content     ingest.Content
	account     limits.Account
	body, plain *ingest.Buffer // as sent; decompressed (nil: body is plain)
	encoded     *ingest.Buffer // as it leaves, where that is neither of them
	pool        *ingest.Pool
	stock       *ingest.Stock  // what decoding builds in, until the push is packed
	whole       bool           // the body was read to its end
	weight      int            // bytes charged for what decoding has built
	built       ingest.Charge  // chargeBuilt, which each use would allocate anew
	entry       entry          // what will be booked
	unnamed     int            // spans without a service.name
	held        reduce.Outcome // what rules and guard held back
	refusals    []ingest.Refusal
}

// assign gives the push its environment and client.
func (p *push) assign(st *state, who *tenant.Client) bool {
	p.state = st
	if p.environment = st.environments[who.Environment]; p.environment == nil {
		return false
	}
	if p.client = p.environment.clients[who.Name]; p.client == nil {
		return false
	}
	p.who, p.policy = who, p.client.policies[p.protocol.Signal]
	return true
}

// open asks the door how the body is to be read.
func (p *push) open() (err error) {
	if p.content, err = p.protocol.Open(p.header); err == nil && p.begin != nil {
		err = p.begin(&p.content)
	}
	return err
}

func (p *push) bounds() ingest.Limits { return p.state.bounds }

func (p *push) charge(n int) *fault.Error { return p.account.Add(n) }

// chargeBuilt books what a door builds besides buffers. It is given back when the push is on its way.
func (p *push) chargeBuilt(n int) *fault.Error {
	err := p.charge(n)
	if err == nil {
		p.weight += n
	}
	return err
}

// received books the bytes that came.
func (p *push) received() {
	p.whole, p.entry.receivedBytes = true, len(p.body.B)
	// Left in place, the deadline would end the watch for a sender that goes away, and look like one that did.
	_ = p.conn.SetReadDeadline(time.Time{})
}

// content of the push without compression.
func (p *push) raw() []byte {
	if p.plain != nil {
		return p.plain.B
	}
	return p.body.B
}

// read decompresses and decodes the body.
func (p *push) read() (batch ingest.Batch, err error) {
	if p.plain, err = p.pool.Decompress(p.body.B, p.content.Codecs, p.bounds(), p.charge); err != nil {
		return nil, err
	}
	raw := p.raw()
	if n := p.content.Weight * len(raw); n > 0 {
		if err := p.chargeBuilt(n); err != nil {
			return nil, err
		}
	}
	if p.stock == nil {
		p.stock = p.pool.Stock()
	}
	p.content.Charge, p.content.Stock = p.built, p.stock
	p.content.Reducer = p.beginReduction()
	return p.protocol.Decode(raw, p.content)
}

// keepOnly gives back all buffers but those given, and what was built: the batch is not to be touched after it.
func (p *push) keepOnly(keep ...*ingest.Buffer) {
	for _, held := range []**ingest.Buffer{&p.body, &p.plain, &p.encoded} {
		if !slices.Contains(keep, *held) {
			p.pool.Return(*held, p.charge)
			*held = nil
		}
	}
	p.pool.Restock(p.stock)
	_ = p.charge(-p.weight)
	p.stock, p.weight = nil, 0
}

// fault returns err as what the sender reads. It names the environment, which the stages do not know.
func (p *push) fault(err error) *fault.Error {
	e := fault.From(err)
	if named := "environment "; p.who != nil && !strings.HasPrefix(e.Public, named) {
		e.Public = named + p.who.Environment + ": " + e.Public
	}
	return e
}

// close gives back everything. A transport that still reads the body holds its buffer itself.
func (p *push) close() {
	p.endReduction()
	p.keepOnly()
	p.account.Close()
}

// heldBack books the items that did not leave. It replaces what an earlier try in another form has booked.
func (p *push) heldBack(r ingest.Result) {
	p.reduced()
	p.refusals, p.unnamed = slices.Concat(p.held.Refused, r.Refused), r.Unnamed
	p.entry.dropped = nil
	for _, f := range slices.Concat(p.refusals, p.held.Dropped, r.Dropped) {
		p.entry.drop(f.Reason, f.Items)
	}
	if !p.state.cfg.Server.ExampleValues {
		for i := range p.refusals {
			if !guarded(p.refusals[i].Reason) { // the guard's own texts show no values then
				p.refusals[i].Text = "not shown, since server.example_values=false"
			}
		}
	}
}

// forwarded books what upstream took, of the items sent and but for those it says it rejected.
func (p *push) forwarded(out packed, rejected int) {
	p.entry.forwarded = out.result.Sent.Items - rejected
	p.entry.fail("partial", rejected)
	p.entry.forwardedBytes = len(out.buffer.B)
}

// limit is a moment and what set it.
type limit struct {
	at    time.Time
	key   string // as the sender is told
	after time.Duration
}

// deadline is when upstream is given up: its timeout, the request's own, or the caller's less a tenth so that the answer
// still reaches it.
func (p *push) deadline(timeout time.Duration) limit {
	now := time.Now()
	first := limit{now.Add(timeout), "timeout", timeout}
	if at := p.start.Add(p.state.requestTimeout); at.Before(first.at) {
		first = limit{at, "server.request_timeout", p.state.requestTimeout}
	}
	if !p.callerLimit.IsZero() {
		left := p.callerLimit.Sub(now)
		if at := now.Add(left - left/10); at.Before(first.at) {
			first = limit{at, "grpc-timeout", p.callerLimit.Sub(p.start).Round(time.Millisecond)}
		}
	}
	return first
}

// packed is a push ready to leave.
type packed struct {
	result ingest.Result
	buffer *ingest.Buffer
	codec  ingest.Codec
}

// pack makes the bytes that leave: those that came where nothing has to change, else the push as encode wrote it, compressed. It ends
// the batch: what the push held to be read is given back before anything is taken to compress into, and is likely to be taken for
// that, while the processor's caches still have it.
func (g *Gateway) pack(p *push, x *exit, written ingest.Result) (packed, error) {
	codec := x.codec(written.Form, p.content.Codecs)
	src, ready := p.encoded, false
	if written.Unchanged {
		src, ready = p.body, came(p.content.Codecs, codec)
		if !ready && p.plain != nil {
			src = p.plain
		}
	}
	p.keepFor(written.Form, src)
	if ready {
		return packed{written, src, codec}, nil
	}
	compressed, err := g.pool.Compress(src.B, codec, p.charge)
	if err != nil {
		return packed{}, err
	}
	if compressed == nil {
		return packed{written, src, codec}, nil
	}
	p.pool.Return(p.encoded, p.charge)
	p.encoded = compressed
	p.keepFor(written.Form, compressed)
	return packed{written, compressed, codec}, nil
}

// keepFor gives back all buffers but the one that is to leave in form f, and of a push that may have to go again as another version
// the body that it came in.
func (p *push) keepFor(f *ingest.Form, leaves *ingest.Buffer) {
	if f.Version == 2 {
		p.keepOnly(leaves, p.body)
	} else {
		p.keepOnly(leaves)
	}
}

// came says whether a body that came with codecs is in codec c already.
func came(codecs []ingest.Codec, c ingest.Codec) bool {
	if len(codecs) == 0 {
		return c == ingest.Identity
	}
	return len(codecs) == 1 && codecs[0] == c
}

// encode writes the push as it leaves into p.encoded, unless it leaves unchanged.
func (g *Gateway) encode(p *push, batch ingest.Batch, edit ingest.Edit) (ingest.Result, error) {
	p.pool.Return(p.encoded, p.charge)
	p.encoded = nil
	n := batch.Bound(edit)
	if n == 0 {
		if res, err := batch.Encode(nil, edit); err != nil || res.Unchanged {
			return res, err
		}
		// It does not leave as it came and takes no byte: an empty push, out of JSON for instance.
	}
	// What grows over the bound for decoded bodies only does so in a conversion that was made to: a bomb.
	if limit := p.bounds().DecodedBytes; n/2 > limit {
		return ingest.Result{}, fault.New(fault.TooLarge, "the push would leave as %d bytes, over twice server.max_decoded_bytes=%d", n, limit)
	}
	b, err := g.pool.Lend(n, p.charge)
	if err != nil {
		return ingest.Result{}, err
	}
	p.encoded = b
	res, err := batch.Encode(b.B, edit)
	if err == nil && !res.Unchanged {
		if cap(res.Body) != cap(b.B) {
			panic("BUG: Batch.Bound promised less than Encode wrote")
		}
		b.B = res.Body
	}
	return res, err
}
