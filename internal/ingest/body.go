package ingest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// Limits bound one body. They are what server.max_body_bytes and server.max_decoded_bytes say.
type Limits struct {
	BodyBytes    int
	DecodedBytes int
}

// firstRead is the room that a body starts with. A declared length is a claim: memory follows the bytes that came.
const firstRead = 64 << 10

// Receive reads r to its end into a buffer of p. declared is the length that the sender announced, -1 if it did not.
// Its errors are TooLarge, Overloaded (no room, or the body did not come in time), Malformed (shorter or longer than declared)
// and Canceled.
func (p *Pool) Receive(r io.Reader, declared int64, l Limits, charge Charge) (*Buffer, error) {
	if declared > int64(l.BodyBytes) {
		return nil, tooLarge(declared, l.BodyBytes, "server.max_body_bytes", "as sent")
	}
	first := firstRead
	if declared >= 0 {
		first = min(first, int(declared))
	}
	b, err := p.Lend(first, charge)
	if err != nil {
		return nil, err
	}
	for {
		if int64(len(b.B)) == declared {
			// All that was announced is here. To see that it ends, no larger buffer is needed.
			if err := ends(r); err != nil {
				p.Return(b, charge)
				return nil, err
			}
			return b, nil
		}
		if len(b.B) == cap(b.B) {
			if b, err = p.grow(b, nextSize(len(b.B), declared), charge); err != nil {
				p.Return(b, charge)
				return nil, err
			}
		}
		n, err := r.Read(b.B[len(b.B):cap(b.B)])
		b.B = b.B[:len(b.B)+n]
		if len(b.B) > l.BodyBytes {
			p.Return(b, charge)
			return nil, tooLarge(int64(len(b.B)), l.BodyBytes, "server.max_body_bytes", "as sent")
		}
		if err == io.EOF {
			if declared >= 0 && int64(len(b.B)) != declared {
				n := len(b.B)
				p.Return(b, charge)
				return nil, fault.New(fault.Malformed, "read body: %d bytes came, %d were declared", n, declared)
			}
			return b, nil
		}
		if err != nil {
			p.Return(b, charge)
			return nil, readError(err)
		}
	}
}

// ends reads the end of r.
func ends(r io.Reader) error {
	var one [1]byte
	for {
		switch n, err := r.Read(one[:]); {
		case n > 0:
			return fault.New(fault.Malformed, "read body: it goes on after its declared length")
		case err == io.EOF:
			return nil
		case err != nil:
			return readError(err)
		}
	}
}

// nextSize is the room for a body of which n bytes have come. It at most quadruples what the sender has really sent, or
// is the last step, of at most eight times: each step copies what is there, and most bodies are under 512 KiB.
func nextSize(n int, declared int64) int {
	switch {
	case declared <= int64(n):
		return 2 * n
	case declared <= 8*int64(n):
		return int(declared)
	}
	return 4 * n
}

func tooLarge(n int64, limit int, key, what string) *fault.Error {
	return fault.New(fault.TooLarge, "body of %d bytes %s, over %s=%d", n, what, key, limit)
}

func readError(err error) *fault.Error {
	var f *fault.Error
	var timeout net.Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return (&fault.Error{Kind: fault.Overloaded, Public: "the body did not arrive within server.request_timeout", Err: err}).WithAfter(fault.Soon())
	case errors.Is(err, io.ErrUnexpectedEOF):
		return (&fault.Error{Kind: fault.Malformed, Public: "read body: it ends before its declared length", Err: err})
	case errors.Is(err, context.Canceled):
		return (&fault.Error{Kind: fault.Canceled, Public: "the sender went away while sending", Err: err})
	}
	if strings.Contains(err.Error(), "chunk") {
		// net/http exports no error for what is wrong with chunked encoding; the sender is still there to be told.
		return (&fault.Error{Kind: fault.Malformed, Public: "read body: malformed chunked encoding", Err: err})
	}
	// What is left are connections that broke: nobody will read the answer.
	return (&fault.Error{Kind: fault.Canceled, Public: "the connection broke while the body was read", Err: err})
}
