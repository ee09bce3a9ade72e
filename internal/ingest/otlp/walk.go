package otlp

import (
	"errors"

	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// maxNesting bounds values inside values, of protobuf and of JSON alike.
const maxNesting = 64

var (
	errNesting = errors.New("values nested over 64")
	errGroup   = errors.New("protobuf: a group, which OTLP has none of")
	errNotSub  = errors.New("protobuf: field of a message type holds something else")
)

// walker walks a push to its last message, so that what is forwarded is well formed and cannot exhaust a stack
// upstream, and so that what follows need not check again.
type walker struct {
	// envelopes and holders are counted for batch.
	envelopes, holders int
	// field is where wire.Next writes; one for all levels, since none needs it after going down.
	field wire.Field
}

// walk checks msg, of kind k inside depth values, and returns how many items it holds.
func (w *walker) walk(msg []byte, k kind, depth int) (items int, err error) {
	m := &messages[k]
	if k == anyValue {
		if depth++; depth > maxNesting {
			return 0, errNesting
		}
	}
	if m.owner {
		w.holders++ // the one that is made where there is none
	}
	var old int
	var hasNew bool
	for {
		if msg = m.skim(msg, depth); len(msg) == 0 {
			break
		}
		if msg, err = w.next(msg); err != nil {
			return 0, err
		}
		data := w.field.Data
		i, ok := index(w.field.Num)
		if !ok || m.sub[i] == scalar {
			continue
		}
		if w.field.Type != wire.Bytes {
			return 0, errNotSub
		}
		sub := m.sub[i]
		if m.down&(1<<i) != 0 {
			if messages[sub].stamped {
				w.holders++
			} else {
				w.envelopes++
			}
		}
		n, err := w.walk(data, sub, depth)
		if err != nil {
			return 0, err
		}
		switch {
		case i == 0:
			old += n
		case m.oneof && sub != keyValue:
			items = n
		default:
			items += n
			hasNew = hasNew || i == 2
		}
	}
	if !hasNew {
		items += old
	}
	if m.item {
		return 1, nil
	}
	return items, nil
}
