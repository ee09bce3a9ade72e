package otlp

import (
	"encoding/binary"

	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// ids says which ids of a span were met and whether upstream would take them, as bits.
type ids uint8

const (
	hasTraceID ids = 1 << iota
	hasSpanID
	badTraceID
	badSpanID
	badParentID
	badLink

	goodIDs = hasTraceID | hasSpanID
)

const (
	traceIDBytes = 16
	spanIDBytes  = 8
)

func (s *ids) traceID(id []byte, isBytes bool) {
	s.note(id, isBytes, traceIDBytes, hasTraceID, badTraceID)
}
func (s *ids) spanID(id []byte, isBytes bool)           { s.note(id, isBytes, spanIDBytes, hasSpanID, badSpanID) }
func (s *ids) parentID(id []byte, isBytes bool)         { s.note(id, isBytes, spanIDBytes, 0, badParentID) }
func (s *ids) linkID(id []byte, isBytes bool, size int) { s.note(id, isBytes, size, 0, badLink) }

// note takes down an id that should have size bytes. The last of several counts, but a wrong length counts wherever it
// is: upstream reads ids into arrays and refuses the whole push for one that does not fit, be it a parent's or a link's.
// What is in those is not looked at; a parent of all zeros is none.
func (s *ids) note(id []byte, isBytes bool, size int, has, bad ids) {
	*s &^= has
	switch {
	case !isBytes || len(id) != size && len(id) != 0:
		*s |= bad
	case len(id) == size && !zero(id):
		*s |= has
	}
}

// link looks at the ids of a link.
func (s *ids) link(link []byte) error {
	var f wire.Field
	for len(link) > 0 {
		var err error
		if link, err = wire.Next(link, &f); err != nil {
			return err
		}
		switch f.Num {
		case 1:
			s.linkID(f.Data, f.Type == wire.Bytes, traceIDBytes)
		case 2:
			s.linkID(f.Data, f.Type == wire.Bytes, spanIDBytes)
		}
	}
	return nil
}

// zero says whether id, of 8 or 16 bytes, is all zeros.
func zero(id []byte) bool {
	return binary.NativeEndian.Uint64(id) == 0 && binary.NativeEndian.Uint64(id[len(id)-8:]) == 0
}

// wrong says what is not good.
func (s ids) wrong() string {
	switch {
	case s&badTraceID != 0 || s&hasTraceID == 0:
		return "trace_id must be 16 bytes, not all zero"
	case s&badSpanID != 0 || s&hasSpanID == 0:
		return "span_id must be 8 bytes, not all zero"
	case s&badParentID != 0:
		return "parent_span_id must be 8 bytes or none"
	}
	return "the ids of a link must be 16 and 8 bytes"
}
