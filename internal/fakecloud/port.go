package fakecloud

import (
	"net"
	"sync"
)

// port is an address that outlives the servers on it, and can break its connections.
type port struct {
	l     net.Listener
	conns chan net.Conn // accepted, and no server's yet
	done  chan struct{} // closed when accepting has ended

	mu       sync.Mutex // guards what follows
	open     map[string]*portConn
	accepted int
}

// portConn is a connection that its port knows by the peer's address.
type portConn struct {
	*net.TCPConn
	port *port
}

func listenPort() (*port, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &port{l: l, conns: make(chan net.Conn), done: make(chan struct{}), open: map[string]*portConn{}}
	go p.accept()
	return p, nil
}

func (p *port) accept() {
	defer close(p.done)
	defer close(p.conns)
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		pc := &portConn{c.(*net.TCPConn), p}
		p.mu.Lock()
		p.open[pc.RemoteAddr().String()] = pc
		p.accepted++
		p.mu.Unlock()
		p.conns <- pc
	}
}

// close ends accepting and all connections. No gate is open any more.
func (p *port) close() {
	_ = p.l.Close()
	for c := range p.conns { // what waits for a server gets none
		_ = c.Close()
	}
	<-p.done
	p.resetAll()
}

func (p *port) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// end closes the connection from addr: in order, or by a reset.
func (p *port) end(addr string, reset bool) {
	p.mu.Lock()
	c := p.open[addr]
	p.mu.Unlock()
	if c == nil {
		return
	}
	if reset {
		_ = c.SetLinger(0)
	}
	_ = c.Close()
}

func (p *port) resetAll() {
	p.mu.Lock()
	var addrs []string
	for a := range p.open {
		addrs = append(addrs, a)
	}
	p.mu.Unlock()
	for _, a := range addrs {
		p.end(a, true)
	}
}

func (c *portConn) Close() error {
	c.port.mu.Lock()
	delete(c.port.open, c.RemoteAddr().String())
	c.port.mu.Unlock()
	return c.TCPConn.Close()
}

// gate is a port as one server sees it: closing the gate leaves the port to the next.
type gate struct {
	*port
	once sync.Once
	shut chan struct{}
}

func (p *port) gate() *gate { return &gate{port: p, shut: make(chan struct{})} }

func (g *gate) Accept() (net.Conn, error) {
	select {
	case <-g.shut: // a connection that waits is the next gate's
		return nil, net.ErrClosed
	default:
	}
	select {
	case c, ok := <-g.conns:
		if !ok {
			return nil, net.ErrClosed
		}
		return c, nil
	case <-g.shut:
		return nil, net.ErrClosed
	}
}

func (g *gate) Close() error {
	g.once.Do(func() { close(g.shut) })
	return nil
}

func (g *gate) Addr() net.Addr { return g.l.Addr() }
