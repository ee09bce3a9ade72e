package demo

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// weather lets the cloud fail now and then until ctx is done, one instance at a time.
func (d *demo) weather(ctx context.Context, chance *rand.Rand) {
	users := d.stack.instances()
	kinds := []struct {
		text  string
		fault fakecloud.Fault
	}{
		{"429, Retry-After 1s, for 2 pushes", fakecloud.TooMany(1).For(2)},
		{"503 for 1 push", fakecloud.Fault{Status: http.StatusServiceUnavailable, Body: "ingester: circuit breaker open"}.For(1)},
		{"stores 1 push, and the answer is lost", fakecloud.Fault{Stored: true, Break: fakecloud.CloseAfterBody}.For(1)},
		{"resets the connection of 1 push", fakecloud.Fault{Break: fakecloud.ResetAfterBody}.For(1)},
		{"answers 700ms late, 3 pushes", fakecloud.Fault{Delay: 700 * time.Millisecond}.For(3)},
	}
	// In turn, so that each kind is seen soon; whom it meets is chance.
	for i := 0; wait(ctx, time.Duration(float64(d.opts.FaultEvery)*(0.6+0.8*chance.Float64()))); i++ {
		kind, user := kinds[i%len(kinds)], users[chance.IntN(len(users))]
		d.books.say(note, fmt.Sprintf("cloud, %s %s: %s", user.Name, user.User, kind.text))
		d.cloud.Fail("", kind.fault.Of(user.User))
	}
}

// logHandler shows the gateway's warnings and errors among the events.
type logHandler struct {
	books *books
	attrs string
}

func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString("gateway: " + r.Message + h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(" " + a.String())
		return true
	})
	h.books.say(note, line(b.String()))
	return nil
}

func (h *logHandler) WithAttrs(as []slog.Attr) slog.Handler {
	c := *h
	for _, a := range as {
		c.attrs += " " + a.String()
	}
	return &c
}

// WithGroup keeps the attributes flat: a line for the eye has no room for more.
func (h *logHandler) WithGroup(string) slog.Handler { return h }
