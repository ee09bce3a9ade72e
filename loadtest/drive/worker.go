package drive

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
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
	w.out.Accepted, w.out.Answers = map[string]digest.Sum{}, map[int]uint64{}
	for ctx.Err() == nil {
		n := next.Add(1) - 1
		if limit > 0 && n-w.load.From >= limit {
			next.Add(^uint64(0))
			return
		}
		begin := time.Now()
		if w.load.Rate > 0 {
			begin = w.start.Add(time.Duration(float64(n-w.load.From) / w.load.Rate * float64(time.Second)))
			if !wait(ctx, time.Until(begin)) {
				return
			}
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

// one sends push n, which began or should have begun at a time, and books what became of it.
func (w *worker) one(n uint64, begin time.Time) {
	client := w.load.Clients[n%uint64(len(w.load.Clients))]
	p := &w.push
	w.load.Work.Push(n, time.Now(), p)
	sent := time.Now()
	if w.load.Rate == 0 {
		begin = sent // making the push is not the other side's time
	}
	status, err := w.send(client, p)
	took := time.Since(begin)
	w.out.Answers[status]++
	if err != nil {
		w.out.Error = err
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
	path, body, grpc := p.Path, p.Body, w.load.Transport == GRPC
	if grpc {
		path = p.Method
		w.frame = append(w.frame[:0], 0)
		if p.Encoding != "" && p.Encoding != "identity" {
			w.frame[0] = 1
		}
		w.frame = binary.BigEndian.AppendUint32(w.frame, uint32(len(p.Body)))
		w.frame = append(w.frame, p.Body...)
		body = w.frame
	}
	req, err := http.NewRequest(http.MethodPost, w.load.URL+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.GetBody = nil // a push is sent once
	h := req.Header
	h.Set("User-Agent", "loadtest")
	if c.Token != "" {
		h.Set("Authorization", "Bearer "+c.Token)
	}
	switch {
	case grpc:
		h.Set("Content-Type", "application/grpc")
		h.Set("Te", "trailers")
		if w.frame[0] == 1 {
			h.Set("Grpc-Encoding", p.Encoding)
		}
	default:
		h.Set("Content-Type", p.ContentType)
		if p.Encoding != "" && p.Encoding != "identity" {
			h.Set("Content-Encoding", p.Encoding)
		}
	}
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
	if grpc && status == http.StatusOK {
		status = ofGRPC(res)
	}
	if status/100 != 2 {
		return status, fmt.Errorf("%s: %d %.300s%s", path, status, text, res.Header.Get("Grpc-Message")+res.Trailer.Get("Grpc-Message"))
	}
	return status, nil
}

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
