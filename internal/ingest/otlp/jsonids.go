package otlp

import (
	"encoding/hex"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// tracesFromJSON reads ids that are none as empty ones, so that their spans are refused and not the push.
func tracesFromJSON(body []byte) ([]byte, error) {
	r := ptraceotlp.NewExportRequest()
	if err := r.UnmarshalJSON(body); err != nil {
		var m mender
		if m.mend(body); len(m.out) == 0 {
			return nil, err
		}
		r = ptraceotlp.NewExportRequest()
		if r.UnmarshalJSON(m.out) != nil {
			return nil, err // of the push as it came
		}
	}
	return r.MarshalProto()
}

// mender writes a JSON push again in which ids that pdata would refuse all of it for are empty, and so is the span id of
// the span around them. It is for pushes that pdata refused, and must only be given what checkJSON has let pass.
type mender struct {
	body []byte
	// out is what was written so far, done how much of body that stands for. Empty: nothing had to be mended.
	out  []byte
	done int
	// levels are the objects and arrays around the place at hand.
	levels []level
}

// level is an object or array: the key that it is the value of, or that of the array which it is in; and whether it is
// a span whose id has to go.
type level struct {
	key []byte
	bad bool
}

func (m *mender) mend(body []byte) {
	m.body = body
	var key []byte // of the value that comes next
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '{', '[':
			if key == nil && len(m.levels) > 0 {
				key = m.levels[len(m.levels)-1].key
			}
			m.levels = append(m.levels, level{key: key})
			key = nil
		case '}', ']':
			last := len(m.levels) - 1
			if m.levels[last].bad {
				m.replace(i, i, `,"spanId":""`) // the last one counts
			}
			m.levels, key = m.levels[:last], nil
		case ',':
			key = nil
		case '"':
			start := i + 1
			for i = start; body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
			if isKey(body[i:]) {
				key = body[start:i]
			} else {
				m.value(key, start, i)
			}
		}
	}
	if m.done > 0 {
		m.out = append(m.out, body[m.done:]...)
	}
}

// value looks at the string from start to end, the value of key.
func (m *mender) value(key []byte, start, end int) {
	size := spanIDBytes
	switch string(key) {
	case "traceId", "trace_id":
		size = traceIDBytes
	case "spanId", "span_id", "parentSpanId", "parent_span_id":
	default:
		return
	}
	// The object that it is in is a span, or a link in one: span, array, link.
	at := len(m.levels) - 1
	if string(m.levels[at].key) == "links" {
		at -= 2
	}
	if at >= 0 && string(m.levels[at].key) == "spans" && !isHexID(m.body[start:end], size) {
		m.levels[at].bad = true
		m.replace(start, end, "")
	}
}

// isHexID says whether pdata takes s for an id of size bytes; an empty one it does.
func isHexID(s []byte, size int) bool {
	_, err := hex.DecodeString(string(s))
	return err == nil && (len(s) == 0 || len(s) == 2*size)
}

func (m *mender) replace(start, end int, with string) {
	if m.out == nil {
		m.out = make([]byte, 0, len(m.body)+len(m.body)/8)
	}
	m.out = append(append(m.out, m.body[m.done:start]...), with...)
	m.done = end
}
