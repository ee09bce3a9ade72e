package zipkin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/zipkin/zipkinv1"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// v1Span is a span as v1 JSON. It is written again for the translator, whose own reader dies on null where an object
// ought to be and refuses the push for one span that it cannot read.
type v1Span struct {
	TraceID           string          `json:"traceId"`
	Name              string          `json:"name,omitempty"`
	ParentID          string          `json:"parentId,omitempty"`
	ID                string          `json:"id"`
	Timestamp         json.Number     `json:"timestamp,omitempty"`
	Duration          json.Number     `json:"duration,omitempty"`
	Annotations       []*v1Annotation `json:"annotations,omitempty"`
	BinaryAnnotations []*v1Tag        `json:"binaryAnnotations,omitempty"`

	// v2
	LocalEndpoint  json.RawMessage `json:"localEndpoint,omitempty"`
	RemoteEndpoint json.RawMessage `json:"remoteEndpoint,omitempty"`
	Tags           json.RawMessage `json:"tags,omitempty"`
}

type v1Annotation struct {
	Timestamp json.Number `json:"timestamp,omitempty"`
	Value     string      `json:"value"`
	Endpoint  *endpoint   `json:"endpoint,omitempty"`
}

// v1Tag is a binary annotation.
type v1Tag struct {
	Key      string    `json:"key"`
	Value    v1Value   `json:"value"`
	Endpoint *endpoint `json:"endpoint,omitempty"`
}

// v1Value is the value of a tag. Those of an address are true.
type v1Value struct {
	text string
	yes  bool
}

func (v *v1Value) UnmarshalJSON(raw []byte) error {
	var ok bool
	if v.text, ok = text(raw); !ok {
		return errors.New("value of a binary annotation")
	}
	v.yes = string(raw) == "true"
	return nil
}

func (v v1Value) MarshalJSON() ([]byte, error) { return json.Marshal(v.text) }

// jsonToTraces translates a v1 list.
func jsonToTraces(body []byte) (td ptrace.Traces, refused refusals, err error) {
	td = ptrace.NewTraces()
	ok, err := checkList(body)
	if !ok || err != nil {
		return td, nil, err
	}
	var spans []*v1Span
	n := 0
	for element := range elements(body) {
		n++
		s := new(v1Span)
		if err := readElement(element, s); err != nil {
			if errors.Is(err, errNotObject) {
				return td, nil, err
			}
			refused.add(badItem, n, jsonFault(err))
			continue
		}
		if s.LocalEndpoint != nil || s.RemoteEndpoint != nil || s.Tags != nil {
			return td, nil, errOtherVersion
		}
		if reason, why := s.tidy(); reason != "" {
			refused.add(reason, n, why)
			continue
		}
		spans = append(spans, s)
	}
	if len(spans) == 0 {
		return td, refused, nil
	}
	tidied, err := json.Marshal(spans)
	if err != nil {
		return td, nil, err
	}
	if td, err = zipkinv1.NewJSONTracesUnmarshaler(false).UnmarshalTraces(tidied); err == nil {
		unname(td)
	}
	return td, refused, err
}

// unname takes the names away that the translators give to services without one: what has none is counted, and can be
// given the client's name, by the stage that does so for all doors.
func unname(td ptrace.Traces) {
	for _, rs := range td.ResourceSpans().All() {
		rs.Resource().Attributes().RemoveIf(func(name string, v pcommon.Value) bool {
			return name == "service.name" && (v.Str() == "unknown-service" || v.Str() == "unknown-service-name")
		})
	}
}

// tidy makes s what the translator takes, or says why that is not possible.
func (s *v1Span) tidy() (reason, why string) {
	trace, ok := traceID(s.TraceID)
	if !ok || trace.Empty() {
		return badID, "traceId is zero or not 1 to 32 hex digits"
	}
	id, ok := spanID(s.ID)
	if !ok || id == 0 {
		return badID, "id is zero or not 1 to 16 hex digits"
	}
	parent, ok := spanID(s.ParentID)
	if !ok && s.ParentID != "" {
		return badID, "parentId is not 1 to 16 hex digits"
	}
	s.TraceID, s.ID, s.ParentID = trace.String(), id.String(), ""
	if parent != 0 {
		s.ParentID = parent.String()
	}
	if !whole(&s.Timestamp) || !whole(&s.Duration) {
		return badItem, "timestamp or duration is not a number of microseconds"
	}
	for _, a := range s.Annotations {
		if a == nil || !whole(&a.Timestamp) || a.Timestamp == "0" {
			return badItem, "an annotation has no timestamp in microseconds"
		}
	}
	tags := make([]*v1Tag, 0, len(s.BinaryAnnotations))
	for _, t := range s.BinaryAnnotations {
		switch {
		case t == nil || t.Key == "":
			return badItem, "a binary annotation has no key"
		case t.isPeer():
			tags = append(tags, t.peer()...)
		default:
			tags = append(tags, t)
		}
	}
	if len(tags) > maxTags {
		return badItem, fmt.Sprintf("over %d binary annotations", maxTags)
	}
	s.BinaryAnnotations = tags
	return "", ""
}

// isPeer says whether t is the address of the other side. The translator would take its service for the span's own.
func (t *v1Tag) isPeer() bool {
	return t.Value.yes && (t.Key == "sa" || t.Key == "ca" || t.Key == "ma")
}

// peer is an address as the tags that v2's remoteEndpoint becomes.
func (t *v1Tag) peer() (tags []*v1Tag) {
	add := func(key, value string) {
		if value != "" {
			tags = append(tags, &v1Tag{Key: key, Value: v1Value{text: value}})
		}
	}
	if e := t.Endpoint; e != nil {
		add("service.peer.name", e.ServiceName)
		for _, ip := range []string{e.IPv4, e.IPv6} {
			if net.ParseIP(ip) != nil {
				add("network.peer.address", ip)
			}
		}
		if e.Port != 0 {
			add("net.peer.port", strconv.Itoa(int(e.Port)))
		}
	}
	return tags
}

// whole makes a time or duration a whole number of microseconds.
func whole(n *json.Number) bool {
	i, ok := micros(*n)
	*n = json.Number(strconv.FormatInt(i, 10))
	return ok
}

// thriftToTraces translates a list of v1 spans in Thrift's binary protocol.
func thriftToTraces(body []byte) (td ptrace.Traces, refused refusals, err error) {
	if len(body) == 0 {
		return ptrace.NewTraces(), nil, nil
	}
	const binaryAnnotations = 8
	w := wire.Thrift{List: func(depth int, field int16, n int) error {
		if depth == 0 && field == binaryAnnotations && n > maxTags {
			return fmt.Errorf("a span of %d binary annotations, over %d", n, maxTags)
		}
		return nil
	}}
	spans, rest, err := w.Elements(body)
	switch {
	case err != nil:
	case len(rest) > 0:
		err = fmt.Errorf("%d bytes after the end of the list", len(rest))
	default:
		err = tooDense(len(body), w.Structs*messageBytes+spans*spanBytes, thriftDensity)
	}
	if err != nil {
		return td, nil, err
	}
	if td, err = zipkinv1.NewThriftTracesUnmarshaler().UnmarshalTraces(body); err == nil {
		unname(td)
	}
	return td, nil, err
}
