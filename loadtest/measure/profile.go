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

// Stack is where a program was when it was looked at, and what that stands for.
type Stack struct {
	// Frames are functions, the innermost first, with those that were inlined.
	Frames []string
	// Count is how often it was seen there, and Amount the CPU time in nanoseconds. Of a heap they are objects and bytes that are in use.
	Count, Amount int64
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

// HeapProfile reads what is in use of the heap of a Go program, after a collection, at the URL of net/http/pprof.
func HeapProfile(ctx context.Context, url string) ([]Stack, error) {
	text, err := read(ctx, url+"/heap?gc=1")
	if err != nil {
		return nil, err
	}
	return Stacks([]byte(text))
}

// maxProfile bounds what a profile may unpack to: one of some minutes has less than a MiB.
const maxProfile = 64 << 20

// Stacks reads a profile of Go's runtime/pprof, of CPU or of the heap: gzip around a Profile of profile.proto.
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

// profile is the part of a Profile that says who used what. Numbers are ids, but those of strings, which are places.
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
		n := len(s.values) // of a heap, those that were allocated come first
		if n != 2 && n != 4 {
			return nil, fmt.Errorf("a sample has %d values, want 2 of CPU or 4 of a heap", n)
		}
		one := Stack{Count: int64(s.values[n-2]), Amount: int64(s.values[n-1])}
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
