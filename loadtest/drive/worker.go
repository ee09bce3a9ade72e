package drive

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/digest"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/generate"
)

// worker is one connection.
type worker struct {
	load   *Load
	client *http.Client
	out    *Outcome
	items  *atomic.Uint64
	start  time.Time

	push  generate.Push
	frame []byte // of a gRPC message
}

func (w *worker) run(ctx context.Context, next *atomic.Uint64, limit uint64) {
	w.out.Accepted, w.out.Answers, w.out.Errors = map[string]digest.Sum{}, map[int]uint64{}, map[int]error{}
	for ctx.Err() == nil {
		n := next.Add(1) - 1
		if limit > 0 && n-w.load.From >= limit {
			next.Add(^uint64(0))
			return
		}
		// A push is made before its time comes: that is not the other side's time.
		begin := time.Now()
		if w.load.Rate > 0 {
			begin = w.start.Add(time.Duration(float64(n-w.load.From) / w.load.Rate * float64(time.Second)))
		}
		w.load.Work.Push(n, begin, &w.push)
		if w.load.Rate == 0 {
			begin = time.Now()
		} else if !wait(ctx, time.Until(begin)) {
			return
		}
		w.one(n, begin)
	}
}

// wait waits for d; false: ctx has ended.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// one sends the push that was made, n, which begins or should have begun at a time, and books what became of it.
func (w *worker) one(n uint64, begin time.Time) {
	client := w.load.Clients[n%uint64(len(w.load.Clients))]
	p := &w.push
	sent := time.Now()
	status, err := w.send(client, p)
	took := time.Since(begin)
	w.out.Answers[status]++
	if err != nil {
		w.out.Errors[status] = err
	}
	if status/100 == 2 {
		w.out.Pushes++
		w.out.Items += uint64(p.Items)
		w.out.Bytes += uint64(len(p.Body))
		w.items.Add(uint64(p.Items))
		sum := w.out.Accepted[client.User]
		sum.Add(p.Sum)
		w.out.Accepted[client.User] = sum
		w.out.Latency.Add(took)
		w.out.Service.Add(time.Since(sent))
		w.out.Elapsed = time.Since(w.start)
		return
	}
	w.out.Refusal.Add(time.Since(sent))
	if status == 0 || status == http.StatusBadGateway || status == http.StatusGatewayTimeout {
		w.out.Unknown.Add(p.Sum)
	}
}

// send returns the status of the answer; of a gRPC call 200 stands for OK and 503 for what may be tried again.
func (w *worker) send(c Client, p *generate.Push) (status int, err error) {
	req, body, err := w.request(c, p)
	if err != nil {
		return 0, err
	}
	defer body.wait() // the push is made anew in the same memory
	res, err := w.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	status = res.StatusCode
	if w.load.Transport == GRPC && status == http.StatusOK {
		status = ofGRPC(res)
	}
	if status/100 != 2 {
		return status, fmt.Errorf("%s: %d %.300s%s", req.URL.Path, status, text, res.Header.Get("Grpc-Message")+res.Trailer.Get("Grpc-Message"))
	}
	return status, nil
}

// request is a push as it travels.
func (w *worker) request(c Client, p *generate.Push) (*http.Request, *body, error) {
	encoding := p.Encoding
	if encoding == "identity" {
		encoding = ""
	}
	path, content, grpc := cmp.Or(w.load.Path, p.Path), p.Body, w.load.Transport == GRPC
	if grpc {
		path = p.Method
		w.frame = append(w.frame[:0], 0)
		if encoding != "" {
			w.frame[0] = 1
		}
		w.frame = binary.BigEndian.AppendUint32(w.frame, uint32(len(p.Body)))
		w.frame = append(w.frame, p.Body...)
		content = w.frame
	}
	b := newBody(content)
	req, err := http.NewRequest(http.MethodPost, w.load.URL+path, b)
	if err != nil {
		return nil, nil, err
	}
	req.ContentLength = int64(len(content))
	set := func(name, value string) {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	set("User-Agent", "loadtest")
	if c.Token != "" {
		set("Authorization", "Bearer "+c.Token)
	}
	if grpc {
		set("Content-Type", "application/grpc")
		set("Te", "trailers")
		set("Grpc-Encoding", encoding)
	} else {
		set("Content-Type", p.ContentType)
		set("Content-Encoding", encoding)
	}
	return req, b, nil
}

// body is a body that tells when its bytes are free: an http.Transport may read it after the answer has come. It has no
// GetBody, so that a push is sent once.
type body struct {
	bytes.Reader
	once sync.Once
	free chan struct{}
}

func newBody(content []byte) *body {
	b := &body{free: make(chan struct{})}
	b.Reset(content)
	return b
}

// Close is called by the transport, once or more, when it is done with it.
func (b *body) Close() error {
	b.once.Do(func() { close(b.free) })
	return nil
}

func (b *body) wait() { <-b.free }

// ofGRPC is the HTTP status that stands for the gRPC code of an answer.
func ofGRPC(res *http.Response) int {
	code := res.Trailer.Get("Grpc-Status")
	if code == "" {
		code = res.Header.Get("Grpc-Status") // an answer of trailers alone
	}
	switch code {
	case "0":
		return http.StatusOK
	case "8":
		return http.StatusTooManyRequests
	case "14":
		return http.StatusServiceUnavailable
	case "4":
		return http.StatusGatewayTimeout
	}
	return http.StatusBadRequest
}
