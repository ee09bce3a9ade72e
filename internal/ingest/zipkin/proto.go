package zipkin

import (
	"encoding/binary"
	"errors"
	"net"
	"time"
	"unicode/utf8"

	"github.com/openzipkin/zipkin-go/model"

	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// What a push can be made of to weigh the most, as in scan.go.
const (
	spanBytes     = 800
	messageBytes  = 160
	protoDensity  = 24
	thriftDensity = 24
)

var errField = errors.New("protobuf: a field of another type than Zipkin's")

// kinds are Span.Kind by its number.
var kinds = [...]model.Kind{model.Undetermined, model.Client, model.Server, model.Producer, model.Consumer}

// readProto reads a ListOfSpans. zipkin-go has a reader too, but it builds the push twice, refuses all of it for one
// trace id of 64 bits, and takes memory by what a push declares.
func (l *list) readProto(body []byte) error {
	r := protoReader{list: l, size: len(body)}
	for len(body) > 0 {
		rest, f, err := r.next(body)
		if err != nil {
			return err
		}
		body = rest
		if f.Num != 1 {
			continue
		}
		if f.Type != wire.Bytes {
			return errField
		}
		l.n++
		if err := r.charge(spanBytes); err != nil {
			return err
		}
		if err := r.span(f.Data); err != nil {
			return err
		}
	}
	return nil
}

type protoReader struct {
	*list
	field wire.Field
	size  int // of the body
	held  int
	// Of the span that is being read: what it cannot leave for, the first one.
	reason, why string
}

// next reads the first field of msg.
func (r *protoReader) next(msg []byte) (rest []byte, f wire.Field, err error) {
	rest, err = wire.Next(msg, &r.field)
	return rest, r.field, err
}

func (r *protoReader) charge(n int) error {
	r.held += n
	return tooDense(r.size, r.held, protoDensity)
}

func (r *protoReader) cannot(reason, why string) {
	if r.reason == "" {
		r.reason, r.why = reason, why
	}
}

// text reads a string, which protobuf wants to be UTF-8: upstream may refuse the whole push for one that is not.
func (r *protoReader) text(data []byte) string {
	if !utf8.Valid(data) {
		r.cannot(badItem, "a text is not UTF-8")
	}
	return string(data)
}

// types are the wire types of a Span's fields by number.
var types = [...]wire.Type{
	1: wire.Bytes, 2: wire.Bytes, 3: wire.Bytes, 4: wire.Varint, 5: wire.Bytes, 6: wire.Fixed64, 7: wire.Varint,
	8: wire.Bytes, 9: wire.Bytes, 10: wire.Bytes, 11: wire.Bytes,
}

// span reads a Span and adds it to the list, or refuses it.
func (r *protoReader) span(msg []byte) error {
	m := &model.SpanModel{Timestamp: time.Unix(0, 0)}
	r.reason = ""
	var trace, parent, id []byte
	for len(msg) > 0 {
		rest, f, err := r.next(msg)
		if err != nil {
			return err
		}
		msg = rest
		if int(f.Num) >= len(types) {
			continue
		}
		if f.Type != types[f.Num] {
			return errField
		}
		switch f.Num {
		case 1:
			trace = f.Data
		case 2:
			parent = f.Data
		case 3:
			id = f.Data
		case 4:
			if m.Kind = model.Undetermined; f.Int < uint64(len(kinds)) {
				m.Kind = kinds[f.Int]
			}
		case 5:
			m.Name = r.text(f.Data)
		case 6:
			m.Timestamp = time.UnixMicro(int64(f.Int))
		case 7:
			m.Duration = time.Duration(f.Int * 1e3)
		case 8:
			m.LocalEndpoint, err = r.endpoint(m.LocalEndpoint, f.Data)
		case 9:
			m.RemoteEndpoint, err = r.endpoint(m.RemoteEndpoint, f.Data)
		case 10:
			err = r.annotation(m, f.Data)
		case 11:
			err = r.tag(m, f.Data)
		}
		if err != nil {
			return err
		}
	}
	r.ids(m, trace, parent, id)
	if r.reason != "" {
		r.refuse(r.reason, r.why)
		return nil
	}
	r.add(m)
	return nil
}

// ids sets the ids of m. A trace id of 8 bytes is the low half; an id that is not there at all is zero.
func (r *protoReader) ids(m *model.SpanModel, trace, parent, id []byte) {
	switch len(trace) {
	case 16:
		m.TraceID.High = binary.BigEndian.Uint64(trace)
		trace = trace[8:]
		fallthrough
	case 8:
		m.TraceID.Low = binary.BigEndian.Uint64(trace)
	case 0:
	default:
		r.cannot(badID, "trace_id is not 8 or 16 bytes")
	}
	switch len(id) {
	case 8:
		m.ID = model.ID(binary.BigEndian.Uint64(id))
	case 0:
	default:
		r.cannot(badID, "id is not 8 bytes")
	}
	switch len(parent) {
	case 8:
		p := model.ID(binary.BigEndian.Uint64(parent))
		m.ParentID = &p
	case 0:
	default:
		r.cannot(badID, "parent_id is not 8 bytes")
	}
}

// endpoint reads an Endpoint into e, which is nil the first time.
func (r *protoReader) endpoint(e *model.Endpoint, msg []byte) (*model.Endpoint, error) {
	if e == nil {
		e = new(model.Endpoint)
	}
	for len(msg) > 0 {
		rest, f, err := r.next(msg)
		if err != nil {
			return nil, err
		}
		msg = rest
		switch {
		case f.Num > 4:
		case (f.Type == wire.Varint) != (f.Num == 4) || f.Num < 4 && f.Type != wire.Bytes:
			return nil, errField
		case f.Num == 1:
			e.ServiceName = r.text(f.Data)
		case f.Num == 2:
			e.IPv4 = address(f.Data)
		case f.Num == 3:
			e.IPv6 = address(f.Data)
		default:
			e.Port = uint16(f.Int)
		}
	}
	return e, nil
}

// address copies an address; what is none is left out.
func address(data []byte) net.IP {
	if len(data) != net.IPv4len && len(data) != net.IPv6len {
		return nil
	}
	return append(net.IP(nil), data...)
}

func (r *protoReader) annotation(m *model.SpanModel, msg []byte) error {
	if err := r.charge(messageBytes); err != nil {
		return err
	}
	at, value := uint64(0), ""
	for len(msg) > 0 {
		rest, f, err := r.next(msg)
		if err != nil {
			return err
		}
		msg = rest
		switch {
		case f.Num == 1 && f.Type == wire.Fixed64:
			at = f.Int
		case f.Num == 2 && f.Type == wire.Bytes:
			value = r.text(f.Data)
		case f.Num <= 2:
			return errField
		}
	}
	r.annotate(m, time.UnixMicro(int64(at)), value)
	return nil
}

// tag reads an entry of the map; the last of a key counts.
func (r *protoReader) tag(m *model.SpanModel, msg []byte) error {
	if err := r.charge(messageBytes); err != nil {
		return err
	}
	var key, value string
	for len(msg) > 0 {
		rest, f, err := r.next(msg)
		if err != nil {
			return err
		}
		msg = rest
		switch {
		case f.Num == 1 && f.Type == wire.Bytes:
			key = r.text(f.Data)
		case f.Num == 2 && f.Type == wire.Bytes:
			value = r.text(f.Data)
		case f.Num <= 2:
			return errField
		}
	}
	if m.Tags == nil {
		m.Tags = make(map[string]string)
	}
	m.Tags[key] = value
	return nil
}
