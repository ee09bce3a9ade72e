package otlp_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// oddity makes pushes of metrics that are well formed and that no SDK would send: messages doubled, in any order, old fields
// beside new ones, data that nobody reads, attributes of one name, values that come in two parts.
type oddity struct{ *rand.Rand }

// shuffled is parts in any order.
func (o oddity) shuffled(parts ...[]byte) []byte {
	o.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	return bytes.Join(parts, nil)
}

// some is up to n of what f makes.
func (o oddity) some(n int, f func() []byte) []byte {
	var all []byte
	for range o.IntN(n + 1) {
		all = append(all, f()...)
	}
	return all
}

func (o oddity) unknown() []byte { return o.some(1, func() []byte { return unknown(o.Uint64N(300)) }) }

// field is field num with a message, whose length may take more bytes than it needs.
func (o oddity) field(num int32, msg []byte) []byte {
	if o.IntN(8) > 0 {
		return sub(num, msg)
	}
	b := wire.AppendTag(nil, num, wire.Bytes)
	b = binary.AppendUvarint(b, uint64(len(msg)))
	b[len(b)-1] |= 0x80
	return append(append(b, 0), msg...)
}

func (o oddity) push() []byte {
	return o.some(3, func() []byte { return append(o.field(1, o.resourceMetrics()), o.unknown()...) })
}

func (o oddity) resourceMetrics() []byte {
	scope := func(num int32) func() []byte {
		return func() []byte { return o.field(num, o.scopeMetrics()) }
	}
	resource := func() []byte { return o.field(1, o.shuffled(o.attrs(1, 4), o.unknown())) }
	return o.shuffled(o.some(2, resource), o.some(2, resource), o.some(2, scope(2)), o.some(o.IntN(2), scope(1000)), o.unknown())
}

func (o oddity) scopeMetrics() []byte {
	scope := func() []byte {
		return sub(1, o.text(1, "", "s"), o.text(2, "1", "2"), o.attrs(3, 2))
	}
	metric := func() []byte { return o.field(2, o.metric()) }
	return o.shuffled(o.some(2, scope), o.some(3, metric), o.some(2, metric), o.unknown())
}

func (o oddity) metric() []byte {
	data := func() []byte {
		num := []int32{5, 7, 9, 10, 11}[o.IntN(5)]
		point := func() []byte { return o.field(1, o.point(pointKinds[num])) }
		return o.field(num, o.shuffled(o.some(3, point), o.some(1, point), o.unknown()))
	}
	return o.shuffled(o.text(1, "a", "b"), o.text(1, "", "c"), o.text(2, "d", "dd"), o.some(2, data), data(), o.unknown())
}

// text is field num with one of two texts, or nothing.
func (o oddity) text(num int32, a, b string) []byte {
	if o.IntN(2) == 0 {
		return nil
	}
	return wire.AppendString(nil, num, []string{a, b}[o.IntN(2)])
}

func (o oddity) point(attrs int32) []byte {
	stale := func() []byte { return wire.AppendVarint(nil, map[int32]int32{7: 8, 9: 10, 1: 10}[attrs], o.Uint64N(3)) }
	at := func() []byte { return wire.AppendFixed64(nil, 3, o.Uint64()) }
	return o.shuffled(o.attrs(attrs, 3), o.attrs(attrs, 3), o.some(2, at), o.some(1, stale), o.unknown())
}

func (o oddity) attrs(num int32, n int) []byte {
	names := []string{"attribute.0", "attribute.1", "attribute.2", "environment", "empty", "resource.attribute.0", "resource.x", "scope.name", "__name__", "A", ""}
	return o.some(n, func() []byte {
		name := names[o.IntN(len(names))]
		kv := wire.AppendString(nil, 1, name)
		if o.IntN(9) == 0 {
			kv = append(o.text(1, "attribute.1", "x"), kv...)
		}
		return o.field(num, o.shuffled(kv, o.some(1, o.value), o.value()))
	})
}

// value is field 2 of an attribute.
func (o oddity) value() []byte {
	var v []byte
	for range 1 + o.IntN(4)/3 {
		switch o.IntN(8) {
		case 0:
			v = wire.AppendVarint(v, 2, o.Uint64N(3))
		case 1:
			v = wire.AppendVarint(v, 3, o.Uint64N(3))
		case 2:
			v = wire.AppendFixed64(v, 4, o.Uint64N(2)<<62)
		case 3:
			v = append(v, sub(5, sub(1, wire.AppendVarint(nil, 3, o.Uint64N(3))))...)
		case 4:
			v = append(v, sub(6, attr(1, "k", "v"), attr(1, "k", "w"))...)
		case 5:
			v = wire.AppendString(v, 7, "xyz"[:o.IntN(3)])
		default:
			v = wire.AppendString(v, 1, "12"[:o.IntN(3)])
		}
	}
	return sub(2, append(v, o.some(o.IntN(6)/5, func() []byte { return unknown(1) })...))
}

func TestOddPoints(t *testing.T) {
	o := oddity{rand.New(rand.NewPCG(31, 32))}
	for range 20 {
		for i, rules := range pointRules {
			d := reduction{}.with(t, rules, resourceRules[o.IntN(len(resourceRules))])
			if o.IntN(2) == 0 {
				d.stamps = stamps
			}
			for range 3 {
				raw := o.push()
				reduce(t, d, raw, ingest.Content{})
				if t.Failed() {
					t.Fatalf("rules %d: %q", i, raw)
				}
			}
		}
	}
}
