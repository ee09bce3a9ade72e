// Package loki is the Loki push door: POST /loki/api/v1/push, protobuf with snappy as promtail and Alloy send it, or
// JSON as curl and most libraries do. A protobuf push is walked, never built, and leaves as it came unless labels are
// stamped on it or rules change something; a JSON push is written as protobuf of the same message while it is read. It
// never judges what Loki judges (age, number of labels up to maxLabels), never merges streams but those that rules make
// one, and never looks inside a line. What it builds besides lent buffers it books before it takes it.
// internal/gateway lists Push and drives it.
//
// Facts about the wire are Loki 3.7's: pkg/loghttp/push, pkg/loghttp/query.go, pkg/push/push.proto.
package loki

import (
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// Push is the door.
var Push = &ingest.Protocol{
	Name:   "loki",
	Signal: ingest.Logs,
	Routes: []string{"/loki/api/v1/push"},
	Exits:  []string{"loki"},
	Forms:  []*ingest.Form{form},
	Open:   open,
	Decode: decode,
	Accept: accept,
	Refuse: refuse,
}

var form = &ingest.Form{
	Name:        "loki",
	ContentType: "application/x-protobuf",
	Codec:       ingest.Snappy,
	Read: func(status int, _ http.Header, _ []byte) (ingest.Answer, error) {
		// Besides 204 this may be 260, "blocked by policy", which Loki means its senders to take as success.
		return ingest.Answer{Status: status}, nil
	},
}

// open reads Content-Type and Content-Encoding. In protobuf pushes snappy is part of the format, whatever the header
// says: gzip and deflate are around it.
func open(h http.Header) (ingest.Content, error) {
	json, err := isJSON(h)
	if err != nil {
		return ingest.Content{}, err
	}
	c := ingest.Content{JSON: json}
	encodings := h.Values("Content-Encoding")
	if len(encodings) > 1 {
		return ingest.Content{}, fault.New(fault.Unsupported, "%d Content-Encoding headers, 1 is taken", len(encodings))
	}
	switch e := strings.ToLower(strings.TrimSpace(h.Get("Content-Encoding"))); e {
	case "", "snappy":
		// Loki reads JSON under "snappy" as plain, and so do we.
	case "gzip":
		c.Codecs = append(c.Codecs, ingest.Gzip)
	case "deflate":
		c.Codecs = append(c.Codecs, ingest.Deflate)
	default:
		return ingest.Content{}, fault.New(fault.Unsupported, "Content-Encoding %.40q, only snappy, gzip and deflate are taken", e)
	}
	if !json {
		c.Codecs = append(c.Codecs, ingest.Snappy)
	}
	return c, nil
}

// isJSON tells JSON from protobuf. Loki takes every type but application/json for protobuf; a typo in a header is
// better answered than decoded.
func isJSON(h http.Header) (bool, error) {
	header := h.Get("Content-Type")
	if header == "" {
		return false, nil
	}
	switch t, _, err := mime.ParseMediaType(header); {
	case err != nil:
		return false, fault.New(fault.Unsupported, "malformed Content-Type %.60q", header)
	case t == "application/json":
		return true, nil
	case t == "application/x-protobuf" || t == "application/protobuf":
		return false, nil
	}
	return false, fault.New(fault.Unsupported, "Content-Type %.60q, only application/x-protobuf and application/json are taken", header)
}

func decode(raw []byte, c ingest.Content) (ingest.Batch, error) {
	lender := ingest.Lender{Charge: c.Charge, Stock: c.Stock}
	if c.JSON {
		b, err := fromJSON(raw, lender)
		if err != nil {
			return nil, malformed("Loki JSON push", err)
		}
		return b, nil
	}
	b, err := walk(raw, lender)
	if err != nil {
		return nil, malformed("Loki push", err)
	}
	return b, nil
}

// malformed is the error of a push that means nothing. That there was no room to find out is another matter.
func malformed(what string, err error) *fault.Error {
	var e *fault.Error
	if errors.As(err, &e) {
		return e
	}
	return ingest.Malformed(what, err)
}

// accept answers as Loki does: lines that were refused are a 400 though the rest is stored.
func accept(_ ingest.Content, a ingest.Answer) ingest.Reply {
	switch {
	case len(a.Refused) > 0:
		return ingest.TextReply(http.StatusBadRequest, ingest.RefusalText(a.Refused))
	case a.Status == 0:
		return ingest.Reply{Status: http.StatusNoContent}
	}
	return ingest.Reply{Status: a.Status}
}

func refuse(_ http.Header, e *fault.Error) ingest.Reply {
	return ingest.TextReply(e.HTTPStatus(), e.Public)
}
