package otlp

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// maxPartialBytes bounds the message of a partial success.
const maxPartialBytes = 1000

// read makes an Answer of upstream's 2xx, whatever 2xx it is (Loki's own OTLP door says 204): an empty body or an
// Export*ServiceResponse in protobuf or, if it is labelled so, in JSON. What is neither may come from a proxy that took
// nothing, and is no success. A gRPC exit hands in the bare message without headers.
func (s *signal) read(status int, h http.Header, body []byte) (ingest.Answer, error) {
	a := ingest.Answer{Status: status}
	t := ingest.MediaType(h)
	var p partial
	var err error
	switch {
	case t == "text/html":
		err = errors.New("it is a web page")
	case len(body) == 0:
	case t == typeJSON:
		p, err = s.partialFromJSON(body)
	default:
		p, err = partialFromProto(body)
	}
	if err != nil {
		return a, fault.New(fault.UpstreamFailed, "upstream answered %d with a body that is no OTLP answer", status).
			WithErr(fmt.Errorf("read %s answer, Content-Type %q: %w", s.signal, h.Get("Content-Type"), err))
	}
	// The road knows how many were sent; here it is only seen to that no sum can overflow.
	a.Rejected = int(min(max(p.rejected, 0), math.MaxInt32))
	a.Message = clip(p.message, maxPartialBytes)
	return a, nil
}

// partial is partial_success.
type partial struct {
	rejected int64
	message  string
}

// partialFromProto reads field 1 of a response: {1 rejected, 2 error_message}.
func partialFromProto(msg []byte) (p partial, err error) {
	var f, g wire.Field
	for len(msg) > 0 {
		if msg, err = wire.Next(msg, &f); err != nil {
			return p, err
		}
		if f.Num != 1 {
			continue
		}
		if f.Type != wire.Bytes {
			return p, errNotSub
		}
		for sub := f.Data; len(sub) > 0; {
			if sub, err = wire.Next(sub, &g); err != nil {
				return p, err
			}
			switch {
			case g.Num == 1 && g.Type == wire.Varint:
				p.rejected = int64(g.Int)
			case g.Num == 2 && g.Type == wire.Bytes:
				p.message = string(g.Data)
			case g.Num == 1 || g.Num == 2:
				return p, wire.ErrTag
			}
		}
	}
	return p, nil
}

func (s *signal) partialFromJSON(body []byte) (p partial, err error) {
	var r struct {
		PartialSuccess map[string]json.RawMessage `json:"partialSuccess"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return p, err
	}
	if raw, ok := r.PartialSuccess[s.rejected]; ok {
		var n json.Number // takes 3 and "3"
		if err := json.Unmarshal(raw, &n); err != nil {
			return p, err
		}
		if n != "" { // null
			if p.rejected, err = n.Int64(); err != nil {
				return p, err
			}
		}
	}
	if raw, ok := r.PartialSuccess["errorMessage"]; ok {
		err = json.Unmarshal(raw, &p.message)
	}
	return p, err
}

// partialOf is what the sender is told of a: the items that upstream rejected and those that we refused, together.
func partialOf(a ingest.Answer) partial {
	p := partial{rejected: int64(max(a.Rejected, 0))}
	var texts []string
	if a.Message != "" {
		texts = append(texts, a.Message)
	}
	for _, r := range a.Refused {
		p.rejected += int64(r.Items)
		if r.Items > 0 && r.Text != "" {
			texts = append(texts, r.Text)
		}
	}
	p.message = clip(strings.Join(texts, "; "), maxPartialBytes)
	return p
}

// proto is the response in protobuf. partial_success must be unset on full success, which leaves nothing at all.
func (p partial) proto() []byte {
	var sub []byte
	if p.rejected != 0 {
		sub = wire.AppendVarint(sub, 1, uint64(p.rejected))
	}
	if p.message != "" {
		sub = wire.AppendString(sub, 2, p.message)
	}
	if len(sub) == 0 {
		return nil
	}
	return wire.AppendBytes(nil, 1, sub)
}

// json is the response in JSON; 64-bit integers are strings there.
func (p partial) json(rejected string) []byte {
	m := map[string]string{}
	if p.rejected != 0 {
		m[rejected] = strconv.FormatInt(p.rejected, 10)
	}
	if p.message != "" {
		m["errorMessage"] = p.message
	}
	if len(m) == 0 {
		return []byte("{}")
	}
	body, err := json.Marshal(map[string]any{"partialSuccess": m})
	if err != nil {
		panic("BUG: a map of strings is no JSON: " + err.Error())
	}
	return body
}

// acceptHTTP answers in the request's own type, without parameters: clients compare it exactly and else ignore the body.
func (s *signal) acceptHTTP(c ingest.Content, a ingest.Answer) ingest.Reply {
	p := partialOf(a)
	if c.JSON {
		return ingest.Reply{Status: http.StatusOK, ContentType: typeJSON, Body: p.json(s.rejected)}
	}
	return ingest.Reply{Status: http.StatusOK, ContentType: typeProtobuf, Body: p.proto()}
}

// acceptGRPC answers the bare message; the envelope frames it.
func (s *signal) acceptGRPC(_ ingest.Content, a ingest.Answer) ingest.Reply {
	return ingest.Reply{Status: http.StatusOK, Body: partialOf(a).proto()}
}

// clip makes s valid UTF-8 of at most n bytes: protobuf strings must be, and upstream's text may be anything.
func clip(s string, n int) string {
	if len(s) > 2*n { // ToValidUTF8 drops bytes at the most
		s = s[:2*n]
	}
	s = strings.ToValidUTF8(s, "")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
