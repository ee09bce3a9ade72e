package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// With enable_http2 a push is sent again when a GOAWAY says that it came too late. net/http opens a body for a connection
// that it then does not find, and another for the next: each has to come back.
func TestHTTP2BodiesAreReleased(t *testing.T) {
	server, client := serverTLS(t)
	server.NextProtos = []string{"h2"}
	var calls atomic.Int32
	base := listen(t, func(plain *net.TCPConn) {
		c := tls.Server(plain, server)
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(c, c)
		_ = f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			data, ok := frame.(*http2.DataFrame)
			switch {
			case !ok || !data.StreamEnded():
			case calls.Add(1) == 1:
				_ = f.WriteGoAway(data.StreamID-1, http2.ErrCodeNo, nil)
			default:
				var b bytes.Buffer
				_ = hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: ":status", Value: "204"})
				_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: data.StreamID, EndHeaders: true, EndStream: true, BlockFragment: b.Bytes()})
			}
		}
	})
	client.EnableHTTP2 = true
	u := upstreamAt(t, "https"+base[len("http"):], withHTTP(client))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l := lend(t, 1000)
	if _, err := l.push(ctx, u); err != nil {
		t.Fatal(err)
	}
	l.wantSettled()
	if calls.Load() != 2 || l.held.Load() < 2 {
		t.Errorf("%d calls with %d bodies", calls.Load(), l.held.Load())
	}
}
