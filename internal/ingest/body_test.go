package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

var bodyLimits = Limits{BodyBytes: 1 << 20, DecodedBytes: 1 << 20}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*31 + i>>8)
	}
	return b
}

// Every length of body arrives whole, however it is announced and in whatever pieces it comes.
func TestReceive(t *testing.T) {
	var p Pool
	f := func(n int, declared int64, pieces func(io.Reader) io.Reader) {
		t.Helper()
		var acc books
		want := pattern(n)
		b, err := p.Receive(pieces(bytes.NewReader(want)), declared, bodyLimits, acc.charge)
		if err != nil {
			t.Fatalf("%d bytes, declared %d: %v", n, declared, err)
		}
		if !bytes.Equal(b.B, want) {
			t.Fatalf("%d bytes, declared %d: %d came, or others", n, declared, len(b.B))
		}
		acc.wantHeld(t, "received", b)
		p.Return(b, acc.charge)
		acc.wantHeld(t, "returned")
	}
	whole := func(r io.Reader) io.Reader { return r }
	for _, n := range []int{0, 1, 4095, 4096, 4097, firstRead - 1, firstRead, firstRead + 1, 4*firstRead + 1, 1<<20 - 1, 1 << 20} {
		for _, declared := range []int64{-1, int64(n)} {
			f(n, declared, whole)
			f(n, declared, iotest.HalfReader)
			f(n, declared, iotest.DataErrReader)
		}
	}
	f(5000, 5000, iotest.OneByteReader)
	f(5000, -1, iotest.OneByteReader)
}

func TestReceiveRefuses(t *testing.T) {
	var p Pool
	f := func(r io.Reader, declared int64, k fault.Kind, words ...string) *fault.Error {
		t.Helper()
		var acc books
		b, err := p.Receive(r, declared, bodyLimits, acc.charge)
		if b != nil {
			t.Error("a buffer came with the error")
		}
		acc.wantHeld(t, "refused")
		e := wantKind(t, fmt.Sprintf("declared %d", declared), err, k)
		for _, w := range words {
			if !strings.Contains(e.Public, w) {
				t.Errorf("%q does not say %q", e.Public, w)
			}
		}
		return e
	}
	body := func(n int) io.Reader { return bytes.NewReader(pattern(n)) }
	failing := func(n int, err error) io.Reader { return io.MultiReader(body(n), iotest.ErrReader(err)) }

	// A reader that must not be read: what is declared over the limit costs nothing.
	f(iotest.ErrReader(errors.New("was read")), 1<<20+1, fault.TooLarge, "body of 1048577 bytes", "server.max_body_bytes=1048576")
	f(iotest.ErrReader(errors.New("was read")), 1<<62, fault.TooLarge)
	f(body(1<<20+1), -1, fault.TooLarge, "over server.max_body_bytes=1048576")
	f(body(5<<20), -1, fault.TooLarge)
	f(body(5<<20), 100, fault.TooLarge)
	f(body(10), 11, fault.Malformed, "10 bytes came, 11 were declared")
	f(body(0), 1, fault.Malformed)
	f(body(12), 11, fault.Malformed, "12 bytes came, 11 were declared")
	f(body(1), 0, fault.Malformed)
	for _, n := range []int{0, 10, firstRead, firstRead + 10, 300 << 10} {
		f(failing(n, io.ErrUnexpectedEOF), 1<<20, fault.Malformed)
		f(failing(n, context.Canceled), -1, fault.Canceled)
		f(failing(n, errors.New("read tcp 10.1.2.3: reset")), -1, fault.Canceled)
		f(failing(n, fault.New(fault.Unsupported, "own words")), -1, fault.Unsupported, "own words")
		if e := f(failing(n, os.ErrDeadlineExceeded), 1<<20, fault.Overloaded, "server.request_timeout"); e.After < time.Second {
			t.Errorf("retry after %s", e.After)
		}
	}
	if e := f(failing(1, errors.New("read tcp 10.1.2.3: reset")), -1, fault.Canceled); strings.Contains(e.Public, "10.1") {
		t.Errorf("the sender reads %q", e.Public)
	}
}

// Memory follows the bytes that came, not those that were announced.
func TestReceiveChargesWhatCame(t *testing.T) {
	var p Pool
	l := Limits{BodyBytes: 16 << 20, DecodedBytes: 64 << 20}
	f := func(declared int64, came, mostAtOnce int) {
		t.Helper()
		var acc books
		_, err := p.Receive(io.MultiReader(bytes.NewReader(pattern(came)), iotest.ErrReader(io.ErrUnexpectedEOF)), declared, l, acc.charge)
		wantKind(t, "short body", err, fault.Malformed)
		if acc.peak > mostAtOnce {
			t.Errorf("declared %d, %d came: %d bytes were charged, want at most %d", declared, came, acc.peak, mostAtOnce)
		}
		acc.wantHeld(t, "refused")
	}
	f(16<<20, 0, 64<<10)
	f(16<<20, 10, 64<<10)
	f(16<<20, 64<<10-1, 64<<10)
	f(16<<20, 64<<10, (64+256)<<10)
	f(16<<20, 1<<20, (1+4)<<20)
	f(512<<10, 64<<10-1, 64<<10)
	f(512<<10, 64<<10, (64+512)<<10)
	f(512<<10+1, 64<<10, (64+256)<<10)
	f(-1, 10, 64<<10)
	f(-1, 1<<20, (1+2)<<20)
	f(10, 5, 4<<10)
	f(0, 0, 4<<10)
}

func TestReceiveFailedCharge(t *testing.T) {
	var p Pool
	for _, declared := range []int64{-1, 1 << 20} {
		failEachTaking(t, fmt.Sprint("receive, declared ", declared), func(charge Charge) error {
			b, err := p.Receive(bytes.NewReader(pattern(1<<20)), declared, bodyLimits, charge)
			p.Return(b, charge)
			return err
		})
	}
}

// A sender that stalls is cut off by the connection's read deadline.
func TestReceiveFromASlowSender(t *testing.T) {
	var p Pool
	var acc books
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go client.Write([]byte("half of it"))
	if err := server.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err := p.Receive(server, 100, bodyLimits, acc.charge)
	wantKind(t, "slow sender", err, fault.Overloaded)
	acc.wantHeld(t, "refused")
}

// What net/http says of a body that breaks off is understood.
func TestReceiveFromHTTP(t *testing.T) {
	var p Pool
	got := make(chan error, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var acc books
		_, err := p.Receive(r.Body, r.ContentLength, bodyLimits, acc.charge)
		acc.wantHeld(t, "refused")
		got <- err
	}))
	defer srv.Close()
	f := func(request string, k fault.Kind) {
		t.Helper()
		c, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		wantKind(t, request, <-got, k)
	}
	f("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf of it", fault.Malformed)
	f("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf of it", fault.Malformed)
	f("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\nhalf of it", fault.TooLarge)
}
