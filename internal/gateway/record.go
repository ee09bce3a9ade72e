package gateway

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// record books and logs one push, once, when it ends. status is the HTTP status of the answer or its equivalent; e is nil
// for a push that upstream took.
func (g *Gateway) record(p *push, status int, e *fault.Error) {
	took := time.Since(p.start)
	env, who, code := "", "", strconv.Itoa(status)
	if p.who != nil {
		env = p.who.Environment
	}
	if e != nil && e.Kind == fault.Canceled {
		code = e.Reason()
	}
	if p.client != nil {
		who = p.who.Name
		if n := p.entry.open(); e != nil && n > 0 {
			p.entry.fail(failCode(e), n)
		}
		if n := p.entry.open(); n != 0 {
			// A door that miscounts. The books are made to balance, and everybody is told.
			g.log.Error("BUG: the books of a push do not balance", "protocol", p.protocol.Name, "by", n)
			g.metrics.unbalanced.WithLabelValues(p.protocol.Name).Inc()
			p.entry.received += max(-n, 0)
			p.entry.fail("internal", max(n, 0))
		}
		p.client.books[p.protocol.Signal].book(&p.entry)
		g.bookReduction(p, env, who)
		if e != nil && !ours(e) {
			p.giveBack()
		}
		p.client.unnamed.Add(int64(p.unnamed))
	}
	g.metrics.pushes.WithLabelValues(env, who, p.protocol.Name, code).Inc()
	g.metrics.pushDuration.WithLabelValues(env, p.protocol.Name).Observe(took.Seconds())
	if e != nil {
		g.logRefusal(p, env, who, code, e, took)
	} else if len(p.refusals) > 0 {
		g.logPartly(p, env, who)
	}
}

// failCode is the code under which items are booked that did not reach upstream: upstream's own status where it gave
// one, else why there is none.
func failCode(e *fault.Error) string {
	switch {
	case e.Upstream != 0:
		return strconv.Itoa(e.Upstream)
	case e.Kind == fault.Canceled, e.Kind == fault.Timeout, e.Kind == fault.Unreachable:
		return e.Reason()
	}
	return strconv.Itoa(e.HTTPStatus())
}

// logRefusal writes the one line of a refused push.
func (g *Gateway) logRefusal(p *push, env, who, code string, e *fault.Error, took time.Duration) {
	level := slog.LevelInfo
	switch e.Kind {
	case fault.Misconfigured, fault.UpstreamFailed, fault.Unreachable, fault.Timeout:
		level = slog.LevelWarn
	case fault.Internal:
		level = slog.LevelError
	}
	more, ok := g.throttle.allow(throttleKey{env, who, e.Reason()}, p.start)
	if !ok {
		return
	}
	attrs := []slog.Attr{
		slog.String("environment", env), slog.String("client", who), slog.String("protocol", p.protocol.Name),
		slog.String("code", code), slog.String("reason", e.Reason()), slog.String("answer", e.Public),
		slog.Int("items", p.entry.received), slog.Duration("took", took),
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("err", e.Err.Error()))
	}
	if more > 0 {
		attrs = append(attrs, slog.Int("like_this_since", more))
	}
	g.log.LogAttrs(context.Background(), level, "push refused", attrs...)
}

// logPartly writes the one line of a push of which a part was refused.
func (g *Gateway) logPartly(p *push, env, who string) {
	for _, r := range p.refusals {
		more, ok := g.throttle.allow(throttleKey{env, who, r.Reason}, p.start)
		if ok {
			g.log.Info("items refused", "environment", env, "client", who, "protocol", p.protocol.Name,
				"reason", r.Reason, "items", r.Items, "of", p.entry.received, "answer", r.Text, "like_this_since", more)
		}
	}
}

// throttle lets one line a second through for each environment, client and reason. All three come from the configuration
// or a fixed list, so that it is bounded whatever is sent.
type throttle struct {
	mu   sync.Mutex // guards seen
	seen map[throttleKey]*throttled
}

type throttleKey struct{ environment, client, reason string }

type throttled struct {
	last time.Time
	held int
}

// allow reports whether a line may be written now, and how many were held back since the last.
func (t *throttle) allow(k throttleKey, now time.Time) (held int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.seen[k]
	if s == nil {
		if t.seen == nil {
			t.seen = make(map[throttleKey]*throttled)
		}
		s = new(throttled)
		t.seen[k] = s
	} else if now.Sub(s.last) < time.Second {
		s.held++
		return 0, false
	}
	held, s.held, s.last = s.held, 0, now
	return held, true
}
