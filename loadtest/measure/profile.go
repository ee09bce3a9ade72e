package measure

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// Stack is where a program was when it was looked at, and how much CPU that stands for.
type Stack struct {
	// Frames are functions, the innermost first, with those that were inlined.
	Frames []string
	// Count is how often it was seen there, and Nanos the CPU time.
	Count, Nanos int64
}

// CPUProfile reads the CPU profile of a Go program for so many seconds, at the URL of net/http/pprof. The file is what it answered.
func CPUProfile(ctx context.Context, url string, seconds int) (stacks []Stack, file []byte, err error) {
	text, err := read(ctx, fmt.Sprintf("%s/profile?seconds=%d", url, seconds))
	if err != nil {
		return nil, nil, err
	}
	stacks, err = Stacks([]byte(text))
	return stacks, []byte(text), err
}

// maxProfile bounds what a profile may unpack to: one of some minutes has less than a MiB.
const maxProfile = 64 << 20

// Stacks reads a CPU profile of Go's runtime/pprof: gzip around a Profile of profile.proto.
//
// Source: https://github.com/google/pprof/blob/main/proto/profile.proto
func Stacks(file []byte) ([]Stack, error) {
	zr, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(zr, maxProfile))
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	p := profile{functions: map[uint64]uint64{}, locations: map[uint64][]uint64{}}
	if err := p.read(raw); err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	return p.stacks()
}

// profile is the part of a Profile that says who used CPU. Numbers are ids, but those of strings, which are places.
type profile struct {
	samples   []sample
	functions map[uint64]uint64   // name
	locations map[uint64][]uint64 // functions, the innermost first
	strings   []string
}

type sample struct{ locations, values []uint64 }

// The fields that are read.
const (
	profileSample   = 2
	profileLocation = 4
	profileFunction = 5
	profileString   = 6
	sampleLocation  = 1
	sampleValue     = 2
	ownID           = 1 // of a Location, and of a Function
	functionName    = 2
	locationLine    = 4
	lineFunction    = 1
)

func (p *profile) read(raw []byte) error {
	return fields(raw, func(num protowire.Number, n uint64, data []byte) error {
		switch num {
		case profileSample:
			p.samples = append(p.samples, sample{})
			return p.samples[len(p.samples)-1].read(data)
		case profileLocation:
			return p.location(data)
		case profileFunction:
			var id, name uint64
			err := fields(data, func(num protowire.Number, n uint64, _ []byte) error {
				switch num {
				case ownID:
					id = n
				case functionName:
					name = n
				}
				return nil
			})
			p.functions[id] = name
			return err
		case profileString:
			p.strings = append(p.strings, string(data))
		}
		return nil
	})
}

func (p *profile) location(data []byte) error {
	var id uint64
	var list []uint64
	err := fields(data, func(num protowire.Number, n uint64, data []byte) error {
		switch num {
		case ownID:
			id = n
		case locationLine:
			return fields(data, func(num protowire.Number, n uint64, _ []byte) error {
				if num == lineFunction {
					list = append(list, n)
				}
				return nil
			})
		}
		return nil
	})
	p.locations[id] = list
	return err
}

func (s *sample) read(data []byte) error {
	return fields(data, func(num protowire.Number, n uint64, data []byte) error {
		switch num {
		case sampleLocation:
			return numbers(&s.locations, n, data)
		case sampleValue:
			return numbers(&s.values, n, data)
		}
		return nil
	})
}

// stacks names all that the samples refer to.
func (p *profile) stacks() ([]Stack, error) {
	list := make([]Stack, 0, len(p.samples))
	for _, s := range p.samples {
		if len(s.values) != 2 {
			return nil, fmt.Errorf("a sample has %d values, want 2: it is no CPU profile", len(s.values))
		}
		one := Stack{Count: int64(s.values[0]), Nanos: int64(s.values[1])}
		for _, l := range s.locations {
			for _, f := range p.locations[l] {
				name := p.functions[f]
				if name >= uint64(len(p.strings)) {
					return nil, fmt.Errorf("string %d of %d is referred to", name, len(p.strings))
				}
				one.Frames = append(one.Frames, p.strings[name])
			}
		}
		list = append(list, one)
	}
	return list, nil
}

// fields calls each for every field: n is the value of a varint, data that of what has a length.
func fields(raw []byte, each func(num protowire.Number, n uint64, data []byte) error) error {
	for len(raw) > 0 {
		num, kind, size := protowire.ConsumeTag(raw)
		if size < 0 {
			return protowire.ParseError(size)
		}
		raw = raw[size:]
		var n uint64
		var data []byte
		switch kind {
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(raw)
		case protowire.BytesType:
			data, size = protowire.ConsumeBytes(raw)
		default:
			size = protowire.ConsumeFieldValue(num, kind, raw)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		raw = raw[size:]
		if err := each(num, n, data); err != nil {
			return err
		}
	}
	return nil
}

// numbers adds one number, or all of a packed field.
func numbers(list *[]uint64, n uint64, packed []byte) error {
	if packed == nil {
		*list = append(*list, n)
		return nil
	}
	for len(packed) > 0 {
		n, size := protowire.ConsumeVarint(packed)
		if size < 0 {
			return errors.New("a packed field ends within a number")
		}
		*list, packed = append(*list, n), packed[size:]
	}
	return nil
}
