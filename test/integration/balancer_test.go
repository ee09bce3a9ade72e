package integration

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// balancer is a load balancer for TCP: connections go in turn to the gateways that say they are ready, and stay where
// they are until one of their ends closes them. It knows nothing of HTTP, so it hides no push that was cut off.
type balancer struct {
	net.Listener
	t        testing.TB
	backends []*backend
	turn     atomic.Uint64 // connections so far, those that nobody took included
	ctx      context.Context
	wg       sync.WaitGroup // every goroutine of the balancer
}

// backend is one gateway as the balancer sees it.
type backend struct {
	addr  string
	ready atomic.Bool // what the last poll said
}

// newBalancer balances between the gateways' HTTP ports until the test ends.
func newBalancer(t testing.TB, gateways ...*gateway) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &balancer{Listener: l, t: t, ctx: ctx}
	for _, g := range gateways {
		be := &backend{addr: g.http}
		be.poll()
		b.backends = append(b.backends, be)
		b.wg.Go(func() { b.watch(be) })
	}
	b.wg.Go(b.accept)
	t.Cleanup(func() {
		cancel()
		l.Close()
		b.wg.Wait()
	})
	return b
}

// watch polls a backend as Kubernetes and cloud balancers do, only oftener.
func (b *balancer) watch(be *backend) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-tick.C:
			be.poll()
		}
	}
}

func (be *backend) poll() {
	status, _ := httpGet("http://" + be.addr + "/-/ready")
	be.ready.Store(status == http.StatusOK)
}

func (b *balancer) accept() {
	for {
		client, err := b.Accept()
		if err != nil {
			return // closed
		}
		b.wg.Go(func() { b.join(client.(*net.TCPConn)) })
	}
}

// join connects a client to the next backend that is ready. Where a backend does not accept, a real balancer would try
// another; this one says so, because a gateway accepts until balancers had time to see that it leaves.
func (b *balancer) join(client *net.TCPConn) {
	defer client.Close()
	be := b.next()
	if be == nil {
		b.t.Error("the balancer has no gateway that is ready")
		return
	}
	conn, err := net.DialTimeout("tcp", be.addr, 5*time.Second)
	if err != nil {
		b.t.Errorf("a gateway that had not said that it leaves took no connection: %v", err)
		return
	}
	server := conn.(*net.TCPConn)
	defer server.Close()
	// The end of the test ends what still waits for one of its ends.
	defer context.AfterFunc(b.ctx, func() { client.Close(); server.Close() })()
	var both sync.WaitGroup
	both.Go(func() { pour(server, client) })
	both.Go(func() { pour(client, server) })
	both.Wait()
}

// pour copies until from ends, and says that end to to. Bytes that to no longer takes are lost, as on the wire.
func pour(to, from *net.TCPConn) {
	_, _ = io.Copy(to, from)
	_ = to.CloseWrite()
}

// next is the backend whose turn it is; nil if none is ready.
func (b *balancer) next() *backend {
	turn := b.turn.Add(1)
	for i := range uint64(len(b.backends)) {
		if be := b.backends[(turn+i)%uint64(len(b.backends))]; be.ready.Load() {
			return be
		}
	}
	return nil
}
