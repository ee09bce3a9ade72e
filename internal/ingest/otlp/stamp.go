package otlp

import (
	"encoding/binary"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// stamper writes a push again with stamps on everything that its table says is stamped. An attribute that has a stamp's
// key becomes the stamp, where it stands; further ones of that key go (keys must be unique, and a push must not grow by
// a stamp for each); a stamp whose key is not there is appended. All else is copied as it came.
type stamper struct {
	stamps []labels.Label
	// seen are the stamps that the message at hand has already.
	seen []bool
	// size is what all stamps together take.
	size int
}

func newStamper(stamps []labels.Label) *stamper {
	return &stamper{stamps: stamps, seen: make([]bool, len(stamps)), size: stampsLen(stamps)}
}

// walk appends msg, of kind k, to dst.
func (s *stamper) walk(dst, msg []byte, k kind) ([]byte, error) {
	m := &messages[k]
	resources := 0
	if m.owner {
		clear(s.seen)
		var err error
		if resources, err = countField(msg, 1); err != nil {
			return nil, err
		}
		if resources == 0 {
			var at wire.Mark
			dst, at = wire.OpenMessage(dst, 1, s.size)
			dst = wire.CloseMessage(s.missing(dst, messages[resource].attrs), at)
		}
	}
	var f wire.Field
	run := msg // from the first byte that is not in dst yet
	for rest := msg; len(rest) > 0; {
		before := len(rest)
		var err error
		if rest, err = next(rest, &f); err != nil {
			return nil, err
		}
		i, ok := index(f.Num)
		if !ok || m.down&(1<<i) == 0 {
			continue
		}
		dst = append(dst, run[:len(run)-before]...)
		run = rest
		sub := m.sub[i]
		var at wire.Mark
		dst, at = wire.OpenMessage(dst, f.Num, len(f.Data)+s.size)
		switch {
		case m.owner:
			resources--
			dst, err = s.attributes(dst, f.Data, messages[sub].attrs, resources == 0)
		case messages[sub].stamped:
			clear(s.seen)
			dst, err = s.attributes(dst, f.Data, messages[sub].attrs, true)
		default:
			dst, err = s.walk(dst, f.Data, sub)
		}
		if err != nil {
			return nil, err
		}
		dst = wire.CloseMessage(dst, at)
	}
	return append(dst, run...), nil
}

// attributes appends msg, whose attributes are field num, to dst. last: what is missing is to be added here.
func (s *stamper) attributes(dst, msg []byte, num int32, last bool) ([]byte, error) {
	var f wire.Field
	run := msg
	for rest := msg; len(rest) > 0; {
		before := len(rest)
		var err error
		if rest, err = next(rest, &f); err != nil {
			return nil, err
		}
		if f.Num != num {
			continue
		}
		i, err := s.find(f.Data)
		if err != nil {
			return nil, err
		}
		if i < 0 {
			continue
		}
		dst = append(dst, run[:len(run)-before]...)
		run = rest
		if !s.seen[i] {
			s.seen[i] = true
			dst = appendStamp(dst, num, s.stamps[i])
		}
	}
	dst = append(dst, run...)
	if last {
		dst = s.missing(dst, num)
	}
	return dst, nil
}

// find returns which stamp has the key of the KeyValue kv, -1 if none has.
func (s *stamper) find(kv []byte) (int, error) {
	key, err := keyOf(kv)
	if err != nil {
		return 0, err
	}
	for i := range s.stamps {
		if s.stamps[i].Name == string(key) {
			return i, nil
		}
	}
	return -1, nil
}

// missing appends the stamps that were not seen.
func (s *stamper) missing(dst []byte, num int32) []byte {
	for i, ok := range s.seen {
		if !ok {
			dst = appendStamp(dst, num, s.stamps[i])
		}
	}
	return dst
}

// appendStamp appends field num: KeyValue{key: l.Name, value: AnyValue{string_value: l.Value}}.
func appendStamp(dst []byte, num int32, l labels.Label) []byte {
	dst = wire.AppendTag(dst, num, wire.Bytes)
	dst = binary.AppendUvarint(dst, uint64(keyValueLen(l)))
	dst = wire.AppendString(dst, 1, l.Name)
	dst = wire.AppendTag(dst, 2, wire.Bytes)
	dst = binary.AppendUvarint(dst, uint64(wire.BytesLen(1, len(l.Value))))
	return wire.AppendString(dst, 1, l.Value)
}

func keyValueLen(l labels.Label) int {
	return wire.BytesLen(1, len(l.Name)) + wire.BytesLen(2, wire.BytesLen(1, len(l.Value)))
}

// stampsLen is what stamps take as attributes. Every attributes field that is stamped has a number below 16.
func stampsLen(stamps []labels.Label) (n int) {
	for _, l := range stamps {
		n += wire.BytesLen(1, keyValueLen(l))
	}
	return n
}

// countField returns how many fields num msg has.
func countField(msg []byte, num int32) (n int, err error) {
	var f wire.Field
	for len(msg) > 0 {
		if msg, err = wire.Next(msg, &f); err != nil {
			return 0, err
		}
		if f.Num == num {
			n++
		}
	}
	return n, nil
}
