package sink

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/digest"
)

// door is where a push comes in.
type door struct {
	signal string
	walk   digest.Walk
	// status is the answer to a push that was taken.
	status int
	// packed: the body is snappy, whatever its headers say.
	packed bool
}

// doorOf finds the door of a request.
func doorOf(r *http.Request) (door, bool) {
	path := r.URL.Path
	switch {
	case strings.HasSuffix(path, "/loki/api/v1/push"):
		return door{"logs", digest.Loki, http.StatusNoContent, true}, true
	case strings.HasSuffix(path, "/v1/traces"), strings.HasSuffix(path, "TraceService/Export"):
		return door{"traces", digest.Traces, http.StatusOK, false}, true
	case strings.HasSuffix(path, "/v1/metrics"), strings.HasSuffix(path, "MetricsService/Export"):
		return door{"metrics", digest.Metrics, http.StatusOK, false}, true
	case strings.HasSuffix(path, "/v1/logs"), strings.HasSuffix(path, "LogsService/Export"):
		return door{"logs", digest.Logs, http.StatusOK, false}, true
	case strings.HasSuffix(path, "/push"), strings.HasSuffix(path, "/write"), strings.HasSuffix(path, "/receive"):
		walk := digest.RemoteWriteV1
		if strings.Contains(r.Header.Get("Content-Type"), "io.prometheus.write.v2.Request") {
			walk = digest.RemoteWriteV2
		}
		return door{"metrics", walk, http.StatusNoContent, true}, true
	}
	return door{}, false
}

// body is the memory of one push.
type body struct {
	in      bytes.Buffer
	out     []byte
	plain   bytes.Buffer
	gzip    *gzip.Reader
	zstdDec *zstd.Decoder
}

// bodies are used again and again. It never changes, but for what is in it.
var bodies = sync.Pool{New: func() any { return new(body) }}

// maxBody bounds a push, as sent and decompressed.
const maxBody = 256 << 20

// errCut marks a push whose sender went away before all of it was here, as one that is killed does.
var errCut = errors.New("cut off")

func (s *Sink) read(r *http.Request, d door, grpc bool, b *body) (digest.Sum, error) {
	b.in.Reset()
	if _, err := b.in.ReadFrom(http.MaxBytesReader(nil, r.Body, maxBody)); err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return digest.Sum{}, err
		}
		return digest.Sum{}, fmt.Errorf("%w: %w", errCut, err)
	}
	raw, codec := b.in.Bytes(), r.Header.Get("Content-Encoding")
	if grpc {
		var err error
		if raw, codec, err = message(raw, r.Header.Get("Grpc-Encoding")); err != nil {
			return digest.Sum{}, err
		}
	}
	if d.packed && (codec == "" || codec == "identity") {
		codec = "snappy"
	}
	raw, err := b.decompress(raw, codec)
	if err != nil {
		return digest.Sum{}, err
	}
	return d.walk(raw, s.Every)
}

// message takes the one message out of a gRPC call.
func message(raw []byte, encoding string) (msg []byte, codec string, err error) {
	const prefix = 5
	if len(raw) < prefix || uint64(len(raw)-prefix) != uint64(binary.BigEndian.Uint32(raw[1:])) {
		return nil, "", errors.New("not one gRPC message")
	}
	if raw[0] == 0 {
		encoding = ""
	}
	return raw[prefix:], encoding, nil
}

func (b *body) decompress(raw []byte, codec string) (_ []byte, err error) {
	switch codec {
	case "", "identity":
		return raw, nil
	case "snappy":
		b.out, err = snappy.Decode(b.out[:cap(b.out)], raw)
		return b.out, err
	case "gzip":
		if b.gzip == nil {
			b.gzip = new(gzip.Reader)
		}
		if err = b.gzip.Reset(bytes.NewReader(raw)); err != nil {
			return nil, err
		}
		b.plain.Reset()
		_, err = b.plain.ReadFrom(io.LimitReader(b.gzip, maxBody))
		return b.plain.Bytes(), err
	case "zstd":
		if b.zstdDec == nil {
			if b.zstdDec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBody)); err != nil {
				return nil, err
			}
		}
		b.out, err = b.zstdDec.DecodeAll(raw, b.out[:0])
		return b.out, err
	}
	return nil, fmt.Errorf("codec %q", codec)
}

// answer answers a push with a status, and where it was taken with what was taken.
func answer(w http.ResponseWriter, grpc bool, status int, sum digest.Sum) {
	if grpc {
		code := "0"
		if status/100 != 2 {
			code = "14" // UNAVAILABLE
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		if code == "0" {
			_, _ = w.Write(make([]byte, 5)) // an empty message
		}
		w.Header().Set("Grpc-Status", code)
		return
	}
	if status/100 == 2 {
		h := w.Header()
		h.Set("X-Prometheus-Remote-Write-Samples-Written", strconv.FormatUint(sum.Items, 10))
		h.Set("X-Prometheus-Remote-Write-Histograms-Written", "0")
		h.Set("X-Prometheus-Remote-Write-Exemplars-Written", "0")
		if status == http.StatusOK {
			h.Set("Content-Type", "application/x-protobuf")
		}
	}
	w.WriteHeader(status)
}
