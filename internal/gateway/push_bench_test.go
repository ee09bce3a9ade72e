package gateway

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// listening serves s on a port of its own until the benchmark ends, and returns the URL.
func listening(b *testing.B, s *http.Server) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(l) })
	b.Cleanup(func() {
		_ = s.Close()
		wg.Wait()
	})
	return "http://" + l.Addr().String()
}

// bareProxy is the least that a buffered proxy on net/http can do: read a body, send it on, copy the answer. It has no
// deadlines, no bounds, no books, and knows nobody.
func bareProxy(b *testing.B, upstream string) *http.Server {
	t := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}
	b.Cleanup(t.CloseIdleConnections)
	bodies := sync.Pool{New: func() any { return new(bytes.Buffer) }}
	return &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := bodies.Get().(*bytes.Buffer)
		defer bodies.Put(body)
		body.Reset()
		if _, err := body.ReadFrom(r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		out, err := http.NewRequestWithContext(r.Context(), http.MethodPost, upstream+r.URL.Path, bytes.NewReader(body.Bytes()))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		out.Header["Content-Type"], out.Header["Content-Encoding"] = r.Header["Content-Type"], r.Header["Content-Encoding"]
		out.Header["Authorization"] = []string{"Basic " + cloudToken}
		res, err := t.RoundTrip(out)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer res.Body.Close()
		w.WriteHeader(res.StatusCode)
		_, _ = io.Copy(w, res.Body)
	})}
}

// BenchmarkPush is what a push of 5 samples costs in all: sender, gateway and sink, over real connections. The same push
// without the gateway, and through bareProxy instead of it, say how much of that is net/http and what is ours.
func BenchmarkPush(b *testing.B) {
	body := k8sPush(5)
	f := func(name string, target func(b *testing.B) string) {
		b.Run(name, func(b *testing.B) {
			url := target(b)
			t := new(http.Transport)
			b.Cleanup(t.CloseIdleConnections)
			b.ReportAllocs()
			for b.Loop() {
				r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url+"/api/v1/push", bytes.NewReader(body))
				if err != nil {
					b.Fatal(err)
				}
				r.Header = header("Content-Type", "application/x-protobuf", "Content-Encoding", "snappy")
				res, err := t.RoundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				_ = res.Body.Close()
				if res.StatusCode != http.StatusNoContent {
					b.Fatal(res.Status)
				}
			}
		})
	}
	f("direct", func(b *testing.B) string { return sink(b).URL })
	f("bare proxy", func(b *testing.B) string { return listening(b, bareProxy(b, sink(b).URL)) })
	f("gateway", func(b *testing.B) string {
		d := benchDoor(b, "")
		return listening(b, d.pushServer(d.listener))
	})
}
