package digest

import (
	"bytes"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// Loki walks a logproto.PushRequest.
func Loki(raw []byte, every uint64) (s Sum, err error) {
	var f, part wire.Field
	for len(raw) > 0 {
		if raw, err = wire.Next(raw, &f); err != nil {
			return s, err
		}
		if f.Num != 1 {
			continue
		}
		var stream uint64
		for msg := f.Data; len(msg) > 0; {
			if msg, err = wire.Next(msg, &part); err != nil {
				return s, err
			}
			if part.Num == 1 {
				stream = selector(part.Data)
			}
		}
		for msg := f.Data; len(msg) > 0; {
			if msg, err = wire.Next(msg, &part); err != nil {
				return s, err
			}
			if part.Num != 2 {
				continue
			}
			if err = s.entry(stream, part.Data, every); err != nil {
				return s, err
			}
		}
	}
	return s, nil
}

func (s *Sum) entry(stream uint64, msg []byte, every uint64) (err error) {
	var f, part wire.Field
	var ns int64
	var line []byte
	var metadata uint64
	for len(msg) > 0 {
		if msg, err = wire.Next(msg, &f); err != nil {
			return err
		}
		switch f.Num {
		case 1:
			for stamp := f.Data; len(stamp) > 0; {
				if stamp, err = wire.Next(stamp, &part); err != nil {
					return err
				}
				if part.Num == 1 {
					ns += int64(part.Int) * 1e9
				} else {
					ns += int64(part.Int)
				}
			}
		case 2:
			line = f.Data
		case 3:
			one, err := pair(f.Data)
			if err != nil {
				return err
			}
			metadata += one
		}
	}
	s.Entry(stream, metadata, ns, Text(line), every)
	return nil
}

// selector hashes {a="b", c="d"} as the set of its labels, in whatever order and spacing. What it cannot read it hashes as a
// text, which differs from every set.
func selector(s []byte) (set uint64) {
	rest := bytes.TrimSuffix(bytes.TrimPrefix(s, []byte("{")), []byte("}"))
	for len(rest) > 0 {
		rest = bytes.TrimLeft(rest, ", ")
		name, after, ok := bytes.Cut(rest, []byte("="))
		quoted, err := strconv.QuotedPrefix(string(after))
		if !ok || err != nil {
			return xxhash.Sum64(s)
		}
		value := after[1 : len(quoted)-1]
		if bytes.IndexByte(value, '\\') >= 0 {
			text, err := strconv.Unquote(quoted)
			if err != nil {
				return xxhash.Sum64(s)
			}
			value = []byte(text)
		}
		set += label(bytes.TrimSpace(name), value)
		rest = after[len(quoted):]
	}
	return set
}
