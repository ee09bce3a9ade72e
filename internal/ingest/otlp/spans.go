package otlp

import (
	"bytes"

	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

const (
	serviceName = "service.name"
	// unknownService is what SDKs put there when nobody says what they run in, at times with the program's name after it.
	unknownService = "unknown_service"
)

// group is what matters of a ResourceSpans.
type group struct {
	// service is the first service.name; empty if there is none or it is no string.
	service []byte
	// named: there is one, whatever it is.
	named bool
	// resources is how many fields make up the resource.
	resources int
	// scopes is the number of the fields whose spans count.
	scopes int32
}

func (g *group) read(rs []byte) error {
	g.scopes = oldScope
	var f wire.Field
	for len(rs) > 0 {
		var err error
		if rs, err = wire.Next(rs, &f); err != nil {
			return err
		}
		switch f.Num {
		case 1:
			g.resources++
			if err := g.readResource(f.Data); err != nil {
				return err
			}
		case 2:
			g.scopes = 2
		}
	}
	return nil
}

// readResource looks for the name in a resource, unless an earlier part of it had one.
func (g *group) readResource(resource []byte) error {
	var f wire.Field
	for len(resource) > 0 && !g.named {
		var err error
		if resource, err = wire.Next(resource, &f); err != nil {
			return err
		}
		if f.Num != 1 {
			continue
		}
		if err := g.readAttribute(f.Data); err != nil {
			return err
		}
	}
	return nil
}

func (g *group) readAttribute(kv []byte) error {
	var f wire.Field
	for rest := kv; len(rest) > 0; {
		var err error
		if rest, err = wire.Next(rest, &f); err != nil {
			return err
		}
		if f.Num == 1 { // the last key counts
			g.named = f.Type == wire.Bytes && string(f.Data) == serviceName
		}
	}
	if !g.named {
		return nil
	}
	return each(kv, 2, func(value []byte) error {
		for len(value) > 0 {
			var err error
			if value, err = wire.Next(value, &f); err != nil {
				return err
			}
			switch {
			case f.Num == 1 && f.Type == wire.Bytes:
				g.service = f.Data
			case f.Num <= lastValue:
				g.service = nil
			}
		}
		return nil
	})
}

// lastValue is the last field of AnyValue, all of which are one oneof: the last one there counts.
const lastValue = 8

// unnamed says whether nobody told what service this is.
func unnamed(service []byte) bool {
	return len(service) == 0 || bytes.HasPrefix(service, []byte(unknownService))
}

// view is what matters of a span. It points into the span.
type view struct {
	ids     ids
	traceID []byte
	name    []byte
	// state is the tracestate, and start to end where its field is; the last of several, which counts. None: end is 0.
	state      []byte
	start, end int
	// states is how many fields it has.
	states int
	// failed: the status is an error.
	failed bool
}

// read reads span. Ids besides the trace's are looked at only to checkIDs.
func (v *view) read(span []byte, checkIDs bool) error {
	var f wire.Field
	for rest := span; len(rest) > 0; {
		before := len(rest)
		var err error
		if rest, err = next(rest, &f); err != nil {
			return err
		}
		num, data, isBytes := f.Num, f.Data, f.Type == wire.Bytes
		switch {
		case num == 1:
			v.traceID = data // of no use if it is not Bytes, as the next line notes
			v.ids.traceID(data, isBytes)
		case num == 3 && isBytes:
			v.states++
			v.state, v.start, v.end = data, len(span)-before, len(span)-len(rest)
		case num == 5 && isBytes:
			v.name = data
		case num == 15:
			err = v.readStatus(data)
		case checkIDs && num == 2:
			v.ids.spanID(data, isBytes)
		case checkIDs && num == 4:
			v.ids.parentID(data, isBytes)
		case checkIDs && num == 13:
			err = v.ids.link(data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *view) readStatus(status []byte) error {
	const codeError = 2
	var f wire.Field
	for len(status) > 0 {
		var err error
		if status, err = wire.Next(status, &f); err != nil {
			return err
		}
		if f.Num == 3 && f.Type == wire.Varint {
			v.failed = int32(f.Int) == codeError
		}
	}
	return nil
}

// each calls f with the content of every field num of msg.
func each(msg []byte, num int32, f func(content []byte) error) error {
	var field wire.Field
	for len(msg) > 0 {
		var err error
		if msg, err = wire.Next(msg, &field); err != nil {
			return err
		}
		if field.Num != num {
			continue
		}
		if err = f(field.Data); err != nil {
			return err
		}
	}
	return nil
}
