package fakecloud

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ServeHTTP is the road of a push: count, authenticate, meet a fault, read, decode, check, store, answer.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !c.begin() {
		panic(http.ErrAbortHandler)
	}
	defer c.active.Done()

	arrived := time.Now()
	path, ok := endpoint(r)
	if !ok {
		http.NotFound(w, r)
		return
	}
	user, token, _ := r.BasicAuth()
	c.books.arrived(user, path, r.Header)
	rec := &recorder{ResponseWriter: w}
	defer func() { c.books.answered(user, path, rec.status) }()

	in, ok := c.authenticate(user, token, path)
	if !ok {
		unauthenticated(rec, r)
		return
	}
	f := c.faults.claim(path, user)
	if f.Break == ResetBeforeBody {
		reset(rec)
	}
	body, err := readBody(r, c.opts.MaxBodyBytes)
	if err != nil {
		refuse(rec, r, path, http.StatusBadRequest, err.Error())
		return
	}
	if !c.linger(r, f) {
		panic(http.ErrAbortHandler)
	}
	if f.ends() && !f.Stored {
		f.end(rec)
		return
	}
	p := &Push{Endpoint: path, Instance: in, Header: r.Header.Clone(), WireBytes: len(body), Arrived: arrived}
	c.take(rec, r, p, f, body)
}

// take decodes the push, stores it and answers.
func (c *Cloud) take(w *recorder, r *http.Request, p *Push, f Fault, body []byte) {
	c.mu.Lock()
	v2 := c.v2
	c.mu.Unlock()
	if err := c.judge(p, r, v2, body); err != nil {
		status := http.StatusBadRequest
		if e := (*statusError)(nil); errors.As(err, &e) {
			status = e.status
		}
		refuse(w, r, p.Endpoint, status, err.Error())
		return
	}
	if p.mistaken {
		w.WriteHeader(http.StatusOK)
		return
	}
	p.Rejected = min(f.Reject, p.Items)
	c.books.store(p)
	if c.opts.OnPush != nil {
		c.opts.OnPush(p)
	}
	// Whoever sees the cloud's numbers move must be able to rely on OnPush having been called.
	c.books.stored(p)
	if f.ends() {
		f.end(w)
		return
	}
	p.accept(w, f)
}

// judge decodes and checks the push. Its error is why the push is refused.
func (c *Cloud) judge(p *Push, r *http.Request, v2 V2Mode, body []byte) error {
	breaches := checkHeaders(r, p.Endpoint)
	err := p.decode(body, v2, c.opts.MaxBodyBytes)
	switch e := (*statusError)(nil); {
	case err == nil && !p.mistaken:
		breaches = append(breaches, p.check()...)
	case err != nil && !(errors.As(err, &e) && e.innocent):
		breaches = append(breaches, err.Error())
	}
	c.books.breached(p.Instance.User, p.Endpoint, breaches)
	if err == nil && c.opts.Strict && len(breaches) > 0 {
		err = errors.New(breaches[0])
	}
	return err
}

// linger waits as long as the fault and the latency want. It is false if sender or cloud went away meanwhile.
func (c *Cloud) linger(r *http.Request, f Fault) bool {
	d := f.Delay
	if c.opts.Latency != nil {
		d += c.opts.Latency()
	}
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-f.cleared:
		case <-r.Context().Done():
			return false
		case <-c.done:
			return false
		}
	}
	if f.Hang {
		select {
		case <-f.cleared:
		case <-r.Context().Done():
			return false
		case <-c.done:
			return false
		}
	}
	return true
}

// authenticate finds the user. A user of another endpoint is as wrong as a wrong token.
func (c *Cloud) authenticate(user, token, path string) (Instance, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	in, ok := c.users[user]
	if !ok || !strings.HasPrefix(path, in.Endpoint) {
		return Instance{}, false
	}
	for _, t := range in.Tokens {
		if t != "" && subtle.ConstantTimeCompare([]byte(t), []byte(token)) == 1 {
			return in, true
		}
	}
	return Instance{}, false
}

// endpoint is the push endpoint that the request is for.
func endpoint(r *http.Request) (string, bool) {
	if r.Method != http.MethodPost {
		return "", false
	}
	switch r.URL.Path {
	case Prometheus, Loki, OTLPTraces, OTLPMetrics, OTLPLogs:
		return r.URL.Path, true
	case "/api/v1/push":
		return Prometheus, true
	}
	return "", false
}

// unauthenticated answers as the authentication proxy before Grafana Cloud does, whatever the protocol behind it.
func unauthenticated(w http.ResponseWriter, r *http.Request) {
	text := "authentication error: invalid token"
	if r.Header.Get("Authorization") == "" {
		text = "authentication error: no credentials provided"
	}
	body := `{"status":"error","error":"` + text + `"}` + "\n"
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = w.Write([]byte(body))
}

// recorder remembers the status that was answered: 0 if there was no answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
