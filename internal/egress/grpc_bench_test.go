package egress

import (
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
)

// BenchmarkExit sends the same push over HTTP/1.1 and as a gRPC call, to servers that only read it.
func BenchmarkExit(b *testing.B) {
	h1 := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	b.Cleanup(h1.Close)
	h2 := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		_, _ = w.Write(binary.BigEndian.AppendUint32([]byte{0}, 0))
	}))
	h2.Config.Protocols = new(http.Protocols)
	h2.Config.Protocols.SetUnencryptedHTTP2(true)
	h2.Config.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 2 << 20, MaxReceiveBufferPerConnection: 3 << 20, MaxReadFrameSize: 1 << 20}
	h2.Start()
	b.Cleanup(h2.Close)
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		body := make([]byte, size)
		for _, o := range []Options{{Name: "http", URL: h1.URL}, {Name: "grpc", URL: h2.URL, GRPC: true}} {
			b.Run(o.Name+"/"+strconv.Itoa(size), func(b *testing.B) {
				u, err := New(o)
				if err != nil {
					b.Fatal(err)
				}
				defer u.Close()
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := u.Send(context.Background(), &Request{Method: traceExport, ContentType: "application/x-protobuf", Body: body}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}
