package egress

import (
	"net/http"
	"sync"
)

// transport is a client that is retired without hurting a push. http.Transport gives a connection back to its idle ones
// before it hands over the answer that came on it; closed in between, the answer is lost and the push, which upstream
// has stored, is sent again. So idle connections are closed only while no push is under way.
type transport struct {
	http.RoundTripper

	mu      sync.Mutex // guards what follows, and is held while connections are closed
	pushes  int        // under way
	retired bool       // nobody comes any more but who is late
}

// enter and leave frame a push.
func (t *transport) enter() {
	t.mu.Lock()
	t.pushes++
	t.mu.Unlock()
}

func (t *transport) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pushes--; t.pushes == 0 && t.retired {
		t.closeIdle()
	}
}

// retire closes all connections as soon as no push is under way.
func (t *transport) retire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.retired = true
	if t.pushes == 0 {
		t.closeIdle()
	}
}

func (t *transport) closeIdle() {
	if c, ok := t.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
