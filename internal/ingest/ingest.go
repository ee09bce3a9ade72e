// Package ingest is the contract between the road and the doors. It says what a door is (Protocol), what a decoded push
// is (Batch), how a push leaves (Form) and what is answered (Answer, Reply); and it reads bodies, bounded both as sent
// and decoded (Pool). It never looks inside a push, never speaks to an upstream and never writes to a sender.
// The doors are the folders below this one; internal/gateway drives them.
package ingest

import (
	"net/http"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// Signal is what a push is about.
type Signal string

// The signals.
const (
	Metrics Signal = "metrics"
	Logs    Signal = "logs"
	Traces  Signal = "traces"
)

// Protocol is one door: a value, not a type. Its funcs keep no state, so that one value serves every push at once.
type Protocol struct {
	// Name is the `protocol` label of the metrics: remote_write_v1, otlp_grpc.
	Name   string
	Signal Signal
	// Routes are the HTTP paths, POST. A gRPC door has none.
	Routes []string
	// Method is the gRPC method, "/package.Service/Method". An HTTP door has none.
	Method string
	// Exits are names of upstreams. The push leaves by the first that its environment has.
	Exits []string
	// Forms are the wire forms that a push of this door can leave in, its own first.
	Forms []*Form

	// Again: senders of this door never retry, so the gateway sends a push once more when upstream resets the connection or
	// answers 502 or 503.
	Again bool

	// Claims says whether a push with these headers is this door's. Nil: every push on its routes is.
	// Where doors share a route, the first in the list that claims the push has it.
	Claims func(h http.Header) bool
	// Open says from the headers alone how the body is to be read. Its error is Unsupported (415).
	Open func(h http.Header) (Content, error)
	// Decode walks the body once raw is decompressed. The Batch may point into raw. Its error is Malformed (400), or Overloaded
	// where there was no room for what Content.Reducer makes it keep.
	Decode func(raw []byte, c Content) (Batch, error)
	// Accept puts a into the door's own words: success, or partial success when items were refused.
	Accept func(c Content, a Answer) Reply
	// Refuse puts e into the door's own words. Retry-After and WWW-Authenticate are not its business: they are the
	// same for every HTTP door. A gRPC door has none: its failures are a gRPC status.
	Refuse func(h http.Header, e *fault.Error) Reply
}

// Codec is one compression.
type Codec uint8

// The compressions. Snappy is the block format, Deflate is raw (RFC 1951, without the zlib header).
const (
	Identity Codec = iota
	Snappy
	Gzip
	Deflate
	Zstd
)

// String is the codec as Content-Encoding writes it.
func (c Codec) String() string {
	return [...]string{"identity", "snappy", "gzip", "deflate", "zstd"}[c]
}

// Content is what the headers of a push say about its body.
type Content struct {
	// Codecs are undone in this order. Loki's gzip(snappy(protobuf)) is {Gzip, Snappy}. Empty: the body is plain.
	Codecs []Codec
	// JSON: the body is JSON, and the answer is to be JSON where the protocol answers in kind.
	JSON bool
	// Weight is how many bytes decoding holds for each byte of the body besides the body, measured. 0: it builds nothing.
	Weight int
	// Charge books what Decode builds beyond that, before it is built; it is given back with the push. The road sets it;
	// nil: nothing is booked.
	Charge Charge
	// Stock is where a Batch may take what it builds from, in all of its life. The road sets it; nil: there is none.
	Stock *Stock
	// Reducer is what Reduce will be given if all goes well. A door may prepare for it while it decodes, with its Room and its
	// Keys, so that it walks a push once; it asks nothing about it yet. Nil: nobody knows.
	Reducer *Reducer
}

// Batch is one push, decoded. One goroutine owns it and nobody keeps it after the push.
type Batch interface {
	// Items is what the push is measured in: samples and histograms, data points, lines, spans.
	Items() int
	// Reduce asks r about everything in the push and keeps what it says for Bound and Encode. It is called once, before
	// either, or not at all: then nothing is reduced. Its error is Overloaded: there was no room for what it keeps.
	Reduce(r *Reducer) error
	// Bound is the most that Encode appends for e, in bytes. 0: the push can leave as it was received.
	// It is exact enough to be reserved: a push that would grow without measure is seen here, before memory is taken.
	Bound(e Edit) int
	// Encode appends the push as it leaves to dst, uncompressed. It must not write to what Decode was given.
	Encode(dst []byte, e Edit) (Result, error)
}

// Edit is what has to be different when a push leaves.
type Edit struct {
	// Form is one of the door's Forms.
	Form *Form
	// Stamps are labels that win over what the sender says, sorted by name. Not to be changed: all pushes share them.
	Stamps []labels.Label
	// Charge books what Encode builds besides its output, before it is built; as Content.Charge.
	Charge Charge
	// Traces is what else happens to spans. Nil: nothing does. It is nil for other signals.
	Traces *TraceRules
}

// TraceRules decide which spans leave. All pushes of a client share one; it never changes.
type TraceRules struct {
	// Ratio of traces that are kept, 0 to 1, by trace id; Services may say otherwise for theirs, and the first that matches
	// counts.
	Ratio    float64
	Services []ServiceRatio
	// KeepErrors keeps spans with an error status, also of traces that are sampled away.
	KeepErrors bool
	// FillServiceName replaces a service.name that is missing or unknown_service*. Empty: it stays.
	FillServiceName string
}

// ServiceRatio is the share of traces that is kept of one service.
type ServiceRatio struct {
	Service string
	Ratio   float64
}

// Result is what Encode did.
type Result struct {
	// Body is dst with the push appended. Meaningless if Unchanged.
	Body []byte
	// Unchanged: nothing in the push has to change, so that the bytes as received can be forwarded.
	Unchanged bool
	// Form is the form it was written in: Edit.Form, or the door's own where that form cannot carry this push at all.
	Form *Form
	// Sent is what of the push is left.
	Sent Count
	// Refused are items that could not leave, by reason.
	Refused []Refusal
	// Dropped are items that sampling holds back on purpose, by reason: success for the sender. Their Text is empty.
	// What a Reducer dropped or refused is its own to tell.
	Dropped []Refusal
	// Held is what of the push a Reducer dropped, which counts as written; not what it refused. remote_write only.
	Held Count
	// MetadataBytes is what structured metadata was added to log entries that had been labels, in bytes of names and values.
	MetadataBytes int
	// Unnamed is how many spans came without a service.name, or with one that says unknown_service.
	Unnamed int
	// Lost is what the form could not carry of items that did leave.
	Lost []Loss
}

// Count says what a push holds. Items is the sum that books are kept in; the others are counted for remote_write only.
type Count struct{ Items, Samples, Histograms, Exemplars int }

// Add returns the sum of c and d.
func (c Count) Add(d Count) Count {
	return Count{c.Items + d.Items, c.Samples + d.Samples, c.Histograms + d.Histograms, c.Exemplars + d.Exemplars}
}

// Refusal is items that were refused while the rest of the push went on.
type Refusal struct {
	// Reason is one of the fixed list in README.md: unconvertible, invalid_item, ...
	Reason string
	Items  int
	// Text tells the sender what and why, for the first of them.
	Text string
}

// Loss is something that a conversion drops from items which it does carry.
type Loss struct {
	// What is a fixed word: start_timestamps, metadata, unknown_fields.
	What string
	N    int
}

// Form is a wire form in which pushes leave.
type Form struct {
	// Name is the form in logs and in the status API.
	Name        string
	ContentType string
	// Path is appended to the upstream's url: /v1/traces. Usually empty.
	Path string
	// Method is the gRPC method, for upstreams that are called over gRPC. Empty: this form has none.
	Method string
	// Version is the remote_write version, 1 or 2; 0 for all else.
	Version int
	// Header is sent along: X-Prometheus-Remote-Write-Version.
	Header []HeaderField
	// Codec is the compression that this form demands; Identity: the upstream's `compression` key decides.
	Codec Codec
	// Text returns upstream's words in the body of a refusal, where they are packed in something. Nil: the body is the text.
	Text func(h http.Header, body []byte) []byte
	// Read makes an Answer of upstream's 2xx. ErrOtherForm: upstream did not understand the form.
	Read func(status int, h http.Header, body []byte) (Answer, error)
}

// HeaderField is one header line.
type HeaderField struct{ Name, Value string }

// Answer is what became of a push that upstream took, in words that every door can say.
type Answer struct {
	// Status is upstream's 2xx; 0 if nothing was left to send.
	Status int
	// Written is what upstream says it stored, or what was sent where it says nothing; what rules dropped counts as written.
	Written Count
	// Refused are the items that we did not send on.
	Refused []Refusal
	// Rejected is how many items upstream refused while it took the rest (OTLP partial_success), and Message why.
	// Rejected 0 with a Message is a warning.
	Rejected int
	Message  string
}

// Reply is what goes back to the sender.
type Reply struct {
	// Status is the HTTP status. Of a gRPC door only its class counts: 2xx answers with Body as the message, anything else
	// with INVALID_ARGUMENT and Body as its text.
	Status int
	// ContentType of Body; empty: no such header.
	ContentType string
	Header      []HeaderField
	Body        []byte
}
