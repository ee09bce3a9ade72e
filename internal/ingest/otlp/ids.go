package otlp

import "encoding/binary"

// ids says which ids of a span were met and whether upstream would take them, as bits.
type ids uint8

const (
	hasTraceID ids = 1 << iota
	hasSpanID
	badTraceID
	badSpanID
	badParentID
	badLink
)

// note takes down the id of kind k. The last of several counts, but a wrong length counts wherever it is: upstream reads
// ids into arrays and refuses the whole push for one that does not fit, be it a parent's or a link's. What is in those
// is not looked at; a parent of all zeros is none.
func (s *ids) note(k kind, data []byte, isBytes bool) {
	size, has, bad := 8, ids(0), badLink
	switch k {
	case traceID:
		size, has, bad = 16, hasTraceID, badTraceID
	case spanID:
		has, bad = hasSpanID, badSpanID
	case parentID:
		bad = badParentID
	case linkTraceID:
		size = 16
	}
	*s &^= has
	switch {
	case !isBytes || len(data) != size && len(data) != 0:
		*s |= bad
	case len(data) == size && !zero(data):
		*s |= has
	}
}

// zero says whether id, of 8 or 16 bytes, is all zeros.
func zero(id []byte) bool {
	return binary.NativeEndian.Uint64(id) == 0 && binary.NativeEndian.Uint64(id[len(id)-8:]) == 0
}

// good: upstream takes the span.
func (s ids) good() bool { return s == hasTraceID|hasSpanID }

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
