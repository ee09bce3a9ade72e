package egress

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http/httptrace"
)

// conn is a connection to an upstream on which a push leaves in one system call. net/http alone needs at least two: it
// sends the head of a request first, because it cannot know that the body will not keep it waiting, and then copies the
// body through a buffer of 32 KiB, piece by piece. Here the body is in memory, so it is announced as soon as the connection
// is known, and is written with the head. Nothing is held back for that: when Write returns, what it was given has been sent.
type conn struct {
	*net.TCPConn

	// One goroutine at a time uses what follows: the push until net/http's writer has its request, the writer from then on.
	next  *body       // the body of the request whose head is written next; nil: none was announced
	ahead *body       // the body that was written with its head, which ReadFrom has still to be asked for
	n     int64       // bytes of it that went out
	err   error       // why no more
	parts [3][]byte   // what of a push leaves at once
	iov   net.Buffers // parts; a field, since a variable would be an allocation
}

// dialConn is dial for connections on which net/http writes requests.
func dialConn(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := dial(ctx, network, address)
	if tcp, ok := c.(*net.TCPConn); ok {
		return &conn{TCPConn: tcp}, err
	}
	return c, err
}

// announcing returns ctx for a request whose bodies are bs: the connection that it will go out on learns of its body.
func (bs *bodies) announcing(ctx context.Context) context.Context {
	bs.trace.GotConn = func(info httptrace.GotConnInfo) {
		if c, ok := info.Conn.(*conn); ok {
			c.next = bs.opened[len(bs.opened)-1]
		}
	}
	return httptrace.WithClientTrace(ctx, &bs.trace)
}

var endOfHead = []byte("\r\n\r\n")

// Write implements net.Conn. What it returns is about p alone, so that net/http knows whether anything of a request went out.
func (c *conn) Write(p []byte) (int, error) {
	// A head larger than net/http's buffer comes in several parts, of which the body follows the last.
	if c.next == nil || !bytes.HasSuffix(p, endOfHead) {
		return c.TCPConn.Write(p)
	}
	b := c.next
	c.next = nil
	prefix, rest, ok := b.lend()
	if !ok {
		return c.TCPConn.Write(p) // the push is over; net/http will see that too
	}
	defer b.giveBack()
	c.parts = [...][]byte{p, prefix, rest}
	c.iov = c.parts[:]
	n, err := c.iov.WriteTo(c.TCPConn)
	c.parts = [3][]byte{}
	if n < int64(len(p)) {
		return int(n), err
	}
	c.ahead, c.n, c.err = b, n-int64(len(p)), err
	return len(p), nil
}

// ReadFrom implements io.ReaderFrom, by which net/http has a body of known length sent once its head is.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if l, ok := r.(*io.LimitedReader); ok && c.ahead != nil && l.R == io.Reader(c.ahead) {
		c.ahead = nil
		return c.n, c.err
	}
	return c.TCPConn.ReadFrom(r)
}
