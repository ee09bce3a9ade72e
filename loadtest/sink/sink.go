// Package sink is an upstream for load tests: it takes remote_write, Loki pushes and OTLP over HTTP and gRPC, on one port, and
// adds up what came (see package digest) for each user and signal. It can be told over HTTP to be slow or to fail. It checks no
// credential and keeps no push: internal/fakecloud is the strict one. The runner starts it as a process of its own, so that
// its CPU is not the gateway's.
package sink

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/digest"
)

// The control paths.
const (
	StatePath = "/loadtest/state" // GET: State
	ResetPath = "/loadtest/reset" // POST: State of before; nothing has come since
	FaultPath = "/loadtest/fault" // POST: Fault
)

// State is what has come.
type State struct {
	// Pushes were taken; Failed were answered with a failure on demand; Cut ended before all of them was here, so that nobody
	// was told that they were taken; Unreadable were none of that.
	Pushes     uint64 `json:"pushes"`
	Failed     uint64 `json:"failed"`
	Cut        uint64 `json:"cut"`
	Unreadable uint64 `json:"unreadable"`
	// Error is why the last one was not readable.
	Error string `json:"error,omitempty"`
	// Sums are by user, as basic auth names it, and signal: prod/metrics.
	Sums map[string]digest.Sum `json:"sums"`
}

// Total is the sum of all users.
func (s *State) Total() (sum digest.Sum) {
	for _, one := range s.Sums {
		sum.Add(one)
	}
	return sum
}

// Fault is how pushes are treated from now on. The zero value takes them at once.
type Fault struct {
	// User limits it to one user; others are taken at once.
	User string `json:"user,omitempty"`
	// Delay holds every answer back.
	Delay time.Duration `json:"delay,omitempty"`
	// Status is answered instead of taking the push.
	Status int `json:"status,omitempty"`
	// Hang answers nothing, until the sender goes away.
	Hang bool `json:"hang,omitempty"`
}

// Sink is a running sink. Its zero value checks every item.
type Sink struct {
	// Every n-th millisecond is checked. See digest.Walk.
	Every uint64

	mu    sync.Mutex // guards what follows
	state State
	fault Fault
}

// Serve serves HTTP/1.1, h2c and, with a certificate, both over TLS, until ctx ends.
func (s *Sink) Serve(ctx context.Context, l net.Listener, cert *tls.Certificate) error {
	srv := &http.Server{Handler: s, Protocols: new(http.Protocols), ReadHeaderTimeout: 10 * time.Second}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	srv.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 1000, MaxReceiveBufferPerStream: 4 << 20, MaxReceiveBufferPerConnection: 16 << 20}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	var err error
	if cert != nil {
		srv.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*cert}}
		err = srv.ServeTLS(l, "", "")
	} else {
		err = srv.Serve(l)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// State returns what has come so far.
func (s *Sink) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.state
	st.Sums = map[string]digest.Sum{}
	for k, v := range s.state.Sums {
		st.Sums[k] = v
	}
	return st
}

// Reset forgets what has come.
func (s *Sink) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = State{}
}

// SetFault changes how pushes are treated.
func (s *Sink) SetFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// ServeHTTP takes a push or an order.
func (s *Sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/loadtest/") {
		s.control(w, r)
		return
	}
	user, _, _ := r.BasicAuth()
	grpc := strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
	d, ok := doorOf(r)
	if !ok {
		http.NotFound(w, r)
		return
	}
	body := bodies.Get().(*body)
	defer bodies.Put(body)
	sum, err := s.read(r, d, grpc, body)
	if errors.Is(err, errCut) {
		s.count(func(st *State) { st.Cut++ })
		return
	}
	if err != nil {
		s.count(func(st *State) { st.Unreadable++; st.Error = fmt.Sprintf("%s: %v", r.URL.Path, err) })
		answer(w, grpc, http.StatusBadRequest, sum)
		return
	}
	if status, gone := s.suffer(r.Context(), user); gone || status/100 > 2 {
		s.count(func(st *State) { st.Failed++ })
		if !gone {
			answer(w, grpc, status, sum)
		}
		return
	}
	s.count(func(st *State) {
		st.Pushes++
		if st.Sums == nil {
			st.Sums = map[string]digest.Sum{}
		}
		all := st.Sums[user+"/"+d.signal]
		all.Add(sum)
		st.Sums[user+"/"+d.signal] = all
	})
	answer(w, grpc, d.status, sum)
}

func (s *Sink) count(do func(*State)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do(&s.state)
}

// suffer meets the fault that is set. gone: the sender has gone.
func (s *Sink) suffer(ctx context.Context, user string) (status int, gone bool) {
	s.mu.Lock()
	f := s.fault
	s.mu.Unlock()
	if f.User != "" && f.User != user {
		return 0, false
	}
	if f.Hang {
		<-ctx.Done()
		return 0, true
	}
	if f.Delay > 0 {
		t := time.NewTimer(f.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return 0, true
		}
	}
	return f.Status, false
}

func (s *Sink) control(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET " + StatePath:
	case "POST " + ResetPath:
		defer s.Reset()
	case "POST " + FaultPath:
		var f Fault
		if err := json.NewDecoder(r.Body).Decode(&f); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.SetFault(f)
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.State()) // who asked may have gone
}
