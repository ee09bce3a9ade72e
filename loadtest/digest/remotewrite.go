package digest

import (
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// RemoteWriteV1 walks a prometheus.WriteRequest.
func RemoteWriteV1(raw []byte, every uint64) (s Sum, err error) {
	var f wire.Field
	for len(raw) > 0 {
		if raw, err = wire.Next(raw, &f); err != nil {
			return s, err
		}
		if f.Num == 1 {
			msg := f.Data
			if err = s.series(msg, 2, 4, every, func() (uint64, error) { return labelsV1(msg) }); err != nil {
				return s, err
			}
		}
	}
	return s, nil
}

// series adds what one TimeSeries holds: samples in one field, native histograms in another. labels is asked at most once,
// and only if an item is checked.
func (s *Sum) series(msg []byte, samples, histograms int32, every uint64, labels func() (uint64, error)) (err error) {
	var f wire.Field
	var set uint64
	known := false
	for len(msg) > 0 {
		if msg, err = wire.Next(msg, &f); err != nil {
			return err
		}
		if f.Num != samples && f.Num != histograms {
			continue
		}
		value, ms, err := point(f.Data, f.Num == histograms)
		if err != nil {
			return err
		}
		if !known && Selected(ms, every) {
			if set, err = labels(); err != nil {
				return err
			}
			known = true
		}
		s.Sample(set, value, ms, every)
	}
	return nil
}

// point returns value and time of a sample. A histogram's value is the hash of all but its time. The start time of 2.0 is
// part of the value where there is one.
func point(msg []byte, histogram bool) (value uint64, ms int64, err error) {
	if histogram {
		if value, err = message(msg, 15); err != nil {
			return 0, 0, err
		}
	}
	var f wire.Field
	for len(msg) > 0 {
		if msg, err = wire.Next(msg, &f); err != nil {
			return 0, 0, err
		}
		switch {
		case histogram && f.Num == 15, !histogram && f.Num == 2:
			ms = int64(f.Int)
		case !histogram && f.Num == 1:
			value += f.Int
		case !histogram && f.Int != 0:
			value += mix(uint64(f.Num), f.Int)
		}
	}
	return value, ms, nil
}

func labelsV1(msg []byte) (set uint64, err error) {
	var f wire.Field
	for len(msg) > 0 {
		if msg, err = wire.Next(msg, &f); err != nil {
			return 0, err
		}
		if f.Num != 1 {
			continue
		}
		one, err := pair(f.Data)
		if err != nil {
			return 0, err
		}
		set += one
	}
	return set, nil
}

// pair is the hash of a message of a name in field 1 and a value in field 2.
func pair(msg []byte) (uint64, error) {
	var f wire.Field
	var name, value []byte
	var err error
	for len(msg) > 0 {
		if msg, err = wire.Next(msg, &f); err != nil {
			return 0, err
		}
		if f.Num == 1 {
			name = f.Data
		} else {
			value = f.Data
		}
	}
	return label(name, value), nil
}

// RemoteWriteV2 walks an io.prometheus.write.v2.Request. A series with the labels of one of version 1 has the same hash, but
// for the type, help and unit that go with it.
func RemoteWriteV2(raw []byte, every uint64) (s Sum, err error) {
	var f wire.Field
	symbols := make([]uint64, 0, 4096)
	for rest := raw; len(rest) > 0; {
		if rest, err = wire.Next(rest, &f); err != nil {
			return s, err
		}
		if f.Num == 4 {
			symbols = append(symbols, xxhash.Sum64(f.Data))
		}
	}
	for len(raw) > 0 {
		if raw, err = wire.Next(raw, &f); err != nil {
			return s, err
		}
		if f.Num == 5 {
			msg := f.Data
			if err = s.series(msg, 2, 3, every, func() (uint64, error) { return labelsV2(msg, symbols) }); err != nil {
				return s, err
			}
		}
	}
	return s, nil
}

// labelsV2 reads labels_refs (packed) and metadata.
func labelsV2(msg []byte, symbols []uint64) (set uint64, err error) {
	text := func(ref uint64) uint64 {
		if ref >= uint64(len(symbols)) {
			err = fmt.Errorf("symbol %d of %d", ref, len(symbols))
			return 0
		}
		return symbols[ref]
	}
	var f wire.Field
	for len(msg) > 0 && err == nil {
		if msg, err = wire.Next(msg, &f); err != nil {
			return 0, err
		}
		switch f.Num {
		case 1:
			for refs := f.Data; len(refs) > 0 && err == nil; {
				name, n := wire.Uvarint(refs)
				value, m := wire.Uvarint(refs[max(n, 0):])
				if n <= 0 || m <= 0 {
					return 0, wire.ErrVarint
				}
				set += mix(text(name), text(value))
				refs = refs[n+m:]
			}
		case 5:
			var kind, help, unit uint64
			var part wire.Field
			for meta := f.Data; len(meta) > 0; {
				if meta, err = wire.Next(meta, &part); err != nil {
					return 0, err
				}
				switch part.Num {
				case 1:
					kind = part.Int
				case 3:
					help = part.Int
				case 4:
					unit = part.Int
				}
			}
			set += mix(kind, mix(text(help), text(unit)))
		}
	}
	return set, err
}

// Metadata is what type, help and unit of a series of version 2 add to the hash of its labels.
func Metadata(kind uint64, help, unit string) uint64 {
	return mix(kind, mix(xxhash.Sum64String(help), xxhash.Sum64String(unit)))
}
