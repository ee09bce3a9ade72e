package egress

import (
	"context"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// hurry makes u's transport a hundred times faster in finding out whether its connections live.
func hurry(u *Upstream) {
	t := u.credentials.Load().transport.RoundTripper.(*http.Transport)
	t.IdleConnTimeout /= 100
	t.HTTP2.SendPingTimeout /= 100
	t.HTTP2.PingTimeout /= 100
}

// A peer that is gone without a word takes the calls on its connection along, but no later ones.
func TestGRPCDeadConnection(t *testing.T) {
	silence := make(chan struct{})
	p := rawPeer(t, func(call int32, id uint32, f *http2.Framer) bool {
		if call == 2 {
			<-silence
			return false
		}
		succeed(id, f)
		return true
	})
	t.Cleanup(func() { close(silence) })
	u := upstreamAt(t, p.url, overGRPC)
	hurry(u)
	if _, err := export(u, []byte("one")); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err := export(u, []byte("two"))
	wantFault(t, err, fault.Unreachable)
	if d := time.Since(start); d > patience/2 {
		t.Errorf("found out after %s", d)
	}
	if _, err := export(u, []byte("three")); err != nil {
		t.Error(err)
	}
	if n := p.conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// grpc-go servers end a connection that pings too often. A call that is answered late, or comes after a pause, must not
// be caught by that.
func TestGRPCPingsAreTolerated(t *testing.T) {
	c, u := tempo(t, fakecloud.Options{}, fakecloud.GRPCOptions{})
	hurry(u)
	f := func(pause, late time.Duration) {
		t.Helper()
		time.Sleep(pause / 100)
		o := c.Fail("", fakecloud.Fault{Delay: late / 100})
		defer o.Clear()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err := u.Send(ctx, &Request{Method: traceExport, Body: spans(t, 1, 0)}); err != nil {
			t.Errorf("after %s and with an answer after %s: %v", pause, late, err)
		}
	}
	f(0, 0)
	f(0, 70*time.Second)
	f(35*time.Second, 35*time.Second)
	f(grpcIdleTimeout+5*time.Second, 35*time.Second)
}
