package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"time"
)

// conn is a connection to an upstream over HTTP/1 on which a push leaves in one system call. net/http alone needs at least two: it
// sends the head of a request first, because it cannot know that the body will not keep it waiting, and then copies the
// body through a buffer of 32 KiB, piece by piece. Here the body is in memory, so it is announced as soon as the connection
// is known, and is written with the head. Nothing is held back for that: when Write returns, what it was given has been sent.
// Over TLS each record of 16 KiB is a call of its own, and what is spared is the copying, and for small pushes a record.
type conn struct {
	net.Conn // a *net.TCPConn, which writes several parts at once, or a *tls.Conn, which writes them one by one
	tls      bool

	// One goroutine at a time uses what follows: the push until net/http's writer has its request, the writer from then on.
	next  *body       // the body of the request whose head is written next; nil: none was announced
	ahead *body       // the body that was written with its head, which ReadFrom has still to be asked for
	n     int64       // bytes of it that went out
	err   error       // why no more
	parts [3][]byte   // what of a push leaves at once
	iov   net.Buffers // parts; a field, since a variable would be an allocation
	small []byte      // parts over TLS, joined to make one record; at most maxJoined
}

const maxJoined = 4 << 10

// useConns lets t open connections that are conns, but for those on which it is to find out whether upstream speaks HTTP/2.
// Behind a proxy TLS stays net/http's own.
func useConns(t *http.Transport, http2 bool) {
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &conn{Conn: c}, nil
	}
	if http2 {
		return
	}
	t.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dialTLS(ctx, network, address, t.TLSClientConfig, t.TLSHandshakeTimeout)
		if err != nil {
			return nil, err
		}
		return &conn{Conn: c, tls: true}, nil
	}
}

// dialTLS does what net/http does where it is given no DialTLSContext. A timeout of 0 is none.
func dialTLS(ctx context.Context, network, address string, cfg *tls.Config, timeout time.Duration) (*tls.Conn, error) {
	raw, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	cfg = cfg.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName, _, _ = net.SplitHostPort(address) // it has been dialled: it is well formed
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	c := tls.Client(raw, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err) // else a deadline is taken for the push's
	}
	return c, nil
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
		return c.Conn.Write(p)
	}
	b := c.next
	c.next = nil
	prefix, rest, ok := b.lend()
	if !ok {
		return c.Conn.Write(p) // the push is over; net/http will see that too
	}
	defer b.giveBack()
	n, err := c.writeAll(p, prefix, rest)
	if n < int64(len(p)) {
		return int(n), err
	}
	c.ahead, c.n, c.err = b, n-int64(len(p)), err
	return len(p), nil
}

// writeAll writes head, prefix and rest in as few system calls as the connection allows.
func (c *conn) writeAll(head, prefix, rest []byte) (int64, error) {
	if c.tls && len(head)+len(prefix)+len(rest) <= maxJoined {
		c.small = append(append(append(c.small[:0], head...), prefix...), rest...)
		n, err := c.Conn.Write(c.small)
		return int64(n), err
	}
	c.parts = [...][]byte{head, prefix, rest}
	c.iov = c.parts[:]
	n, err := c.iov.WriteTo(c.Conn)
	c.parts = [3][]byte{} // of a write that failed some are left
	return n, err
}

// ReadFrom implements io.ReaderFrom, by which net/http has a body of known length sent once its head is.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	c.next = nil // of a head that ended in the middle of endOfHead, where a buffer was full
	if l, ok := r.(*io.LimitedReader); ok && c.ahead != nil && l.R == io.Reader(c.ahead) {
		c.ahead = nil
		return c.n, c.err
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}
