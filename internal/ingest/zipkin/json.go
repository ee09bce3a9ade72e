package zipkin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"time"

	"github.com/openzipkin/zipkin-go/model"
)

// errOtherVersion is the error of a v1 push at the v2 door and of the reverse, told by fields that only one has. Zipkin's
// server refuses those too; read as what they are not, they would lose their service and their tags.
var errOtherVersion = errors.New("spans of the other version of the API: v1 goes to /api/v1/spans, v2 to /api/v2/spans")

var errNotObject = errors.New("json: an element of the list is not an object")

// v2Span is a span as JSON. Debug and shared are not read: OTLP has neither, and a span keeps the id it shares.
type v2Span struct {
	TraceID        string      `json:"traceId"`
	ParentID       string      `json:"parentId"`
	ID             string      `json:"id"`
	Kind           string      `json:"kind"`
	Name           string      `json:"name"`
	Timestamp      json.Number `json:"timestamp"`
	Duration       json.Number `json:"duration"`
	LocalEndpoint  *endpoint   `json:"localEndpoint"`
	RemoteEndpoint *endpoint   `json:"remoteEndpoint"`
	Annotations    []struct {
		Timestamp json.Number     `json:"timestamp"`
		Value     string          `json:"value"`
		Endpoint  json.RawMessage `json:"endpoint"` // v1
	} `json:"annotations"`
	Tags              texts           `json:"tags"`
	BinaryAnnotations json.RawMessage `json:"binaryAnnotations"` // v1
}

// endpoint is one side of a call, in v1 and v2.
type endpoint struct {
	ServiceName string `json:"serviceName"`
	IPv4        string `json:"ipv4"`
	IPv6        string `json:"ipv6"`
	Port        port   `json:"port"`
}

// readJSON reads a v2 list.
func (l *list) readJSON(body []byte) error {
	ok, err := checkList(body)
	if !ok || err != nil {
		return err
	}
	for element := range elements(body) {
		l.n++
		var s v2Span
		if err := readElement(element, &s); err != nil {
			if errors.Is(err, errNotObject) {
				return err
			}
			l.refuse(badItem, jsonFault(err))
			continue
		}
		if s.BinaryAnnotations != nil {
			return errOtherVersion
		}
		for i := range s.Annotations {
			if s.Annotations[i].Endpoint != nil {
				return errOtherVersion
			}
		}
		l.addJSON(&s)
	}
	return nil
}

// readElement reads an element of a list, which is valid JSON, into s.
func readElement(element []byte, s any) error {
	if element = bytes.TrimLeft(element, " \t\r\n"); len(element) == 0 || element[0] != '{' {
		return errNotObject
	}
	return json.Unmarshal(element, s)
}

// jsonFault says what is wrong with a span without saying what is in it.
func jsonFault(err error) string {
	var t *json.UnmarshalTypeError
	if errors.As(err, &t) {
		return fmt.Sprintf("field %.100s cannot be JSON's %s", t.Field, t.Value)
	}
	return "a field of the wrong type"
}

func (l *list) addJSON(s *v2Span) {
	m := &model.SpanModel{
		Name:           s.Name,
		Kind:           model.Kind(s.Kind),
		LocalEndpoint:  s.LocalEndpoint.model(),
		RemoteEndpoint: s.RemoteEndpoint.model(),
		Tags:           s.Tags,
	}
	var ok bool
	if m.TraceID, ok = traceID(s.TraceID); !ok {
		l.refuse(badID, "traceId is not 1 to 32 hex digits")
		return
	}
	if m.ID, ok = spanID(s.ID); !ok {
		l.refuse(badID, "id is not 1 to 16 hex digits")
		return
	}
	if s.ParentID != "" {
		parent, ok := spanID(s.ParentID)
		if !ok {
			l.refuse(badID, "parentId is not 1 to 16 hex digits")
			return
		}
		m.ParentID = &parent
	}
	start, ok1 := micros(s.Timestamp)
	duration, ok2 := micros(s.Duration)
	if !ok1 || !ok2 {
		l.refuse(badItem, "timestamp or duration is not a number of microseconds")
		return
	}
	if start != 0 {
		m.Timestamp = time.UnixMicro(start)
	}
	m.Duration = time.Duration(duration) * time.Microsecond
	for i := range s.Annotations {
		a := &s.Annotations[i]
		at, ok := micros(a.Timestamp)
		if !ok || at == 0 {
			l.refuse(badItem, "an annotation has no timestamp in microseconds")
			return
		}
		l.annotate(m, time.UnixMicro(at), a.Value)
	}
	l.add(m)
}

// model returns e as zipkin-go has it, nil if it says nothing.
func (e *endpoint) model() *model.Endpoint {
	if e == nil {
		return nil
	}
	m := &model.Endpoint{ServiceName: e.ServiceName, IPv4: net.ParseIP(e.IPv4), IPv6: net.ParseIP(e.IPv6), Port: uint16(e.Port)}
	if m.Empty() {
		return nil
	}
	return m
}

// port is the port of an endpoint. What is none is left out.
type port uint16

func (p *port) UnmarshalJSON(raw []byte) error {
	*p = 0
	if n, err := strconv.ParseUint(string(bytes.Trim(raw, `"`)), 10, 16); err == nil {
		*p = port(n)
	}
	return nil
}

// texts are tags.
type texts map[string]string

// UnmarshalJSON takes numbers and booleans for their text, which senders in languages without types write.
func (t *texts) UnmarshalJSON(raw []byte) error {
	plain := make(map[string]string)
	err := json.Unmarshal(raw, &plain)
	if err == nil {
		*t = plain
		return nil
	}
	values := make(map[string]json.RawMessage)
	if json.Unmarshal(raw, &values) != nil {
		return err
	}
	clear(plain)
	for k, v := range values {
		s, ok := text(v)
		if !ok {
			return err
		}
		plain[k] = s
	}
	*t = plain
	return nil
}

// text is a JSON value as text: a string, or a number or boolean as it stands. Lists and objects are none.
func text(raw json.RawMessage) (string, bool) {
	switch raw[0] {
	case '"':
		var s string
		return s, json.Unmarshal(raw, &s) == nil
	case '{', '[':
		return "", false
	case 'n': // null
		return "", true
	}
	return string(raw), true
}

// traceID reads the hex digits of a trace id: 32, or the low 64 bits of it, without leading zeros too.
func traceID(s string) (id model.TraceID, ok bool) {
	if low := len(s) - 16; low > 0 {
		if low > 16 {
			return id, false
		}
		if id.High, ok = hex64(s[:low]); !ok {
			return id, false
		}
		s = s[low:]
	}
	id.Low, ok = hex64(s)
	return id, ok
}

func spanID(s string) (model.ID, bool) {
	id, ok := hex64(s)
	return model.ID(id), ok
}

// hex64 reads 1 to 16 hex digits.
func hex64(s string) (uint64, bool) {
	if len(s) > 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 16, 64)
	return n, err == nil
}

// maxMicros is the last moment that fits into nanoseconds.
const maxMicros = math.MaxInt64 / 1000

// micros reads a time or a duration; absent it is 0. Browsers send fractions.
func micros(n json.Number) (int64, bool) {
	if n == "" {
		return 0, true
	}
	if i, err := strconv.ParseInt(string(n), 10, 64); err == nil {
		return i, i >= 0 && i <= maxMicros
	}
	f, err := strconv.ParseFloat(string(n), 64)
	return int64(f), err == nil && f >= 0 && f < maxMicros
}
