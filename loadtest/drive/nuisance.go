package drive

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// Idle opens n connections to addr and says nothing on them until ctx ends. It returns how many could be opened at once.
func Idle(ctx context.Context, addr string, n int) (open int, done func()) {
	var conns []net.Conn
	for range n {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
		if err != nil {
			break
		}
		conns = append(conns, c)
	}
	return len(conns), func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}
}

// Slow keeps n senders busy until ctx ends. Each announces a push of size bytes and sends a little of it each 100 ms, so that
// all of it would take a time; when its connection is closed it begins again.
func Slow(ctx context.Context, addr, token string, n, size int, all time.Duration) (wait func()) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				trickle(ctx, addr, token, size, all)
			}
		})
	}
	return wg.Wait
}

func trickle(ctx context.Context, addr, token string, size int, all time.Duration) {
	const pause = 100 * time.Millisecond
	if !wait(ctx, pause) {
		return
	}
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return
	}
	defer c.Close()
	_, err = fmt.Fprintf(c, "POST /api/v1/push HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-protobuf\r\n"+
		"Content-Encoding: snappy\r\nContent-Length: %d\r\n\r\n", addr, token, size)
	piece := make([]byte, max(1, int(int64(size)*int64(pause)/int64(max(all, pause)))))
	for sent := 0; err == nil && sent+len(piece) < size && wait(ctx, pause); sent += len(piece) {
		_, err = c.Write(piece)
	}
}
